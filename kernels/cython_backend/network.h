/* A layer program with its parameters, and the buffers that a thread needs for it. Included once for each real type.
 *
 * Rows of samples go through all layers together, a chunk at a time. A buffer has a row for each sample, padded to whole registers,
 * with a constant 1 behind the last unit: [weight; bias] of a linear row is then one matrix, and its gradient one product. Only the
 * last value is dense. Logits, outputs and the loss's gradient share one (rows, n_out) block. plan.h says which value is in which
 * buffer.
 */

struct FN(network) {
    const struct layer *layers; /* the last one is the link */
    ptrdiff_t n_layers;
    const REAL *params, *statistics; /* statistics: running means and variances, which only predictions read */
    const STORED *panels;       /* the packed weights of all linear rows, one after the other, or NULL */
    int int8;                   /* those of some rows are codes: see int8.h */
    struct plan plan;
};

ALWAYS_INLINE ptrdiff_t FN(n_params)(const struct FN(network) *net) { return n_parameters(net->layers, net->n_layers); }
ALWAYS_INLINE ptrdiff_t FN(n_outputs)(const struct FN(network) *net) { return net->layers[net->n_layers - 1].n_in; }

ALWAYS_INLINE int FN(link)(const struct FN(network) *net) { return (int)net->layers[net->n_layers - 1].code; }

/* The number of parameters, rounded up to whole cache lines. */
ALWAYS_INLINE ptrdiff_t FN(padded_params)(const struct FN(network) *net)
{
    return round_up(FN(n_params)(net), CACHE_LINE / (ptrdiff_t)sizeof(REAL));
}

/* Whether a row multiplies codes. */
ALWAYS_INLINE int FN(is_int8)(const struct FN(network) *net, const struct layer *layer) { return net->int8 && reads_int8(layer); }

/* How many numbers the panels of one row take; network_panels_size() is for all rows. */
ALWAYS_INLINE ptrdiff_t FN(layer_panels_size)(const struct FN(network) *net, const struct layer *layer)
{
#if defined(HAS_INT8)
    if (FN(is_int8)(net, layer))
        return FN(int8_size)(layer->n_in, layer->n_out);
#endif
    (void)net;
    return layer->kind == KIND_LINEAR ? FN(panels_size)(layer->n_in, layer->n_out) : 0;
}

static ptrdiff_t FN(network_panels_size)(const struct FN(network) *net)
{
    ptrdiff_t size = 0;
    for (ptrdiff_t l = 0; l < net->n_layers; l++)
        size += FN(layer_panels_size)(net, &net->layers[l]);
    return size;
}

/* Pack a thread's share of each row's panels. */
static void FN(pack_network)(const struct FN(network) *net, int thread, int n_threads, STORED *panels)
{
    for (ptrdiff_t l = 0; l < net->n_layers; l++) {
        const struct layer *layer = &net->layers[l];
        if (layer->kind == KIND_LINEAR && !FN(is_int8)(net, layer))
            FN(pack_panels)(net->params + layer->offset, layer->n_in, layer->n_out, share(layer->n_out, PANEL, thread, n_threads),
                            panels);
        panels += FN(layer_panels_size)(net, layer);
    }
}

/* The row length of a padded buffer with n units and the constant 1; not a multiple of 1 KiB, because rows would
 * then fall on the same few sets of L1. */
static ptrdiff_t FN(padded_row)(ptrdiff_t n)
{
    ptrdiff_t stride = round_up(n + 1, LANES);
    return stride * sizeof(STORED) % 1024 == 0 ? stride + LANES : stride;
}

/* How many rows pass through the layers together in training. */
static ptrdiff_t FN(training_chunk)(const struct FN(network) *net)
{
    ptrdiff_t row_bytes = 0;
    for (ptrdiff_t l = 0; l < net->n_layers; l++)
        if (net->layers[l].kind == KIND_LINEAR)
            row_bytes += FN(padded_row)(net->layers[l].n_in) * (ptrdiff_t)sizeof(STORED);
    if (FN(n_params)(net) * (ptrdiff_t)sizeof(REAL) > CHUNK_BYTES)
        return CHUNK_ROWS;
    return max_size(CHUNK_ROWS / 2, min_size(CHUNK_ROWS, CHUNK_BYTES / row_bytes));
}

/* The sizes from which those of a thread's buffers follow. */
struct FN(extent) {
    ptrdiff_t rows;          /* that pass through the layers together */
    int training;
    int sparse, encoded;     /* X, which the first row then reads itself */
    int narrows;             /* X is REAL and has to be STORED */
    ptrdiff_t batch_entries; /* of sparse X, at most */
};

ALWAYS_INLINE int FN(is_direct)(const struct FN(extent) *e) { return e->sparse || e->encoded; }

