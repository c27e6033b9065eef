"""Whether a run may go on from a checkpoint: what must be as it was, and what a user may change on the way.

Rates, weights of losses, intervals, data and batch size may change: a data position counts segments, whatever their
length and however many a step takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from audiocodec import model_file, model_places
from audiocodec.config.schema import Config
from audiocodec.errors import CheckpointError

FIXED = ("seed", "sample_rate", "channels", "model", "quantizer", "discriminator", "data.level_db")
FREE = (
    "discriminator.segment_seconds",
    "discriminator.start_step",
    "discriminator.alone_steps",
    "discriminator.interval",
)


def refuse_other(folder: Path, config: Config) -> None:
    """Compare the configuration in a checkpoint with that of the run.

    Args:
        folder: the checkpoint.
        config: of the run that wants to go on from it.

    Raises:
        CheckpointError: naming every key that must not differ and does, or that the checkpoint has no configuration.
    """
    path = folder / model_places.MODEL_FILE
    then = dict(_flat(asdict(model_file.describe(path).config)))
    now = dict(_flat(asdict(config)))
    different = [f"{key} was {then[key]}, is {now[key]}" for key in now if _must_stay(key) and then[key] != now[key]]
    if different:
        raise CheckpointError(f"{folder}: cannot go on from it with another configuration: {'; '.join(different)}")


def _must_stay(key: str) -> bool:
    return key not in FREE and any(key == fixed or key.startswith(f"{fixed}.") for fixed in FIXED)


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
