/* Rows of a program: an activation. In training, one that is not in place overwrites z with its slope, or saves the slope if a
 * later row adds z. */

/* Whether the product of the linear row below has applied it. */
ALWAYS_INLINE int FN(is_applied)(const struct FN(network) *net, ptrdiff_t i)
{
    return net->layers[i].code == RELU && i > 0 && net->layers[i - 1].kind == KIND_LINEAR && is_in_place(&net->plan, i);
}

static struct FN(matrix) FN(slopes)(const struct FN(chunk) *c, ptrdiff_t i)
{
    if (c->net->plan.values[i].is_source)
        return (struct FN(matrix)){c->w->slope[i], FN(padded_row)(c->net->layers[i].n_in)};
    return FN(value)(c->net, c->w, i);
}

static void FN(activation_layer_forward)(const struct FN(chunk) *c, ptrdiff_t i, struct FN(matrix) z)
{
    const struct layer *layer = &c->net->layers[i];
    const struct FN(matrix) a = FN(value)(c->net, c->w, i + 1);
    if (FN(is_applied)(c->net, i) || (layer->code == IDENTITY && is_in_place(&c->net->plan, i)))
        return;
    if (!c->training || is_in_place(&c->net->plan, i)) {
        for (ptrdiff_t row = 0; row < c->rows; row++)
            FN(activation_row)((int)layer->code, z.at + row * z.stride, layer->n_in, a.at + row * a.stride);
        return;
    }
    const struct FN(matrix) slope = FN(slopes)(c, i);
    for (ptrdiff_t row = 0; row < c->rows; row++)
        FN(activation_and_slope_row)((int)layer->code, z.at + row * z.stride, layer->n_in, a.at + row * a.stride,
                                     slope.at + row * slope.stride);
}

/* Backward of an activation that is not in place. The others are part of the input gradient of the linear row above. */
static void FN(activation_layer_backward)(const struct FN(chunk) *c, ptrdiff_t i, struct FN(matrix) delta)
{
    const struct FN(matrix) slope = FN(slopes)(c, i);
    const ptrdiff_t n = c->net->layers[i].n_in;
    for (ptrdiff_t row = 0; row < c->rows; row++) {
        STORED *d = delta.at + row * delta.stride;
        const STORED *s = slope.at + row * slope.stride;
        for (ptrdiff_t j = 0; j < n; j += LANES)
            FN(put_upto)(d + j, FN(get_upto)(d + j, n - j) * FN(get_upto)(s + j, n - j), n - j);
    }
}
