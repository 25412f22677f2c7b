"""The contents of a C file, as they are collected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .c_functions import FUNCTIONS, NEEDS
from .c_text import floats, table

BYTES = {"float": 4, "double": 8, "int8_t": 1}


class CFile:
    """Tables, and functions of two kinds: those of `c_functions`, added when they are first called, and those of the model.

    Parameters
    ----------
    name : str
        Prefix of all names in the file.
    out_type : {'float', 'double'}
        Type of the outputs.
    """

    def __init__(self, name: str, out_type: str) -> None:
        self.name, self._out_type = name, out_type
        self._tables: dict[str, str] = {}
        self._called: set[str] = set()
        self._own: list[str] = []

    def table(self, c_type: str, name: str, values: Sequence[str]) -> str:
        """Add a table, unless it exists, and return its full name."""
        name = f"{self.name}_{name}"
        self._tables.setdefault(name, table(c_type, name, values))
        return name

    def floats(self, name: str, values: Any) -> str:
        """Add a table of numbers as float, and return its full name."""
        return self.table("float", name, floats(values, name))

    def call(self, function: str, *arguments: Any) -> str:
        """A call of a function of `c_functions`."""
        self._called |= {function, *NEEDS.get(function, ())}
        return f"{self.name}_{function}({', '.join(map(str, arguments))})"

    def function(self, declaration: str, lines: Sequence[str], static: bool = True) -> None:
        """Add a function; ``declaration`` has PREFIX in place of the name of the file."""
        declaration = declaration.replace("PREFIX", self.name)
        self._own.append(f"{'static ' * static}{declaration}\n{{\n" + "".join(f"    {line}\n" for line in lines) + "}\n")

    def text(self, *begin: str) -> str:
        """The text of the file, after the given parts."""
        called = [text for function, text in FUNCTIONS.items() if function in self._called]
        called = [text.replace("PREFIX", self.name).replace("REAL", self._out_type) for text in called]
        return "\n".join([*begin, *self._tables.values(), *called, *self._own])
