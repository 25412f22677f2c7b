/* What engine.c does with the kernels of one real type: included once for each of them, with REAL,
 * STORED, SUFFIX, its NAME and TOLERANCE defined. */

static REAL *FN(array)(ptrdiff_t n) { return checked(calloc((size_t)n, sizeof(REAL))); }

static REAL *FN(random_array)(ptrdiff_t n)
{
    REAL *a = FN(array)(n);
    for (ptrdiff_t i = 0; i < n; i++)
        a[i] = (REAL)random_number();
    return a;
}

static STORED *FN(values)(ptrdiff_t n) { return checked(calloc((size_t)n, sizeof(STORED))); }

static STORED *FN(random_values)(ptrdiff_t n)
{
    STORED *a = FN(values)(n);
    for (ptrdiff_t i = 0; i < n; i++)
        FN(put_one)(a + i, (REAL)random_number());
    return a;
}

/* A number whose name has the type's behind it. */
static void FN(number)(const char *name, double value, double tolerance)
{
    char full_name[100];
    snprintf(full_name, sizeof full_name, "%s_" NAME, name);
    number(full_name, value, tolerance);
}

/* Two sums that change with every number and with its place. */
static void FN(numbers)(const char *name, const REAL *a, ptrdiff_t n)
{
    double sum = 0, weighted = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        sum += (double)a[i];
        weighted += (double)a[i] * (double)(i % 17 - 8);
    }
    FN(number)(name, sum / (double)n, TOLERANCE);
    FN(number)(name, weighted / (double)n, TOLERANCE);
}

static void FN(stored_numbers)(const char *name, const STORED *a, ptrdiff_t n)
{
    REAL *real = FN(array)(n);
    FN(widen_row)(a, n, real);
    FN(numbers)(name, real, n);
    free(real);
}

static void FN(same)(const REAL *a, const REAL *b, ptrdiff_t n, const char *what)
{
    if (memcmp(a, b, (size_t)n * sizeof(REAL)))
        fault("not the same bits", what);
}

/* z = x @ weight + bias from the numbers as they are stored, with no more error than REAL's sums have, and then stored. */
static void FN(check_product)(const STORED *x, const REAL *weight, const REAL *bias, const STORED *z, ptrdiff_t rows, ptrdiff_t n_in,
                              ptrdiff_t n_out)
{
    const double epsilon = sizeof(REAL) == 4 ? 0x1p-23 : 0x1p-52, unit = sizeof(STORED) < sizeof(REAL) ? 0x1p-8 : epsilon;
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < n_out; j++) {
            double sum = (double)bias[j], size = fabs(sum);
            for (ptrdiff_t k = 0; k < n_in; k++) {
                STORED stored;
                FN(put_one)(&stored, weight[k * n_out + j]);
                const double term = (double)FN(get_one)(x + i * n_in + k) * (double)FN(get_one)(&stored);
                sum += term, size += fabs(term);
            }
            if (!(fabs((double)FN(get_one)(z + i * n_out + j) - sum) <= epsilon * (double)n_in * size + unit * fabs(sum)))
                fault("too far from the sum of products", "linear_forward");
        }
}

/* Linear layers of all sizes up to some registers, for every way in which products are made. */
static void FN(drive_linear)(ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out, enum activation_code activation)
{
    const struct kernels *k = &FN(KERNELS);
    STORED *x = FN(random_values)(rows * n_in), *a = FN(values)(rows * n_out), *z = FN(values)(rows * n_out);
    STORED *da = FN(random_values)(rows * n_out), *dx = FN(values)(rows * n_in);
    REAL *weight = FN(random_array)(n_in * n_out), *bias = FN(random_array)(n_out);
    REAL *dweight = FN(array)(n_in * n_out), *dbias = FN(array)(n_out);
    k->linear_forward(x, weight, bias, rows, n_in, n_out, activation, a, 1);
    k->linear_forward(x, weight, bias, rows, n_in, n_out, IDENTITY, z, 3);
    for (int accumulate = 0; accumulate < 2; accumulate++)
        k->linear_backward(da, x, weight, derivative_from_a(activation) ? a : z, rows, n_in, n_out, activation, accumulate, dx, dweight, dbias,
                           1 + accumulate);
    FN(check_product)(x, weight, bias, z, rows, n_in, n_out);
    FN(stored_numbers)("forward", a, rows * n_out);
    FN(stored_numbers)("forward_3", z, rows * n_out);
    FN(stored_numbers)("dx", dx, rows * n_in);
    FN(numbers)("dweight", dweight, n_in * n_out);
    FN(numbers)("dbias", dbias, n_out);
    free(x), free(weight), free(bias), free(da), free(a), free(z), free(dx), free(dweight), free(dbias);
}

