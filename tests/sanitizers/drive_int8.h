/* What engine.c does with products of 8-bit integers: linear rows whose values are codes already, so that the sums are known. */

static void drive_int8(ptrdiff_t n_in, ptrdiff_t n_out, ptrdiff_t n_rows, int n_threads)
{
    const struct layer layers[] = {{.kind = KIND_LINEAR, .n_in = n_in, .n_out = n_out},
                                   {.kind = KIND_LINK, .n_in = n_out, .n_out = n_out, .code = LINK_IDENTITY}};
    const size_t panels_bytes = (size_t)round_up(KERNELS_f32.packed_bytes(layers, 2, 1), CACHE_LINE);
    float *params = checked(calloc((size_t)((n_in + 1) * n_out), sizeof *params));
    float *scales = checked(calloc((size_t)n_scales(layers, 2), sizeof *scales));
    float *x = checked(calloc((size_t)(n_rows * n_in), sizeof *x)), *outputs = checked(calloc((size_t)(n_rows * n_out), sizeof *outputs));
    int8_t *codes = checked(calloc((size_t)n_codes(layers, 2), sizeof *codes));
    void *panels = checked(aligned_memory(CACHE_LINE, panels_bytes));
    for (ptrdiff_t i = 0; i < n_in * n_out; i++)
        codes[i] = (int8_t)(127 * random_number());
    for (ptrdiff_t k = 0; k < n_in; k++)
        scales[k] = 1;
    for (ptrdiff_t j = 0; j < n_out; j++)
        scales[2 * n_in + j] = 0.5f, scales[2 * n_in + n_out + j] = (float)j;
    for (ptrdiff_t i = 0; i < n_rows * n_in; i++)
        x[i] = i % n_in == 0 ? 0 : i % n_in == 1 ? 255 : rintf((float)(127 + 127 * random_number()));
    KERNELS_f32.pack(layers, 2, params, codes, scales, panels);
    const struct rows rows = {.x = x, .n = n_rows};
    if (KERNELS_f32.network_forward(&rows, layers, 2, params, NULL, panels, 1, outputs, n_threads))
        fault("no memory", "network_forward of int8");
    for (ptrdiff_t i = 0; i < n_rows; i++)
        for (ptrdiff_t j = 0; j < n_out; j++) {
            double sum = 0;
            for (ptrdiff_t k = 0; k < n_in; k++)
                sum += (double)x[i * n_in + k] * codes[k * n_out + j];
            if (!(fabs(outputs[i * n_out + j] - (0.5 * sum + (double)j)) <= 1e-7 * (double)n_in * 255 * 127))
                fault("not the sum of products", "network_forward of int8");
        }
    free(params), free(scales), free(x), free(outputs), free(codes), free_aligned(panels);
}
