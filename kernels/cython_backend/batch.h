/* The gradient of a batch, in as many parts as there are threads. Included once for each real type.
 *
 * A part carries its own rows through all layers, a chunk at a time that fits the caches:
 *     gather rows -> forward, layer by layer -> loss and output delta -> backward, layer by layer -> the part's gradient
 * With batch norms a part is one chunk, and all parts meet at each batch norm, forward and backward. Which rows a part has depends
 * only on the sizes, so a fixed number of threads always gives the same bits.
 */

/* The data of a training call; order NULL means rows 0, 1, 2, … */
struct FN(data) {
    struct FN(features) x;
    struct FN(target_rows) targets;
    const ptrdiff_t *order;
    ptrdiff_t n_rows;        /* in the order */
};

/* Prefetch the row that is FETCH_AHEAD bytes after the one at position `at` of the order, in this batch or the next. */
ALWAYS_INLINE void FN(fetch_row)(const struct FN(data) *data, ptrdiff_t at, ptrdiff_t n_in)
{
    const ptrdiff_t bytes = n_in * (ptrdiff_t)sizeof(STORED), ahead = at + 1 + FETCH_AHEAD / bytes;
    if (data->order && ahead < data->n_rows)
        for (ptrdiff_t line = 0; line < bytes + CACHE_LINE - 1; line += CACHE_LINE)
            __builtin_prefetch((const char *)(data->x.dense + data->order[ahead] * n_in) + line, 0, L2_CACHE);
}

/* Copy in whole registers: up to one register behind the copy is overwritten. */
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
    const struct FN(matrix) to = FN(value)(net, w, 0);
    const ptrdiff_t n_in = net->layers[0].n_in;
    for (ptrdiff_t i = 0; i < rows; i++) {
        STORED *x = to.at + i * to.stride;
        FN(fetch_row)(data, begin + i, n_in);
        const STORED *from = data->x.dense + FN(row_at)(data, begin + i) * n_in;
        if (STORED_IS_REAL)
            FN(copy_row)((const REAL *)from, n_in, (REAL *)x);
        else
            memcpy(x, from, (size_t)n_in * sizeof(STORED));
        FN(put_one)(x + n_in, 1);
    }
}

/* What a thread of a training call reads and updates: the parameters and the optimizer's memory, shared or a copy of its own; their
 * moving average, of which there is but one, or NULL where another thread updates it; and where it finds the gradients that it adds
 * up: those of the parts, or one sum of all. */
struct FN(replica) {
    REAL *params, *slots[2], *average;
    const REAL **gradients; /* [n_gradients] */
    int n_gradients;
};

struct FN(validation);

/* What the threads of one training call share. */
struct FN(training) {
    struct FN(network) net;
    struct FN(data) data;
    struct FN(objective) objective;
    ptrdiff_t n_epochs, n_rows, batch_size;
    double alpha, gradient_scale, value_scale, smoothing;
    /* train_epochs, and the last line apply_sums: */
    const struct job *job;
    struct FN(validation) *validation; /* or NULL */
    REAL *params, *slots[2], *statistics;
    /* network_loss_gradient and batch_sums: what they write, what the loss is divided by, and whose dropout masks there are */
    REAL *gradient;
    double divisor;
    ptrdiff_t update, first_row;
    /* apply_sums: the gradient, then the loss; and the sum of the weights */
    const REAL *sums;
    double total_weight;
    /* how it is done: */
    struct FN(extent) extent;
    int n_parts;             /* shares of the work: the number of threads that was asked for */
    int replicated;          /* schedule.h */
    ptrdiff_t first_step, end_step; /* steps of the call that a region runs */
    struct crew crew;
    /* memory: */
    REAL *aligned;           /* params, or a copy for the call if threads share them and they do not begin on a cache line */
    struct FN(workspace) *workspaces; /* [n_parts] */
    struct FN(replica) *replicas; /* [n_parts], of threads */
    REAL *published;         /* replicated: (2, n_parts, padded n_params), gradients for others to read, in turns of the steps */
    REAL *first_delta;       /* sparse X: (batch_size, n_out of the first row), the deltas of the whole batch */
    REAL *row_gradient;      /* sparse X and clipping by norm: (n_parts, n_out of the first row) */
    double *losses, *penalties; /* [part][epoch], each part's on its own cache lines: sums over the rows, and L2 terms */
    double *norms;           /* [part], each on its own cache lines: squares of the gradient */
    ptrdiff_t losses_stride;
};

/* Label smoothing: y becomes (1 - smoothing) y + smoothing / n_classes, with two classes for the binary cross-entropy. */
static void FN(smooth_targets)(enum loss_code loss, REAL smoothing, ptrdiff_t n, ptrdiff_t n_out, REAL *targets)
{
    const REAL share_of_each = smoothing / (REAL)(loss == BINARY_CROSS_ENTROPY ? 2 : n_out);
    for (ptrdiff_t i = 0; i < n; i++)
        targets[i] = (1 - smoothing) * targets[i] + share_of_each;
}

