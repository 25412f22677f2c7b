"""What tests in several folders share: which cases are for a full run, and the machine code of the compiled modules."""

import functools
import gc
import itertools
import os
import re
import shutil
import subprocess
from typing import NamedTuple

import pytest

# Read when the libraries are loaded. Waiting threads of OpenMP (Numba's, scikit-learn's) and of NumPy's BLAS spin, which takes the
# processor from the tests beside; products of the tests' size gain nothing from threads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """For `-n auto` as many as there are processors; each takes a gigabyte of memory, and collects all tests."""
    n_processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(n_processors, 8)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collect without the garbage collector, which would go through a million objects that stay, again and again, also later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items):
    """Mark as full the cases of tests marked pairwise that are not needed for every pair of values."""
    tests = {}
    for item in items:
        if item.get_closest_marker("pairwise"):
            tests.setdefault((item.parent, item.originalname), []).append(item)
    for cases in tests.values():
        needed = covering([{name: repr(value) for name, value in item.callspec.params.items()} for item in cases])
        for i in set(range(len(cases))) - needed:
            cases[i].add_marker("full")


def covering(cases):
    """Indices of so many cases (dicts) that each two values of two names that meet in some case meet in one of these.

    One after the other, each time the first of those with the most pairs that are new.
    """
    pairs = [set(itertools.combinations(sorted(case.items()), 2)) for case in cases]
    missing, chosen = set().union(*pairs), set()
    while missing:
        best = max(range(len(cases)), key=lambda i: len(pairs[i] & missing))
        chosen.add(best)
        missing -= pairs[best]
    return chosen


class Instruction(NamedTuple):
    address: int
    name: str
    operands: str


class MachineCode:
    """What `objdump` prints of a module (AT&T syntax), and the loops in it."""

    def functions(self, path):
        """A dict name -> instructions of the module's functions; where it was stripped, under the names of its sections."""
        if shutil.which("objdump") is None:
            pytest.skip("objdump is not installed")
        return _disassembled(str(path))

    @staticmethod
    def parse(text):
        functions, code = {}, []
        for line in text.splitlines():
            if label := re.match(r"[0-9a-f]+ <(.+)>:$", line):
                code = functions.setdefault(label[1], [])
            elif match := re.match(r"\s*([0-9a-f]+):\s+(\S+)\s*(.*)", line):
                code.append(Instruction(int(match[1], 16), match[2], match[3]))
        return functions

    @staticmethod
    def loops(code):
        """The loops without a branch inside: from the target of a jump back to the jump, which is left out."""
        positions = {instruction.address: i for i, instruction in enumerate(code)}
        loops, last_jump = [], -1
        for i, (address, name, operands) in enumerate(code):
            if not re.fullmatch(r"j\w+|b\.\w+", name):
                continue
            target = re.match(r"[0-9a-f]+\b", operands)
            if target and last_jump < positions.get(int(target[0], 16), -1) and int(target[0], 16) < address:
                loops.append(code[positions[int(target[0], 16)] : i])
            last_jump = i
        return loops

    @staticmethod
    def memory(loop):
        """The instructions of a loop that read or write memory; to fetch a line ahead is neither."""
        return [i for i in loop if "(" in i.operands and not i.name.startswith(("nop", "lea", "prefetch"))]


@functools.cache
def _disassembled(path):
    command = ["objdump", "-d", "--no-show-raw-insn", path]
    return MachineCode.parse(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.fixture(scope="session")
def machine_code():
    return MachineCode()
