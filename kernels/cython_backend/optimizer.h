/* SGD, Adam and their relatives on a stretch of the flat block. Included once for each real type.
 *
 * One pass: the sum over the threads' partial gradients, the L2 term, the division by the batch's weight, the update and the sum of
 * squares for the loss all happen while a register of parameters is loaded. What takes the time is the square root and the
 * division. An optimizer is its numbers in make_step() and its formula, under its name in ../spec.py.
 */

/* A step's numbers, in the real type; 1 - beta is subtracted in double: in float 1 - 0.999 is off by 5e-5. */
struct FN(step) {
    int optimizer;
    int nesterov;
    REAL lr;                 /* of Adam, with the bias correction in it */
    REAL momentum;           /* SGD, momentum */
    REAL beta_1, beta_2, rest_1, rest_2, epsilon;
    REAL shrink;             /* 1 - lr * weight_decay */
    REAL average_gain;       /* how far the moving average goes towards the new parameters */
    double l2;               /* of all parameters */
};

/* Step number `step`, counted from 1, with a learning rate and otherwise the numbers in `hyper`: see ../spec.py. */
static struct FN(step) FN(make_step)(int optimizer, const double *hyper, double lr, double step)
{
    const double *own = hyper + N_COMMON_HYPER;
    struct FN(step) s = {.optimizer = optimizer, .lr = (REAL)lr, .l2 = hyper[1], .shrink = (REAL)(1 - lr * hyper[2])};
    switch (optimizer) {
    case SGD:
    case MOMENTUM:
        s.momentum = (REAL)own[0], s.nesterov = own[1] != 0;
        break;
    case RMSPROP:
        s.beta_2 = (REAL)own[0], s.rest_2 = (REAL)(1 - own[0]), s.epsilon = (REAL)own[1];
        break;
    case ADAM:
    case ADAMW: {
        /* lr sqrt(1 - beta_2^step) / (1 - beta_1^step): Kingma and Ba, Adam (2015), the end of section 2. AdamW has epsilon
         * inside the bias correction: sqrt(v) / c + epsilon = (sqrt(v) + c epsilon) / c with c = sqrt(1 - beta_2^step), so that
         * only epsilon differs (Loshchilov and Hutter, Decoupled weight decay regularization, 2019). */
        const double correction = sqrt(1 - pow(own[1], step));
        s.lr = (REAL)(lr * correction / (1 - pow(own[0], step)));
        s.beta_1 = (REAL)own[0], s.rest_1 = (REAL)(1 - own[0]), s.beta_2 = (REAL)own[1], s.rest_2 = (REAL)(1 - own[1]);
        s.epsilon = (REAL)(optimizer == ADAMW ? own[2] * correction : own[2]);
        break;
    }
    default: unknown_code("optimizer", optimizer);
    }
    return s;
}

/* The gradient of a stretch: n_parts partial sums, each from its element `begin` on. Their sum, with l2 times the parameters
 * added, is multiplied by `scale`. */
struct FN(gradient) {
    const REAL *const *parts;
    int n_parts;
    ptrdiff_t begin;
    REAL l2, scale;
};

/* Where a stretch's parameters, the optimizer's slots for them, and their moving average are. An optimizer may have one slot, and
 * there may be no average.
 *
 * Parameters that other threads read in every step are streamed. A core that writes a cache line waits until no other core has a
 * copy of it, one line after the other; a store past the caches does not wait (docs/tuning.md, the schedule of a training call).
 * The stretch then begins on a register's boundary. */
struct FN(updated) {
    REAL *params, *slots[2], *average;
    int streams;
};

/* A stretch from its i-th parameter on. */
ALWAYS_INLINE struct FN(updated) FN(updated_from)(struct FN(updated) u, ptrdiff_t i)
{
    return (struct FN(updated)){u.params + i, {u.slots[0] + i, u.slots[1] ? u.slots[1] + i : NULL},
                                u.average ? u.average + i : NULL, u.streams};
}

/* The formulas: p and the slots m and v change by the gradient g. The velocity of sgd adds up steps, that of momentum gradients. */
ALWAYS_INLINE void FN(sgd)(const struct FN(step) *s, VEC g, VEC *p, VEC *m, VEC *v)
{
    (void)v;
    *m = s->momentum * *m - s->lr * g;
    *p += s->nesterov ? s->momentum * *m - s->lr * g : *m;
}

ALWAYS_INLINE void FN(momentum)(const struct FN(step) *s, VEC g, VEC *p, VEC *m, VEC *v)
{
    (void)v;
    *m = s->momentum * *m + g;
    *p -= s->lr * (s->nesterov ? g + s->momentum * *m : *m);
}

ALWAYS_INLINE void FN(rmsprop)(const struct FN(step) *s, VEC g, VEC *p, VEC *m, VEC *v)
{
    (void)v;
    *m = s->beta_2 * *m + s->rest_2 * g * g;
    *p -= s->lr * g / (FN(vsqrt)(*m) + s->epsilon);
}