/* One thread's buffers, cut from one block. */
struct FN(workspace) {
    STORED **buffer;         /* [n_buffers] of the plan */
    REAL *logits;            /* the last buffer, or apart from it if that is not REAL; also the outputs and the loss's gradient */
    REAL **saved;            /* [n_layers]: norms' means and reciprocal deviations, of rows or columns */
    STORED **slope;          /* [n_layers]: of activations whose z a later row adds */
    REAL **sums;             /* [n_layers]: a batch norm's sums in training, two a column forward and two backward */
    REAL *totals;            /* two numbers for each column of the widest batch norm: the sums of all parts */
    STORED **branch;         /* [n_layers]: gradients with respect to values that are added later on */
    STORED *input;           /* X, where it has to be STORED */
    STORED *packed;          /* a panel of weights, or what int8.h needs */
    REAL *scratch;           /* for weight gradients */
    REAL *targets, *weight;  /* gathered */
    ptrdiff_t *labels;
    REAL *gradient;          /* (n_params,), without the first row's weights where X is sparse */
    struct FN(columns) columns;
    REAL *nodes, *node_gradient, *node_sums; /* encoded X: (n_in, n_out) of the first row, its gradient, which is zeros between two
                                              * batches, and (n_out,) */
    STORED *delta;           /* where the gradient is while the parts of a batch meet */
    ptrdiff_t delta_stride;
};

/* The first row's weights, whose gradient is not stored where X is sparse. */
ALWAYS_INLINE ptrdiff_t FN(unstored)(const struct FN(network) *net, int sparse) { return sparse ? n_weights(&net->layers[0]) : 0; }

/* cut() of `count` numbers. */
static REAL *FN(cut)(char *base, size_t *size, ptrdiff_t count) { return cut(base, size, (size_t)count * sizeof(REAL)); }
static STORED *FN(cut_stored)(char *base, size_t *size, ptrdiff_t count) { return cut(base, size, (size_t)count * sizeof(STORED)); }

/* A matrix, or some of its columns. */
struct FN(matrix) { STORED *at; ptrdiff_t stride; };

/* Value i, a row for each sample. Not for value 0 if that is X itself. */
ALWAYS_INLINE struct FN(matrix) FN(value)(const struct FN(network) *net, const struct FN(workspace) *w, ptrdiff_t i)
{
    const int buffer = net->plan.values[i].buffer, is_output = buffer == net->plan.values[net->n_layers - 1].buffer;
    const ptrdiff_t n = net->layers[i].n_in;
    return (struct FN(matrix)){w->buffer[buffer], is_output ? n : FN(padded_row)(n)};
}

/* Lay the buffers of all values out from `base` on and return their size in bytes; see lay_out(). */
static size_t FN(lay_out_values)(const struct FN(network) *net, const struct FN(extent) *e, char *base, struct FN(workspace) *w)
{
    const struct value *values = net->plan.values;
    const ptrdiff_t last = net->n_layers - 1;
    ptrdiff_t widest = 0;
    size_t size = 0;
    w->buffer = cut(base, &size, (size_t)net->plan.n_buffers * sizeof(STORED *));
    w->saved = cut(base, &size, (size_t)net->n_layers * sizeof(REAL *));
    w->sums = cut(base, &size, (size_t)net->n_layers * sizeof(REAL *));
    w->slope = cut(base, &size, (size_t)net->n_layers * sizeof(STORED *));
    w->branch = cut(base, &size, (size_t)net->n_layers * sizeof(STORED *));
    for (ptrdiff_t i = 0; i < net->n_layers; i++) {
        const struct layer *layer = &net->layers[i];
        const ptrdiff_t n = layer->n_in;
        const int is_new = values[i].buffer != INPUT && (i == 0 || values[i].buffer != values[i - 1].buffer);
        const ptrdiff_t stride = values[i].buffer == values[last].buffer ? n : FN(padded_row)(n);
        STORED *buffer = FN(cut_stored)(base, &size, is_new ? e->rows * stride + PANEL : 0);
        if (base && is_new)
            w->buffer[values[i].buffer] = buffer;
        const int by_rows = layer->kind == KIND_LAYER_NORM, by_columns = layer->kind == KIND_BATCH_NORM;
        const int keeps_slope = e->training && layer->kind == KIND_ACTIVATION && values[i].is_source;
        REAL *saved = FN(cut)(base, &size, by_rows ? 2 * e->rows : by_columns ? 2 * round_up(n, LANES) : 0);
        STORED *slope = FN(cut_stored)(base, &size, keeps_slope ? e->rows * FN(padded_row)(n) : 0);
        REAL *sums = FN(cut)(base, &size, e->training && by_columns ? 4 * round_up(n, LANES) : 0);
        STORED *branch = FN(cut_stored)(base, &size, e->training && i > 0 && values[i].is_source ? e->rows * FN(padded_row)(n) : 0);
        widest = max_size(widest, e->training && by_columns ? n : 0);
        if (base)
            w->saved[i] = saved, w->slope[i] = slope, w->sums[i] = sums, w->branch[i] = branch;
    }
    w->logits = FN(cut)(base, &size, STORED_IS_REAL ? 0 : e->rows * FN(n_outputs)(net));
    if (base && STORED_IS_REAL)
        w->logits = (REAL *)w->buffer[values[last].buffer];
    w->totals = FN(cut)(base, &size, 2 * round_up(widest, LANES));
    return size;
}

