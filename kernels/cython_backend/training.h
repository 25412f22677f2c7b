/* Whole epochs of training, and the loss and gradient of a whole data set. Included once for each real type.
 *
 * Every thread carries its own rows through all layers, a chunk at a time that fits its caches:
 *     gather rows -> forward, layer by layer -> loss and output delta -> backward, layer by layer -> its own partial gradient
 * and then, after a barrier, adds up all partial gradients for its own share of the parameters and updates them. Two barriers a
 * step, no other communication; which thread does what depends on nothing but the sizes, so that a fixed number of threads
 * always gives the same bits.
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
            __builtin_prefetch((const char *)(data->x.dense + data->order[ahead] * n_in) + line);
}

/* Copy rows [begin, begin + rows) of the epoch's order into the workspace. */
static struct FN(target_rows) FN(gather)(const struct FN(network) *net, const struct FN(data) *data, ptrdiff_t begin,
                                         ptrdiff_t rows, const struct FN(workspace) *w)
{
    const ptrdiff_t n_in = FN(layer)(net, 0)[N_IN], stride = FN(padded_row)(n_in);
    const ptrdiff_t n_out = FN(layer)(net, net->n_layers - 1)[N_OUT];
    const struct FN(target_rows) all = data->targets;
    for (ptrdiff_t i = 0; i < rows; i++) {
        const ptrdiff_t row = data->order ? data->order[begin + i] : begin + i;
        if (data->x.dense) {
            REAL *x = w->activation[0] + i * stride;
            FN(fetch_row)(data, begin + i, n_in);
            for (ptrdiff_t j = 0; j < n_in; j += LANES)
                FN(store)(x + j, FN(load_upto)(data->x.dense + row * n_in + j, n_in - j));
            x[n_in] = 1;
        }
        if (all.labels)
            w->labels[i] = all.labels[row];
        else
            memcpy(w->targets + i * n_out, all.dense + row * n_out, (size_t)n_out * sizeof(REAL));
        if (all.weight)
            w->weight[i] = all.weight[row];
    }
    return (struct FN(target_rows)){all.labels ? w->labels : NULL, all.labels ? NULL : w->targets, all.weight ? w->weight : NULL};
}

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
    /* memory: */
    struct FN(extent) extent;
    char *memory;
    size_t bytes_a_thread;
    REAL *first_delta;       /* sparse X: (batch_size, n_out of the first layer), the deltas of the whole batch */
    double *losses;          /* [thread][epoch], each thread's on its own cache lines */
    ptrdiff_t losses_stride;
    struct barrier barrier;
};

static struct FN(workspace) FN(thread_workspace)(const struct FN(training) *t, int thread)
{
    struct FN(workspace) w;
    FN(lay_out)(&t->net, &t->extent, t->memory + t->bytes_a_thread * (size_t)thread, &w);
    return w;
}

/* This thread's part of a batch, rows [begin, end) of the order: the gradient of the sum replaces what is in w->gradient, and for
 * sparse X the columns of this thread's features are made. Dropout is that of the update with this number. Returns the loss sum. */
