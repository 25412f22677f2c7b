"""Pieces of C: names, numbers, strings, comments and tables; any value gives valid C99."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

KEYWORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int long register restrict return
short signed sizeof static struct switch typedef union unsigned void volatile while
"""
# The longest string that a C99 compiler must accept.
LONGEST_STRING = 4095
PER_LINE = {"float": 8, "double": 5, "int8_t": 24, "int": 20, "long long": 6}


def checked_name(name: Any) -> str:
    """The prefix of all names in the C file, if it is valid."""
    if not isinstance(name, str):
        raise TypeError(f"name must be a str; got {name!r}")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in KEYWORDS.split():
        raise ValueError(f"name must be an identifier of C: letters, digits and _, a letter first, and no keyword; got {name!r}")
    return name


def table(c_type: str, name: str, values: Iterable[str], static: bool = True) -> str:
    """The definition of a constant array."""
    values = list(values)
    size = PER_LINE.get(c_type.removeprefix("const "), 1)
    lines = [", ".join(values[start : start + size]) for start in range(0, len(values), size)]
    body = ",\n    ".join(lines)
    return f"{'static ' * static}const {c_type} {name}[{len(values)}] = {{\n    {body}\n}};\n"


def floats(values: Any, what: str) -> list[str]:
    """Literals of float that are read as exactly these numbers, rounded to float32."""
    with np.errstate(over="ignore"):
        rounded = np.asarray(values, np.float64).astype(np.float32).ravel()
    if not np.isfinite(rounded).all():
        raise ValueError(f"{what} cannot be exported: a number is too large for float32")
    return [f"{text}f" for text in rounded.astype(str).tolist()]


def doubles(values: Any) -> list[str]:
    """Literals of double that are read as exactly these numbers."""
    return [repr(value) for value in np.asarray(values, np.float64).ravel().tolist()]


def integers(values: Any) -> list[str]:
    """Literals of integers."""
    return list(map(str, np.asarray(values).ravel().tolist()))


def string(value: str) -> str:
    """A string literal: ASCII, with bytes of UTF-8 in octal, without trigraphs."""
    if len(value.encode()) > LONGEST_STRING:
        raise NotImplementedError(f"a label of more than {LONGEST_STRING} bytes cannot be a string in C: {value[:40]!r}...")
    plain = {byte: chr(byte) for byte in range(32, 127)} | {ord(char): f"\\{char}" for char in '"\\?'}
    return '"' + "".join(plain.get(byte, f"\\{byte:03o}") for byte in value.encode()) + '"'


def comment(lines: Sequence[str]) -> str:
    """A comment with these lines."""
    first, *others = lines
    return f"/* {first}\n" + "".join(f" * {line}".rstrip() + "\n" for line in others) + " */\n"


def quoted(value: Any) -> str:
    """A name or label for use in a comment: ASCII, without trigraphs or the beginning or end of a comment."""
    text = ascii(value.item() if isinstance(value, np.generic) else value)
    return text.replace("*/", "*\\/").replace("/*", "/\\*").replace("??", "?\\?")
