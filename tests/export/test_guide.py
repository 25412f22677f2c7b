"""The guide's example in C: its three blocks, one after the other, as a reader would run them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "deployment.md"


def test_the_example_runs(tmp_path):
    if shutil.which("gcc") is None:
        pytest.skip("no gcc, which the page calls")
    text = PAGE.read_text(encoding="utf-8")
    section = text[text.index("## One C file") : text.index("## 8-bit weights")]
    blocks = dict(re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))
    assert set(blocks) == {"python", "c", "sh"}
    subprocess.run([sys.executable, "-W", "error", "-c", blocks["python"]], cwd=tmp_path, check=True)
    (tmp_path / "main.c").write_text(blocks["c"])
    result = subprocess.run(["sh", "-euc", blocks["sh"]], cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "the same labels\n", "")
    assert len((tmp_path / "labels.txt").read_text().split()) == 297
    n_bytes = re.search(r"on the stack take about (\d+) bytes", (tmp_path / "digits.c").read_text())[1]
    assert f"{n_bytes} for the network above." in text
