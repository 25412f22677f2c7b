/* A plain stack of Linear layers: prediction, loss and gradient, and whole epochs of training. Included once for each real type.
 *
 * Every thread carries its own rows through all layers, a chunk at a time that fits its caches:
 *     gather rows -> forward, layer by layer -> loss and output delta -> backward, layer by layer -> its own partial gradient
 * and then, after a barrier, adds up all partial gradients for its own share of the parameters and updates them. Two barriers a
 * step, no other communication; which thread does what depends on nothing but the sizes, so that a fixed number of threads
 * always gives the same bits.
 *
 * activation[l] holds the input of layer l, one row a sample, padded to whole registers, with a constant 1 behind the last unit:
 * [weight; bias] is then one matrix, and its gradient one product. On the way back the delta of layer l - 1 is written over
 * activation[l], which nobody needs any more. The last layer's logits, outputs and deltas share one dense (rows, n_out) block.
 */

struct FN(network) {
    const ptrdiff_t *layers; /* (n_layers, LAYER_COLUMNS) */
    ptrdiff_t n_layers;
    const REAL *params;
};

ALWAYS_INLINE const ptrdiff_t *FN(layer)(const struct FN(network) *net, ptrdiff_t l) { return net->layers + l * LAYER_COLUMNS; }

ALWAYS_INLINE ptrdiff_t FN(n_params)(const struct FN(network) *net)
{
    const ptrdiff_t *last = FN(layer)(net, net->n_layers - 1);
    return last[OFFSET] + (last[N_IN] + 1) * last[N_OUT];
}

/* The row length of a padded activation with n units and the constant 1; not a multiple of 1 KiB, where rows would fall on
 * the same few sets of L1. */
static ptrdiff_t FN(padded_row)(ptrdiff_t n)
{
    ptrdiff_t stride = round_up(n + 1, LANES);
    return stride * sizeof(REAL) % 1024 == 0 ? stride + LANES : stride;
}

/* One thread's buffers, cut from one block. */
struct FN(workspace) {
    REAL **activation;       /* [n_layers]: the input of each layer, (rows, padded_row) */
    REAL *output;            /* (rows, n_out) dense: logits, then outputs, then deltas */
    REAL *packed;            /* one panel of weights */
    REAL *targets, *weight;  /* gathered */
    ptrdiff_t *labels;
    REAL *gradient;          /* (n_params,) */
};

/* Lay the buffers out from `base` on and return their size in bytes; with base NULL only the size means anything. */
static size_t FN(lay_out)(const struct FN(network) *net, ptrdiff_t rows, int training, char *base, struct FN(workspace) *w)
{
    const ptrdiff_t n_out = FN(layer)(net, net->n_layers - 1)[N_OUT];
    ptrdiff_t packed = 0;
    size_t size = 0;
#define BUFFER(type, count) (type *)(base + size); size = (size_t)round_up((ptrdiff_t)(size + (size_t)(count) * sizeof(type)), CACHE_LINE)
    w->activation = BUFFER(REAL *, net->n_layers);
    for (ptrdiff_t l = 0; l < net->n_layers; l++) {
        const ptrdiff_t *layer = FN(layer)(net, l);
        packed = max_size(packed, FN(packed_size)(layer[N_IN], layer[N_OUT]));
        REAL *activation = BUFFER(REAL, l || training ? rows * FN(padded_row)(layer[N_IN]) + PANEL : 0);
        if (base)
            w->activation[l] = activation;
    }
    w->output = BUFFER(REAL, rows * n_out + PANEL);
    w->packed = BUFFER(REAL, packed);
    w->targets = BUFFER(REAL, training ? rows * n_out : 0);
    w->weight = BUFFER(REAL, training ? rows : 0);
    w->labels = BUFFER(ptrdiff_t, training ? rows : 0);
    w->gradient = BUFFER(REAL, training ? FN(n_params)(net) : 0);
#undef BUFFER
    return size;
}

static void FN(set_ones)(REAL *activation, ptrdiff_t rows, ptrdiff_t n)
{
    const ptrdiff_t stride = FN(padded_row)(n);
    for (ptrdiff_t i = 0; i < rows; i++)
        activation[i * stride + n] = 1;
}

