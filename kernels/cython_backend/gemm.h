/* The three products of a Linear layer, from tiles. Included once for each real type.
 *
 * B is read in panels of TILE_VECTORS registers' width. A panel that several row tiles use is copied to contiguous memory by the
 * first of these tiles, while it multiplies and fetches the next panel. Two kinds are copied before: a panel that is not whole, and
 * that of dX, which is transposed. Row tiles have nearly equal heights instead of full ones and a thin rest. The inner dimension is
 * not cut into blocks that would keep panels in L1. See docs/tuning.md, packing panels.
 */

/* All rows of one panel, A's rows being contiguous, from the tile `first` on. */
static void FN(run_panel)(const struct FN(panel) *p, ptrdiff_t vectors, ptrdiff_t rows, ptrdiff_t first, const STORED *a,
                          const STORED *gate, void *c)
{
    const ptrdiff_t n_tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    for (ptrdiff_t t = first; t < n_tiles; t++) {
        const ptrdiff_t begin = rows * t / n_tiles, height = rows * (t + 1) / n_tiles - begin;
        FN(tiles)[vectors - 1][height - 1](p, a + begin * p->a_stride, gate ? gate + begin * p->gate_stride : NULL,
                                           FN(skip)(c, p->real, begin * p->c_stride));
    }
}

/* run_panel() for a whole panel, which the first tile copies to `packed` for the others. */
static void FN(pack_and_run_panel)(struct FN(panel) *p, ptrdiff_t rows, const STORED *a, void *c, STORED *packed)
{
    const ptrdiff_t n_tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    p->packed = packed;
    FN(packing_tiles)[rows / n_tiles - 1](p, a, NULL, c);
    p->b = packed, p->b_stride = PANEL * PAIR;
    FN(run_panel)(p, TILE_VECTORS, rows, 1, a, NULL, c);
}

/* run_panel() where nothing is copied: the first tile fetches the next panel. */
static void FN(fetch_and_run_panel)(const struct FN(panel) *p, ptrdiff_t rows, const STORED *a, void *c)
{
    const ptrdiff_t n_tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    FN(fetching_tiles)[rows / n_tiles - 1](p, a, NULL, c);
    FN(run_panel)(p, TILE_VECTORS, rows, 1, a, NULL, c);
}

/* Stored numbers that a product needs for copies: of a panel, or for a shallow one of all weights. */
static ptrdiff_t FN(packed_size)(ptrdiff_t n_in, ptrdiff_t n_out)
{
    return max_size(round_up(max_size(n_in, n_out), PAIR) * PANEL, SHALLOW_DEPTH * round_up(max_size(n_in, n_out), LANES));
}

/* The forward product for few outputs, which would leave a register mostly empty: dot products along the inputs. LANES of them are
 * made at a time (rows x outputs, outputs rounded up to a power of two); one transposition brings them side by side. */
