"""Stability of tokens, with codecs whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import model_file
from audiocodec.analysis.stability import changes, stability
from audiocodec.errors import MetricUndefined

RATE, HOP = 8000, 4


class Signs:
    """Tokens by hand: of a frame, whether its first sample is positive, and whether its peak passes 0.15."""

    sample_rate, hop_length, num_codebooks, level_db = RATE, HOP, 2, -20.0

    def encode(self, wav: np.ndarray) -> torch.Tensor:
        frames = torch.from_numpy(wav[: len(wav) // HOP * HOP].reshape(-1, HOP))
        return torch.stack([frames[:, 0] > 0, frames.abs().max(1).values > 0.15]).long()[None]


def write(path: Path, wav: np.ndarray) -> str:
    soundfile.write(path, wav, RATE, subtype="FLOAT")
    return str(path)


def test_by_hand(tmp_path: Path) -> None:
    """Samples + + - - again and again at 0.1, the codec's level, from a file ten times softer.

    A quarter of a hop later a frame is + - - +, half a hop later - - + +: only then all first tokens change. 6 dB make
    0.2 of 0.1, which passes 0.15: all second tokens change; less does not, nor does a hundredth of noise.
    """
    wav = 0.01 * np.tile([1.0, 1.0, -1.0, -1.0], 500)
    rows, left_out = stability(Signs(), [write(tmp_path / "a.wav", wav)])  # type: ignore[arg-type]
    assert left_out == 0 and len(rows) == 7
    assert {row.name: (row.changed, row.frames) for row in rows if row.name != "noise at 20 dB"} == {
        "shift 0.25 hop": ([0, 0], 499),
        "shift 0.5 hop": ([1, 0], 499),
        "gain -6 dB": ([0, 0], 500),
        "gain +6 dB": ([0, 1], 500),
        "noise at 40 dB": ([0, 0], 500),
        "noise at 30 dB": ([0, 0], 500),
    }


def test_gains_and_noise_are_what_they_say() -> None:
    wav = (0.1 * np.random.default_rng(0).standard_normal(100_000)).astype(np.float32)
    made = {name: change(wav, np.random.default_rng(1)) for name, change in changes(HOP).items()}
    assert all(value.dtype == np.float32 for value in made.values())
    np.testing.assert_array_equal(made["shift 0.25 hop"], wav[1:])
    np.testing.assert_array_equal(made["shift 0.5 hop"], wav[2:])
    np.testing.assert_allclose(made["gain +6 dB"], wav * 1.99526, rtol=1e-5)
    np.testing.assert_allclose(made["gain -6 dB"], wav * 0.501187, rtol=1e-5)
    for ratio in (40, 30, 20):
        noise = made[f"noise at {ratio} dB"].astype(np.float64) - wav
        assert 10 * np.log10(np.mean(wav**2.0) / np.mean(noise**2)) == pytest.approx(ratio, abs=0.05)
        assert abs(np.corrcoef(noise, wav)[0, 1]) < 0.02


def test_files_add_up_by_frames_and_silence_is_left_out(tmp_path: Path, tiny_model_path: Path) -> None:
    codec = model_file.load(tiny_model_path)
    random = np.random.default_rng(2)
    paths = [write(tmp_path / f"{n}.wav", 0.1 * random.standard_normal(n)) for n in (2400, 7200)]
    apart = [stability(codec, [path])[0] for path in paths]
    silent = write(tmp_path / "silent.wav", np.zeros(4000))
    short = write(tmp_path / "short.wav", np.full(50, 0.1))
    together, left_out = stability(codec, [paths[0], silent, short])
    assert left_out == 2
    assert together == apart[0]
    both, _ = stability(codec, paths)
    for row, one, two in zip(both[:4], *apart, strict=False):  # noise differs from file to file
        assert row.frames == one.frames + two.frames
        expected = (np.array(one.changed) * one.frames + np.array(two.changed) * two.frames) / row.frames
        np.testing.assert_allclose(row.changed, expected)
    assert any(share > 0 for row in both for share in row.changed)
    with pytest.raises(MetricUndefined, match="every file is silent"):
        stability(codec, [silent])
