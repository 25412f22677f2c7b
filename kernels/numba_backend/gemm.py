"""The three matrix products of a linear layer, from one general product with bias and ReLU, or accumulation, in the tile.

The product is compiled once for each dtype, when this module is imported, and called through its address: everything that used
it as an ordinary jitted function would carry, optimise and cache a copy of all the tiles.
"""

import numpy as np
from llvmlite import binding, ir
from numba import carray, cfunc, types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import jit
from .tile import N_ROWS, N_VECTORS, VECTOR_BYTES, advance, copy_vector, pointer_to, stack_buffer, tile, transpose_block

# Steps of the inner dimension at a time: the packed panel of b takes 16 KiB of the L1 cache (with AVX-512 48 KiB, partly L2).
K_BLOCK = 256
ROW_BYTES = N_VECTORS * VECTOR_BYTES
PANEL_BYTES = K_BLOCK * ROW_BYTES
EDGE_BYTES = N_ROWS * ROW_BYTES
# A panel of b is read once for each strip of rows; from this many on, copying it first costs less than reading it in place.
PACK_FROM_STRIPS = 8
# Where a is read by columns, and a and b together are larger than this, so many strips of a are copied, in whole vectors of
# elements of at most 8 bytes, and meet copies of all panels of b.
PACK_BYTES = 192 * 1024
STRIPS_TOGETHER = 4
STRIP_ROW_BYTES = (N_ROWS * 8 + VECTOR_BYTES - 1) // VECTOR_BYTES * VECTOR_BYTES
STRIPS_BYTES = STRIPS_TOGETHER * K_BLOCK * STRIP_ROW_BYTES

# What the sums start from.
FROM_ZERO, FROM_BIAS, FROM_C = 0, 1, 2


def _product(a, a_row, a_k, b, b_k, b_column, bias, start, floor, n_rows, n_columns, n_k, pack_both, panels, c):
    """c (n_rows, n_columns) = max(start + a b, floor) for a (n_rows, n_k), b (n_k, n_columns): pointers, strides in elements.

    b's columns are adjacent, or else its rows (b_k = 1). For each block of k and each panel, of as many columns as a tile: make
    a contiguous copy of the panel, of which whole vectors can be read, and run down the rows of a. With ``pack_both``, for which
    a_row = b_column = 1 and the sums start from no bias, all panels are copied first, to ``panels``, which then has to have space
    for K_BLOCK rows of b in whole panels, and a few strips of a at a time.
    """
    itemsize = carray(c, 1).itemsize
    width, lanes = ROW_BYTES // itemsize, VECTOR_BYTES // itemsize
    packed, first = stack_buffer(c, PANEL_BYTES), stack_buffer(c, ROW_BYTES)
    strips, strip_row = stack_buffer(c, STRIPS_BYTES), STRIP_ROW_BYTES // 8
    n_strips = (n_rows + N_ROWS - 1) // N_ROWS
    if n_rows == 0:
        return
    for k_start in range(0, max(n_k, 1), K_BLOCK):
        k = min(K_BLOCK, n_k - k_start)
        lowest = floor if k_start + k == n_k else -np.inf
        from_c = start == FROM_C or k_start > 0
        a_here, b_here = advance(a, k_start * a_k), advance(b, k_start * b_k)
        if pack_both:
            _start_row(bias, FROM_ZERO, 0, width, first)
            for column in range(0, n_columns, width):
                _copy(k, min(width, n_columns - column), advance(b_here, column), b_k, advance(panels, column * K_BLOCK), width)
            for strip in range(0, n_strips, STRIPS_TOGETHER):
                last = min(strip + STRIPS_TOGETHER, n_strips)
                for i in range(strip, last):
                    row = i * n_rows // n_strips
                    n = min(strip_row, n_rows - row)  # more than a strip where there are more, for whole vectors
                    _copy(k, n, advance(a_here, row), a_k, advance(strips, (i - strip) * K_BLOCK * strip_row), strip_row)
                for column in range(0, n_columns, width):
                    _run_down(
                        strips, 1, strip_row, K_BLOCK * strip_row, advance(panels, column * K_BLOCK), width, first, from_c, lowest,
                        n_rows, strip, last, min(width, n_columns - column), k, advance(c, column), n_columns,
                    )  # fmt: skip
            continue
        for column in range(0, n_columns, width):
            n = min(width, n_columns - column)
            panel, panel_k = advance(b_here, column * b_column), b_k
            if b_column != 1:
                _copy_transposed(k, n, panel, b_column, packed, width)
                panel, panel_k = packed, width
            elif n % lanes or n_strips > PACK_FROM_STRIPS:
                _copy(k, n, panel, b_k, packed, width)
                panel, panel_k = packed, width
            if not from_c:
                _start_row(bias, start, column, n, first)
            _run_down(
                a_here, a_row, a_k, 0, panel, panel_k, first, from_c, lowest, n_rows, 0, n_strips, n, k,
                advance(c, column), n_columns,
            )  # fmt: skip


