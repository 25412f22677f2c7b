/* Softmax, links and losses on rows. Included once for each real type. Loss values are summed in double. */

static int FN(all_finite_row)(const REAL *x, ptrdiff_t n)
{
    INT_VEC finite = ~(INT_VEC){};
    for (ptrdiff_t j = 0; j < n; j += LANES)
        finite &= FN(absolute)(FN(load_upto)(x + j, n - j)) < (REAL)INFINITY;
    INTEGER all = -1;
    UNROLL for (int i = 0; i < LANES; i++)
        all &= finite[i];
    return all != 0;
}

static REAL FN(max_row)(const REAL *z, ptrdiff_t n)
{
    VEC best = FN(broadcast)(z[0]);
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        VEC v = n - j >= LANES ? FN(load)(z + j) : FN(select)(FN(first_lanes)(n - j), FN(load_first)(z + j, n - j), best);
        best = FN(select)(best >= v, best, v); /* a NaN in v stays */
    }
    return FN(horizontal_max)(best);
}

/* probs = softmax(z), which may be the same memory or NULL, given z's maximum; returns log(sum(exp(z - maximum))). */
static double FN(softmax_row)(const REAL *z, ptrdiff_t n, REAL maximum, REAL *probs)
{
    VEC sums = {};
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        VEC e = FN(vexp_nonpositive)(FN(load_upto)(z + j, n - j) - maximum);
        if (n - j < LANES)
            e = FN(keep)(FN(first_lanes)(n - j), e);
        sums += e;
        if (probs)
            FN(store_upto)(probs + j, e, n - j);
    }
    const REAL sum = FN(horizontal_sum)(sums), inverse = 1 / sum;
    for (ptrdiff_t j = 0; probs && j < n; j += LANES)
        FN(store_upto)(probs + j, FN(load_upto)(probs + j, n - j) * inverse, n - j);
    return log((double)sum);
}

/* dlogits = probs * (dprobs - sum(dprobs * probs)). */
static void FN(softmax_gradient_row)(const REAL *dprobs, const REAL *probs, ptrdiff_t n, REAL *dlogits)
{
    VEC dots = {};
    for (ptrdiff_t j = 0; j < n; j += LANES) /* lanes beyond n load as zero */
        dots += FN(load_upto)(dprobs + j, n - j) * FN(load_upto)(probs + j, n - j);
    const REAL dot = FN(horizontal_sum)(dots);
    for (ptrdiff_t j = 0; j < n; j += LANES)
        FN(store_upto)(dlogits + j, FN(load_upto)(probs + j, n - j) * (FN(load_upto)(dprobs + j, n - j) - dot), n - j);
}

/* The targets of a block of rows. A pointer that is not given is NULL: labels, or dense targets; weights or none. */
struct FN(target_rows) {
    const ptrdiff_t *labels;
    const REAL *dense;      /* (rows, n_out) */
    const REAL *weight;     /* (rows,) */
};

ALWAYS_INLINE struct FN(target_rows) FN(skip_rows)(struct FN(target_rows) t, ptrdiff_t rows, ptrdiff_t n_out)
{
    return (struct FN(target_rows)){t.labels ? t.labels + rows : NULL, t.dense ? t.dense + rows * n_out : NULL,
                                    t.weight ? t.weight + rows : NULL};
}

/* How the cross-entropies are reported: with clip > 0 as of probabilities clipped to [clip, 1 - clip], so that -log p is within
 * [low, high]; with clip = 0 these are 0 and infinity. */
struct FN(clipping) { REAL clip; double low, high; };

static struct FN(clipping) FN(clipping)(double clip) { return (struct FN(clipping)){(REAL)clip, -log1p(-clip), -log(clip)}; }

/* What is computed of logits and targets; n_hyper numbers in hyper: none, one for all outputs, or one for each. */
struct FN(objective) {
    enum loss_code loss;
    const double *hyper;
    ptrdiff_t n_hyper;
    struct FN(clipping) clipping;
};

static struct FN(objective) FN(objective)(int loss, const double *hyper, ptrdiff_t n_out, double clip)
{
    return (struct FN(objective)){(enum loss_code)loss, hyper, n_loss_hyper(loss, n_out), FN(clipping)(clip)};
}

ALWAYS_INLINE double FN(bounded)(double loss, const struct FN(clipping) *c) /* NaN stays */
{
    return loss < c->low ? c->low : loss > c->high ? c->high : loss;
}

