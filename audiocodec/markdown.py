"""Tables in Markdown, as result pages, cards and benchmarks have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = False) -> str:
    """Lines of a table; empty where there are no rows.

    Args:
        head: of the columns.
        rows: as many cells each; `|` is escaped.
        numbers: align columns to the right whose first cell begins with a digit.
    """
    lines = [list(row) for row in rows]
    if not lines:
        return ""
    ruler = ["---:" if numbers and cell[:1].isdigit() else "---" for cell in lines[0]]
    return "\n".join([_line(head), f"|{'|'.join(ruler)}|", *map(_line, lines)])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
