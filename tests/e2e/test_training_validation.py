"""The utterances a run validates on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_run import config

from audiocodec.cli.main import main
from audiocodec.data.manifest import read_folder
from audiocodec.errors import ManifestError
from audiocodec.training.validation import read_utterances

pytestmark = pytest.mark.usefixtures("fresh_process")


@pytest.mark.parametrize(
    ("count", "chosen"),
    [(0, []), (1, ["u0"]), (2, ["u0", "u2"]), (3, ["u0", "u1", "u3"]), (9, [f"u{i}" for i in range(5)])],
)
def test_they_are_spread_over_the_folder(count: int, chosen: list[str], data: Path) -> None:
    read = read_utterances(read_folder(data), config(f"train.valid_utterances={count}"))
    assert [name for name, _ in read] == chosen


def test_a_command_gives_what_its_file_gives(data: Path) -> None:
    utterances = read_folder(data)
    pipes = [replace(utterance, path=f"cat {utterance.path} |") for utterance in utterances]
    made = config("train.valid_utterances=2")
    with pytest.raises(ManifestError, match="--allow-pipes"):
        read_utterances(pipes, made)
    for (_, piped), (_, plain) in zip(
        read_utterances(pipes, made, allow_pipes=True), read_utterances(utterances, made)
    ):
        assert torch.equal(piped, plain)
        assert float(plain.square().mean().sqrt()) == pytest.approx(10 ** (-24 / 20), rel=1e-3)


def test_validation_on_commands(tmp_path: Path, data: Path, command: list[str]) -> None:
    piped = tmp_path / "piped"
    piped.mkdir()
    for table in ("utt2spk", "utt2num_samples"):
        (piped / table).write_text((data / table).read_text())
    lines = [line.split(" ", 1) for line in (data / "wav.scp").read_text().splitlines()]
    (piped / "wav.scp").write_text("".join(f"{name} cat {path} |\n" for name, path in lines))
    options = ["--set", f"data.valid={piped}", "--set", "train.valid_interval=4"]
    assert main([*command, *options]) == 1  # not allowed
    assert main([*command, *options, "--allow-pipes"]) == 0
    tags = EventAccumulator(str(tmp_path / "exp" / "tensorboard")).Reload().Tags()
    assert "valid/mel" in tags["scalars"]