@jit
def _run_down(
    a, a_row, a_k, a_strip, panel, panel_k, first, from_c, floor, n_rows, first_strip, last_strip, n, k, c, c_row
):  # fmt: skip
    """The n columns of c that belong to one panel, in some of the strips, of nearly equal height, so that there is no thin rest.

    ``a`` begins with row 0, or has copies of those strips, ``a_strip`` elements after each other.
    """
    itemsize = carray(c, 1).itemsize
    width, lanes = ROW_BYTES // itemsize, VECTOR_BYTES // itemsize
    edge = stack_buffer(c, EDGE_BYTES)  # where a tile with columns beyond the last of c is computed
    n_vectors = (n + lanes - 1) // lanes
    whole = n == n_vectors * lanes
    lowest = carray(c, 1).dtype.type(floor)
    n_strips = (n_rows + N_ROWS - 1) // N_ROWS
    for strip in range(first_strip, last_strip):
        row = strip * n_rows // n_strips
        m = (strip + 1) * n_rows // n_strips - row
        rows = advance(a, (strip - first_strip) * a_strip if a_strip else row * a_row)
        here = advance(c, row * c_row)
        out, out_row = (here, c_row) if whole else (edge, width)
        if from_c and not whole:
            _copy(m, n, here, c_row, edge, width)
        init, init_row = (out, out_row) if from_c else (first, 0)
        tile(m, n_vectors, rows, a_row, a_k, panel, panel_k, k, init, init_row, lowest, out, out_row)
        if not whole:
            _copy(m, n, edge, width, here, c_row)


@jit
def _copy(n_rows, n_columns, source, source_row, target, target_row):
    """target[i, j] = source[i, j] for pointers and strides in elements; columns are adjacent."""
    lanes = VECTOR_BYTES // carray(source, 1).itemsize
    whole = n_columns - n_columns % lanes
    for i in range(n_rows):
        read, write = advance(source, i * source_row), advance(target, i * target_row)
        for j in range(0, whole, lanes):
            copy_vector(advance(read, j), advance(write, j))
        last, end = carray(read, n_columns), carray(write, n_columns)
        for j in range(whole, n_columns):
            end[j] = last[j]


@jit
def _copy_transposed(n_rows, n_columns, source, source_column, target, target_row):
    """target[i, j] = source[j, i] for pointers and strides in elements; the rows of both are contiguous."""
    lanes = VECTOR_BYTES // carray(source, 1).itemsize
    whole_rows, whole_columns = n_rows - n_rows % lanes, n_columns - n_columns % lanes
    for j in range(0, whole_columns, lanes):
        for i in range(0, whole_rows, lanes):
            read, write = advance(source, j * source_column + i), advance(target, i * target_row + j)
            transpose_block(read, source_column, write, target_row)
    for j in range(n_columns):
        read, write = carray(advance(source, j * source_column), n_rows), carray(advance(target, j), n_rows * target_row)
        for i in range(whole_rows if j < whole_columns else 0, n_rows):
            write[i * target_row] = read[i]


@jit
def _start_row(bias, start, column, n, first):
    """What every row of a panel starts from: its n elements of the bias, or zeros."""
    values, row = carray(bias, column + n), carray(first, n)
    for j in range(n):
        row[j] = values[column + j] if start == FROM_BIAS else 0.0


def _signature(real):
    pointer, size = types.CPointer(real), types.intp
    return types.void(
        pointer, size, size, pointer, size, size, pointer, size, types.float64, size, size, size, size, pointer,
        pointer,
    )  # fmt: skip


def _symbol(real):
    return f"fastprop_product_{real}"


# Kept alive by this list: jitted code, from the cache too, finds them by the names registered here.
_COMPILED = [cfunc(_signature(real), cache=True, error_model="numpy")(_product) for real in (types.float32, types.float64)]
for _real, _function in zip((types.float32, types.float64), _COMPILED, strict=True):
    binding.add_symbol(_symbol(_real), _function.address)


@intrinsic
def _call_product(typingctx, a, a_row, a_k, b, b_k, b_column, bias, start, floor, n_rows, n_columns, n_k, pack_both, panels, c):
    """`_product`, from jitted code."""
    signature = _signature(c.dtype)

    def codegen(context, builder, signature, args):
        kinds = [context.get_value_type(kind) for kind in signature.args]
        callee = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), kinds), _symbol(c.dtype))
        builder.call(callee, args)
        return context.get_dummy_value()

    return signature, codegen


@jit
def matmul_bias(x, weight, bias, relu, z):
    """z = x @ weight + bias, or its maximum with 0; x (n, n_in), weight (n_in, n_out), bias (n_out,), z (n, n_out)."""
    n_in, n_out = weight.shape
    _call_product(
        pointer_to(x), n_in, 1, pointer_to(weight), n_out, 1, pointer_to(bias), FROM_BIAS, 0.0 if relu else -np.inf,
        len(x), n_out, n_in, 0, pointer_to(z), pointer_to(z),
    )  # fmt: skip


@jit
def matmul_weight_transposed(dz, weight, dx):
    """dx = dz @ weight.T; dz (n, n_out), weight (n_in, n_out), dx (n, n_in)."""
    n_in, n_out = weight.shape
    _call_product(
        pointer_to(dz), n_out, 1, pointer_to(weight), 1, n_out, pointer_to(weight), FROM_ZERO, -np.inf,
        len(dz), n_in, n_out, 0, pointer_to(dx), pointer_to(dx),
    )  # fmt: skip


@jit
def matmul_x_transposed(x, dz, accumulate, first, last, dweight):
    """dweight[first:last] (+)= (x.T @ dz)[first:last]; x (n, n_in), dz (n, n_out), dweight (n_in, n_out)."""
    n_in, n_out = dweight.shape
    pack_both = len(x) * (last - first + n_out) * x.itemsize > PACK_BYTES
    panels = np.empty(K_BLOCK * (n_out + ROW_BYTES // x.itemsize) if pack_both else 1, x.dtype)
    _call_product(
        advance(pointer_to(x), first), 1, n_in, pointer_to(dz), n_out, 1, pointer_to(dz), FROM_C if accumulate else FROM_ZERO,
        -np.inf, last - first, n_out, len(x), pack_both, pointer_to(panels),
        advance(pointer_to(dweight), first * n_out),
    )  # fmt: skip
    panels[0] = 0  # a use of the array, which Numba would otherwise free before the call
