/* Whole epochs of training, and the loss and gradient of a whole data set. Included once for each real type.
 *
 * The work is cut into as many parts as there are threads. A part carries its own rows through all layers, a chunk at a time that
 * fits the caches:
 *     gather rows -> forward, layer by layer -> loss and output delta -> backward, layer by layer -> the part's gradient
 * and then, after a barrier, adds up all parts' gradients for its own share of the parameters and updates them. Two barriers a
 * step, no other communication. Who does a part may change while the cores are crowded (crew.h); what is in it depends on
 * nothing but the sizes, so that a fixed number of threads always gives the same bits.
 *
 * This one schedule serves every size. What it costs beside the products was measured on two cores of an EPYC of which the host
 * changes the distance (a cache line's way there and back takes 110 ns or 350 ns), with 50-128-64-5 in float32, in thousands of cycles
 * a step of 200 rows; one thread takes 635 for the gradient and 18 for the update:
 *   barriers                              2 to 4 each, and the wait for the slower thread: 10 to 40
 *   update, parameters stored as usual    59 near, 175 to 197 far, for each thread's half: all wait for lines that the other has read
 *   update, parameters streamed           21 to 28, near or far (optimizer.h)
 * Streaming the gradients of the others' shares to a second place, too, gained 10 % for 64-100-10 far, and lost 1 to 6 % elsewhere. Up
 * to how many threads are worth while, decides fastprop/threads.py.
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
    int n_parts;             /* shares of the work: as many as the threads that were asked for */
    struct FN(workspace) *workspaces; /* [n_parts] */
    ptrdiff_t bytes_a_part;
    REAL *first_delta;       /* sparse X: (batch_size, n_out of the first layer), the deltas of the whole batch */
    double *losses;          /* [part][epoch], each part's on its own cache lines */
    ptrdiff_t losses_stride;
    struct crew crew;
};

/* One part of a batch, rows [begin, end) of the order: the gradient of the sum replaces what is in the part's workspace, and for
 * sparse X the columns of the part's features are made. Dropout is that of the update with this number, counted from 1; 0 is no
 * training. Returns the loss sum. */
