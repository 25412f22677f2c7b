/* Matrix products with a fused beginning and end. Included once for each real type.
 *
 * One micro-kernel does all three products of a Linear layer:
 *     forward  a  = f(x W + b)            A = x  (rows contiguous)            B = W
 *     dX       dx = (dz W^T) * f'(a)      A = dz (rows contiguous)            B = W^T
 *     dW       dW = x^T dz                A = x^T (columns contiguous)        B = dz
 * It holds a TILE_ROWS x TILE_VECTORS block of C in registers, starts it from the bias, from zero or from C itself, adds
 * A(i, k) B(k, j) over all k, and applies ReLU or the derivative of an activation before it stores. (The shape of the tile
 * and its layout follow Goto and van de Geijn, Anatomy of high-performance matrix multiplication, 2008.)
 *
 * B is read in panels of TILE_VECTORS registers' width. A panel is copied to contiguous memory, zero-padded, with the bias as
 * one more row, whenever enough rows of A will use it; dX's panels are transposed in the same copy. Row tiles have nearly equal
 * heights instead of full ones and a thin rest.
 */

struct FN(panel) {
    const REAL *b;          /* B(k, j) = b[k * b_stride + j], whole registers readable */
    ptrdiff_t b_stride;
    const REAL *start;      /* what every row of C starts from (whole registers readable); NULL: from C itself */
    ptrdiff_t depth;        /* number of k */
    ptrdiff_t a_stride;     /* from a row of A to the next, or from a column to the next where A is transposed */
    ptrdiff_t c_stride;
    ptrdiff_t gate_stride;
    ptrdiff_t last;         /* columns in the last register, 1..LANES: no others are stored */
    enum epilogue epilogue;
};

static const REAL FN(zeros)[PANEL] = {0};

/* What becomes of an accumulator: itself, its ReLU, or dz = dx * f'(z), written with the activation g = f(z). */
ALWAYS_INLINE VEC FN(finish)(enum epilogue epilogue, VEC v, const REAL *gate)
{
    switch (epilogue) {
    case STORE_RELU: return FN(relu)(v);
    case GATE_RELU: return FN(keep)(FN(load)(gate) > 0, v);
    case GATE_SIGMOID: return v * FN(load)(gate) * (1 - FN(load)(gate));
    case GATE_TANH: return v * (1 - FN(load)(gate) * FN(load)(gate));
    default: return v;
    }
}

ALWAYS_INLINE void FN(store_tile)(const int rows, const int vectors, const enum epilogue epilogue, const struct FN(panel) *p,
                                  VEC acc[TILE_ROWS][TILE_VECTORS], const REAL *gate, REAL *c)
{
    const ptrdiff_t c_stride = p->c_stride, gate_stride = p->gate_stride, last = p->last;
    UNROLL for (int i = 0; i < rows; i++) {
        UNROLL for (int j = 0; j < vectors - 1; j++)
            FN(store)(c + i * c_stride + j * LANES, FN(finish)(epilogue, acc[i][j], gate + i * gate_stride + j * LANES));
        const int j = vectors - 1;
        FN(store_upto)(c + i * c_stride + j * LANES, FN(finish)(epilogue, acc[i][j], gate + i * gate_stride + j * LANES), last);
    }
}

/* c[rows][vectors * LANES]: rows, vectors and transposed are constants wherever this is inlined, so that acc lives in registers. */
ALWAYS_INLINE void FN(tile)(const int rows, const int vectors, const int transposed, const struct FN(panel) *p,
                            const REAL *restrict a, const REAL *gate, REAL *c)
{
    VEC acc[TILE_ROWS][TILE_VECTORS];
    const ptrdiff_t depth = p->depth, a_stride = p->a_stride, b_stride = p->b_stride, last = p->last;
    const REAL *restrict b = p->b;
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vectors; j++)
            acc[i][j] = p->start ? FN(load)(p->start + j * LANES)
                : FN(load_upto)(c + i * p->c_stride + j * LANES, j == vectors - 1 ? last : LANES);

    for (ptrdiff_t k = 0; k < depth; k++) {
        VEC row[TILE_VECTORS];
        UNROLL for (int j = 0; j < vectors; j++)
            row[j] = FN(load)(b + j * LANES);
        UNROLL for (int i = 0; i < rows; i++) {
            const REAL s = transposed ? a[i] : a[i * a_stride + k];
            UNROLL for (int j = 0; j < vectors; j++)
                acc[i][j] += s * row[j];
        }
        b += b_stride;
        if (transposed)
            a += a_stride;
    }

    switch (p->epilogue) {
    case STORE_RELU: FN(store_tile)(rows, vectors, STORE_RELU, p, acc, NULL, c); break;
    case GATE_RELU: FN(store_tile)(rows, vectors, GATE_RELU, p, acc, gate, c); break;
    case GATE_SIGMOID: FN(store_tile)(rows, vectors, GATE_SIGMOID, p, acc, gate, c); break;
    case GATE_TANH: FN(store_tile)(rows, vectors, GATE_TANH, p, acc, gate, c); break;
    default: FN(store_tile)(rows, vectors, STORE, p, acc, NULL, c); break;
    }
}

