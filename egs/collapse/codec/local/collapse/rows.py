"""The rows of the study: conf/rows.tsv, and which of them to train at which sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# FSQ has no codebooks of 2^n entries for most n: a product of levels 5 to 8 near the size of the others.
FSQ_SIZES = {1024: 1000, 8192: 8000, 65536: 64000}
HEADER = ["name", "label", "tables", "sizes", "overrides"]


class StudyError(Exception):
    """What was asked for cannot be done; the message says why."""


@dataclass(frozen=True)
class Row:
    """One line of the table: a quantizer.

    Attributes:
        name: of its folders.
        label: of its rows in the tables.
        tables: which tables show it.
        sizes: codebook sizes to train it at unless others are asked for.
        overrides: `KEY=VALUE` over the profile's configuration.
    """

    name: str
    label: str
    tables: tuple[int, ...]
    sizes: tuple[int, ...]
    overrides: tuple[str, ...]

    @property
    def from_scratch(self) -> bool:
        """Whether it trains an encoder and decoder of its own: it says for how long without a quantizer."""
        return any(word.startswith("train.warmup_autoencoder_steps=") for word in self.overrides)


@dataclass(frozen=True)
class Run:
    """One row at one size, which for FSQ is the nearest it has."""

    row: Row
    size: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.row.name}-{self.size}"

    @property
    def settings(self) -> list[str]:
        """`KEY=VALUE` over the profile's configuration."""
        fsq = "quantizer.kind=fsq" in self.row.overrides
        size = FSQ_SIZES.get(self.size, self.size) if fsq else self.size
        return [*self.row.overrides, f"quantizer.codebook_size={size}"]


def read_rows(path: Path) -> list[Row]:
    """The rows of a table file.

    Raises:
        StudyError: it is not such a table, with the line.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or lines[0].split("\t") != HEADER:
        raise StudyError(f"{path}:1: expected the columns {', '.join(HEADER)}, separated by tabs")
    rows: list[Row] = []
    for number, line in enumerate(lines[1:], 2):
        cells = line.split("\t")
        if len(cells) != len(HEADER):
            raise StudyError(f"{path}:{number}: got {len(cells)} columns, expected {len(HEADER)}")
        name, label, tables, sizes, overrides = cells
        if any(row.name == name for row in rows):
            raise StudyError(f"{path}:{number}: a second row {name}")
        rows.append(Row(name, label, _numbers(tables), _numbers(sizes), tuple(overrides.split())))
    return rows


def choose(rows: Sequence[Row], names: str, sizes: str) -> list[Run]:
    """The runs that were asked for, in the order of the table.

    Args:
        rows: all there are.
        names: of rows, separated by commas; empty: all.
        sizes: separated by commas; empty: those of each row.

    Raises:
        StudyError: no such row, or a size that is no number.
    """
    asked = [name for name in names.split(",") if name]
    known = [row.name for row in rows]
    for name in asked:
        if name not in known:
            raise StudyError(f"no row {name!r}; there are {', '.join(known)}")
    return [
        Run(row, size)
        for row in rows
        if not asked or row.name in asked
        for size in (_numbers(sizes) if sizes else row.sizes)
    ]


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise StudyError(f"expected numbers separated by commas, got {text!r}") from None
