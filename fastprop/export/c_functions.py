"""The functions that every exported C file is made of. In their names PREFIX is the name of the model.

They are static, and a file has only those that it calls, in this order. Sizes are int, which has 16 bits on the smallest
processors: no function multiplies two of them.
"""

from .activations import FORMULAS

_ELEMENTWISE = """\
static void PREFIX_{name}(float *a, int n)
{{
    for (int i = 0; i < n; i++) {{
        const float z = a[i];
        a[i] = {formula};
    }}
}}
"""

FUNCTIONS = {
    "affine": """\
/* y = x * weight + bias; weight is (n_in, n_out) in C order. */
static void PREFIX_affine(const float *x, int n_in, int n_out, const float *weight, const float *bias, float *y)
{
    for (int j = 0; j < n_out; j++)
        y[j] = bias[j];
    for (int i = 0; i < n_in; i++, weight += n_out) {
        const float factor = x[i];
        for (int j = 0; j < n_out; j++)
            y[j] += factor * weight[j];
    }
}
""",
    "largest": """\
/* The largest of |x|. */
static float PREFIX_largest(const float *x, int n)
{
    float largest = 0.0f;
    for (int i = 0; i < n; i++)
        largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    return largest;
}
""",
    "affine_int8": """\
/* y = x * weight + bias. x becomes q, integers from -127 for -limit to 127 for limit; weight is (n_out, n_in) in C order, and
   scale[j] is what 1 stands for in the row of output j. */
static void PREFIX_affine_int8(const float *x, float limit, int n_in, int n_out, const int8_t *weight, const float *scale,
                               const float *bias, int8_t *q, float *y)
{
    const float factor = limit > 1e-30f ? 127.0f / limit : 0.0f;
    const float step = limit / 127.0f;
    for (int i = 0; i < n_in; i++) {
        const float z = x[i] * factor;
        q[i] = (int8_t)(z >= 127.0f ? 127.0f : z > 0.0f ? z + 0.5f : z <= -127.0f ? -127.0f : z < 0.0f ? z - 0.5f : 0.0f);
    }
    for (int j = 0; j < n_out; j++, weight += n_in) {
        int32_t sum = 0;
        for (int i = 0; i < n_in; i++)
            sum += q[i] * weight[i];
        y[j] = (float)sum * (step * scale[j]) + bias[j];
    }
}
""",
    "layer_norm": """\
static void PREFIX_layer_norm(float *a, int n, const float *gamma, const float *beta, float epsilon)
{
    float mean = 0.0f, variance = 0.0f;
    for (int i = 0; i < n; i++)
        mean += a[i];
    mean /= (float)n;
    for (int i = 0; i < n; i++)
        variance += (a[i] - mean) * (a[i] - mean);
    const float deviation = sqrtf(variance / (float)n + epsilon);
    for (int i = 0; i < n; i++)
        a[i] = (a[i] - mean) / deviation * gamma[i] + beta[i];
}
""",
    **{name: _ELEMENTWISE.format(name=name, formula=formula) for name, formula in FORMULAS.items()},
    "softmax": """\
static void PREFIX_softmax(float *a, int n)
{
    float highest = a[0], sum = 0.0f;
    for (int i = 1; i < n; i++)
        highest = a[i] > highest ? a[i] : highest;
    for (int i = 0; i < n; i++) {
        a[i] = expf(a[i] - highest);
        sum += a[i];
    }
    for (int i = 0; i < n; i++)
        a[i] /= sum;
}
""",
    "standardize": """\
/* y = (x - mean) / scale; the mean is the sum of two numbers, so that it is not rounded. */
static void PREFIX_standardize(const float *x, int n, const float *mean, const float *rest, const float *scale, float *y)
{
    for (int i = 0; i < n; i++)
        y[i] = ((x[i] - mean[i]) - rest[i]) / scale[i];
}
""",
    "clip": """\
static double PREFIX_clip(double x, double lowest, double highest)
{
    return x < lowest ? lowest : x > highest ? highest : x;
}
""",
    "scaled": """\
/* z / sqrt(1 + (z / 3)^2) of z = (x - median) / scale; a missing x is the median. */
static float PREFIX_scaled(double x, double median, double scale)
{
    if (isnan(x))
        return 0.0f;
    const double z = PREFIX_clip((x - median) / scale, -1e100, 1e100);
    return (float)(z / sqrt(1.0 + (z / 3.0) * (z / 3.0)));
}
""",
    "bins": """\
/* For each bin between two edges how far x is in it, from -1/2 to 1/2; a missing x is the median. */
static void PREFIX_bins(double x, double median, int n, const double *edges, float *out)
{
    int bin = 0;
    if (isnan(x))
        x = median;
    while (bin < n - 1 && x >= edges[bin + 1])
        bin++;
    const double width = PREFIX_clip(edges[bin + 1] - edges[bin], 0.0, 0x1.fffffffffffffp+1023);
    const float place = (float)(bin + PREFIX_clip((x - edges[bin]) / width, 0.0, 1.0));
    for (int i = 0; i < n; i++)
        out[i] = (float)PREFIX_clip(place - (float)i, 0.0, 1.0) - 0.5f;
}
""",
    "code": """\
/* The number of a category that is given as a number from 0 to n - 1. */
static int PREFIX_code(double x, int n, int others, int missing)
{
    if (isnan(x))
        return missing;
    for (int i = 0; i < n; i++)
        if (x == i)
            return i;
    return others;
}
""",
    "find": """\
/* The number of a category that is given as its value. */
static int PREFIX_find(double x, int n, const double *categories, int others, int missing)
{
    if (isnan(x))
        return missing;
    for (int i = 0; i < n; i++)
        if (x == categories[i])
            return i;
    return others;
}
""",
    "one_hot": """\
static void PREFIX_one_hot(int number, int n, float *out)
{
    for (int i = 0; i < n; i++)
        out[i] = i == number ? 1.0f : 0.0f;
}
""",
    "two": """\
/* -1/2 for the first of two categories, 1/2 for the second. */
static float PREFIX_two(int number)
{
    return number < 0 ? 0.0f : (float)number - 0.5f;
}
""",
    "add": """\
/* sum += weight * outputs */
static void PREFIX_add(const float *outputs, int n, double weight, double *sum)
{
    for (int i = 0; i < n; i++)
        sum[i] += weight * (double)outputs[i];
}
""",
    "add_targets": """\
/* sum += weight * y: what the outputs of a network say, within the range of training data; all in units of `size`. */
static void PREFIX_add_targets(const float *outputs, int n, double weight, double *sum)
{
    for (int i = 0; i < n; i++) {
        const double y = PREFIX_location[i] + PREFIX_deviation[i] * (double)outputs[i];
        sum[i] += weight * PREFIX_clip(y, PREFIX_lowest[i] / PREFIX_size[i], PREFIX_highest[i] / PREFIX_size[i]);
    }
}
""",
    "finish_targets": """\
static void PREFIX_finish_targets(double *out, int n)
{
    for (int i = 0; i < n; i++)
        out[i] = PREFIX_clip(out[i] * PREFIX_size[i], PREFIX_lowest[i], PREFIX_highest[i]);
}
""",
    "normalize": """\
static void PREFIX_normalize(double *out, int n)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++)
        sum += out[i];
    for (int i = 0; i < n; i++)
        out[i] /= sum;
}
""",
    "sort": """\
static void PREFIX_sort(float *a, int n)
{
    for (int i = 1; i < n; i++) {
        const float value = a[i];
        int place = i;
        for (; place > 0 && a[place - 1] > value; place--)
            a[place] = a[place - 1];
        a[place] = value;
    }
}
""",
    "argmax": """\
static int PREFIX_argmax(const REAL *a, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        best = a[i] > a[best] ? i : best;
    return best;
}
""",
}
# What a function calls
NEEDS = {"scaled": ["clip"], "bins": ["clip"], "add_targets": ["clip"], "finish_targets": ["clip"]}