ALWAYS_INLINE void FN(adam)(const struct FN(step) *s, VEC g, VEC *p, VEC *m, VEC *v)
{
    *m = s->beta_1 * *m + s->rest_1 * g;
    *v = s->beta_2 * *v + s->rest_2 * g * g;
    *p -= s->lr * *m / (FN(vsqrt)(*v) + s->epsilon);
}

ALWAYS_INLINE void FN(adamw)(const struct FN(step) *s, VEC g, VEC *p, VEC *m, VEC *v) { FN(adam)(s, g, p, m, v); }

/* Where `gain` is 1 nothing remains of what the average was, NaN included. */
ALWAYS_INLINE VEC FN(moved_average)(VEC average, VEC p, REAL gain) { return gain == 1 ? p : average + gain * (p - average); }

/* The same of n parameters. */
static void FN(move_average)(REAL *average, const REAL *params, ptrdiff_t n, REAL gain)
{
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const VEC before = FN(load_upto)(average + i, n - i), p = FN(load_upto)(params + i, n - i);
        FN(store_upto)(average + i, FN(moved_average)(before, p, gain), n - i);
    }
}

/* Update one register of parameters, `left` of them, with the sum g of their gradients. Returns p^2 from before. The optimizer is a
 * constant in every inlined copy. */
ALWAYS_INLINE VEC FN(update_register)(const int optimizer, const struct FN(step) *s, VEC g, REAL l2, REAL scale, ptrdiff_t at,
                                      ptrdiff_t left, struct FN(updated) u)
{
    const int two_slots = OPTIMIZER_SLOTS[optimizer] == 2;
    const VEC before = FN(load_upto)(u.params + at, left);
    VEC p = before, m = FN(load_upto)(u.slots[0] + at, left), v = two_slots ? FN(load_upto)(u.slots[1] + at, left) : (VEC){};
    g = (g + l2 * p) * scale;
    p *= s->shrink;
    switch (optimizer) {
#define CASE(CODE, name) case CODE: FN(name)(s, g, &p, &m, &v); break;
        OPTIMIZERS(CASE)
#undef CASE
    }
    FN(store_upto)(u.slots[0] + at, m, left);
    if (two_slots)
        FN(store_upto)(u.slots[1] + at, v, left);
    if (u.average)
        FN(store_upto)(u.average + at, FN(moved_average)(FN(load_upto)(u.average + at, left), p, s->average_gain), left);
    if (u.streams && left >= LANES)
        FN(stream)(u.params + at, p);
    else
        FN(store_upto)(u.params + at, p, left);
    return before * before;
}

/* One register of the gradient's sum; lanes beyond `left` are zero. */
ALWAYS_INLINE VEC FN(summed_parts)(const struct FN(gradient) *gradient, ptrdiff_t at, ptrdiff_t left)
{
    VEC g = FN(load_upto)(gradient->parts[0] + gradient->begin + at, left);
    for (int part = 1; part < gradient->n_parts; part++)
        g += FN(load_upto)(gradient->parts[part] + gradient->begin + at, left);
    return g;
}

ALWAYS_INLINE double FN(update_loop)(const int optimizer, const struct FN(step) *step,
                                     const struct FN(gradient) *gradient, ptrdiff_t n, struct FN(updated) u)
{
    const struct FN(step) s = *step; /* copies, which stores to the parameters cannot change */
    const struct FN(gradient) g = *gradient;
    double squares = 0;
    for (ptrdiff_t at = 0; at < n;) { /* in blocks: enough to amortise the step to double, few enough to lose nothing */
        const ptrdiff_t end = min_size(n, at + SQUARES_BLOCK);
        VEC sums = {};
        for (; at + LANES <= end; at += LANES)
            sums += FN(update_register)(optimizer, &s, FN(summed_parts)(&g, at, LANES), g.l2, g.scale, at, LANES, u);
        if (at < end) /* lanes beyond the end load as zero */
            sums += FN(update_register)(optimizer, &s, FN(summed_parts)(&g, at, end - at), g.l2, g.scale, at, end - at, u);
        squares += (double)FN(horizontal_sum)(sums);
        at = end;
    }
    return squares;
}

/* Update n parameters; returns the sum of the squares of the parameters before, for the L2 term of the loss. */
static double FN(update_stretch)(const struct FN(step) *s, const struct FN(gradient) *gradient, ptrdiff_t n,
                                 struct FN(updated) u)
{
    switch (s->optimizer) {
#define CASE(CODE, name) case CODE: return FN(update_loop)(CODE, s, gradient, n, u);
        OPTIMIZERS(CASE)
#undef CASE
    default: unknown_code("optimizer", s->optimizer);
    }
}
