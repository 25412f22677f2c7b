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

/* probs = softmax(z), which may be the same memory, given z's maximum; returns log(sum(exp(z - maximum))). */
static double FN(softmax_row)(const REAL *z, ptrdiff_t n, REAL maximum, REAL *probs)
{
    VEC sums = {};
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        VEC e = FN(vexp_nonpositive)(FN(load_upto)(z + j, n - j) - maximum);
        if (n - j < LANES)
            e = FN(keep)(FN(first_lanes)(n - j), e);
        sums += e;
        FN(store_upto)(probs + j, e, n - j);
    }
    const REAL sum = FN(horizontal_sum)(sums), inverse = 1 / sum;
    for (ptrdiff_t j = 0; j < n; j += LANES)
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

/* The elementwise losses: output = link(z), value = loss(z, y) in nats. */
ALWAYS_INLINE VEC FN(elementwise_loss)(enum loss_code loss, VEC z, VEC y, REAL clip, VEC *output)
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
    VEC rate = FN(vexp)(z);
    *output = rate;
    return rate - y - y * z; /* + y log y, which does not depend on the network: added by the caller */
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
ALWAYS_INLINE double FN(elementwise_loss_run)(enum loss_code loss, const REAL *z, const REAL *y, const REAL *weight, ptrdiff_t n,
                                              REAL clip, REAL *outputs)
{
    double sum = 0;
    for (ptrdiff_t j = 0; j < n;) { /* in blocks: enough to amortise the step to double, few enough to lose nothing */
        ptrdiff_t end = min_size(n, j + 16 * LANES);
        VEC values = {};
        for (; j < end; j += LANES) {
            VEC output;
            VEC value = FN(elementwise_loss)(loss, FN(load_upto)(z + j, end - j), FN(load_upto)(y + j, end - j), clip, &output);
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

static double FN(elementwise_loss_row)(enum loss_code loss, const REAL *z, const REAL *y, const REAL *weight, ptrdiff_t n,
                                       const struct FN(clipping) *clipping, REAL *outputs)
{
    switch (loss) {
    case BINARY_CROSS_ENTROPY:
        return clipping->clip == 0 ? FN(elementwise_loss_run)(BINARY_CROSS_ENTROPY, z, y, weight, n, 0, outputs)
                                   : FN(elementwise_loss_run)(BINARY_CROSS_ENTROPY, z, y, weight, n, clipping->clip, outputs);
    case SQUARED_ERROR: return FN(elementwise_loss_run)(SQUARED_ERROR, z, y, weight, n, 0, outputs);
    case POISSON: return FN(elementwise_loss_run)(POISSON, z, y, weight, n, 0, outputs);
    default: unknown_code("loss", (int)loss);
    }
}

/* outputs (rows, n_out) = link(logits); returns the weighted sum of the loss over the rows. outputs may be logits, or NULL. */
static double FN(loss_rows)(enum loss_code loss, const REAL *logits, ptrdiff_t rows, ptrdiff_t n_out, struct FN(target_rows) t,
                            const struct FN(clipping) *clipping, REAL *outputs)
{
    if (loss != SOFTMAX_CROSS_ENTROPY && (!t.weight || n_out == 1))
        return FN(elementwise_loss_row)(loss, logits, t.dense, t.weight, rows * n_out, clipping, outputs);
    if (t.labels && n_out <= FEW_CLASSES)
        return FN(few_classes_loss)(logits, rows, n_out, t.labels, t.weight, clipping, outputs);
    double sum = 0;
    for (ptrdiff_t i = 0; i < rows; i++) {
        const ptrdiff_t row = i * n_out;
        REAL *output = outputs ? outputs + row : NULL;
        const REAL *y = t.dense ? t.dense + row : NULL;
        double value = loss == SOFTMAX_CROSS_ENTROPY
            ? FN(cross_entropy_row)(logits + row, n_out, t.labels ? t.labels[i] : 0, y, clipping, output)
            : FN(elementwise_loss_row)(loss, logits + row, y, NULL, n_out, clipping, output);
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

/* difference_row() with mass 1 and a weight for each number. */
static void FN(weighted_difference_row)(const REAL *outputs, const REAL *y, const REAL *weight, REAL scale, ptrdiff_t n, REAL *dz)
{
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const VEC difference = FN(load_upto)(outputs + j, n - j) - FN(load_upto)(y + j, n - j);
        FN(store_upto)(dz + j, scale * FN(load_upto)(weight + j, n - j) * difference, n - j);
    }
}

/* dlogits = scale * weight * (outputs - y), see the reference's loss_backward; dlogits may be outputs. */
static void FN(loss_gradient_rows)(enum loss_code loss, const REAL *outputs, ptrdiff_t rows, ptrdiff_t n_out,
                                   struct FN(target_rows) t, REAL scale, REAL *dlogits)
{
    if (loss != SOFTMAX_CROSS_ENTROPY && !t.weight) {
        FN(difference_row)(outputs, t.dense, 1, scale, rows * n_out, dlogits);
        return;
    }
    if (loss != SOFTMAX_CROSS_ENTROPY && n_out == 1) {
        FN(weighted_difference_row)(outputs, t.dense, t.weight, scale, rows, dlogits);
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
        } else {
            REAL mass = 1;
            if (loss == SOFTMAX_CROSS_ENTROPY) {
                mass = 0;
                for (ptrdiff_t c = 0; c < n_out; c++)
                    mass += t.dense[i * n_out + c];
            }
            FN(difference_row)(p, t.dense + i * n_out, mass, row_scale, n_out, dz);
        }
    }
}
