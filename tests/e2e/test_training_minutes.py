"""Runs by the clock: `train.minutes` and `--max-minutes`."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.training_run import CONFIG, config, stopping_at, trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from audiocodec.cli.main import main
from audiocodec.config.schema import TrainConfig
from audiocodec.data.dataset import SegmentDataset
from audiocodec.reporting.card import _goal
from audiocodec.training import schedule
from audiocodec.training.checkpoints import keeper, state
from audiocodec.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("fresh_process")
# Two minutes read as 1,000 steps: unquantized for 12 s, discriminators from 60 s on, three validations on the way.
BUDGET = (
    "train.minutes=2 train.steps=1000 train.warmup_autoencoder_steps=100 train.lr_warmup_steps=100 "
    "train.lr_final_ratio=0.01 discriminator.start_step=500 train.valid_interval=333 train.checkpoint_interval=500 "
    "train.log_interval=1"
)


class Clock:
    """In place of the monotonic clock: a step takes as long as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step_seconds: float) -> None:
        self.now = 500.0
        take = Trainer._take_step

        def slowly(run: Trainer) -> object:
            values = take(run)
            self.now += step_seconds
            return values

        monkeypatch.setattr(schedule, "monotonic", lambda: self.now)
        monkeypatch.setattr(Trainer, "_take_step", slowly)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


def saved(folder: Path, name: str) -> float:
    newest = state.latest(folder / "checkpoints")
    assert newest is not None
    return float(json.loads((newest / "state.json").read_text())[name])


