/* Whole epochs of training; the two halves of one step, between which other processes' sums are added; and the loss and gradient of a
 * whole data set. Included once for each real type. */

/* A thread that begins, or slept, brings its copy up to date. It does so before the step's barrier, while the first thread
 * cannot change the original. */
static void FN(catch_up)(const struct FN(training) *t, int thread)
{
    const struct FN(replica) *from = &t->replicas[0], *to = &t->replicas[thread];
    if (to->params == from->params)
        return;
    const size_t bytes = (size_t)FN(n_params)(&t->net) * sizeof(REAL);
    memcpy(to->params, from->params, bytes);
    for (int slot = 0; slot < OPTIMIZER_SLOTS[t->job->optimizer]; slot++)
        memcpy(to->slots[slot], from->slots[slot], bytes);
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

/* Update a thread's parts of the parameters. The L2 terms of a batch count `scale` times in an epoch's penalties. */
static void FN(update_parts)(const struct FN(training) *t, struct FN(replica) *replica, const struct FN(change) *change,
                             double *penalties, double scale, int thread, int active, int updating)
{
    const int streams = !t->replicated && active > 1;
    for (int part = 0; part < t->n_parts; part++) {
        const int own = part % active == thread;
        if (!own && !t->replicated)
            continue;
        replica->average = part % updating == thread ? t->job->average : NULL;
        double squares = FN(update_stored)(t, replica, change, part, streams);
        if (t->extent.sparse)
            squares += FN(update_features)(t, replica, change, part);
        if (thread == 0 || !t->replicated)
            penalties[part * t->losses_stride] += scale * 0.5 * t->alpha * squares;
    }
    if (streams)
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
    const struct FN(batch) batch = {begin, end, *t->job->step + step + 1, 0};
    struct FN(replica) replica = t->replicas[thread];
    const int publishes = t->replicated && active > 1;
    struct FN(network) net = t->net;
    net.params = replica.params;
    if (net.plan.n_batch_norms)
        FN(normalized_gradient)(t, &net, &batch, thread, active, scale, t->losses + epoch, watch);
    for (int part = 0; part < t->n_parts; part++) {
        const int own = part % active == thread;
        replica.gradients[part] = own || !publishes ? t->workspaces[part].gradient : FN(published)(t, step, part);
        if (own && !net.plan.n_batch_norms)
            t->losses[part * t->losses_stride + epoch] += scale * FN(part_gradient)(t, &net, &batch, part);
        if (own && publishes)
            FN(publish)(t, step, part);
    }
    if (thread == 0 && net.plan.n_batch_norms)
        FN(move_statistics)(&net, &t->workspaces[0], end - begin, t->statistics);
    crew_meet(&t->crew, thread, active, step, watch);
    const int updating = t->replicated ? crew_size(&t->crew, active, step + 1) : active;
    if (thread >= updating)
        return; /* this thread will catch up; until then the first thread needs its workspace */
    const double factor = FN(clipping_factor)(t, &replica, total_weight, thread, active, watch);
    const struct FN(change) change = FN(change_of)(t, step, total_weight, factor);
    FN(update_parts)(t, &replica, &change, t->penalties + epoch, scale, thread, active, updating);
}

static void FN(train_epochs_thread)(void *argument, int thread, int n_threads)
{
    struct FN(training) *t = argument;
    const ptrdiff_t n_steps = t->end_step;
    const float_mode mode = get_float_mode();
    set_float_mode(without_subnormals(mode));
    struct stopwatch watch = {.began = n_threads > 1 ? nanoseconds() : 0};
    if (thread == 0)
        crew_begin(&t->crew, n_threads, t->first_step, &watch);
    for (ptrdiff_t next = t->first_step; next < n_steps; next++) {
        const ptrdiff_t step = crew_join(&t->crew, thread, next);
        if (step < 0 || step == n_steps) /* joined after the last step */
            break;
        if (step == t->first_step || step > next)
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

/* One part of the parameters of layer l whose gradient is stored. */
static struct range FN(stored_share)(const struct FN(training) *t, ptrdiff_t l, int part)
{
    const struct layer *layer = &t->net.layers[l];
    const ptrdiff_t begin = layer->offset + (l == 0 ? FN(unstored)(&t->net, t->extent.sparse) : 0);
    const struct range mine = share(layer->offset + n_weights(layer) + n_biases(layer) - begin, CACHE_LINE, part, t->n_parts);
    return (struct range){begin + mine.begin, begin + mine.end};
}

/* One part of the gradient, the sum of all parts' gradients of these parameters; on sparse X, also of one part of the features. */
static void FN(add_up_gradient)(const struct FN(training) *t, int part)
{
    const ptrdiff_t skip = FN(unstored)(&t->net, t->extent.sparse), n_out = t->net.layers[0].n_out;
    for (ptrdiff_t l = 0; l < t->net.n_layers; l++) {
        const struct range mine = FN(stored_share)(t, l, part);
        const ptrdiff_t n = mine.end - mine.begin;
        REAL *sum = t->gradient + mine.begin;
        memcpy(sum, t->workspaces[0].gradient + (mine.begin - skip), (size_t)n * sizeof(REAL));
        for (int other = 1; other < t->n_parts; other++) {
            const REAL *gradient = t->workspaces[other].gradient + (mine.begin - skip);
            for (ptrdiff_t i = 0; i < n; i++)
                sum[i] += gradient[i];
        }
    }
    if (!t->extent.sparse)
        return;
    const struct range features = share(t->net.layers[0].n_in, 1, part, t->n_parts);
    FN(sparse_weight_gradient)(&t->workspaces[part].columns, 0, features.end - features.begin, t->first_delta, n_out,
                               t->gradient + features.begin * n_out);
}

/* Make [begin, end) of the gradient, a sum, the mean gradient with L2 term, which parameters from `bias` on do not have. Adds the
 * squares of the others to `squares`, and returns that. */
static double FN(make_mean)(const struct FN(training) *t, struct range mine, ptrdiff_t bias, double squares)
{
    for (ptrdiff_t i = mine.begin; i < mine.end; i++) {
        const double p = i < bias ? (double)t->net.params[i] : 0;
        squares += p * p;
        t->gradient[i] = (REAL)(((double)t->gradient[i] + t->alpha * p) / t->divisor);
    }
    return squares;
}

static void FN(gradient_thread)(void *argument, int thread, int n_threads)
{
    struct FN(training) *t = argument;
    const struct FN(batch) batch = {0, t->n_rows, t->update, t->first_row};
    struct stopwatch unused = {};
    if (t->net.plan.n_batch_norms)
        FN(normalized_gradient)(t, &t->net, &batch, thread, n_threads, 1 / t->divisor, t->losses, &unused);
    else
        for (int part = thread; part < t->n_parts; part += n_threads)
            t->losses[part * t->losses_stride] = FN(part_gradient)(t, &t->net, &batch, part) / t->divisor;
}

static void FN(add_up_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(training) *t = argument;
    for (int part = thread; part < t->n_parts; part += n_threads)
        FN(add_up_gradient)(t, part);
}

static void FN(mean_gradient_thread)(void *argument, int thread, int n_threads)
{
    struct FN(training) *t = argument;
    const struct layer *layers = t->net.layers;
    for (int part = thread; part < t->n_parts; part += n_threads) {
        double squares = 0;
        FN(add_up_gradient)(t, part);
        for (ptrdiff_t l = 0; l < t->net.n_layers; l++)
            squares = FN(make_mean)(t, FN(stored_share)(t, l, part), layers[l].offset + n_weights(&layers[l]), squares);
        if (t->extent.sparse) {
            const struct range features = share(layers[0].n_in, 1, part, t->n_parts);
            const struct range weights = {features.begin * layers[0].n_out, features.end * layers[0].n_out};
            squares += FN(make_mean)(t, weights, weights.end, 0);
        }
        t->penalties[part * t->losses_stride] = 0.5 * t->alpha * squares / t->divisor;
    }
}

/* The update by sums in two regions, so that no thread waits for another one. */
static void FN(square_sums_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(training) *t = argument;
    FN(square_parts)(t, &t->replicas[0], t->total_weight, thread, n_threads, t->norms);
}

static void FN(apply_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(training) *t = argument;
    const struct FN(change) change = FN(change_of)(t, 0, t->total_weight, FN(factor_of)(t, t->norms));
    struct FN(replica) replica = t->replicas[0];
    FN(update_parts)(t, &replica, &change, t->penalties, 1, thread, n_threads, n_threads);
}

/* The functions that run_training() runs: */
static void FN(run_epochs)(struct FN(training) *t, int n_threads)
{
    const ptrdiff_t n_batches = (t->n_rows + t->batch_size - 1) / t->batch_size;
    const int validates = t->validation != NULL;
    const ptrdiff_t epochs_a_region = validates ? 1 : t->n_epochs;
    for (ptrdiff_t epoch = 0; epoch < t->n_epochs; epoch += epochs_a_region) {
        t->first_step = epoch * n_batches, t->end_step = (epoch + epochs_a_region) * n_batches;
        const int here = crew_assemble(&t->crew, n_threads);
        run_parts(FN(train_epochs_thread), t, here);
        crew_disband(&t->crew, here);
        if (validates)
            FN(validate)(t, epoch, *t->job->step + t->end_step);
    }
}

static void FN(run_loss_gradient)(struct FN(training) *t, int n_threads)
{
    (t->net.plan.n_batch_norms ? run_together : run_parts)(FN(gradient_thread), t, n_threads);
    run_parts(FN(mean_gradient_thread), t, n_threads);
}

static void FN(run_sums)(struct FN(training) *t, int n_threads)
{
    const float_mode mode = get_float_mode();
    set_float_mode(without_subnormals(mode));
    (t->net.plan.n_batch_norms ? run_together : run_parts)(FN(gradient_thread), t, n_threads);
    run_parts(FN(add_up_thread), t, n_threads);
    set_float_mode(mode);
}

static void FN(run_apply)(struct FN(training) *t, int n_threads)
{
    const float_mode mode = get_float_mode();
    set_float_mode(without_subnormals(mode));
    t->losses[0] = (double)t->sums[FN(n_params)(&t->net)];
    t->replicas[0].gradients[0] = t->sums, t->replicas[0].n_gradients = 1;
    if (t->job->clip_norm != 0)
        run_parts(FN(square_sums_thread), t, n_threads);
    run_parts(FN(apply_thread), t, n_threads);
    set_float_mode(mode);
}

/* The largest possible number of sparse X's entries in one batch. */
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
    const ptrdiff_t n_out = t->net.layers[0].n_out, n_params = FN(padded_params)(&t->net);
    const int clips = t->job && t->job->clip_norm != 0;
    struct FN(workspace) unused;
    size_t size = 0;
    t->losses = cut(base, &size, (size_t)(t->n_parts * t->losses_stride) * sizeof(double));
    t->penalties = cut(base, &size, (size_t)(t->n_parts * t->losses_stride) * sizeof(double));
    t->norms = cut(base, &size, clips ? (size_t)(t->n_parts * t->n_parts) * CACHE_LINE : 0);
    t->workspaces = cut(base, &size, (size_t)t->n_parts * sizeof(struct FN(workspace)));
    t->replicas = cut(base, &size, (size_t)t->n_parts * sizeof(struct FN(replica)));
    /* Threads stream to parameters that begin on a cache line; NumPy's arrays often do not. */
    t->aligned = t->params;
    if (t->params && t->n_parts > 1 && (uintptr_t)t->params % CACHE_LINE != 0)
        t->aligned = FN(cut)(base, &size, n_params);
    t->first_delta = FN(cut)(base, &size, t->extent.sparse ? n_items(t->batch_size, n_out) : 0);
    t->row_gradient = FN(cut)(base, &size, t->extent.sparse && clips ? t->n_parts * n_out : 0);
    t->published = FN(cut)(base, &size, t->replicated ? 2 * t->n_parts * n_params : 0);
    for (int part = 0; part < t->n_parts; part++) {
        struct FN(replica) replica = {t->aligned, {t->slots[0], t->slots[1]}};
        if (t->replicated && part > 0) {
            replica.params = FN(cut)(base, &size, n_params);
            for (int slot = 0; slot < OPTIMIZER_SLOTS[t->job->optimizer]; slot++)
                replica.slots[slot] = FN(cut)(base, &size, n_params);
        }
        replica.gradients = cut(base, &size, (size_t)t->n_parts * sizeof(REAL *)), replica.n_gradients = t->n_parts;
        if (base)
            t->replicas[part] = replica;
        size += FN(lay_out)(&t->net, &t->extent, base ? base + size : NULL, base ? &t->workspaces[part] : &unused);
    }
    return size;
}

/* How many rows go through the layers together; with batch norms, all rows of a part. */
static ptrdiff_t FN(rows_together)(const struct FN(training) *t)
{
    if (t->net.plan.n_batch_norms)
        return (t->batch_size + t->n_parts - 1) / t->n_parts;
    return min_size(FN(training_chunk)(&t->net), t->batch_size);
}

/* Allocate, run in n_threads parts, and write for each epoch the sum of what the parts have in `losses`. Returns -1 when there
 * is no memory; nothing was changed then. */
static int FN(run_training)(struct FN(training) *t, void (*run)(struct FN(training) *, int), int n_threads, double *losses)
{
    const int sparse = FN(is_sparse)(&t->data.x), encoded = FN(is_encoded)(&t->data.x);
    const ptrdiff_t n_steps = t->n_epochs * ((t->n_rows + t->batch_size - 1) / t->batch_size);
    if (!(t->net.plan.values = malloc((size_t)t->net.n_layers * sizeof(struct value))))
        return -1;
    make_plan(t->net.layers, t->net.n_layers, 1, sparse || encoded, &t->net.plan);
    t->n_parts = n_threads; /* even if there are fewer threads, so that the result is the same */
    t->extent = (struct FN(extent)){.rows = FN(rows_together)(t), .training = 1, .sparse = sparse,
                                    .encoded = encoded, .batch_entries = sparse ? FN(most_batch_entries)(t) : 0};
    t->replicated = t->params && !t->sums && !sparse && replicates((size_t)FN(n_params)(&t->net) * sizeof(REAL), n_threads, n_steps);
    t->losses_stride = round_up(t->n_epochs, DOUBLES_A_LINE);
    const size_t sums_bytes = (size_t)(t->n_parts * t->losses_stride) * sizeof(double);
    char *block = take_block(FN(lay_out_training)(t, NULL));
    if (block) {
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
    }
    free(t->net.plan.values);
    return block ? 0 : -1;
}
