/* Rows of a program: layer norm, which saves its rows' means and reciprocal deviations. */

static void FN(layer_norm_layer_forward)(const struct FN(chunk) *c, ptrdiff_t i, struct FN(matrix) x)
{
    const struct layer *layer = &c->net->layers[i];
    const struct FN(matrix) y = FN(value)(c->net, c->w, i + 1);
    const REAL *gamma = c->net->params + layer->offset;
    const struct FN(norm) norm = {.x = x.at, .gamma = gamma, .beta = gamma + layer->n_in, .rows = c->rows, .n_units = layer->n_in,
                                  .x_stride = x.stride, .y_stride = y.stride, .epsilon = (REAL)layer->epsilon, .y = y.at,
                                  .mean = c->w->saved[i], .rstd = c->w->saved[i] + c->rows};
    for (ptrdiff_t row = 0; row < c->rows; row++)
        FN(layer_norm_row)(&norm, row);
}

static void FN(layer_norm_layer_backward)(const struct FN(chunk) *c, ptrdiff_t i, struct FN(matrix) delta)
{
    const struct layer *layer = &c->net->layers[i];
    const struct FN(matrix) x = FN(value)(c->net, c->w, i);
    const struct range columns = {0, layer->n_in};
    REAL *dgamma = c->w->gradient + layer->offset - FN(unstored)(c->net, FN(has_sparse)(c)), *dbeta = dgamma + layer->n_in;
    const struct FN(norm_gradient) norm = {.dy = delta.at, .x = x.at, .gamma = c->net->params + layer->offset,
                                           .mean = c->w->saved[i], .rstd = c->w->saved[i] + c->rows, .rows = c->rows,
                                           .n_units = layer->n_in, .x_stride = x.stride, .dy_stride = delta.stride,
                                           .dx = delta.at};
    if (!c->accumulate) {
        FN(set_zero)(dgamma, columns);
        FN(set_zero)(dbeta, columns);
    }
    FN(add_column_sums)(SUM_ROW_NORM_GRADIENTS, &norm, columns, dbeta, dgamma);
    for (ptrdiff_t row = 0; row < c->rows; row++)
        FN(layer_norm_gradient_row)(&norm, row);
}
