"""The utterances a run validates on."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import soundfile
import torch
from pesq import pesq
from pystoi import stoi
from support.training_run import config, trainer
from support.workspace import CHECKOUT
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from audiocodec.cli.main import main
from audiocodec.codec.torch import Codec
from audiocodec.data.manifest import Utterance, read_folder
from audiocodec.errors import AudioError, ManifestError
from audiocodec.losses.spectral import SpectralLoss
from audiocodec.metrics.level import level
from audiocodec.training import schedule
from audiocodec.training.monitor import validation
from audiocodec.training.monitor.validation import read_utterances
from audiocodec.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("fresh_process")
AUDIO = CHECKOUT / "egs" / "mini" / "codec" / "local" / "audio"
SPEECH = AUDIO / "ru-nsh" / "ru_0003.flac", AUDIO / "it-flora" / "vm-forward.flac"


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


def test_each_channel_of_stereo_is_validated_at_the_gain_of_both(tmp_path: Path) -> None:
    made = config("channels=2 train.valid_utterances=1")
    wav = np.random.default_rng(0).normal(0, 0.02, (made.sample_rate * 12, 2)) * [1, 0.1]
    soundfile.write(path := str(tmp_path / "in.wav"), wav, made.sample_rate, "FLOAT")
    read = dict(read_utterances([Utterance("u", path, "u", 0)], made))
    assert {name: one.shape for name, one in read.items()} == dict.fromkeys(
        ("u/left", "u/right"), (1, 1, 10 * made.sample_rate)
    )
    power = {name: float(one.square().mean()) for name, one in read.items()}
    assert 10 * np.log10(power["u/left"] / power["u/right"]) == pytest.approx(20, abs=0.2)
    assert 10 * np.log10(sum(power.values()) / 2) == pytest.approx(made.data.level_db, abs=0.2)


def test_what_cannot_be_validated_is_named(tmp_path: Path) -> None:
    made = config("channels=2 train.valid_utterances=1 data.skip_bad=false")
    soundfile.write(path := str(tmp_path / "in.wav"), np.full((1_000, 3), 0.1), made.sample_rate)
    with pytest.raises(AudioError, match="in.wav: has 3 channels, this model codes 2"):
        read_utterances([Utterance("u", path, "u", 0)], made)


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


class Noisy:
    """In place of a codec: gives back what it hears with noise 20 dB below, silence as silence."""

    sample_rate, device = 16_000, torch.device("cpu")

    def __call__(self, wav: torch.Tensor, quantize: bool) -> SimpleNamespace:
        noise = torch.randn(wav.shape, generator=torch.Generator().manual_seed(0))
        return SimpleNamespace(estimate=wav + 0.1 * wav.square().mean().sqrt() * noise)


def test_scores_are_means_over_the_utterances_that_have_them() -> None:
    """Silence has no PESQ and no STOI and counts in neither; the others' are those of the packages."""
    speech = [torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None, None] for path in SPEECH]
    codec = cast(Codec, Noisy())
    spectral = SpectralLoss(16_000, (512,), (40,), (512,), mel_floor=1e-4, stft_floor=1e-3)
    utterances = [("one", speech[0]), ("silence", torch.zeros(1, 1, 32_000)), ("two", speech[1])]
    values, _ = validation.validate(codec, utterances, spectral, True, ("pesq", "stoi"))
    pairs = [(wav[0, 0].numpy(), Noisy()(wav, True).estimate[0, 0].numpy()) for wav in speech]
    assert values["valid/pesq"] == pytest.approx(np.mean([pesq(16_000, *pair, "wb") for pair in pairs]), abs=1e-6)
    assert values["valid/stoi"] == pytest.approx(np.mean([stoi(*pair, 16_000) for pair in pairs]), abs=1e-6)
    assert validation.validate(codec, utterances, spectral, True)[0].keys() == {"valid/mel", "valid/stft"}
    with_level = validation.validate(codec, utterances, spectral, True, ("level",))[0]
    bands = ("level_0_1_khz", "level_1_2_khz", "level_2_4_khz", "level_4_8_khz")
    expected = [level(reference=one, estimate=other, sample_rate=16_000) for one, other in pairs]
    for band in bands:  # noise 20 dB below the whole is far above what speech has in the upper bands
        assert with_level[f"valid/{band}"] == pytest.approx(np.mean([found[band] for found in expected]))
    assert with_level["valid/level_4_8_khz"] > with_level["valid/level_0_1_khz"] > 0
    only_silence = validation.validate(codec, utterances[1:2], spectral, True, ("pesq", "stoi"))[0]
    assert only_silence.keys() == {"valid/mel", "valid/stft"}


def test_a_run_logs_the_scores_it_is_asked_for(tmp_path: Path, data: Path, command: list[str]) -> None:
    options = ["--set", f"data.valid={data}", "--set", "train.valid_interval=4", "--set", "train.valid_scores=[stoi]"]
    assert main([*command, *options]) == 0
    tags = EventAccumulator(str(tmp_path / "exp" / "tensorboard")).Reload().Tags()["scalars"]
    assert "valid/stoi" in tags and "valid/pesq" not in tags


def test_scores_that_cannot_be_computed_are_said_before_the_training(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--set", "train.valid_scores=[pesq]"]) == 2
    assert "train.valid_scores: pesq needs a sample_rate of at least 16000, got 8000" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "pystoi", None)
    assert main([*command, "--set", "train.valid_scores=[stoi]"]) == 2
    assert "train.valid_scores: stoi needs pystoi " in capsys.readouterr().err
    assert not (tmp_path / "exp" / "checkpoints").exists()


def _slow(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Steps of 10 s and validations of 20 s, on a clock of their own: the time."""
    now, take, validate = [0.0], Trainer._take_step, validation.validate

    def slow_step(run: Trainer) -> object:
        now[0] += 10
        return take(run)

    def slow_validation(*args: Any) -> object:
        now[0] += 20
        return validate(*args)

    for module in (schedule, time):
        monkeypatch.setattr(module, "monotonic", lambda: now[0])
    monkeypatch.setattr(Trainer, "_take_step", slow_step)
    monkeypatch.setattr(validation, "validate", slow_validation)
    return now


@pytest.mark.parametrize(("share", "steps"), [("0.1", [1, 19, 37, 40]), ("1", list(range(1, 41)))])
def test_validation_takes_no_more_than_its_share_of_the_time(
    share: str, steps: list[int], tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a tenth 180 s lie between the end of one and the beginning of the next; the last is done in any case."""
    _slow(monkeypatch)
    trainer(config(f"train.steps=40 train.valid_interval=1 train.valid_share={share}"), tmp_path, data).run()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("valid/mel")] == steps
    assert [event.step for event in events.Audio("reference/u0/audio")] == [1]


def test_no_validation_is_begun_that_would_outlast_the_deadline(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _slow(monkeypatch)
    made = config("train.steps=100 train.valid_interval=1 train.valid_share=1")
    assert trainer(made, tmp_path, data).run(deadline=85) == 4  # at 30, 60 and 70 s (no room for another 20), 80
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("valid/mel")] == [1, 2]
