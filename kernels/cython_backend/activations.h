/* Activations on rows. Included once for each real type.
 *
 * An activation is its formula here, under its name in ../spec.py; the rest is made from the lists in spec.h. There are two forms.
 * If the derivative is computed from a, there is a function of z, and one that multiplies da by f'(z). If it is computed from z,
 * one function makes both a and the slope f'(z), which share their exponential: in training the slope is kept instead of z.
 *
 * A loop over n numbers goes in whole registers; its last, partial one is loaded and stored by mask, so that no array needs
 * padding. Formulas and constants are PyTorch's. NaN stays NaN. (relu is in simd.h.)
 */

ALWAYS_INLINE VEC FN(identity)(VEC z) { return z; }
ALWAYS_INLINE VEC FN(identity_gradient)(VEC da, VEC a) { (void)a; return da; }
ALWAYS_INLINE VEC FN(relu_gradient)(VEC da, VEC a) { return FN(keep)(a > 0, da); }
ALWAYS_INLINE VEC FN(sigmoid)(VEC z) { return FN(vsigmoid)(z); }
ALWAYS_INLINE VEC FN(sigmoid_gradient)(VEC da, VEC a) { return da * a * (1 - a); }
ALWAYS_INLINE VEC FN(tanh)(VEC z) { return FN(vtanh)(z); }
ALWAYS_INLINE VEC FN(tanh_gradient)(VEC da, VEC a) { return da * (1 - a * a); }

ALWAYS_INLINE VEC FN(leaky_relu)(VEC z, VEC *slope)
{
    *slope = FN(select)(z > 0, FN(broadcast)(1), FN(broadcast)((REAL)0.01));
    return z * *slope;
}

ALWAYS_INLINE VEC FN(elu)(VEC z, VEC *slope)
{
    VEC power;
    const VEC below = FN(vexpm1_nonpositive)(z, &power);
    *slope = FN(select)(z > 0, FN(broadcast)(1), power);
    return FN(select)(z > 0, z, below);
}

/* Klambauer et al., Self-normalizing neural networks (2017). */
ALWAYS_INLINE VEC FN(selu)(VEC z, VEC *slope)
{
    const REAL scale = (REAL)1.0507009873554804934193349852946;
    const REAL alpha = (REAL)(1.0507009873554804934193349852946 * 1.6732632423543772848170429916717);
    VEC power;
    const VEC below = FN(vexpm1_nonpositive)(z, &power);
    *slope = FN(select)(z > 0, FN(broadcast)(scale), alpha * power);
    return FN(select)(z > 0, scale * z, alpha * below);
}

/* z Phi(z), with the normal distribution Phi and its density phi; the slope is Phi(z) + z phi(z). */
ALWAYS_INLINE VEC FN(gelu)(VEC z, VEC *slope)
{
    VEC density;
    const VEC tail = FN(normal_tail)(FN(absolute)(z), &density), probability = FN(select)(z > 0, 1 - tail, tail);
    *slope = probability + z * density;
    return z * probability;
}

ALWAYS_INLINE VEC FN(silu)(VEC z, VEC *slope)
{
    const VEC s = FN(vsigmoid)(z);
    *slope = s * (1 + z * (1 - s));
    return z * s;
}

/* z t with t = tanh(log(1 + e)) = n / (n + 2), where e = exp(z) and n = e (e + 2); the slope is t + z dt/dz. */
ALWAYS_INLINE VEC FN(mish)(VEC z, VEC *slope)
{
    const VEC e = FN(vexp)(FN(at_most)(z, TANH_SATURATED)), n = e * (e + 2), inverse = 1 / (n + 2), t = n * inverse;
    *slope = FN(select)(z > TANH_SATURATED, FN(broadcast)(1), t + z * (4 * (e * (e + 1) * inverse) * inverse));
    return z * t;
}

/* log(1 + exp(z)) = max(z, 0) + log(1 + exp(-|z|)), and beyond PyTorch's threshold of 20 just z. */
ALWAYS_INLINE VEC FN(softplus)(VEC z, VEC *slope)
{
    const VEC e = FN(vexp_nonpositive)(-FN(absolute)(z)), beyond = FN(broadcast)(20);
    *slope = FN(select)(z > beyond, FN(broadcast)(1), FN(select)(z < 0, e, FN(broadcast)(1)) / (e + 1));
    return FN(select)(z > beyond, z, FN(relu)(z) + FN(vlog1p_unit)(e));
}

/* For both forms, name_and_slope makes a and f'(z), and name_chain multiplies da by f'(z), from a or from z. */
#define FROM_A(CODE, name) \
    ALWAYS_INLINE VEC FN(name##_and_slope)(VEC z, VEC *slope) \
    { \
        const VEC a = FN(name)(z); \
        *slope = FN(name##_gradient)(FN(broadcast)(1), a); \
        return a; \
    } \
    ALWAYS_INLINE VEC FN(name##_chain)(VEC da, VEC a) { return FN(name##_gradient)(da, a); }
#define FROM_Z(CODE, name) \
    ALWAYS_INLINE VEC FN(name##_and_slope)(VEC z, VEC *slope) { return FN(name)(z, slope); } \
    ALWAYS_INLINE VEC FN(name##_chain)(VEC da, VEC z) \
    { \
        VEC slope; \
        FN(name)(z, &slope); \
        return da * slope; \
    }
ACTIVATIONS_FROM_A(FROM_A)
ACTIVATIONS_FROM_Z(FROM_Z)
#undef FROM_A
#undef FROM_Z

/* a = f(z), n numbers; a may be z. */
static void FN(activation_row)(int activation, const STORED *z, ptrdiff_t n, STORED *a)
{
    switch (activation) {
#define CASE(CODE, name) \
    case CODE: \
        for (ptrdiff_t j = 0; j < n; j += LANES) { \
            VEC unused; \
            FN(put_upto)(a + j, FN(name##_and_slope)(FN(get_upto)(z + j, n - j), &unused), n - j); \
        } \
        break;
        ACTIVATIONS(CASE)
#undef CASE
    default: unknown_code("activation", activation);
    }
}

/* activation_row() that also writes the slopes f'(z); slope may be z. */
static void FN(activation_and_slope_row)(int activation, const STORED *z, ptrdiff_t n, STORED *a, STORED *slope)
{
    switch (activation) {
#define CASE(CODE, name) \
    case CODE: \
        for (ptrdiff_t j = 0; j < n; j += LANES) { \
            VEC f; \
            FN(put_upto)(a + j, FN(name##_and_slope)(FN(get_upto)(z + j, n - j), &f), n - j); \
            FN(put_upto)(slope + j, f, n - j); \
        } \
        break;
        ACTIVATIONS(CASE)
#undef CASE
    default: unknown_code("activation", activation);
    }
}

/* dz = da * f'(z), n numbers. `a` holds a, or z for the activations whose derivative is computed from z. dz may be da. */
static void FN(activation_gradient_row)(int activation, const STORED *da, const STORED *a, ptrdiff_t n, STORED *dz)
{
    switch (activation) {
#define CASE(CODE, name) \
    case CODE: \
        for (ptrdiff_t j = 0; j < n; j += LANES) \
            FN(put_upto)(dz + j, FN(name##_chain)(FN(get_upto)(da + j, n - j), FN(get_upto)(a + j, n - j)), n - j); \
        break;
        ACTIVATIONS(CASE)
#undef CASE
    default: unknown_code("activation", activation);
    }
}
