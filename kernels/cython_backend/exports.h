/* The kernels as Cython sees them: the functions of one real type, with untyped pointers, gathered in a table. Included once for
 * each real type. Arrays that are not given are NULL. Functions that allocate memory return 0, or -1 if that fails. Inputs, outputs and
 * gradients of layers are STORED, all else is REAL. */

struct FN(linear_forward_call) {
    const STORED *x;
    const REAL *weight, *bias;
    STORED *a;
    ptrdiff_t rows, n_in, n_out;
    int activation;
    char *memory;
    size_t bytes_a_thread;
};

static void FN(linear_forward_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(linear_forward_call) *c = argument;
    const struct range mine = share(c->rows, 1, thread, n_threads);
    STORED *packed = (STORED *)(c->memory + c->bytes_a_thread * (size_t)thread);
    for (ptrdiff_t first = mine.begin; first < mine.end; first += CHUNK_ROWS) {
        const ptrdiff_t rows = min_size(CHUNK_ROWS, mine.end - first);
        STORED *a = c->a + first * c->n_out;
        FN(forward_product)(c->x + first * c->n_in, c->n_in, rows, c->weight, c->bias, NULL, c->n_in, c->n_out,
                            (struct range){0, c->n_out}, c->activation == RELU ? STORE_RELU : STORE, a, c->n_out, STORED_IS_REAL,
                            packed);
        if (c->activation != RELU && c->activation != IDENTITY)
            FN(activation_row)(c->activation, a, rows * c->n_out, a);
    }
}

static int FN(linear_forward)(const void *x, const void *weight, const void *bias, ptrdiff_t rows, ptrdiff_t n_in,
                              ptrdiff_t n_out, int activation, void *a, int n_threads)
{
    struct FN(linear_forward_call) c = {.x = x, .weight = weight, .bias = bias, .rows = rows, .n_in = n_in, .n_out = n_out,
                                        .activation = activation, .a = a};
    c.bytes_a_thread = (size_t)FN(packed_size)(n_in, n_out) * sizeof(STORED);
    c.memory = take_block(c.bytes_a_thread * (size_t)n_threads);
    if (!c.memory)
        return -1;
    run_parts(FN(linear_forward_thread), &c, n_threads);
    give_back(c.memory);
    return 0;
}

struct FN(linear_backward_call) {
    const STORED *da, *x, *a;
    const REAL *weight;
    STORED *dx, *dz;
    REAL *dweight, *dbias;
    ptrdiff_t rows, n_in, n_out;
    int activation, accumulate;
    char *memory;
    size_t bytes_a_thread;
};

/* dz, shared by rows */
static void FN(delta_thread)(void *argument, int thread, int n_threads)
{
    struct FN(linear_backward_call) *c = argument;
    const struct range rows = share(c->rows, 1, thread, n_threads);
    const ptrdiff_t first = rows.begin * c->n_out, n = (rows.end - rows.begin) * c->n_out;
    FN(activation_gradient_row)(c->activation, c->da + first, c->a + first, n, c->dz + first);
}

/* After all dz are made: dx, shared by rows, and dweight and dbias, shared by rows and columns of the weights. */
static void FN(linear_backward_thread)(void *argument, int thread, int n_threads)
{
    struct FN(linear_backward_call) *c = argument;
    STORED *packed = (STORED *)(c->memory + c->bytes_a_thread * (size_t)thread);
    const ptrdiff_t n_in = c->n_in, n_out = c->n_out;
    const struct range rows = share(c->rows, 1, thread, n_threads);
    if (c->dx && rows.end > rows.begin)
        FN(input_gradient)(c->dz + rows.begin * n_out, n_out, rows.end - rows.begin, c->weight, n_in, n_out, STORE, NULL,
                           c->dx + rows.begin * n_in, n_in, packed);
    const struct range inputs = share(n_in, 1, thread, n_threads);
    const ptrdiff_t n_chunks = max_size(1, (c->rows + CHUNK_ROWS - 1) / CHUNK_ROWS);
    for (ptrdiff_t k = 0; k < n_chunks; k++) {
        const ptrdiff_t first = c->rows * k / n_chunks, end = c->rows * (k + 1) / n_chunks;
        FN(weight_gradient)(c->x + first * n_in + inputs.begin, n_in, c->dz + first * n_out, n_out, end - first,
                            inputs.end - inputs.begin, n_out, c->accumulate || k > 0, c->dweight + inputs.begin * n_out, packed);
    }
    const struct range outputs = share(n_out, LANES, thread, n_threads);
    for (ptrdiff_t j = outputs.begin; j < outputs.end; j += LANES) {
        const ptrdiff_t left = outputs.end - j;
        VEC sum = c->accumulate ? FN(load_upto)(c->dbias + j, left) : (VEC){};
        for (ptrdiff_t i = 0; i < c->rows; i++)
            sum += FN(get)(c->dz + i * n_out + j); /* dz is readable past its end */
        FN(store_upto)(c->dbias + j, sum, left);
    }
}

