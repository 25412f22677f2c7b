/* The micro-kernel of the matrix products. Included once for each real type.
 *
 * It does all three products of a Linear layer:
 *     forward  a  = f(x W + b)            A = x  (rows contiguous)            B = W
 *     dX       dx = (dz W^T) * f'(a)      A = dz (rows contiguous)            B = W^T
 *     dW       dW = x^T dz                A = x^T (columns contiguous)        B = dz
 * It holds a block of C, such as TILE_ROWS x TILE_VECTORS, in registers, starts it from the bias or from zero, adds A(i, k) B(k, j)
 * over all k and, if asked for, at the end what C had: C may be far away in memory, and its lines arrive while the sums are made.
 * It applies ReLU or the derivative of an activation before it stores. (The shape of the tile and its layout follow Goto and van de
 * Geijn, Anatomy of high-performance matrix multiplication, 2008.)
 */

struct FN(panel) {
    const STORED *b;        /* B(k, j) = b[k / PAIR * b_stride + j * PAIR + k % PAIR], whole registers readable */
    const REAL *unpacked;   /* B for a tile that packs */
    ptrdiff_t b_stride;
    ptrdiff_t b_next;       /* from this panel to the next one, for a tile that fetches that */
    STORED *packed;         /* where a tile that packs copies B to, row after row */
    const REAL *start;      /* what every row of C starts from (whole registers readable) */
    ptrdiff_t depth;        /* number of k; where A is transposed, a multiple of PAIR */
    ptrdiff_t a_stride;     /* from a row of A to the next or, where A is transposed, from a column or pair of columns */
    ptrdiff_t c_stride;
    ptrdiff_t gate_stride;
    ptrdiff_t last;         /* columns in the last register, 1..LANES; only these are stored */
    enum epilogue epilogue;
    int accumulate;         /* add to what C has */
    int real;               /* C is REAL, not STORED; gradients of weights always are */
};

static const REAL FN(zeros)[THIN_REGISTERS * LANES] = {0}; /* as many as the widest tile starts from */

/* What becomes of an accumulator: itself, its ReLU, or dz = dx * f'(z), written with the activation g = f(z). */
ALWAYS_INLINE VEC FN(finish)(enum epilogue epilogue, VEC v, const STORED *gate)
{
    switch (epilogue) {
    case STORE_RELU: return FN(relu)(v);
    case GATE_RELU: return FN(keep)(FN(get)(gate) > 0, v);
    case GATE_SIGMOID: return v * FN(get)(gate) * (1 - FN(get)(gate));
    case GATE_TANH: return v * (1 - FN(get)(gate) * FN(get)(gate));
    default: return v;
    }
}

ALWAYS_INLINE void FN(store_tile)(const int rows, const int vectors, const int real, const VEC *acc, ptrdiff_t c_stride,
                                  ptrdiff_t last, void *c)
{
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vectors; j++)
            FN(write_upto)(FN(skip)(c, real, i * c_stride + j * LANES), real, acc[i * vectors + j], j == vectors - 1 ? last : LANES);
}

ALWAYS_INLINE void FN(finish_tile)(const int rows, const int vectors, const enum epilogue epilogue, const STORED *gate,
                                   ptrdiff_t gate_stride, VEC *acc)
{
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vectors; j++)
            acc[i * vectors + j] = FN(finish)(epilogue, acc[i * vectors + j], gate + i * gate_stride + j * LANES);
}

/* acc += A(:, k) B(k, :) for n numbers k, at most PAIR, where a, and b or unpacked, point to the first. */
ALWAYS_INLINE void FN(tile_step)(const int n, const int rows, const int vectors, const int kind, const STORED *restrict a,
                                 ptrdiff_t a_stride, const STORED *restrict b, ptrdiff_t b_stride, const REAL *restrict unpacked,
                                 const char *next, STORED *restrict packed, VEC *acc)
{
    FACTORS row[TILE_ROWS * TILE_VECTORS];
    UNROLL for (int j = 0; j < vectors; j++)
        row[j] = kind == PACKING ? FN(pair_up)(unpacked + j * LANES, b_stride, n, LANES) : FN(get_factors)(b + j * LANES * PAIR);
    if (kind == PACKING)
        UNROLL for (int j = 0; j < vectors; j++)
            FN(put_factors)(packed + j * LANES * PAIR, row[j]);
    const int rows_of_next = kind == PACKING ? n : kind == FETCHING;
    UNROLL for (int k = 0; k < rows_of_next; k++)
        UNROLL for (int j = 0; j < vectors * VECTOR_BYTES; j += CACHE_LINE)
            __builtin_prefetch(next + k * b_stride * (ptrdiff_t)sizeof(REAL) + j, 0, L2_CACHE);
    UNROLL for (int i = 0; i < rows; i++) {
        const FACTOR s = FN(factor)(a + (kind == TRANSPOSED ? i * PAIR : i * a_stride), n);
        UNROLL for (int j = 0; j < vectors; j++)
            acc[i * vectors + j] = FN(add_products)(acc[i * vectors + j], s, row[j]);
    }
}