ALWAYS_INLINE void FN(dot_tile)(const int rows, const int outputs, const STORED *const *a, const STORED *packed, ptrdiff_t depth,
                                VEC start, const enum epilogue epilogue, REAL *sums)
{
    VEC acc[LANES] = {};
    const ptrdiff_t padded = round_up(depth, LANES);
    for (ptrdiff_t k = 0; k < padded; k += LANES) {
        VEC column[LANES];
        UNROLL for (int j = 0; j < outputs; j++)
            column[j] = FN(get)(packed + j * padded + k);
        UNROLL for (int i = 0; i < rows; i++) {
            const VEC x = FN(get_upto)(a[i] + k, depth - k);
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

static void FN(few_outputs_product)(const STORED *x, ptrdiff_t x_stride, ptrdiff_t rows, const REAL *weight, const REAL *bias,
                                    ptrdiff_t n_in, ptrdiff_t n_out, enum epilogue epilogue, void *c, ptrdiff_t c_stride, int real,
                                    STORED *packed)
{
    const ptrdiff_t outputs = n_out <= 2 ? n_out : n_out <= 4 ? 4 : 8, together = LANES / outputs, padded = round_up(n_in, LANES);
    VEC start = {};
    memset(packed, 0, (size_t)(outputs * padded) * sizeof(STORED));
    for (ptrdiff_t j = 0; j < n_out; j++) {
        for (ptrdiff_t k = 0; k < n_in; k++)
            FN(put_one)(packed + j * padded + k, weight[k * n_out + j]);
        for (ptrdiff_t i = 0; i < together; i++)
            start[i * outputs + j] = bias[j];
    }
    for (ptrdiff_t first = 0; first < rows; first += together) {
        const STORED *a[LANES];
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
                FN(write_one)(FN(skip)(c, real, (first + i) * c_stride + j), real, sums[i * outputs + j]);
    }
}

/* The forward product of a single row. It reads each weight once, in the order in which they lie: a few rows of weights at a time
 * meet all outputs. See docs/tuning.md, the forward product of a single row. */
static void FN(single_row_product)(struct FN(panel) *p, const STORED *x, ptrdiff_t n_out, REAL *c)
{
    const enum epilogue epilogue = p->epilogue;
    const ptrdiff_t n_in = p->depth;
    for (ptrdiff_t k = 0; k < n_in; k += SHALLOW_DEPTH) {
        const ptrdiff_t depth = min_size(SHALLOW_DEPTH, n_in - k);
        p->epilogue = k + depth == n_in ? epilogue : STORE;
        FN(shallow_products)[depth - 1](p, 1, n_out, x + k, NULL, c);
        p->b += depth * p->b_stride, p->start = c;
    }
}

/* c (rows, n_out) = epilogue(x (rows, n_in) @ weight (n_in, n_out) + bias), rows > 0. The weights may also be given as panels, which
 * saves time with few rows, or NULL: docs/tuning.md, predictions from packed weights. */
static void FN(forward_product)(const STORED *x, ptrdiff_t x_stride, ptrdiff_t rows, const REAL *weight, const REAL *bias,
                                const STORED *panels, ptrdiff_t n_in, ptrdiff_t n_out, struct range columns,
                                enum epilogue epilogue, void *c, ptrdiff_t c_stride, int real, STORED *packed)
{
    struct FN(panel) p = {.depth = n_in, .a_stride = x_stride, .c_stride = c_stride, .epilogue = epilogue,
                          .b_stride = n_out, .last = LANES, .real = real};
    if (columns.begin >= columns.end)
        return;
    if (FN(few_outputs)(n_out)) { /* of one panel */
        FN(few_outputs_product)(x, x_stride, rows, weight, bias, n_in, n_out, epilogue, c, c_stride, real, packed);
        return;
    }
    const ptrdiff_t n = columns.end - columns.begin;
    p.b = FN(as_stored)(weight + columns.begin), p.start = bias + columns.begin;
    if (FN(shallow)(n_in)) {
        FN(shallow_products)[n_in - 1](&p, rows, n, x, NULL, FN(skip)(c, real, columns.begin));
        return;
    }
    if (STORED_IS_REAL && rows == 1 && n_in > 0) { /* two rows and more are faster from panels */
        FN(single_row_product)(&p, x, n, (REAL *)c + columns.begin);
        return;
    }
    ptrdiff_t done = columns.begin;
    if (STORED_IS_REAL && rows <= THIN_ROWS && !panels)
        for (const ptrdiff_t wide = THIN_REGISTERS / rows * LANES; done + wide <= columns.end; done += wide) {
            p.b = FN(as_stored)(weight + done), p.b_next = wide, p.start = bias + done;
            FN(thin_tiles)[rows - 1](&p, x, NULL, (REAL *)c + done);
        }
    const int once = STORED_IS_REAL && rows <= TILE_ROWS; /* every panel is read by one tile */
    for (ptrdiff_t j = done; j < columns.end; j += PANEL) {
        const ptrdiff_t width = min_size(PANEL, columns.end - j), vectors = (width + LANES - 1) / LANES;
        const STORED *ready = panels ? panels + j * round_up(n_in, PAIR) : NULL;
        REAL start[PANEL]; /* the bias in whole registers */
        void *to = FN(skip)(c, real, j);
        if (!ready && width < PANEL && !(once && width % LANES == 0)) {
            FN(pack_panel)(weight + j, n_out, n_in, width, packed);
            ready = packed;
        }
        p.b = ready ? ready : FN(as_stored)(weight + j);
        p.unpacked = weight + j;
        p.b_stride = ready ? vectors * LANES * PAIR : n_out;
        p.b_next = panels ? PANEL * round_up(n_in, PAIR) : PANEL;
        p.last = width - (vectors - 1) * LANES;
        p.start = bias + j;
        if (p.last < LANES) {
            for (ptrdiff_t i = 0; i < width; i += LANES)
                FN(store)(start + i, FN(load_upto)(bias + j + i, width - i));
            p.start = start;
        }
        if (width < PANEL)
            FN(run_panel)(&p, vectors, rows, 0, x, NULL, to);
        else if (once || panels)
            FN(fetch_and_run_panel)(&p, rows, x, to);
        else
            FN(pack_and_run_panel)(&p, rows, x, to, packed);
    }
}

/* dx (rows, n_in) = (dz (rows, n_out) @ weight^T) times the derivative that the epilogue takes from gate (rows, n_in). */
static void FN(input_gradient)(const STORED *dz, ptrdiff_t dz_stride, ptrdiff_t rows, const REAL *weight, ptrdiff_t n_in,
                               ptrdiff_t n_out, enum epilogue epilogue, const STORED *gate, STORED *dx, ptrdiff_t dx_stride,
                               STORED *packed)
{
    struct FN(panel) p = {.depth = n_out, .a_stride = dz_stride, .c_stride = dx_stride, .gate_stride = dx_stride,
                          .epilogue = epilogue, .start = FN(zeros), .b = packed};
    if (FN(shallow)(n_out)) {
        FN(pack_transposed_panel)(weight, n_out, n_out, n_in, packed);
        p.b_stride = round_up(n_in, LANES), p.start = NULL;
        FN(shallow_products)[n_out - 1](&p, rows, n_in, dz, gate, dx);
        return;
    }
    for (ptrdiff_t j = 0; j < n_in; j += PANEL) {
        ptrdiff_t width = min_size(PANEL, n_in - j), vectors = (width + LANES - 1) / LANES;
        p.last = width - (vectors - 1) * LANES;
        p.b_stride = vectors * LANES * PAIR;
        FN(pack_transposed_panel)(weight + j * n_out, n_out, n_out, width, packed);
        FN(run_panel)(&p, vectors, rows, 0, dz, gate ? gate + j : NULL, dx + j);
    }
}

/* Columns of x that lie side by side for a tile. */
#define TILE_COLUMNS round_up(TILE_ROWS, LANES)

/* Whether dweight^T = dz^T @ x fills the registers better than dweight, as with few outputs, and stays in L2. */
static int FN(gradient_transposed)(ptrdiff_t n_in, ptrdiff_t n_out)
{
    const ptrdiff_t padded = round_up(n_in, LANES);
    const ptrdiff_t registers = n_in * ((n_out + LANES - 1) / LANES), transposed_registers = n_out * padded / LANES;
    return 5 * transposed_registers <= 4 * registers && n_out * padded * (ptrdiff_t)sizeof(REAL) <= TRANSPOSED_BYTES;
}

/* Numbers of REAL that a weight gradient of at most CHUNK_ROWS rows needs, whichever way it is made. */
static ptrdiff_t FN(gradient_scratch)(ptrdiff_t n_in, ptrdiff_t n_out)
{
    const ptrdiff_t strip = min_size(STRIP_BYTES / (ptrdiff_t)sizeof(STORED), CHUNK_ROWS * round_up(n_out, PANEL));
    const ptrdiff_t copies = STORED_IS_REAL ? 0 : CHUNK_ROWS * (round_up(n_out, LANES) + PANEL);
    const ptrdiff_t transposed = FN(gradient_transposed)(n_in, n_out) ? n_out * round_up(n_in, LANES) + copies : 0;
    return max_size(strip + TILES_TOGETHER * CHUNK_ROWS * TILE_COLUMNS, transposed);
}

/* dweight (n_in, n_out) = x^T (n_in, rows) @ dz (rows, n_out), or += it; rows <= CHUNK_ROWS. dz is read in whole registers: it
 * needs PANEL readable numbers after its end.
 *
 * A few tiles of x's columns, which stay in L1 or L2, meet all panels of dz, or of a strip of it: x is read from far once a
 * strip, a panel of dz once for these tiles, and dweight is written in long rows. Where x and dz together are larger than
 * PACK_BYTES both are copied into `scratch`, tile by tile and panel by panel: a column takes a cache line, and often a page, from
 * every row. Where they are not packed and L1 cannot hold x with a panel of dz, the rows are taken in two halves, one after the
 * other. See docs/tuning.md, packing for weight gradients. */
static void FN(weight_gradient)(const STORED *x, ptrdiff_t x_stride, const STORED *dz, ptrdiff_t dz_stride, ptrdiff_t rows,
                                ptrdiff_t n_in, ptrdiff_t n_out, int accumulate, REAL *dweight, STORED *scratch)
{
    const ptrdiff_t depth = round_up(rows, PAIR);
    struct FN(panel) p = {.depth = depth, .a_stride = x_stride, .b_stride = dz_stride, .c_stride = n_out,
                          .epilogue = STORE, .start = FN(zeros), .accumulate = accumulate};
    const int pack = PAIR > 1 || rows * (n_in + n_out) * (ptrdiff_t)sizeof(STORED) > PACK_BYTES;
    if (!pack && rows >= ROWS_TO_HALVE && rows * (x_stride + PANEL) * (ptrdiff_t)sizeof(STORED) > L1_BYTES) {
        const ptrdiff_t half = rows / 2;
        FN(weight_gradient)(x, x_stride, dz, dz_stride, half, n_in, n_out, accumulate, dweight, scratch);
        FN(weight_gradient)(x + half * x_stride, x_stride, dz + half * dz_stride, dz_stride, rows - half, n_in, n_out, 1, dweight,
                            scratch);
        return;
    }
    const ptrdiff_t n_tiles = (n_in + TILE_ROWS - 1) / TILE_ROWS, together = pack ? TILES_TOGETHER : 1;
    const ptrdiff_t strip = STRIP_BYTES / (ptrdiff_t)sizeof(STORED) / max_size(1, depth) / PANEL * PANEL; /* at least 20 panels */
    STORED *packed_dz = scratch + TILES_TOGETHER * CHUNK_ROWS * TILE_COLUMNS;
    for (ptrdiff_t first = 0; first < n_out; first += strip) {
        const ptrdiff_t end = min_size(n_out, first + strip);
        for (ptrdiff_t j = first; pack && j < end; j += PANEL)
            FN(pack_columns)(dz + j, dz_stride, rows, min_size(PANEL, end - j), PANEL, packed_dz + (j - first) * depth);
        for (ptrdiff_t t = 0; t < n_tiles; t += together) {
            const ptrdiff_t n = min_size(together, n_tiles - t);
            ptrdiff_t begin[TILES_TOGETHER + 1];
            const STORED *a[TILES_TOGETHER];
            for (ptrdiff_t i = 0; i <= n; i++)
                begin[i] = n_in * (t + i) / n_tiles;
            for (ptrdiff_t i = 0; i < n; i++)
                a[i] = pack ? scratch + i * depth * TILE_COLUMNS : x + begin[i];
            for (ptrdiff_t k = 0; pack && k < rows; k += PAIR) /* row by row: neighbouring tiles share cache lines */
                for (ptrdiff_t i = 0; i < n; i++)
                    FN(pack_columns)(x + k * x_stride + begin[i], x_stride, min_size(PAIR, rows - k),
                                     min_size(TILE_COLUMNS, n_in - begin[i]), 0, scratch + (i * depth + k) * TILE_COLUMNS);
            for (ptrdiff_t j = first; j < end; j += PANEL) {
                const ptrdiff_t width = min_size(PANEL, end - j), vectors = (width + LANES - 1) / LANES;
                p.last = width - (vectors - 1) * LANES;
                p.b = pack ? packed_dz + (j - first) * depth : dz + j;
                if (pack)
                    p.a_stride = TILE_COLUMNS * PAIR, p.b_stride = PANEL * PAIR;
                for (ptrdiff_t i = 0; i < n; i++)
                    FN(transposed_tiles)[vectors - 1][begin[i + 1] - begin[i] - 1](&p, a[i], NULL, dweight + begin[i] * n_out + j);
            }
        }
    }
}

/* weight_gradient() for an x whose rows may be read in whole registers, so that dweight^T may be made, in `scratch`. */
static void FN(padded_weight_gradient)(const STORED *x, ptrdiff_t x_stride, const STORED *dz, ptrdiff_t dz_stride, ptrdiff_t rows,
                                       ptrdiff_t n_in, ptrdiff_t n_out, int accumulate, REAL *dweight, REAL *scratch)
{
    if (!FN(gradient_transposed)(n_in, n_out)) {
        FN(weight_gradient)(x, x_stride, dz, dz_stride, rows, n_in, n_out, accumulate, dweight, (STORED *)scratch);
        return;
    }
    const ptrdiff_t padded = round_up(n_in, LANES), depth = round_up(rows, PAIR);
    struct FN(panel) p = {.depth = depth, .a_stride = dz_stride, .b_stride = x_stride, .c_stride = padded, .last = LANES,
                          .epilogue = STORE, .start = FN(zeros)};
    const ptrdiff_t n_tiles = (n_out + TILE_ROWS - 1) / TILE_ROWS;
    ptrdiff_t done = 0;
    STORED *packed_x = (STORED *)(scratch + n_out * padded), *packed_dz = packed_x + CHUNK_ROWS * PANEL;
    if (PAIR > 1) {
        FN(pack_columns)(dz, dz_stride, rows, n_out, round_up(n_out, LANES), packed_dz);
        dz = packed_dz, p.a_stride = round_up(n_out, LANES) * PAIR, p.b_stride = PANEL * PAIR;
    }
    if (STORED_IS_REAL && n_out == 1 && dz_stride == 1) /* dz^T is a row */
        for (const ptrdiff_t wide = THIN_REGISTERS * LANES; done + wide <= padded; done += wide) {
            p.b = x + done;
            FN(thin_tiles)[0](&p, dz, NULL, scratch + done);
        }
    for (ptrdiff_t j = done; j < padded; j += PANEL) {
        const ptrdiff_t vectors = min_size(TILE_VECTORS, (padded - j) / LANES);
        p.b = PAIR > 1 ? packed_x : x + j;
        if (PAIR > 1)
            FN(pack_columns)(x + j, x_stride, rows, vectors * LANES, PANEL, packed_x);
        for (ptrdiff_t t = 0; t < n_tiles; t++) {
            const ptrdiff_t begin = n_out * t / n_tiles, height = n_out * (t + 1) / n_tiles - begin;
            FN(transposed_tiles)[vectors - 1][height - 1](&p, dz + begin * PAIR, NULL, scratch + begin * padded + j);
        }
    }
    for (ptrdiff_t k = 0; k < n_in; k++)
        for (ptrdiff_t j = 0; j < n_out; j++)
            dweight[k * n_out + j] = scratch[j * padded + k] + (accumulate ? dweight[k * n_out + j] : 0);
}
