/* Layer norm and batch norm. Included once for each real type.
 *
 * y = (x - mean) * rstd * gamma + beta, with the mean and rstd = 1 / sqrt(variance + epsilon) of every row (Ba, Kiros, Hinton,
 * Layer normalization, 2016) or of every column (Ioffe and Szegedy, Batch normalization, 2015). Threads share the rows where
 * sums run along a row, else the columns. No sum is split among threads, so results do not depend on their number.
 *
 * Sums down the columns are taken over SUM_ROWS rows in registers and then added to the totals: rounding errors grow with the
 * number of blocks, and the rows of a block are still in the cache when the next columns need them.
 */

struct FN(norm) { /* what forward functions read and write */
    const STORED *x;
    const REAL *gamma, *beta;
    ptrdiff_t rows, n_units, x_stride, y_stride;
    REAL epsilon;
    STORED *y;
    REAL *mean, *rstd;
    const REAL *running_mean, *running_var; /* inference only */
};

struct FN(norm_gradient) { /* what backward functions read and write */
    const STORED *dy, *x;
    const REAL *gamma, *mean, *rstd;
    ptrdiff_t rows, n_units, x_stride, dy_stride; /* dx may be dy, and has its stride */
    int accumulate;
    STORED *dx;
    REAL *dgamma, *dbeta;
    REAL *sums; /* batch norm: two numbers for each column */
};

ALWAYS_INLINE VEC FN(reciprocal_std)(VEC variance, REAL epsilon) { return 1 / FN(vsqrt)(variance + epsilon); }

/* Layer norm: rows */

static void FN(layer_norm_row)(const struct FN(norm) *c, ptrdiff_t i)
{
    const ptrdiff_t n = c->n_units;
    const STORED *x = c->x + i * c->x_stride;
    STORED *y = c->y + i * c->y_stride;
    VEC sums = {}, squares = {};
    for (ptrdiff_t j = 0; j < n; j += LANES) /* lanes beyond n load as zero */
        sums += FN(get_upto)(x + j, n - j);
    const REAL mean = FN(horizontal_sum)(sums) / (REAL)n;
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        VEC centred = FN(get_upto)(x + j, n - j) - mean;
        if (n - j < LANES)
            centred = FN(keep)(FN(first_lanes)(n - j), centred);
        squares += centred * centred;
    }
    const REAL rstd = 1 / REAL_SQRT(FN(horizontal_sum)(squares) / (REAL)n + c->epsilon);
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const VEC x_hat = (FN(get_upto)(x + j, n - j) - mean) * rstd;
        FN(put_upto)(y + j, x_hat * FN(load_upto)(c->gamma + j, n - j) + FN(load_upto)(c->beta + j, n - j), n - j);
    }
    c->mean[i] = mean;
    c->rstd[i] = rstd;
}

static void FN(layer_norm_forward_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(norm) *c = argument;
    const struct range mine = share(c->rows, 1, thread, n_threads);
    for (ptrdiff_t i = mine.begin; i < mine.end; i++)
        FN(layer_norm_row)(c, i);
}

/* With g = dy * gamma: dx = rstd * (g - mean(g) - x_hat * mean(g * x_hat)). */
static void FN(layer_norm_gradient_row)(const struct FN(norm_gradient) *c, ptrdiff_t i)
{
    const ptrdiff_t n = c->n_units;
    const STORED *dy = c->dy + i * c->dy_stride, *x = c->x + i * c->x_stride;
    const REAL mean = c->mean[i], rstd = c->rstd[i];
    STORED *dx = c->dx + i * c->dy_stride;
    VEC sums = {}, products = {};
    for (ptrdiff_t j = 0; j < n; j += LANES) { /* beyond n, g is zero */
        const VEC g = FN(get_upto)(dy + j, n - j) * FN(load_upto)(c->gamma + j, n - j);
        sums += g;
        products += g * ((FN(get_upto)(x + j, n - j) - mean) * rstd);
    }
    const REAL mean_g = FN(horizontal_sum)(sums) / (REAL)n, mean_product = FN(horizontal_sum)(products) / (REAL)n;
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const VEC g = FN(get_upto)(dy + j, n - j) * FN(load_upto)(c->gamma + j, n - j);
        const VEC x_hat = (FN(get_upto)(x + j, n - j) - mean) * rstd;
        FN(put_upto)(dx + j, rstd * (g - mean_g - x_hat * mean_product), n - j);
    }
}