/* c[rows][vectors * LANES]. rows, vectors and kind are constants in every inlined copy, so that acc stays in registers. */
ALWAYS_INLINE void FN(tile)(const int rows, const int vectors, const int kind, const struct FN(panel) *p,
                            const STORED *restrict a, const STORED *gate, void *c)
{
    VEC acc[TILE_ROWS * TILE_VECTORS];
    const ptrdiff_t steps = p->depth / PAIR, a_stride = p->a_stride, b_stride = p->b_stride, last = p->last;
    const ptrdiff_t a_step = kind == TRANSPOSED ? a_stride : PAIR, packed_step = kind == PACKING ? vectors * LANES * PAIR : 0;
    const int real = STORED_IS_REAL || kind == TRANSPOSED;
    const STORED *restrict b = p->b;
    const REAL *restrict unpacked = p->unpacked;
    const ptrdiff_t b_bytes = b_stride * (ptrdiff_t)(kind == PACKING ? PAIR * sizeof(REAL) : sizeof(STORED));
    const char *next = kind == PACKING ? (const char *)(unpacked + vectors * LANES) : (const char *)(b + p->b_next);
    STORED *restrict packed = p->packed;
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vectors; j++)
            acc[i * vectors + j] = FN(load)(p->start + j * LANES);
    if (kind == TRANSPOSED) /* a weight gradient's C is far away */
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int j = 0; j < vectors * VECTOR_BYTES; j += CACHE_LINE)
                __builtin_prefetch((char *)((REAL *)c + i * p->c_stride) + j, 1);

#define STEPS \
    for (ptrdiff_t k = 0; k < steps; k++, a += a_step, next += b_bytes, packed += packed_step) { \
        FN(tile_step)(PAIR, rows, vectors, kind, a, a_stride, b, b_stride, unpacked, next, packed, acc); \
        if (kind == PACKING) \
            unpacked += PAIR * b_stride; \
        else \
            b += b_stride; \
    }
    if (vectors <= TILE_VECTORS) {
        UNROLL_STEPS STEPS;
    } else { /* thin tiles fill the registers */
        STEPS;
    }
#undef STEPS
    if (PAIR > 1 && kind != TRANSPOSED && steps * PAIR < p->depth)
        FN(tile_step)(1, rows, vectors, kind, a, a_stride, b, b_stride, unpacked, next, packed, acc);
    /* Only a weight gradient is added to what is there, only an input gradient has gates, and PACKING and FETCHING have whole
     * panels. Code for combinations that do not occur would make the module much larger. */
    if (kind == TRANSPOSED && p->accumulate)
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int j = 0; j < vectors; j++)
                acc[i * vectors + j] += FN(load_upto)((REAL *)c + i * p->c_stride + j * LANES, j == vectors - 1 ? last : LANES);
    if (kind != TRANSPOSED && p->epilogue == STORE_RELU)
        FN(finish_tile)(rows, vectors, STORE_RELU, NULL, 0, acc);
    if (kind == PLAIN && vectors <= TILE_VECTORS)
        switch (p->epilogue) {
        case GATE_RELU: FN(finish_tile)(rows, vectors, GATE_RELU, gate, p->gate_stride, acc); break;
        case GATE_SIGMOID: FN(finish_tile)(rows, vectors, GATE_SIGMOID, gate, p->gate_stride, acc); break;
        case GATE_TANH: FN(finish_tile)(rows, vectors, GATE_TANH, gate, p->gate_stride, acc); break;
        default: break;
        }
    const ptrdiff_t last_stored = kind == PACKING || kind == FETCHING ? LANES : last;
    if (real || p->real)
        FN(store_tile)(rows, vectors, 1, acc, p->c_stride, last_stored, c);
    else
        FN(store_tile)(rows, vectors, 0, acc, p->c_stride, last_stored, c);
}

