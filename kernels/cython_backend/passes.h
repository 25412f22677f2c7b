/* A chunk's way forward and back through the rows of a program. Included once for each real type.
 *
 * Batch norm in training stops a pass, because all parts have to meet there (batch.h). Only the first row is different for sparse
 * and encoded X, which it reads itself: see sparse.h and encoded.h.
 */

/* Value i: in its buffer, or X itself. */
ALWAYS_INLINE struct FN(matrix) FN(value_or_x)(const struct FN(chunk) *c, ptrdiff_t i, struct FN(matrix) x)
{
    return c->net->plan.values[i].buffer == INPUT ? x : FN(value)(c->net, c->w, i);
}

static void FN(row_forward)(const struct FN(chunk) *c, ptrdiff_t i, struct FN(matrix) input, const STORED *panels)
{
    const struct layer *layer = &c->net->layers[i];
    const struct FN(matrix) x = FN(value_or_x)(c, i, input);
    switch (layer->kind) {
    case KIND_LINEAR:
        FN(linear_columns)(c->net, i, x.at, x.stride, c->rows, (struct range){0, layer->n_out}, panels, c->w);
        break;
    case KIND_ACTIVATION: FN(activation_layer_forward)(c, i, x); break;
    case KIND_DROPOUT: FN(dropout_layer_forward)(c, i, x); break;
    case KIND_LAYER_NORM: FN(layer_norm_layer_forward)(c, i, x); break;
    case KIND_BATCH_NORM: FN(batch_norm_layer_inference)(c, i, x); break;
    case KIND_ADD: FN(add_layer_forward)(c, i, x, FN(value_or_x)(c, layer->source, input)); break;
    default: unknown_code("layer kind", (int)layer->kind);
    }
}

/* Forward from row `first` on, with the program's input x: to the logits, or to the next batch norm in training. Returns the row
 * where it stopped. */
static ptrdiff_t FN(forward_rows)(const struct FN(chunk) *c, ptrdiff_t first, struct FN(matrix) x)
{
    const STORED *panels = c->net->panels; /* only where first is 0 */
    ptrdiff_t i = first;
    for (; i < c->net->n_layers - 1; i++) {
        const struct layer *layer = &c->net->layers[i];
        if (c->training && layer->kind == KIND_BATCH_NORM)
            break;
        FN(row_forward)(c, i, x, panels);
        if (panels)
            panels += FN(layer_panels_size)(c->net, layer);
    }
    return i;
}

/* The logits of `rows` rows, after the last row of the program. */
static REAL *FN(finish_logits)(const struct FN(network) *net, const struct FN(workspace) *w, ptrdiff_t rows)
{
    const ptrdiff_t last = net->n_layers - 1;
    if (!STORED_IS_REAL && !FN(makes_logits)(net, last - 1))
        FN(widen_row)(FN(value)(net, w, last).at, rows * net->layers[last].n_in, w->logits);
    return w->logits;
}

/* The gradient with respect to the logits, which the loss has left in their place, as the gradient to go back with. */
static struct FN(matrix) FN(first_gradient)(const struct FN(chunk) *c)
{
    const struct FN(matrix) delta = FN(value)(c->net, c->w, c->net->n_layers - 1);
    if (!STORED_IS_REAL)
        FN(narrow_row)(c->w->logits, c->rows * delta.stride, delta.at);
    return delta;
}

/* Backward from row i, with the gradient with respect to its output: to X, or to the next batch norm. Returns the row where it
 * stopped, and sets `delta` to where the gradient is then. */
static ptrdiff_t FN(backward_rows)(const struct FN(chunk) *c, ptrdiff_t i, struct FN(matrix) *delta)
{
    for (; i >= 0; i--) {
        const struct layer *layer = &c->net->layers[i];
        switch (layer->kind) {
        case KIND_LINEAR: {
            const ptrdiff_t above = i;
            i = FN(linear_layer_backward)(c, i, *delta);
            if (above > 0)
                *delta = FN(value)(c->net, c->w, above);
            break;
        }
        case KIND_ACTIVATION: FN(activation_layer_backward)(c, i, *delta); break;
        case KIND_DROPOUT: FN(dropout_layer_backward)(c, i, *delta); break;
        case KIND_LAYER_NORM: FN(layer_norm_layer_backward)(c, i, *delta); break;
        case KIND_BATCH_NORM: return i;
        case KIND_ADD: FN(add_layer_backward)(c, i, *delta); break;
        default: unknown_code("layer kind", (int)layer->kind);
        }
        FN(join_branch)(c, i, *delta);
    }
    return i;
}
