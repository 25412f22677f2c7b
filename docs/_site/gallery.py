"""The examples as sphinx-gallery reads them: text blocks in reStructuredText, made of the Markdown cells of the scripts."""

import re
import shutil
from pathlib import Path

import jupytext
from sphinx_gallery.scrapers import figure_rst

EXAMPLES = Path(__file__).parents[2] / "examples"
# Shown, but not run when the site is built.
NOT_RUN = {
    "dask_cluster": "it starts a Dask cluster of two processes",
    "kernels_cython": "it compiles a Cython module, which needs a C compiler and half a minute",
    "kernels_njit": "Numba compiles for a minute before it begins",
    "mpi_training": "it needs MPI and is made for several processes",
    "pytorch_gradients": "it needs PyTorch",
}
# The order of the pages: the lessons as they are taught, then the others.
ORDER = [
    "lesson_graphs",
    "lesson_network",
    "lesson_deep",
    "lesson_information",
    "lesson_training",
    "kernels_python",
    "kernels_njit",
    "kernels_cython",
    "mpi_training",
    "dask_cluster",
    "pytorch_gradients",
]
HEADER = """\
Examples
========

Five lessons teach backpropagation in order, from the chain rule to a trained network. The others are stories of their own: training
loops on the kernels, processes and clusters, a comparison with PyTorch. Each is a script that runs as it is, and a notebook.
"""


def settings(docs):
    """What sphinx-gallery is told, after the scripts were converted."""
    sources = docs / "_build" / "gallery"
    convert(sources)
    return {
        "examples_dirs": str(sources),
        "gallery_dirs": "gallery",
        "filename_pattern": rf"/(?!{'|'.join(NOT_RUN)})\w+\.py$",
        "within_subsection_order": "gallery.Order",
        "abort_on_example_error": True,
        "download_all_examples": False,
        "remove_config_comments": True,
        "show_memory": False,
        "min_reported_time": 1e9,
        "write_computation_times": False,
        "show_signature": False,
        "thumbnail_size": (400, 280),
        "matplotlib_animations": False,
        "capture_repr": (),
        "image_scrapers": ("gallery.saved_pictures",),
        "default_thumb_file": str(docs / "_static" / "favicon.svg"),
    }


def saved_pictures(block, block_vars, gallery_conf):
    """Show a picture where the script saves it. A figure may be filled by several blocks, and before that be half empty."""
    script, names = Path(block_vars["src_file"]), []
    for path in sorted(script.parent.glob(f"{script.stem}*.png")):
        names.append(next(block_vars["image_path_iterator"]))
        shutil.move(path, names[-1])
    return figure_rst(names, gallery_conf["src_dir"])


class Order:
    """The place of a script in the gallery."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, filename):
        """Give the place of a file."""
        return ORDER.index(Path(filename).stem)

    def __repr__(self):
        """Without an address: Sphinx compares settings with those of the last build."""
        return "<Order>"


def convert(folder):
    """Write the scripts into a folder; files that have not changed stay as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {path.name: script(path) for path in EXAMPLES.glob("*.py")}
    texts |= {path.name: path.read_text(encoding="utf-8") for path in EXAMPLES.glob("*.pyx")}
    texts["GALLERY_HEADER.rst"] = HEADER
    for name, text in texts.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def script(path):
    """The text of an example with a docstring in front and comments between blocks of code."""
    (first, *cells) = jupytext.read(path, fmt="py:percent").cells
    reason = NOT_RUN.get(path.stem)
    note = f"\n\n.. note:: This page shows the script without its output: {reason}." if reason else ""
    parts = [f'"""\n{restructured(first.source)}{note}\n"""']
    for cell in cells:
        if cell.cell_type == "markdown":
            lines = restructured(cell.source).splitlines()
            parts.append("\n".join(["# %%", *(f"# {line}".rstrip() for line in lines)]))
        else:
            parts.append(cell.source if parts[-1].startswith("# %%\n# ") else f"# %%\n{cell.source}")
    return "\n\n".join(parts) + "\n"


def restructured(markdown):
    """A cell's Markdown as reStructuredText: of a title, code in backticks and indented blocks, which is all that there is."""
    text = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", markdown)
    text = re.sub(r"^# (.+)$", lambda found: f"{found[1]}\n{'=' * len(found[1])}", text, flags=re.MULTILINE)
    return re.sub(r"(?<=\S)\n\n(?=    \S)", "\n\n::\n\n", text)
