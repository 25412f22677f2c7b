"""The numbers of activations, links, losses and optimizers are the same in Python and in C."""

import re
from pathlib import Path

import pytest

from fastprop.kernels import codes

HEADER = Path(__file__).parents[2] / "kernels" / "cython_backend" / "codes.h"


def test_numbers_are_unique():
    for table in (codes.LOSSES, codes.OPTIMIZERS, codes.ACTIVATIONS | codes.LINKS):
        assert len(set(table.values())) == len(table)


@pytest.mark.skipif(not HEADER.exists(), reason="the C sources are not beside the tests")
def test_c_header():
    in_c = {name.lower(): int(number) for name, number in re.findall(r"(\w+)\s*=\s*(\d+)", HEADER.read_text())}
    for name, number in (codes.ACTIVATIONS | codes.LOSSES | codes.OPTIMIZERS).items():
        assert in_c[name] == number
    for name, number in codes.LINKS.items():
        assert in_c.get(f"link_{name}", in_c.get(name)) == number
    for number, name in enumerate(codes.LAYER_COLUMNS):
        assert in_c[name] == number
    assert in_c["layer_columns"] == len(codes.LAYER_COLUMNS)
