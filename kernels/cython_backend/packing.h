/* Copies of matrices in the order in which a tile reads them. Included once for each real type. */

/* packed[k][j] = weight[k][j], j < width, in pairs of k; columns from `width` to the next register are zero. */
static void FN(pack_panel)(const REAL *weight, ptrdiff_t stride, ptrdiff_t depth, ptrdiff_t width, STORED *packed)
{
    for (ptrdiff_t k = 0; k < depth; k += PAIR, weight += PAIR * stride)
        for (ptrdiff_t j = 0; j < width; j += LANES, packed += LANES * PAIR)
            FN(put_factors)(packed, FN(pair_up)(weight + j, stride, depth - k, width - j));
}

/* A layer's weights as panels one after the other; only the last may be narrower. The panel of output j begins at j * depth, depth
 * being n_in rounded up to pairs. This packs the panels of the outputs `part`, which begins with a panel. */
static void FN(pack_panels)(const REAL *weight, ptrdiff_t n_in, ptrdiff_t n_out, struct range part, STORED *panels)
{
    for (ptrdiff_t j = part.begin; j < part.end; j += PANEL)
        FN(pack_panel)(weight + j, n_out, n_in, min_size(PANEL, n_out - j), panels + j * round_up(n_in, PAIR));
}

/* How many numbers all panels of a layer take. */
ALWAYS_INLINE ptrdiff_t FN(panels_size)(ptrdiff_t n_in, ptrdiff_t n_out) { return round_up(n_in, PAIR) * round_up(n_out, LANES); }

/* packed[k][j] = weight[j][k] for j < width, in pairs of k, which runs over `depth`. Columns from `width` to the next register are
 * zero. */
static void FN(pack_transposed_panel)(const REAL *weight, ptrdiff_t stride, ptrdiff_t depth, ptrdiff_t width, STORED *packed)
{
    const ptrdiff_t padded = round_up(width, LANES);
    for (ptrdiff_t j = 0; j < padded; j += LANES)
        for (ptrdiff_t k = 0; k < depth; k += LANES * PAIR) {
            const ptrdiff_t columns = min_size(LANES * PAIR, depth - k);
            VEC block[LANES];
            UNROLL for (int i = 0; i < LANES; i++)
                block[i] = j + i < width ? (VEC)FN(row_of_factors)(weight + (j + i) * stride + k, columns) : (VEC){};
            FN(transpose)(block);
            UNROLL for (int i = 0; i < LANES; i++)
                if (i * PAIR < columns)
                    FN(put_factors)(packed + (k + i * PAIR) * padded + j * PAIR, (FACTORS)block[i]);
        }
}

/* packed[k][j] = from[k * stride + j], j < width, in pairs of k and padded to whole registers; nothing beyond `width` is read. */
ALWAYS_INLINE void FN(pack_columns)(const STORED *from, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t width, ptrdiff_t padded,
                                    STORED *packed)
{
    for (ptrdiff_t k = 0; k < rows; k += PAIR, from += PAIR * stride, packed += PAIR * padded)
        for (ptrdiff_t j = 0; j < width; j += LANES)
            FN(put_factors)(packed + j * PAIR, FN(pair_up_stored)(from + j, stride, rows - k, width - j));
}
