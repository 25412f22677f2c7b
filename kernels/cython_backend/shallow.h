/* Products with a short inner dimension, for which a tile would do little but begin and end: forward from few inputs, the input
 * gradient from few outputs, and the forward of a single row, a few rows of weights at a time. Included once for each real type.
 *
 * Two rows of A stay in registers and meet the rows of B from end to end; B need not be copied, and C is written in long rows. Up
 * to SHALLOW_DEPTH this is faster than tiles: docs/tuning.md, products of little depth.
 */

ALWAYS_INLINE int FN(shallow)(ptrdiff_t depth) { return STORED_IS_REAL && depth > 0 && depth <= SHALLOW_DEPTH; }

/* c[rows][left] = epilogue(start + a b) at column j; rows, depth, epilogue and whether there is a start are constants wherever
 * this is inlined. `left` is LANES or, for the last columns, fewer. */
ALWAYS_INLINE void FN(shallow_step)(const int rows, const int depth, const enum epilogue epilogue, const int started,
                                    const struct FN(panel) *p, const REAL *factors, ptrdiff_t j, ptrdiff_t left,
                                    const STORED *gate, void *c)
{
    VEC acc[2];
    UNROLL for (int i = 0; i < rows; i++)
        acc[i] = started ? FN(load_upto)(p->start + j, left) : (VEC){};
    UNROLL for (int k = 0; k < depth; k++) {
        const VEC row = FN(get_upto)(p->b + k * p->b_stride + j, left);
        UNROLL for (int i = 0; i < rows; i++)
            acc[i] += factors[i * depth + k] * row;
    }
    UNROLL for (int i = 0; i < rows; i++) /* the gate may be c */
        FN(write_upto)(FN(skip)(c, p->real, i * p->c_stride + j), p->real,
                       FN(finish)(epilogue, acc[i], gate + i * p->gate_stride + j), left);
}

ALWAYS_INLINE void FN(shallow_rows)(const int rows, const int depth, const enum epilogue epilogue, const int started,
                                    const struct FN(panel) *panel, ptrdiff_t n, const STORED *a, const STORED *gate, void *c)
{
    const struct FN(panel) p = *panel; /* a copy, which stores to c cannot change */
    REAL factors[2 * SHALLOW_DEPTH];
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int k = 0; k < depth; k++)
            factors[i * depth + k] = FN(get_one)(a + i * p.a_stride + k);
    ptrdiff_t j = 0;
    for (; j + LANES <= n; j += LANES)
        FN(shallow_step)(rows, depth, epilogue, started, &p, factors, j, LANES, gate, c);
    if (j < n)
        FN(shallow_step)(rows, depth, epilogue, started, &p, factors, j, n - j, gate, c);
}

ALWAYS_INLINE void FN(shallow_loop)(const int depth, const enum epilogue epilogue, const int started, const struct FN(panel) *p,
                                    ptrdiff_t rows, ptrdiff_t n, const STORED *a, const STORED *gate, void *c)
{
    ptrdiff_t i = 0;
    for (; i + 2 <= rows; i += 2)
        FN(shallow_rows)(2, depth, epilogue, started, p, n, a + i * p->a_stride, gate + i * p->gate_stride,
                         FN(skip)(c, p->real, i * p->c_stride));
    if (i < rows)
        FN(shallow_rows)(1, depth, epilogue, started, p, n, a + i * p->a_stride, gate + i * p->gate_stride,
                         FN(skip)(c, p->real, i * p->c_stride));
}

#define SHALLOW_INSTANCE(depth)                                                                                                  \
    static void FN(shallow_##depth)(const struct FN(panel) *p, ptrdiff_t rows, ptrdiff_t n, const STORED *a, const STORED *g, void *c) \
    {                                                                                                                            \
        switch (p->epilogue) {                                                                                                   \
        case STORE_RELU: FN(shallow_loop)(depth, STORE_RELU, 1, p, rows, n, a, a, c); break;                                     \
        case GATE_RELU: FN(shallow_loop)(depth, GATE_RELU, 0, p, rows, n, a, g, c); break;                                       \
        case GATE_SIGMOID: FN(shallow_loop)(depth, GATE_SIGMOID, 0, p, rows, n, a, g, c); break;                                 \
        case GATE_TANH: FN(shallow_loop)(depth, GATE_TANH, 0, p, rows, n, a, g, c); break;                                       \
        default:                                                                                                                 \
            if (p->start)                                                                                                        \
                FN(shallow_loop)(depth, STORE, 1, p, rows, n, a, a, c);                                                          \
            else                                                                                                                 \
                FN(shallow_loop)(depth, STORE, 0, p, rows, n, a, a, c);                                                          \
        }                                                                                                                        \
    }
#define SHALLOW_NAME(depth) FN(shallow_##depth),
#define SHALLOW_DEPTHS(X) X(1) X(2) X(3) X(4) X(5) X(6)
SHALLOW_DEPTHS(SHALLOW_INSTANCE)

/* [depth - 1] for SHALLOW_DEPTH depths: c (rows, n) from a, with p's b, start, strides and epilogue. The start is the bias, or for
 * one row c itself, given with STORE_RELU and perhaps with STORE. NULL stands for zero: loading zeros would take longer. */
static void (*const FN(shallow_products)[SHALLOW_DEPTH])(const struct FN(panel) *p, ptrdiff_t rows, ptrdiff_t n, const STORED *a,
                                                         const STORED *gate, void *c) = {SHALLOW_DEPTHS(SHALLOW_NAME)};

#undef SHALLOW_INSTANCE
#undef SHALLOW_NAME
#undef SHALLOW_DEPTHS
