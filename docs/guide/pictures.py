"""Draw the guide's pictures: `python docs/guide/pictures.py [FOLDER]`, by default into docs/guide/pictures.

A picture is what the code on its page draws: the Python block with `savefig("NAME.svg")`.
"""

import os
import re
import sys
from contextlib import chdir
from pathlib import Path

GUIDE = Path(__file__).parent
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAVES = re.compile(r'savefig\("([\w-]+\.svg)"\)')


def blocks():
    """(page, line, code) of each block that saves a picture."""
    for page in sorted(GUIDE.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for block in BLOCK.finditer(text):
            if SAVES.search(block[1]):
                yield page, text.count("\n", 0, block.start(1)), block[1]


def main(folder=GUIDE / "pictures"):
    """Run these blocks in a folder. The same figures give the same files."""
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "fastprop"
    with chdir(folder):
        for page, line, code in blocks():
            exec(compile("\n" * line + code, page, "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    main(*sys.argv[1:])