/* sum_c y_c (logsumexp(z) - z_c) for one row, with the maximum taken out of both terms: no digits are lost to large logits. */
static double FN(cross_entropy_row)(const REAL *z, ptrdiff_t n, ptrdiff_t label, const REAL *y, const struct FN(clipping) *clipping,
                                    REAL *probs)
{
    const REAL maximum = FN(max_row)(z, n);
    if (!y) {
        const double below = (double)maximum - (double)z[label]; /* before probs may overwrite z */
        return FN(bounded)(below + FN(softmax_row)(z, n, maximum, probs), clipping);
    }
    REAL sum = 0;
    for (ptrdiff_t c = 0; c < n; c += LANES) {
        VEC e = FN(vexp_nonpositive)(FN(load_upto)(z + c, n - c) - maximum);
        sum += FN(horizontal_sum)(n - c < LANES ? FN(keep)(FN(first_lanes)(n - c), e) : e);
    }
    const double log_sum = log((double)sum);
    double loss = 0;
    for (ptrdiff_t c = 0; c < n; c++)
        loss += (double)y[c] * FN(bounded)(log_sum + ((double)maximum - (double)z[c]), clipping);
    if (probs)
        FN(softmax_row)(z, n, maximum, probs);
    return loss;
}

/* Softmax and its loss for up to LANES rows at once, of at most FEW_CLASSES classes, one row a lane: nothing is summed across
 * lanes, and there is one logarithm for all. z and probs (rows, n) may be the same memory. Returns log(sum(exp(z - maximum)))
 * and the maximum. */
ALWAYS_INLINE VEC FN(softmax_lanes)(const REAL *z, ptrdiff_t rows, ptrdiff_t n, REAL *probs, VEC *maximum)
{
    VEC e[FEW_CLASSES + LANES]; /* [class] */
    ptrdiff_t first = 0;
    do {
        VEC *block = e + first;
        UNROLL for (int i = 0; i < LANES; i++)
            block[i] = i < rows ? FN(load_upto)(z + i * n + first, n - first) : (VEC){};
        FN(transpose)(block);
        first += LANES;
    } while (first < n);
    VEC best = e[0], sum = {};
    for (ptrdiff_t c = 1; c < n; c++)
        best = FN(select)(best >= e[c], best, e[c]); /* a NaN in e[c] stays */
    for (ptrdiff_t c = 0; c < n; c++)
        sum += e[c] = FN(vexp_nonpositive)(e[c] - best);
    const VEC inverse = 1 / sum;
    for (ptrdiff_t c = 0; probs && c < n; c += LANES) {
        VEC *block = e + c;
        UNROLL for (int i = 0; i < LANES; i++)
            block[i] *= inverse;
        FN(transpose)(block);
        UNROLL for (int i = 0; i < LANES; i++)
            if (i < rows)
                FN(store_upto)(probs + i * n + c, block[i], n - c);
    }
    *maximum = best;
    return FN(vlog)(sum);
}

/* Softmax of each row, in place. */
static void FN(softmax_rows)(REAL *z, ptrdiff_t rows, ptrdiff_t n)
{
    VEC unused;
    const ptrdiff_t step = n <= FEW_CLASSES ? LANES : 1;
    for (ptrdiff_t i = 0; i < rows; i += step, z += step * n) {
        if (n <= FEW_CLASSES)
            FN(softmax_lanes)(z, min_size(LANES, rows - i), n, z, &unused);
        else
            FN(softmax_row)(z, n, FN(max_row)(z, n), z);
    }
}

/* outputs = link(logits) for rows of n_out logits; outputs may be the logits. */
static void FN(apply_link)(int link, const REAL *logits, ptrdiff_t rows, ptrdiff_t n_out, REAL *outputs)
{
    const ptrdiff_t n = rows * n_out;
    if (link == LINK_SIGMOID) {
        for (ptrdiff_t j = 0; j < n; j += LANES)
            FN(store_upto)(outputs + j, FN(vsigmoid)(FN(load_upto)(logits + j, n - j)), n - j);
    } else if (link == LINK_EXP) {
        for (ptrdiff_t j = 0; j < n; j += LANES)
            FN(store_upto)(outputs + j, FN(vexp)(FN(load_upto)(logits + j, n - j)), n - j);
    } else if (link == LINK_SOFTMAX || link == LINK_IDENTITY) {
        if (outputs != logits)
            memcpy(outputs, logits, (size_t)n * sizeof(REAL));
        if (link == LINK_SOFTMAX)
            FN(softmax_rows)(outputs, rows, n_out);
    } else {
        unknown_code("link", link);
    }
}

