/* How a batch's gradient changes the parameters: from all parts' sums, each part its share. Included once for each real type. */

ALWAYS_INLINE struct FN(updated) FN(updated_at)(const struct FN(replica) *replica, ptrdiff_t at)
{
    const struct FN(updated) all = {replica->params, {replica->slots[0], replica->slots[1]}, replica->average};
    return FN(updated_from)(all, at);
}

/* How a batch's gradient changes the parameters: the step, and the factor of the sum over the rows, which includes that of
 * clipping by norm. The L2 terms are factors of the parameters in that sum: the loss's, for weights only, and the optimizer's. */
struct FN(change) {
    struct FN(step) step;
    double scale, penalty, l2;
};

static struct FN(change) FN(change_of)(const struct FN(training) *t, ptrdiff_t step, double total_weight, double factor)
{
    const struct job *job = t->job;
    const double lr = job->hyper[0] * (job->rates ? job->rates[step] : 1), scale = factor / total_weight;
    const double number = (double)(*job->step + step + 1);
    struct FN(step) s = FN(make_step)(job->optimizer, job->hyper, lr, number);
    s.average_gain = (REAL)((1 - job->ema_decay) / (1 - pow(job->ema_decay, number)));
    return (struct FN(change)){s, scale, t->alpha, s.l2 / scale};
}

/* The step for weights of linear rows, or for the other parameters, which may be exempt from weight decay. */
ALWAYS_INLINE struct FN(step) FN(step_for)(const struct FN(training) *t, const struct FN(change) *change, int is_weight)
{
    struct FN(step) step = change->step;
    if (t->job->exempt && !is_weight)
        step.shrink = 1;
    return step;
}

/* Update the parameters [begin, end), of one layer's weights or biases; returns the sum of their squares. `shared`: other threads
 * read them in the next step. */
static double FN(update_range)(const struct FN(step) *step, struct FN(gradient) *gradient, const struct FN(replica) *replica,
                               ptrdiff_t skip, ptrdiff_t begin, ptrdiff_t end, int shared)
{
    struct FN(updated) u = FN(updated_at)(replica, begin);
    gradient->begin = begin - skip;
    u.streams = shared && (uintptr_t)u.params % VECTOR_BYTES == 0;
    return FN(update_stretch)(step, gradient, end - begin, u);
}

/* Update one part of the parameters whose gradient is stored; returns its share of |weights|^2. */
static double FN(update_stored)(const struct FN(training) *t, const struct FN(replica) *replica, const struct FN(change) *change,
                                int part, int shared)
{
    const ptrdiff_t skip = FN(unstored)(&t->net, t->extent.sparse);
    struct FN(gradient) gradient = {.parts = replica->gradients, .n_parts = replica->n_gradients, .scale = (REAL)change->scale};
    const struct range mine = share(FN(n_params)(&t->net) - skip, CACHE_LINE, part, t->n_parts);
    double squares = 0;
    for (ptrdiff_t l = 0; l < t->net.n_layers; l++) {
        const struct layer *layer = &t->net.layers[l];
        const ptrdiff_t bias = layer->offset + n_weights(layer);
        const ptrdiff_t bounds[] = {layer->offset, bias, bias + n_biases(layer)};
        for (int is_bias = 0; is_bias < 2; is_bias++) {
            const ptrdiff_t begin = max_size(bounds[is_bias], mine.begin + skip);
            const ptrdiff_t end = min_size(bounds[is_bias + 1], mine.end + skip);
            const ptrdiff_t boundary = min_size(round_up(begin, LANES), end);
            if (begin >= end)
                continue;
            const struct FN(step) step = FN(step_for)(t, change, !is_bias);
            gradient.l2 = (REAL)((is_bias ? 0 : change->penalty) + change->l2);
            const double sum = FN(update_range)(&step, &gradient, replica, skip, begin, boundary, shared)
                               + FN(update_range)(&step, &gradient, replica, skip, boundary, end, shared);
            squares += is_bias ? 0 : sum;
        }
    }
    return squares;
}

