/* Rows of a program: adding an earlier value, the end of a residual block. */

static void FN(add_matrix)(struct FN(matrix) x, ptrdiff_t rows, ptrdiff_t n, struct FN(matrix) y) /* y += x */
{
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < n; j += LANES) {
            STORED *to = y.at + i * y.stride + j;
            FN(put_upto)(to, FN(get_upto)(to, n - j) + FN(get_upto)(x.at + i * x.stride + j, n - j), n - j);
        }
}

static void FN(add_layer_forward)(const struct FN(chunk) *c, ptrdiff_t i, struct FN(matrix) x, struct FN(matrix) source)
{
    const struct layer *layer = &c->net->layers[i];
    const struct FN(matrix) y = FN(value)(c->net, c->w, i + 1);
    FN(copy_matrix)(x, c->rows, layer->n_in, y);
    FN(add_matrix)(source, c->rows, layer->n_in, y);
}

/* The gradient goes on to the row below. It is also kept for the value `source`, unless that is X: copied if no later row adds
 * the same value, else added to what a later row kept. */
static void FN(add_layer_backward)(const struct FN(chunk) *c, ptrdiff_t i, struct FN(matrix) delta)
{
    const struct layer *layers = c->net->layers;
    const ptrdiff_t source = layers[i].source, n = layers[i].n_in;
    const struct FN(matrix) branch = {c->w->branch[source], FN(padded_row)(n)};
    int is_first = 1;
    if (source == 0)
        return;
    for (ptrdiff_t later = i + 1; later < c->net->n_layers - 1; later++)
        is_first &= layers[later].kind != KIND_ADD || layers[later].source != source;
    if (is_first)
        FN(copy_matrix)(delta, c->rows, n, branch);
    else
        FN(add_matrix)(delta, c->rows, n, branch);
}

/* Complete the gradient with respect to value i: add what was kept by the rows that add the value. */
static void FN(join_branch)(const struct FN(chunk) *c, ptrdiff_t i, struct FN(matrix) delta)
{
    const ptrdiff_t n = c->net->layers[i].n_in;
    if (i > 0 && c->net->plan.values[i].is_source)
        FN(add_matrix)((struct FN(matrix)){c->w->branch[i], FN(padded_row)(n)}, c->rows, n, delta);
}