static void FN(drive_losses)(int n_threads)
{
    const struct kernels *k = &FN(KERNELS);
    const ptrdiff_t n = ROWS * CLASSES;
    ptrdiff_t *labels = checked(calloc(ROWS, sizeof *labels));
    REAL *z = FN(random_array)(n), *y = FN(array)(n), *targets = FN(array)(n), *dy = FN(random_array)(n), *dz = FN(array)(n);
    double loss = 0, hyper[CLASSES];
    for (ptrdiff_t i = 0; i < ROWS; i++)
        labels[i] = i % CLASSES;
    for (ptrdiff_t i = 0; i < n; i++)
        targets[i] = (REAL)(1 + i % 2); /* positive, as the gamma deviance needs them */
    k->softmax_forward(z, ROWS, CLASSES, y, n_threads);
    FN(numbers)("softmax", y, n);
    k->softmax_backward(dy, y, ROWS, CLASSES, dz, n_threads);
    FN(numbers)("softmax_backward", dz, n);
    for (int code = 0; code < N_LOSSES; code++) {
        const ptrdiff_t *classes = code == SOFTMAX_CROSS_ENTROPY ? labels : NULL;
        for (int i = 0; i < CLASSES; i++)
            hyper[i] = code == TWEEDIE ? 1.3 : 0.3;
        k->loss_forward(code, hyper, z, classes, classes ? NULL : targets, NULL, ROWS, CLASSES, y, &loss, n_threads);
        k->loss_backward(code, hyper, y, classes, classes ? NULL : targets, NULL, 0.1, ROWS, CLASSES, dz, n_threads);
        FN(number)("loss", loss, 10 * TOLERANCE);
        FN(numbers)("loss_backward", dz, n);
    }
    free(labels), free(z), free(y), free(targets), free(dy), free(dz);
}

static void FN(drive_rows)(int n_threads)
{
    const struct kernels *k = &FN(KERNELS);
    const ptrdiff_t n = ROWS * CLASSES;
    STORED *x = FN(random_values)(n), *y = FN(values)(n), *dy = FN(random_values)(n), *dx = FN(values)(n);
    REAL *gamma = FN(random_array)(CLASSES), *beta = FN(random_array)(CLASSES), *dgamma = FN(array)(CLASSES);
    REAL *dbeta = FN(array)(CLASSES), *mean = FN(array)(ROWS), *rstd = FN(array)(ROWS);
    for (int activation = 0; activation < N_ACTIVATIONS; activation++) {
        k->activation_forward(x, n, activation, y, n_threads);
        k->activation_backward(dy, derivative_from_a(activation) ? y : x, n, activation, dx, n_threads);
        FN(stored_numbers)("activation", y, n);
        FN(stored_numbers)("activation_backward", dx, n);
    }
    k->dropout(x, n, 12345, 1u << 30, 1.25, y, n_threads);
    FN(stored_numbers)("dropout", y, n);
    k->layer_norm_forward(x, gamma, beta, ROWS, CLASSES, 1e-5, y, mean, rstd, n_threads);
    k->layer_norm_backward(dy, x, gamma, mean, rstd, ROWS, CLASSES, 0, dx, dgamma, dbeta, n_threads);
    FN(stored_numbers)("layer_norm", y, n);
    FN(stored_numbers)("layer_norm_backward", dx, n);
    k->batch_norm_forward(x, gamma, beta, ROWS, CLASSES, 1e-5, y, mean, rstd, n_threads);
    k->batch_norm_backward(dy, x, gamma, mean, rstd, ROWS, CLASSES, 0, dx, dgamma, dbeta, n_threads);
    FN(stored_numbers)("batch_norm", y, n);
    FN(stored_numbers)("batch_norm_backward", dx, n);
    k->batch_norm_inference(x, gamma, beta, mean, rstd, ROWS, CLASSES, 1e-5, y, n_threads);
    FN(stored_numbers)("batch_norm_inference", y, n);
    free(x), free(y), free(dy), free(dx), free(gamma), free(beta), free(dgamma), free(dbeta), free(mean), free(rstd);
}

static void FN(drive_updates)(int n_threads)
{
    const ptrdiff_t n = ROWS * CLASSES;
    REAL *params = FN(random_array)(n), *gradient = FN(random_array)(n);
    for (int optimizer = 0; optimizer < N_OPTIMIZERS; optimizer++) {
        REAL *slot_1 = FN(array)(n), *slot_2 = OPTIMIZER_SLOTS[optimizer] > 1 ? FN(array)(n) : NULL;
        for (ptrdiff_t step = 1; step < 4; step++)
            FN(KERNELS).update(optimizer, params, gradient, slot_1, slot_2, HYPER[optimizer], step, n, n_threads);
        FN(numbers)("updated", params, n);
        free(slot_1), free(slot_2);
    }
    if (!FN(KERNELS).all_finite(params, n, n_threads))
        fault("a number is infinite or NaN", "updates");
    free(params), free(gradient);
}

static void FN(drive_kernels)(void)
{
    static const ptrdiff_t sizes[] = {1, 2, 5, 8, 13, 33};
    const int n_sizes = sizeof sizes / sizeof *sizes;
    for (int i = 0; i < n_sizes; i++)
        for (int j = 0; j < n_sizes; j++)
            for (int l = 0; l < n_sizes; l++)
                FN(drive_linear)(sizes[i], sizes[j], sizes[l], (enum activation_code)((i + 3 * j + 5 * l) % N_ACTIVATIONS));
    FN(drive_linear)(70, 300, 130, RELU); /* packed */
    for (int n_threads = 1; n_threads <= MOST_THREADS; n_threads++) {
        FN(drive_losses)(n_threads);
        FN(drive_rows)(n_threads);
        FN(drive_updates)(n_threads);
    }
}
