/* Whole epochs of training, and the loss and gradient of a whole data set. Included once for each real type. */

static struct FN(step) FN(optimizer_step)(const struct FN(training) *t, ptrdiff_t step)
{
    const double *h = t->hyper;
    return t->optimizer == SGD ? FN(sgd_step)(h[0], h[1], h[2] != 0) : FN(adam_step)(h[0], h[1], h[2], h[3], (double)step);
}

ALWAYS_INLINE struct FN(updated) FN(updated_at)(const struct FN(replica) *replica, ptrdiff_t at)
{
    return (struct FN(updated)){replica->params + at, replica->state + at, replica->second_state + at};
}

/* Update the parameters [begin, end), of one layer's weights or biases; returns the sum of their squares. Shared: other threads
 * read them in the next step. */
static double FN(update_stretch)(const struct FN(step) *step, struct FN(gradient) *gradient, const struct FN(replica) *replica,
                                 ptrdiff_t skip, ptrdiff_t begin, ptrdiff_t end, int shared)
{
    struct FN(updated) u = FN(updated_at)(replica, begin);
    gradient->begin = begin - skip;
    u.streams = shared && (uintptr_t)u.params % VECTOR_BYTES == 0;
    return FN(update)(step, gradient, end - begin, u);
}

/* Update one part of the parameters whose gradient is stored, weights with the L2 term and biases without; returns its share of
 * |weights|^2. */
static double FN(update_stored)(const struct FN(training) *t, const struct FN(replica) *replica, const struct FN(step) *step,
                                double total_weight, int part, int shared)
{
    const ptrdiff_t skip = FN(unstored)(&t->net, t->extent.sparse);
    struct FN(gradient) gradient = {.parts = replica->gradients, .n_parts = t->n_parts, .scale = (REAL)(1 / total_weight)};
    const struct range mine = share(FN(n_params)(&t->net) - skip, CACHE_LINE, part, t->n_parts);
    double squares = 0;
    for (ptrdiff_t l = 0; l < t->net.n_layers; l++) {
        const ptrdiff_t *layer = FN(layer)(&t->net, l);
        const ptrdiff_t bias = layer[OFFSET] + layer[N_IN] * layer[N_OUT];
        const ptrdiff_t bounds[] = {layer[OFFSET], bias, bias + layer[N_OUT]};
        for (int is_bias = 0; is_bias < 2; is_bias++) {
            const ptrdiff_t begin = max_size(bounds[is_bias], mine.begin + skip);
            const ptrdiff_t end = min_size(bounds[is_bias + 1], mine.end + skip);
            const ptrdiff_t boundary = min_size(round_up(begin, LANES), end);
            gradient.l2 = is_bias ? 0 : (REAL)t->alpha;
            if (begin < end) {
                const double sum = FN(update_stretch)(step, &gradient, replica, skip, begin, boundary, shared)
                                   + FN(update_stretch)(step, &gradient, replica, skip, boundary, end, shared);
                squares += is_bias ? 0 : sum;
            }
        }
    }
    return squares;
}

/* The same for the first layer's weights on sparse X, whose gradient is summed up on the way from the columns. */
static double FN(update_features)(const struct FN(training) *t, const struct FN(replica) *replica, const struct FN(step) *step,
                                  double total_weight, int part)
{
    const struct FN(columns) *columns = &t->workspaces[part].columns;
    const ptrdiff_t n_out = t->net.layers[N_OUT];
    const struct range mine = share(t->net.layers[N_IN], 1, part, t->n_parts);
    const ptrdiff_t n = mine.end - mine.begin;
    const REAL l2 = (REAL)t->alpha, scale = (REAL)(1 / total_weight);
    const struct FN(updated) u = FN(updated_at)(replica, mine.begin * n_out);
    return step->optimizer == SGD ? FN(update_feature_loop)(SGD, step, columns, n, t->first_delta, n_out, l2, scale, u)
                                  : FN(update_feature_loop)(ADAM, step, columns, n, t->first_delta, n_out, l2, scale, u);
}

