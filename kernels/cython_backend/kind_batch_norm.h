/* Rows of a program: batch norm. In training a part of a batch, which is one chunk, sums over its own rows. When all parts have
 * their sums, each part adds up all of them, in the same order, and goes on. It saves the columns' means and reciprocal deviations.
 */

/* The parts of a batch: their workspaces, and how many rows each has of the `rows` of the batch. */
struct FN(parts) {
    const struct FN(workspace) *workspaces;
    int n_parts;
    ptrdiff_t rows;
};

ALWAYS_INLINE ptrdiff_t FN(rows_of_part)(const struct FN(parts) *parts, int part)
{
    const struct range mine = share(parts->rows, 1, part, parts->n_parts);
    return mine.end - mine.begin;
}

/* The second of two arrays that lie one after the other and have a number for each column. */
ALWAYS_INLINE REAL *FN(second)(REAL *arrays, const struct layer *layer) { return arrays + round_up(layer->n_in, LANES); }

/* The sums of a part's backward. They are apart from those of its forward, which other parts may still read. */
ALWAYS_INLINE REAL *FN(gradient_sums)(const struct FN(workspace) *w, ptrdiff_t i, const struct layer *layer)
{
    return w->sums[i] + 2 * round_up(layer->n_in, LANES);
}

/* Forward, before the parts meet: each column's sum over the part's rows, and the sum of the squared distances from its mean. */
static void FN(batch_norm_layer_sums)(const struct FN(chunk) *c, ptrdiff_t i)
{
    const struct layer *layer = &c->net->layers[i];
    const struct FN(matrix) x = FN(value)(c->net, c->w, i);
    const struct range columns = {0, layer->n_in};
    REAL *sums = c->w->sums[i], *squares = FN(second)(sums, layer), *mean = c->w->saved[i];
    const struct FN(norm_gradient) norm = {.x = x.at, .mean = mean, .rows = c->rows, .n_units = layer->n_in, .x_stride = x.stride};
    FN(set_zero)(sums, columns);
    FN(set_zero)(squares, columns);
    FN(add_column_sums)(SUM_VALUES, &norm, columns, sums, NULL);
    for (ptrdiff_t j = 0; j < layer->n_in; j++)
        mean[j] = sums[j] / (REAL)max_size(c->rows, 1);
    FN(add_column_sums)(SUM_SQUARES, &norm, columns, squares, NULL);
}

/* Forward, after the parts met: y from the mean and variance of the batch (Chan, Golub, LeVeque, Updating formulae and a
 * pairwise algorithm for computing sample variances, 1979). */
static void FN(batch_norm_layer_forward)(const struct FN(chunk) *c, ptrdiff_t i, const struct FN(parts) *parts)
{
    const struct layer *layer = &c->net->layers[i];
    const struct FN(matrix) x = FN(value)(c->net, c->w, i), y = FN(value)(c->net, c->w, i + 1);
    const REAL *gamma = c->net->params + layer->offset;
    REAL *mean = c->w->saved[i], *rstd = FN(second)(mean, layer);
    for (ptrdiff_t j = 0; j < layer->n_in; j++) {
        double sum = 0, squares = 0;
        for (int part = 0; part < parts->n_parts; part++)
            sum += (double)parts->workspaces[part].sums[i][j];
        const double centre = sum / (double)parts->rows;
        for (int part = 0; part < parts->n_parts; part++) {
            const double n = (double)FN(rows_of_part)(parts, part);
            const double distance = n > 0 ? (double)parts->workspaces[part].sums[i][j] / n - centre : 0;
            squares += (double)FN(second)(parts->workspaces[part].sums[i], layer)[j] + n * distance * distance;
        }
        mean[j] = (REAL)centre;
        rstd[j] = (REAL)(1 / sqrt(squares / (double)parts->rows + layer->epsilon));
    }
    const struct FN(norm) norm = {.x = x.at, .gamma = gamma, .beta = gamma + layer->n_in, .rows = c->rows, .n_units = layer->n_in,
                                  .x_stride = x.stride, .y_stride = y.stride, .y = y.at, .mean = mean, .rstd = rstd};
    FN(normalize_columns)(0, &norm, (struct range){0, layer->n_in});
}

