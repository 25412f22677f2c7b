"""The micro-kernel of the matrix products as LLVM code: a tile of sums of products that never leaves the vector registers.

LLVM's own vectoriser, given the plain loops, reaches a third of the processor's peak; tiles reach more than nine tenths (the
register blocking of Goto and van de Geijn, *Anatomy of High-Performance Matrix Multiplication*, 2008). A tile is
``N_ROWS`` rows by ``N_VECTORS`` vectors, chosen so that sums, a row of b and one broadcast fill the registers: 9 x 3 of 32 with
AVX-512, else 6 x 2 of 16.
"""

from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic


def _tile_shape(features):
    """(bytes of a vector, rows, vectors) for a feature string of LLVM such as "+avx2,-avx512f"."""
    enabled = features.split(",")
    if "+avx512f" in enabled:
        return 64, 9, 3
    return (32 if "+avx" in enabled else 16), 6, 2


# What Numba compiles for, which NUMBA_CPU_NAME and NUMBA_CPU_FEATURES may change, and which keys its cache.
VECTOR_BYTES, N_ROWS, N_VECTORS = _tile_shape(cpu_target.target_context.codegen().magic_tuple()[-1])


@intrinsic
def tile(typingctx, n_rows, n_vectors, a, a_row, a_k, b, b_k, k, init, init_row, floor, c, c_row):
    """c[i, j] = max(init[i, j] + sum over k of a[i, k] b[k, j], floor), where NaN stays NaN; n_vectors vectors of columns.

    a, b, init and c are pointers; element (i, k) of a is ``a[i a_row + k a_k]``, the others' columns are adjacent. c may be init.
    """
    size = types.intp
    pointer = c
    signature = types.void(size, size, pointer, size, size, pointer, size, size, pointer, size, pointer.dtype, pointer, size)

    def codegen(context, builder, signature, args):
        rows, vectors, *operands = args
        done = builder.append_basic_block("tile.done")
        shape = builder.add(builder.mul(rows, rows.type(N_VECTORS + 1)), vectors)
        switch = builder.switch(shape, done)
        for i in range(1, N_ROWS + 1):
            for j in range(1, N_VECTORS + 1):
                block = builder.append_basic_block(f"tile.{i}x{j}")
                switch.add_case(shape.type(i * (N_VECTORS + 1) + j), block)
                builder.position_at_end(block)
                _emit_tile(builder, i, j, *operands)
                builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, codegen


def _emit_tile(builder, n_rows, n_vectors, a, a_row, a_k, b, b_k, k, init, init_row, floor, c, c_row):
    number, size = floor.type, k.type
    itemsize = 4 if isinstance(number, ir.FloatType) else 8
    vector = ir.VectorType(number, VECTOR_BYTES // itemsize)

    def vectors_at(base, row, stride):
        start = builder.gep(base, [builder.mul(stride, size(row))])
        starts = [builder.gep(start, [size(j * vector.count)]) for j in range(n_vectors)]
        return [builder.bitcast(start, vector.as_pointer()) for start in starts]

    def load(base, row, stride):
        return [builder.load(address, align=itemsize) for address in vectors_at(base, row, stride)]

    def broadcast(value):
        one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
        return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count))

    rows_of_a = [_opaque(builder, builder.gep(a, [builder.mul(a_row, size(i))])) for i in range(n_rows)]

    def step(offset, b_now, *sums):
        columns = load(b_now, 0, size(0))
        factors = [broadcast(builder.load(builder.gep(row, [offset]))) for row in rows_of_a]
        # "contract" gives a fused multiply-add where the processor has one.
        products = [builder.fmul(factor, column, flags=("contract",)) for factor in factors for column in columns]
        sums = [builder.fadd(value, product, flags=("contract",)) for value, product in zip(sums, products, strict=True)]
        return [builder.add(offset, a_k), builder.gep(b_now, [b_k]), *sums]

    first = [size(0), b] + [value for i in range(n_rows) for value in load(init, i, init_row)]
    sums = _emit_loop(builder, k, first, step)[2:]
    lowest = broadcast(floor)
    addresses = [address for i in range(n_rows) for address in vectors_at(c, i, c_row)]
    for value, address in zip(sums, addresses, strict=True):
        below = builder.fcmp_ordered("<", value, lowest)
        builder.store(builder.select(below, lowest, value), address, align=itemsize)


def _opaque(builder, value):
    """The value, whose origin LLVM cannot see: it would reach each row from the one before, a chain as long as the arithmetic."""
    return builder.asm(ir.FunctionType(value.type, [value.type]), "", "=r,0", [value], side_effect=False)