/* A thread that begins, or was away: bring its copy up to date, while the first thread cannot change it, before the step's
 * barrier. */
static void FN(catch_up)(const struct FN(training) *t, int thread)
{
    const struct FN(replica) *from = &t->replicas[0], *to = &t->replicas[thread];
    if (to->params == from->params)
        return;
    const size_t bytes = (size_t)FN(n_params)(&t->net) * sizeof(REAL);
    memcpy(to->params, from->params, bytes);
    memcpy(to->state, from->state, bytes);
    if (t->optimizer == ADAM)
        memcpy(to->second_state, from->second_state, bytes);
}

/* Where a part's gradient is for the other threads to read. */
static REAL *FN(published)(const struct FN(training) *t, ptrdiff_t step, int part)
{
    return t->published + (step % 2 * t->n_parts + part) * FN(padded_params)(&t->net);
}

static void FN(publish)(const struct FN(training) *t, ptrdiff_t step, int part)
{
    const REAL *gradient = t->workspaces[part].gradient;
    REAL *out = FN(published)(t, step, part);
    for (ptrdiff_t i = 0; i < FN(padded_params)(&t->net); i += LANES)
        FN(stream)(out + i, FN(load)(gradient + i));
    streams_done();
}

/* Step number `step` of the call as thread `thread` of `active`, which does the parts thread, thread + active, ... */
static void FN(train_batch)(struct FN(training) *t, ptrdiff_t step, int thread, int active, struct stopwatch *watch)
{
    const ptrdiff_t n_batches = (t->n_rows + t->batch_size - 1) / t->batch_size;
    const ptrdiff_t epoch = step / n_batches, first = epoch * t->n_rows;
    const ptrdiff_t begin = first + step % n_batches * t->batch_size, end = min_size(begin + t->batch_size, first + t->n_rows);
    const double total_weight = FN(batch_weight)(&t->data, begin, end);
    if (total_weight == 0) {
        crew_meet(&t->crew, thread, active, step, watch);
        return;
    }
    const double scale = (double)(end - begin) / total_weight;
    const ptrdiff_t number = t->step + step + 1;
    const struct FN(replica) *replica = &t->replicas[thread];
    const int publishes = t->replicated && active > 1, streams = !t->replicated && active > 1;
    for (int part = 0; part < t->n_parts; part++) {
        const int own = part % active == thread;
        replica->gradients[part] = own || !publishes ? t->workspaces[part].gradient : FN(published)(t, step, part);
        if (own)
            t->losses[part * t->losses_stride + epoch] += scale * FN(batch_gradient)(t, replica->params, number, begin, end, part);
        if (own && publishes)
            FN(publish)(t, step, part);
    }
    const struct FN(step) update = FN(optimizer_step)(t, number);
    crew_meet(&t->crew, thread, active, step, watch);
    if (t->replicated && thread > 0 && crew_size(&t->crew, active, step + 1) == 1)
        return; /* it will catch up, and the first thread needs its workspace */
    for (int part = 0; part < t->n_parts; part++) {
        const int own = part % active == thread;
        if (!own && !t->replicated)
            continue;
        double squares = FN(update_stored)(t, replica, &update, total_weight, part, streams);
        if (t->extent.sparse)
            squares += FN(update_features)(t, replica, &update, total_weight, part);
        if (thread == 0 || !t->replicated)
            t->penalties[part * t->losses_stride + epoch] += scale * 0.5 * t->alpha * squares;
    }
    if (streams)
        streams_done();
}

