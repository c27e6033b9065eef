"""Errors in the middle of a step: said, kept for later, and never hidden by what fails after them."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file
from support.training_run import config, trainer
from torch import Tensor

from audiocodec.cli.main import main
from audiocodec.errors import CheckpointError, TrainingError
from audiocodec.training.batches.feeder import Feeder
from audiocodec.training.checkpoints import keeper
from audiocodec.training.losses import Steps
from audiocodec.training.monitor import crash

pytestmark = pytest.mark.usefixtures("fresh_process")


def _fail(monkeypatch: pytest.MonkeyPatch, error: BaseException, call: int = 2) -> None:
    """Makes a call of the codec's half of a step raise."""
    real, count = Steps.generator, iter(range(10**9))

    def failing(self: Steps, *arguments: Any) -> dict[str, Tensor]:
        if next(count) == call:
            raise error
        return real(self, *arguments)

    monkeypatch.setattr(Steps, "generator", failing)


def test_a_step_that_fails_says_so_and_keeps_what_it_was_taken_with(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fail(monkeypatch, torch.OutOfMemoryError("no room for 3 GiB"))
    assert main(command) == 1
    message = capsys.readouterr().err
    assert "step 2: OutOfMemoryError: no room for 3 GiB" in message and "Traceback" not in message
    assert "step 2: OutOfMemoryError: no room for 3 GiB" in (tmp_path / "exp" / "train.log").read_text()
    (path,) = (tmp_path / "exp" / "crash").glob("*.json")
    bundle = json.loads(path.read_text())
    assert str(path) in message and bundle["step"] == 2 and "in failing" in bundle["error"]
    assert [(s["epoch"], s["index"]) for s in bundle["segments"]] == [(0, 4), (0, 5)]  # two items a step
    weights = load_file(path.with_suffix(".safetensors"))
    assert {name.split(".")[0] for name in weights} == {"codec", "ema", "discriminators"}


FULL = [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("No space left on device (os error 28)")]


@pytest.mark.parametrize("full", FULL, ids=["OSError", "SafetensorError"])
def test_a_full_disk_does_not_hide_the_first_error(
    full: Exception, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = RuntimeError("first")
    _fail(monkeypatch, first)
    _fill(monkeypatch, full)
    with pytest.raises(TrainingError, match="step 2: RuntimeError: first") as caught:
        trainer(config(), tmp_path, data).run()
    assert caught.value.__cause__ is first
    assert "cannot write the crash bundle" in caplog.text and "No space left" in caplog.text
    assert [path.suffix for path in (tmp_path / "crash").iterdir()] == [".json"]


@pytest.mark.parametrize("full", FULL, ids=["OSError", "SafetensorError"])
def test_a_bad_step_is_skipped_on_a_full_disk_too(
    full: Exception, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = Feeder.next, iter(range(10**9))

    def spoilt(self: Feeder) -> tuple[Tensor, list[tuple[int, int]]]:
        wav, items = real(self)
        return (wav * torch.nan if next(count) == 2 else wav), items

    monkeypatch.setattr(Feeder, "next", spoilt)
    _fill(monkeypatch, full)
    run = trainer(config(), tmp_path, data)
    assert run.run() == 4 and run.guard.skipped == 1


def _fill(monkeypatch: pytest.MonkeyPatch, full: Exception) -> None:
    def write_tensors(path: Path, weights: dict[str, Tensor]) -> None:
        Path(path).write_bytes(b"half")
        raise full

    monkeypatch.setattr(crash, "write_tensors", write_tensors)


def test_an_interrupt_is_no_failure(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        trainer(config(), tmp_path, data).run()
    assert not (tmp_path / "crash").exists()


@pytest.mark.parametrize(("checkpoints", "begins"), [(0.9, False), (3.9, True), (4.1, True)])
def test_a_disk_that_is_too_small_is_told_before_the_first_step(
    checkpoints: float, begins: bool, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Three are kept, and a fourth is there while the oldest goes."""
    trainer(config(), tmp_path / "whole", data).run()
    folder = tmp_path / "whole" / "checkpoints" / "step_00000004"
    # Without headers and JSON, which are large for weights as few as these.
    size = sum(tensor.nbytes for path in folder.glob("*.safetensors") for tensor in load_file(path).values())
    monkeypatch.setattr(keeper.shutil, "disk_usage", lambda path: SimpleNamespace(free=int(checkpoints * size)))
    run = trainer(config(), tmp_path / "small", data)
    if not begins:
        with pytest.raises(CheckpointError, match=r"small/checkpoints: a checkpoint takes .* GB, .* GB are free"):
            run.run()
        assert run.step == 0 and not run.keeper.checkpoints.exists()
        return
    assert run.run() == 4
    assert ("checkpoints will take" in caplog.text) == (checkpoints < 4)