typedef void (*FN(tile_fn))(const struct FN(panel) *, const STORED *, const STORED *, void *);

#define TILE_INSTANCE(rows, vectors, kind)                                                                              \
    static void FN(tile_##rows##_##vectors##_##kind)(const struct FN(panel) *p, const STORED *a, const STORED *g, void *c) \
    {                                                                                                                   \
        FN(tile)(rows, vectors, kind, p, a, g, c);                                                                      \
    }
#define TILE_NAME(rows, vectors, kind) FN(tile_##rows##_##vectors##_##kind),
#define TILE_LIST_COLUMN(X, vectors, kind)                                                                              \
    X(1, vectors, kind) X(2, vectors, kind) X(3, vectors, kind) X(4, vectors, kind) X(5, vectors, kind) X(6, vectors, kind)
#if TILE_ROWS == 9
#define TILE_COLUMN(X, vectors, kind) TILE_LIST_COLUMN(X, vectors, kind) X(7, vectors, kind) X(8, vectors, kind) X(9, vectors, kind)
#else
#define TILE_COLUMN TILE_LIST_COLUMN
#endif
#if TILE_VECTORS == 3
#define WHOLE_COLUMN(X, kind) TILE_COLUMN(X, 3, kind)
#define TILE_TABLE(kind) {{TILE_COLUMN(TILE_NAME, 1, kind)}, {TILE_COLUMN(TILE_NAME, 2, kind)}, {TILE_COLUMN(TILE_NAME, 3, kind)}}
TILE_COLUMN(TILE_INSTANCE, 3, PLAIN)
TILE_COLUMN(TILE_INSTANCE, 3, TRANSPOSED)
#else
#define WHOLE_COLUMN(X, kind) TILE_COLUMN(X, 2, kind)
#define TILE_TABLE(kind) {{TILE_COLUMN(TILE_NAME, 1, kind)}, {TILE_COLUMN(TILE_NAME, 2, kind)}}
#endif
TILE_COLUMN(TILE_INSTANCE, 1, PLAIN)
TILE_COLUMN(TILE_INSTANCE, 2, PLAIN)
TILE_COLUMN(TILE_INSTANCE, 1, TRANSPOSED)
TILE_COLUMN(TILE_INSTANCE, 2, TRANSPOSED)
WHOLE_COLUMN(TILE_INSTANCE, PACKING)
WHOLE_COLUMN(TILE_INSTANCE, FETCHING)

/* [vectors - 1][rows - 1] */
static const FN(tile_fn) FN(tiles)[TILE_VECTORS][TILE_ROWS] = TILE_TABLE(PLAIN);
static const FN(tile_fn) FN(transposed_tiles)[TILE_VECTORS][TILE_ROWS] = TILE_TABLE(TRANSPOSED);
/* Of whole panels: [rows - 1] */
static const FN(tile_fn) FN(packing_tiles)[TILE_ROWS] = {WHOLE_COLUMN(TILE_NAME, PACKING)};
static const FN(tile_fn) FN(fetching_tiles)[TILE_ROWS] = {WHOLE_COLUMN(TILE_NAME, FETCHING)};

/* For few rows: [rows - 1], each wide enough to keep the multipliers busy. The tile of one row is for the weight gradient of one
 * output, whose B is in a near cache. */
#if THIN_ROWS == 4
#define THIN_TILES(X) X(1, 12, PLAIN) X(2, 6, FETCHING) X(3, 4, FETCHING) X(4, 3, FETCHING)
#else
#define THIN_TILES(X) X(1, 12, PLAIN) X(2, 6, FETCHING) X(3, 4, FETCHING)
#endif
THIN_TILES(TILE_INSTANCE)
static const FN(tile_fn) FN(thin_tiles)[THIN_ROWS] = {THIN_TILES(TILE_NAME)};

#undef THIN_TILES
#undef TILE_INSTANCE
#undef TILE_NAME
#undef TILE_LIST_COLUMN
#undef TILE_COLUMN
#undef WHOLE_COLUMN
#undef TILE_TABLE