/* Forward through all layers but the link. x is the first layer's input. Leaves the logits in w->output. */
static void FN(forward_rows)(const struct FN(network) *net, const REAL *x, ptrdiff_t x_stride, ptrdiff_t rows,
                             const struct FN(workspace) *w)
{
    for (ptrdiff_t l = 0; l < net->n_layers; l++) {
        const ptrdiff_t *layer = FN(layer)(net, l);
        const ptrdiff_t n_in = layer[N_IN], n_out = layer[N_OUT], last = l == net->n_layers - 1;
        const enum activation_code activation = last ? IDENTITY : (enum activation_code)layer[ACTIVATION];
        const REAL *weight = net->params + layer[OFFSET];
        REAL *out = last ? w->output : w->activation[l + 1];
        const ptrdiff_t out_stride = last ? n_out : FN(padded_row)(n_out);
        FN(forward_product)(x, x_stride, rows, weight, weight + n_in * n_out, n_in, n_out,
                            activation == RELU ? STORE_RELU : STORE, out, out_stride, w->packed);
        if (activation == SIGMOID || activation == TANH)
            for (ptrdiff_t i = 0; i < rows; i++)
                FN(activate_row)(activation, out + i * out_stride, n_out);
        x = out;
        x_stride = out_stride;
    }
}

static void FN(apply_link)(enum activation_code link, const REAL *logits, ptrdiff_t rows, ptrdiff_t n_out, REAL *outputs)
{
    if (outputs != logits)
        memcpy(outputs, logits, (size_t)(rows * n_out) * sizeof(REAL));
    if (link != LINK_SOFTMAX)
        FN(activate_row)(link, outputs, rows * n_out);
    else
        for (ptrdiff_t i = 0; i < rows; i++, outputs += n_out)
            FN(softmax_row)(outputs, n_out, FN(max_row)(outputs, n_out), outputs);
}

/* From the output delta in w->output: this chunk's gradient of the sum, written to w->gradient or added to it. */
static void FN(backward_rows)(const struct FN(network) *net, ptrdiff_t rows, int accumulate, const struct FN(workspace) *w)
{
    const REAL *delta = w->output;
    ptrdiff_t delta_stride = FN(layer)(net, net->n_layers - 1)[N_OUT];
    for (ptrdiff_t l = net->n_layers - 1; l >= 0; l--) {
        const ptrdiff_t *layer = FN(layer)(net, l);
        const ptrdiff_t n_in = layer[N_IN], n_out = layer[N_OUT], stride = FN(padded_row)(n_in);
        FN(weight_gradient)(w->activation[l], stride, delta, delta_stride, rows, n_in + 1, n_out, accumulate,
                            w->gradient + layer[OFFSET]);
        if (l == 0)
            break;
        const enum activation_code below = (enum activation_code)(layer - LAYER_COLUMNS)[ACTIVATION];
        FN(input_gradient)(delta, delta_stride, rows, net->params + layer[OFFSET], n_in, n_out,
                           below == RELU ? GATE_RELU : below == SIGMOID ? GATE_SIGMOID : below == TANH ? GATE_TANH : STORE,
                           w->activation[l], w->activation[l], stride, w->packed);
        delta = w->activation[l];
        delta_stride = stride;
    }
}

/* The data of a training call; order NULL means rows 0, 1, 2, … */
struct FN(data) {
    const REAL *x;
    struct FN(target_rows) targets;
    const ptrdiff_t *order;
};

/* Copy rows [begin, begin + rows) of the epoch's order into the workspace. */
static struct FN(target_rows) FN(gather)(const struct FN(network) *net, const struct FN(data) *data, ptrdiff_t begin,
                                         ptrdiff_t rows, const struct FN(workspace) *w)
{
    const ptrdiff_t n_in = FN(layer)(net, 0)[N_IN], stride = FN(padded_row)(n_in);
    const ptrdiff_t n_out = FN(layer)(net, net->n_layers - 1)[N_OUT];
    const struct FN(target_rows) all = data->targets;
    for (ptrdiff_t i = 0; i < rows; i++) {
        const ptrdiff_t row = data->order ? data->order[begin + i] : begin + i;
        REAL *x = w->activation[0] + i * stride;
        memcpy(x, data->x + row * n_in, (size_t)n_in * sizeof(REAL));
        x[n_in] = 1;
        if (all.labels)
            w->labels[i] = all.labels[row];
        else
            memcpy(w->targets + i * n_out, all.dense + row * n_out, (size_t)n_out * sizeof(REAL));
        if (all.weight)
            w->weight[i] = all.weight[row];
    }
    return (struct FN(target_rows)){all.labels ? w->labels : NULL, all.labels ? NULL : w->targets, all.weight ? w->weight : NULL};
}

