/* A plain stack of Linear layers, chunk by chunk of rows: forward, link, backward. Included once for each real type.
 *
 * activation[l] holds the input of layer l, one row a sample, padded to whole registers, with a constant 1 behind the last unit:
 * [weight; bias] is then one matrix, and its gradient one product. On the way back the delta of layer l - 1 is written over
 * activation[l], which nobody needs any more. The last layer's logits, outputs and deltas share one dense (rows, n_out) block.
 * Sparse X takes another way through the first layer only: see sparse.h.
 */

struct FN(network) {
    const ptrdiff_t *layers; /* (n_layers, LAYER_COLUMNS) */
    ptrdiff_t n_layers;
    const REAL *params;
    const REAL *panels; /* all layers' weights and biases packed, layer after layer, or NULL */
};

ALWAYS_INLINE const ptrdiff_t *FN(layer)(const struct FN(network) *net, ptrdiff_t l) { return net->layers + l * LAYER_COLUMNS; }

ALWAYS_INLINE ptrdiff_t FN(n_params)(const struct FN(network) *net)
{
    const ptrdiff_t *last = FN(layer)(net, net->n_layers - 1);
    return last[OFFSET] + (last[N_IN] + 1) * last[N_OUT];
}

/* The same up to whole cache lines. */
ALWAYS_INLINE ptrdiff_t FN(padded_params)(const struct FN(network) *net)
{
    return round_up(FN(n_params)(net), CACHE_LINE / (ptrdiff_t)sizeof(REAL));
}

/* Numbers of REAL that all layers' panels take. */
static ptrdiff_t FN(network_panels_size)(const struct FN(network) *net)
{
    ptrdiff_t size = 0;
    for (ptrdiff_t l = 0; l < net->n_layers; l++)
        size += FN(panels_size)(FN(layer)(net, l)[N_IN], FN(layer)(net, l)[N_OUT]);
    return size;
}

/* A thread's share of each layer's panels. */
static void FN(pack_network)(const struct FN(network) *net, int thread, int n_threads, REAL *panels)
{
    for (ptrdiff_t l = 0; l < net->n_layers; l++) {
        const ptrdiff_t *layer = FN(layer)(net, l);
        const ptrdiff_t n_in = layer[N_IN], n_out = layer[N_OUT];
        FN(pack_panels)(net->params + layer[OFFSET], n_in, n_out, share(n_out, PANEL, thread, n_threads), panels);
        panels += FN(panels_size)(n_in, n_out);
    }
}

/* The row length of a padded activation with n units and the constant 1; not a multiple of 1 KiB, where rows would fall on
 * the same few sets of L1. */
static ptrdiff_t FN(padded_row)(ptrdiff_t n)
{
    ptrdiff_t stride = round_up(n + 1, LANES);
    return stride * sizeof(REAL) % 1024 == 0 ? stride + LANES : stride;
}

/* How many rows pass through the layers together in training. */
static ptrdiff_t FN(training_chunk)(const struct FN(network) *net)
{
    ptrdiff_t row_bytes = 0;
    for (ptrdiff_t l = 0; l < net->n_layers; l++)
        row_bytes += FN(padded_row)(FN(layer)(net, l)[N_IN]) * (ptrdiff_t)sizeof(REAL);
    if (FN(n_params)(net) * (ptrdiff_t)sizeof(REAL) > CHUNK_BYTES)
        return CHUNK_ROWS;
    return max_size(CHUNK_ROWS / 2, min_size(CHUNK_ROWS, CHUNK_BYTES / row_bytes));
}

/* What decides the size of a thread's buffers. */
struct FN(extent) {
    ptrdiff_t rows;          /* that pass through the layers together */
    int training;
    int sparse;
    ptrdiff_t batch_entries; /* of sparse X, at most */
};

/* One thread's buffers, cut from one block. */
struct FN(workspace) {
    REAL **activation;       /* [n_layers]: the input of each layer, (rows, padded_row); that of the first only in training */
    REAL *output;            /* (rows, n_out) dense: logits, then outputs, then deltas */
    REAL *packed;            /* a panel of weights */
    REAL *scratch;           /* for weight gradients */
    REAL *targets, *weight;  /* gathered */
    ptrdiff_t *labels;
    REAL *gradient;          /* (n_params,), without the first layer's weights where X is sparse */
    struct FN(columns) columns;
};

