/* Rows of a program: dropout. Backward computes the masks again. The bits are those of the kernel dropout(). */

ALWAYS_INLINE int FN(drops)(const struct layer *layer, struct FN(masks) masks) { return masks.update > 0 && layer->rate > 0; }

/* Scale values, or the gradient with respect to them, where they are kept; 0 elsewhere. */
static void FN(drop_rows)(const struct layer *layer, struct FN(masks) masks, struct FN(matrix) x, ptrdiff_t rows,
                          struct FN(matrix) y)
{
    const ptrdiff_t n = layer->n_out;
    /* The rate, a multiple of 2^-53, rounded to 2^-32 whatever the caller's rounding mode. */
    const int64_t threshold = ((int64_t)(layer->rate * 0x1p53) + (1 << 20)) >> 21;
    const uint64_t key = FN(stream_key)((uint64_t)layer->seed, (uint64_t)layer->stream + (uint64_t)masks.update);
    for (ptrdiff_t i = 0; i < rows; i++)
        FN(dropout_row)(x.at + i * x.stride, key, (uint64_t)(masks.first_row + i) * (uint64_t)n, n,
                        (uint32_t)min_size(threshold, UINT32_MAX), (REAL)(1 / (1 - layer->rate)), y.at + i * y.stride);
}

static void FN(dropout_layer_forward)(const struct FN(chunk) *c, ptrdiff_t i, struct FN(matrix) x)
{
    const struct layer *layer = &c->net->layers[i];
    if (FN(drops)(layer, c->masks))
        FN(drop_rows)(layer, c->masks, x, c->rows, FN(value)(c->net, c->w, i + 1));
    else if (!is_in_place(&c->net->plan, i))
        FN(copy_matrix)(x, c->rows, layer->n_in, FN(value)(c->net, c->w, i + 1));
}

static void FN(dropout_layer_backward)(const struct FN(chunk) *c, ptrdiff_t i, struct FN(matrix) delta)
{
    if (FN(drops)(&c->net->layers[i], c->masks))
        FN(drop_rows)(&c->net->layers[i], c->masks, delta, c->rows, delta);
}

/* Undo the scaling where the activation's derivative needs the value of a; relu's needs only the sign. */
static void FN(unscale_rows)(const struct layer *dropped, int activation, struct FN(masks) masks, struct FN(matrix) a,
                             ptrdiff_t rows)
{
    if (!FN(drops)(dropped, masks) || (activation != SIGMOID && activation != TANH))
        return;
    const REAL keep_rate = (REAL)(1 - dropped->rate);
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < dropped->n_out; j++)
            FN(put_one)(a.at + i * a.stride + j, FN(get_one)(a.at + i * a.stride + j) * keep_rate);
}
