"""Check a built site: `check_links.py FOLDER`. What its pages link to or load must be there, anchors included.

Links to other hosts are not followed, but nothing may be loaded from one.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Where a tag has the address of what it loads.
LOADS = {"img": "src", "script": "src", "link": "href", "source": "src", "video": "src", "iframe": "src", "object": "data"}


class Page(HTMLParser):
    """What a page links to, what it loads, and its anchors."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loads, self.anchors = set(), set(), set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        """Take note of a tag."""
        attrs = dict(attrs)
        self.anchors |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        if tag == "a" and attrs.get("href"):
            self.links.add(attrs["href"])
        if attrs.get(LOADS.get(tag)) and attrs.get("rel") not in ("canonical", "search", "author", "next", "prev"):
            self.loads.add(attrs[LOADS[tag]])


def problems(folder):
    """Sentences about what is not there."""
    pages = {path.resolve(): Page(path) for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts}
    for path, page in pages.items():
        name = path.relative_to(folder.resolve())
        for address in sorted(page.loads):
            if urlsplit(address).netloc:
                yield f"{name} loads {address} from another host"
        for address in sorted(page.links | page.loads):
            scheme, host, target, _, anchor = urlsplit(address)
            if scheme or host:
                continue
            found = (path.parent / unquote(target)).resolve() if target else path
            if not found.exists():
                yield f"{name} has {address}, which does not exist"
            elif anchor and found in pages and unquote(anchor) not in pages[found].anchors:
                yield f"{name} has {address}, but that page has no such anchor"


def main(folder):
    """Print the problems and return the exit status."""
    if not (folder / "index.html").exists():
        print(f"{folder} has no site", file=sys.stderr)
        return 2
    found = list(problems(folder))
    print(*found, sep="\n", end="\n" if found else "", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
