"""Pitch of a data folder: found once, right, kept, checked when read; and its values at the frames of a segment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.numpy import load_file, save_file

from audiocodec.data import pitch
from audiocodec.data.dataset import Crop
from audiocodec.data.manifest import Utterance
from audiocodec.errors import ConfigError, ManifestError
from audiocodec.training.batches.pitch_targets import PitchTargets

RATE, HOP = 16_000, 200
CPU = torch.device("cpu")


def voice(hertz: np.ndarray, seconds: float, level: float = 0.1) -> np.ndarray:
    """Ten harmonics, falling off, of a pitch that goes linearly through `hertz`."""
    t = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(np.interp(t, np.linspace(0, seconds, len(hertz)), hertz)) / RATE
    return level * np.stack([np.sin(k * phase) / k for k in range(1, 11)]).sum(0)


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, list[Utterance]]:
    """A steady voice, a gliding one that is very quiet, noise, silence."""
    noise = 0.05 * np.random.default_rng(0).standard_normal(RATE)
    sounds = {
        "steady": voice(np.array([150.0, 150.0]), 1.0),
        "glide": voice(np.array([120.0, 240.0]), 1.5, 2e-4),
        "noise": noise,
        "silence": np.zeros(RATE // 2),
    }
    made = []
    for name, wav in sounds.items():
        soundfile.write(tmp_path / f"{name}.wav", wav, RATE, subtype="FLOAT")
        made.append(Utterance(name, str(tmp_path / f"{name}.wav"), name, len(wav)))
    return tmp_path, made


def test_pitch_is_that_of_the_sounds(folder: tuple[Path, list[Utterance]]) -> None:
    steady, glide, noise, silence = pitch.tracks(*folder)
    inside = steady[4:-4] / 100  # the tracker's windows reach over the ends
    assert steady.dtype == np.uint16 and abs(len(steady) - 1 / 0.016) < 2
    np.testing.assert_allclose(inside, 150, rtol=0.01)
    times = np.arange(len(glide))[6:-6] * 0.016
    np.testing.assert_allclose(glide[6:-6] / 100, 120 + 80 * times, rtol=0.02)  # though it is quiet
    assert np.mean(noise > 0) < 0.05 and not silence.any()


def test_what_is_kept_is_not_looked_for_again(
    folder: tuple[Path, list[Utterance]], monkeypatch: pytest.MonkeyPatch
) -> None:
    where, utterances = folder
    first = pitch.tracks(where, utterances[:3])
    looked_at: list[str] = []
    track = pitch._track
    monkeypatch.setattr(pitch, "_track", lambda u, allow: looked_at.append(u.id) or track(u, allow))
    again = pitch.tracks(where, utterances[::-1])
    assert looked_at == ["silence"]
    for one, other in zip(first, again[:0:-1], strict=True):
        np.testing.assert_array_equal(one, other)
    changed = Utterance("noise", utterances[2].path, "noise", utterances[2].num_samples + 1)
    pitch.tracks(where, [changed])
    assert looked_at == ["silence", "noise"]


def test_without_a_tracker_the_file_is_enough(
    folder: tuple[Path, list[Utterance]], monkeypatch: pytest.MonkeyPatch
) -> None:
    where, utterances = folder
    kept = pitch.tracks(where, utterances[:2])
    monkeypatch.setattr(pitch, "find_spec", lambda name: None)
    np.testing.assert_array_equal(pitch.tracks(where, utterances[:2])[1], kept[1])
    with pytest.raises(ConfigError, match=r"pitch\.safetensors: 2 utterances have no pitch.*swift-f0"):
        pitch.tracks(where, utterances)


def test_audio_that_cannot_be_read_is_named_and_nothing_is_written(folder: tuple[Path, list[Utterance]]) -> None:
    where, utterances = folder
    Path(utterances[1].path).write_bytes(b"no audio")
    with pytest.raises(ManifestError, match="glide"):
        pitch.tracks(where, utterances)
    assert not (where / pitch.FILE).exists()


@pytest.mark.parametrize("damage", ["cut", "other", "counts", "type", "negative"])
def test_a_damaged_file_is_refused_by_name(damage: str, folder: tuple[Path, list[Utterance]]) -> None:
    where, utterances = folder
    pitch.tracks(where, utterances)
    path = where / pitch.FILE
    tensors, about = load_file(path), {"format": pitch.FORMAT}
    if damage == "counts":
        tensors["frames"][0] += 1
    elif damage == "negative":
        tensors["frames"][:2] += np.array([-1000, 1000])
    elif damage == "type":
        tensors["values"] = tensors["values"].astype(np.int32)
    elif damage == "other":
        about = {"format": "something else"}
    save_file(tensors, path, about)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ManifestError, match=r"pitch\.safetensors: .*remove it"):
        pitch.tracks(where, utterances)


def targets(*tracks: list[float]) -> PitchTargets:
    return PitchTargets([np.array(t) * 100 for t in (np.array(x, np.uint16) for x in tracks)], RATE, HOP, CPU)


def wav(frames: int, items: int = 1) -> torch.Tensor:
    return torch.full((items, 1, frames * HOP), 0.1)


def test_targets_lie_on_the_glides_of_the_track() -> None:
    """A value of the track every 256 samples, a frame every 200; expected by numpy's own interpolation."""
    track = [100.0, 104.0, 108.0, 110.0, 108.0, 104.0]
    found = targets([500.0] * 3, track).of([Crop(1, 130, 1.0, 1.0)], wav(5))
    places = (130 + 200 * (np.arange(5) + 0.5)) / 256
    expected = np.exp(np.interp(places, np.arange(6), np.log(track)))
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)


def test_targets_neither_glide_over_octaves_nor_out_of_a_voice() -> None:
    found = targets([0.0, 100.0, 200.0, 0.0]).of([Crop(0, 0, 1.0, 1.0)], wav(5))[0]
    # Frames have their middles at 100, 300, ... samples: 0.39, 1.17, 1.95, 2.73 and 3.52 values on.
    assert found.tolist() == [0.0, 100.0, 200.0, 0.0, 0.0]


def test_targets_of_silent_frames_and_past_the_end_are_unvoiced() -> None:
    sound = wav(4, 2)
    sound[0, 0, HOP : 2 * HOP] = 0
    found = targets([120.0, 120.0, 120.0], [90.0]).of([Crop(0, 0, 1.0, 1.0), Crop(1, 0, 1.0, 1.0)], sound)
    assert found[0].tolist() == pytest.approx([120.0, 0.0, 120.0, 120.0])
    assert found[1].tolist() == pytest.approx([90.0, 0.0, 0.0, 0.0])
