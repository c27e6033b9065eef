"""What a user names to get a report: folders of evaluations, a folder of them as `compare` leaves it, or files in them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from audiocodec import models
from audiocodec.errors import AudioCodecError, UsageError
from audiocodec.evaluation.comparison_file import COMPARISON, RESULTS, read_against
from audiocodec.evaluation.rows import FINISHED, GROWING, SUMMARY
from audiocodec.evaluation.summary_file import Summary
from audiocodec.model_header import ModelHeader

AnyPath = str | os.PathLike[str]


def evaluations(named: Sequence[AnyPath]) -> list[Path]:
    """The folders of evaluations that are meant, in the order they are named; one is there twice only if it is named twice.

    Args:
        named: such a folder; a folder that holds some; `summary.json` or `rows.jsonl` of one; what else `compare` writes
            beside the folders, as in `compared/*`, adds nothing.

    Raises:
        UsageError: it is not there, or a file that is nothing of these.
        AudioCodecError: a folder holds no evaluation, or one that is not finished.
    """
    found: list[Path] = []
    for name in named:
        meant = list(_meant(Path(name)))
        found += meant if meant == [Path(name)] else [folder for folder in meant if folder not in found]
    if named and not found:
        raise UsageError(f"{named[0]}: lies beside evaluations; name their folders, or the folder that holds them")
    return found


def against_of(folders: Sequence[Path]) -> Path | None:
    """The folder that the others are compared with, as the comparison that made them says; None: it says none, or several."""
    said = {place / label for place in {folder.parent for folder in folders} if (label := read_against(place))}
    there = [folder for folder in folders if folder in said]
    return there[0] if len(there) == 1 else None


def labels_of(folders: Sequence[Path], summaries: Sequence[Summary]) -> list[str]:
    """What to call evaluations: by their model, by their folder, or by their whole path where shorter names are equal."""
    by_folder = [_by_folder(folder) for folder in folders]
    called = [_by_model(summary) or name for summary, name in zip(summaries, by_folder)]
    for names in (called, by_folder):
        if max(Counter(names).values(), default=0) <= 1:
            return names
    return [str(folder) for folder in folders]


def _meant(path: Path) -> Iterator[Path]:
    if not path.exists():
        raise UsageError(f"{path}: No such file or directory")
    if path.is_dir():
        inside = [] if _is_evaluation(path) else sorted(entry for entry in path.iterdir() if _is_evaluation(entry))
        yield from inside or [path]  # what is none is refused with its summary
    elif path.name in (SUMMARY, FINISHED):
        yield path.parent
    elif path.name not in (COMPARISON, RESULTS):
        raise UsageError(f"{path}: not a folder that `evaluate` or `compare` wrote, nor its {SUMMARY}")


def _is_evaluation(folder: Path) -> bool:
    """Whether it is one.

    Raises:
        AudioCodecError: it is one that is not finished.
    """
    if (folder / SUMMARY).is_file():
        return True
    if (folder / GROWING).exists() or (folder / FINISHED).exists():
        raise AudioCodecError(f"{folder}: the evaluation is not finished; run its command again with --resume")
    return False


def _by_folder(folder: Path) -> str:
    """Name of the folder, or `<experiment>/<set>` in a recipe."""
    parts = folder.resolve().parts
    return f"{parts[-3]}/{parts[-1]}" if len(parts) >= 3 and parts[-2] == "eval" else parts[-1]


def _by_model(summary: Summary) -> str | None:
    """Name of the model, `-N` with its first N codebooks; None for others, and where `compare` or a recipe chose a name."""
    if len(summary.codecs) != 1 or summary.command.startswith("audiocodec compare"):
        return None
    for name, header in models.at_hand().items():
        if isinstance(header, ModelHeader) and header.fingerprint == summary.codecs[0]:
            used = len(summary.codebooks)
            return f"{name}-{used}" if 0 < used < header.config.quantizer.num_codebooks else name
    return summary.model.name if summary.model is not None else None