/* The first layer's weights, whose gradient is not stored where X is sparse. */
ALWAYS_INLINE ptrdiff_t FN(unstored)(const struct FN(network) *net, int sparse)
{
    return sparse ? net->layers[N_IN] * net->layers[N_OUT] : 0;
}

/* cut() of so many numbers. */
static REAL *FN(cut)(char *base, size_t *size, ptrdiff_t count) { return cut(base, size, (size_t)count * sizeof(REAL)); }

/* Lay the buffers out from `base` on and return their size in bytes; with base NULL only the size means anything. */
static size_t FN(lay_out)(const struct FN(network) *net, const struct FN(extent) *e, char *base, struct FN(workspace) *w)
{
    const ptrdiff_t n_in = net->layers[N_IN], n_out = FN(layer)(net, net->n_layers - 1)[N_OUT];
    const int by_columns = e->training && e->sparse;
    ptrdiff_t packed = 0, scratch = 0;
    size_t size = 0;
    w->activation = cut(base, &size, (size_t)net->n_layers * sizeof(REAL *));
    for (ptrdiff_t l = 0; l < net->n_layers; l++) {
        const ptrdiff_t *layer = FN(layer)(net, l);
        const int gathered = l > 0 || (e->training && !e->sparse);
        REAL *activation = FN(cut)(base, &size, gathered ? e->rows * FN(padded_row)(layer[N_IN]) + PANEL : 0);
        if (base)
            w->activation[l] = activation;
        if (l > 0 || !e->sparse) {
            packed = max_size(packed, FN(packed_size)(layer[N_IN], layer[N_OUT]));
            scratch = max_size(scratch, FN(gradient_scratch)(layer[N_IN] + 1, layer[N_OUT]));
        }
    }
    w->output = FN(cut)(base, &size, e->rows * n_out + PANEL);
    w->packed = FN(cut)(base, &size, packed);
    w->scratch = FN(cut)(base, &size, e->training ? scratch : 0);
    w->targets = FN(cut)(base, &size, e->training ? e->rows * n_out + LANES : 0);
    w->weight = FN(cut)(base, &size, e->training ? e->rows : 0);
    w->labels = cut(base, &size, (size_t)(e->training ? e->rows : 0) * sizeof(ptrdiff_t));
    w->gradient = FN(cut)(base, &size, e->training ? FN(n_params)(net) - FN(unstored)(net, e->sparse) : 0);
    w->columns.start = cut(base, &size, (size_t)(by_columns ? n_in + 1 : 0) * sizeof(ptrdiff_t));
    w->columns.row = cut(base, &size, (size_t)(by_columns ? e->batch_entries : 0) * sizeof(int32_t));
    w->columns.value = FN(cut)(base, &size, by_columns ? e->batch_entries : 0);
    return size;
}

static void FN(set_ones)(REAL *activation, ptrdiff_t rows, ptrdiff_t n)
{
    const ptrdiff_t stride = FN(padded_row)(n);
    for (ptrdiff_t i = 0; i < rows; i++)
        activation[i * stride + n] = 1;
}

/* Where layer l's result goes: the next layer's input, or the logits. */
ALWAYS_INLINE REAL *FN(layer_result)(const struct FN(network) *net, ptrdiff_t l, const struct FN(workspace) *w, ptrdiff_t *stride)
{
    const ptrdiff_t last = l == net->n_layers - 1, n_out = FN(layer)(net, l)[N_OUT];
    *stride = last ? n_out : FN(padded_row)(n_out);
    return last ? w->output : w->activation[l + 1];
}

/* What follows a layer's product: nothing for the logits, whose link comes with the loss. */
ALWAYS_INLINE enum activation_code FN(hidden_activation)(const struct FN(network) *net, ptrdiff_t l)
{
    return l == net->n_layers - 1 ? IDENTITY : (enum activation_code)FN(layer)(net, l)[ACTIVATION];
}

/* Which masks dropout has for a chunk: those of an update, counted from 1, for the rows of its batch from first_row on. Update 0 is
 * no training: nothing is dropped. */
struct FN(masks) {
    ptrdiff_t update, first_row;
};