static double FN(batch_gradient)(const struct FN(training) *t, ptrdiff_t update, ptrdiff_t begin, ptrdiff_t end, int thread,
                                 int n_threads, const struct FN(workspace) *w)
{
    const struct FN(network) *net = &t->net;
    const struct FN(data) *data = &t->data;
    const ptrdiff_t n_in = net->layers[N_IN], n_out = FN(layer)(net, net->n_layers - 1)[N_OUT];
    const int sparse = t->extent.sparse;
    const struct range mine = share(end - begin, 1, thread, n_threads);
    const ptrdiff_t n_chunks = (mine.end - mine.begin + CHUNK_ROWS - 1) / CHUNK_ROWS;
    double sum = 0;
    if (n_chunks == 0)
        memset(w->gradient, 0, (size_t)(FN(n_params)(net) - FN(unstored)(net, sparse)) * sizeof(REAL));
    for (ptrdiff_t c = 0; c < n_chunks; c++) { /* chunks of nearly equal size */
        const struct range chunk = share(mine.end - mine.begin, 1, (int)c, (int)n_chunks);
        const ptrdiff_t offset = mine.begin + chunk.begin, rows = chunk.end - chunk.begin;
        const struct FN(masks) masks = {update, offset};
        const struct FN(target_rows) targets = FN(gather)(net, data, begin + offset, rows, w);
        if (sparse)
            FN(forward_sparse_rows)(net, &data->x, data->order, begin + offset, rows, masks, w);
        else
            FN(forward_rows)(net, 0, w->activation[0], FN(padded_row)(n_in), rows, masks, w);
        for (ptrdiff_t l = 1; l < net->n_layers; l++)
            FN(set_ones)(w->activation[l], rows, FN(layer)(net, l)[N_IN]);
        sum += FN(loss_rows)(t->loss, w->output, rows, n_out, targets, &t->clipping, w->output);
        FN(loss_gradient_rows)(t->loss, w->output, rows, n_out, targets, 1, w->output);
        FN(backward_rows)(net, rows, c > 0, sparse, sparse ? t->first_delta + offset * net->layers[N_OUT] : NULL, masks, w);
    }
    if (sparse)
        FN(sort_columns)(&data->x, data->order, begin, end - begin, share(n_in, 1, thread, n_threads), &w->columns);
    return t->loss == SQUARED_ERROR ? sum / (double)n_out : sum; /* scikit-learn's convention */
}

/* The number that a batch's sums are divided by: its rows, or the sum of their weights. */
static double FN(batch_weight)(const struct FN(data) *data, ptrdiff_t begin, ptrdiff_t end)
{
    if (!data->targets.weight)
        return (double)(end - begin);
    double sum = 0;
    for (ptrdiff_t i = begin; i < end; i++)
        sum += (double)data->targets.weight[data->order ? data->order[i] : i];
    return sum;
}

static struct FN(step) FN(optimizer_step)(const struct FN(training) *t, ptrdiff_t step)
{
    const double *h = t->hyper;
    return t->optimizer == SGD ? FN(sgd_step)(h[0], h[1], h[2] != 0) : FN(adam_step)(h[0], h[1], h[2], h[3], (double)step);
}

ALWAYS_INLINE struct FN(updated) FN(updated_at)(const struct FN(training) *t, ptrdiff_t at)
{
    return (struct FN(updated)){t->params + at, t->state + at, t->second_state + at};
}

/* Update this thread's share of the parameters whose gradient is stored, weights with the L2 term and biases without; returns its
 * part of |weights|^2. */
static double FN(update_stored)(const struct FN(training) *t, const struct FN(step) *step, double total_weight, int thread,
                                int n_threads)
{
    const struct FN(workspace) first = FN(thread_workspace)(t, 0);
    const ptrdiff_t skip = FN(unstored)(&t->net, t->extent.sparse);
    struct FN(gradient) gradient = {.part_stride = (ptrdiff_t)(t->bytes_a_thread / sizeof(REAL)), .n_parts = n_threads,
                                    .scale = (REAL)(1 / total_weight)};
    struct range mine = share(FN(n_params)(&t->net) - skip, CACHE_LINE, thread, n_threads);
    mine.begin += skip;
    mine.end += skip;
    double squares = 0;
    for (ptrdiff_t l = 0; l < t->net.n_layers; l++) {
        const ptrdiff_t *layer = FN(layer)(&t->net, l);
        const ptrdiff_t bias = layer[OFFSET] + layer[N_IN] * layer[N_OUT];
        const ptrdiff_t bounds[] = {layer[OFFSET], bias, bias + layer[N_OUT]};
        for (int is_bias = 0; is_bias < 2; is_bias++) {
            const ptrdiff_t begin = max_size(bounds[is_bias], mine.begin), end = min_size(bounds[is_bias + 1], mine.end);
            gradient.parts = first.gradient + begin - skip;
            gradient.l2 = is_bias ? 0 : (REAL)t->alpha;
            if (begin < end) {
                const double sum = FN(update)(step, &gradient, end - begin, FN(updated_at)(t, begin));
                squares += is_bias ? 0 : sum;
            }
        }
    }
    return squares;
}

