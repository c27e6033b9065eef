"""Steps whose losses are not finite: skipped without a trace, then a lower rate, then back, then an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.training_run import config, stopping_at, trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from audiocodec.cli.main import main
from audiocodec.errors import TrainingError
from audiocodec.training.batches.feeder import Feeder
from audiocodec.training.checkpoints import state

pytestmark = pytest.mark.usefixtures("fresh_process")


def _spoil(monkeypatch: pytest.MonkeyPatch, calls: range) -> list[list[tuple[int, int]]]:
    """Makes the numbered micro-batches NaN; returns the segments that were spoilt, as they come."""
    real, count, spoilt = Feeder.next, iter(range(10**9)), []

    def bad(self: Feeder) -> tuple[Tensor, list[tuple[int, int]]]:
        wav, items = real(self)
        if next(count) in calls:
            wav = torch.full_like(wav, torch.nan)
            spoilt.append(items)
        return wav, items

    monkeypatch.setattr(Feeder, "next", bad)
    return spoilt


@pytest.mark.parametrize("balancer", ["false", "true"])
def test_a_bad_step_changes_nothing_but_the_position(
    balancer: str, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config(f"train.steps=3 train.log_interval=1 loss.balancer={balancer}")
    spoilt = _spoil(monkeypatch, range(2, 3))
    run = trainer(made, tmp_path, data, kind=stopping_at(2))
    assert run.run() == 2
    before = {name: tensor.clone() for name, tensor in run.parts.raw_codec.state_dict().items()}
    norms = json.dumps(run.steps.balancer.state if run.steps.balancer else {})
    moments = [t.clone() for entry in run.parts.optimizers["codec"].state.values() for t in entry.values()]
    run.feeder = run._feeder()
    run._train_step()  # the third batch: all NaN
    assert run.step == 2 and run.guard.skipped == 1 and run.position == 6
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.parts.raw_codec.state_dict().items())
    assert json.dumps(run.steps.balancer.state if run.steps.balancer else {}) == norms
    after = [t for entry in run.parts.optimizers["codec"].state.values() for t in entry.values()]
    assert all(torch.equal(a, b) for a, b in zip(after, moments))
    _check_bundle(tmp_path, run.dataset, spoilt[0])
    run._train_step()
    assert run.step == 3 and run.position == 8
    assert all(bool(torch.isfinite(t).all()) for t in run.parts.raw_codec.state_dict().values())
    assert any(not torch.equal(tensor, before[name]) for name, tensor in run.parts.raw_codec.state_dict().items())


def _check_bundle(folder: Path, dataset: object, items: list[tuple[int, int]]) -> None:
    (path,) = (folder / "crash").glob("*.json")
    bundle = json.loads(path.read_text())
    assert bundle["step"] == 2 and bundle["seed"] == 1234
    assert [(s["epoch"], s["index"]) for s in bundle["segments"]] == items
    assert [s["utterance"] for s in bundle["segments"]] == [dataset.locate(*item)[0] for item in items]  # type: ignore[attr-defined]
    assert {s["utterance"] for s in bundle["segments"]} <= {f"u{i}" for i in range(5)}
    assert bundle["values"]["loss/total"] == "nan"
    assert Path(bundle["checkpoint"]).name == "step_00000002"


def test_a_skipped_batch_is_logged_and_the_run_ends(
    tmp_path: Path, data: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _spoil(monkeypatch, range(2, 3))
    assert main([*command, "--set", "train.log_interval=2"]) == 0
    log = (tmp_path / "exp" / "train.log").read_text()
    assert log.count("step 2: not finite, skipped") == 1
    events = EventAccumulator(str(tmp_path / "exp" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss/total")] == [1, 2, 4]  # not again after the skipped step
    assert [event.value for event in events.Scalars("train/skipped_steps")] == [0, 1]


def test_bad_steps_cut_then_roll_back_then_give_up(
    tmp_path: Path, data: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt = _spoil(monkeypatch, range(3, 1000))
    options = ["checkpoint_interval=2", "bad_steps_before_cut=1", "bad_steps_before_rollback=2"]
    assert main([*command, *(word for option in options for word in ("--set", f"train.{option}"))]) == 1
    log = (tmp_path / "exp" / "train.log").read_text()
    rates = [line.split("at ")[1].split(" ")[0] for line in log.splitlines() if "rolled back to step 2" in line]
    assert rates == ["0.25", "0.0625", "0.015625"]  # each time halved by the cut and by the return
    assert log.count("learning rate cut to") == 4
    assert "not finite again after 3 rollbacks" in capsys.readouterr().err
    seen = [item for items in spoilt for item in items]
    assert len(spoilt) == 8 and len(set(seen)) == len(seen)  # never the same data again
    assert state.latest(tmp_path / "exp" / "checkpoints") == tmp_path / "exp" / "checkpoints" / "step_00000002"


def test_training_goes_on_after_a_rollback(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _spoil(monkeypatch, range(3, 5))
    made = config("train.checkpoint_interval=2 train.bad_steps_before_cut=1 train.bad_steps_before_rollback=2")
    run = trainer(made, tmp_path, data)
    assert run.run() == 4
    assert (run.guard.rollbacks, run.guard.skipped, run.guard.rate_scale) == (1, 2, 0.25)
    assert run.position == 2 * 7  # steps 0 1 2, two bad ones, 2 3 again
    rates = [group["lr"] for group in run.parts.optimizers["codec"].param_groups]
    clean = trainer(made, tmp_path / "clean", data)
    assert clean.run() == 4
    assert rates == [group["lr"] * 0.25 for group in clean.parts.optimizers["codec"].param_groups]


def test_give_up_is_a_training_error(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _spoil(monkeypatch, range(1000))
    made = config("train.bad_steps_before_cut=1 train.bad_steps_before_rollback=2")
    with pytest.raises(TrainingError, match="3 rollbacks"):
        trainer(made, tmp_path, data).run()
