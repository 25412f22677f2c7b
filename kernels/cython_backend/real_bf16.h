/* The real type float with values between layers stored as bfloat16: the upper half of a float, rounded to nearest even. NaN stays
 * NaN. storage.h says what is stored so. */

#include "real_f32.h"
#undef SUFFIX
#define SUFFIX bf16
#define STORED struct bf16
#define STORED_BITS uint16_t
#define WIDEN(half) ((VEC)(__builtin_convertvector(half, UNSIGNED_VEC) << 16))
#define NARROW(v) \
    __extension__({ \
        const UNSIGNED_VEC bits_ = (UNSIGNED_VEC)(v), even_ = bits_ + 0x7fff + (bits_ >> 16 & 1), quiet_ = bits_ | 0x400000; \
        const UNSIGNED_VEC is_number_ = (UNSIGNED_VEC)((v) == (v)); \
        __builtin_convertvector(((is_number_ & even_) | (~is_number_ & quiet_)) >> 16, FN(stored_vec)); \
    })

struct bf16 { uint16_t bits; };