/* The same for the first layer's weights on sparse X, whose gradient is summed up on the way from the columns. */
static double FN(update_features)(const struct FN(training) *t, const struct FN(step) *step, double total_weight, int thread,
                                  int n_threads, const struct FN(workspace) *w)
{
    const ptrdiff_t n_out = t->net.layers[N_OUT];
    const struct range mine = share(t->net.layers[N_IN], 1, thread, n_threads);
    const ptrdiff_t n = mine.end - mine.begin;
    const REAL l2 = (REAL)t->alpha, scale = (REAL)(1 / total_weight);
    const struct FN(updated) u = FN(updated_at)(t, mine.begin * n_out);
    return step->optimizer == SGD ? FN(update_feature_loop)(SGD, step, &w->columns, n, t->first_delta, n_out, l2, scale, u)
                                  : FN(update_feature_loop)(ADAM, step, &w->columns, n, t->first_delta, n_out, l2, scale, u);
}

static void FN(train_epochs_thread)(void *argument, int thread, int n_threads)
{
    struct FN(training) *t = argument;
    const struct FN(workspace) w = FN(thread_workspace)(t, thread);
    const unsigned mode = flush_subnormals();
    double *losses = t->losses + thread * t->losses_stride;
    ptrdiff_t step = t->step;
    for (ptrdiff_t epoch = 0; epoch < t->n_epochs; epoch++) {
        const ptrdiff_t epoch_end = (epoch + 1) * t->n_rows;
        for (ptrdiff_t begin = epoch * t->n_rows, end; begin < epoch_end; begin = end) {
            end = min_size(begin + t->batch_size, epoch_end);
            const double total_weight = FN(batch_weight)(&t->data, begin, end);
            step++;
            if (total_weight == 0)
                continue;
            const double loss = FN(batch_gradient)(t, step, begin, end, thread, n_threads, &w);
            const struct FN(step) update = FN(optimizer_step)(t, step);
            barrier_wait(&t->barrier, n_threads);
            double squares = FN(update_stored)(t, &update, total_weight, thread, n_threads);
            if (t->extent.sparse)
                squares += FN(update_features)(t, &update, total_weight, thread, n_threads, &w);
            barrier_wait(&t->barrier, n_threads);
            losses[epoch] += (loss + 0.5 * t->alpha * squares) / total_weight * (double)(end - begin);
        }
    }
    restore_subnormals(mode);
}

/* The mean gradient of this thread's share of the parameters, from all threads' sums; returns its part of |weights|^2. */
static double FN(add_up_gradient)(const struct FN(training) *t, double total_weight, int thread, int n_threads)
{
    const struct FN(workspace) first = FN(thread_workspace)(t, 0);
    const ptrdiff_t skip = FN(unstored)(&t->net, t->extent.sparse), stride = (ptrdiff_t)(t->bytes_a_thread / sizeof(REAL));
    double squares = 0;
    for (ptrdiff_t l = 0; l < t->net.n_layers; l++) {
        const ptrdiff_t *layer = FN(layer)(&t->net, l);
        const ptrdiff_t begin = layer[OFFSET] + (l == 0 ? skip : 0), bias = layer[OFFSET] + layer[N_IN] * layer[N_OUT];
        const struct range mine = share(bias + layer[N_OUT] - begin, CACHE_LINE, thread, n_threads);
        for (ptrdiff_t i = begin + mine.begin; i < begin + mine.end; i++) {
            REAL g = first.gradient[i - skip];
            for (int other = 1; other < n_threads; other++)
                g += first.gradient[other * stride + i - skip];
            const double p = i < bias ? (double)t->net.params[i] : 0;
            squares += p * p;
            t->gradient[i] = (REAL)(((double)g + t->alpha * p) / total_weight);
        }
    }
    return squares;
}

