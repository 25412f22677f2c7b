"""The site: `docs/build` makes it of the pages in this folder, the docstrings, and the examples."""

import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_site"))

import gallery  # noqa: E402, of docs/_site
import links  # noqa: E402

import fastprop  # noqa: E402

# Examples draw without a screen.
os.environ["MPLBACKEND"] = "agg"

project = "fastprop"
author = "the fastprop developers"
copyright = "the fastprop developers, BSD-3-Clause"
version = release = fastprop.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_site", "_templates"]
root_doc = "index"
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
# What stands in single backticks in docstrings; what is no name of ours is code.
default_role = "py:obj"

# Pages: Markdown that a code host shows, too.
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# A glob in a table of contents may be there for pages to come.
suppress_warnings = ["toc.empty_glob"]

# Reference
autosummary_generate = True
autodoc_typehints = "none"  # docstrings have types in words
autodoc_member_order = "groupwise"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
numpydoc_validation_checks = set()  # tests/test_docstrings.py does that

# Gallery
sphinx_gallery_conf = gallery.settings(DOCS)

# Nothing is loaded from another host.
html_theme = "pydata_sphinx_theme"
html_title = f"fastprop {release}"
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
# The tables of the reference and the search find names better.
html_use_index = html_domain_indices = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "fastprop"},
    "navbar_align": "left",
    "header_links_before_dropdown": 5,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
# Pages without pages below them.
SINGLE = [
    "how-it-works/index",
    "performance",
    "tables",
    "tuning",
    "contributing",
    "changelog",
    "benchmarks",
    "scikit-learn-contrib",
]
html_sidebars = {page: [] for page in SINGLE}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"

# `docs/build --external-links`
linkcheck_timeout = 20
linkcheck_retries = 2


def skip_inherited(app, what, name, member, skip, options):
    """Leave out the methods that scikit-learn makes and documents: its references lead to its own site."""
    function = getattr(member, "fget", member)
    theirs = (getattr(function, "__module__", None) or "").startswith("sklearn.")
    return True if theirs or (name.startswith("set_") and name.endswith("_request")) else None


def setup(app):
    """Connect what Sphinx asks and tells."""
    app.connect("source-read", links.rewrite)
    app.connect("autodoc-skip-member", skip_inherited)
