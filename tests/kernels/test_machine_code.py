"""The hot loop of the products is what tile.h claims, in the modules as they were built: a compiler that spills an accumulator, or
takes narrower registers, changes no result, so nothing else would notice."""

import platform
import re
from importlib import util
from typing import NamedTuple

import pytest


class Tile(NamedTuple):
    """The full tile of an instruction set (platform.h): its part of C is rows x vectors registers of this kind, and a turn of
    its loop makes so many steps along the inner dimension."""

    rows: int
    vectors: int
    register: str
    fused: bool
    steps: int = 1


TILES = {"baseline": Tile(6, 2, "%xmm", False), "avx2": Tile(6, 2, "%ymm", True, 2), "avx512": Tile(9, 3, "%zmm", True)}
PACKED = {"f32": "ps", "f64": "pd"}


@pytest.fixture(scope="module", params=TILES)
def isa(request):
    return request.param


@pytest.fixture(scope="module")
def functions(isa, machine_code):
    """The functions of a compiled module, which is not imported: the processor may lack its instructions."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("the instructions are named as on x86-64")
    spec = util.find_spec(f"fastprop.kernels.cython_backend._{isa}")
    if spec is None:
        pytest.skip(f"_{isa} was not built")
    return machine_code.functions(spec.origin)


def destination(instruction):
    """The last operand, in which commas between brackets do not count."""
    return re.split(r",(?![^(]*\))", instruction.operands)[-1]


def on_registers(loop, name, tile):
    """How many instructions of a loop with this name (a pattern) write a whole register of the tile's kind."""
    return sum(bool(re.fullmatch(name, i.name)) and destination(i).startswith(tile.register) for i in loop)


def products(loop, tile, packed):
    return on_registers(loop, rf"vfmadd\d+{packed}" if tile.fused else f"v?mul{packed}", tile)


def tile_loops(machine_code, code, tile, packed):
    """The loops that read memory and have, in each step, one product for each register of the tile."""
    return [
        loop
        for loop in machine_code.loops(code)
        if products(loop, tile, packed) == tile.steps * tile.rows * tile.vectors and machine_code.memory(loop)
    ]


def writes(machine_code, loop):
    return [i for i in machine_code.memory(loop) if "(" in destination(i)]


def spills(machine_code, loop, written=0):
    """What a loop does with memory beside reading A and B, and writing so many registers, in words."""
    found = [f"on the stack: {i.name} {i.operands}" for i in machine_code.memory(loop) if "(%rsp" in i.operands]
    stores = writes(machine_code, loop)
    return found + ([f"writes: {i.name} {i.operands}" for i in stores] if len(stores) != written else [])


def faults(machine_code, loop, tile, packed):
    """What a tile's loop does beside reading, in each step, a column of A and a row of B and adding up their products, in words."""
    memory, n = machine_code.memory(loop), tile.steps * tile.rows * tile.vectors
    found = spills(machine_code, loop)
    if len(memory) != tile.steps * (tile.rows + tile.vectors):
        expected = f"{tile.rows} for A and {tile.vectors} for B in each of {tile.steps} steps"
        found.append(f"{len(memory)} accesses to memory instead of {expected}")
    if not tile.fused and on_registers(loop, f"v?add{packed}", tile) != n:
        found.append(f"not {n} additions")
    return found


@pytest.mark.pairwise
@pytest.mark.parametrize("kind", ["PLAIN", "TRANSPOSED", "FETCHING"])
@pytest.mark.parametrize("dtype", PACKED)
def test_the_full_tile_stays_in_registers(machine_code, functions, isa, dtype, kind):
    tile = TILES[isa]
    name = f"tile_{tile.rows}_{tile.vectors}_{kind}_{dtype}"
    if name in functions:
        loops = tile_loops(machine_code, functions[name], tile, PACKED[dtype])
        expected = f"{tile.steps} x {tile.rows * tile.vectors} products on {tile.register}"
        assert len(loops) == 1, f"{name}: {len(loops)} loops with {expected}"
        assert faults(machine_code, loops[0], tile, PACKED[dtype]) == []
        return
    # The module was stripped of its symbols: all three functions' loops are somewhere in it, beside others with as many products.
    loops = [loop for code in functions.values() for loop in tile_loops(machine_code, code, tile, PACKED[dtype])]
    assert sum(faults(machine_code, loop, tile, PACKED[dtype]) == [] for loop in loops) >= 3
    stacked = [i for loop in loops for i in machine_code.memory(loop) if "(%rsp" in i.operands]
    assert stacked == []