/* Sums down the columns */

/* Add to `totals`, and `products`, the sums of rows [first, end) over `width` registers of columns from j on; the last register may
 * have fewer columns than LANES. */
ALWAYS_INLINE void FN(add_block_sums)(const enum column_sum what, const int width, const struct FN(norm_gradient) *c,
                                      ptrdiff_t first, ptrdiff_t end, ptrdiff_t j, ptrdiff_t left, REAL *totals, REAL *products)
{
    VEC sum[SUM_VECTORS] = {}, product[SUM_VECTORS] = {};
    for (ptrdiff_t i = first; i < end; i++) {
        UNROLL for (int v = 0; v < width; v++) {
            const ptrdiff_t column = j + v * LANES, here = width > 1 ? LANES : left;
            const VEC x = FN(get_upto)(c->x + i * c->x_stride + column, here);
            if (what == SUM_VALUES) {
                sum[v] += x;
            } else if (what == SUM_SQUARES) {
                const VEC centred = x - FN(load_upto)(c->mean + column, here);
                sum[v] += centred * centred;
            } else {
                const int by_row = what == SUM_ROW_NORM_GRADIENTS;
                const VEC mean = by_row ? FN(broadcast)(c->mean[i]) : FN(load_upto)(c->mean + column, here);
                const VEC rstd = by_row ? FN(broadcast)(c->rstd[i]) : FN(load_upto)(c->rstd + column, here);
                const VEC dy = FN(get_upto)(c->dy + i * c->dy_stride + column, here);
                sum[v] += dy;
                product[v] += dy * ((x - mean) * rstd);
            }
        }
    }
    UNROLL for (int v = 0; v < width; v++) {
        const ptrdiff_t column = j + v * LANES, here = width > 1 ? LANES : left;
        FN(store_upto)(totals + column, FN(load_upto)(totals + column, here) + sum[v], here);
        if (what == SUM_ROW_NORM_GRADIENTS || what == SUM_COLUMN_NORM_GRADIENTS)
            FN(store_upto)(products + column, FN(load_upto)(products + column, here) + product[v], here);
    }
}

/* Add to totals[j] the sum over all rows of x, of (x - mean)^2 or of dy; with dy also add to products[j] the sum of dy * x_hat. */
ALWAYS_INLINE void FN(add_column_sums)(const enum column_sum what, const struct FN(norm_gradient) *c, struct range columns,
                                       REAL *totals, REAL *products)
{
    for (ptrdiff_t first = 0; first < c->rows; first += SUM_ROWS) {
        const ptrdiff_t end = min_size(c->rows, first + SUM_ROWS);
        ptrdiff_t j = columns.begin;
        for (; j + SUM_VECTORS * LANES <= columns.end; j += SUM_VECTORS * LANES)
            FN(add_block_sums)(what, SUM_VECTORS, c, first, end, j, 0, totals, products);
        for (; j < columns.end; j += LANES)
            FN(add_block_sums)(what, 1, c, first, end, j, columns.end - j, totals, products);
    }
}

static void FN(set_zero)(REAL *values, struct range where)
{
    memset(values + where.begin, 0, (size_t)(where.end - where.begin) * sizeof(REAL));
}

/* A thread's columns, in whole cache lines, so that no two threads write to the same one. */
static struct range FN(share_columns)(ptrdiff_t n_units, int thread, int n_threads)
{
    return share(n_units, CACHE_LINE / sizeof(REAL), thread, n_threads);
}

static void FN(layer_norm_backward_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(norm_gradient) *c = argument;
    const struct range rows = share(c->rows, 1, thread, n_threads), columns = FN(share_columns)(c->n_units, thread, n_threads);
    for (ptrdiff_t i = rows.begin; i < rows.end; i++)
        FN(layer_norm_gradient_row)(c, i);
    if (!c->accumulate) {
        FN(set_zero)(c->dbeta, columns);
        FN(set_zero)(c->dgamma, columns);
    }
    FN(add_column_sums)(SUM_ROW_NORM_GRADIENTS, c, columns, c->dbeta, c->dgamma);
}

/* Batch norm: columns */

