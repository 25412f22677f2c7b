/* A linear row of a prediction by products of 8-bit integers: ../int8.py has the formulas. For the real type float alone.
 *
 * The codes of a row of values and those of the weights are multiplied in groups along the inner dimension, each in the place of one
 * REAL: four bytes where the processor adds up the products of four (VNNI), else two numbers of 16 bits, whose products are exact,
 * too. A row's block among the panels of a network (network.h) has multiplier and shift, (n_in,) in whole registers, then scale, sums
 * and bias, (n_out,) likewise, then the panels of codes.
 */

/* A tile's rows, as many as its registers hold, and the heights of what is left over. */
#if VECTOR_BYTES == 64
#define INT8_HEIGHTS(X) X(9) X(3) X(1)
#else
#define INT8_HEIGHTS(X) X(6) X(3) X(1)
#endif

/* What the tiles of a panel read and write. */
struct FN(int8_panel) {
    const unsigned char *a; /* the codes of the rows */
    ptrdiff_t a_bytes;      /* from a row to the next */
    const REAL *step, *low; /* of the rows */
    const REAL *weights;    /* the codes of the panel's columns, a register for each group and LANES columns */
    ptrdiff_t groups;
    const REAL *scale, *sums, *bias;
    int relu;
    REAL *c;
    ptrdiff_t c_stride;
    ptrdiff_t last;         /* columns in the last register */
};

/* One way to multiply: numbers in a group, and the product of all rows with a panel of some registers' width. */
struct FN(int8_way) {
    const char *name; /* of the instructions, NULL where there are none of their own */
    int group;
    void (*run)(const struct FN(int8_panel) *p, ptrdiff_t vectors, ptrdiff_t rows);
};

/* A tile of c from its sums of products. */
static __attribute__((noinline)) void FN(int8_finish)(int rows, int vectors, const struct FN(int8_panel) *p, ptrdiff_t first,
                                                      const UNSIGNED_VEC *sums)
{
    for (int j = 0; j < vectors; j++) {
        const VEC scale = FN(load)(p->scale + j * LANES), sum = FN(load)(p->sums + j * LANES), bias = FN(load)(p->bias + j * LANES);
        const ptrdiff_t lanes = j == vectors - 1 ? p->last : LANES;
        REAL *c = p->c + first * p->c_stride + j * LANES;
        for (int i = 0; i < rows; i++, c += p->c_stride) {
            const VEC products = __builtin_convertvector((INT_VEC)sums[i * vectors + j], VEC);
            const VEC v = bias + p->low[first + i] * sum + p->step[first + i] * scale * products;
            FN(store_upto)(c, p->relu ? FN(relu)(v) : v, lanes);
        }
    }
}

#define INT8_WAY pairs
#define INT8_TARGET
#if defined(__AVX512BW__) && VECTOR_BYTES == 64
#define INT8_DOT(sum, a, w) ((sum) + (UNSIGNED_VEC)_mm512_madd_epi16((__m512i)(a), (__m512i)(w)))
#elif defined(__AVX2__) && VECTOR_BYTES == 32
#define INT8_DOT(sum, a, w) ((sum) + (UNSIGNED_VEC)_mm256_madd_epi16((__m256i)(a), (__m256i)(w)))
#elif defined(__SSE2__) && VECTOR_BYTES == 16
#define INT8_DOT(sum, a, w) ((sum) + (UNSIGNED_VEC)_mm_madd_epi16((__m128i)(a), (__m128i)(w)))
#else
#define INT8_DOT(sum, a, w) \
    ((sum) + (UNSIGNED_VEC)((INT_VEC)((w) << 16) >> 16) * ((a) & 0xffff) + (UNSIGNED_VEC)((INT_VEC)(w) >> 16) * ((a) >> 16))
#endif
#include "int8_tile.h"

/* Four bytes: with AVX-512, or on processors without it that have AVX-VNNI. Elsewhere only tools build it, without instructions. */
#define INT8_WAY fours
#if defined(__AVX512BW__) && VECTOR_BYTES == 64
#define INT8_NAME "avx512vnni"
#define INT8_TARGET __attribute__((target(INT8_NAME)))
#define INT8_DOT(sum, a, w) ((UNSIGNED_VEC)_mm512_dpbusd_epi32((__m512i)(sum), (__m512i)(a), (__m512i)(w)))
#define INT8_HAS_FOURS supports_vnni(1)
#elif defined(__AVX2__) && VECTOR_BYTES == 32
#define INT8_NAME "avxvnni"
#define INT8_TARGET __attribute__((target(INT8_NAME)))
#define INT8_DOT(sum, a, w) ((UNSIGNED_VEC)_mm256_dpbusd_avx_epi32((__m256i)(sum), (__m256i)(a), (__m256i)(w)))
#define INT8_HAS_FOURS supports_vnni(0)
#elif defined(EMULATE_INT8_FOURS)
#define INT8_NAME "emulated"
#define INT8_TARGET
#define INT8_BYTE(sum, a, w, bits) ((sum) + (UNSIGNED_VEC)((INT_VEC)((w) << (24 - (bits))) >> 24) * ((a) >> (bits) & 0xff))
#define INT8_DOT(sum, a, w) INT8_BYTE(INT8_BYTE(INT8_BYTE(INT8_BYTE(sum, a, w, 0), a, w, 8), a, w, 16), a, w, 24)
#define INT8_HAS_FOURS 1
#endif
#if defined(INT8_DOT)
#include "int8_tile.h"
#else
#undef INT8_WAY
#endif