typedef void (*FN(tile_fn))(const struct FN(panel) *, const REAL *, const REAL *, REAL *);

#define TILE_INSTANCE(rows, vectors, transposed)                                                                              \
    static void FN(tile_##rows##_##vectors##_##transposed)(const struct FN(panel) *p, const REAL *a, const REAL *g, REAL *c) \
    {                                                                                                                         \
        FN(tile)(rows, vectors, transposed, p, a, g, c);                                                                      \
    }
#define TILE_NAME(rows, vectors, transposed) FN(tile_##rows##_##vectors##_##transposed),
#define TILE_LIST_COLUMN(X, vectors, transposed)                                                                              \
    X(1, vectors, transposed) X(2, vectors, transposed) X(3, vectors, transposed)                                             \
    X(4, vectors, transposed) X(5, vectors, transposed) X(6, vectors, transposed)
#if TILE_ROWS == 9
#define TILE_COLUMN(X, vectors, transposed)                                                                                   \
    TILE_LIST_COLUMN(X, vectors, transposed) X(7, vectors, transposed) X(8, vectors, transposed) X(9, vectors, transposed)
#else
#define TILE_COLUMN TILE_LIST_COLUMN
#endif

TILE_COLUMN(TILE_INSTANCE, 1, 0)
TILE_COLUMN(TILE_INSTANCE, 2, 0)
TILE_COLUMN(TILE_INSTANCE, 1, 1)
TILE_COLUMN(TILE_INSTANCE, 2, 1)
#if TILE_VECTORS == 3
TILE_COLUMN(TILE_INSTANCE, 3, 0)
TILE_COLUMN(TILE_INSTANCE, 3, 1)
#endif

/* [transposed][vectors - 1][rows - 1] */
static const FN(tile_fn) FN(tiles)[2][TILE_VECTORS][TILE_ROWS] = {
    {{TILE_COLUMN(TILE_NAME, 1, 0)},
     {TILE_COLUMN(TILE_NAME, 2, 0)},
#if TILE_VECTORS == 3
     {TILE_COLUMN(TILE_NAME, 3, 0)},
#endif
    },
    {{TILE_COLUMN(TILE_NAME, 1, 1)},
     {TILE_COLUMN(TILE_NAME, 2, 1)},
#if TILE_VECTORS == 3
     {TILE_COLUMN(TILE_NAME, 3, 1)},
#endif
    },
};

#undef TILE_INSTANCE
#undef TILE_NAME
#undef TILE_LIST_COLUMN
#undef TILE_COLUMN

/* All rows of one panel, A's rows being contiguous. */
static void FN(run_panel)(const struct FN(panel) *p, ptrdiff_t vectors, ptrdiff_t rows, const REAL *a, const REAL *gate, REAL *c)
{
    const ptrdiff_t n_tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    for (ptrdiff_t t = 0; t < n_tiles; t++) {
        ptrdiff_t begin = rows * t / n_tiles, height = rows * (t + 1) / n_tiles - begin;
        FN(tiles)[0][vectors - 1][height - 1](p, a + begin * p->a_stride, gate ? gate + begin * p->gate_stride : NULL,
                                              c + begin * p->c_stride);
    }
}

/* Numbers of REAL that pack_panel and pack_transposed_panel need for a layer. */
static ptrdiff_t FN(packed_size)(ptrdiff_t n_in, ptrdiff_t n_out) { return (max_size(n_in, n_out) + 1) * PANEL; }

/* packed[k][j] = weight[k][j] for k < depth, and the bias as row `depth`; columns from `width` on are zero. */
static void FN(pack_panel)(const REAL *weight, const REAL *bias, ptrdiff_t stride, ptrdiff_t depth, ptrdiff_t width, REAL *packed)
{
    for (ptrdiff_t k = 0; k <= depth; k++) {
        const REAL *row = k < depth ? weight + k * stride : bias;
        for (ptrdiff_t j = 0; j < PANEL; j += LANES, packed += LANES) {
            if (j >= width)
                break;
            FN(store)(packed, FN(load_upto)(row + j, width - j));
        }
    }
}

/* packed[k][j] = weight[j][k] for j < width; k runs over `depth`. Columns from `width` to the next register are zero. */
static void FN(pack_transposed_panel)(const REAL *weight, ptrdiff_t stride, ptrdiff_t depth, ptrdiff_t width, REAL *packed)
{
    const ptrdiff_t padded = round_up(width, LANES);
    for (ptrdiff_t k = 0; k < depth; k += LANES)
        for (ptrdiff_t j = 0; j < padded; j += LANES) {
            const ptrdiff_t columns = min_size(LANES, depth - k);
            VEC block[LANES];
            UNROLL for (int i = 0; i < LANES; i++)
                block[i] = j + i < width ? FN(load_upto)(weight + (j + i) * stride + k, columns) : (VEC){};
            FN(transpose)(block);
            UNROLL for (int i = 0; i < LANES; i++)
                if (i < columns)
                    FN(store)(packed + (k + i) * padded + j, block[i]);
        }
}

/* c (rows, n_out) = epilogue(x (rows, n_in) @ weight (n_in, n_out) + bias), columns [first, end) only. */
static void FN(forward_product)(const REAL *x, ptrdiff_t x_stride, ptrdiff_t rows, const REAL *weight, const REAL *bias,
                                ptrdiff_t n_in, ptrdiff_t n_out, enum epilogue epilogue, REAL *c, ptrdiff_t c_stride, REAL *packed)
{
    struct FN(panel) p = {.depth = n_in, .a_stride = x_stride, .c_stride = c_stride, .epilogue = epilogue};
    for (ptrdiff_t j = 0; j < n_out; j += PANEL) {
        ptrdiff_t width = min_size(PANEL, n_out - j), vectors = (width + LANES - 1) / LANES;
        p.last = width - (vectors - 1) * LANES;
        if (p.last == LANES && rows < ROWS_WORTH_PACKING) {
            p.b = weight + j, p.b_stride = n_out, p.start = bias + j;
        } else {
            FN(pack_panel)(weight + j, bias + j, n_out, n_in, width, packed);
            p.b = packed, p.b_stride = vectors * LANES, p.start = packed + n_in * p.b_stride;
        }
        FN(run_panel)(&p, vectors, rows, x, NULL, c + j);
    }
}

/* dx (rows, n_in) = (dz (rows, n_out) @ weight^T) * the derivative that the epilogue takes from gate (rows, n_in). */
static void FN(input_gradient)(const REAL *dz, ptrdiff_t dz_stride, ptrdiff_t rows, const REAL *weight, ptrdiff_t n_in,
                               ptrdiff_t n_out, enum epilogue epilogue, const REAL *gate, REAL *dx, ptrdiff_t dx_stride, REAL *packed)
{
    struct FN(panel) p = {.depth = n_out, .a_stride = dz_stride, .c_stride = dx_stride, .gate_stride = dx_stride,
                          .epilogue = epilogue, .start = FN(zeros), .b = packed};
    for (ptrdiff_t j = 0; j < n_in; j += PANEL) {
        ptrdiff_t width = min_size(PANEL, n_in - j), vectors = (width + LANES - 1) / LANES;
        p.last = width - (vectors - 1) * LANES;
        p.b_stride = vectors * LANES;
        FN(pack_transposed_panel)(weight + j * n_out, n_out, n_out, width, packed);
        FN(run_panel)(&p, vectors, rows, dz, gate ? gate + j : NULL, dx + j);
    }
}

/* dweight (n_in, n_out) = x^T (n_in, rows) @ dz (rows, n_out), or += it. dz is read in whole registers: it needs PANEL readable
 * numbers after its end.
 *
 * dz is taken in strips of columns that stay in L2, and within a strip one tile of x's columns, which stays in L1, meets all
 * panels: x is read from far once a strip, and dweight is written in long rows. */
static void FN(weight_gradient)(const REAL *x, ptrdiff_t x_stride, const REAL *dz, ptrdiff_t dz_stride, ptrdiff_t rows,
                                ptrdiff_t n_in, ptrdiff_t n_out, int accumulate, REAL *dweight)
{
    struct FN(panel) p = {.depth = rows, .a_stride = x_stride, .b_stride = dz_stride, .c_stride = n_out,
                          .epilogue = STORE, .start = accumulate ? NULL : FN(zeros)};
    const ptrdiff_t n_tiles = (n_in + TILE_ROWS - 1) / TILE_ROWS;
    const ptrdiff_t strip = max_size(1, STRIP_BYTES / (ptrdiff_t)sizeof(REAL) / max_size(1, rows) / PANEL) * PANEL;
    for (ptrdiff_t first = 0; first < n_out; first += strip) {
        const ptrdiff_t end = min_size(n_out, first + strip);
        for (ptrdiff_t t = 0; t < n_tiles; t++) {
            const ptrdiff_t begin = n_in * t / n_tiles, height = n_in * (t + 1) / n_tiles - begin;
            for (ptrdiff_t j = first; j < end; j += PANEL) {
                const ptrdiff_t width = min_size(PANEL, end - j), vectors = (width + LANES - 1) / LANES;
                p.last = width - (vectors - 1) * LANES;
                p.b = dz + j;
                FN(tiles)[1][vectors - 1][height - 1](&p, x + begin, NULL, dweight + begin * n_out + j);
            }
        }
    }
}