/* The same for the first layer's weights on sparse X. */
static double FN(feature_gradients)(const struct FN(training) *t, double total_weight, int thread, int n_threads,
                                    const struct FN(workspace) *w)
{
    const ptrdiff_t n_out = t->net.layers[N_OUT];
    const struct range mine = share(t->net.layers[N_IN], 1, thread, n_threads);
    REAL *gradient = t->gradient + mine.begin * n_out;
    const REAL *weight = t->net.params + mine.begin * n_out;
    double squares = 0;
    FN(sparse_weight_gradient)(&w->columns, 0, mine.end - mine.begin, t->first_delta, n_out, gradient);
    for (ptrdiff_t i = 0; i < (mine.end - mine.begin) * n_out; i++) {
        squares += (double)weight[i] * (double)weight[i];
        gradient[i] = (REAL)(((double)gradient[i] + t->alpha * (double)weight[i]) / total_weight);
    }
    return squares;
}

static void FN(loss_gradient_thread)(void *argument, int thread, int n_threads)
{
    struct FN(training) *t = argument;
    const struct FN(workspace) w = FN(thread_workspace)(t, thread);
    const double total_weight = FN(batch_weight)(&t->data, 0, t->n_rows);
    const double loss = FN(batch_gradient)(t, 0, 0, t->n_rows, thread, n_threads, &w);
    barrier_wait(&t->barrier, n_threads);
    double squares = FN(add_up_gradient)(t, total_weight, thread, n_threads);
    if (t->extent.sparse)
        squares += FN(feature_gradients)(t, total_weight, thread, n_threads, &w);
    t->losses[thread * t->losses_stride] = (loss + 0.5 * t->alpha * squares) / total_weight;
}

/* At most so many entries of sparse X are in one batch. */
static ptrdiff_t FN(most_batch_entries)(const struct FN(training) *t)
{
    const struct FN(features) *x = &t->data.x;
    ptrdiff_t longest = 0, total = 0;
    for (ptrdiff_t i = 0; i < t->data.n_rows; i++) {
        const ptrdiff_t row = t->data.order ? t->data.order[i] : i;
        const ptrdiff_t entries = FN(row_start)(x, row + 1) - FN(row_start)(x, row);
        longest = max_size(longest, entries);
        total += entries;
    }
    return min_size(total, longest * t->batch_size);
}

/* Allocate, run, and write for each epoch the sum of what the threads have in `losses`. Returns -1 when there is no memory; nothing
 * was changed then. */
static int FN(run_training)(struct FN(training) *t, region_fn thread_function, int n_threads, double *losses)
{
    struct FN(workspace) unused;
    n_threads = usable_threads(n_threads);
    const int sparse = !t->data.x.dense;
    t->extent = (struct FN(extent)){.rows = min_size(CHUNK_ROWS, t->batch_size), .training = 1, .sparse = sparse,
                                    .batch_entries = sparse ? FN(most_batch_entries)(t) : 0};
    t->bytes_a_thread = FN(lay_out)(&t->net, &t->extent, NULL, &unused);
    t->losses_stride = round_up(t->n_epochs, CACHE_LINE / (ptrdiff_t)sizeof(double));
    const size_t losses_bytes = (size_t)(n_threads * t->losses_stride) * sizeof(double);
    const size_t delta_bytes = sparse ? (size_t)round_up(t->batch_size * t->net.layers[N_OUT] * (ptrdiff_t)sizeof(REAL), CACHE_LINE) : 0;
    char *block = aligned_block(losses_bytes + delta_bytes + t->bytes_a_thread * (size_t)n_threads);
    if (!block)
        return -1;
    t->losses = memset(block, 0, losses_bytes); /* OpenMP may give fewer threads than were asked for */
    t->first_delta = (REAL *)(block + losses_bytes);
    t->memory = block + losses_bytes + delta_bytes;
    run_region(thread_function, t, n_threads);
    for (ptrdiff_t epoch = 0; epoch < t->n_epochs; epoch++) {
        losses[epoch] = 0;
        for (int thread = 0; thread < n_threads; thread++)
            losses[epoch] += t->losses[thread * t->losses_stride + epoch];
    }
    free(block);
    return 0;
}
