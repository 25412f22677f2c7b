"""Draw the pictures of the guide: `python docs/pictures.py [NAME...]`, by default all, into docs/guide/pictures.

A picture is what the code on its page saves: the Python block with `savefig("NAME.svg")`.
"""

import os
import re
import sys
from contextlib import chdir
from pathlib import Path

GUIDE = Path(__file__).with_name("guide")
PICTURES = GUIDE / "pictures"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAVES = re.compile(r'savefig\("(\w[\w-]*)\.svg"\)')
STYLE = {"svg.hashsalt": "fastprop"}  # the same figure gives the same text


def blocks():
    """Name of a picture -> (its page, the code that saves it, the line before that code)."""
    found = {}
    for page in sorted(GUIDE.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            for name in SAVES.findall(match[1]):
                found[name] = page, match[1], text.count("\n", 0, match.start(1))
    return found


def draw(name, folder=PICTURES):
    """Run the code that saves a picture, in a folder."""
    import matplotlib

    page, code, line = blocks()[name]
    with matplotlib.rc_context(STYLE | {"backend": "Agg"}), chdir(folder):
        exec(compile("\n" * line + code, page, "exec"), {"__name__": "__main__"})


def main(names):
    os.environ["SOURCE_DATE_EPOCH"] = "0"  # matplotlib writes this date
    for name in names or blocks():
        draw(name)


if __name__ == "__main__":
    main(sys.argv[1:])
