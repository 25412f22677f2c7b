/* The gradient of a batch, in as many parts as there are threads. Included once for each real type.
 *
 * A part carries its own rows through all layers, a chunk at a time that fits the caches:
 *     gather rows -> forward, layer by layer -> loss and output delta -> backward, layer by layer -> the part's gradient
 * What is in a part depends on nothing but the sizes, so that a fixed number of threads always gives the same bits.
 */

/* The data of a training call; order NULL means rows 0, 1, 2, … */
struct FN(data) {
    struct FN(features) x;
    struct FN(target_rows) targets;
    const ptrdiff_t *order;
    ptrdiff_t n_rows;        /* in the order */
};

/* Ask for the row that will be gathered GATHER_AHEAD bytes after the one at position `at`, be it in this batch or in the next. */
ALWAYS_INLINE void FN(fetch_row)(const struct FN(data) *data, ptrdiff_t at, ptrdiff_t n_in)
{
    const ptrdiff_t bytes = n_in * (ptrdiff_t)sizeof(REAL), ahead = at + 1 + GATHER_AHEAD / bytes;
    if (data->order && ahead < data->n_rows)
        for (ptrdiff_t line = 0; line < bytes + CACHE_LINE - 1; line += CACHE_LINE)
            __builtin_prefetch((const char *)(data->x.dense + data->order[ahead] * n_in) + line, 0, L2_CACHE);
}

/* In whole registers: what lies behind the copy is overwritten, up to a register. */
ALWAYS_INLINE void FN(copy_row)(const REAL *from, ptrdiff_t n, REAL *to)
{
    for (ptrdiff_t j = 0; j < n; j += LANES)
        FN(store)(to + j, FN(load_upto)(from + j, n - j));
}

/* The row of the data that is at a position of the order. */
ALWAYS_INLINE ptrdiff_t FN(row_at)(const struct FN(data) *data, ptrdiff_t at) { return data->order ? data->order[at] : at; }

/* Copy rows [begin, begin + rows) of the epoch's order into the workspace. */
static void FN(gather_inputs)(const struct FN(network) *net, const struct FN(data) *data, ptrdiff_t begin, ptrdiff_t rows,
                              const struct FN(workspace) *w)
{
    const ptrdiff_t n_in = net->layers[N_IN], stride = FN(padded_row)(n_in);
    for (ptrdiff_t i = 0; i < rows; i++) {
        REAL *x = w->activation[0] + i * stride;
        FN(fetch_row)(data, begin + i, n_in);
        FN(copy_row)(data->x.dense + FN(row_at)(data, begin + i) * n_in, n_in, x);
        x[n_in] = 1;
    }
}

/* The same of targets and sample weights; returns where they are. */
static struct FN(target_rows) FN(gather_targets)(const struct FN(network) *net, const struct FN(data) *data, ptrdiff_t begin,
                                                 ptrdiff_t rows, const struct FN(workspace) *w)
{
    const ptrdiff_t n_out = FN(layer)(net, net->n_layers - 1)[N_OUT];
    const struct FN(target_rows) all = data->targets;
    for (ptrdiff_t i = 0; i < rows; i++) {
        const ptrdiff_t row = FN(row_at)(data, begin + i);
        if (all.labels)
            w->labels[i] = all.labels[row];
        else
            FN(copy_row)(all.dense + row * n_out, n_out, w->targets + i * n_out);
        if (all.weight)
            w->weight[i] = all.weight[row];
    }
    return (struct FN(target_rows)){all.labels ? w->labels : NULL, all.labels ? NULL : w->targets, all.weight ? w->weight : NULL};
}

/* What a thread of a training call reads and updates: the parameters and the optimizer's memory of them, everybody's or a copy
 * of its own, and where it finds the parts' gradients. */
struct FN(replica) {
    REAL *params, *state, *second_state;
    const REAL **gradients; /* [n_parts] */
};

