/* The outputs of a network for many rows or few, by several threads. Included once for each real type.
 *
 * Threads share the rows or, if these are few, each layer's columns, and with them the weights that they read: see
 * ROWS_TO_SHARE_COLUMNS. The bits are the same either way.
 */

/* What the threads of one prediction share. */
struct FN(prediction) {
    struct FN(network) net;
    struct FN(features) x;
    ptrdiff_t rows;
    REAL *outputs;
    /* how it is done: */
    struct FN(extent) extent;
    char *memory;
    size_t bytes_a_thread;
    STORED *panels;          /* where the panels of net are packed */
    /* if columns are shared: the workspace of all threads, the linear row, its input, and its packed weights or NULL */
    struct FN(workspace) workspace;
    ptrdiff_t layer;
    struct FN(matrix) layer_x;
    const STORED *layer_panels;
};

static void FN(pack_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(prediction) *p = argument;
    FN(pack_network)(&p->net, thread, n_threads, p->panels);
}

/* Whether a program has only linear rows, each with at most one activation behind it, so that columns can be shared. Dropout is
 * allowed: it does nothing here. */
static int FN(has_columns)(const struct FN(network) *net)
{
    for (ptrdiff_t i = 0; i < net->n_layers - 1; i++) {
        const struct layer *layer = &net->layers[i];
        const int fits = layer->kind == KIND_LINEAR || layer->kind == KIND_DROPOUT
                         || (layer->kind == KIND_ACTIVATION && i > 0 && layer[-1].kind == KIND_LINEAR);
        if (!fits)
            return 0;
    }
    return net->layers[0].kind == KIND_LINEAR;
}

/* One linear row for few rows of X, with the activation behind it. Each thread has its own `packed`; the rest is shared. */
static void FN(layer_columns_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(prediction) *p = argument;
    const struct range columns = share(p->net.layers[p->layer].n_out, PANEL, thread, n_threads);
    struct FN(workspace) w = p->workspace;
    w.packed = (STORED *)((char *)w.packed + p->bytes_a_thread * (size_t)thread);
    FN(linear_columns)(&p->net, p->layer, p->layer_x.at, p->layer_x.stride, p->rows, columns, p->layer_panels, &w);
    const ptrdiff_t next = p->layer + 1;
    if (p->net.layers[next].kind != KIND_ACTIVATION || FN(is_applied)(&p->net, next))
        return;
    const struct FN(matrix) y = FN(value)(&p->net, &w, next);
    for (ptrdiff_t i = 0; i < p->rows && columns.end > columns.begin; i++) {
        STORED *row = y.at + i * y.stride + columns.begin;
        FN(activation_row)((int)p->net.layers[next].code, row, columns.end - columns.begin, row);
    }
}

/* Rows [first, first + rows) of dense X, where they lie or STORED by the thread. */
static struct FN(matrix) FN(dense_rows)(const struct FN(features) *x, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t n_in,
                                        const struct FN(workspace) *w)
{
    if (!x->real)
        return (struct FN(matrix)){(STORED *)x->dense + first * n_in, n_in};
    FN(narrow_row)(x->real + first * n_in, rows * n_in, w->input);
    return (struct FN(matrix)){w->input, n_in};
}

/* Few rows: the threads share the columns of one linear row after the other, and with them the weights that they read. */
static void FN(predict_by_columns)(struct FN(prediction) *p, int n_threads)
{
    FN(lay_out)(&p->net, &p->extent, p->memory, &p->workspace);
    p->layer_x = FN(dense_rows)(&p->x, 0, p->rows, p->net.layers[0].n_in, &p->workspace);
    p->layer_panels = p->net.panels;
    for (p->layer = 0; p->layer < p->net.n_layers - 1; p->layer++) {
        const struct layer *layer = &p->net.layers[p->layer];
        if (layer->kind == KIND_LINEAR) {
            run_parts(FN(layer_columns_thread), p, n_threads);
            p->layer_x = FN(value)(&p->net, &p->workspace, p->layer + 1);
        }
        if (p->layer_panels)
            p->layer_panels += FN(layer_panels_size)(&p->net, layer);
    }
    const REAL *logits = FN(finish_logits)(&p->net, &p->workspace, p->rows);
    FN(apply_link)(FN(link)(&p->net), logits, p->rows, FN(n_outputs)(&p->net), p->outputs);
}

