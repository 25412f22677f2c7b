/* The outputs of a network for many rows or few, by several threads. Included once for each real type.
 *
 * Threads share the rows, or for few rows each layer's columns, and with them the weights that they read: see
 * ROWS_TO_SHARE_COLUMNS. The bits do not depend on it.
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
    REAL *panels;            /* those of net, to pack */
    /* where columns are shared: everybody's workspace, the layer, its input, and its weights, NULL where they are not packed */
    struct FN(workspace) workspace;
    ptrdiff_t layer;
    const REAL *layer_x;
    ptrdiff_t layer_x_stride;
    const REAL *layer_panels;
};

static void FN(pack_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(prediction) *p = argument;
    FN(pack_network)(&p->net, thread, n_threads, p->panels);
}

/* One layer of few rows. Only `packed` is each thread's own. */
static void FN(layer_columns_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(prediction) *p = argument;
    const struct range columns = share(FN(layer)(&p->net, p->layer)[N_OUT], PANEL, thread, n_threads);
    struct FN(workspace) w = p->workspace;
    w.packed = (REAL *)((char *)w.packed + p->bytes_a_thread * (size_t)thread);
    FN(forward_layer)(&p->net, p->layer, p->layer_x, p->layer_x_stride, p->rows, columns, p->layer_panels, &w);
}

/* Few rows: the threads share the columns of one layer after the other, and with them the weights that they read. */
static void FN(predict_by_columns)(struct FN(prediction) *p, int n_threads)
{
    const ptrdiff_t *last = FN(layer)(&p->net, p->net.n_layers - 1);
    FN(lay_out)(&p->net, &p->extent, p->memory, &p->workspace);
    p->layer_x = p->x.dense;
    p->layer_x_stride = p->net.layers[N_IN];
    p->layer_panels = p->net.panels;
    for (p->layer = 0; p->layer < p->net.n_layers; p->layer++) {
        run_parts(FN(layer_columns_thread), p, n_threads);
        p->layer_x = FN(layer_result)(&p->net, p->layer, &p->workspace, &p->layer_x_stride);
        p->layer_panels = FN(next_panels)(&p->net, p->layer, p->layer_panels);
    }
    FN(apply_link)((enum activation_code)last[ACTIVATION], p->workspace.output, p->rows, last[N_OUT], p->outputs);
}

static void FN(prediction_thread)(void *argument, int thread, int n_threads)
{
    struct FN(prediction) *p = argument;
    const ptrdiff_t n_in = p->net.layers[N_IN];
    const ptrdiff_t *last = FN(layer)(&p->net, p->net.n_layers - 1);
    const struct range mine = share(p->rows, 1, thread, n_threads);
    struct FN(workspace) w;
    FN(lay_out)(&p->net, &p->extent, p->memory + p->bytes_a_thread * (size_t)thread, &w);
    for (ptrdiff_t first = mine.begin; first < mine.end; first += CHUNK_ROWS) {
        const ptrdiff_t rows = min_size(CHUNK_ROWS, mine.end - first);
        if (p->extent.sparse)
            FN(forward_sparse_rows)(&p->net, &p->x, NULL, first, rows, (struct FN(masks)){}, &w);
        else
            FN(forward_rows)(&p->net, 0, p->x.dense + first * n_in, n_in, rows, (struct FN(masks)){}, &w);
        FN(apply_link)((enum activation_code)last[ACTIVATION], w.output, rows, last[N_OUT], p->outputs + first * last[N_OUT]);
    }
}

/* Allocate, and run in n_threads parts. Returns -1 when there is no memory. */
static int FN(run_prediction)(struct FN(prediction) *p, int n_threads)
{
    const int sparse = !p->x.dense, pack = !p->net.panels && !sparse && p->rows >= CHUNKS_TO_PACK_FOR * CHUNK_ROWS;
    struct FN(workspace) unused;
    p->extent = (struct FN(extent)){.rows = min_size(CHUNK_ROWS, p->rows), .sparse = sparse};
    p->bytes_a_thread = FN(lay_out)(&p->net, &p->extent, NULL, &unused);
    const size_t bytes = p->bytes_a_thread * (size_t)n_threads;
    p->memory = take_block(bytes + (pack ? (size_t)FN(network_panels_size)(&p->net) * sizeof(REAL) : 0));
    if (!p->memory)
        return -1;
    if (pack) {
        p->net.panels = p->panels = (REAL *)(p->memory + bytes);
        run_parts(FN(pack_thread), p, n_threads);
    }
    if (n_threads > 1 && !sparse && p->rows <= ROWS_TO_SHARE_COLUMNS)
        FN(predict_by_columns)(p, n_threads);
    else
        run_parts(FN(prediction_thread), p, n_threads);
    give_back(p->memory);
    return 0;
}