static const struct FN(int8_way) *FN(int8_way)(void)
{
#if defined(INT8_HAS_FOURS)
    static const struct FN(int8_way) fours = {INT8_NAME, 4, FN(int8_run_fours)};
    if (INT8_HAS_FOURS)
        return &fours;
#endif
    static const struct FN(int8_way) pairs = {NULL, 2, FN(int8_run_pairs)};
    return &pairs;
}

/* A row's block: numbers for inputs, for outputs, and groups of codes. */
ALWAYS_INLINE ptrdiff_t FN(int8_groups)(ptrdiff_t n_in) { return (n_in + FN(int8_way)()->group - 1) / FN(int8_way)()->group; }
ALWAYS_INLINE ptrdiff_t FN(int8_size)(ptrdiff_t n_in, ptrdiff_t n_out)
{
    return 2 * round_up(n_in, LANES) + (3 + FN(int8_groups)(n_in)) * round_up(n_out, LANES);
}

/* The codes of a row of values, in whole registers: numbers of the size of a factor. */
ALWAYS_INLINE ptrdiff_t FN(int8_row_bytes)(ptrdiff_t n_in)
{
    return round_up(n_in, LANES) * (ptrdiff_t)sizeof(REAL) / FN(int8_way)()->group;
}

/* to[0..padded) = from[0..n), then zeros. */
static REAL *FN(copy_padded)(const REAL *from, ptrdiff_t n, REAL *to)
{
    memcpy(to, from, (size_t)n * sizeof(REAL));
    memset(to + n, 0, (size_t)(round_up(n, LANES) - n) * sizeof(REAL));
    return to + round_up(n, LANES);
}

/* The block of a row with weights `codes`, (n_in, n_out), and `numbers`: multiplier, shift, scale, bias. */
static void FN(pack_int8)(const int8_t *codes, const REAL *numbers, ptrdiff_t n_in, ptrdiff_t n_out, REAL *block)
{
    const int group = FN(int8_way)()->group;
    REAL *at = FN(copy_padded)(numbers + n_in, n_in, FN(copy_padded)(numbers, n_in, block));
    const REAL *scale = numbers + 2 * n_in;
    REAL *sums = FN(copy_padded)(scale, n_out, at);
    at = FN(copy_padded)(scale + n_out, n_out, FN(copy_padded)(scale, n_out, sums));
    memset(at, 0, (size_t)(FN(int8_groups)(n_in) * round_up(n_out, LANES)) * sizeof(REAL));
    for (ptrdiff_t j = 0; j < n_out; j++) {
        const ptrdiff_t panel = j / PANEL * PANEL, width = round_up(min_size(PANEL, n_out - panel), LANES);
        REAL *column = at + panel * FN(int8_groups)(n_in) + (j - panel);
        int32_t sum = 0;
        for (ptrdiff_t k = 0; k < n_in; k++) {
            const int8_t code = codes[k * n_out + j];
            const int16_t wide = code;
            const size_t bytes = sizeof(REAL) / (size_t)group;
            memcpy((char *)(column + k / group * width) + (size_t)(k % group) * bytes, group == 4 ? (const void *)&code : &wide, bytes);
            sum += code;
        }
        sums[j] = scale[j] * (REAL)sum;
    }
}