/* The cross-entropy with labels, for at most FEW_CLASSES classes, summed over the rows with their weights. */
static double FN(few_classes_loss)(const REAL *z, ptrdiff_t rows, ptrdiff_t n, const ptrdiff_t *labels, const REAL *weight,
                                   const struct FN(clipping) *clipping, REAL *probs)
{
    double sum = 0;
    for (ptrdiff_t first = 0; first < rows; first += LANES) {
        const ptrdiff_t here = min_size(LANES, rows - first);
        REAL at_label[LANES] = {0}; /* before probs may overwrite z */
        for (ptrdiff_t i = 0; i < here; i++)
            at_label[i] = z[(first + i) * n + labels[first + i]];
        VEC maximum;
        const VEC log_sum = FN(softmax_lanes)(z + first * n, here, n, probs ? probs + first * n : NULL, &maximum);
        const VEC values = maximum - FN(load)(at_label) + log_sum;
        for (ptrdiff_t i = 0; i < here; i++)
            sum += (weight ? (double)weight[first + i] : 1) * FN(bounded)((double)values[i], clipping);
    }
    return sum;
}

/* The parameters of the losses of up to LANES numbers, of which the first belongs to output c. */
ALWAYS_INLINE VEC FN(hyper_at)(const struct FN(objective) *o, ptrdiff_t c, ptrdiff_t left)
{
    VEC v = {};
    if (o->n_hyper == 1)
        return FN(broadcast)((REAL)o->hyper[0]);
    for (ptrdiff_t i = 0; i < LANES && i < left && o->n_hyper > 0; i++)
        v[i] = (REAL)o->hyper[c + i];
    return v;
}

/* The elementwise losses: output = link(z), value = loss(z, y) in nats, h the loss's parameter. */
ALWAYS_INLINE VEC FN(elementwise_loss)(enum loss_code loss, VEC z, VEC y, VEC h, REAL clip, VEC *output)
{
    if (loss == BINARY_CROSS_ENTROPY) {
        VEC e = FN(vexp_nonpositive)(-FN(absolute)(z)), p = FN(select)(z < 0, e, FN(broadcast)(1)) / (e + 1);
        *output = p;
        if (clip == 0)
            return FN(relu)(z) - z * y + FN(vlog1p_unit)(e);
        /* From p itself: scikit-learn's 1 - p is rounded, which shows where p is near 1 and y is 0. */
        p = FN(at_most)(FN(at_least)(p, clip), 1 - clip);
        return -(y * FN(vlog)(p) + (1 - y) * FN(vlog)(1 - p));
    }
    if (loss == SQUARED_ERROR) {
        *output = z;
        return (REAL)0.5 * (y - z) * (y - z);
    }
    if (loss == ABSOLUTE_ERROR || loss == HUBER || loss == QUANTILE) {
        const VEC d = y - z, size = FN(absolute)(d), bounded = FN(select)(size > h, h, size); /* NaN stays */
        *output = z;
        return loss == ABSOLUTE_ERROR ? size : loss == HUBER ? bounded * (size - (REAL)0.5 * bounded)
                                                             : FN(select)(d > 0, h, h - 1) * d;
    }
    const VEC mean = FN(vexp)(z);
    *output = mean;
    if (loss == GAMMA)
        return y / mean - 1 + z - FN(vlog)(y);
    if (loss == TWEEDIE) {
        const VEC of_y = FN(keep)(~(y <= 0), FN(vexp)((2 - h) * FN(vlog)(y)));
        return FN(vexp)((2 - h) * z) / (2 - h) + (y * FN(vexp)((1 - h) * z) - of_y / (2 - h)) / (h - 1);
    }
    return mean - y - y * z; /* + y log y, which does not depend on the network: added by the caller */
}

/* The weighted sum of y log y, 0 for y = 0: the part of Poisson's loss that depends on the targets alone. */
static double FN(target_entropy)(const REAL *y, const REAL *weight, ptrdiff_t n)
{
    double sum = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        sum += y[i] == 0 ? 0.0 : (weight ? (double)weight[i] : 1) * (double)y[i] * log((double)y[i]);
    return sum;
}

/* outputs = link(z), the sum of the losses returned, weighted if a weight of each is given, for n numbers; outputs may be z, or
 * NULL. */
