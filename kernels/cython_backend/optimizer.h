/* SGD, Adam and their relatives on a stretch of the flat block. Included once for each real type.
 *
 * One pass: the sum over the threads' partial gradients, the L2 term, the division by the batch's weight, the update and the sum of
 * squares for the loss all happen while a register of parameters is at hand. What remains is bound by the square root and the
 * division.
 */

struct FN(step) {
    enum optimizer_code optimizer;
    int nesterov;
    REAL lr;                 /* Adam: with the bias correction folded in */
    REAL momentum;           /* SGD, momentum */
    REAL beta_1, beta_2, epsilon;
    REAL rest_1, rest_2;     /* 1 - beta, subtracted in double: in float 1 - 0.999 is off by 5e-5 */
    REAL shrink;             /* AdamW: 1 - lr * weight_decay */
};

static struct FN(step) FN(sgd_step)(double lr, double momentum, int nesterov)
{
    return (struct FN(step)){.optimizer = SGD, .nesterov = nesterov, .lr = (REAL)lr, .momentum = (REAL)momentum};
}

/* lr sqrt(1 - beta_2^step) / (1 - beta_1^step): Kingma and Ba, Adam (2015), the end of section 2. */
static struct FN(step) FN(adam_step)(double lr, double beta_1, double beta_2, double epsilon, double step)
{
    double rate = lr * sqrt(1 - pow(beta_2, step)) / (1 - pow(beta_1, step));
    return (struct FN(step)){.optimizer = ADAM, .lr = (REAL)rate, .beta_1 = (REAL)beta_1, .beta_2 = (REAL)beta_2,
                             .epsilon = (REAL)epsilon, .rest_1 = (REAL)(1 - beta_1), .rest_2 = (REAL)(1 - beta_2)};
}

/* PyTorch's form: a velocity of gradients, not of steps. */
static struct FN(step) FN(momentum_step)(double lr, double momentum, int nesterov)
{
    return (struct FN(step)){.optimizer = MOMENTUM, .nesterov = nesterov, .lr = (REAL)lr, .momentum = (REAL)momentum};
}

static struct FN(step) FN(rmsprop_step)(double lr, double alpha, double epsilon)
{
    return (struct FN(step)){.optimizer = RMSPROP, .lr = (REAL)lr, .epsilon = (REAL)epsilon, .beta_2 = (REAL)alpha,
                             .rest_2 = (REAL)(1 - alpha)};
}

/* Decoupled weight decay, and epsilon inside the bias correction: sqrt(v) / c + epsilon = (sqrt(v) + c epsilon) / c with
 * c = sqrt(1 - beta_2^step), so that only epsilon differs (Loshchilov and Hutter, Decoupled weight decay regularization, 2019). */
static struct FN(step) FN(adamw_step)(double lr, double beta_1, double beta_2, double epsilon, double step, double weight_decay)
{
    struct FN(step) s = FN(adam_step)(lr, beta_1, beta_2, epsilon * sqrt(1 - pow(beta_2, step)), step);
    s.optimizer = ADAMW;
    s.shrink = (REAL)(1 - lr * weight_decay);
    return s;
}

/* The gradient of a stretch as it lies: n_parts partial sums, each from its number `begin` on, to be scaled after adding l2
 * times the parameters. */
struct FN(gradient) {
    const REAL *const *parts;
    int n_parts;
    ptrdiff_t begin;
    REAL l2, scale;
};

/* Where a stretch's parameters and the optimizer's memory of them are: m and v, or one array and nothing.
 *
 * Parameters that other threads read in every step are streamed: a core that writes a cache line of which another has a copy first
 * asks for it to be given up, one line after the other, for 25 to 85 ns (two cores of an EPYC); a store past the caches does not
 * wait. The stretch then begins on a register's boundary. */
struct FN(updated) {
    REAL *params, *state, *second_state;
    int streams;
};

/* One register of parameters, `left` of which are there, by the sum g of their gradients:
 *   SGD       velocity = momentum velocity - lr g; p += velocity, or with Nesterov p += momentum velocity - lr g
 *   momentum  velocity = momentum velocity + g; p -= lr velocity, or with Nesterov p -= lr (g + momentum velocity)
 *   RMSprop   v = alpha v + (1 - alpha) g^2; p -= lr g / (sqrt(v) + epsilon)
 *   Adam      m = beta_1 m + (1 - beta_1) g; v = beta_2 v + (1 - beta_2) g^2; p -= rate m / (sqrt(v) + epsilon)
 *   AdamW     p shrinks, then as Adam
 * Returns p^2 from before. */
ALWAYS_INLINE VEC FN(update_register)(const enum optimizer_code optimizer, const struct FN(step) *s, VEC g, REAL l2, REAL scale,
                                      ptrdiff_t at, ptrdiff_t left, struct FN(updated) u)
{
    const VEC before = FN(load_upto)(u.params + at, left);
    VEC p = before, m = FN(load_upto)(u.state + at, left);
    g = (g + l2 * p) * scale;
    if (optimizer == SGD) {
        m = s->momentum * m - s->lr * g;
        p += s->nesterov ? s->momentum * m - s->lr * g : m;
    } else if (optimizer == MOMENTUM) {
        m = s->momentum * m + g;
        p -= s->lr * (s->nesterov ? g + s->momentum * m : m);
    } else if (optimizer == RMSPROP) {
        m = s->beta_2 * m + s->rest_2 * g * g;
        p -= s->lr * g / (FN(vsqrt)(m) + s->epsilon);
    } else {
        if (optimizer == ADAMW)
            p *= s->shrink;
        VEC v = FN(load_upto)(u.second_state + at, left);
        m = s->beta_1 * m + s->rest_1 * g;
        v = s->beta_2 * v + s->rest_2 * g * g;
        p -= s->lr * m / (FN(vsqrt)(v) + s->epsilon);
        FN(store_upto)(u.second_state + at, v, left);
    }
    FN(store_upto)(u.state + at, m, left);
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

ALWAYS_INLINE double FN(update_loop)(const enum optimizer_code optimizer, const struct FN(step) *step,
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
static double FN(update)(const struct FN(step) *s, const struct FN(gradient) *gradient, ptrdiff_t n, struct FN(updated) u)
{
    switch (s->optimizer) {
    case SGD: return FN(update_loop)(SGD, s, gradient, n, u);
    case MOMENTUM: return FN(update_loop)(MOMENTUM, s, gradient, n, u);
    case RMSPROP: return FN(update_loop)(RMSPROP, s, gradient, n, u);
    case ADAMW: return FN(update_loop)(ADAMW, s, gradient, n, u);
    default: return FN(update_loop)(ADAM, s, gradient, n, u);
    }
}
