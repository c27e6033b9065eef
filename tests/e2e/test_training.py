"""Training as a user runs it: resumed, on several processes, interrupted, logged."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from support.training_run import config, on_two_processes, stopping_at, tensors, trainer
from support.workspace import fingerprint
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from audiocodec.cli.main import main
from audiocodec.model_file import load
from audiocodec.training import setup
from audiocodec.training.batches.device_audio import DeviceAudio
from audiocodec.training.checkpoints import state

pytestmark = pytest.mark.usefixtures("fresh_process")
STATE = {"codec", "ema", "model", "discriminators", "optimizers"}


@pytest.mark.parametrize(
    "overrides",
    [
        "train.warmup_autoencoder_steps=2",  # quantization is switched on by the first resumed step
        "train.warmup_autoencoder_steps=3 loss.balancer=true data.workers=1",
        "train.warmup_autoencoder_steps=1 quantizer.num_codebooks=2 quantizer.dropout=0.5 loss.balancer=true",
        "train.warmup_autoencoder_steps=1 data.augment.noise=0.5 data.augment.talker=0.5",
        "train.warmup_autoencoder_steps=1 data.on_device=true data.workers=1 data.augment.room=0.5",
    ],
)
def test_a_resumed_run_is_the_run_that_never_stopped(overrides: str, tmp_path: Path, data: Path) -> None:
    made = config(overrides)
    assert trainer(made, tmp_path / "whole", data).run() == 4
    assert trainer(made, tmp_path / "parts", data, kind=stopping_at(2)).run() == 2
    assert trainer(made, tmp_path / "parts", data, resume=True).run() == 4
    whole, parts = tensors(tmp_path / "whole", 4), tensors(tmp_path / "parts", 4)
    assert {name.split("/")[0] for name in whole} == STATE
    assert whole.keys() == parts.keys()
    assert [name for name in whole if not np.array_equal(whole[name], parts[name])] == []
    states = [(tmp_path / f / "checkpoints" / "step_00000004" / "state.json").read_text() for f in ("whole", "parts")]
    assert states[0] == states[1]
    halfway = tensors(tmp_path / "parts", 2)
    moved = [name for name in whole if name.startswith("codec/") and not np.array_equal(whole[name], halfway[name])]
    assert any("encoder" in name for name in moved) and any("quantizer" in name for name in moved)


def test_audio_on_the_device_trains_the_same_model(
    tmp_path: Path, data: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: list[int] = []
    segments = DeviceAudio.segments
    monkeypatch.setattr(DeviceAudio, "segments", lambda self, crops: cut.append(len(crops)) or segments(self, crops))
    assert main(command) == 0 and cut == []
    held = [*command, "--set", "data.on_device=true"]
    held[held.index("--exp") + 1] = str(tmp_path / "held")
    assert main(held) == 0 and cut == [2] * 4
    plain, other = tensors(tmp_path / "exp", 4), tensors(tmp_path / "held", 4)
    assert plain.keys() == other.keys()
    assert [name for name in plain if not np.array_equal(plain[name], other[name])] == []
    assert "audio on the device" in (tmp_path / "held" / "train.log").read_text()
    held[held.index("--exp") + 1] = str(tmp_path / "none")
    assert main([*held, "--set", "data.memory_gb=1e-5"]) == 2
    assert not (tmp_path / "none" / "checkpoints").exists()


def test_the_final_checkpoint_is_a_model(tmp_path: Path, data: Path) -> None:
    trainer(config("train.steps=2"), tmp_path, data).run()
    codec = load(tmp_path)
    codes = codec.encode(torch.randn(1, 1, 810) * 0.1)
    assert codes.shape == (1, 1, 41)  # 810 samples, 20 a frame: 40.5
    assert codec.decode(codes, 810).shape == (1, 1, 810)


@pytest.mark.usefixtures("one_thread")
def test_two_processes_are_one_with_twice_the_batch(tmp_path: Path, data: Path, command: list[str]) -> None:
    """Two ranks see what two accumulated micro-batches see; each normalises latents over its own batch."""
    on_two_processes([*command, "--set", "train.steps=2", "--set", "train.lr_warmup_steps=1"])
    log = (tmp_path / "exp" / "train.log").read_text()
    assert log.count("2 process(es)") == 1 and "1 process(es)" not in log
    common = "train.steps=2 train.lr_warmup_steps=1"
    trainer(config(f"{common} train.gradient_accumulation=2"), tmp_path / "one", data).run()
    trainer(config(common), tmp_path / "half", data).run()
    two, one, half = (tensors(tmp_path / name, 2) for name in ("exp", "one", "half"))
    assert json.loads((tmp_path / "exp/checkpoints/step_00000002/state.json").read_text())["position"] == 8
    # Equal where (a + b) / 2 is rounded once, which other ways of exchanging gradients need not do. Adam divides each
    # gradient by its size, so where it is all rounding an update may point anywhere: weights move alike to 1 % of all
    # movement; the first moments, which are averages of gradients, agree to 0.1 %.
    start = tensors(tmp_path / "one", 0)
    weights = ("codec/encoder.", "codec/decoder.")  # the quantizer has just been started: far from where it was
    assert _apart(two, one, start, weights) < 0.01
    assert _apart(half, one, start, weights) > 0.1  # the measure can tell: half of each batch is something else
    for network in ("codec", "discriminators"):
        moments = [name for name in one if name.startswith(f"optimizers/{network}.") and name.endswith(".exp_avg")]
        assert moments
        assert _apart(two, one, None, tuple(moments)) < 1e-3
        assert _apart(half, one, None, tuple(moments)) > 0.1


def test_two_processes_resume_as_if_they_had_never_stopped(tmp_path: Path, command: list[str]) -> None:
    options = [*command, "--set", "loss.balancer=true", "--set", "train.lr_final_ratio=1"]
    options.remove(str(tmp_path / "exp"))
    folder = options.index("--exp") + 1

    def train(name: str, *more: str) -> None:
        on_two_processes([*options[:folder], str(tmp_path / name), *options[folder:], *more])

    train("whole", "--set", "train.steps=4")
    train("parts", "--set", "train.steps=2")
    train("parts", "--set", "train.steps=4", "--resume")
    whole, parts = tensors(tmp_path / "whole", 4), tensors(tmp_path / "parts", 4)
    assert [name for name in whole if not np.array_equal(whole[name], parts[name])] == []
    states = [
        json.loads((tmp_path / name / "checkpoints/step_00000004/state.json").read_text())
        for name in ("whole", "parts")
    ]
    assert states[0] == states[1]
    first, second = states[0]["balancers"]  # each process has seen gradients of its own batches
    assert first.keys() == second.keys() and first != second


def _apart(
    a: dict[str, np.ndarray],
    b: dict[str, np.ndarray],
    start: dict[str, np.ndarray] | None,
    names: tuple[str, ...],
) -> float:
    """`|a - b| / |b - start|` over all tensors whose names begin so."""
    chosen = [name for name in b if name.startswith(names)]
    difference = sum(float(np.sum((a[name] - b[name]) ** 2)) for name in chosen)
    size = sum(float(np.sum((b[name] - (0 if start is None else start[name])) ** 2)) for name in chosen)
    return float(np.sqrt(difference / size))


def test_max_minutes(tmp_path: Path, command: list[str]) -> None:
    words = [*command, "--set", "train.steps=100000"]
    started = time.monotonic()
    assert main([*words, "--max-minutes", "0.05"]) == 0
    assert time.monotonic() - started < 30
    newest = state.latest(tmp_path / "exp" / "checkpoints")
    assert newest is not None
    assert 0 < json.loads((newest / "state.json").read_text())["step"] < 100000
    for wrong in ("0", "nan", "-1", "x"):
        assert main([*words, "--max-minutes", wrong]) == 2


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_save_and_stop(number: signal.Signals, status: int, tmp_path: Path, command: list[str]) -> None:
    words = [sys.executable, "-m", "audiocodec", *command]
    words += ["--set", "train.steps=100000", "--set", "train.log_interval=1"]
    log = tmp_path / "exp" / "train.log"
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not (log.exists() and " step 2 " in log.read_text()):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    newest = state.latest(tmp_path / "exp" / "checkpoints")
    assert newest is not None and "stopping after this step" in errors
    step = json.loads((newest / "state.json").read_text())["step"]
    assert step >= 2 and f"at step {step} of 100000" in errors
    load(newest)


def test_resume_only_when_told_to(tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    exp = tmp_path / "exp"
    assert main([*command, "--resume"]) == 0  # nothing there yet: from the beginning
    assert [path.name for path in sorted((exp / "checkpoints").iterdir())] == ["step_00000000", "step_00000004"]
    before = fingerprint(exp / "checkpoints")
    assert main(command) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0  # nothing left to do
    assert main([*command, "--resume", "--set", "model.decoder.dim=12"]) == 2
    message = capsys.readouterr().err
    assert "model.decoder.dim was 8, is 12" in message and "Traceback" not in message
    assert fingerprint(exp / "checkpoints") == before


@pytest.mark.parametrize("file", ["codec.safetensors", "optimizers.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_refused(
    file: str, tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--set", "train.steps=1"]) == 0
    path = tmp_path / "exp" / "checkpoints" / "step_00000001" / file
    path.write_bytes(path.read_bytes()[:-3])
    assert main([*command, "--resume"]) == 2
    assert "step_00000001" in capsys.readouterr().err
    if file == "state.json":
        path.write_text('{"step": 1}')
        assert main([*command, "--resume"]) == 2
        assert "position" in capsys.readouterr().err


def test_old_checkpoints_go(tmp_path: Path, data: Path) -> None:
    (tmp_path / "checkpoints" / "step_00000009.tmp").mkdir(parents=True)  # of a process that was killed
    trainer(config("train.checkpoint_interval=1 train.keep_checkpoints=2"), tmp_path, data).run()
    kept = [path.name for path in sorted((tmp_path / "checkpoints").iterdir()) if path.suffix != ".tmp"]
    assert kept == ["step_00000003", "step_00000004"]


def test_log(tmp_path: Path, data: Path) -> None:
    made = config("train.steps=2 train.log_interval=1 train.valid_interval=2 quantizer.num_codebooks=2")
    trainer(made, tmp_path, data).run()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    tags = events.Tags()
    losses = {"mel", "stft", "adversarial", "feature_matching", "codebook", "commitment", "discriminator", "total"}
    assert {f"loss/{name}" for name in losses} <= set(tags["scalars"])
    assert {"gradient/codec", "gradient/discriminators", "train/learning_rate"} <= set(tags["scalars"])
    names = ["usage", "perplexity", "different_per_frame", "relative_error"]
    names += ["effective_dimension_residual", "effective_dimension_codes"]
    assert {f"codebook/{k}/{name}" for k in (0, 1) for name in names} <= set(tags["scalars"])
    assert {"valid/mel", "valid/stft"} <= set(tags["scalars"])
    assert set(tags["audio"]) == {"reference/u0/audio", "estimate/u0/audio"}
    assert set(tags["images"]) == {"reference/u0/spectrogram", "estimate/u0/spectrogram"}
    # the first step is unquantised: nothing is said of codebooks then
    assert [event.step for event in events.Scalars("codebook/0/usage")] == [2]
    assert 1 / 16 <= events.Scalars("codebook/0/usage")[0].value <= 1
    assert 1 <= events.Scalars("codebook/0/perplexity")[0].value <= 16
    assert events.Audio("estimate/u0/audio")[0].sample_rate == 8000


def test_speed_is_logged(tmp_path: Path, command: list[str]) -> None:
    """Steps 1 and 2 are the first of their kinds, unquantised and quantised: they may compile, and are not counted."""
    assert main([*command, "--set", "train.log_interval=1"]) == 0
    events = EventAccumulator(str(tmp_path / "exp" / "tensorboard")).Reload()
    speeds = events.Scalars("train/tflops")
    assert [event.step for event in speeds] == [3, 4]
    assert "train/peak_share" not in events.Tags()["scalars"]  # of a CPU no peak is known
    log = (tmp_path / "exp" / "train.log").read_text()
    (line,) = [line for line in log.splitlines() if "a step is " in line]
    assert line.endswith(" GFLOP in convolutions and matrix products; cpu, float32: peak not known")
    assert f"tflops {speeds[-1].value:.4g}" in log


def test_bfloat16(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the processor has no instructions for it, and torch takes its time."""
    monkeypatch.setattr(setup, "usable", lambda precision, device: (precision, ""))
    run = trainer(config("train.steps=3 train.precision=bf16 loss.balancer=true"), tmp_path, data)
    kinds: set[torch.dtype] = set()
    run.parts.raw_codec.encoder.register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
    assert run.run() == 3 and run.guard.skipped == 0
    assert torch.bfloat16 in kinds
    weights = tensors(tmp_path, 3)
    assert all(np.isfinite(tensor).all() for tensor in weights.values())
    assert {tensor.dtype for name, tensor in weights.items() if name.startswith(("codec/", "ema/"))} == {np.dtype("f4")}


@pytest.mark.usefixtures("fresh_process")
@pytest.mark.parametrize(("threshold", "steps", "sounds"), [(1, 2, True), (1, 20, False), (0, 2, False)])
def test_the_collapse_alarm_in_the_log(
    threshold: int, steps: int, sounds: bool, tmp_path: Path, command: list[str]
) -> None:
    """10 frames of 16 codes in 4 dimensions: nothing spreads evenly over all of them, so 1 is above all and 0 below."""
    keys = (f"alarm_dimension={threshold}", "alarm_usage=0", f"alarm_steps={steps}", "log_interval=1")
    words = [word for key in keys for word in ("--set", f"train.{key}")]
    assert main([*command, *words]) == 0
    log = (tmp_path / "exp" / "train.log").read_text()
    assert ("COLLAPSE: codebook/0/effective_dimension_codes" in log) == sounds
