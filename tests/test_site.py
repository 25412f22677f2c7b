"""The site: it has every public name and every example; and its pages, where docs/build has made them, look right in Chromium.

``FASTPROP_SITE`` is the folder of the built site, by default docs/_build/html. Where it is set, nothing is skipped.
"""

import ast
import functools
import inspect
import os
import re
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLES = DOCS.parent / "examples"
SITE = Path(os.environ.get("FASTPROP_SITE", DOCS / "_build" / "html"))
PACKAGES = ["", "collective", "export", "inspection", "kernels", "nn", "onnx", "optim", "preprocessing"]
WIDTHS = [1280, 390]
OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
]
# What is wrong with a page: loaded from elsewhere, pictures that are not there, boxes that reach beyond the window and are not in
# something that scrolls, settings that were meant to be front matter. (In the theme the whole article scrolls when something is too
# wide, and the page itself never does.)
LOOK = """
const wrong = [], width = document.documentElement.clientWidth;
for (const entry of performance.getEntriesByType("resource"))
    if (!entry.name.startsWith(location.origin) && !entry.name.startsWith("data:")) wrong.push("loads " + entry.name);
for (const image of document.images)
    if (image.getAttribute("src") && image.complete && !image.naturalWidth) wrong.push("has no picture " + image.src);
const scrolls = box => !["ARTICLE", "MAIN"].includes(box.tagName)
    && (["auto", "scroll"].includes(getComputedStyle(box).overflowX) || scrolls(box.parentElement));
const wide = [...document.querySelectorAll("main article *")].filter(
    box => box.getBoundingClientRect().right > width + 1 && box.checkVisibility() && !scrolls(box.parentElement));
if (wide.length || document.documentElement.scrollWidth > width)
    wrong.push("is wider than the window: " + wide.slice(0, 3).map(box => box.tagName + "." + box.className).join(", "));
if (document.body.textContent.includes("html_theme."))
    wrong.push("shows settings of the theme");
return wrong;
"""


def listed():
    """The full names in the tables of docs/api."""
    for path in DOCS.glob("api/*.rst"):
        module = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if found := re.match(r"\.\. currentmodule:: (\S+)$", line):
                module = found[1]
            elif module and (found := re.match(r"   ~?([\w.]+)$", line)):
                yield found[1] if found[1].startswith("fastprop.") else f"{module}.{found[1]}"


def value_of(name):
    """What a dotted name stands for."""
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


def test_the_reference_has_every_public_name():
    names = set(listed())
    # A class that two packages have is in the tables under one of its names.
    ids = {id(value_of(name)) for name in names if not name.startswith("fastprop.dask.")}
    public = {f"fastprop.{package}".rstrip(".") for package in PACKAGES}
    public = {f"{module}.{name}" for module in public for name in import_module(module).__all__}
    assert not [name for name in public if id(value_of(name)) not in ids and not inspect.ismodule(value_of(name))]
    for module in ("fastprop.nn.functional", "fastprop.nn.init"):
        here = {f"{module}.{name}" for name, value in vars(import_module(module)).items() if _is_own(name, value, module)}
        assert here <= names | {"fastprop.nn.init.generator"}


def _is_own(name, value, module):
    return inspect.isfunction(value) and value.__module__ == module and not name.startswith("_")


@pytest.mark.skipif(not EXAMPLES.exists(), reason="the examples are only in a checkout")
def test_the_gallery_has_every_example():
    text = (DOCS / "_site" / "gallery.py").read_text(encoding="utf-8")
    order, not_run = (
        ast.literal_eval(re.search(rf"^{name} = ([\[{{].*?^[\]}}])", text, re.M | re.S)[1]) for name in ("ORDER", "NOT_RUN")
    )
    assert sorted(order) == sorted(path.stem for path in EXAMPLES.glob("*.py"))
    assert not_run.keys() < set(order)


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *_):
        """Not even that."""


@pytest.fixture(scope="module")
def address():
    """Where the built site is served."""
    if not (SITE / "index.html").exists():
        assert "FASTPROP_SITE" not in os.environ, f"{SITE} has no site"
        pytest.skip("docs/build has not built the site")
    server = ThreadingHTTPServer(("localhost", 0), functools.partial(Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium without a window."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if "FASTPROP_SITE" not in os.environ:
        pytest.importorskip("selenium", reason="selenium is not installed")
        if not binary or not driver:
            pytest.skip("Chromium is not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for option in [*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(option)
    driver = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield driver
    driver.quit()


def looked_at(browser, address, width):
    """What is wrong with a page at a width, in words; the page is open already."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    )
    return [f"{address} at {width} pixels {each}" for each in browser.execute_script(LOOK)]


@pytest.mark.full
def test_pages_in_chromium(browser, address):
    """No errors in the console, no missing pictures, nothing cut off or wider than the window, nothing from other hosts."""
    pages = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if "_static" not in path.parts)
    assert len(pages) > 100
    wrong = []
    for page in pages:
        browser.get(f"{address}/{page}")
        # Pictures below the window are loaded when they come into sight, which here they need not do.
        browser.execute_script("for (const image of document.images) image.loading = 'eager'")
        browser.execute_async_script("Promise.allSettled([...document.images].map(image => image.decode())).then(arguments[0])")
        for width in WIDTHS:
            wrong += looked_at(browser, page, width)
        wrong += [f"{page}: {entry['message']}" for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert not wrong, "\n".join(wrong)