ALWAYS_INLINE double FN(elementwise_loss_run)(enum loss_code loss, const struct FN(objective) *o, const REAL *z, const REAL *y,
                                              const REAL *weight, ptrdiff_t n, REAL clip, REAL *outputs)
{
    double sum = 0;
    VEC h = FN(hyper_at)(o, 0, n);
    for (ptrdiff_t j = 0; j < n;) { /* in blocks: enough to amortise the step to double, few enough to lose nothing */
        ptrdiff_t end = min_size(n, j + 16 * LANES);
        VEC values = {};
        for (; j < end; j += LANES) {
            VEC output;
            if (o->n_hyper > 1)
                h = FN(hyper_at)(o, j, end - j);
            VEC value = FN(elementwise_loss)(loss, FN(load_upto)(z + j, end - j), FN(load_upto)(y + j, end - j), h, clip, &output);
            if (weight)
                value *= FN(load_upto)(weight + j, end - j);
            values += end - j >= LANES ? value : FN(keep)(FN(first_lanes)(end - j), value);
            if (outputs)
                FN(store_upto)(outputs + j, output, end - j);
        }
        sum += (double)FN(horizontal_sum)(values);
        j = end;
    }
    return loss == POISSON ? sum + FN(target_entropy)(y, weight, n) : sum;
}

static double FN(elementwise_loss_row)(const struct FN(objective) *o, const REAL *z, const REAL *y, const REAL *weight,
                                       ptrdiff_t n, REAL *outputs)
{
    const REAL clip = o->clipping.clip;
    switch (o->loss) {
    case BINARY_CROSS_ENTROPY:
        return clip == 0 ? FN(elementwise_loss_run)(BINARY_CROSS_ENTROPY, o, z, y, weight, n, 0, outputs)
                         : FN(elementwise_loss_run)(BINARY_CROSS_ENTROPY, o, z, y, weight, n, clip, outputs);
    case SQUARED_ERROR: return FN(elementwise_loss_run)(SQUARED_ERROR, o, z, y, weight, n, 0, outputs);
    case POISSON: return FN(elementwise_loss_run)(POISSON, o, z, y, weight, n, 0, outputs);
    case ABSOLUTE_ERROR: return FN(elementwise_loss_run)(ABSOLUTE_ERROR, o, z, y, weight, n, 0, outputs);
    case HUBER: return FN(elementwise_loss_run)(HUBER, o, z, y, weight, n, 0, outputs);
    case QUANTILE: return FN(elementwise_loss_run)(QUANTILE, o, z, y, weight, n, 0, outputs);
    case GAMMA: return FN(elementwise_loss_run)(GAMMA, o, z, y, weight, n, 0, outputs);
    case TWEEDIE: return FN(elementwise_loss_run)(TWEEDIE, o, z, y, weight, n, 0, outputs);
    default: unknown_code("loss", (int)o->loss);
    }
}

/* Whether all numbers are alike, so that rows do not matter: then a weight is that of a number. */
ALWAYS_INLINE int FN(is_flat)(const struct FN(objective) *o, ptrdiff_t n_out, const REAL *weight)
{
    return o->loss != SOFTMAX_CROSS_ENTROPY && (n_out == 1 || (!weight && o->n_hyper <= 1));
}

/* outputs (rows, n_out) = link(logits); returns the weighted sum of the loss over the rows. outputs may be logits, or NULL. */
static double FN(loss_rows)(const struct FN(objective) *o, const REAL *logits, ptrdiff_t rows, ptrdiff_t n_out,
                            struct FN(target_rows) t, REAL *outputs)
{
    if (FN(is_flat)(o, n_out, t.weight))
        return FN(elementwise_loss_row)(o, logits, t.dense, t.weight, rows * n_out, outputs);
    if (t.labels && n_out <= FEW_CLASSES)
        return FN(few_classes_loss)(logits, rows, n_out, t.labels, t.weight, &o->clipping, outputs);
    double sum = 0;
    for (ptrdiff_t i = 0; i < rows; i++) {
        const ptrdiff_t row = i * n_out;
        REAL *output = outputs ? outputs + row : NULL;
        const REAL *y = t.dense ? t.dense + row : NULL;
        double value = o->loss == SOFTMAX_CROSS_ENTROPY
            ? FN(cross_entropy_row)(logits + row, n_out, t.labels ? t.labels[i] : 0, y, &o->clipping, output)
            : FN(elementwise_loss_row)(o, logits + row, y, NULL, n_out, output);
        sum += t.weight ? (double)t.weight[i] * value : value;
    }
    return sum;
}

/* dz = scale * (mass * outputs - y), n numbers; dz may be outputs. */
static void FN(difference_row)(const REAL *outputs, const REAL *y, REAL mass, REAL scale, ptrdiff_t n, REAL *dz)
{
    for (ptrdiff_t j = 0; j < n; j += LANES)
        FN(store_upto)(dz + j, scale * (mass * FN(load_upto)(outputs + j, n - j) - FN(load_upto)(y + j, n - j)), n - j);
}

/* The derivative of an elementwise loss with respect to z, h the loss's parameter: 0 at a kink, and output - y where the loss has
 * its canonical link. */