static int FN(linear_backward)(const void *da, const void *x, const void *weight, const void *a, ptrdiff_t rows, ptrdiff_t n_in,
                               ptrdiff_t n_out, int activation, int accumulate, void *dx, void *dweight, void *dbias, int n_threads)
{
    struct FN(linear_backward_call) c = {.da = da, .x = x, .weight = weight, .a = a, .dx = dx, .dweight = dweight, .dbias = dbias,
                                         .rows = rows, .n_in = n_in, .n_out = n_out, .activation = activation,
                                         .accumulate = accumulate};
    c.bytes_a_thread = (size_t)max_size(FN(packed_size)(n_in, n_out), FN(gradient_scratch)(n_in, n_out)) * sizeof(REAL);
    c.memory = take_block(c.bytes_a_thread * (size_t)n_threads + (size_t)(rows * n_out + PANEL) * sizeof(STORED));
    if (!c.memory)
        return -1;
    c.dz = (STORED *)(c.memory + c.bytes_a_thread * (size_t)n_threads);
    run_parts(FN(delta_thread), &c, n_threads);
    run_parts(FN(linear_backward_thread), &c, n_threads);
    give_back(c.memory);
    return 0;
}

struct FN(elements_call) { /* the arguments of a kernel on n numbers whose shape does not matter */
    const STORED *x, *a;
    STORED *out;
    ptrdiff_t n;
    int activation;
    uint64_t key;
    uint32_t threshold;
    REAL scale;
};

static void FN(activation_forward_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(elements_call) *c = argument;
    const struct range mine = share(c->n, CACHE_LINE, thread, n_threads);
    FN(activation_row)(c->activation, c->x + mine.begin, mine.end - mine.begin, c->out + mine.begin);
}

static void FN(activation_forward)(const void *z, ptrdiff_t n, int activation, void *a, int n_threads)
{
    struct FN(elements_call) c = {.x = z, .n = n, .activation = activation, .out = a};
    run_parts(FN(activation_forward_thread), &c, n_threads);
}

static void FN(activation_backward_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(elements_call) *c = argument;
    const struct range mine = share(c->n, CACHE_LINE, thread, n_threads);
    FN(activation_gradient_row)(c->activation, c->x + mine.begin, c->a + mine.begin, mine.end - mine.begin, c->out + mine.begin);
}

static void FN(activation_backward)(const void *da, const void *a, ptrdiff_t n, int activation, void *dz, int n_threads)
{
    struct FN(elements_call) c = {.x = da, .a = a, .n = n, .activation = activation, .out = dz};
    run_parts(FN(activation_backward_thread), &c, n_threads);
}

static void FN(dropout_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(elements_call) *c = argument;
    const struct range mine = share(c->n, CACHE_LINE, thread, n_threads);
    FN(dropout_row)(c->x + mine.begin, c->key, (uint64_t)mine.begin, mine.end - mine.begin, c->threshold, c->scale,
                    c->out + mine.begin);
}

static void FN(dropout)(const void *x, ptrdiff_t n, uint64_t key, uint32_t threshold, double scale, void *y, int n_threads)
{
    struct FN(elements_call) c = {.x = x, .n = n, .key = key, .threshold = threshold, .scale = (REAL)scale, .out = y};
    run_parts(FN(dropout_thread), &c, n_threads);
}