@pytest.mark.parametrize("step_seconds", [3, 10])
def test_a_run_by_minutes_ends_annealed_at_any_speed(
    step_seconds: int, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch, step_seconds)
    steps = 120 // step_seconds
    assert trainer(config(BUDGET), tmp_path, data).run() == steps
    found = scalars(tmp_path)
    assert found["loss/codebook"][0][0] == math.ceil(12 / step_seconds) + 1  # the first that begins after 12 s
    assert found["loss/adversarial"][0][0] == 60 // step_seconds + 1
    assert len(found["valid/mel"]) == 3
    rates = [rate for _, rate in found["train/learning_rate"]]
    assert max(rates) == pytest.approx(5e-4, rel=0.05)  # the default
    last = (120 - step_seconds) / 120  # where the last step begins
    cosine = (1 + math.cos(math.pi * (last - 0.1) / 0.9)) / 2
    assert rates[-1] == pytest.approx(5e-4 * (0.01 + 0.99 * cosine), rel=1e-4)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == [f"step_{n:08d}" for n in (0, steps // 2, steps)]


def test_a_run_by_minutes_resumes_at_its_minute(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, 10)
    assert trainer(config(BUDGET), tmp_path, data, kind=stopping_at(4)).run() == 4
    assert saved(tmp_path, "seconds") == 40
    clock.now += 3600
    assert trainer(config(BUDGET), tmp_path, data, resume=True).run() == 12
    assert saved(tmp_path, "seconds") == 120
    assert trainer(config(BUDGET), tmp_path, data, resume=True).run() == 12  # nothing is left


def test_a_run_goes_on_with_other_minutes_or_by_steps(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch, 10)
    trainer(config(BUDGET), tmp_path, data, kind=stopping_at(4)).run()
    longer = trainer(config(f"{BUDGET} train.minutes=4"), tmp_path, data, resume=True)
    assert longer.schedule.place(longer.step) == pytest.approx(1000 / 6)
    by_steps = trainer(config(f"{BUDGET} train.minutes=0 train.steps=6"), tmp_path, data, resume=True)
    assert by_steps.run() == 6
    back = trainer(config(f"{BUDGET} train.steps=12"), tmp_path, data, resume=True)
    assert back.schedule.seconds == 60  # half of its steps: half of its minutes


def test_a_rollback_does_not_turn_the_clock_back(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bad(Trainer):
        """Steps 4 and later are not finite until it has rolled back."""

        def _micro_step(self, *args: object, **more: object) -> dict[str, object]:  # type: ignore[override]
            values = super()._micro_step(*args, **more)  # type: ignore[arg-type]
            bad = self.step == 4 and not self.guard.rollbacks
            return {name: value * (math.nan if bad else 1) for name, value in values.items()}  # type: ignore[return-value]

    Clock(monkeypatch, 10)
    made = config(f"{BUDGET} train.bad_steps_before_cut=1 train.bad_steps_before_rollback=2")
    run = trainer(made, tmp_path, data, kind=Bad)
    assert run.run() == 12 - 4 - 2  # two bad steps, then back to the state of step 0
    assert run.guard.rollbacks == 1 and run.schedule.seconds == 120


def test_a_wall_clock_that_jumps_changes_nothing(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wall = iter(range(0, 10**12, 10**7))
    Clock(monkeypatch, 10)
    monkeypatch.setattr(time, "time", lambda: float(-next(wall)))
    assert trainer(config(BUDGET), tmp_path, data).run() == 12


SKEWED = """\
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
from accelerate import PartialState
from audiocodec.training import schedule
from audiocodec.training.trainer import Trainer
from support.training_run import config, trainer

rank = PartialState(cpu=True).process_index
real = schedule.monotonic
schedule.monotonic = lambda: real() * (1 + 2 * rank)  # the second one's clock runs three times as fast
rates = []

class Recording(Trainer):
    def _take_step(self):
        values = super()._take_step()
        rates.append([o.param_groups[0]["lr"] for o in self.parts.optimizers.values()])
        return values

made = config("train.minutes=0.05 train.steps=1000 train.lr_warmup_steps=10 train.warmup_autoencoder_steps=300 "
              "discriminator.start_step=600")
trainer(made, Path({folder!r}), Path({data!r}), kind=Recording).run()
Path({folder!r}, f"rates_{{rank}}").write_text(repr(rates))
"""


@pytest.mark.slow
def test_processes_agree_on_the_time(tmp_path: Path, data: Path) -> None:
    """Were each to look at its own clock, one would wait for gradients of discriminators that the other has not begun."""
    script = tmp_path / "skewed.py"
    script.write_text(SKEWED.format(paths=[str(Path(__file__).parents[1])], folder=str(tmp_path), data=str(data)))
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / f"rates_{rank}").read_text() for rank in (0, 1))
    assert first == second and len(json.loads(first)) > 5
    assert json.loads(first)[-1][1] > 0  # discriminators had begun
    assert saved(tmp_path, "seconds") >= 3


def test_max_minutes_count_from_the_start_and_leave_time_to_save(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 300 s reading takes 100, each of two saves 20, for the last of which half as much again is kept: 15 steps of 10 s."""
    clock, read, save, finished = Clock(monkeypatch, 10), SegmentDataset.preload, state.save, []

    def slow_read(self: SegmentDataset, progress: Callable[[int, int], None] | None = None) -> None:
        clock.now += 0 if self._loaded else 100
        read(self, progress)

    def slow_save(*args: Any) -> None:
        save(*args)
        clock.now += 20
        finished.append(clock.now)

    monkeypatch.setattr(SegmentDataset, "preload", slow_read)
    monkeypatch.setattr(state, "save", slow_save)
    for module in (time, keeper):
        monkeypatch.setattr(module, "monotonic", lambda: clock.now)
    assert main([*command, "--set", "train.steps=100000", "--max-minutes", "5"]) == 0
    assert saved(tmp_path / "exp", "step") == 15 and finished == [620, 790]
    clock.now = 2000.0  # what reading the state takes is all that is known of saving, when it goes on
    assert main([*command, "--set", "train.steps=100000", "--resume", "--max-minutes", "5"]) == 0
    assert saved(tmp_path / "exp", "step") == 15 + 20 and finished[2:] == [2320]


def test_the_last_line_says_how_many_minutes_were_used(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--set", "train.minutes=0.01"]) == 0
    assert "after 0.0 of 0.01 minutes" in capsys.readouterr().err
    assert "steps: 4" in CONFIG and saved(tmp_path / "exp", "seconds") >= 0.6


def test_what_is_said_of_a_run_by_minutes(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--dry-run", "--json", "--set", "train.minutes=8"]) == 0
    assert json.loads(capsys.readouterr().out)["hours_seen_per_process"] == "what the minutes allow"
    assert (_goal(TrainConfig(steps=2000)), _goal(TrainConfig(minutes=8))) == ("of 2,000", "in 8 minutes")
