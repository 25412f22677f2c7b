"""The README is right: its snippets run, its commands are there, the folders it names exist."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
# A snippet with this text runs only where this module is installed.
NEEDS = {"import njit": "numba", "Display": "matplotlib", "sklearn.callback": "sklearn.callback"}
COMMANDS = dict(re.findall(r"^<!-- command: (\w+) -->\n```sh\n(.*?)\n```$", TEXT, re.MULTILINE | re.DOTALL))


def test_there_is_a_snippet_for_each_way_in():
    assert len(SNIPPETS) >= 4


def missing_module(snippet):
    return next((m for text, m in NEEDS.items() if text in snippet and importlib.util.find_spec(m) is None), None)


def run(code, folder):
    """From a folder where nothing of ours can be imported by accident."""
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_snippets_one_after_another(tmp_path):
    """In one process, with names of their own: to import scikit-learn takes longer than most of them."""
    snippets = [snippet for snippet in SNIPPETS if missing_module(snippet) is None]
    run(f"for code in {snippets!r}:\n    print(code, flush=True)\n    exec(code, {{'__name__': '__main__'}})", tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_snippet(number, tmp_path):
    """In a process of its own, as a reader would run it."""
    if (module := missing_module(SNIPPETS[number])) is not None:
        pytest.skip(f"{module} is not installed")
    run(SNIPPETS[number], tmp_path)


def test_each_command_is_one_line():
    assert set(COMMANDS) == {"demo", "tests"}
    for command in COMMANDS.values():
        assert "\n" not in command
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")


@pytest.mark.skipif(not (README.parent / "setup.py").exists(), reason="not in a checkout")
def test_map_of_the_folders():
    """Every path in the map exists; what is indented lies in the last folder above that is not."""
    (block,) = re.findall(r"^## Folders\n+```\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    folder = README.parent
    for line in block.splitlines():
        name = line.split()[0].rstrip(",")
        if not line.startswith(" "):
            folder = README.parent
        assert list(folder.glob(name.rstrip("/"))), f"{folder / name} does not exist"
        if not line.startswith(" ") and name.endswith("/"):
            folder = README.parent / name
