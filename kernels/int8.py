"""Predictions from products of 8-bit integers: how weights become codes, and the product in NumPy.

A linear row y = x @ weight + bias is computed as

    v = x * multiplier - shift                            n_in numbers of each, for all samples
    v ~ low + step * a,  a in 0..255                      low and step for each sample: the range of its v
    weight / multiplier ~ scale * w,  w in -127..127      scale for each output
    y = bias + scale * (step * (a @ w) + low * sum of w)

The sums of products are exact integers, the same on every processor. The bias holds what the shift takes away. The multipliers give
columns of x with different ranges the same weight in the range of a row. They take the square root of a range away, so that as much
of the difference stays with the weights (Xiao et al., *SmoothQuant: accurate and efficient post-training quantization for large
language models*, 2023, section 4). Without known ranges they are 1, and the shifts 0.
"""

import numpy as np

from .layer_table import parameter_views
from .spec import INT8_FEWEST_IN, INT8_FEWEST_OUT, INT8_MOST_IN, KINDS

CODES, SCALES = np.dtype(np.int8), np.dtype(np.float32)
LARGEST_WEIGHT, LARGEST_VALUE = 127, 255
NO_CODES, NO_SCALES = np.empty(0, CODES), np.empty(0, SCALES)


def reads_int8(layer):
    """Whether a row of a layer table is multiplied so: by its sizes alone, so that a model does not depend on the processor."""
    fits = layer["n_out"] >= INT8_FEWEST_OUT and INT8_FEWEST_IN <= layer["n_in"] <= INT8_MOST_IN
    return bool(layer["kind"] == KINDS["linear"] and fits)


def quantized(layers, params, ranges):
    """The codes and scales of the rows that are multiplied so, each of them in one flat array.

    ``ranges`` is the lowest and the highest value of each input of each such row, (2, n_in), or None where it is not known.
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
    """For each row of the table what `linear_product` needs, (codes, multiplier, shift, scale, bias), or None."""
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
    """y, float32, for float32 x. A row with NaN or infinity becomes NaN."""
    v = x * multiplier - shift
    low, high = v.min(axis=1, keepdims=True), v.max(axis=1, keepdims=True)
    sums = codes.sum(axis=0, dtype=np.int64)
    with np.errstate(all="ignore"):
        step = (high - low) / np.float32(LARGEST_VALUE)
        step[~np.isfinite(step)] = np.nan
        inverse = 1 / np.where(step > 0, step, 1)
        usable = (step > 0) & np.isfinite(inverse)  # else there is one value, or nearly, or what is not finite
        a = np.where(usable, np.rint((v - low) * inverse), 0).astype(np.float64)  # in which the sums are exact
        step[~usable] *= 0
        return (bias + scale * (step * (a @ codes.astype(np.float64)) + low * sums)).astype(np.float32)
