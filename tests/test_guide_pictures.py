"""The pictures of the guide and of "How it works": pages show what the code draws."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[1] / "docs" / "guide"
PAGES = {page.name: page.read_text(encoding="utf-8") for page in GUIDE.glob("*.md")}
SHOWN = {(page, name) for page, text in PAGES.items() for name in re.findall(r"!\[[^]]+\]\(pictures/([^)]+)\)", text)}
SAVED = {(page, name) for page, text in PAGES.items() for name in re.findall(r'savefig\("([^"]+\.svg)"\)', text)}
NAMES = sorted(name for _, name in SHOWN)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder into which the script has drawn all pictures."""
    pytest.importorskip("matplotlib", reason="the guide draws with matplotlib")
    folder = tmp_path_factory.mktemp("pictures")
    command = [sys.executable, "-W", "error", str(GUIDE / "pictures.py"), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return folder


def test_pages_show_what_they_draw():
    assert SHOWN == SAVED
    assert len(NAMES) >= 5
    assert sorted(path.name for path in (GUIDE / "pictures").iterdir()) == NAMES


def texts(path):
    """All texts with a word in a picture; matplotlib draws letters as shapes, and writes the text in a comment."""
    return re.findall(r"<!-- (.*?[a-z]{3}.*?) -->", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_is_that_of_the_code(name, drawn):
    kept = GUIDE / "pictures" / name
    assert kept.stat().st_size < 60_000
    assert len(texts(kept)) >= 4
    assert texts(kept) == texts(drawn / name)


def test_the_pictures_of_how_it_works(tmp_path):
    """They are what their script draws, and the page shows each."""
    pytest.importorskip("matplotlib", reason="a script draws them with matplotlib")
    folder = GUIDE.with_name("how-it-works")
    command = [sys.executable, "-W", "error", str(folder / "pictures.py"), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    page = (folder / "index.md").read_text(encoding="utf-8")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(path.name for path in folder.glob("*.svg")) == sorted(re.findall(r"!\[[^]]+\]\((.+)\)", page))
    for name in names:
        assert len(texts(folder / name)) >= 4
        assert texts(folder / name) == texts(tmp_path / name)
