"""Whole fits of two versions: here of one and the same."""

import re
import sys

import pytest

from bench import versions


@pytest.mark.full
def test_a_version_against_itself(capsys, monkeypatch):
    monkeypatch.setattr(versions, "EPOCHS", {"iris-like": 200})
    versions.main(sys.executable, 1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    for line, dtype, n_threads in zip(lines, ["float32"] * 2 + ["float64"] * 2, [1, 2] * 2, strict=True):
        assert re.fullmatch(
            rf"iris-like +{dtype} {n_threads}T +\d+\.\d+ +[\d.]+ +[\d.]+ ms +difference of the loss 0\.0e\+00", line
        )
