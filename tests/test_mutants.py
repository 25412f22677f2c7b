"""The table of faults in mutants.py fits the sources, so that it can be used when it is needed; to use it takes minutes."""

import runpy
from pathlib import Path

import pytest

TOOL = runpy.run_path(str(Path(__file__).parent / "mutants.py"))


@pytest.mark.skipif(not (TOOL["ROOT"] / "setup.py").exists(), reason="not in a checkout")
def test_each_place_exists_once():
    for number, fields in enumerate(TOOL["MUTANTS"], start=1):
        mutant = TOOL["Mutant"](number, *fields)
        source = (TOOL["ROOT"] / mutant.file).read_text(encoding="utf-8")
        assert mutant.replaced(source, lambda original, fault: fault) != source
