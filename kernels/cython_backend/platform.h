/* What differs between instruction sets, compilers and operating systems, and nothing else.
 *
 * VECTOR_BYTES is the width of a register; TILE_ROWS x TILE_VECTORS is the block of C that the GEMM micro-kernel keeps in
 * registers: as many accumulators as fit beside one row of B and one broadcast of A. 32 registers (AVX-512): 9 x 3 + 3 + 1;
 * 16 registers (AVX2, SSE2) and NEON's 32 narrow ones: 6 x 2 + 2 + 1. Two to THIN_ROWS rows are made in wider blocks of
 * THIN_REGISTERS (9 x 3 has one for four rows already). So is the weight gradient of one output.
 */
#pragma once

#include <fenv.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

#if !defined(__GNUC__) && !defined(__clang__) /* clang-cl is the latter only */
#error "this back end needs GCC's or Clang's vector extensions"
#endif

#ifndef VECTOR_BYTES /* a given width is emulated by narrower registers, to test the wide tile without AVX-512 */
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#endif

#if VECTOR_BYTES == 64
#define TILE_ROWS 9
#define TILE_VECTORS 3
#define THIN_ROWS 3
#else
#define TILE_ROWS 6
#define TILE_VECTORS 2
#define THIN_ROWS 4
#endif
#define THIN_REGISTERS 12 /* whole panels */

/* With AVX2 a turn of a tile's loop makes two steps along the inner dimension, which saves instructions. Thin tiles make one:
 * their sums would go to the stack, as all tiles' would with SSE2, and addresses with AVX-512. See docs/tuning.md, two steps in a
 * turn of a tile's loop. */
#if defined(__AVX2__) && VECTOR_BYTES == 32
#define UNROLL_STEPS _Pragma("GCC unroll 2")
#else
#define UNROLL_STEPS
#endif

/* How a tile reads A and B. PLAIN: row by row. TRANSPOSED: A by columns. PACKING: it copies B and fetches the next panel.
 * FETCHING: it fetches the next panel. */
enum { PLAIN, TRANSPOSED, PACKING, FETCHING };

/* What a product does with its result: store it, store its ReLU, or store it times an activation's derivative. */
enum epilogue { STORE, STORE_RELU, GATE_RELU, GATE_SIGMOID, GATE_TANH };

/* Where __builtin_prefetch puts a line. The first tile of a panel of weights fetches the next panel to L2, and so are fetched the
 * rows that will be gathered. Both are faster than fetching to L1: docs/tuning.md, fetching to L2. */
enum { L2_CACHE = 2 };

/* A product with at most this many steps along the inner dimension is made without tiles: what 16 registers hold of two rows of
 * A. */
enum { SHALLOW_DEPTH = 6 };

/* The registers of a row that one pass over sparse entries sums up: what 16 registers hold beside the factor. */
enum { SPARSE_VECTORS = 13 };

/* The registers of a row that one pass over the columns of an encoded row works on. */
enum { ENCODED_VECTORS = 8 };

/* How many entries ahead of its use a row of weights is fetched: the rows lie anywhere in memory. */
enum { ROWS_AHEAD = 8 };

/* Rows that pass through all layers together: enough to amortise packing the weights, few enough to stay in L2. */
enum { CHUNK_ROWS = 256 };

/* Codes of 8 bits that are made at a time: docs/tuning.md, predictions from 8-bit integers. */
enum { INT8_BYTES_TOGETHER = 128 * 1024 };

/* In training a chunk has fewer rows than CHUNK_ROWS, down to half of them, where the inputs of its layers would be larger than
 * this and the parameters are not: small parameters are packed again at little cost. See docs/tuning.md, rows that pass
 * together. */
enum { CHUNK_BYTES = 256 * 1024 };

/* With at most this many rows the threads of a prediction share each layer's columns instead of the rows. Each thread then reads
 * only its part of the weights. See docs/tuning.md, predictions of few rows. */
enum { ROWS_TO_SHARE_COLUMNS = 7 };

/* A prediction of at least this many chunks packs all weights before it begins: docs/tuning.md, predictions from packed weights. */
enum { CHUNKS_TO_PACK_FOR = 4 };

/* What a weight gradient reads is packed where it is larger than PACK_BYTES: the deltas in strips of STRIP_BYTES, the inputs
 * TILES_TOGETHER tiles at a time. See docs/tuning.md, packing for weight gradients. */
