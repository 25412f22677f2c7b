"""What the tests have in common that compare bits with a record: data, digests, and what bits depend on.

Bits belong to an instruction set, a compiler, which chooses the fused operations, and a C library, which has the exponentials and
logarithms of single numbers; elsewhere there is nothing to compare with. A record is a JSON file: instruction set -> circumstances
and digests.
"""

import hashlib
import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest


def numbers(rng, shape, dtype):
    """Multiples of 2^-10 around 0: no function of the C library has a part in them."""
    return (rng.integers(-2048, 2049, shape) / 1024).astype(dtype)


def digest(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[:16]


def circumstances(backend):
    """What bits depend on beside the instruction set: the compiler of the module, and the C library."""
    compiler = re.search(rb"GCC: \([^)]*\) [\d.]+|clang version [\d.]+", Path(backend.raw.__file__).read_bytes())
    values = [f(k / 7) for k in range(1, 2000) for f in (math.exp, math.log, math.log1p, math.sqrt)]
    powers = [0.999**k for k in range(2000)]
    return {"compiler": compiler[0].decode() if compiler else None, "libm": digest(np.array(values), np.array(powers))}


def digests_on_record(path, isa, here):
    """The digests of an instruction set; skips the test where the record has none, or is of other circumstances than ``here``."""
    record = json.loads(path.read_text())
    if isa not in record:
        pytest.skip(f"there is no record of {isa}")
    there = record[isa]["circumstances"]
    if not here.items() <= there.items():
        pytest.skip(f"the record is of {there}; here it is {here}")
    return record[isa]["digests"]


def write(record, path):
    """Write a record to the file that the command line names, or else to ``path``."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else path
    path.write_text(json.dumps(record, indent=1) + "\n")