/* Lay out a thread's buffers for predict_rows(). */
static void FN(begin_prediction)(const struct FN(network) *net, const struct FN(extent) *extent, const struct FN(features) *x,
                                 char *base, struct FN(workspace) *w)
{
    FN(lay_out)(net, extent, base, w);
    if (extent->encoded)
        FN(make_nodes)(x, net->params + net->layers[0].offset, net->layers[0].n_out, w->nodes);
}

/* The logits of rows [first, first + rows) of X, in their own order. */
static REAL *FN(predict_rows)(const struct FN(network) *net, const struct FN(features) *x, ptrdiff_t first, ptrdiff_t rows,
                              const struct FN(workspace) *w)
{
    const ptrdiff_t n_in = net->layers[0].n_in;
    const int direct = !FN(is_dense)(x);
    const struct FN(chunk) chunk = {.net = net, .w = w, .rows = rows, .x = direct ? x : NULL, .first = first};
    if (direct)
        FN(direct_linear_forward)(&chunk);
    FN(forward_rows)(&chunk, direct, direct ? (struct FN(matrix)){NULL, n_in} : FN(dense_rows)(x, first, rows, n_in, w));
    return FN(finish_logits)(net, w, rows);
}

static void FN(prediction_thread)(void *argument, int thread, int n_threads)
{
    struct FN(prediction) *p = argument;
    const ptrdiff_t n_out = FN(n_outputs)(&p->net);
    const struct range mine = share(p->rows, 1, thread, n_threads);
    struct FN(workspace) w;
    FN(begin_prediction)(&p->net, &p->extent, &p->x, p->memory + p->bytes_a_thread * (size_t)thread, &w);
    for (ptrdiff_t first = mine.begin; first < mine.end; first += CHUNK_ROWS) {
        const ptrdiff_t rows = min_size(CHUNK_ROWS, mine.end - first);
        const REAL *logits = FN(predict_rows)(&p->net, &p->x, first, rows, &w);
        FN(apply_link)(FN(link)(&p->net), logits, rows, n_out, p->outputs + first * n_out);
    }
}

/* Allocate, and run in n_threads parts. Returns 0, or -1 if there is no memory. */
static int FN(run_prediction)(struct FN(prediction) *p, int n_threads)
{
    const int direct = !FN(is_dense)(&p->x), pack = !p->net.panels && !direct && p->rows >= CHUNKS_TO_PACK_FOR * CHUNK_ROWS;
    struct value few_values[FEW_VALUES];
    struct FN(workspace) unused;
    size_t bytes = 0;
    p->net.plan.values = few_values;
    if (p->net.n_layers > FEW_VALUES && !(p->net.plan.values = malloc((size_t)p->net.n_layers * sizeof(struct value))))
        return -1;
    make_plan(p->net.layers, p->net.n_layers, 0, direct, &p->net.plan);
    p->extent = (struct FN(extent)){.rows = min_size(CHUNK_ROWS, p->rows), .sparse = FN(is_sparse)(&p->x),
                                    .encoded = FN(is_encoded)(&p->x), .narrows = p->x.real != NULL};
    p->bytes_a_thread = FN(lay_out)(&p->net, &p->extent, NULL, &unused);
    bytes = p->bytes_a_thread * (size_t)n_threads;
    p->memory = take_block(bytes + (pack ? (size_t)FN(network_panels_size)(&p->net) * sizeof(STORED) : 0));
    if (p->memory && pack) {
        p->net.panels = p->panels = (STORED *)(p->memory + bytes);
        run_parts(FN(pack_thread), p, n_threads);
    }
    if (p->memory && n_threads > 1 && !direct && p->rows <= ROWS_TO_SHARE_COLUMNS && FN(has_columns)(&p->net))
        FN(predict_by_columns)(p, n_threads);
    else if (p->memory)
        run_parts(FN(prediction_thread), p, n_threads);
    if (p->net.plan.values != few_values)
        free(p->net.plan.values);
    give_back(p->memory);
    return p->memory ? 0 : -1;
}