ALWAYS_INLINE int FN(drops)(const ptrdiff_t *layer, struct FN(masks) masks) { return masks.update > 0 && layer[DROPOUT] > 0; }

/* The share of a layer's activations that is kept. */
ALWAYS_INLINE double FN(keep_rate)(const ptrdiff_t *layer) { return 1 - (double)layer[DROPOUT] * 0x1p-53; }

/* Scale a layer's activations, or the gradient by them, where they are kept; 0 elsewhere. The bits are those of dropout(). */
static void FN(drop_rows)(const ptrdiff_t *layer, struct FN(masks) masks, REAL *a, ptrdiff_t stride, ptrdiff_t rows)
{
    if (!FN(drops)(layer, masks))
        return;
    const ptrdiff_t n = layer[N_OUT], threshold = (layer[DROPOUT] + (1 << 20)) >> 21; /* in units of 2^-32 instead of 2^-53 */
    const uint64_t key = FN(stream_key)((uint64_t)layer[SEED], (uint64_t)layer[STREAM] + (uint64_t)masks.update);
    for (ptrdiff_t i = 0; i < rows; i++)
        FN(dropout_row)(a + i * stride, key, (uint64_t)(masks.first_row + i) * (uint64_t)n, n,
                        (uint32_t)min_size(threshold, UINT32_MAX), (REAL)(1 / FN(keep_rate)(layer)), a + i * stride);
}

/* Undo that scaling where the derivative of the activation is to be had from its value; for the others the sign will do. */
static void FN(unscale_rows)(const ptrdiff_t *layer, struct FN(masks) masks, REAL *a, ptrdiff_t stride, ptrdiff_t rows)
{
    if (!FN(drops)(layer, masks) || (layer[ACTIVATION] != SIGMOID && layer[ACTIVATION] != TANH))
        return;
    const REAL keep_rate = (REAL)FN(keep_rate)(layer);
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < layer[N_OUT]; j++)
            a[i * stride + j] *= keep_rate;
}

static void FN(activate_rows)(enum activation_code activation, REAL *a, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t n)
{
    if (activation != IDENTITY)
        for (ptrdiff_t i = 0; i < rows; i++)
            FN(activate_row)(activation, a + i * stride, n);
}

/* Some columns, whole panels but for the last, of layer l's activations or the logits, for its input x. Panels are the layer's, or
 * NULL. */
static void FN(forward_layer)(const struct FN(network) *net, ptrdiff_t l, const REAL *x, ptrdiff_t x_stride, ptrdiff_t rows,
                              struct range columns, const REAL *panels, const struct FN(workspace) *w)
{
    const ptrdiff_t *layer = FN(layer)(net, l);
    const ptrdiff_t n_in = layer[N_IN], n_out = layer[N_OUT];
    const enum activation_code activation = FN(hidden_activation)(net, l);
    const REAL *weight = net->params + layer[OFFSET];
    ptrdiff_t out_stride;
    REAL *out = FN(layer_result)(net, l, w, &out_stride);
    FN(forward_product)(x, x_stride, rows, weight, weight + n_in * n_out, panels, n_in, n_out, columns,
                        activation == RELU ? STORE_RELU : STORE, out, out_stride, w->packed);
    if (activation != RELU)
        FN(activate_rows)(activation, out + columns.begin, out_stride, rows, columns.end - columns.begin);
}

ALWAYS_INLINE const REAL *FN(next_panels)(const struct FN(network) *net, ptrdiff_t l, const REAL *panels)
{
    return panels ? panels + FN(panels_size)(FN(layer)(net, l)[N_IN], FN(layer)(net, l)[N_OUT]) : NULL;
}

/* Forward from layer `first` on, whose input is x, through all layers but the link. Leaves the logits in w->output. Panels are for
 * first = 0 only. */
static void FN(forward_rows)(const struct FN(network) *net, ptrdiff_t first, const REAL *x, ptrdiff_t x_stride, ptrdiff_t rows,
                             struct FN(masks) masks, const struct FN(workspace) *w)
{
    const REAL *panels = net->panels;
    for (ptrdiff_t l = first; l < net->n_layers; l++) {
        const ptrdiff_t *layer = FN(layer)(net, l);
        FN(forward_layer)(net, l, x, x_stride, rows, (struct range){0, layer[N_OUT]}, panels, w);
        x = FN(layer_result)(net, l, w, &x_stride);
        FN(drop_rows)(layer, masks, (REAL *)x, x_stride, rows);
        panels = FN(next_panels)(net, l, panels);
    }
}