/* Loss sum and gradient sum over rows [begin, end) of the order; the gradient replaces what is in w->gradient. */
static double FN(loss_gradient_sum)(const struct FN(network) *net, enum loss_code loss, const struct FN(data) *data,
                                    ptrdiff_t begin, ptrdiff_t end, const struct FN(workspace) *w)
{
    const ptrdiff_t n_out = FN(layer)(net, net->n_layers - 1)[N_OUT];
    double sum = 0;
    if (begin == end)
        memset(w->gradient, 0, (size_t)FN(n_params)(net) * sizeof(REAL));
    const ptrdiff_t n_chunks = (end - begin + CHUNK_ROWS - 1) / CHUNK_ROWS;
    for (ptrdiff_t c = 0; c < n_chunks; c++) { /* chunks of nearly equal size */
        const ptrdiff_t first = begin + (end - begin) * c / n_chunks, rows = begin + (end - begin) * (c + 1) / n_chunks - first;
        const struct FN(target_rows) targets = FN(gather)(net, data, first, rows, w);
        FN(forward_rows)(net, w->activation[0], FN(padded_row)(FN(layer)(net, 0)[N_IN]), rows, w);
        for (ptrdiff_t l = 1; l < net->n_layers; l++)
            FN(set_ones)(w->activation[l], rows, FN(layer)(net, l)[N_IN]);
        sum += FN(loss_rows)(loss, w->output, rows, n_out, targets, w->output);
        FN(loss_gradient_rows)(loss, w->output, rows, n_out, targets, 1, w->output);
        FN(backward_rows)(net, rows, c > 0, w);
    }
    return sum;
}

/* What the threads of one training call share. */
struct FN(training) {
    struct FN(network) net;
    struct FN(data) data;
    enum loss_code loss;
    ptrdiff_t n_rows, batch_size;
    double alpha;
    /* train_epoch: */
    enum optimizer_code optimizer;
    const double *hyper;
    ptrdiff_t step;
    REAL *params, *state, *second_state;
    /* network_loss_gradient: */
    REAL *gradient;
    char *memory;
    size_t bytes_a_thread;
    struct FN(thread_sums) {
        _Alignas(CACHE_LINE) double loss; /* each on its own line */
    } *sums;
    struct barrier barrier;
};

