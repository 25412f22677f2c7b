"""Existing scripts: those of tests/gallery run unchanged with scikit-learn and under ``python -m fastprop.patch``: the same scores.

The scripts do what examples of scikit-learn's gallery do, without the plots. They print scores with all digits, and at the end the
module of the class that was used.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted(Path(__file__).with_name("gallery").glob("*.py"))
# Largest difference of a number, relative to itself if it is above 1. The solver lbfgs amplifies rounding: scikit-learn's own
# accuracies change by one test sample of 40 when the same training samples come in another order.
TOLERANCE = {"regularisation": 1 / 40 + 1e-9}


def _output(script, *options):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", *options, str(script)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=script.parent)
    assert result.returncode == 0, result.stderr
    *lines, module = result.stdout.splitlines()
    return [line.split() for line in lines], module


def _number(word):
    try:
        return float(word.rpartition("=")[2])
    except ValueError:
        return None


def test_there_are_five():
    assert len(SCRIPTS) == 5


@pytest.mark.full
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_same_scores(script):
    theirs, their_module = _output(script)
    ours, our_module = _output(script, "-m", "fastprop.patch")
    assert their_module == "sklearn.neural_network._multilayer_perceptron"
    assert our_module in ("fastprop.estimators.classifier", "fastprop.estimators.regressor")
    n_numbers = 0
    for their_line, our_line in zip(theirs, ours, strict=True):
        for their_word, our_word in zip(their_line, our_line, strict=True):
            number = _number(their_word)
            n_numbers += number is not None
            if number is None:
                assert our_word == their_word
            else:
                assert _number(our_word) == pytest.approx(number, rel=0, abs=TOLERANCE.get(script.stem, 1e-9) * max(1, abs(number)))
    assert n_numbers >= 15
