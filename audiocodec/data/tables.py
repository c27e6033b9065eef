"""Tables of a Kaldi-style data folder: lines of `id value`, as editors of any system leave them."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiocodec.data.excerpt import Excerpt
from audiocodec.data.pipes import is_pipe
from audiocodec.errors import ManifestError

_SHOWN = 10  # problems named in one error message
_OFFSET = re.compile(r".*\.(ark|scp):\d+(\[.*\])?", re.DOTALL)


@dataclass(frozen=True)
class Problem:
    """Something wrong with a data folder or an audio file: where, and what."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def refuse(problems: Sequence[object]) -> None:
    """Nothing where there are no problems.

    Raises:
        ManifestError: naming the first ten, and how many more there are.
    """
    if problems:
        more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise ManifestError("\n".join([str(p) for p in problems[:_SHOWN]] + more))


def words(line: str, count: int = 2) -> list[str]:
    """At most `count` words of a line; the last may hold spaces. Tabs, a byte order mark and blanks at the ends do not count."""
    found = line.removeprefix("\ufeff").split(None, count - 1)
    return [*found[:-1], found[-1].strip()] if found else []


def read_lines(path: Path, problems: list[Problem], least: int = 2, most: int = 2) -> list[tuple[int, list[str]]]:
    """(line number, words) of one table; lines of too few words are reported and left out."""
    lines = []
    for number, line in enumerate(_text(path, problems), 1):
        found = words(line, most)
        if len(found) >= least:
            lines.append((number, found))
        elif found:
            need = {2: "'id value'", 4: "'id recording start end'"}.get(least, "an id")
            problems.append(Problem(f"{path}:{number}", f"expected {need}, got {line.strip()!r}"))
    return lines


def read_table(path: Path, problems: list[Problem]) -> list[tuple[str, str]]:
    """Pairs of one table; malformed lines and repeated ids are reported and left out."""
    pairs: dict[str, str] = {}
    for number, (key, value) in read_lines(path, problems):
        if key in pairs:
            problems.append(Problem(f"{path}:{number}", f"duplicate id {key}"))
        else:
            pairs[key] = value
    return list(pairs.items())


def read_segments(path: Path, recordings: dict[str, str], problems: list[Problem]) -> list[tuple[str, Excerpt]]:
    """(id, part of a recording) of each line of `segments`; wrong lines and repeated ids are reported and left out."""
    found: dict[str, Excerpt] = {}
    for number, (key, recording, *times) in read_lines(path, problems, 4, 5):
        span = span_of(times)
        if key in found:
            message = f"duplicate id {key}"
        elif recording not in recordings:
            message = f"recording {recording} is not in wav.scp"
        elif span is None:
            message = f"expected 'id recording start end' in seconds, got {' '.join(times)!r}"
        elif len(times) > 2 and times[2] != "-1":
            message = f"channel {times[2]} of a recording is not supported; channels are mixed"
        else:
            found[key] = Excerpt(recordings[recording], recording, *span, str(path))
            continue
        problems.append(Problem(f"{path}:{number}", message))
    return list(found.items())


def span_of(times: Sequence[str]) -> tuple[float, float | None] | None:
    """(start, end) in seconds; an end of -1 is that of the recording, None. None where they make no sense."""
    try:
        start, end = float(times[0]), float(times[1])
    except ValueError:
        return None
    if 0 <= start < end < float("inf"):
        return start, end
    return (start, None) if 0 <= start < float("inf") and end == -1 else None


def path_problems(table: Path, pairs: Iterable[tuple[str, str]], allow_pipes: bool) -> Iterator[Problem]:
    """What is wrong with the paths and commands of a `wav.scp`, but for the files themselves."""
    for key, path in pairs:
        if why := unsupported(path, allow_pipes):
            yield Problem(str(table), f"{key} {why}")


def unsupported(path: str, allow_pipes: bool) -> str:
    """Why a value of a `wav.scp` is not read, in words that follow its id; empty: it is."""
    if is_pipe(path):
        return "" if allow_pipes else f"is a command ({path}); commands run only with --allow-pipes"
    if path.startswith("|"):
        return f"is a command that audio is written to ({path}), which cannot be read"
    if path == "-":
        return "is the standard input (-), which a list cannot name"
    if _OFFSET.fullmatch(path):
        return f"is a place in an archive ({path}), which is not supported; make files of it (Kaldi: wav-copy)"
    return ""


def _text(path: Path, problems: list[Problem]) -> list[str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        problems.append(Problem(str(path), error.strerror or str(error)))
        return []
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        problems.append(Problem(str(path), "is UTF-16 text; save it as UTF-8"))
        return []
    text = data.decode("utf-8", errors="surrogateescape")
    return text.split("\n" if "\n" in text else "\r")  # a \r before a \n is a blank at the end
