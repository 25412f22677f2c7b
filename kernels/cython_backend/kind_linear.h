/* Rows of a program: a linear layer. Its product also applies a ReLU behind it, and its input gradient the derivative of an
 * activation below it: see plan.h. */

static void FN(set_ones)(struct FN(matrix) x, ptrdiff_t rows, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < rows; i++)
        FN(put_one)(x.at + i * x.stride + n, 1);
}

/* Whether row i writes logits, which are REAL. What other kinds write as the last value is widened: see finish_logits(). */
ALWAYS_INLINE int FN(makes_logits)(const struct FN(network) *net, ptrdiff_t i)
{
    return net->layers[i].kind == KIND_LINEAR && i == net->n_layers - 2;
}

/* Some columns of y for the input x: whole panels, except at the end. `panels` are the row's packed weights, or NULL. */
static void FN(linear_columns)(const struct FN(network) *net, ptrdiff_t i, const STORED *x, ptrdiff_t x_stride, ptrdiff_t rows,
                               struct range columns, const STORED *panels, const struct FN(workspace) *w)
{
    const struct layer *layer = &net->layers[i];
    const REAL *weight = net->params + layer->offset;
    const struct FN(matrix) y = FN(value)(net, w, i + 1);
    const int real = FN(makes_logits)(net, i);
    if (rows == 0) /* a part of a batch may have none */
        return;
    const int relu = net->layers[i + 1].kind == KIND_ACTIVATION && FN(is_applied)(net, i + 1);
#if defined(HAS_INT8)
    if (FN(is_int8)(net, layer)) {
        FN(int8_product)(x, x_stride, rows, panels, layer->n_in, layer->n_out, columns, relu, y.at, y.stride,
                         w->packed);
        return;
    }
#endif
    FN(forward_product)(x, x_stride, rows, weight, weight + n_weights(layer), panels, layer->n_in, layer->n_out, columns,
                        relu ? STORE_RELU : STORE, real ? (void *)w->logits : y.at, y.stride, real, w->packed);
}

/* All columns of y from sparse or encoded X. */
static void FN(direct_linear_forward)(const struct FN(chunk) *c)
{
    const struct layer *layer = &c->net->layers[0];
    const REAL *weight = c->net->params + layer->offset;
    const struct FN(matrix) y = FN(value)(c->net, c->w, 1);
    const int real = FN(makes_logits)(c->net, 0);
    const REAL *bias = weight + n_weights(layer);
    void *out = real ? (void *)c->w->logits : y.at;
    if (FN(is_sparse)(c->x))
        FN(sparse_forward)(c->x, c->order, c->first, c->rows, weight, bias, layer->n_out, out, y.stride, real);
    else
        FN(encoded_forward)(c->x, c->order, c->first, c->rows, weight, c->w->nodes, bias, layer->n_out, out, y.stride, real);
    if (c->net->layers[1].kind == KIND_ACTIVATION && FN(is_applied)(c->net, 1))
        for (ptrdiff_t row = 0; row < c->rows; row++)
            FN(activation_row)(RELU, y.at + row * y.stride, layer->n_out, y.at + row * y.stride);
}

/* Add the column sums of delta to sum, or write them. */
static void FN(sum_columns)(struct FN(matrix) delta, ptrdiff_t rows, ptrdiff_t n, int accumulate, REAL *sum)
{
    if (!accumulate)
        memset(sum, 0, (size_t)n * sizeof(REAL));
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < n; j++)
            sum[j] += FN(get_one)(delta.at + i * delta.stride + j);
}

/* The gradient of weight and bias: this chunk's sum, written to w->gradient or added to it. */
static void FN(linear_layer_gradient)(const struct FN(chunk) *c, ptrdiff_t i, struct FN(matrix) delta)
{
    const struct layer *layer = &c->net->layers[i];
    const ptrdiff_t n_in = layer->n_in, n_out = layer->n_out;
    const int sparse = FN(has_sparse)(c);
    REAL *gradient = c->w->gradient + layer->offset - (i > 0 ? FN(unstored)(c->net, sparse) : 0);
    if (i == 0 && sparse) {
        FN(sum_columns)(delta, c->rows, n_out, c->accumulate, gradient);
        for (ptrdiff_t row = 0; row < c->rows; row++)
            FN(widen_row)(delta.at + row * delta.stride, n_out, c->first_delta + row * n_out);
        return;
    }
    const int encoded = i == 0 && c->x;
    if ((c->rows == 0 || encoded) && !c->accumulate)
        memset(gradient, 0, (size_t)((n_in + 1) * n_out) * sizeof(REAL));
    if (encoded) {
        FN(encoded_gradient)(c->x, c->order, c->first, c->rows, delta.at, delta.stride, n_out, gradient, c->w->node_gradient);
        FN(sum_columns)(delta, c->rows, n_out, 1, gradient + n_weights(layer));
        return;
    }
    const struct FN(matrix) x = FN(value)(c->net, c->w, i);
    if (i > 0) /* gather_inputs() sets those of X */
        FN(set_ones)(x, c->rows, n_in);
    for (ptrdiff_t row = 0; row < c->rows; row += CHUNK_ROWS) /* only with batch norms can there be more rows */
        FN(padded_weight_gradient)(x.at + row * x.stride, x.stride, delta.at + row * delta.stride, delta.stride,
                                   min_size(CHUNK_ROWS, c->rows - row), n_in + 1, n_out, c->accumulate || row > 0, gradient,
                                   c->w->scratch);
}

/* Overwrite the input with the gradient with respect to it or, if an activation is in place below, with that with respect to the
 * activation's z. Returns the lowest row that is done. */
static ptrdiff_t FN(linear_layer_backward)(const struct FN(chunk) *c, ptrdiff_t i, struct FN(matrix) delta)
{
    const struct FN(network) *net = c->net;
    const struct layer *layer = &net->layers[i], *below = layer - 1, *dropped = NULL;
    enum epilogue gate = STORE;
    ptrdiff_t done = i;
    FN(linear_layer_gradient)(c, i, delta);
    if (i == 0)
        return 0;
    const struct FN(matrix) x = FN(value)(net, c->w, i);
    if (below->kind == KIND_DROPOUT && i > 1 && is_in_place(&net->plan, i - 1))
        dropped = below--;
    if (below->kind == KIND_ACTIVATION && is_in_place(&net->plan, below - net->layers)) {
        gate = below->code == RELU ? GATE_RELU : below->code == SIGMOID ? GATE_SIGMOID : below->code == TANH ? GATE_TANH : STORE;
        done = below - net->layers;
        if (dropped)
            FN(unscale_rows)(dropped, (int)below->code, c->masks, x, c->rows);
    }
    if (c->rows > 0)
        FN(input_gradient)(delta.at, delta.stride, c->rows, net->params + layer->offset, layer->n_in, layer->n_out, gate, x.at,
                           x.at, x.stride, c->w->packed);
    if (dropped && done < i)
        FN(dropout_layer_backward)(c, dropped - net->layers, x);
    return done;
}