static struct FN(workspace) FN(thread_workspace)(const struct FN(training) *t, int thread)
{
    struct FN(workspace) w;
    FN(lay_out)(&t->net, min_size(CHUNK_ROWS, t->batch_size), 1, t->memory + t->bytes_a_thread * (size_t)thread, &w);
    return w;
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

/* Update this thread's share of every layer, weights with the L2 term and biases without; returns its part of |weights|^2. */
static double FN(update_share)(const struct FN(training) *t, const struct FN(step) *step, double total_weight, int thread,
                               int n_threads)
{
    struct FN(workspace) first = FN(thread_workspace)(t, 0);
    struct FN(gradient) gradient = {.parts = first.gradient, .part_stride = (ptrdiff_t)(t->bytes_a_thread / sizeof(REAL)),
                                    .n_parts = n_threads, .scale = (REAL)(1 / total_weight)};
    const struct range mine = share(FN(n_params)(&t->net), CACHE_LINE, thread, n_threads);
    double squares = 0;
    for (ptrdiff_t l = 0; l < t->net.n_layers; l++) {
        const ptrdiff_t *layer = FN(layer)(&t->net, l);
        const ptrdiff_t begin = layer[OFFSET], bias = begin + layer[N_IN] * layer[N_OUT], end = bias + layer[N_OUT];
        gradient.l2 = (REAL)t->alpha;
        squares += FN(update)(step, &gradient, max_size(begin, mine.begin), min_size(bias, mine.end), t->params, t->state,
                              t->second_state);
        gradient.l2 = 0;
        FN(update)(step, &gradient, max_size(bias, mine.begin), min_size(end, mine.end), t->params, t->state, t->second_state);
    }
    return squares;
}

static void FN(train_epoch_thread)(void *argument, int thread, int n_threads)
{
    struct FN(training) *t = argument;
    const struct FN(workspace) w = FN(thread_workspace)(t, thread);
    const double outputs = t->loss == SQUARED_ERROR ? (double)FN(layer)(&t->net, t->net.n_layers - 1)[N_OUT] : 1;
    const unsigned mode = flush_subnormals();
    double epoch_loss = 0;
    ptrdiff_t step = t->step;
    for (ptrdiff_t begin = 0; begin < t->n_rows; begin += t->batch_size) {
        const ptrdiff_t end = min_size(begin + t->batch_size, t->n_rows);
        const struct range mine = share(end - begin, 1, thread, n_threads);
        const double total_weight = FN(batch_weight)(&t->data, begin, end);
        step++;
        if (total_weight == 0)
            continue;
        double loss = FN(loss_gradient_sum)(&t->net, t->loss, &t->data, begin + mine.begin, begin + mine.end, &w) / outputs;
        const struct FN(step) update = FN(optimizer_step)(t, step);
        barrier_wait(&t->barrier, n_threads);
        loss += 0.5 * t->alpha * FN(update_share)(t, &update, total_weight, thread, n_threads);
        barrier_wait(&t->barrier, n_threads);
        epoch_loss += loss / total_weight * (double)(end - begin);
    }
    t->sums[thread].loss = epoch_loss;
    restore_subnormals(mode);
}

static void FN(loss_gradient_thread)(void *argument, int thread, int n_threads)
{
    struct FN(training) *t = argument;
    const struct FN(workspace) w = FN(thread_workspace)(t, thread);
    const struct range mine = share(t->n_rows, 1, thread, n_threads);
    const double total_weight = FN(batch_weight)(&t->data, 0, t->n_rows);
    const double outputs = t->loss == SQUARED_ERROR ? (double)FN(layer)(&t->net, t->net.n_layers - 1)[N_OUT] : 1;
    double loss = FN(loss_gradient_sum)(&t->net, t->loss, &t->data, mine.begin, mine.end, &w) / outputs, squares = 0;
    barrier_wait(&t->barrier, n_threads);
    for (ptrdiff_t l = 0; l < t->net.n_layers; l++) {
        const ptrdiff_t *layer = FN(layer)(&t->net, l);
        const ptrdiff_t bias = layer[OFFSET] + layer[N_IN] * layer[N_OUT];
        const struct range part = share(bias + layer[N_OUT] - layer[OFFSET], CACHE_LINE, thread, n_threads);
        for (ptrdiff_t i = layer[OFFSET] + part.begin; i < layer[OFFSET] + part.end; i++) {
            REAL g = 0;
            for (int other = 0; other < n_threads; other++)
                g += w.gradient[((ptrdiff_t)other - thread) * (ptrdiff_t)(t->bytes_a_thread / sizeof(REAL)) + i];
            const double p = i < bias ? (double)t->net.params[i] : 0;
            squares += p * p;
            t->gradient[i] = (REAL)(((double)g + t->alpha * p) / total_weight);
        }
    }
    t->sums[thread].loss = (loss + 0.5 * t->alpha * squares) / total_weight;
}

/* Allocate, run, add up what the threads return. NaN and *failed = 1 when there is no memory; nothing was changed then. */
static double FN(run_training)(struct FN(training) *t, region_fn thread_function, int n_threads, int *failed)
{
    struct FN(workspace) unused;
    n_threads = usable_threads(n_threads);
    t->bytes_a_thread = FN(lay_out)(&t->net, min_size(CHUNK_ROWS, t->batch_size), 1, NULL, &unused);
    const size_t sums_bytes = (size_t)n_threads * sizeof(struct FN(thread_sums));
    t->memory = aligned_block(sums_bytes + t->bytes_a_thread * (size_t)n_threads);
    if (!t->memory) {
        *failed = 1;
        return NAN;
    }
    t->sums = (struct FN(thread_sums) *)t->memory;
    t->memory += sums_bytes;
    run_region(thread_function, t, n_threads);
    double total = 0;
    for (int i = 0; i < n_threads; i++)
        total += t->sums[i].loss;
    free(t->sums);
    return total;
}