static double FN(batch_gradient)(const struct FN(training) *t, ptrdiff_t update, ptrdiff_t begin, ptrdiff_t end, int part)
{
    const struct FN(workspace) *w = &t->workspaces[part];
    const struct FN(network) *net = &t->net;
    const struct FN(data) *data = &t->data;
    const ptrdiff_t n_in = net->layers[N_IN], n_out = FN(layer)(net, net->n_layers - 1)[N_OUT];
    const int sparse = t->extent.sparse;
    const struct range mine = share(end - begin, 1, part, t->n_parts);
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

/* Update the parameters [begin, end), of one layer's weights or biases; returns the sum of their squares. Shared: other threads read
 * them in the next step. */
static double FN(update_stretch)(const struct FN(training) *t, const struct FN(step) *step, struct FN(gradient) *gradient,
                                 ptrdiff_t begin, ptrdiff_t end, int shared)
{
    struct FN(updated) u = FN(updated_at)(t, begin);
    gradient->parts = t->workspaces[0].gradient + begin - FN(unstored)(&t->net, t->extent.sparse);
    u.streams = shared && (uintptr_t)u.params % VECTOR_BYTES == 0;
    return FN(update)(step, gradient, end - begin, u);
}

/* Update one part of the parameters whose gradient is stored, weights with the L2 term and biases without; returns its share of
 * |weights|^2. */
static double FN(update_stored)(const struct FN(training) *t, const struct FN(step) *step, double total_weight, int part, int shared)
{
    const ptrdiff_t skip = FN(unstored)(&t->net, t->extent.sparse);
    struct FN(gradient) gradient = {.part_stride = t->bytes_a_part / (ptrdiff_t)sizeof(REAL), .n_parts = t->n_parts,
                                    .scale = (REAL)(1 / total_weight)};
    const struct range mine = share(FN(n_params)(&t->net) - skip, CACHE_LINE, part, t->n_parts);
    double squares = 0;
    for (ptrdiff_t l = 0; l < t->net.n_layers; l++) {
        const ptrdiff_t *layer = FN(layer)(&t->net, l);
        const ptrdiff_t bias = layer[OFFSET] + layer[N_IN] * layer[N_OUT];
        const ptrdiff_t bounds[] = {layer[OFFSET], bias, bias + layer[N_OUT]};
        for (int is_bias = 0; is_bias < 2; is_bias++) {
            const ptrdiff_t begin = max_size(bounds[is_bias], mine.begin + skip), end = min_size(bounds[is_bias + 1], mine.end + skip);
            const ptrdiff_t boundary = min_size(round_up(begin, LANES), end);
            gradient.l2 = is_bias ? 0 : (REAL)t->alpha;
            if (begin < end) {
                const double sum = FN(update_stretch)(t, step, &gradient, begin, boundary, shared)
                                   + FN(update_stretch)(t, step, &gradient, boundary, end, shared);
                squares += is_bias ? 0 : sum;
            }
        }
    }
    return squares;
}

/* The same for the first layer's weights on sparse X, whose gradient is summed up on the way from the columns. */
static double FN(update_features)(const struct FN(training) *t, const struct FN(step) *step, double total_weight, int part)
{
    const struct FN(columns) *columns = &t->workspaces[part].columns;
    const ptrdiff_t n_out = t->net.layers[N_OUT];
    const struct range mine = share(t->net.layers[N_IN], 1, part, t->n_parts);
    const ptrdiff_t n = mine.end - mine.begin;
    const REAL l2 = (REAL)t->alpha, scale = (REAL)(1 / total_weight);
    const struct FN(updated) u = FN(updated_at)(t, mine.begin * n_out);
    return step->optimizer == SGD ? FN(update_feature_loop)(SGD, step, columns, n, t->first_delta, n_out, l2, scale, u)
                                  : FN(update_feature_loop)(ADAM, step, columns, n, t->first_delta, n_out, l2, scale, u);
}

/* Step number `step` of the call as thread `thread` of `active`, which does the parts thread, thread + active, ... */
static void FN(train_batch)(struct FN(training) *t, ptrdiff_t step, int thread, int active, struct stopwatch *watch)
{
    const ptrdiff_t n_batches = (t->n_rows + t->batch_size - 1) / t->batch_size;
    const ptrdiff_t epoch = step / n_batches, first = epoch * t->n_rows;
    const ptrdiff_t begin = first + step % n_batches * t->batch_size, end = min_size(begin + t->batch_size, first + t->n_rows);
    const double total_weight = FN(batch_weight)(&t->data, begin, end);
    if (total_weight == 0) {
        crew_wait(&t->crew, active, watch); /* every step has this barrier: only then is everybody known to have joined in */
        return;
    }
    const double scale = (double)(end - begin) / total_weight;
    const ptrdiff_t number = t->step + step + 1;
    for (int part = thread; part < t->n_parts; part += active)
        t->losses[part * t->losses_stride + epoch] += scale * FN(batch_gradient)(t, number, begin, end, part);
    const struct FN(step) update = FN(optimizer_step)(t, number);
    crew_wait(&t->crew, active, watch);
    for (int part = thread; part < t->n_parts; part += active) {
        double squares = FN(update_stored)(t, &update, total_weight, part, active > 1);
        if (t->extent.sparse)
            squares += FN(update_features)(t, &update, total_weight, part);
        t->losses[part * t->losses_stride + epoch] += scale * 0.5 * t->alpha * squares;
    }
    streams_done();
}

static void FN(train_epochs_thread)(void *argument, int thread, int n_threads)
{
    struct FN(training) *t = argument;
    const ptrdiff_t n_steps = t->n_epochs * ((t->n_rows + t->batch_size - 1) / t->batch_size);
    const unsigned mode = flush_subnormals();
    struct stopwatch watch = {.began = n_threads > 1 ? nanoseconds() : 0};
    for (ptrdiff_t step = 0; step < n_steps; step++) {
        step = crew_join(&t->crew, thread, step);
        if (step < 0 || step == n_steps) /* joined after the last one */
            break;
        const int active = crew_size(&t->crew, n_threads);
        FN(train_batch)(t, step, thread, active, &watch);
        crew_end_step(&t->crew, thread, n_threads, active, step, &watch);
        crew_wait(&t->crew, active, &watch);
    }
    if (thread == 0)
        crew_dismiss(&t->crew);
    restore_subnormals(mode);
}

/* The mean gradient of one part of the parameters, from all parts' sums; returns its share of |weights|^2. */
static double FN(add_up_gradient)(const struct FN(training) *t, double total_weight, int part)
{
    const REAL *sums = t->workspaces[0].gradient;
    const ptrdiff_t skip = FN(unstored)(&t->net, t->extent.sparse), stride = t->bytes_a_part / (ptrdiff_t)sizeof(REAL);
    double squares = 0;
    for (ptrdiff_t l = 0; l < t->net.n_layers; l++) {
        const ptrdiff_t *layer = FN(layer)(&t->net, l);
        const ptrdiff_t begin = layer[OFFSET] + (l == 0 ? skip : 0), bias = layer[OFFSET] + layer[N_IN] * layer[N_OUT];
        const struct range mine = share(bias + layer[N_OUT] - begin, CACHE_LINE, part, t->n_parts);
        for (ptrdiff_t i = begin + mine.begin; i < begin + mine.end; i++) {
            REAL g = sums[i - skip];
            for (int other = 1; other < t->n_parts; other++)
                g += sums[other * stride + i - skip];
            const double p = i < bias ? (double)t->net.params[i] : 0;
            squares += p * p;
            t->gradient[i] = (REAL)(((double)g + t->alpha * p) / total_weight);
        }
    }
    return squares;
}

/* The same for the first layer's weights on sparse X. */
static double FN(feature_gradients)(const struct FN(training) *t, double total_weight, int part)
{
    const ptrdiff_t n_out = t->net.layers[N_OUT];
    const struct range mine = share(t->net.layers[N_IN], 1, part, t->n_parts);
    REAL *gradient = t->gradient + mine.begin * n_out;
    const REAL *weight = t->net.params + mine.begin * n_out;
    double squares = 0;
    FN(sparse_weight_gradient)(&t->workspaces[part].columns, 0, mine.end - mine.begin, t->first_delta, n_out, gradient);
    for (ptrdiff_t i = 0; i < (mine.end - mine.begin) * n_out; i++) {
        squares += (double)weight[i] * (double)weight[i];
        gradient[i] = (REAL)(((double)gradient[i] + t->alpha * (double)weight[i]) / total_weight);
    }
    return squares;
}

static void FN(loss_gradient_thread)(void *argument, int thread, int n_threads)
{
    struct FN(training) *t = argument;
    const double total_weight = FN(batch_weight)(&t->data, 0, t->n_rows);
    for (int part = thread; part < t->n_parts; part += n_threads)
        t->losses[part * t->losses_stride] = FN(batch_gradient)(t, 0, 0, t->n_rows, part) / total_weight;
    barrier_wait(&t->crew.barrier, n_threads);
    for (int part = thread; part < t->n_parts; part += n_threads) {
        double squares = FN(add_up_gradient)(t, total_weight, part);
        if (t->extent.sparse)
            squares += FN(feature_gradients)(t, total_weight, part);
        t->losses[part * t->losses_stride] += 0.5 * t->alpha * squares / total_weight;
    }
    if (thread == 0)
        crew_dismiss(&t->crew);
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

/* Allocate, run in n_threads parts, and write for each epoch the sum of what the parts have in `losses`. Returns -1 when there is no
 * memory; nothing was changed then. */
static int FN(run_training)(struct FN(training) *t, region_fn thread_function, int n_threads, double *losses)
{
    struct FN(workspace) unused;
    const int sparse = !t->data.x.dense;
    t->n_parts = n_threads; /* also where there are fewer threads, so that the result is the same */
    t->extent = (struct FN(extent)){.rows = min_size(CHUNK_ROWS, t->batch_size), .training = 1, .sparse = sparse,
                                    .batch_entries = sparse ? FN(most_batch_entries)(t) : 0};
    t->bytes_a_part = (ptrdiff_t)FN(lay_out)(&t->net, &t->extent, NULL, &unused);
    t->losses_stride = round_up(t->n_epochs, CACHE_LINE / (ptrdiff_t)sizeof(double));
    const ptrdiff_t losses_bytes = n_threads * t->losses_stride * (ptrdiff_t)sizeof(double);
    const ptrdiff_t workspaces_bytes = round_up(n_threads * (ptrdiff_t)sizeof(struct FN(workspace)), CACHE_LINE);
    const ptrdiff_t delta_bytes = sparse ? round_up(t->batch_size * t->net.layers[N_OUT] * (ptrdiff_t)sizeof(REAL), CACHE_LINE) : 0;
    char *block = take_block((size_t)(losses_bytes + workspaces_bytes + delta_bytes + t->bytes_a_part * n_threads)), *next = block;
    if (!block)
        return -1;
    t->losses = memset(next, 0, (size_t)losses_bytes);
    t->workspaces = (struct FN(workspace) *)(next += losses_bytes);
    t->first_delta = (REAL *)(next += workspaces_bytes);
    next += delta_bytes;
    for (int part = 0; part < n_threads; part++, next += t->bytes_a_part)
        FN(lay_out)(&t->net, &t->extent, next, &t->workspaces[part]);
    const int n_began = crew_assemble(&t->crew, usable_threads(n_threads));
    run_region(thread_function, t, n_began);
    crew_disband(&t->crew, n_began);
    for (ptrdiff_t epoch = 0; epoch < t->n_epochs; epoch++) {
        losses[epoch] = 0;
        for (int part = 0; part < n_threads; part++)
            losses[epoch] += t->losses[part * t->losses_stride + epoch];
    }
    give_back(block);
    return 0;
}