enum { PACK_BYTES = 192 * 1024, STRIP_BYTES = 1024 * 1024, TILES_TOGETHER = 4 };

/* What is not packed should stay in L1 from one tile to the next, so the rows are taken in two halves where that helps. With fewer
 * rows than ROWS_TO_HALVE the halves would cost more than they save. */
enum { L1_BYTES = 30 * 1024, ROWS_TO_HALVE = 192 };

/* A weight gradient of few outputs is made transposed up to this size. */
enum { TRANSPOSED_BYTES = 256 * 1024 };

/* With at most this many classes softmax keeps one row in each lane; with more, one row is spread over the lanes. */
enum { FEW_CLASSES = 32 };

/* How many bytes ahead of their use rows are fetched: those that will be gathered lie anywhere in memory, and those whose codes are
 * made are read faster than the processor fetches them by itself. */
enum { FETCH_AHEAD = 8192 };

/* SPARSE_VECTORS where the pass ends in an update of what it summed up. */
enum { UPDATE_VECTORS = 7 };

/* Squares of parameters that are summed up in their own type before they go to a double. */
enum { SQUARES_BLOCK = 512 };

/* Sums down columns: what is summed up, over how many rows before it goes to the total, over how many registers of columns. */
enum column_sum { SUM_VALUES, SUM_SQUARES, SUM_ROW_NORM_GRADIENTS, SUM_COLUMN_NORM_GRADIENTS };
enum { SUM_ROWS = 128, SUM_VECTORS = 4 };

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")
#define CACHE_LINE 64
enum { DOUBLES_A_LINE = CACHE_LINE / sizeof(double) };
#define HUGE_PAGE (2 * 1024 * 1024)

/* Sanitizers see what the compiler reads and writes, and not what intrinsics do: simd.h then does without the latter. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#define CONCATENATE_(a, b) a##_##b
#define CONCATENATE(a, b) CONCATENATE_(a, b)
/* FN(name) is name_f32 or name_f64: every header below is included once for each real type. */
#define FN(name) CONCATENATE(name, SUFFIX)

ALWAYS_INLINE ptrdiff_t min_size(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
ALWAYS_INLINE ptrdiff_t max_size(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }
ALWAYS_INLINE ptrdiff_t round_up(ptrdiff_t n, ptrdiff_t unit) { return (n + unit - 1) / unit * unit; }

/* A number that ../spec.py does not have. Callers check it; a caller that does not must not get a wrong result. */
static _Noreturn void unknown_code(const char *what, int code)
{
    fprintf(stderr, "fastprop: there is no %s number %d\n", what, code);
    abort();
}

/* The share [begin, end) of n items, in whole units, that worker i of n_workers gets: equal to within one unit. */
struct range { ptrdiff_t begin, end; };
static struct range share(ptrdiff_t n, ptrdiff_t unit, int i, int n_workers)
{
    ptrdiff_t units = (n + unit - 1) / unit;
    return (struct range){min_size(units * i / n_workers * unit, n), min_size(units * (i + 1) / n_workers * unit, n)};
}

/* Make what this thread stored past the caches visible to all threads. */
ALWAYS_INLINE void streams_done(void)
{
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

/* How a thread rounds, and whether it takes subnormal numbers for zero. Arithmetic with them is slow on many processors, and Adam's
 * moments of a dead unit decay into them. So the training loop takes them for zero, and restores the mode at its end. */
#if defined(__SSE2__)
typedef unsigned float_mode;
ALWAYS_INLINE float_mode get_float_mode(void) { return _mm_getcsr(); }
ALWAYS_INLINE void set_float_mode(float_mode mode) { _mm_setcsr(mode); }
ALWAYS_INLINE float_mode without_subnormals(float_mode mode) { return mode | 0x8040; } /* FTZ | DAZ */
ALWAYS_INLINE void relax(void) { _mm_pause(); }
#else
typedef fenv_t float_mode;
ALWAYS_INLINE float_mode get_float_mode(void)
{
    float_mode mode;
    fegetenv(&mode);
    return mode;
}
ALWAYS_INLINE void set_float_mode(float_mode mode) { fesetenv(&mode); }
ALWAYS_INLINE float_mode without_subnormals(float_mode mode) { return mode; }
ALWAYS_INLINE void relax(void) {}
#endif
