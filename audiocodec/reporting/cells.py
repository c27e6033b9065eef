"""What the page's tables are made of: the table itself, and kinds of cells, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from audiocodec.evaluation.catalogue import CODING, Measure
from audiocodec.reporting.plots.axes import colour


def table(caption: str, heads: Sequence[str], lines: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table that scrolls inside itself where the window is narrow.

    Args:
        caption: plain text.
        heads: HTML of the column heads.
        lines: HTML of the cells, each a whole `<td>` or `<th>`.
        kind: class.
    """
    head = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in lines)
    inside = f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    label = escape(caption, quote=True)
    hint = '<p class="hint" hidden>The table goes on to the right: scroll it sideways.</p>'
    return f'{hint}<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table class="{kind}">{inside}</table></div>'


def swatch(index: int) -> str:
    """A spot in the colour of a system."""
    return f'<span class="swatch {colour(index)}" aria-hidden="true"></span>'


def bracketed(bounds: Sequence[float], form: str) -> str:
    """`[low, high]`; `form` says how numbers are written."""
    return f"[{bounds[0]:{form}}, {bounds[1]:{form}}]"


def measure_head(measure: Measure) -> str:
    """The head of a column: what is measured, and which way is better."""
    return f"{escape(measure.heading)}<small>{'' if measure in CODING else measure.direction}</small>"


def difference_head(measure: Measure) -> str:
    """The head of a column of differences."""
    direction = "lower" if measure.less_is_better else "higher"
    return f"{escape(measure.compared_heading)}<small>{direction} is better</small>"


def name_cell(index: int, label: str) -> str:
    """The head of a line about a system, with its colour."""
    return f'<th scope="row" data-value="{escape(label, quote=True)}"><span class="who">{swatch(index)}<span>{escape(label)}</span></span></th>'


def head_cell(label: str) -> str:
    """The head of a line."""
    return f'<th scope="row">{escape(label)}</th>'


def cell(content: str, value: float | None = None) -> str:
    """HTML in a cell; `value` is what it is sorted by."""
    return f"<td>{content}</td>" if value is None else f'<td data-value="{value!r}">{content}</td>'


def words_cell(content: str) -> str:
    """A cell of plain text that may be long."""
    return f'<td class="words">{escape(content)}</td>'
