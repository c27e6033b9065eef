"""What a run says of itself for its card: a line of JSON in `runs.jsonl` for every time that `audiocodec train` worked on it
and was not killed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from audiocodec.errors import AudioCodecError
from audiocodec.files import read_text
from audiocodec.machine import cpu_name
from audiocodec.records import from_json, parse

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


def read(folder: Path) -> list[Run]:
    """The lines, oldest first.

    Raises:
        AudioCodecError: there are none, or a line is not one of `add`.
    """
    path, runs = folder / FILE, []
    try:
        lines = [from_json(line) for line in read_text(path).splitlines()]
    except (OSError, ValueError) as error:
        raise AudioCodecError(f"{path}: cannot read what `audiocodec train` did: {error}") from None
    for number, line in enumerate(lines, 1):
        try:
            runs.append(parse(Run, line))
        except ValueError as error:
            raise AudioCodecError(f"{path}:{number}: not a line of `audiocodec train`: {error}") from None
    if not runs:
        raise AudioCodecError(f"{path}: is empty")
    return runs


def hardware(device: torch.device) -> str:
    """Name of the card, or of the processor and how many of its cores there are."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{os.cpu_count()} cores of {cpu_name()}"
