"""README and pages are right: their snippets run, their links lead somewhere, the commands and the map of folders are true."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
PAGES = {
    path.relative_to(README.parent).as_posix(): path
    for path in [README, *sorted(README.parent.glob("docs/**/*.md"))]
    if "_build" not in path.parts
}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}
# Runs in test_ecosystem.py, block by block.
WITH_OTHER_PACKAGES = "docs/guide/ecosystem.md"
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A snippet with this text runs only where this module is installed.
NEEDS = {
    "import njit": "numba",
    "Animation": "matplotlib",
    "Display": "matplotlib",
    "import matplotlib": "matplotlib",
    "import pandas": "pandas",
    "import pyarrow": "pyarrow",
    "collective.mpi": "mpi4py",
    "import dask": "dask",
    "from distributed": "distributed",
    "sklearn.callback": "sklearn.callback",
}
COMMANDS = dict(re.findall(r"^<!-- command: (\w+) -->\n```sh\n(.*?)\n```$", TEXT, re.MULTILINE | re.DOTALL))


def test_the_readme_is_short_and_has_a_snippet_for_each_way_in():
    assert len(TEXT.splitlines()) <= 150
    assert len(SNIPPET.findall(TEXT)) == 4


def can_run(snippet):
    return all(text not in snippet or importlib.util.find_spec(module) for text, module in NEEDS.items())


def snippets(name):
    """(line, text) of the snippets of a page that can run here."""
    found = [(TEXTS[name].count("\n", 0, match.start(1)), match[1]) for match in SNIPPET.finditer(TEXTS[name])]
    return [(line, snippet) for line, snippet in found if can_run(snippet)]


def test_snippets(tmp_path):
    """Each with names of its own, as a reader would run it; all share a process, because imports take longer than most of them."""
    found = [(name, *snippet) for name in TEXTS if name != WITH_OTHER_PACKAGES for snippet in snippets(name)]
    assert len({name for name, _, _ in found}) > 5
    # A traceback has the page and its line.
    run = f"for name, n, text in {found!r}: exec(compile('\\n' * n + text, name, 'exec'), {{'__name__': '__main__'}})"
    # From a folder where nothing of ours can be imported by accident.
    result = subprocess.run([sys.executable, "-W", "error", "-c", run], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not (README.parent / "setup.py").exists(), reason="not in a checkout")
@pytest.mark.parametrize("name", PAGES)
def test_links(name):
    for link in re.findall(r"\]\(([^)\s]+)\)", TEXTS[name]):
        if not link.startswith("http"):
            path, _, anchor = link.partition("#")
            target = PAGES[name].parent / path if path else PAGES[name]
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def anchors(page):
    """What code hosts and the site make of the page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_each_command_is_one_line():
    assert set(COMMANDS) == {"demo", "tests"}
    for command in COMMANDS.values():
        assert "\n" not in command
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")


@pytest.mark.skipif(not (README.parent / "setup.py").exists(), reason="not in a checkout")
def test_map_of_the_folders():
    """Every path in the map exists; what is indented lies in the last folder above that is not."""
    text = (README.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^## Folders\n+```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    folder = README.parent
    for line in block.splitlines():
        name = line.split()[0].rstrip(",")
        if not line.startswith(" "):
            folder = README.parent
        assert list(folder.glob(name.rstrip("/"))), f"{folder / name} does not exist"
        if not line.startswith(" ") and name.endswith("/"):
            folder = README.parent / name