struct FN(finite_call) {
    const REAL *x;
    ptrdiff_t n;
    atomic_int other; /* some number is infinite or NaN */
};

static void FN(all_finite_thread)(void *argument, int thread, int n_threads)
{
    struct FN(finite_call) *c = argument;
    const struct range mine = share(c->n, CACHE_LINE, thread, n_threads);
    if (!FN(all_finite_row)(c->x + mine.begin, mine.end - mine.begin))
        atomic_store_explicit(&c->other, 1, memory_order_relaxed);
}

static int FN(all_finite)(const void *x, ptrdiff_t n, int n_threads)
{
    struct FN(finite_call) c = {.x = x, .n = n};
    run_parts(FN(all_finite_thread), &c, n_threads);
    return !atomic_load_explicit(&c.other, memory_order_relaxed);
}

struct FN(rows_call) { /* the arguments of a kernel on rows of logits or outputs */
    const REAL *x, *other;
    REAL *out;
    ptrdiff_t rows, n_out;
    REAL scale;
    struct FN(target_rows) targets;
    struct FN(objective) objective;
    double *sums;
};

static void FN(softmax_forward_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(rows_call) *c = argument;
    const struct range mine = share(c->rows, 1, thread, n_threads);
    const ptrdiff_t at = mine.begin * c->n_out;
    FN(apply_link)(LINK_SOFTMAX, c->x + at, mine.end - mine.begin, c->n_out, c->out + at);
}

static void FN(softmax_forward)(const void *logits, ptrdiff_t rows, ptrdiff_t n_out, void *probs, int n_threads)
{
    struct FN(rows_call) c = {.x = logits, .rows = rows, .n_out = n_out, .out = probs};
    run_parts(FN(softmax_forward_thread), &c, n_threads);
}

static void FN(softmax_backward_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(rows_call) *c = argument;
    const struct range mine = share(c->rows, 1, thread, n_threads);
    for (ptrdiff_t i = mine.begin; i < mine.end; i++)
        FN(softmax_gradient_row)(c->x + i * c->n_out, c->other + i * c->n_out, c->n_out, c->out + i * c->n_out);
}

static void FN(softmax_backward)(const void *dprobs, const void *probs, ptrdiff_t rows, ptrdiff_t n_out, void *dlogits,
                                 int n_threads)
{
    struct FN(rows_call) c = {.x = dprobs, .other = probs, .rows = rows, .n_out = n_out, .out = dlogits};
    run_parts(FN(softmax_backward_thread), &c, n_threads);
}

static void FN(loss_forward_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(rows_call) *c = argument;
    const struct range mine = share(c->rows, 1, thread, n_threads);
    const ptrdiff_t at = mine.begin * c->n_out;
    c->sums[thread] = FN(loss_rows)(&c->objective, c->x + at, mine.end - mine.begin, c->n_out,
                                    FN(skip_rows)(c->targets, mine.begin, c->n_out), c->out ? c->out + at : NULL);
}

static int FN(loss_forward)(int loss, const double *loss_hyper, const void *logits, const ptrdiff_t *labels, const void *targets,
                            const void *weight, ptrdiff_t rows, ptrdiff_t n_out, void *outputs, double *loss_sum, int n_threads)
{
    struct FN(rows_call) c = {.x = logits, .rows = rows, .n_out = n_out, .out = outputs, .targets = {labels, targets, weight},
                              .objective = FN(objective)(loss, loss_hyper, n_out, 0)};
    c.sums = calloc((size_t)n_threads, sizeof(double));
    if (!c.sums)
        return -1;
    run_parts(FN(loss_forward_thread), &c, n_threads);
    *loss_sum = 0;
    for (int i = 0; i < n_threads; i++)
        *loss_sum += c.sums[i];
    free(c.sums);
    return 0;
}

static void FN(loss_backward_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(rows_call) *c = argument;
    const struct range mine = share(c->rows, 1, thread, n_threads);
    const ptrdiff_t at = mine.begin * c->n_out;
    FN(loss_gradient_rows)(&c->objective, c->x + at, mine.end - mine.begin, c->n_out,
                           FN(skip_rows)(c->targets, mine.begin, c->n_out), c->scale, c->out + at);
}