@pytest.mark.parametrize("dtype", PACKED)
def test_a_tile_that_packs_stays_in_registers_too(machine_code, functions, isa, dtype):
    """It writes the row of B that it has read, and nothing else."""
    tile = TILES[isa]
    name = f"tile_{tile.rows}_{tile.vectors}_PACKING_{dtype}"
    if not any(function.startswith("tile_") for function in functions):
        pytest.skip("the module was stripped of its symbols: its loops cannot be told apart")
    (loop,) = tile_loops(machine_code, functions[name], tile, PACKED[dtype])
    assert spills(machine_code, loop, written=tile.steps * tile.vectors) == []
    assert all(tile.register in i.operands for i in writes(machine_code, loop))


@pytest.mark.pairwise
@pytest.mark.parametrize("rows", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", PACKED)
def test_a_thin_tile_stays_in_registers(machine_code, functions, isa, dtype, rows):
    """With two to four registers of B beside 12 sums the compiler may read one twice."""
    tile = TILES[isa]._replace(rows=rows, vectors=12 // rows, steps=1)
    name = f"tile_{tile.rows}_{tile.vectors}_{'PLAIN' if rows == 1 else 'FETCHING'}_{dtype}"
    if not any(function.startswith("tile_") for function in functions):
        pytest.skip("the module was stripped of its symbols: its loops cannot be told apart")
    (loop,) = tile_loops(machine_code, functions[name], tile, PACKED[dtype])
    assert spills(machine_code, loop) == []


@pytest.mark.parametrize("dtype", PACKED)
def test_tiles_fetch_the_next_panel(functions, dtype):
    """All whose names say so, and no others."""
    tiles = {name: code for name, code in functions.items() if re.fullmatch(rf"tile_.*_{dtype}", name)}
    if not tiles:
        pytest.skip("the module was stripped of its symbols: its functions cannot be told apart")
    fetching = {name for name, code in tiles.items() if any(i.name == "prefetcht1" for i in code)}
    assert fetching == {name for name in tiles if re.search("PACKING|FETCHING", name)} != set()


@pytest.mark.parametrize("dtype", PACKED)
def test_there_are_stores_past_the_caches(functions, isa, dtype):
    """Of the parameters that several threads share."""
    store = f"{'v' if TILES[isa].fused else ''}movnt{PACKED[dtype]}"
    assert any(i.name == store and TILES[isa].register in i.operands for code in functions.values() for i in code)


@pytest.mark.parametrize("kind", ["PLAIN", "TRANSPOSED", "FETCHING", "PACKING"])
def test_the_tile_of_bfloat16_stays_in_registers(machine_code, kind):
    """Its loop adds up a pair of products for each register, and reads a column of A and a row of B."""
    spec = util.find_spec("fastprop.kernels.cython_backend._avx512bf16")
    if spec is None:
        pytest.skip("_avx512bf16 was not built")
    tile, functions = TILES["avx512"], machine_code.functions(spec.origin)
    if not any(function.startswith("tile_") for function in functions):
        pytest.skip("the module was stripped of its symbols: its loops cannot be told apart")
    loops = machine_code.loops(functions[f"tile_{tile.rows}_{tile.vectors}_{kind}_bf16"])
    n = tile.rows * tile.vectors
    (loop,) = [loop for loop in loops if on_registers(loop, "vdpbf16ps", tile) == n and machine_code.memory(loop)]
    if kind == "PACKING":  # addresses may be on the stack: this tile is one of many
        assert all(tile.register in i.operands for i in writes(machine_code, loop))
        assert len(writes(machine_code, loop)) == tile.vectors
    else:
        assert spills(machine_code, loop) == []
        assert len(machine_code.memory(loop)) == tile.rows + tile.vectors


@pytest.mark.parametrize("product", ["v?pmaddwd", r"vpdpbusd|\{vex\}"], ids=["pairs of 16 bits", "four bytes"])
def test_the_tile_of_int8_stays_in_registers(machine_code, functions, isa, product):
    """Its loop adds up groups of products for each register; objdump writes AVX-VNNI as {vex} vpdpbusd."""
    tile = TILES[isa]
    if isa == "baseline" and "vpdpbusd" in product:
        pytest.skip("SSE2 has no such instruction")
    loops = [
        loop
        for code in functions.values()
        for loop in machine_code.loops(code)
        if on_registers(loop, product, tile) == tile.steps * tile.rows * tile.vectors and machine_code.memory(loop)
    ]
    assert len(loops) == 1
    assert spills(machine_code, loops[0]) == []


def test_avx2_has_no_masked_stores(functions):
    """With which rows of odd lengths would end, at 13 cycles each on an EPYC; AVX-512's have another name, and are fast."""
    masked = [i for code in functions.values() for i in code if i.name.startswith("vmaskmov")]
    assert [i for i in masked if "(" in destination(i)] == []


# The check itself, on a tile of one row and two registers

SMALL = Tile(1, 2, "%ymm", True)
GOOD = """
0000000000000010 <tile>:
  10:	vmovups (%rdx),%ymm1
  14:	vmovups 0x20(%rdx),%ymm0
  19:	add    %rdi,%rdx
  1c:	vbroadcastss (%rax,%rbp,4),%ymm2
  20:	vfmadd231ps %ymm2,%ymm1,%ymm4
  25:	vfmadd231ps %ymm2,%ymm0,%ymm5
  2a:	cmp    %rax,%r12
  2d:	jne    10 <tile>
  2f:	ret
"""
BASELINE = """
0000000000000010 <tile>:
  10:	movups (%rdx),%xmm1
  14:	movss  (%rax),%xmm2
  18:	shufps $0x0,%xmm2,%xmm2
  1c:	mulps  %xmm2,%xmm1
  20:	addps  %xmm1,%xmm3
  24:	jne    10 <tile>
"""


def found_faults(machine_code, text, tile):
    (loop,) = tile_loops(machine_code, machine_code.parse(text)["tile"], tile, "ps")
    return faults(machine_code, loop, tile, "ps")


def test_good_loops_have_no_faults(machine_code):
    assert found_faults(machine_code, GOOD, SMALL) == []
    assert found_faults(machine_code, BASELINE, Tile(1, 1, "%xmm", False)) == []


@pytest.mark.parametrize(
    ("instead_of", "spilled", "fault"),
    [
        ("add    %rdi,%rdx", "vmovaps %ymm4,0x40(%rsp)", "on the stack: vmovaps"),
        ("add    %rdi,%rdx", "vmovaps 0x40(%rsp),%ymm4", "on the stack: vmovaps"),
        ("add    %rdi,%rdx", "vmovaps %ymm4,-0x40(%rbp)", "writes: vmovaps"),
        ("add    %rdi,%rdx", "vmovups %ymm4,(%rcx,%rax,4)", "writes: vmovups"),
        ("add    %rdi,%rdx", "add    -0x8(%rbp),%rdx", "4 accesses"),
        ("%ymm2,%ymm0,%ymm5", "-0x40(%rbp),%ymm0,%ymm5", "4 accesses"),
    ],
)
def test_a_spilled_loop_has_faults(machine_code, instead_of, spilled, fault):
    assert instead_of in GOOD
    assert any(found.startswith(fault) for found in found_faults(machine_code, GOOD.replace(instead_of, spilled), SMALL))


@pytest.mark.parametrize(
    "worse",
    [("ymm", "xmm"), ("231ps", "231ss"), ("vfmadd231ps %ymm2,%ymm0,%ymm5", "nop"), ("jne    10", "jne    2f")],
    ids=["narrower registers", "one number at a time", "a product less", "no loop"],
)
def test_what_is_no_loop_of_a_full_tile_is_not_found(machine_code, worse):
    assert tile_loops(machine_code, machine_code.parse(GOOD.replace(*worse))["tile"], SMALL, "ps") == []


def test_a_multiplication_without_its_addition_is_a_fault(machine_code):
    text = BASELINE.replace("addps", "maxps")
    assert found_faults(machine_code, text, Tile(1, 1, "%xmm", False)) == ["not 1 additions"]
