"""scikit-learn's own tests of its MLPs, unmodified, on fastprop's classes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn.neural_network.tests.test_mlp")


@pytest.mark.full
def test_mlp(tmp_path):
    """In a process of its own, as the plugin replaces names in scikit-learn; from a folder where nothing configures pytest."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "pytest", "-q", "-rsfE", "-p", "fastprop_for_sklearn", "-p", "no:cacheprovider", "--color=no"]
    command += ["--pyargs", "sklearn.neural_network.tests.test_mlp"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    print(result.stdout[-5000:], result.stderr[-2000:])
    assert result.returncode == 0
    passed = int(re.search(r"(\d+) passed", result.stdout)[1])
    assert passed >= 50
