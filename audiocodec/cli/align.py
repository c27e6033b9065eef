"""Tables for a terminal: columns of equal width, folded where they are wider than a terminal is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

WIDTH = 100
_GAP = "  "


def align(lines: Sequence[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Columns of equal width; those beyond `WIDTH` follow below, beside the first column again.

    Args:
        lines: cells, the same number in each line.
        right: columns to align at their right.
    """
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    to_right = set(right)
    return "\n\n".join("\n".join(_line(line, block, widths, to_right) for line in lines) for block in _blocks(widths))


def _blocks(widths: Sequence[int]) -> list[list[int]]:
    """The columns of each part of the table, every part with the first column."""
    blocks = [[0]]
    for column in range(1, len(widths)):
        used = sum(widths[one] + len(_GAP) for one in blocks[-1])
        if len(blocks[-1]) > 1 and used + widths[column] > WIDTH:
            blocks.append([0])
        blocks[-1].append(column)
    return blocks


def _line(line: Sequence[str], block: Sequence[int], widths: Sequence[int], to_right: set[int]) -> str:
    cells = (line[n].rjust(widths[n]) if n in to_right else line[n].ljust(widths[n]) for n in block)
    return _GAP.join(cells).rstrip()
