/* The tiles of one way to multiply codes of 8 bits: included by int8.h once for each. INT8_DOT(sum, a, w) adds to 32-bit sums the
 * products of a register of groups of values and one of weights. */

ALWAYS_INLINE INT8_TARGET void FN(CONCATENATE(int8_tile, INT8_WAY))(const int rows, const int vectors,
                                                                    const struct FN(int8_panel) *p, ptrdiff_t first)
{
    UNSIGNED_VEC acc[TILE_ROWS * TILE_VECTORS] = {};
    const unsigned char *restrict a = p->a + first * p->a_bytes;
    const REAL *restrict weights = p->weights;
    const ptrdiff_t a_bytes = p->a_bytes, groups = p->groups;
    UNROLL_STEPS for (ptrdiff_t k = 0; k < groups; k++, a += sizeof(REAL), weights += vectors * LANES) {
        UNSIGNED_VEC w[TILE_VECTORS];
        UNROLL for (int j = 0; j < vectors; j++)
            w[j] = (UNSIGNED_VEC)FN(load)(weights + j * LANES);
        UNROLL for (int i = 0; i < rows; i++) {
            UNSIGNED one;
            memcpy(&one, a + i * a_bytes, sizeof one);
            const UNSIGNED_VEC all = one - (UNSIGNED_VEC){};
            UNROLL for (int j = 0; j < vectors; j++)
                acc[i * vectors + j] = INT8_DOT(acc[i * vectors + j], all, w[j]);
        }
    }
    UNSIGNED_VEC sums[TILE_ROWS * TILE_VECTORS]; /* in memory, so that acc is in registers */
    UNROLL for (int i = 0; i < rows * vectors; i++)
        sums[i] = acc[i];
    FN(int8_finish)(rows, vectors, p, first, sums);
}

ALWAYS_INLINE INT8_TARGET void FN(CONCATENATE(int8_rows, INT8_WAY))(const int vectors, const struct FN(int8_panel) *p,
                                                                    ptrdiff_t rows)
{
    ptrdiff_t i = 0;
#define INT8_RUN(height) \
    for (; i + height <= rows; i += height) \
        FN(CONCATENATE(int8_tile, INT8_WAY))(height, vectors, p, i);
    INT8_HEIGHTS(INT8_RUN)
#undef INT8_RUN
}

static INT8_TARGET void FN(CONCATENATE(int8_run, INT8_WAY))(const struct FN(int8_panel) *p, ptrdiff_t vectors, ptrdiff_t rows)
{
    switch (vectors) {
    case 1: FN(CONCATENATE(int8_rows, INT8_WAY))(1, p, rows); break;
    case 2: FN(CONCATENATE(int8_rows, INT8_WAY))(2, p, rows); break;
#if TILE_VECTORS > 2
    default: FN(CONCATENATE(int8_rows, INT8_WAY))(3, p, rows);
#endif
    }
}

#undef INT8_WAY
#undef INT8_TARGET
#undef INT8_DOT
