"""The line below the title: how many utterances of which set, which models, when they were scored."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence

from audiocodec.evaluation.rows import SUMMARY
from audiocodec.reporting.systems import System


def about(systems: Sequence[System]) -> str:
    """The line as plain text; what is not known is left out."""
    utterances = {key for system in systems for key in system.rows}
    places = list(dict.fromkeys(place for system in systems if (place := _reference(system))))
    models = list(dict.fromkeys(system.summary.model.name for system in systems if system.summary.model is not None))
    dates = sorted({date for system in systems if (date := _date(system))})
    parts = [f"{len(utterances):,} utterances" + (f" of {', '.join(places)}" if places else "")]
    parts += [f"{'model' if len(models) == 1 else 'models'} {', '.join(models)}"] if models else []
    parts += [f"scored {' to '.join(dict.fromkeys((dates[0], dates[-1])))}"] if dates else []
    return "; ".join(parts)


def _reference(system: System) -> str:
    """What the command that scored it calls the originals."""
    words = shlex.split(system.summary.command)
    return words[words.index("--reference") + 1] if "--reference" in words[:-1] else ""


def _date(system: System) -> str:
    """Day on which its summary was written."""
    if system.folder is None:
        return ""
    return time.strftime("%Y-%m-%d", time.localtime(os.stat(system.folder / SUMMARY).st_mtime))
