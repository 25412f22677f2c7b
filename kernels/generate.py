"""Write what C and Cython need of `spec` to cython_backend/. Run ``python kernels/generate.py`` after a change; a test compares.

spec.h     enumerations, structures and the table of kernels
spec.pxi   structures and the table of kernels for the package's own Cython code
api.pxi    what users' Cython code may include
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
if __package__:
    from . import spec
else:  # run as a script
    sys.path.insert(0, str(HERE))
    import spec

WIDTH = 132
ENUMERATIONS = {
    "activation_code": ("", spec.ACTIVATION_CODES),
    "link_code": ("LINK_", spec.LINKS),
    "loss_code": ("", spec.LOSS_CODES),
    "optimizer_code": ("", spec.OPTIMIZER_CODES),
    "layer_kind": ("KIND_", spec.KINDS),
    "encoding": ("ENCODING_", spec.ENCODINGS),
}
C_TYPES = {"int64": "int64_t", "float64": "double"}


def declarations():
    """[(return type, name, arguments)] of the table of kernels."""
    text = re.sub(r",\n +", ", ", spec.C_KERNELS.strip())
    return [re.fullmatch(r"(.+?) ?(\w+)\((.*)\)", line).groups() for line in text.split("\n")]


def members(text):
    """[C declaration] of the members of a structure."""
    return text.strip().split("\n")


def wrapped(head, items, tail):
    """head item, item, ... tail in lines that are not too long, continued under the first item."""
    lines, line = [], head
    for i, item in enumerate(items):
        piece = item + (", " if i < len(items) - 1 else tail)
        if len(line) + len(piece.rstrip()) > WIDTH:
            lines.append(line.rstrip())
            line = " " * len(head)
        line += piece
    return "\n".join([*lines, line])


def _list_macro(name, entries):
    """A macro that calls its argument with (CODE, name) of each entry."""
    text = wrapped(f"#define {name}(X) ", [f"X({entry.upper()}; {entry})" for entry in entries], "")
    return " \\\n".join(line.replace("), X", ") X").rstrip(", ").replace(";", ",") for line in text.split("\n"))


def _numbers(name, table, number):
    """A table of a number of each entry, by its code."""
    entries = sorted(getattr(spec, table).values(), key=lambda entry: entry.code)
    return f"static const int {name}[N_{table}] = {{{', '.join(str(int(number(entry))) for entry in entries)}}};"


def header():
    """The text of spec.h."""
    parts = ["/* Made by ../generate.py from ../spec.py. */\n#pragma once\n\n#include <stddef.h>\n#include <stdint.h>\n"]
    for name, (prefix, table) in ENUMERATIONS.items():
        parts.append(wrapped(f"enum {name} {{ ", [f"{prefix}{key.upper()} = {code}" for key, code in table.items()], " };"))
    counted = [f"N_{name} = {len(getattr(spec, name))}" for name in ("ACTIVATIONS", "LOSSES", "OPTIMIZERS", "COMMON_HYPER")]
    counted += [f"{name} = {getattr(spec, name)}" for name in ("INT8_FEWEST_IN", "INT8_FEWEST_OUT", "INT8_MOST_IN")]
    parts.append(wrapped("enum { ", counted, " };"))
    parts.append(_numbers("OPTIMIZER_SLOTS", "OPTIMIZERS", lambda optimizer: optimizer.n_slots))
    parts.append(_numbers("OPTIMIZER_HYPER", "OPTIMIZERS", lambda optimizer: len(optimizer.hyper)))
    parts.append(_numbers("LOSS_HYPER", "LOSSES", lambda loss: len(loss.hyper)))
    parts.append(_numbers("LOSS_PER_OUTPUT", "LOSSES", lambda loss: loss.per_output))
    parts.append(
        "\n/* X(CODE, name) for each activation whose derivative is taken from a, or from z, and for each link (as LINK_CODE),\n"
        " * loss and optimizer. */"
    )
    for source in ("a", "z"):
        names = [name for name, activation in spec.ACTIVATIONS.items() if activation.derivative == source]
        parts.append(_list_macro(f"ACTIVATIONS_FROM_{source.upper()}", names))
    parts += [_list_macro("LINKS", spec.LINKS), _list_macro("LOSSES", spec.LOSSES), _list_macro("OPTIMIZERS", spec.OPTIMIZERS)]
    for struct, table in (("layer", spec.LAYER_FIELDS), ("column", spec.COLUMN_FIELDS)):
        fields = [f"    {C_TYPES[field.__name__]} {name};" for name, field in table.items()]
        parts.append(f"\nstruct {struct} {{\n" + "\n".join(fields) + "\n};")
    for name, text in (("rows", spec.C_ROWS), ("job", spec.C_JOB)):
        parts.append(f"\nstruct {name} {{\n" + "\n".join(f"    {member};" for member in members(text)) + "\n};")
    lines = [wrapped(f"    {returns} (*{name})(", arguments.split(", "), ");") for returns, name, arguments in declarations()]
    parts.append("\nstruct kernels {\n" + "\n".join(lines) + "\n};")
    table = [f"KERNEL({name})" for _, name, _ in declarations()]
    parts.append("\n#define KERNEL_TABLE \\\n" + " \\\n".join(wrapped("    ", table, "").split("\n")))
    return "\n".join(parts) + "\n"


def _cython(text):
    return text.replace("struct ", "")


def _function(returns, name, arguments):
    return wrapped(f"        {returns} (*{name})(", [_cython(a) for a in arguments.split(", ")], ") noexcept nogil")


def own_pxi():
    """The text of spec.pxi."""
    parts = ["# Made by ../generate.py from ../spec.py.\n", 'cdef extern from "engine.h":']
    parts.append("    cdef struct layer:\n        ptrdiff_t n_in, n_out, offset")
    parts.append("    cdef struct column:\n        ptrdiff_t n")
    for name, text in (("rows", spec.C_ROWS), ("job", spec.C_JOB)):
        parts.append(f"    cdef struct {name}:\n" + "\n".join(f"        {_cython(member)}" for member in members(text)))
    functions = [_function(*declaration) for declaration in declarations()]
    parts.append("    cdef struct kernels:\n" + "\n".join(functions))
    return "\n".join(parts) + "\n"


API_HEAD = """\
# Made by ../generate.py from ../spec.py.
#
# The kernels for a user's own Cython module: include this file, with this folder among the include paths of cythonize and among the
# include_dirs of the Extension. examples/kernels_cython.py builds such a module.
#
# The kernels are compiled into the user's module, with the user's flags: -O3 -march=native for instance, and -pthread if the C
# library has threads in a separate library. So there is no binary interface that could change, and no import at run time.
#
# Pointers are untyped: KERNELS_f32 takes float arrays, KERNELS_f64 double arrays, all C-contiguous, shapes as in ../reference.
# Only the numbers of activations, losses and optimizers are checked, which are those below: another one aborts the process. NULL
# means "not given". Functions that return int return 0, or -1 if memory could not be allocated; nothing was changed then. No Python
# object is touched: all run without the GIL.

from libc.stddef cimport ptrdiff_t

cdef extern from "engine.h":
    # The kernels that a user is likely to need. Others of the table in spec.h can be declared in the same way.
    cdef struct kernels:
"""
API_TAIL = """
    const kernels KERNELS_f32
    const kernels KERNELS_f64

    # Call once when the module is imported, so that a forked child knows that it does not have its parent's threads.
    void threads_init() noexcept nogil

"""


def api_pxi():
    """The text of api.pxi."""
    by_name = {declaration[1]: declaration for declaration in declarations()}
    lines = []
    for name, comment in spec.C_API.items():
        lines += [f"        # {line}" for line in comment.split("\n") if line]
        lines.append(_function(*by_name[name]))
    tables = (spec.ACTIVATIONS, spec.LOSSES, spec.OPTIMIZERS)
    names = [wrapped("    int ", [name.upper() for name in table], "") for table in tables]
    return API_HEAD + "\n".join(lines) + "\n" + API_TAIL + "\n".join(names) + "\n"


FILES = {"spec.h": header, "spec.pxi": own_pxi, "api.pxi": api_pxi}

if __name__ == "__main__":
    for file, text in FILES.items():
        (HERE / "cython_backend" / file).write_text(text())
