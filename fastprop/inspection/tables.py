"""Tables as text."""


def table(head, rows, alignment):
    """The head and the rows, tuples of strings, in columns; ``alignment`` has '<' or '>' for each column."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    columns = list(zip(alignment, widths, strict=True))
    return "\n".join("  ".join(f"{cell:{a}{w}}" for cell, (a, w) in zip(line, columns, strict=True)).rstrip() for line in lines)