/* Copy the targets, smoothed, and the sample weights of the chunk's rows into the workspace; returns where they are. */
static struct FN(target_rows) FN(gather_targets)(const struct FN(training) *t, ptrdiff_t begin, ptrdiff_t rows,
                                                 const struct FN(workspace) *w)
{
    const ptrdiff_t n_out = FN(n_outputs)(&t->net);
    const struct FN(target_rows) all = t->data.targets;
    const int labels = all.labels && t->smoothing == 0;
    for (ptrdiff_t i = 0; i < rows; i++) {
        const ptrdiff_t row = FN(row_at)(&t->data, begin + i);
        if (labels) {
            w->labels[i] = all.labels[row];
        } else if (all.labels) {
            memset(w->targets + i * n_out, 0, (size_t)n_out * sizeof(REAL));
            w->targets[i * n_out + all.labels[row]] = 1;
        } else {
            FN(copy_row)(all.dense + row * n_out, n_out, w->targets + i * n_out);
        }
        if (all.weight)
            w->weight[i] = all.weight[row];
    }
    if (t->smoothing != 0)
        FN(smooth_targets)(t->objective.loss, (REAL)t->smoothing, rows * n_out, n_out, w->targets);
    return (struct FN(target_rows)){labels ? w->labels : NULL, labels ? NULL : w->targets, all.weight ? w->weight : NULL};
}

/* Before the first chunk of encoded rows with new parameters. */
static void FN(begin_encoded)(const struct FN(chunk) *c)
{
    const struct layer *layer = &c->net->layers[0];
    FN(make_nodes)(c->x, c->net->params + layer->offset, layer->n_out, c->w->nodes);
}

/* A batch: rows [begin, end) of the order. Dropout has the masks of update number `update`, counted from 1; 0 means no dropout. Where
 * other processes have rows of the batch too, the first of these is row first_row of it. */
struct FN(batch) {
    ptrdiff_t begin, end, update, first_row;
};

/* The chunk of rows [begin, begin + rows) of a batch, with the parameters of `net`. */
static struct FN(chunk) FN(chunk_of)(const struct FN(training) *t, const struct FN(network) *net, const struct FN(batch) *batch,
                                     ptrdiff_t begin, ptrdiff_t rows, int part)
{
    struct FN(chunk) c = {.net = net, .w = &t->workspaces[part], .rows = rows, .training = 1,
                          .masks = {batch->update, batch->first_row + begin}, .first = batch->begin + begin};
    if (FN(is_direct)(&t->extent))
        c.x = &t->data.x, c.order = t->data.order;
    if (t->extent.sparse)
        c.first_delta = t->first_delta + begin * net->layers[0].n_out;
    return c;
}

/* Bring a chunk's rows into its workspace, or sparse and encoded ones through the first row; returns the layer table's row that is
 * next. */
static ptrdiff_t FN(begin_chunk)(const struct FN(training) *t, const struct FN(chunk) *c)
{
    if (c->x) {
        if (t->extent.encoded && !c->accumulate)
            FN(begin_encoded)(c);
        FN(direct_linear_forward)(c);
        return 1;
    }
    FN(gather_inputs)(c->net, &t->data, c->first, c->rows, c->w);
    return 0;
}

/* Returns the chunk's loss sum, and overwrites the logits with the gradient with respect to them. */
static double FN(chunk_loss)(const struct FN(training) *t, const struct FN(chunk) *c)
{
    const ptrdiff_t n_out = FN(n_outputs)(c->net);
    REAL *logits = FN(finish_logits)(c->net, c->w, c->rows);
    const struct FN(target_rows) targets = FN(gather_targets)(t, c->first, c->rows, c->w);
    const double sum = FN(loss_rows)(&t->objective, logits, c->rows, n_out, targets, logits);
    FN(loss_gradient_rows)(&t->objective, logits, c->rows, n_out, targets, (REAL)t->gradient_scale, logits);
    return sum;
}

/* A loss sum as it is reported; squared error is divided by the number of outputs, as in scikit-learn. */
static double FN(reported)(const struct FN(training) *t, double sum)
{
    return t->value_scale * (t->objective.loss == SQUARED_ERROR ? sum / (double)FN(n_outputs)(&t->net) : sum);
}

static void FN(clear_gradient)(const struct FN(training) *t, int part)
{
    const ptrdiff_t n = FN(n_params)(&t->net) - FN(unstored)(&t->net, t->extent.sparse);
    memset(t->workspaces[part].gradient, 0, (size_t)n * sizeof(REAL));
}

/* What remains to be done for the gradient of the first row after all chunks of a part: with sparse X, sort the batch's entries of
 * the part's features by column. */