static void FN(loss_backward)(int loss, const double *loss_hyper, const void *outputs, const ptrdiff_t *labels, const void *targets,
                              const void *weight, double scale, ptrdiff_t rows, ptrdiff_t n_out, void *dlogits, int n_threads)
{
    struct FN(rows_call) c = {.x = outputs, .rows = rows, .n_out = n_out, .out = dlogits, .scale = (REAL)scale,
                              .targets = {labels, targets, weight}, .objective = FN(objective)(loss, loss_hyper, n_out, 0)};
    run_parts(FN(loss_backward_thread), &c, n_threads);
}

struct FN(update_call) {
    const struct FN(step) *step;
    struct FN(gradient) gradient;
    ptrdiff_t n;
    struct FN(updated) updated;
};

static void FN(update_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(update_call) *c = argument;
    const struct range mine = share(c->n, CACHE_LINE, thread, n_threads);
    struct FN(gradient) gradient = c->gradient;
    gradient.begin = mine.begin;
    FN(update_stretch)(c->step, &gradient, mine.end - mine.begin, FN(updated_from)(c->updated, mine.begin));
}

static void FN(update)(int optimizer, void *params, const void *grad, void *slot_1, void *slot_2, const double *hyper,
                       ptrdiff_t step, ptrdiff_t n, int n_threads)
{
    const REAL *const parts[] = {grad};
    const struct FN(step) s = FN(make_step)(optimizer, hyper, hyper[0], (double)step);
    struct FN(update_call) c = {.step = &s, .gradient = {.parts = parts, .n_parts = 1, .l2 = (REAL)s.l2, .scale = 1}, .n = n,
                                .updated = {params, {slot_1, slot_2}}};
    run_parts(FN(update_thread), &c, n_threads);
}

static int FN(network_forward)(const struct rows *x, const struct layer *layers, ptrdiff_t n_layers, const void *params,
                               const void *buffers, const void *panels, int int8, void *outputs, int n_threads)
{
    struct FN(prediction) p = {.net = {layers, n_layers, params, buffers, panels, int8}, .x = FN(features)(x, layers->n_in),
                               .rows = x->n, .outputs = outputs};
    return FN(run_prediction)(&p, n_threads);
}

/* Bytes that the packed weights of a network take. */
static ptrdiff_t FN(packed_bytes)(const struct layer *layers, ptrdiff_t n_layers, int int8)
{
    return FN(network_panels_size)(&(struct FN(network)){layers, n_layers, .int8 = int8}) * (ptrdiff_t)sizeof(STORED);
}

/* With codes and their scales, those of int8.h, they must be of the real type float. */
static void FN(pack)(const struct layer *layers, ptrdiff_t n_layers, const void *params, const int8_t *codes, const float *scales,
                     void *panels)
{
    const struct FN(network) net = {layers, n_layers, params, .int8 = codes != NULL};
    FN(pack_network)(&net, 0, 1, panels);
#if defined(HAS_INT8)
    REAL *block = panels;
    for (const struct layer *layer = layers; codes && layer < layers + n_layers; block += FN(layer_panels_size)(&net, layer++))
        if (reads_int8(layer)) {
            FN(pack_int8)(codes, scales, layer->n_in, layer->n_out, block);
            codes += layer->n_in * layer->n_out, scales += 2 * (layer->n_in + layer->n_out);
        }
#else
    (void)scales;
#endif
}

static int FN(network_loss_gradient)(const struct rows *data, const struct layer *layers, ptrdiff_t n_layers, const void *params,
                                     int loss, const double *loss_hyper, double alpha, double clip, void *gradient,
                                     double *loss_mean, int n_threads)
{
    struct FN(training) t = {.net = {layers, n_layers, params},
                             .data = {FN(features)(data, layers->n_in), {data->labels, data->targets, data->sample_weight}, NULL,
                                      data->n},
                             .n_epochs = 1, .n_rows = data->n, .batch_size = data->n, .alpha = alpha, .gradient_scale = 1,
                             .value_scale = 1, .gradient = gradient};
    t.objective = FN(objective)(loss, loss_hyper, FN(n_outputs)(&t.net), clip);
    t.divisor = FN(batch_weight)(&t.data, 0, data->n);
    if (t.divisor == 0) {
        memset(gradient, 0, (size_t)FN(n_params)(&t.net) * sizeof(REAL));
        *loss_mean = 0;
        return 0;
    }
    return FN(run_training)(&t, FN(run_loss_gradient), n_threads, loss_mean);
}

