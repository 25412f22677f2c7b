/* Everything that depends on the real type: included once for float and once for double, each time after the header that
 * describes the type. At the end the definitions of that header are removed.
 *
 * That header has, beside the type, its integers and the instructions that vector extensions cannot express:
 * INTERLEAVE_LOW and _HIGH, the indices that interleave the lower, or the upper, halves of two registers. AVX2 has instructions for
 * that within halves only, and for halves as a whole (LOWER_HALVES, UPPER_HALVES): see transpose() in simd.h.
 * ln 2 = LN2_HI + LN2_LO, LN2_HI with enough trailing zeros that its product with an exponent is exact.
 * EXP_LOWEST and EXP_HIGHEST, just beyond where exp is 0 and infinity, and EXP_NORMAL, just above where it becomes subnormal; from
 * 2 |z| = TANH_SATURATED on, tanh rounds to 1.
 * NORMAL_TAIL, the coefficients that normal_tail() needs, and NORMAL_HIGHEST, from where the normal density becomes subnormal.
 * EXP_DEGREE, an odd number, and ARTANH_TERMS, the smallest whose first dropped term is below a quarter of the last place.
 */

#define VEC FN(vec)
#define INT_VEC FN(int_vec)
#define UNSIGNED_VEC FN(unsigned_vec)
#define LANES ((ptrdiff_t)(VECTOR_BYTES / sizeof(REAL)))
#define PANEL (TILE_VECTORS * LANES)

#include "simd.h"
#include "storage.h"
#include "factors.h"
#include "vmath.h"
#include "tile.h"
#include "packing.h"
#if defined(HAS_INT8)
#include "int8.h"
#endif
#include "shallow.h"
#include "gemm.h"
#include "activations.h"
#include "losses.h"
#include "dropout.h"
#include "normalization.h"
#include "optimizer.h"
#include "sparse.h"
#include "encoded.h"
#include "network.h"
#include "kind_dropout.h"
#include "kind_activation.h"
#include "kind_add.h"
#include "kind_linear.h"
#include "kind_layer_norm.h"
#include "kind_batch_norm.h"
#include "passes.h"
#include "prediction.h"
#include "batch.h"
#include "validation.h"
#include "updates.h"
#include "training.h"
#include "exports.h"
#include "hardware.h"

#undef REAL
#undef HAS_INT8
#undef STORED
#undef STORED_IS_REAL
#undef STORED_MASK
#undef STORED_MASK_LOAD
#undef STORED_MASK_STORE
#undef ADD_PAIRS
#undef PAIR
#undef FACTOR
#undef FACTORS
#undef STORED_BITS
#undef WIDEN
#undef NARROW
#undef INTEGER
#undef UNSIGNED
#undef INTEGER_MIN
#undef INTEGER_MAX
#undef SUFFIX
#undef REAL_SQRT
#undef MANTISSA_BITS
#undef EXPONENT_BIAS
#undef ROUND_MAGIC
#undef LN2_HI
#undef LN2_LO
#undef EXP_LOWEST
#undef EXP_NORMAL
#undef EXP_HIGHEST
#undef EXP_DEGREE
#undef TANH_SATURATED
#undef ARTANH_TERMS
#undef NORMAL_HIGHEST
#undef NORMAL_TAIL
#undef INTERLEAVE_LOW
#undef INTERLEAVE_HIGH
#undef LOWER_HALVES
#undef UPPER_HALVES
#undef VECTOR_SQRT
#undef VECTOR_MIN
#undef VECTOR_MAX
#undef VECTOR_STREAM
#undef MASK_LOAD
#undef MASK_STORE
#undef VEC
#undef INT_VEC
#undef UNSIGNED_VEC
#undef LANES
#undef PANEL
