/* Matrix products with a fused beginning and end. Included once for each real type.
 *
 * One micro-kernel does all three products of a Linear layer:
 *     forward  a  = f(x W + b)            A = x  (rows contiguous)            B = W
 *     dX       dx = (dz W^T) * f'(a)      A = dz (rows contiguous)            B = W^T
 *     dW       dW = x^T dz                A = x^T (columns contiguous)        B = dz
 * It holds a block of C, such as TILE_ROWS x TILE_VECTORS, in registers, starts it from the bias, from zero or from C itself, adds
 * A(i, k) B(k, j) over all k, and applies ReLU or the derivative of an activation before it stores. (The shape of the tile
 * and its layout follow Goto and van de Geijn, Anatomy of high-performance matrix multiplication, 2008.)
 *
 * B is read in panels of TILE_VECTORS registers' width. A panel that several row tiles use is copied to contiguous memory: by the
 * first of these tiles, while it multiplies (against a copy before, 16 rows of 784-128-10 gained 1.15 times, of 64-100-10 1.1
 * times), or before, where its rows lie a page apart, where it is not a whole panel, and for dX, where it is transposed. Row
 * tiles have nearly equal heights instead of full ones and a thin rest.
 */

struct FN(panel) {
    const REAL *b;          /* B(k, j) = b[k * b_stride + j], whole registers readable */
    ptrdiff_t b_stride;
    REAL *packed;           /* where a tile that packs copies B to, row after row */
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
                                  const VEC *acc, const REAL *gate, REAL *c)
{
    const ptrdiff_t c_stride = p->c_stride, gate_stride = p->gate_stride, last = p->last;
    UNROLL for (int i = 0; i < rows; i++) {
        UNROLL for (int j = 0; j < vectors - 1; j++)
            FN(store)(c + i * c_stride + j * LANES, FN(finish)(epilogue, acc[i * vectors + j], gate + i * gate_stride + j * LANES));
        const int j = vectors - 1;
        FN(store_upto)(c + i * c_stride + j * LANES, FN(finish)(epilogue, acc[i * vectors + j], gate + i * gate_stride + j * LANES), last);
    }
}