/* Forward in evaluation: y from the running statistics. */
static void FN(batch_norm_layer_inference)(const struct FN(chunk) *c, ptrdiff_t i, struct FN(matrix) x)
{
    const struct layer *layer = &c->net->layers[i];
    const struct FN(matrix) y = FN(value)(c->net, c->w, i + 1);
    const REAL *gamma = c->net->params + layer->offset, *running_mean = c->net->statistics + layer->buffers;
    const struct FN(norm) norm = {.x = x.at, .gamma = gamma, .beta = gamma + layer->n_in, .rows = c->rows, .n_units = layer->n_in,
                                  .x_stride = x.stride, .y_stride = y.stride, .epsilon = (REAL)layer->epsilon, .y = y.at,
                                  .running_mean = running_mean, .running_var = running_mean + layer->n_in};
    FN(normalize_columns)(1, &norm, (struct range){0, layer->n_in});
}

static struct FN(norm_gradient) FN(batch_norm_gradient)(const struct FN(chunk) *c, ptrdiff_t i, struct FN(matrix) delta)
{
    const struct layer *layer = &c->net->layers[i];
    const struct FN(matrix) x = FN(value)(c->net, c->w, i);
    return (struct FN(norm_gradient)){.dy = delta.at, .x = x.at, .gamma = c->net->params + layer->offset, .mean = c->w->saved[i],
                                      .rstd = FN(second)(c->w->saved[i], layer), .rows = c->rows, .n_units = layer->n_in,
                                      .x_stride = x.stride, .dy_stride = delta.stride, .dx = delta.at};
}

/* Backward, before the parts meet: the part's sums of dy and of dy x_hat. They are also its gradients of beta and gamma. */
static void FN(batch_norm_layer_gradient_sums)(const struct FN(chunk) *c, ptrdiff_t i, struct FN(matrix) delta)
{
    const struct layer *layer = &c->net->layers[i];
    const struct FN(norm_gradient) norm = FN(batch_norm_gradient)(c, i, delta);
    const struct range columns = {0, layer->n_in};
    REAL *dgamma = c->w->gradient + layer->offset - FN(unstored)(c->net, FN(has_sparse)(c));
    REAL *sum_dy = FN(gradient_sums)(c->w, i, layer), *sum_products = FN(second)(sum_dy, layer);
    FN(set_zero)(sum_dy, columns);
    FN(set_zero)(sum_products, columns);
    FN(add_column_sums)(SUM_COLUMN_NORM_GRADIENTS, &norm, columns, sum_dy, sum_products);
    memcpy(dgamma, sum_products, (size_t)layer->n_in * sizeof(REAL));
    memcpy(dgamma + layer->n_in, sum_dy, (size_t)layer->n_in * sizeof(REAL));
}

/* Backward, after the parts met: the gradient with respect to the input. */
static void FN(batch_norm_layer_backward)(const struct FN(chunk) *c, ptrdiff_t i, struct FN(matrix) delta,
                                          const struct FN(parts) *parts)
{
    const struct layer *layer = &c->net->layers[i];
    const struct FN(norm_gradient) norm = FN(batch_norm_gradient)(c, i, delta);
    REAL *sum_dy = c->w->totals, *sum_products = FN(second)(sum_dy, layer);
    for (ptrdiff_t j = 0; j < layer->n_in; j++) {
        double dy = 0, product = 0;
        for (int part = 0; part < parts->n_parts; part++) {
            REAL *sums = FN(gradient_sums)(&parts->workspaces[part], i, layer);
            dy += (double)sums[j];
            product += (double)FN(second)(sums, layer)[j];
        }
        sum_dy[j] = (REAL)dy, sum_products[j] = (REAL)product;
    }
    FN(batch_norm_input_gradient)(&norm, (struct range){0, layer->n_in}, (REAL)parts->rows, sum_dy, sum_products);
}

/* The running statistics after a batch: (1 - momentum) times their old values plus momentum times the batch's mean and unbiased
 * variance, which is n / (n - 1) times the batch's. */
static void FN(move_statistics)(const struct FN(network) *net, const struct FN(workspace) *w, ptrdiff_t rows, REAL *statistics)
{
    const double unbiased = (double)rows / (double)max_size(rows - 1, 1);
    for (ptrdiff_t i = 0; i < net->n_layers; i++) {
        const struct layer *layer = &net->layers[i];
        if (layer->kind != KIND_BATCH_NORM)
            continue;
        REAL *running_mean = statistics + layer->buffers, *running_var = running_mean + layer->n_in;
        const REAL *mean = w->saved[i], *rstd = FN(second)(w->saved[i], layer);
        const double gain = layer->momentum, keep = 1 - gain;
        for (ptrdiff_t j = 0; j < layer->n_in; j++) {
            const double deviation = 1 / (double)rstd[j], variance = deviation * deviation - layer->epsilon;
            running_mean[j] = (REAL)(keep * (double)running_mean[j] + gain * (double)mean[j]);
            running_var[j] = (REAL)(keep * (double)running_var[j] + gain * unbiased * variance);
        }
    }
}
