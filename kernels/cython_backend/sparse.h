/* The first layer on sparse rows. Included once for each real type.
 *
 * X is in CSR form. Forward is a sum of rows of W. The gradient of W is never stored: it would be as large as W, and most of its
 * rows are zero. Instead each thread turns the batch's part of X into columns, for its own share of the features. When it updates a
 * row of W, it sums up the row's gradient, in registers, from the column and the deltas of all rows of the batch. The memory needed
 * is W, the moments and one batch's deltas.
 */

/* X: dense, sparse or encoded. */
struct FN(features) {
    const STORED *dense;    /* (n, n_in); NULL for the other two, and */
    const REAL *real;       /* where dense rows are not STORED yet */
    const REAL *values;     /* CSR: the columns and values of row i are at positions row_start(i) up to row_start(i + 1) */
    const void *indices, *indptr;
    int wide;               /* indices and indptr are int64, not int32 */
    size_t last_column;     /* n_in - 1 */
    const struct column *columns; /* encoded.h: values are (n, n_columns) */
    ptrdiff_t n_columns;
};

static struct FN(features) FN(features)(const struct rows *rows, ptrdiff_t n_in)
{
    if (rows->columns)
        return (struct FN(features)){.values = rows->x, .columns = rows->columns, .n_columns = rows->n_columns};
    if (!rows->indptr)
        return rows->real && !STORED_IS_REAL ? (struct FN(features)){.real = rows->x} : (struct FN(features)){.dense = rows->x};
    return (struct FN(features)){.values = rows->x, .indices = rows->indices, .indptr = rows->indptr, .wide = rows->wide,
                                 .last_column = (size_t)n_in - 1};
}

ALWAYS_INLINE int FN(is_sparse)(const struct FN(features) *x) { return x->indptr != NULL; }
ALWAYS_INLINE int FN(is_encoded)(const struct FN(features) *x) { return x->columns != NULL; }
ALWAYS_INLINE int FN(is_dense)(const struct FN(features) *x) { return x->dense || x->real; }

ALWAYS_INLINE ptrdiff_t FN(row_start)(const struct FN(features) *x, ptrdiff_t row)
{
    return x->wide ? (ptrdiff_t)((const int64_t *)x->indptr)[row] : (ptrdiff_t)((const int32_t *)x->indptr)[row];
}

/* The indices are the caller's own array, checked before the call but not copied: each is read once, and one that somebody has put
 * out of range since then is taken as the last column. The starts of rows are a copy. */
ALWAYS_INLINE ptrdiff_t FN(column)(const struct FN(features) *x, ptrdiff_t at)
{
    const size_t column = x->wide ? (size_t)__atomic_load_n((const int64_t *)x->indices + at, __ATOMIC_RELAXED)
                                  : (size_t)(ptrdiff_t)__atomic_load_n((const int32_t *)x->indices + at, __ATOMIC_RELAXED);
    return (ptrdiff_t)(column < x->last_column ? column : x->last_column);
}

/* acc += the sum over the entries [begin, end) of value * matrix[column][0..n). vectors is a constant wherever this is inlined,
 * (vectors - 1) * LANES < n <= vectors * LANES; `far` says that the rows of the matrix lie beyond L2. */
ALWAYS_INLINE void FN(add_rows)(const int vectors, const int far, const struct FN(features) *x, ptrdiff_t begin, ptrdiff_t end,
                                const REAL *matrix, ptrdiff_t stride, ptrdiff_t n, VEC acc[SPARSE_VECTORS])
{
    const ptrdiff_t last = n - (vectors - 1) * LANES;
    for (ptrdiff_t at = begin; at < end; at++) {
        const REAL value = x->values[at];
        const REAL *row = matrix + FN(column)(x, at) * stride;
        if (far) {
            const REAL *ahead = matrix + FN(column)(x, min_size(at + ROWS_AHEAD, end - 1)) * stride;
            UNROLL for (int j = 0; j < vectors; j += CACHE_LINE / VECTOR_BYTES)
                __builtin_prefetch(ahead + j * LANES);
        }
        UNROLL for (int j = 0; j < vectors; j++)
            acc[j] += value * FN(load_upto)(row + j * LANES, j == vectors - 1 ? last : LANES);
    }
}