def _emit_loop(builder, count, first, step):
    """``count`` times ``values = step(*values)`` beginning with ``first``; returns the last values."""
    before = builder.block
    head, body, after = (builder.append_basic_block(f"loop.{name}") for name in ("head", "body", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(count.type)
    values = [builder.phi(value.type) for value in first]
    builder.cbranch(builder.icmp_signed("<", index, count), body, after)
    builder.position_at_end(body)
    # LLVM unrolls this loop threefold if it may, which spills; a call marked convergent, here of no instructions, forbids that.
    guard = builder.asm(ir.FunctionType(ir.VoidType(), []), "", "", [], side_effect=True)
    guard.attributes.add("convergent")
    following = [builder.add(index, count.type(1)), *step(*values)]
    builder.branch(head)
    for phi, start, then in zip([index, *values], [count.type(0), *first], following, strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(then, body)
    builder.position_at_end(after)
    return values


@intrinsic(prefer_literal=True)
def stack_buffer(typingctx, pointer, n_bytes):
    """``n_bytes`` (a constant) of uninitialised memory on the stack, as a pointer of the type of ``pointer``."""

    def codegen(context, builder, signature, args):
        # Not cgutils.alloca_once, which stores zeros as one value of the whole array; that takes LLVM 15 s.
        with builder.goto_entry_block():
            buffer = builder.alloca(ir.ArrayType(ir.IntType(8), n_bytes.literal_value))
        buffer.align = 64  # a cache line
        return builder.bitcast(buffer, args[0].type)

    return pointer(pointer, n_bytes), codegen


@intrinsic
def advance(typingctx, pointer, distance):
    """The pointer ``distance`` elements further."""

    def codegen(context, builder, signature, args):
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, types.intp), codegen


@intrinsic
def pointer_to(typingctx, array):
    """The pointer to the first element of an array."""

    def codegen(context, builder, signature, args):
        return context.make_array(signature.args[0])(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), codegen


@intrinsic
def transpose_block(typingctx, source, source_row, target, target_row):
    """target[i, j] = source[j, i] for blocks of as many rows and columns as a vector has elements; pointers, strides in elements.

    Quarters of ever smaller blocks change places (Eklundh, *A fast computer method for matrix transposing*, 1972).
    """

    def codegen(context, builder, signature, args):
        source, source_row, target, target_row = args
        itemsize = signature.args[0].dtype.bitwidth // 8
        n = VECTOR_BYTES // itemsize
        pointer = ir.VectorType(source.type.pointee, n).as_pointer()

        def addresses(base, stride):
            starts = (builder.gep(base, [builder.mul(stride, stride.type(i))]) for i in range(n))
            return [builder.bitcast(start, pointer) for start in starts]

        rows = [builder.load(address, align=itemsize) for address in addresses(source, source_row)]
        size = n // 2
        while size:
            right = [column // size % 2 == 1 for column in range(n)]
            upper = _lanes(n + column - size if right[column] else column for column in range(n))
            lower = _lanes(n + column if right[column] else column + size for column in range(n))
            for i in range(n):
                if not right[i]:
                    pair = rows[i], rows[i + size]
                    rows[i], rows[i + size] = (builder.shuffle_vector(*pair, mask) for mask in (upper, lower))
            size //= 2
        for row, address in zip(rows, addresses(target, target_row), strict=True):
            builder.store(row, address, align=itemsize)
        return context.get_dummy_value()

    return types.void(source, types.intp, source, types.intp), codegen


def _lanes(numbers):
    """The mask of a shuffle: element i of the result is that of this number of both vectors together."""
    numbers = list(numbers)
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), numbers)


@intrinsic
def copy_vector(typingctx, source, target):
    """Copy one vector from pointer to pointer."""

    def codegen(context, builder, signature, args):
        itemsize = signature.args[0].dtype.bitwidth // 8
        vector = ir.VectorType(args[0].type.pointee, VECTOR_BYTES // itemsize).as_pointer()
        value = builder.load(builder.bitcast(args[0], vector), align=itemsize)
        builder.store(value, builder.bitcast(args[1], vector), align=itemsize)
        return context.get_dummy_value()

    return types.void(source, source), codegen


@intrinsic
def stream_vector(typingctx, source, target):
    """Copy one vector from pointer to pointer, past the caches; the target lies on a vector's boundary. See `streams_done`."""

    def codegen(context, builder, signature, args):
        itemsize = signature.args[0].dtype.bitwidth // 8
        vector = ir.VectorType(args[0].type.pointee, VECTOR_BYTES // itemsize).as_pointer()
        value = builder.load(builder.bitcast(args[0], vector), align=itemsize)
        store = builder.store(value, builder.bitcast(args[1], vector), align=VECTOR_BYTES)
        store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return types.void(source, source), codegen


@intrinsic
def streams_done(typingctx):
    """What was stored past the caches is in memory for every thread."""

    def codegen(context, builder, signature, args):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def address_of(typingctx, pointer):
    """The address, a whole number."""

    def codegen(context, builder, signature, args):
        return builder.ptrtoint(args[0], context.get_value_type(types.intp))

    return types.intp(pointer), codegen