static void FN(finish_first_row)(const struct FN(training) *t, const struct FN(batch) *batch, int part)
{
    const struct FN(workspace) *w = &t->workspaces[part];
    const struct range features = share(t->net.layers[0].n_in, 1, part, t->n_parts);
    if (t->extent.encoded)
        FN(add_node_gradient)(&t->data.x, t->net.layers[0].n_out, w->node_gradient, w->node_sums, w->gradient);
    if (t->extent.sparse)
        FN(sort_columns)(&t->data.x, t->data.order, batch->begin, batch->end - batch->begin, features,
                         &t->workspaces[part].columns);
}

/* One part of a batch, without batch norms: the gradient of the loss sum with respect to params replaces what is in the part's
 * workspace. Returns the reported loss sum. */
static double FN(part_gradient)(const struct FN(training) *t, const struct FN(network) *net, const struct FN(batch) *batch,
                                int part)
{
    const struct range mine = share(batch->end - batch->begin, 1, part, t->n_parts);
    const ptrdiff_t n_chunks = (mine.end - mine.begin + t->extent.rows - 1) / t->extent.rows;
    double sum = 0;
    if (n_chunks == 0)
        FN(clear_gradient)(t, part);
    for (ptrdiff_t k = 0; k < n_chunks; k++) { /* chunks of nearly equal size */
        const struct range here = share(mine.end - mine.begin, 1, (int)k, (int)n_chunks);
        struct FN(chunk) c = FN(chunk_of)(t, net, batch, mine.begin + here.begin, here.end - here.begin, part);
        c.accumulate = k > 0;
        const ptrdiff_t next = FN(begin_chunk)(t, &c);
        FN(forward_rows)(&c, next, FN(value_or_x)(&c, 0, (struct FN(matrix)){}));
        sum += FN(chunk_loss)(t, &c);
        struct FN(matrix) delta = FN(first_gradient)(&c);
        FN(backward_rows)(&c, net->n_layers - 2, &delta);
    }
    FN(finish_first_row)(t, batch, part);
    return FN(reported)(t, sum);
}

/* The parts of a batch that one thread does, with batch norms, where all parts meet. Adds each part's reported loss sum times
 * `scale` to losses[part * losses_stride]. */
static void FN(normalized_gradient)(struct FN(training) *t, const struct FN(network) *net, const struct FN(batch) *batch,
                                    int thread, int active, double scale, double *losses, struct stopwatch *watch)
{
    const ptrdiff_t rows = batch->end - batch->begin;
    const struct FN(parts) parts = {t->workspaces, t->n_parts, rows};
    ptrdiff_t at = -1; /* the batch norm where the parts have met, or -1 */
    do {
        ptrdiff_t stop = 0;
        for (int part = thread; part < t->n_parts; part += active) {
            const struct range mine = share(rows, 1, part, t->n_parts);
            const struct FN(chunk) c = FN(chunk_of)(t, net, batch, mine.begin, mine.end - mine.begin, part);
            ptrdiff_t next = at + 1;
            if (at < 0)
                next = FN(begin_chunk)(t, &c);
            else
                FN(batch_norm_layer_forward)(&c, at, &parts);
            stop = FN(forward_rows)(&c, next, FN(value_or_x)(&c, 0, (struct FN(matrix)){}));
            if (stop < net->n_layers - 1)
                FN(batch_norm_layer_sums)(&c, stop);
        }
        at = stop;
        if (at < net->n_layers - 1)
            crew_wait(&t->crew, active, watch);
    } while (at < net->n_layers - 1);
    for (int part = thread; part < t->n_parts; part += active) {
        const struct range mine = share(rows, 1, part, t->n_parts);
        const struct FN(chunk) c = FN(chunk_of)(t, net, batch, mine.begin, mine.end - mine.begin, part);
        losses[part * t->losses_stride] += scale * FN(reported)(t, FN(chunk_loss)(t, &c));
    }
    at = net->n_layers - 1;
    do {
        ptrdiff_t stop = -1;
        for (int part = thread; part < t->n_parts; part += active) {
            const struct range mine = share(rows, 1, part, t->n_parts);
            const struct FN(chunk) c = FN(chunk_of)(t, net, batch, mine.begin, mine.end - mine.begin, part);
            struct FN(workspace) *w = &t->workspaces[part];
            struct FN(matrix) delta = {w->delta, w->delta_stride};
            if (at == net->n_layers - 1) {
                delta = FN(first_gradient)(&c);
            } else {
                FN(batch_norm_layer_backward)(&c, at, delta, &parts);
                FN(join_branch)(&c, at, delta);
            }
            stop = FN(backward_rows)(&c, at - 1, &delta);
            if (stop >= 0)
                FN(batch_norm_layer_gradient_sums)(&c, stop, delta);
            w->delta = delta.at, w->delta_stride = delta.stride;
        }
        at = stop;
        if (at >= 0)
            crew_wait(&t->crew, active, watch);
    } while (at >= 0);
    for (int part = thread; part < t->n_parts; part += active)
        FN(finish_first_row)(t, batch, part);
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