/* The same from sparse x, rows [begin, begin + rows) of the order. */
static void FN(forward_sparse_rows)(const struct FN(network) *net, const struct FN(features) *x, const ptrdiff_t *order,
                                    ptrdiff_t begin, ptrdiff_t rows, struct FN(masks) masks, const struct FN(workspace) *w)
{
    const ptrdiff_t n_out = net->layers[N_OUT];
    const REAL *weight = net->params + net->layers[OFFSET];
    ptrdiff_t stride;
    REAL *out = FN(layer_result)(net, 0, w, &stride);
    FN(sparse_forward)(x, order, begin, rows, weight, weight + net->layers[N_IN] * n_out, n_out, out, stride);
    FN(activate_rows)(FN(hidden_activation)(net, 0), out, stride, rows, n_out);
    FN(drop_rows)(net->layers, masks, out, stride, rows);
    FN(forward_rows)(net, 1, out, stride, rows, masks, w);
}

static void FN(apply_link)(enum activation_code link, const REAL *logits, ptrdiff_t rows, ptrdiff_t n_out, REAL *outputs)
{
    if (outputs != logits)
        memcpy(outputs, logits, (size_t)(rows * n_out) * sizeof(REAL));
    if (link != LINK_SOFTMAX)
        FN(activate_row)(link, outputs, rows * n_out);
    else
        FN(softmax_rows)(outputs, rows, n_out);
}

/* Add the column sums of delta to sum, or write them. */
static void FN(sum_columns)(const REAL *delta, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t n, int accumulate, REAL *sum)
{
    if (!accumulate)
        memset(sum, 0, (size_t)n * sizeof(REAL));
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < n; j++)
            sum[j] += delta[i * stride + j];
}

/* From the output delta in w->output: this chunk's gradient of the sum, written to w->gradient or added to it. Sparse X: of the
 * first layer only the bias's; the deltas themselves go to first_delta. */
static void FN(backward_rows)(const struct FN(network) *net, ptrdiff_t rows, int accumulate, int sparse, REAL *first_delta,
                              struct FN(masks) masks, const struct FN(workspace) *w)
{
    const REAL *delta = w->output;
    ptrdiff_t delta_stride = FN(layer)(net, net->n_layers - 1)[N_OUT];
    for (ptrdiff_t l = net->n_layers - 1; l >= 0; l--) {
        const ptrdiff_t *layer = FN(layer)(net, l);
        const ptrdiff_t n_in = layer[N_IN], n_out = layer[N_OUT], stride = FN(padded_row)(n_in);
        REAL *gradient = w->gradient + layer[OFFSET] - (l > 0 ? FN(unstored)(net, sparse) : 0);
        if (l == 0 && sparse) {
            FN(sum_columns)(delta, delta_stride, rows, n_out, accumulate, gradient);
            for (ptrdiff_t i = 0; i < rows; i++)
                memcpy(first_delta + i * n_out, delta + i * delta_stride, (size_t)n_out * sizeof(REAL));
            return;
        }
        FN(padded_weight_gradient)(w->activation[l], stride, delta, delta_stride, rows, n_in + 1, n_out, accumulate, gradient,
                                   w->scratch);
        if (l == 0)
            return;
        const enum activation_code below = FN(hidden_activation)(net, l - 1);
        FN(unscale_rows)(FN(layer)(net, l - 1), masks, w->activation[l], stride, rows);
        FN(input_gradient)(delta, delta_stride, rows, net->params + layer[OFFSET], n_in, n_out,
                           below == RELU ? GATE_RELU : below == SIGMOID ? GATE_SIGMOID : below == TANH ? GATE_TANH : STORE,
                           w->activation[l], w->activation[l], stride, w->packed);
        FN(drop_rows)(FN(layer)(net, l - 1), masks, w->activation[l], stride, rows);
        delta = w->activation[l];
        delta_stride = stride;
    }
}