/* What the gradients of a job's batches need; they are of at most batch_size rows. */
static struct FN(training) FN(gradients_of)(const struct job *job, ptrdiff_t batch_size)
{
    const struct rows *data = &job->data;
    struct FN(training) t = {.net = {job->layers, job->n_layers, job->params},
                             .data = {FN(features)(data, job->layers->n_in), {data->labels, data->targets, data->sample_weight},
                                      job->orders, job->n_epochs * job->n_visits},
                             .n_epochs = job->n_epochs, .n_rows = job->n_visits, .batch_size = min_size(batch_size, job->n_visits),
                             .gradient_scale = job->gradient_scale, .value_scale = job->value_scale, .smoothing = job->smoothing};
    t.objective = FN(objective)(job->loss, job->loss_hyper, FN(n_outputs)(&t.net), job->clip);
    return t;
}

/* And what their updates need. */
static void FN(add_updates_of)(const struct job *job, struct FN(training) *t)
{
    const int has_second = OPTIMIZER_SLOTS[job->optimizer] > 1;
    t->job = job, t->params = job->params, t->statistics = job->buffers, t->alpha = job->alpha;
    t->slots[0] = job->state, t->slots[1] = has_second ? (REAL *)job->state + FN(n_params)(&t->net) : NULL;
}

static int FN(train_epochs)(const struct job *job, int n_threads)
{
    const ptrdiff_t n_visits = job->n_visits;
    struct FN(training) t = FN(gradients_of)(job, job->batch_size);
    FN(add_updates_of)(job, &t);
    struct FN(validation) validation = {};
    int status = 0;
    if (job->validation_losses) {
        status = FN(prepare_validation)(&validation, job, n_threads);
        t.validation = &validation;
    }
    if (!status)
        status = FN(run_training)(&t, FN(run_epochs), n_threads, job->losses);
    FN(end_validation)(&validation);
    if (status)
        return -1;
    for (ptrdiff_t i = 0; i < job->n_epochs; i++)
        job->losses[i] /= (double)n_visits;
    *job->step += job->n_epochs * ((n_visits + t.batch_size - 1) / t.batch_size);
    return 0;
}

static int FN(batch_sums)(const struct job *job, ptrdiff_t first_row, void *sums, int n_threads)
{
    struct FN(training) t = FN(gradients_of)(job, job->n_visits);
    REAL *after = (REAL *)sums + FN(n_params)(&t.net);
    double loss = 0;
    t.n_epochs = 1, t.gradient = sums, t.divisor = 1, t.update = *job->step + 1, t.first_row = first_row;
    if (t.n_rows == 0)
        memset(sums, 0, (size_t)FN(n_params)(&t.net) * sizeof(REAL));
    else if (FN(run_training)(&t, FN(run_sums), n_threads, &loss))
        return -1;
    after[0] = (REAL)loss, after[1] = (REAL)FN(batch_weight)(&t.data, 0, t.n_rows);
    return 0;
}

static int FN(apply_sums)(const struct job *job, const void *sums, int n_threads)
{
    struct FN(training) t = {.net = {job->layers, job->n_layers, job->params}, .n_epochs = 1, .n_rows = 1, .batch_size = 1,
                             .sums = sums};
    FN(add_updates_of)(job, &t);
    double loss = 0;
    t.total_weight = (double)t.sums[FN(n_params)(&t.net) + 1];
    if (t.total_weight != 0 && FN(run_training)(&t, FN(run_apply), n_threads, &loss))
        return -1;
    job->losses[0] = t.total_weight != 0 ? loss / t.total_weight : 0;
    *job->step += 1;
    return 0;
}

#define KERNEL(name) .name = FN(name)
static const struct kernels FN(KERNELS) = {KERNEL_TABLE};
#undef KERNEL