/* update_stored() for the first row's weights on sparse X. Their gradient is not stored, but summed up from the columns. */
static double FN(update_features)(const struct FN(training) *t, const struct FN(replica) *replica, const struct FN(change) *change,
                                  int part)
{
    const struct FN(columns) *columns = &t->workspaces[part].columns;
    const ptrdiff_t n_out = t->net.layers[0].n_out;
    const struct range mine = share(t->net.layers[0].n_in, 1, part, t->n_parts);
    const ptrdiff_t n = mine.end - mine.begin;
    const REAL l2 = (REAL)(change->penalty + change->l2), scale = (REAL)change->scale;
    const struct FN(updated) u = FN(updated_at)(replica, mine.begin * n_out);
    switch (change->step.optimizer) {
#define CASE(CODE, name) \
    case CODE: return FN(update_feature_loop)(CODE, &change->step, columns, n, t->first_delta, n_out, l2, scale, u);
        OPTIMIZERS(CASE)
#undef CASE
    default: unknown_code("optimizer", change->step.optimizer);
    }
}

/* The sum of the squares of a part of the mean gradient, with the loss's L2 term. */
static double FN(gradient_squares)(const struct FN(training) *t, const struct FN(replica) *replica, double total_weight, int part)
{
    const ptrdiff_t skip = FN(unstored)(&t->net, t->extent.sparse);
    const struct FN(gradient) gradient = {.parts = replica->gradients, .n_parts = replica->n_gradients};
    const struct range mine = share(FN(n_params)(&t->net) - skip, CACHE_LINE, part, t->n_parts);
    double squares = 0;
    for (ptrdiff_t l = 0; l < t->net.n_layers; l++) {
        const struct layer *layer = &t->net.layers[l];
        const ptrdiff_t bias = layer->offset + n_weights(layer), first = max_size(layer->offset, mine.begin + skip);
        const ptrdiff_t end = min_size(bias + n_biases(layer), mine.end + skip);
        for (ptrdiff_t i = first; i < end; i += LANES) {
            const VEC g = FN(summed_parts)(&gradient, i - skip, end - i);
            for (ptrdiff_t lane = 0; lane < min_size(LANES, end - i); lane++) {
                const double penalty = i + lane < bias ? t->alpha * (double)replica->params[i + lane] : 0;
                const double mean = ((double)g[lane] + penalty) / total_weight;
                squares += mean * mean;
            }
        }
    }
    if (!t->extent.sparse)
        return squares;
    const ptrdiff_t n_out = t->net.layers[0].n_out;
    const struct range features = share(t->net.layers[0].n_in, 1, part, t->n_parts);
    REAL *row = t->row_gradient + part * n_out;
    for (ptrdiff_t f = 0; f < features.end - features.begin; f++) {
        FN(sparse_weight_gradient)(&t->workspaces[part].columns, f, f + 1, t->first_delta, n_out, row);
        for (ptrdiff_t j = 0; j < n_out; j++) {
            const double p = (double)replica->params[(features.begin + f) * n_out + j];
            const double mean = ((double)row[j] + t->alpha * p) / total_weight;
            squares += mean * mean;
        }
    }
    return squares;
}

/* Write the squares of a thread's parts of the gradient to `norms`, each on its own cache lines. */
static void FN(square_parts)(const struct FN(training) *t, const struct FN(replica) *replica, double total_weight, int thread,
                             int active, double *norms)
{
    for (int part = 0; part < t->n_parts; part++)
        if (t->replicated || part % active == thread)
            norms[part * DOUBLES_A_LINE] = FN(gradient_squares)(t, replica, total_weight, part);
}

/* The factor of the gradient that keeps its norm: PyTorch's clip_grad_norm_. From the squares of all parts, where it clips. */
static double FN(factor_of)(const struct FN(training) *t, const double *norms)
{
    double squares = 0;
    if (t->job->clip_norm == 0)
        return 1;
    for (int part = 0; part < t->n_parts; part++)
        squares += norms[part * DOUBLES_A_LINE];
    const double norm = sqrt(squares);
    return norm < (double)INFINITY ? fmin(1, t->job->clip_norm / (norm + 1e-6)) : 1;
}

/* This factor in a step. If threads share the parameters, all meet here. */
static double FN(clipping_factor)(struct FN(training) *t, const struct FN(replica) *replica, double total_weight, int thread,
                                  int active, struct stopwatch *watch)
{
    double *norms = t->replicated ? t->norms + thread * t->n_parts * DOUBLES_A_LINE : t->norms;
    if (t->job->clip_norm == 0)
        return 1;
    FN(square_parts)(t, replica, total_weight, thread, active, norms);
    if (!t->replicated)
        crew_wait(&t->crew, active, watch);
    return FN(factor_of)(t, norms);
}