ALWAYS_INLINE VEC FN(elementwise_gradient)(enum loss_code loss, VEC output, VEC y, VEC h)
{
    const VEC d = output - y;
    if (loss == ABSOLUTE_ERROR)
        return FN(select)(d > 0, FN(broadcast)(1), FN(select)(d < 0, FN(broadcast)(-1), d));
    if (loss == HUBER)
        return FN(select)(d > h, h, FN(select)(d < -h, -h, d));
    if (loss == QUANTILE)
        return FN(select)(d > 0, 1 - h, FN(select)(d < 0, -h, d));
    if (loss == GAMMA)
        return 1 - y / output;
    if (loss == TWEEDIE) {
        const VEC z = FN(vlog)(output); /* finite, even where exp(z) is 0 or infinite */
        return FN(vexp)((2 - h) * z) - y * FN(vexp)((1 - h) * z);
    }
    return d;
}

/* dz = scale * weight * elementwise_gradient(), n numbers, with a weight for each or none; dz may be outputs. */
ALWAYS_INLINE void FN(elementwise_gradient_run)(enum loss_code loss, const struct FN(objective) *o, const REAL *outputs,
                                                const REAL *y, const REAL *weight, REAL scale, ptrdiff_t n, REAL *dz)
{
    VEC h = FN(hyper_at)(o, 0, n);
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        if (o->n_hyper > 1)
            h = FN(hyper_at)(o, j, n - j);
        const VEC factor = weight ? scale * FN(load_upto)(weight + j, n - j) : FN(broadcast)(scale);
        const VEC output = FN(load_upto)(outputs + j, n - j);
        FN(store_upto)(dz + j, factor * FN(elementwise_gradient)(loss, output, FN(load_upto)(y + j, n - j), h), n - j);
    }
}

static void FN(elementwise_gradient_row)(const struct FN(objective) *o, const REAL *outputs, const REAL *y, const REAL *weight,
                                         REAL scale, ptrdiff_t n, REAL *dz)
{
    switch (o->loss) {
    case BINARY_CROSS_ENTROPY: case SQUARED_ERROR:
    case POISSON: FN(elementwise_gradient_run)(POISSON, o, outputs, y, weight, scale, n, dz); break;
    case ABSOLUTE_ERROR: FN(elementwise_gradient_run)(ABSOLUTE_ERROR, o, outputs, y, weight, scale, n, dz); break;
    case HUBER: FN(elementwise_gradient_run)(HUBER, o, outputs, y, weight, scale, n, dz); break;
    case QUANTILE: FN(elementwise_gradient_run)(QUANTILE, o, outputs, y, weight, scale, n, dz); break;
    case GAMMA: FN(elementwise_gradient_run)(GAMMA, o, outputs, y, weight, scale, n, dz); break;
    case TWEEDIE: FN(elementwise_gradient_run)(TWEEDIE, o, outputs, y, weight, scale, n, dz); break;
    default: unknown_code("loss", (int)o->loss);
    }
}

/* dlogits = scale * weight * the gradient, see the reference's loss_backward; dlogits may be outputs. */
static void FN(loss_gradient_rows)(const struct FN(objective) *o, const REAL *outputs, ptrdiff_t rows, ptrdiff_t n_out,
                                   struct FN(target_rows) t, REAL scale, REAL *dlogits)
{
    if (FN(is_flat)(o, n_out, t.weight)) {
        FN(elementwise_gradient_row)(o, outputs, t.dense, t.weight, scale, rows * n_out, dlogits);
        return;
    }
    for (ptrdiff_t i = 0; i < rows; i++) {
        const REAL row_scale = t.weight ? scale * t.weight[i] : scale;
        const REAL *p = outputs + i * n_out;
        REAL *dz = dlogits + i * n_out;
        if (t.labels) {
            const REAL at_label = row_scale * (p[t.labels[i]] - 1);
            for (ptrdiff_t j = 0; j < n_out && (dz != p || row_scale != 1); j += LANES)
                FN(store_upto)(dz + j, row_scale * FN(load_upto)(p + j, n_out - j), n_out - j);
            dz[t.labels[i]] = at_label;
        } else if (o->loss == SOFTMAX_CROSS_ENTROPY) {
            REAL mass = 0;
            for (ptrdiff_t c = 0; c < n_out; c++)
                mass += t.dense[i * n_out + c];
            FN(difference_row)(p, t.dense + i * n_out, mass, row_scale, n_out, dz);
        } else {
            FN(elementwise_gradient_row)(o, p, t.dense + i * n_out, NULL, row_scale, n_out, dz);
        }
    }
}
