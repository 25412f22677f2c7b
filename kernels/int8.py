"""Predictions from products of 8-bit integers: how weights become codes, and the product in NumPy.

A linear row y = x @ weight + bias is computed as

    v = x * multiplier - shift                            n_in multipliers and shifts, for all samples
    v ~ low + step * a,  a in 0..255                      low and step for each sample: the range of its v
    weight / multiplier ~ scale * w,  w in -127..127      scale for each output
    y = bias + scale * (step * (a @ w) + low * sum of w)

The sums of products are exact integers, the same on every processor. This bias includes what the shift takes away. The multipliers
balance columns of x that have different ranges. They only divide by the square root of a range, so that the weights take the other
half of the difference (Xiao et al., *SmoothQuant: accurate and efficient post-training quantization for large language models*,
2023, section 4). If the ranges are not known, the multipliers are 1 and the shifts 0.
"""

import numpy as np

from .layer_table import parameter_views
from .spec import INT8_FEWEST_IN, INT8_FEWEST_OUT, INT8_MOST_IN, KINDS

CODES, SCALES = np.dtype(np.int8), np.dtype(np.float32)
LARGEST_WEIGHT, LARGEST_VALUE = 127, 255
NO_CODES, NO_SCALES = np.empty(0, CODES), np.empty(0, SCALES)


def reads_int8(layer):
    """Whether a row of a layer table is multiplied in this way. Only its sizes decide, not the processor."""
    fits = layer["n_out"] >= INT8_FEWEST_OUT and INT8_FEWEST_IN <= layer["n_in"] <= INT8_MOST_IN
    return bool(layer["kind"] == KINDS["linear"] and fits)


def quantized(layers, params, ranges):
    """The codes and the scales of all rows that are multiplied in this way, in two flat arrays.

    ``ranges`` has for each such row the lowest and the highest value of each input, (2, n_in), or None if they are not known.
    """
    known, codes, scales = iter(ranges), [NO_CODES], [NO_SCALES]
    for layer, own in zip(layers, parameter_views(layers, params), strict=True):
        if reads_int8(layer):
            row_codes, row_scales = _quantized_row(*(view.astype(np.float64) for view in own), next(known))
            codes.append(row_codes.ravel())
            scales += row_scales
    return np.concatenate(codes), np.concatenate(scales)


def _quantized_row(weight, bias, ranges):
    """(codes, [multiplier, shift, scale, bias])."""
    multiplier, low = np.ones(len(weight)), np.zeros(len(weight))
    if ranges is not None:
        low, high = np.asarray(ranges, np.float64)
        strength = np.abs(weight).max(axis=1) / np.maximum(high - low, np.finfo(np.float32).tiny)
        usual = (high > low) & (strength > 0)
        multiplier[usual] = np.sqrt(strength[usual])
        multiplier[~usual] = np.median(multiplier[usual]) if usual.any() else 1
    scaled = weight / multiplier[:, None]
    scale = np.abs(scaled).max(axis=0) / LARGEST_WEIGHT
    codes = np.rint(scaled / np.where(scale > 0, scale, 1))
    numbers = multiplier, low * multiplier, scale, bias + low @ weight
    return codes.astype(CODES), [array.astype(SCALES) for array in numbers]


def split(layers, codes, scales):
    """For each row of the table, the arguments of `linear_product` after x, (codes, multiplier, shift, scale, bias), or None."""
    rows, at_code, at_scale = [], 0, 0
    for layer in layers:
        if not reads_int8(layer):
            rows.append(None)
            continue
        n_in, n_out = int(layer["n_in"]), int(layer["n_out"])
        ends = np.cumsum([n_in, n_in, n_out, n_out])
        parts = np.split(scales[at_scale : at_scale + ends[-1]], ends[:-1])
        rows.append((codes[at_code : at_code + n_in * n_out].reshape(n_in, n_out), *parts))
        at_code, at_scale = at_code + n_in * n_out, at_scale + ends[-1]
    return rows


def linear_product(x, codes, multiplier, shift, scale, bias):
    """y in float32, for x in float32. A row with NaN or infinity becomes NaN."""
    v = x * multiplier - shift
    low, high = v.min(axis=1, keepdims=True), v.max(axis=1, keepdims=True)
    sums = codes.sum(axis=0, dtype=np.int64)
    with np.errstate(all="ignore"):
        step = (high - low) / np.float32(LARGEST_VALUE)
        step[~np.isfinite(step)] = np.nan
        inverse = 1 / np.where(step > 0, step, 1)
        usable = (step > 0) & np.isfinite(inverse)  # else all values are equal or nearly so, or some are not finite
        a = np.where(usable, np.rint((v - low) * inverse), 0).astype(np.float64)  # sums are exact in float64
        step[~usable] *= 0
        return (bias + scale * (step * (a @ codes.astype(np.float64)) + low * sums)).astype(np.float32)
