"""Tables: the same cells as aligned text for `print`, and as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Generic, TypeVar

Row = TypeVar("Row", bound=Any)

# No colours, so that those of the page apply, dark or light. Cells keep line breaks.
TABLE = "border-collapse: collapse; font-family: monospace; white-space: pre; background: none"
ROW = "vertical-align: top; border-bottom: thin solid; background: none"
CELL = "padding: 0.15em 0.8em; text-align: "


class Table:
    """A table of strings.

    Parameters
    ----------
    head : sequence of str
        The titles of the columns.
    rows : sequence of sequences of str
        The cells. In a table that is printed as text, they are single lines.
    alignment : str
        '<' (left) or '>' (right) for each column.
    caption, footer : str
        A line above and a line below the table, or empty.
    """

    def __init__(
        self, head: Sequence[str], rows: Sequence[Sequence[str]], alignment: str, *, caption: str = "", footer: str = ""
    ) -> None:
        self.head, self.rows, self.alignment, self.caption, self.footer = head, rows, alignment, caption, footer

    def __str__(self) -> str:
        lines = [self.head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        columns = list(zip(self.alignment, widths, strict=True))
        text = ["  ".join(f"{cell:{a}{w}}" for cell, (a, w) in zip(line, columns, strict=True)).rstrip() for line in lines]
        return "\n".join([line for line in (self.caption, *text, self.footer) if line])

    def html(self) -> str:
        """The table as one HTML element, without style sheet and script."""
        caption = f'<caption style="text-align: left">{escape(self.caption)}</caption>' if self.caption else ""
        head, rows = self._line("th", self.head), "".join(self._line("td", row) for row in self.rows)
        foot = f'<tfoot><tr><td colspan="{len(self.head)}" style="{CELL}left">{escape(self.footer)}</td></tr></tfoot>'
        parts = caption, f"<thead>{head}</thead>", f"<tbody>{rows}</tbody>", foot if self.footer else ""
        return f'<table style="{TABLE}">{"".join(parts)}</table>'

    def _line(self, tag, cells):
        sides = ({"<": "left", ">": "right"}[side] for side in self.alignment)
        written = (f'<{tag} style="{CELL}{side}">{escape(cell)}</{tag}>' for cell, side in zip(cells, sides, strict=True))
        return f'<tr style="{ROW}">{"".join(written)}</tr>'


class Tabular:
    """Base of objects that are shown as a table: as text by `repr`, as HTML in a notebook. Subclasses define ``_table``."""

    def _table(self) -> Table:
        raise NotImplementedError

    def __repr__(self) -> str:
        return str(self._table())

    def _repr_html_(self) -> str:
        return self._table().html()


class NamedRows(Tabular, Generic[Row]):
    """A table with ``rows`` that are found by their ``name``. ``_lookup`` says in words what is looked up."""

    rows: list[Row]
    _lookup: str

    def __getitem__(self, name: str | int) -> Row:
        """The row with a name; the name of a layer may also be given as a number."""
        for row in self.rows:
            if row.name == str(name):
                return row
        raise KeyError(f"no {self._lookup} {name!r}; there are {[row.name for row in self.rows]}")