/* out[0..n) = start[0..n) + the sum of add_rows(), with start NULL for zeros. */
ALWAYS_INLINE void FN(sum_rows_panel)(const int vectors, const struct FN(features) *x, ptrdiff_t begin, ptrdiff_t end,
                                      const REAL *matrix, ptrdiff_t stride, const REAL *start, ptrdiff_t n, void *out, int real)
{
    VEC acc[SPARSE_VECTORS];
    const ptrdiff_t last = n - (vectors - 1) * LANES;
    UNROLL for (int j = 0; j < vectors; j++)
        acc[j] = start ? FN(load_upto)(start + j * LANES, j == vectors - 1 ? last : LANES) : (VEC){};
    FN(add_rows)(vectors, 1, x, begin, end, matrix, stride, n, acc);
    UNROLL for (int j = 0; j < vectors; j++)
        FN(write_upto)(FN(skip)(out, real, j * LANES), real, acc[j], j == vectors - 1 ? last : LANES);
}

/* sum_rows_panel() for any n, in panels of nearly equal width. */
static void FN(sum_rows)(const struct FN(features) *x, ptrdiff_t begin, ptrdiff_t end, const REAL *matrix, ptrdiff_t stride,
                         const REAL *start, ptrdiff_t n, void *out, int real)
{
    const ptrdiff_t registers = (n + LANES - 1) / LANES, panels = (registers + SPARSE_VECTORS - 1) / SPARSE_VECTORS;
    for (ptrdiff_t p = 0; p < panels; p++) {
        const ptrdiff_t first = registers * p / panels, vectors = registers * (p + 1) / panels - first, j = first * LANES;
        const ptrdiff_t width = min_size(vectors * LANES, n - j);
        const REAL *from = start ? start + j : NULL;
        void *to = FN(skip)(out, real, j);
#define PANEL_CASE(v) case v: FN(sum_rows_panel)(v, x, begin, end, matrix + j, stride, from, width, to, real); break;
        switch (vectors) {
            PANEL_CASE(1) PANEL_CASE(2) PANEL_CASE(3) PANEL_CASE(4) PANEL_CASE(5) PANEL_CASE(6) PANEL_CASE(7)
            PANEL_CASE(8) PANEL_CASE(9) PANEL_CASE(10) PANEL_CASE(11) PANEL_CASE(12) PANEL_CASE(13)
        }
#undef PANEL_CASE
    }
}

/* out (rows, n_out) = x[order[first + i]] @ weight + bias. */
static void FN(sparse_forward)(const struct FN(features) *x, const ptrdiff_t *order, ptrdiff_t first, ptrdiff_t rows,
                               const REAL *weight, const REAL *bias, ptrdiff_t n_out, void *out, ptrdiff_t out_stride, int real)
{
    for (ptrdiff_t i = 0; i < rows; i++) {
        const ptrdiff_t row = order ? order[first + i] : first + i;
        FN(sum_rows)(x, FN(row_start)(x, row), FN(row_start)(x, row + 1), weight, n_out, bias, n_out,
                     FN(skip)(out, real, i * out_stride), real);
    }
}

/* The entries of a batch in a range of features, sorted by feature and then by the row's position in the batch. */
struct FN(columns) {
    ptrdiff_t *start;        /* (features in the range + 1,) */
    int32_t *row;            /* (size,), like value; always rows of a batch, also where nothing was put */
    REAL *value;
    ptrdiff_t size;
};

/* As CSR rows, one for each feature, whose columns are rows of the batch. */
ALWAYS_INLINE struct FN(features) FN(transposed)(const struct FN(columns) *columns)
{
    return (struct FN(features)){.values = columns->value, .indices = columns->row, .last_column = SIZE_MAX};
}

static void FN(sort_columns)(const struct FN(features) *x, const ptrdiff_t *order, ptrdiff_t first, ptrdiff_t rows,
                             struct range features, const struct FN(columns) *columns)
{
    const ptrdiff_t n = features.end - features.begin;
    ptrdiff_t *start = columns->start;
    memset(start, 0, (size_t)(n + 1) * sizeof(ptrdiff_t));
    /* Counts are kept one place further on, so that their sums are where each feature's entries begin. Filling then moves each
     * start to the end of its feature's entries, which is the start of the next one's. Only where indices have changed since they
     * were counted is it not, and then may come to the end of the memory. */
    for (int filling = 0; filling < 2; filling++) {
        for (ptrdiff_t i = 0; i < rows; i++) {
            const ptrdiff_t row = order ? order[first + i] : first + i;
            for (ptrdiff_t at = FN(row_start)(x, row), end = FN(row_start)(x, row + 1); at < end; at++) {
                const ptrdiff_t feature = FN(column)(x, at) - features.begin;
                if (feature < 0 || feature >= n)
                    continue;
                if (filling) {
                    const ptrdiff_t to = start[feature];
                    if (to == columns->size)
                        continue;
                    start[feature]++;
                    columns->row[to] = (int32_t)i;
                    columns->value[to] = x->values[at];
                } else if (feature + 1 < n) {
                    start[feature + 1]++;
                }
            }
        }
        if (!filling)
            for (ptrdiff_t f = 1; f < n; f++)
                start[f] += start[f - 1];
    }
    memmove(start + 1, start, (size_t)n * sizeof(ptrdiff_t));
    start[0] = 0;
}

