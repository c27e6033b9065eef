"""What a run says of itself for its card: a line of JSON in `runs.jsonl` for every time that `audiocodec train` worked on it
and was not killed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from audiocodec.errors import AudioCodecError
from audiocodec.machine import cpu_name

FILE = "runs.jsonl"


@dataclass(frozen=True)
class Run:
    """One time that the command worked.

    Attributes:
        begins_with: name and fingerprint of the model whose weights the experiment began with; empty: random ones; None:
            not known.
        first_step, last_step: where the work began and ended.
        seconds: wall time between them.
        hardware: see `hardware`.
        processes: how many worked.
        threads: of each.
        torch: its version.
        clips, hours, speakers: of the training audio.
    """

    begins_with: str | None
    first_step: int
    last_step: int
    seconds: float
    hardware: str
    processes: int
    threads: int
    torch: str
    clips: int
    hours: float
    speakers: int


def add(folder: Path, run: Run) -> None:
    """Append a line to the history of the experiment in `folder`."""
    with (folder / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(run)) + "\n")


def read(folder: Path) -> list[dict[str, Any]]:
    """The lines, oldest first.

    Raises:
        AudioCodecError: there are none, or a line is not one of `add`.
    """
    path = folder / FILE
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise AudioCodecError(f"{path}: cannot read what `audiocodec train` did: {error}") from None
    for number, line in enumerate(lines, 1):
        if not isinstance(line, dict) or line.keys() != {field.name for field in fields(Run)}:
            raise AudioCodecError(f"{path}:{number}: not a line of `audiocodec train`")
    if not lines:
        raise AudioCodecError(f"{path}: is empty")
    return lines


def hardware(device: torch.device) -> str:
    """Name of the card, or of the processor and how many of its cores there are."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{os.cpu_count()} cores of {cpu_name()}"