/* y from the columns' mean and rstd; inference computes rstd from the running variance. y may be x. */
ALWAYS_INLINE void FN(normalize_columns)(const int inference, const struct FN(norm) *c, struct range columns)
{
    for (ptrdiff_t first = 0; first < c->rows; first += SUM_ROWS) {
        const ptrdiff_t end = min_size(c->rows, first + SUM_ROWS);
        for (ptrdiff_t j = columns.begin; j < columns.end; j += LANES) {
            const ptrdiff_t left = columns.end - j;
            const VEC mean = FN(load_upto)((inference ? c->running_mean : c->mean) + j, left);
            const VEC rstd = inference ? FN(reciprocal_std)(FN(load_upto)(c->running_var + j, left), c->epsilon)
                                       : FN(load_upto)(c->rstd + j, left);
            const VEC gain = rstd * FN(load_upto)(c->gamma + j, left), beta = FN(load_upto)(c->beta + j, left);
            for (ptrdiff_t i = first; i < end; i++) {
                const VEC centred = FN(get_upto)(c->x + i * c->x_stride + j, left) - mean;
                FN(put_upto)(c->y + i * c->y_stride + j, centred * gain + beta, left);
            }
        }
    }
}

static void FN(batch_norm_forward_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(norm) *c = argument;
    const struct range columns = FN(share_columns)(c->n_units, thread, n_threads);
    const struct FN(norm_gradient) sums = {.x = c->x, .mean = c->mean, .rows = c->rows, .n_units = c->n_units,
                                           .x_stride = c->x_stride};
    const REAL n = (REAL)c->rows;
    FN(set_zero)(c->mean, columns);
    FN(set_zero)(c->rstd, columns);
    FN(add_column_sums)(SUM_VALUES, &sums, columns, c->mean, NULL);
    for (ptrdiff_t j = columns.begin; j < columns.end; j += LANES)
        FN(store_upto)(c->mean + j, FN(load_upto)(c->mean + j, columns.end - j) / n, columns.end - j);
    FN(add_column_sums)(SUM_SQUARES, &sums, columns, c->rstd, NULL);
    for (ptrdiff_t j = columns.begin; j < columns.end; j += LANES) {
        const VEC variance = FN(load_upto)(c->rstd + j, columns.end - j) / n;
        FN(store_upto)(c->rstd + j, FN(reciprocal_std)(variance, c->epsilon), columns.end - j);
    }
    FN(normalize_columns)(0, c, columns);
}

static void FN(batch_norm_inference_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(norm) *c = argument;
    FN(normalize_columns)(1, c, FN(share_columns)(c->n_units, thread, n_threads));
}

/* dx = gamma * rstd * (dy - mean(dy) - x_hat * mean(dy * x_hat)), the means over the column of n rows; c may
 * have only some of them. */
static void FN(batch_norm_input_gradient)(const struct FN(norm_gradient) *c, struct range columns, REAL n, const REAL *sum_dy,
                                          const REAL *sum_products)
{
    for (ptrdiff_t first = 0; first < c->rows; first += SUM_ROWS) {
        const ptrdiff_t end = min_size(c->rows, first + SUM_ROWS);
        for (ptrdiff_t j = columns.begin; j < columns.end; j += LANES) {
            const ptrdiff_t left = columns.end - j;
            const VEC mean = FN(load_upto)(c->mean + j, left), rstd = FN(load_upto)(c->rstd + j, left);
            const VEC mean_dy = FN(load_upto)(sum_dy + j, left) / n, mean_product = FN(load_upto)(sum_products + j, left) / n;
            const VEC gain = rstd * FN(load_upto)(c->gamma + j, left);
            for (ptrdiff_t i = first; i < end; i++) {
                const VEC x_hat = (FN(get_upto)(c->x + i * c->x_stride + j, left) - mean) * rstd;
                const VEC dy = FN(get_upto)(c->dy + i * c->dy_stride + j, left);
                FN(put_upto)(c->dx + i * c->dy_stride + j, gain * (dy - mean_dy - x_hat * mean_product), left);
            }
        }
    }
}