static void FN(train_epochs_thread)(void *argument, int thread, int n_threads)
{
    struct FN(training) *t = argument;
    const ptrdiff_t n_steps = t->n_epochs * ((t->n_rows + t->batch_size - 1) / t->batch_size);
    const float_mode mode = get_float_mode();
    set_float_mode(without_subnormals(mode));
    struct stopwatch watch = {.began = n_threads > 1 ? nanoseconds() : 0};
    if (thread == 0)
        crew_begin(&t->crew, n_threads, &watch);
    for (ptrdiff_t next = 0; next < n_steps; next++) {
        const ptrdiff_t step = crew_join(&t->crew, thread, next);
        if (step < 0 || step == n_steps) /* joined after the last one */
            break;
        if (step == 0 || step > next)
            FN(catch_up)(t, thread);
        next = step;
        const int active = crew_size(&t->crew, n_threads, step);
        FN(train_batch)(t, step, thread, active, &watch);
        if (active == 1)
            crew_unite(&t->crew, n_threads, step + 1, &watch);
        else if (!t->replicated)
            crew_wait(&t->crew, active, &watch);
    }
    if (thread == 0)
        crew_dismiss(&t->crew);
    set_float_mode(mode);
}

/* The mean gradient of one part of the parameters, from all parts' sums; returns its share of |weights|^2. */
static double FN(add_up_gradient)(const struct FN(training) *t, double total_weight, int part)
{
    const ptrdiff_t skip = FN(unstored)(&t->net, t->extent.sparse);
    double squares = 0;
    for (ptrdiff_t l = 0; l < t->net.n_layers; l++) {
        const ptrdiff_t *layer = FN(layer)(&t->net, l);
        const ptrdiff_t begin = layer[OFFSET] + (l == 0 ? skip : 0), bias = layer[OFFSET] + layer[N_IN] * layer[N_OUT];
        const struct range mine = share(bias + layer[N_OUT] - begin, CACHE_LINE, part, t->n_parts);
        for (ptrdiff_t i = begin + mine.begin; i < begin + mine.end; i++) {
            REAL g = t->workspaces[0].gradient[i - skip];
            for (int other = 1; other < t->n_parts; other++)
                g += t->workspaces[other].gradient[i - skip];
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

static void FN(gradient_thread)(void *argument, int thread, int n_threads)
{
    struct FN(training) *t = argument;
    const double total_weight = FN(batch_weight)(&t->data, 0, t->n_rows);
    for (int part = thread; part < t->n_parts; part += n_threads)
        t->losses[part * t->losses_stride] = FN(batch_gradient)(t, t->net.params, 0, 0, t->n_rows, part) / total_weight;
}

static void FN(add_up_thread)(void *argument, int thread, int n_threads)
{
    struct FN(training) *t = argument;
    const double total_weight = FN(batch_weight)(&t->data, 0, t->n_rows);
    for (int part = thread; part < t->n_parts; part += n_threads) {
        double squares = FN(add_up_gradient)(t, total_weight, part);
        if (t->extent.sparse)
            squares += FN(feature_gradients)(t, total_weight, part);
        t->penalties[part * t->losses_stride] = 0.5 * t->alpha * squares / total_weight;
    }
}

/* What run_training runs: */
static void FN(run_epochs)(struct FN(training) *t, int n_threads)
{
    n_threads = crew_assemble(&t->crew, n_threads);
    run_parts(FN(train_epochs_thread), t, n_threads);
    crew_disband(&t->crew, n_threads);
}

static void FN(run_loss_gradient)(struct FN(training) *t, int n_threads)
{
    run_parts(FN(gradient_thread), t, n_threads);
    run_parts(FN(add_up_thread), t, n_threads);
}

/* At most so many entries of sparse X are in one batch. */
static ptrdiff_t FN(most_batch_entries)(const struct FN(training) *t)
{
    const struct FN(features) *x = &t->data.x;
    ptrdiff_t longest = 0, total = 0;
    for (ptrdiff_t i = 0; i < t->data.n_rows; i++) {
        const ptrdiff_t row = FN(row_at)(&t->data, i);
        const ptrdiff_t entries = FN(row_start)(x, row + 1) - FN(row_start)(x, row);
        longest = max_size(longest, entries);
        total = min_size(total + entries, MOST_ITEMS);
    }
    return min_size(total, n_items(longest, t->batch_size));
}

/* Lay the memory of a call out from `base` on and return its size in bytes; with base NULL only the size means anything. */
static size_t FN(lay_out_training)(struct FN(training) *t, char *base)
{
    const ptrdiff_t n_out = t->net.layers[N_OUT], n_params = FN(padded_params)(&t->net);
    struct FN(workspace) unused;
    size_t size = 0;
    t->losses = cut(base, &size, (size_t)(t->n_parts * t->losses_stride) * sizeof(double));
    t->penalties = cut(base, &size, (size_t)(t->n_parts * t->losses_stride) * sizeof(double));
    t->workspaces = cut(base, &size, (size_t)t->n_parts * sizeof(struct FN(workspace)));
    t->replicas = cut(base, &size, (size_t)t->n_parts * sizeof(struct FN(replica)));
    /* NumPy's arrays begin 16 bytes behind a cache line's boundary: on them epochs with two threads took 1.07 to 1.14 times as long
     * (50-128-64-5) and 1.03 to 1.09 (784-128-10), with copies 1.0 to 1.04. */
    t->aligned = t->params;
    if (t->params && t->n_parts > 1 && (uintptr_t)t->params % CACHE_LINE != 0)
        t->aligned = FN(cut)(base, &size, n_params);
    t->first_delta = FN(cut)(base, &size, t->extent.sparse ? n_items(t->batch_size, n_out) : 0);
    t->published = FN(cut)(base, &size, t->replicated ? 2 * t->n_parts * n_params : 0);
    for (int part = 0; part < t->n_parts; part++) {
        struct FN(replica) replica = {t->aligned, t->state, t->second_state};
        if (t->replicated && part > 0) {
            replica.params = FN(cut)(base, &size, n_params);
            replica.state = FN(cut)(base, &size, n_params);
            replica.second_state = FN(cut)(base, &size, t->optimizer == ADAM ? n_params : 0);
        }
        replica.gradients = cut(base, &size, (size_t)t->n_parts * sizeof(REAL *));
        if (base)
            t->replicas[part] = replica;
        size += FN(lay_out)(&t->net, &t->extent, base ? base + size : NULL, base ? &t->workspaces[part] : &unused);
    }
    return size;
}

/* Allocate, run in n_threads parts, and write for each epoch the sum of what the parts have in `losses`. Returns -1 when there
 * is no memory; nothing was changed then. */
static int FN(run_training)(struct FN(training) *t, void (*run)(struct FN(training) *, int), int n_threads, double *losses)
{
    const int sparse = !t->data.x.dense;
    const ptrdiff_t n_steps = t->n_epochs * ((t->n_rows + t->batch_size - 1) / t->batch_size);
    t->n_parts = n_threads; /* also where there are fewer threads, so that the result is the same */
    t->extent = (struct FN(extent)){.rows = min_size(FN(training_chunk)(&t->net), t->batch_size), .training = 1, .sparse = sparse,
                                    .batch_entries = sparse ? FN(most_batch_entries)(t) : 0};
    t->replicated = t->params && !sparse && replicates((size_t)FN(n_params)(&t->net) * sizeof(REAL), n_threads, n_steps);
    t->losses_stride = round_up(t->n_epochs, CACHE_LINE / (ptrdiff_t)sizeof(double));
    const size_t sums_bytes = (size_t)(t->n_parts * t->losses_stride) * sizeof(double);
    char *block = take_block(FN(lay_out_training)(t, NULL));
    if (!block)
        return -1;
    FN(lay_out_training)(t, block);
    memset(t->losses, 0, sums_bytes);
    memset(t->penalties, 0, sums_bytes);
    if (t->aligned != t->params)
        memcpy(t->aligned, t->params, (size_t)FN(n_params)(&t->net) * sizeof(REAL));
    run(t, n_threads);
    if (t->aligned != t->params)
        memcpy(t->params, t->aligned, (size_t)FN(n_params)(&t->net) * sizeof(REAL));
    for (ptrdiff_t epoch = 0; epoch < t->n_epochs; epoch++) {
        losses[epoch] = 0;
        for (int part = 0; part < n_threads; part++)
            losses[epoch] += t->losses[part * t->losses_stride + epoch] + t->penalties[part * t->losses_stride + epoch];
    }
    give_back(block);
    return 0;
}