/* c[rows][vectors * LANES]: rows, vectors and kind are constants wherever this is inlined, so that acc lives in registers. */
ALWAYS_INLINE void FN(tile)(const int rows, const int vectors, const int kind, const struct FN(panel) *p,
                            const REAL *restrict a, const REAL *gate, REAL *c)
{
    VEC acc[TILE_ROWS * TILE_VECTORS], row[TILE_ROWS * TILE_VECTORS];
    const ptrdiff_t depth = p->depth, a_stride = p->a_stride, b_stride = p->b_stride, last = p->last;
    const REAL *restrict b = p->b;
    REAL *restrict packed = p->packed;
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vectors; j++)
            acc[i * vectors + j] = p->start ? FN(load)(p->start + j * LANES)
                : FN(load_upto)(c + i * p->c_stride + j * LANES, j == vectors - 1 ? last : LANES);
    if (kind == TRANSPOSED) /* a weight gradient's C is far away: its lines come while the sums are made */
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int j = 0; j < vectors * VECTOR_BYTES; j += CACHE_LINE)
                __builtin_prefetch((char *)(c + i * p->c_stride) + j, 1);

    for (ptrdiff_t k = 0; k < depth; k++) {
        UNROLL for (int j = 0; j < vectors; j++)
            row[j] = FN(load)(b + j * LANES);
        if (kind == PACKING) {
            UNROLL for (int j = 0; j < vectors; j++)
                FN(store)(packed + j * LANES, row[j]);
            packed += vectors * LANES;
        }
        UNROLL for (int i = 0; i < rows; i++) {
            const REAL s = kind == TRANSPOSED ? a[i] : a[i * a_stride + k];
            UNROLL for (int j = 0; j < vectors; j++)
                acc[i * vectors + j] += s * row[j];
        }
        b += b_stride;
        if (kind == TRANSPOSED)
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

#define TILE_INSTANCE(rows, vectors, kind)                                                                              \
    static void FN(tile_##rows##_##vectors##_##kind)(const struct FN(panel) *p, const REAL *a, const REAL *g, REAL *c) \
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

/* [vectors - 1][rows - 1] */
static const FN(tile_fn) FN(tiles)[TILE_VECTORS][TILE_ROWS] = TILE_TABLE(PLAIN);
static const FN(tile_fn) FN(transposed_tiles)[TILE_VECTORS][TILE_ROWS] = TILE_TABLE(TRANSPOSED);
/* Of whole panels: [rows - 1] */
static const FN(tile_fn) FN(packing_tiles)[TILE_ROWS] = {WHOLE_COLUMN(TILE_NAME, PACKING)};

/* For few rows: [rows - 1], each as wide as keeps the multipliers busy. */
#define THIN_NAME(rows, vectors) TILE_NAME(rows, vectors, PLAIN)
#define THIN_INSTANCE(rows, vectors) TILE_INSTANCE(rows, vectors, PLAIN)
#if THIN_ROWS == 4
#define THIN_TILES(X) X(1, 12) X(2, 6) X(3, 4) X(4, 3)
#else
#define THIN_TILES(X) X(1, 12) X(2, 6) X(3, 4)
#endif
THIN_TILES(THIN_INSTANCE)
static const FN(tile_fn) FN(thin_tiles)[THIN_ROWS] = {THIN_TILES(THIN_NAME)};

#undef THIN_NAME
#undef THIN_INSTANCE
#undef THIN_TILES
#undef TILE_INSTANCE
#undef TILE_NAME
#undef TILE_LIST_COLUMN
#undef TILE_COLUMN
#undef WHOLE_COLUMN
#undef TILE_TABLE

/* All rows of one panel, A's rows being contiguous, from the tile `first` on. */
static void FN(run_panel)(const struct FN(panel) *p, ptrdiff_t vectors, ptrdiff_t rows, ptrdiff_t first, const REAL *a,
                          const REAL *gate, REAL *c)
{
    const ptrdiff_t n_tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    for (ptrdiff_t t = first; t < n_tiles; t++) {
        const ptrdiff_t begin = rows * t / n_tiles, height = rows * (t + 1) / n_tiles - begin;
        FN(tiles)[vectors - 1][height - 1](p, a + begin * p->a_stride, gate ? gate + begin * p->gate_stride : NULL,
                                           c + begin * p->c_stride);
    }
}

/* The same for a whole panel, which the first tile copies to `packed` for the others. */
static void FN(pack_and_run_panel)(struct FN(panel) *p, ptrdiff_t rows, const REAL *a, REAL *c, REAL *packed)
{
    const ptrdiff_t n_tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    p->packed = packed;
    FN(packing_tiles)[rows / n_tiles - 1](p, a, NULL, c);
    p->b = packed, p->b_stride = PANEL;
    FN(run_panel)(p, TILE_VECTORS, rows, 1, a, NULL, c);
}

/* How many panels of weights are packed at a time before they are used: several where the rows of one lie a page or more apart. */
ALWAYS_INLINE ptrdiff_t FN(panels_together)(ptrdiff_t n_out)
{
    return n_out * (ptrdiff_t)sizeof(REAL) >= PAGE_BYTES ? PANELS_TOGETHER : 1;
}

/* Numbers of REAL that packed panels need for a layer. */
static ptrdiff_t FN(packed_size)(ptrdiff_t n_in, ptrdiff_t n_out)
{
    return max_size((n_in + 1) * PANEL * FN(panels_together)(n_out), n_out * PANEL);
}

/* packed[k][j] = weight[k][j] for k < depth, and the bias as row `depth`; columns from `width` to the next register are zero. */
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

/* The same panel after panel; whole ones row by row, as what lies side by side in memory comes together. */
static void FN(pack_panels)(const REAL *weight, const REAL *bias, ptrdiff_t stride, ptrdiff_t depth, ptrdiff_t width, REAL *packed)
{
    const ptrdiff_t whole = width / PANEL * PANEL;
    for (ptrdiff_t k = 0; whole > 0 && k <= depth; k++) {
        const REAL *row = k < depth ? weight + k * stride : bias;
        for (ptrdiff_t j = 0; j < whole; j += PANEL)
            UNROLL for (int v = 0; v < TILE_VECTORS; v++)
                FN(store)(packed + j * (depth + 1) + k * PANEL + v * LANES, FN(load)(row + j + v * LANES));
    }
    if (whole < width)
        FN(pack_panel)(weight + whole, bias + whole, stride, depth, width - whole, packed + whole * (depth + 1));
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

/* The same product for few outputs, of which a register would be mostly empty: dot products along the inputs, LANES of them
 * at a time (rows x outputs, outputs rounded up to a power of two), which one transposition brings side by side. */
ALWAYS_INLINE void FN(dot_tile)(const int rows, const int outputs, const REAL *const *a, const REAL *packed, ptrdiff_t depth,
                                VEC start, const enum epilogue epilogue, REAL *sums)
{
    VEC acc[LANES] = {};
    const ptrdiff_t padded = round_up(depth, LANES);
    for (ptrdiff_t k = 0; k < padded; k += LANES) {
        VEC column[LANES];
        UNROLL for (int j = 0; j < outputs; j++)
            column[j] = FN(load)(packed + j * padded + k);
        UNROLL for (int i = 0; i < rows; i++) {
            const VEC x = FN(load_upto)(a[i] + k, depth - k);
            UNROLL for (int j = 0; j < outputs; j++)
                acc[i * outputs + j] += x * column[j];
        }
    }
    FN(transpose)(acc);
    UNROLL for (int i = 0; i < LANES; i++)
        start += acc[i];
    FN(store)(sums, FN(finish)(epilogue, start, NULL));
}

ALWAYS_INLINE int FN(few_outputs)(ptrdiff_t n_out) { return n_out > 0 && 2 * n_out <= LANES; }

static void FN(few_outputs_product)(const REAL *x, ptrdiff_t x_stride, ptrdiff_t rows, const REAL *weight, const REAL *bias,
                                    ptrdiff_t n_in, ptrdiff_t n_out, enum epilogue epilogue, REAL *c, ptrdiff_t c_stride, REAL *packed)
{
    const ptrdiff_t outputs = n_out <= 2 ? n_out : n_out <= 4 ? 4 : 8, together = LANES / outputs, padded = round_up(n_in, LANES);
    VEC start = {};
    memset(packed, 0, (size_t)(outputs * padded) * sizeof(REAL));
    for (ptrdiff_t j = 0; j < n_out; j++) {
        for (ptrdiff_t k = 0; k < n_in; k++)
            packed[j * padded + k] = weight[k * n_out + j];
        for (ptrdiff_t i = 0; i < together; i++)
            start[i * outputs + j] = bias[j];
    }
    for (ptrdiff_t first = 0; first < rows; first += together) {
        const REAL *a[LANES];
        REAL sums[LANES];
        for (ptrdiff_t i = 0; i < together; i++) /* beyond the end the last row again */
            a[i] = x + min_size(first + i, rows - 1) * x_stride;
        switch (outputs) {
        case 1: FN(dot_tile)(LANES, 1, a, packed, n_in, start, epilogue, sums); break;
        case 2: FN(dot_tile)(LANES / 2, 2, a, packed, n_in, start, epilogue, sums); break;
#if VECTOR_BYTES >= 32
        case 4: FN(dot_tile)(LANES / 4, 4, a, packed, n_in, start, epilogue, sums); break;
#endif
#if VECTOR_BYTES >= 64
        case 8: FN(dot_tile)(LANES / 8, 8, a, packed, n_in, start, epilogue, sums); break;
#endif
        }
        for (ptrdiff_t i = 0; i < min_size(together, rows - first); i++)
            for (ptrdiff_t j = 0; j < n_out; j++)
                c[(first + i) * c_stride + j] = sums[i * outputs + j];
    }
}

/* c (rows, n_out) = epilogue(x (rows, n_in) @ weight (n_in, n_out) + bias). */
static void FN(forward_product)(const REAL *x, ptrdiff_t x_stride, ptrdiff_t rows, const REAL *weight, const REAL *bias,
                                ptrdiff_t n_in, ptrdiff_t n_out, enum epilogue epilogue, REAL *c, ptrdiff_t c_stride, REAL *packed)
{
    struct FN(panel) p = {.depth = n_in, .a_stride = x_stride, .c_stride = c_stride, .epilogue = epilogue,
                          .b_stride = n_out, .last = LANES};
    if (FN(few_outputs)(n_out)) {
        FN(few_outputs_product)(x, x_stride, rows, weight, bias, n_in, n_out, epilogue, c, c_stride, packed);
        return;
    }
    ptrdiff_t done = 0;
    if (rows > 0 && rows <= THIN_ROWS)
        for (const ptrdiff_t wide = THIN_REGISTERS / rows * LANES; done + wide <= n_out; done += wide) {
            p.b = weight + done, p.start = bias + done;
            FN(thin_tiles)[rows - 1](&p, x, NULL, c + done);
        }
    const int in_place = rows <= TILE_ROWS; /* every panel is read once */
    const ptrdiff_t group = PANEL * (in_place ? 1 : FN(panels_together)(n_out));
    for (ptrdiff_t first = done; first < n_out; first += group) {
        const ptrdiff_t width = min_size(group, n_out - first);
        p.b = weight + first, p.b_stride = n_out, p.start = bias + first, p.last = LANES;
        if (in_place && width % LANES == 0) {
            FN(run_panel)(&p, width / LANES, rows, 0, x, NULL, c + first);
        } else if (width == PANEL) {
            FN(pack_and_run_panel)(&p, rows, x, c + first, packed);
        } else {
            FN(pack_panels)(weight + first, bias + first, n_out, n_in, width, packed);
            for (ptrdiff_t j = 0; j < width; j += PANEL) {
                const ptrdiff_t columns = min_size(PANEL, width - j), vectors = (columns + LANES - 1) / LANES;
                p.last = columns - (vectors - 1) * LANES;
                p.b = packed + j * (n_in + 1), p.b_stride = vectors * LANES, p.start = p.b + n_in * p.b_stride;
                FN(run_panel)(&p, vectors, rows, 0, x, NULL, c + first + j);
            }
        }
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
        FN(run_panel)(&p, vectors, rows, 0, dz, gate ? gate + j : NULL, dx + j);
    }
}

/* Columns of x that lie side by side for a tile. */
#define TILE_COLUMNS round_up(TILE_ROWS, LANES)

/* Numbers of REAL that weight_gradient needs to pack. */
ALWAYS_INLINE ptrdiff_t FN(gradient_scratch)(void)
{
    return STRIP_BYTES / (ptrdiff_t)sizeof(REAL) + TILES_TOGETHER * CHUNK_ROWS * TILE_COLUMNS;
}

/* packed[k][j] = from[k * stride + j], j < width, padded to whole registers; nothing beyond `width` is read. */
ALWAYS_INLINE void FN(pack_columns)(const REAL *from, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t width, ptrdiff_t padded, REAL *packed)
{
    for (ptrdiff_t k = 0; k < rows; k++, from += stride, packed += padded)
        for (ptrdiff_t j = 0; j < width; j += LANES)
            FN(store)(packed + j, FN(load_upto)(from + j, width - j));
}

/* dweight (n_in, n_out) = x^T (n_in, rows) @ dz (rows, n_out), or += it; rows <= CHUNK_ROWS. dz is read in whole registers: it needs
 * PANEL readable numbers after its end.
 *
 * dz is taken in strips of columns that stay in L2, and within a strip a few tiles of x's columns, which stay there too, meet all
 * panels: x is read from far once a strip, and dweight is written in long rows. Where x and dz together are larger than PACK_BYTES
 * both are copied into `scratch` tile by tile and panel by panel: a column of theirs takes a cache line, and often a page, from
 * every row (at 256 x 1024 x 1024 packing gained 1.4 times, at 200 x 64 x 100 it would lose 7 %). */
static void FN(weight_gradient)(const REAL *x, ptrdiff_t x_stride, const REAL *dz, ptrdiff_t dz_stride, ptrdiff_t rows,
                                ptrdiff_t n_in, ptrdiff_t n_out, int accumulate, REAL *dweight, REAL *scratch)
{
    struct FN(panel) p = {.depth = rows, .a_stride = x_stride, .b_stride = dz_stride, .c_stride = n_out,
                          .epilogue = STORE, .start = accumulate ? NULL : FN(zeros)};
    const int pack = rows * (n_in + n_out) * (ptrdiff_t)sizeof(REAL) > PACK_BYTES;
    const ptrdiff_t n_tiles = (n_in + TILE_ROWS - 1) / TILE_ROWS, together = pack ? TILES_TOGETHER : 1;
    const ptrdiff_t strip = max_size(1, STRIP_BYTES / (ptrdiff_t)sizeof(REAL) / max_size(1, rows) / PANEL) * PANEL;
    REAL *packed_dz = scratch + TILES_TOGETHER * CHUNK_ROWS * TILE_COLUMNS;
    for (ptrdiff_t first = 0; first < n_out; first += strip) {
        const ptrdiff_t end = min_size(n_out, first + strip);
        for (ptrdiff_t j = first; pack && j < end; j += PANEL)
            FN(pack_columns)(dz + j, dz_stride, rows, min_size(PANEL, end - j), PANEL, packed_dz + (j - first) * rows);
        for (ptrdiff_t t = 0; t < n_tiles; t += together) {
            const ptrdiff_t n = min_size(together, n_tiles - t);
            ptrdiff_t begin[TILES_TOGETHER + 1];
            const REAL *a[TILES_TOGETHER];
            for (ptrdiff_t i = 0; i <= n; i++)
                begin[i] = n_in * (t + i) / n_tiles;
            for (ptrdiff_t i = 0; i < n; i++)
                a[i] = pack ? scratch + i * rows * TILE_COLUMNS : x + begin[i];
            for (ptrdiff_t k = 0; pack && k < rows; k++) /* row by row: neighbouring tiles share cache lines */
                for (ptrdiff_t i = 0; i < n; i++)
                    FN(pack_columns)(x + k * x_stride + begin[i], 0, 1, min_size(TILE_COLUMNS, n_in - begin[i]), 0,
                                     scratch + (i * rows + k) * TILE_COLUMNS);
            for (ptrdiff_t j = first; j < end; j += PANEL) {
                const ptrdiff_t width = min_size(PANEL, end - j), vectors = (width + LANES - 1) / LANES;
                p.last = width - (vectors - 1) * LANES;
                p.b = pack ? packed_dz + (j - first) * rows : dz + j;
                if (pack)
                    p.a_stride = TILE_COLUMNS, p.b_stride = PANEL;
                for (ptrdiff_t i = 0; i < n; i++)
                    FN(transposed_tiles)[vectors - 1][begin[i + 1] - begin[i] - 1](&p, a[i], NULL, dweight + begin[i] * n_out + j);
            }
        }
    }
}

/* The same where x's rows may be read in whole registers. With few outputs dweight^T = dz^T @ x fills the registers better; it
 * is made in `scratch`. */
static void FN(padded_weight_gradient)(const REAL *x, ptrdiff_t x_stride, const REAL *dz, ptrdiff_t dz_stride, ptrdiff_t rows,
                                       ptrdiff_t n_in, ptrdiff_t n_out, int accumulate, REAL *dweight, REAL *scratch)
{
    const ptrdiff_t padded = round_up(n_in, LANES);
    const ptrdiff_t registers = n_in * ((n_out + LANES - 1) / LANES), transposed_registers = n_out * padded / LANES;
    if (5 * transposed_registers > 4 * registers || n_out * padded > FN(gradient_scratch)()) {
        FN(weight_gradient)(x, x_stride, dz, dz_stride, rows, n_in, n_out, accumulate, dweight, scratch);
        return;
    }
    struct FN(panel) p = {.depth = rows, .a_stride = dz_stride, .b_stride = x_stride, .c_stride = padded, .last = LANES,
                          .epilogue = STORE, .start = FN(zeros)};
    const ptrdiff_t n_tiles = (n_out + TILE_ROWS - 1) / TILE_ROWS;
    for (ptrdiff_t j = 0; j < padded; j += PANEL)
        for (ptrdiff_t t = 0; t < n_tiles; t++) {
            const ptrdiff_t begin = n_out * t / n_tiles, height = n_out * (t + 1) / n_tiles - begin;
            p.b = x + j;
            FN(transposed_tiles)[min_size(TILE_VECTORS, (padded - j) / LANES) - 1][height - 1](&p, dz + begin, NULL,
                                                                                              scratch + begin * padded + j);
        }
    for (ptrdiff_t k = 0; k < n_in; k++)
        for (ptrdiff_t j = 0; j < n_out; j++)
            dweight[k * n_out + j] = scratch[j * padded + k] + (accumulate ? dweight[k * n_out + j] : 0);
}