static void FN(batch_norm_backward_thread)(void *argument, int thread, int n_threads)
{
    const struct FN(norm_gradient) *c = argument;
    const struct range columns = FN(share_columns)(c->n_units, thread, n_threads);
    REAL *sum_dy = c->sums, *sum_products = c->sums + round_up(c->n_units, CACHE_LINE);
    FN(set_zero)(sum_dy, columns);
    FN(set_zero)(sum_products, columns);
    FN(add_column_sums)(SUM_COLUMN_NORM_GRADIENTS, c, columns, sum_dy, sum_products);
    FN(batch_norm_input_gradient)(c, columns, (REAL)c->rows, sum_dy, sum_products);
    for (ptrdiff_t j = columns.begin; j < columns.end; j++) {
        c->dbeta[j] = sum_dy[j] + (c->accumulate ? c->dbeta[j] : 0);
        c->dgamma[j] = sum_products[j] + (c->accumulate ? c->dgamma[j] : 0);
    }
}

/* The functions of the table in engine.h */

static void FN(layer_norm_forward)(const void *x, const void *gamma, const void *beta, ptrdiff_t rows, ptrdiff_t n_units,
                                   double epsilon, void *y, void *mean, void *rstd, int n_threads)
{
    struct FN(norm) c = {.x = x, .gamma = gamma, .beta = beta, .rows = rows, .n_units = n_units, .x_stride = n_units,
                         .y_stride = n_units, .epsilon = (REAL)epsilon, .y = y, .mean = mean, .rstd = rstd};
    run_parts(FN(layer_norm_forward_thread), &c, n_threads);
}

static void FN(layer_norm_backward)(const void *dy, const void *x, const void *gamma, const void *mean, const void *rstd,
                                    ptrdiff_t rows, ptrdiff_t n_units, int accumulate, void *dx, void *dgamma, void *dbeta,
                                    int n_threads)
{
    struct FN(norm_gradient) c = {.dy = dy, .x = x, .gamma = gamma, .mean = mean, .rstd = rstd, .rows = rows, .n_units = n_units,
                                  .x_stride = n_units, .dy_stride = n_units, .accumulate = accumulate, .dx = dx,
                                  .dgamma = dgamma, .dbeta = dbeta};
    run_parts(FN(layer_norm_backward_thread), &c, n_threads);
}

static void FN(batch_norm_forward)(const void *x, const void *gamma, const void *beta, ptrdiff_t rows, ptrdiff_t n_units,
                                   double epsilon, void *y, void *mean, void *rstd, int n_threads)
{
    struct FN(norm) c = {.x = x, .gamma = gamma, .beta = beta, .rows = rows, .n_units = n_units, .x_stride = n_units,
                         .y_stride = n_units, .epsilon = (REAL)epsilon, .y = y, .mean = mean, .rstd = rstd};
    run_parts(FN(batch_norm_forward_thread), &c, n_threads);
}

static int FN(batch_norm_backward)(const void *dy, const void *x, const void *gamma, const void *mean, const void *rstd,
                                   ptrdiff_t rows, ptrdiff_t n_units, int accumulate, void *dx, void *dgamma, void *dbeta,
                                   int n_threads)
{
    struct FN(norm_gradient) c = {.dy = dy, .x = x, .gamma = gamma, .mean = mean, .rstd = rstd, .rows = rows, .n_units = n_units,
                                  .x_stride = n_units, .dy_stride = n_units, .accumulate = accumulate, .dx = dx,
                                  .dgamma = dgamma, .dbeta = dbeta};
    c.sums = take_block((size_t)(2 * round_up(n_units, CACHE_LINE)) * sizeof(REAL));
    if (!c.sums)
        return -1;
    run_parts(FN(batch_norm_backward_thread), &c, n_threads);
    give_back(c.sums);
    return 0;
}

static void FN(batch_norm_inference)(const void *x, const void *gamma, const void *beta, const void *running_mean,
                                     const void *running_var, ptrdiff_t rows, ptrdiff_t n_units, double epsilon, void *y,
                                     int n_threads)
{
    struct FN(norm) c = {.x = x, .gamma = gamma, .beta = beta, .rows = rows, .n_units = n_units, .x_stride = n_units,
                         .y_stride = n_units, .epsilon = (REAL)epsilon, .y = y,
                         .running_mean = running_mean, .running_var = running_var};
    run_parts(FN(batch_norm_inference_thread), &c, n_threads);
}
