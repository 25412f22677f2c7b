"""What is made from the specification for C and Cython is that of the specification as it is now."""

from pathlib import Path

import pytest

from fastprop import kernels
from fastprop.kernels import generate

FOLDER = Path(kernels.__file__).parent / "cython_backend"


@pytest.mark.parametrize("name", generate.FILES)
def test_a_generated_file_is_current(name):
    if not (FOLDER / name).exists():
        pytest.skip("the sources of the compiled modules are not installed")
    assert (FOLDER / name).read_text() == generate.FILES[name](), "run: python kernels/generate.py"
