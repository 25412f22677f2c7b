/* SGD and Adam on a stretch of the flat block. Included once for each real type.
 *
 * A step reads the gradient in blocks that stay in L1, where the sum over the threads' partial gradients, the L2 term and the
 * division by the batch's weight are applied on the way, so that gradients are streamed once. Plain loops: the compiler turns
 * them into full-width code (square root and division included, given -fno-math-errno).
 */

struct FN(step) {
    enum optimizer_code optimizer;
    int nesterov;
    REAL lr;                 /* Adam: with the bias correction folded in */
    REAL momentum;           /* SGD */
    REAL beta_1, beta_2, epsilon;
    REAL rest_1, rest_2;     /* 1 - beta, subtracted in double: in float 1 - 0.999 is off by 5e-5 */
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

/* v = momentum v - lr g; p += v, or with Nesterov p += momentum v - lr g. */
static void FN(sgd_block)(const struct FN(step) *s, const REAL *restrict g, ptrdiff_t n, REAL *restrict p, REAL *restrict velocity)
{
    const REAL lr = s->lr, momentum = s->momentum;
    if (s->nesterov)
        for (ptrdiff_t i = 0; i < n; i++) {
            velocity[i] = momentum * velocity[i] - lr * g[i];
            p[i] += momentum * velocity[i] - lr * g[i];
        }
    else
        for (ptrdiff_t i = 0; i < n; i++) {
            velocity[i] = momentum * velocity[i] - lr * g[i];
            p[i] += velocity[i];
        }
}

/* m = beta_1 m + (1 - beta_1) g; v = beta_2 v + (1 - beta_2) g^2; p -= rate m / (sqrt(v) + epsilon). */
static void FN(adam_block)(const struct FN(step) *s, const REAL *restrict g, ptrdiff_t n, REAL *restrict p, REAL *restrict m,
                           REAL *restrict v)
{
    const REAL rate = s->lr, beta_1 = s->beta_1, beta_2 = s->beta_2, epsilon = s->epsilon;
    const REAL rest_1 = s->rest_1, rest_2 = s->rest_2;
    for (ptrdiff_t i = 0; i < n; i++) {
        m[i] = beta_1 * m[i] + rest_1 * g[i];
        v[i] = beta_2 * v[i] + rest_2 * g[i] * g[i];
        p[i] -= rate * m[i] / (REAL_SQRT(v[i]) + epsilon);
    }
}

/* The gradient of a stretch as it lies: n_parts partial sums, part_stride apart, to be scaled after adding l2 times the parameters. */
struct FN(gradient) {
    const REAL *parts;
    ptrdiff_t part_stride;
    int n_parts;
    REAL l2, scale;
};

/* Update n parameters; state and second_state are m and v, or the velocity and nothing. Returns the sum of the squares of the
 * parameters before the step when there is an L2 term, for the loss, and 0 without. */
static double FN(update)(const struct FN(step) *s, const struct FN(gradient) *gradient, ptrdiff_t n, REAL *params, REAL *state,
                         REAL *second_state)
{
    const REAL l2 = gradient->l2, scale = gradient->scale;
    double squares = 0;
    for (ptrdiff_t at = 0; at < n; at += UPDATE_BLOCK) {
        const ptrdiff_t block = min_size(UPDATE_BLOCK, n - at);
        REAL g[UPDATE_BLOCK];
        REAL *p = params + at;
        memcpy(g, gradient->parts + at, (size_t)block * sizeof(REAL));
        for (int t = 1; t < gradient->n_parts; t++) {
            const REAL *part = gradient->parts + t * gradient->part_stride + at;
            for (ptrdiff_t i = 0; i < block; i++)
                g[i] += part[i];
        }
        if (l2 != 0) {
            VEC sums = {};
            for (ptrdiff_t i = 0; i < block; i += LANES) {
                VEC w = FN(load_upto)(p + i, block - i); /* lanes beyond the block load as zero */
                sums += w * w;
            }
            squares += (double)FN(horizontal_sum)(sums);
        }
        for (ptrdiff_t i = 0; i < block; i++)
            g[i] = (g[i] + l2 * p[i]) * scale;
        if (s->optimizer == SGD)
            FN(sgd_block)(s, g, block, p, state + at);
        else
            FN(adam_block)(s, g, block, p, state + at, second_state + at);
    }
    return squares;
}
