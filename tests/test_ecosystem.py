"""The blocks of the guide's page about other packages run, where these are installed."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "guide" / "ecosystem.md"
TEXT = PAGE.read_text(encoding="utf-8")
FIRST, *_ = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
BLOCKS = re.findall(r"^<!-- needs: (.*?) -->\n```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_every_block_says_what_it_needs():
    assert TEXT.count("```python") == 1 + len(BLOCKS)


@pytest.mark.parametrize(("needs", "block"), BLOCKS, ids=[needs for needs, _ in BLOCKS])
def test_block(needs, block, tmp_path):
    for name in needs.split():
        if not (shutil.which(name) if name == "java" else importlib.util.find_spec(name)):
            pytest.skip(f"{name} is not installed")
    # In a process of its own, as some packages change scikit-learn; their warnings are theirs.
    mlflow = {"MLFLOW_TRACKING_URI": (tmp_path / "runs").as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true"}
    environment = os.environ | mlflow | {"SCIPY_ARRAY_API": "1"}
    command = [sys.executable, "-c", FIRST + block]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    output = result.stdout + result.stderr
    if re.search("SkLearnException: Scikit-Learn version .* is not supported", output):
        pytest.skip("this sklearn2pmml does not know this scikit-learn")
    assert result.returncode == 0, output