/* The range of v = x * multiplier - shift in a row, as step and low, and the codes of v. NaN where x has NaN or infinity. */
static void FN(quantize_row)(const REAL *x, ptrdiff_t n, const REAL *multiplier, const REAL *shift, int group, void *codes,
                             REAL *step, REAL *low)
{
    typedef uint8_t bytes __attribute__((vector_size(VECTOR_BYTES / 4), aligned(1), may_alias));
    typedef uint16_t halves __attribute__((vector_size(VECTOR_BYTES / 2), aligned(2), may_alias));
    VEC least = FN(broadcast)(INFINITY), most = -least;
    VEC wrong = {}; /* NaN where there is NaN or infinity, else 0 */
    ptrdiff_t k = 0;
    for (; k + LANES <= n; k += LANES) {
        __builtin_prefetch((const char *)(x + k) + FETCH_AHEAD, 0, L2_CACHE);
        const VEC v = FN(load)(x + k) * FN(load)(multiplier + k) - FN(load)(shift + k);
        wrong += v - v;
        least = FN(smaller)(v, least);
        most = FN(larger)(v, most);
    }
    if (k < n) {
        const INT_VEC there = FN(first_lanes)(n - k);
        const VEC v = FN(load_upto)(x + k, n - k) * FN(load)(multiplier + k) - FN(load)(shift + k);
        wrong += FN(keep)(there, v - v);
        least = FN(smaller)(FN(select)(there, v, least), least);
        most = FN(larger)(FN(select)(there, v, most), most);
    }
    REAL lowest = -FN(horizontal_max)(-least);
    *step = (FN(horizontal_max)(most) - lowest) / 255, *low = lowest;
    REAL inverse = 1 / *step;
    if (isnan(FN(horizontal_sum)(wrong)) || !isfinite(*step))
        *step = *low = NAN, inverse = lowest = 0;
    else if (!isfinite(inverse)) /* one value, or nearly */
        *step = inverse = 0;
    for (k = 0; k < n; k += LANES) {
        const VEC v = FN(load_upto)(x + k, n - k) * FN(load)(multiplier + k) - FN(load)(shift + k);
        /* The last bits of a number with this added are the nearest integer. */
        const INT_VEC code = (INT_VEC)((v - lowest) * inverse + ROUND_MAGIC) & 0xff;
        if (group == 4)
            *(bytes *)((uint8_t *)codes + k) = __builtin_convertvector(code, bytes);
        else
            *(halves *)((uint16_t *)codes + k) = __builtin_convertvector(code, halves);
    }
}

/* Rows whose codes are made together, whole tiles of them: those codes stay in L2 while all weights pass. */
ALWAYS_INLINE ptrdiff_t FN(int8_rows_together)(ptrdiff_t n_in)
{
    return max_size(1, INT8_BYTES_TOGETHER / FN(int8_row_bytes)(n_in) / TILE_ROWS) * TILE_ROWS;
}

/* Numbers of REAL that int8_product() needs. */
ALWAYS_INLINE ptrdiff_t FN(int8_scratch)(ptrdiff_t n_in)
{
    return FN(int8_rows_together)(n_in) * (2 + FN(int8_row_bytes)(n_in) / (ptrdiff_t)sizeof(REAL));
}

/* c (rows, n_out) = x (rows, n_in) @ weight + bias, or its ReLU, for the row with this block, in some columns, which begin with a
 * panel. */
static void FN(int8_product)(const REAL *x, ptrdiff_t x_stride, ptrdiff_t rows, const REAL *block, ptrdiff_t n_in, ptrdiff_t n_out,
                             struct range columns, int relu, REAL *c, ptrdiff_t c_stride, REAL *scratch)
{
    const struct FN(int8_way) *way = FN(int8_way)();
    const ptrdiff_t groups = FN(int8_groups)(n_in), padded = round_up(n_out, LANES), row_bytes = FN(int8_row_bytes)(n_in);
    const REAL *multiplier = block, *shift = block + round_up(n_in, LANES), *scale = shift + round_up(n_in, LANES);
    const REAL *sums = scale + padded, *bias = sums + padded, *weights = bias + padded;
    const ptrdiff_t together = FN(int8_rows_together)(n_in);
    REAL *step = scratch, *low = step + together;
    unsigned char *codes = (unsigned char *)(low + together);
    for (ptrdiff_t first = 0; first < rows; first += together) {
        const ptrdiff_t n = min_size(together, rows - first);
        for (ptrdiff_t i = 0; i < n; i++)
            FN(quantize_row)(x + (first + i) * x_stride, n_in, multiplier, shift, way->group, codes + i * row_bytes, step + i,
                             low + i);
        for (ptrdiff_t j = columns.begin; j < columns.end; j += PANEL) {
            const ptrdiff_t width = min_size(PANEL, columns.end - j), vectors = (width + LANES - 1) / LANES;
            const struct FN(int8_panel) p = {.a = codes, .a_bytes = row_bytes, .step = step, .low = low, .weights = weights + j * groups,
                                             .groups = groups, .scale = scale + j, .sums = sums + j, .bias = bias + j, .relu = relu,
                                             .c = c + first * c_stride + j, .c_stride = c_stride,
                                             .last = width - (vectors - 1) * LANES};
            way->run(&p, vectors, n);
        }
    }
}
