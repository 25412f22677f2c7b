"""Links of Markdown pages: on a code host they lead to files, on the site to the pages made of those."""

import os
import re
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]
# Files outside docs/ that are pages of the site.
PAGES = {
    "README.md": "index",
    "CONTRIBUTING.md": "contributing",
    "CHANGELOG.md": "changelog",
    "bench/README.md": "benchmarks",
    "examples/README.md": "gallery/index",
}
LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)#\s]+)((?:#[^)\s]*)?)(?=\))")
INCLUDE = re.compile(r"^```\{include\} (\S+)\n```$", re.MULTILINE)


def rewrite(app, docname, source):
    """Put in what a page includes, and have links lead to pages of the site: the event `source-read` of Sphinx."""
    if Path(app.env.doc2path(docname)).suffix == ".md":
        here = PurePosixPath("docs", docname).parent
        text = INCLUDE.sub(lambda found: _included(here / found[1], here), source[0])
        source[0] = _relinked(text, here, here)


def _included(path, here):
    path = os.path.normpath(path)
    return _relinked((ROOT / path).read_text(encoding="utf-8"), PurePosixPath(path).parent, here)


def _relinked(text, origin, here):
    """The text of a file of the folder `origin`, with links as they are from the folder `here`."""
    return LINK.sub(lambda found: _target(os.path.normpath(origin / found[1]), here) + found[2], text)


def _target(path, here):
    """A link from a folder to a file of the repository, or to the page that the site has of it."""
    if path in PAGES:
        path = f"docs/{PAGES[path]}.{'rst' if PAGES[path] == 'gallery/index' else 'md'}"
    elif re.fullmatch(r"examples/\w+\.py", path):
        path = path.replace("examples/", "docs/gallery/").replace(".py", ".rst")
    elif path.endswith(".md") and not path.startswith("docs/"):
        return f"path:{os.path.relpath(path, here)}"  # to be downloaded, like other files
    return os.path.relpath(path, here)