/* Lay a thread's buffers out from `base` on and return their size in bytes; with base NULL only the size means anything. */
static size_t FN(lay_out)(const struct FN(network) *net, const struct FN(extent) *e, char *base, struct FN(workspace) *w)
{
    const ptrdiff_t n_in = net->layers[0].n_in, n_out = FN(n_outputs)(net);
    const int by_columns = e->training && e->sparse;
    const ptrdiff_t nodes = e->encoded ? n_weights(&net->layers[0]) : 0;
    ptrdiff_t packed = 0, scratch = 0;
    size_t size = FN(lay_out_values)(net, e, base, w);
    for (ptrdiff_t l = 0; l < net->n_layers; l++) {
        const struct layer *layer = &net->layers[l];
        if (layer->kind == KIND_LINEAR && (l > 0 || !FN(is_direct)(e))) {
            packed = max_size(packed, FN(packed_size)(layer->n_in, layer->n_out));
#if defined(HAS_INT8)
            if (FN(is_int8)(net, layer))
                packed = max_size(packed, FN(int8_scratch)(layer->n_in));
#endif
            scratch = max_size(scratch, FN(gradient_scratch)(layer->n_in + 1, layer->n_out));
        }
    }
    w->input = FN(cut_stored)(base, &size, e->narrows ? e->rows * n_in : 0);
    w->packed = FN(cut_stored)(base, &size, packed);
    w->scratch = FN(cut)(base, &size, e->training ? scratch : 0);
    w->targets = FN(cut)(base, &size, e->training ? e->rows * n_out + LANES : 0);
    w->weight = FN(cut)(base, &size, e->training ? e->rows : 0);
    w->labels = cut(base, &size, (size_t)(e->training ? e->rows : 0) * sizeof(ptrdiff_t));
    w->gradient = FN(cut)(base, &size, e->training ? FN(n_params)(net) - FN(unstored)(net, e->sparse) : 0);
    w->nodes = FN(cut)(base, &size, nodes);
    w->node_gradient = FN(cut)(base, &size, e->training ? nodes : 0);
    w->node_sums = FN(cut)(base, &size, e->training && e->encoded ? net->layers[0].n_out : 0);
    w->columns.start = cut(base, &size, (size_t)(by_columns ? n_in + 1 : 0) * sizeof(ptrdiff_t));
    w->columns.size = by_columns ? e->batch_entries : 0;
    w->columns.row = cut(base, &size, (size_t)w->columns.size * sizeof(int32_t));
    w->columns.value = FN(cut)(base, &size, w->columns.size);
    if (base) {
        memset(w->columns.row, 0, (size_t)w->columns.size * sizeof(int32_t));
        memset(w->node_gradient, 0, (size_t)(e->training ? nodes : 0) * sizeof(REAL));
    }
    return size;
}

/* The dropout masks of a chunk: those of an update, counted from 1, for the rows of its batch from first_row on. Update 0 means no
 * training: nothing is dropped. */
struct FN(masks) {
    ptrdiff_t update, first_row;
};

/* A chunk of samples that goes through the rows of a program. */
struct FN(chunk) {
    const struct FN(network) *net;
    const struct FN(workspace) *w;
    ptrdiff_t rows;
    int training;
    struct FN(masks) masks;
    int accumulate;          /* backward: add to w->gradient */
    ptrdiff_t first;         /* rows [first, first + rows) of the order, which may be NULL */
    /* X, unless it is gathered or read where it lies */
    const struct FN(features) *x;
    const ptrdiff_t *order;
    REAL *first_delta;       /* backward with sparse X: where the first row's deltas go */
};

ALWAYS_INLINE int FN(has_sparse)(const struct FN(chunk) *c) { return c->x && FN(is_sparse)(c->x); }

static void FN(copy_matrix)(struct FN(matrix) from, ptrdiff_t rows, ptrdiff_t n, struct FN(matrix) to)
{
    for (ptrdiff_t i = 0; i < rows; i++)
        memcpy(to.at + i * to.stride, from.at + i * from.stride, (size_t)n * sizeof(STORED));
}