/* gradient (features, n_out) = x[batch].T @ delta (rows, n_out) for the features [first, end), counted within the columns'
 * range. */
static void FN(sparse_weight_gradient)(const struct FN(columns) *columns, ptrdiff_t first, ptrdiff_t end, const REAL *delta,
                                       ptrdiff_t n_out, REAL *gradient)
{
    const struct FN(features) transposed = FN(transposed)(columns);
    for (ptrdiff_t f = first; f < end; f++, gradient += n_out)
        FN(sum_rows)(&transposed, columns->start[f], columns->start[f + 1], delta, n_out, NULL, n_out, gradient, 1);
}

/* Update one feature's weights [0, n). Their gradient is the sum of add_rows() over the feature's entries in the batch, and
 * never leaves the registers: its loads fill the time that the update's divisions take. Returns each lane's sum of the squares
 * from before. */
ALWAYS_INLINE VEC FN(update_feature_panel)(const int vectors, const int optimizer, const struct FN(step) *step,
                                           const struct FN(features) *transposed, ptrdiff_t begin, ptrdiff_t end, const REAL *delta,
                                           ptrdiff_t stride, ptrdiff_t n, REAL l2, REAL scale, struct FN(updated) u)
{
    VEC acc[SPARSE_VECTORS], squares = {};
    UNROLL for (int j = 0; j < vectors; j++)
        acc[j] = (VEC){};
    FN(add_rows)(vectors, 0, transposed, begin, end, delta, stride, n, acc);
    UNROLL for (int j = 0; j < vectors; j++)
        squares += FN(update_register)(optimizer, step, acc[j], l2, scale, j * LANES, n - j * LANES, u);
    return squares;
}

/* Update all weights of the features [0, n) of the columns. Returns the sum of their squares from before. */
ALWAYS_INLINE double FN(update_feature_loop)(const int optimizer, const struct FN(step) *step,
                                             const struct FN(columns) *columns, ptrdiff_t n, const REAL *delta, ptrdiff_t n_out,
                                             REAL l2, REAL scale, struct FN(updated) u)
{
    const struct FN(features) transposed = FN(transposed)(columns);
    const struct FN(step) s = *step; /* a copy, which stores to the parameters cannot change */
    const ptrdiff_t registers = (n_out + LANES - 1) / LANES, panels = (registers + UPDATE_VECTORS - 1) / UPDATE_VECTORS;
    REAL *const average = u.average;
    double sum = 0;
    u.average = NULL; /* a whole feature's at a time: in every panel it would be much code */
    for (ptrdiff_t f = 0; f < n; f++) {
        const ptrdiff_t begin = columns->start[f], end = columns->start[f + 1];
        VEC squares = {};
        for (ptrdiff_t p = 0; p < panels; p++) {
            const ptrdiff_t first = registers * p / panels, vectors = registers * (p + 1) / panels - first, j = first * LANES;
            const ptrdiff_t width = min_size(vectors * LANES, n_out - j);
            const struct FN(updated) at = FN(updated_from)(u, j);
#define PANEL_CASE(v) case v: squares += FN(update_feature_panel)(v, optimizer, &s, &transposed, begin, end, delta + j, n_out, \
                                                                  width, l2, scale, at); break;
            switch (vectors) {
                PANEL_CASE(1) PANEL_CASE(2) PANEL_CASE(3) PANEL_CASE(4) PANEL_CASE(5) PANEL_CASE(6) PANEL_CASE(7)
            }
#undef PANEL_CASE
        }
        sum += (double)FN(horizontal_sum)(squares);
        if (average)
            FN(move_average)(average + f * n_out, u.params, n_out, s.average_gain);
        u = FN(updated_from)(u, n_out);
    }
    return sum;
}
