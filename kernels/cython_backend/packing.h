/* Copies of matrices in the order in which a tile reads them. Included once for each real type. */

/* packed[k][j] = weight[k][j], j < width; columns from `width` to the next register are zero. */
static void FN(pack_panel)(const REAL *weight, ptrdiff_t stride, ptrdiff_t depth, ptrdiff_t width, STORED *packed)
{
    for (ptrdiff_t k = 0; k < depth; k++, weight += stride)
        for (ptrdiff_t j = 0; j < width; j += LANES, packed += LANES)
            FN(put)(packed, FN(load_upto)(weight + j, width - j));
}

/* A layer's weights as panels one after the other; only the last may be narrower. The panel of output j begins at j * n_in. This
 * packs the panels of the outputs `part`, which begins with a panel. */
static void FN(pack_panels)(const REAL *weight, ptrdiff_t n_in, ptrdiff_t n_out, struct range part, STORED *panels)
{
    for (ptrdiff_t j = part.begin; j < part.end; j += PANEL)
        FN(pack_panel)(weight + j, n_out, n_in, min_size(PANEL, n_out - j), panels + j * n_in);
}

/* How many numbers all panels of a layer take. */
ALWAYS_INLINE ptrdiff_t FN(panels_size)(ptrdiff_t n_in, ptrdiff_t n_out) { return n_in * round_up(n_out, LANES); }

/* packed[k][j] = weight[j][k] for j < width; k runs over `depth`. Columns from `width` to the next register are zero. */
static void FN(pack_transposed_panel)(const REAL *weight, ptrdiff_t stride, ptrdiff_t depth, ptrdiff_t width, STORED *packed)
{
    const ptrdiff_t padded = round_up(width, LANES);
    for (ptrdiff_t j = 0; j < padded; j += LANES)
        for (ptrdiff_t k = 0; k < depth; k += LANES) {
            const ptrdiff_t columns = min_size(LANES, depth - k);
            VEC block[LANES];
            UNROLL for (int i = 0; i < LANES; i++)
                block[i] = j + i < width ? FN(load_upto)(weight + (j + i) * stride + k, columns) : (VEC){};
            FN(transpose)(block);
            UNROLL for (int i = 0; i < LANES; i++)
                if (i < columns)
                    FN(put)(packed + (k + i) * padded + j, block[i]);
        }
}

/* packed[k][j] = from[k * stride + j], j < width, padded to whole registers; nothing beyond `width` is read. */
ALWAYS_INLINE void FN(pack_columns)(const STORED *from, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t width, ptrdiff_t padded,
                                    STORED *packed)
{
    for (ptrdiff_t k = 0; k < rows; k++, from += stride, packed += padded)
        for (ptrdiff_t j = 0; j < width; j += LANES)
            FN(put)(packed + j, FN(get_upto)(from + j, width - j));
}