/* What the threads of one training call share. */
struct FN(training) {
    struct FN(network) net;
    struct FN(data) data;
    enum loss_code loss;
    ptrdiff_t n_epochs, n_rows, batch_size;
    double alpha;
    struct FN(clipping) clipping;
    /* train_epochs: */
    enum optimizer_code optimizer;
    const double *hyper;
    ptrdiff_t step;
    REAL *params, *state, *second_state;
    /* network_loss_gradient: */
    REAL *gradient;
    /* how it is done: */
    struct FN(extent) extent;
    int n_parts;             /* shares of the work: as many as the threads that were asked for */
    int replicated;          /* schedule.h */
    struct crew crew;
    /* memory: */
    REAL *aligned;           /* params, or a copy for the call where threads share them and they begin within a cache line */
    struct FN(workspace) *workspaces; /* [n_parts] */
    struct FN(replica) *replicas; /* [n_parts], of threads */
    REAL *published;         /* replicated: (2, n_parts, padded n_params), gradients for others to read, in turns of the steps */
    REAL *first_delta;       /* sparse X: (batch_size, n_out of the first layer), the deltas of the whole batch */
    double *losses, *penalties; /* [part][epoch], each part's on its own cache lines: sums over the rows, and L2 terms */
    ptrdiff_t losses_stride;
};

/* One part of a batch, rows [begin, end) of the order: the gradient of the sum by params replaces what is in the part's
 * workspace, and for sparse X the columns of the part's features are made. Dropout is that of the update with this number,
 * counted from 1; 0 is no training. Returns the loss sum. */
static double FN(batch_gradient)(const struct FN(training) *t, const REAL *params, ptrdiff_t update, ptrdiff_t begin, ptrdiff_t end,
                                 int part)
{
    const struct FN(workspace) *w = &t->workspaces[part];
    const struct FN(network) with_params = {t->net.layers, t->net.n_layers, params}, *net = &with_params;
    const struct FN(data) *data = &t->data;
    const ptrdiff_t n_in = net->layers[N_IN], n_out = FN(layer)(net, net->n_layers - 1)[N_OUT];
    const int sparse = t->extent.sparse;
    const struct range mine = share(end - begin, 1, part, t->n_parts);
    const ptrdiff_t n_chunks = (mine.end - mine.begin + t->extent.rows - 1) / t->extent.rows;
    double sum = 0;
    if (n_chunks == 0)
        memset(w->gradient, 0, (size_t)(FN(n_params)(net) - FN(unstored)(net, sparse)) * sizeof(REAL));
    for (ptrdiff_t c = 0; c < n_chunks; c++) { /* chunks of nearly equal size */
        const struct range chunk = share(mine.end - mine.begin, 1, (int)c, (int)n_chunks);
        const ptrdiff_t offset = mine.begin + chunk.begin, rows = chunk.end - chunk.begin;
        const struct FN(masks) masks = {update, offset};
        if (sparse) {
            FN(forward_sparse_rows)(net, &data->x, data->order, begin + offset, rows, masks, w);
        } else {
            FN(gather_inputs)(net, data, begin + offset, rows, w);
            FN(forward_rows)(net, 0, w->activation[0], FN(padded_row)(n_in), rows, masks, w);
        }
        for (ptrdiff_t l = 1; l < net->n_layers; l++)
            FN(set_ones)(w->activation[l], rows, FN(layer)(net, l)[N_IN]);
        const struct FN(target_rows) targets = FN(gather_targets)(net, data, begin + offset, rows, w);
        sum += FN(loss_rows)(t->loss, w->output, rows, n_out, targets, &t->clipping, w->output);
        FN(loss_gradient_rows)(t->loss, w->output, rows, n_out, targets, 1, w->output);
        FN(backward_rows)(net, rows, c > 0, sparse, sparse ? t->first_delta + offset * net->layers[N_OUT] : NULL, masks, w);
    }
    if (sparse)
        FN(sort_columns)(&data->x, data->order, begin, end - begin, share(n_in, 1, part, t->n_parts), &w->columns);
    return t->loss == SQUARED_ERROR ? sum / (double)n_out : sum; /* scikit-learn's convention */
}

/* The number that a batch's sums are divided by: its rows, or the sum of their weights. */
static double FN(batch_weight)(const struct FN(data) *data, ptrdiff_t begin, ptrdiff_t end)
{
    if (!data->targets.weight)
        return (double)(end - begin);
    double sum = 0;
    for (ptrdiff_t i = begin; i < end; i++)
        sum += (double)data->targets.weight[FN(row_at)(data, i)];
    return sum;
}
