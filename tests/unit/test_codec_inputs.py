"""Audio in memory on its way to a codec: each signal is resampled once, and becomes what a file with it would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec.audio import io, level
from audiocodec.codec.inputs import prepare, prepare_each
from audiocodec.errors import AudioError

LEVEL_DB = -24.0


def stereo(rate: int = 16_000) -> np.ndarray:
    """The right channel is 20 dB below the left one."""
    wav = np.random.default_rng(0).normal(0, 0.1, (2, rate)).astype(np.float32)
    wav[1] /= 10
    return wav


@pytest.mark.parametrize("level_db", [LEVEL_DB, None])
@pytest.mark.parametrize(("coded", "signals"), [(1, 1), (2, 2)])
def test_each_signal_is_resampled_once(
    level_db: float | None, coded: int, signals: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[tuple[int, int]] = []

    def counted(blocks: Iterable[np.ndarray], from_rate: int, to_rate: int) -> Iterator[np.ndarray]:
        rates.append((from_rate, to_rate))
        return io.resample_blocks(blocks, from_rate, to_rate)

    def refused(wav: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
        raise AssertionError("resampled a second time")

    monkeypatch.setattr(level, "resample_blocks", counted)
    monkeypatch.setattr(io, "resample", refused)
    found, _ = prepare_each(stereo(), 16_000, 24_000, level_db, coded)
    assert [one.shape for one in found] == [(24_000,)] * signals
    assert rates == [(16_000, 24_000)] * signals


@pytest.mark.parametrize("coded", [1, 2])
def test_it_becomes_what_a_file_becomes(coded: int, tmp_path: Path) -> None:
    wav, path = stereo(), str(tmp_path / "in.wav")
    soundfile.write(path, wav.T, 16_000, "FLOAT")
    found, gain = prepare_each(wav, 16_000, 24_000, LEVEL_DB, coded)
    for one, channel in zip(found, (1, 2) if coded == 2 else (None,), strict=True):
        blocks = np.concatenate(list(io.read_blocks(path, 24_000, 1_000, channel)))
        np.testing.assert_array_equal(one, blocks * np.float32(gain))
    assert np.mean(np.square(found)) == pytest.approx(10 ** (LEVEL_DB / 10), rel=1e-3)


def test_channels_keep_their_difference_at_the_level_of_both() -> None:
    (left, right), _ = prepare_each(stereo(), 16_000, 24_000, LEVEL_DB, 2)
    assert 10 * np.log10(np.mean(left**2) / np.mean(right**2)) == pytest.approx(20, abs=0.2)


def test_one_item_is_the_mix_up_to_its_end() -> None:
    wav = stereo()
    found = prepare(wav, 16_000, 16_000, None, 1_000)
    np.testing.assert_allclose(found.samples, wav[:, :1_000].mean(0), atol=1e-8)
    assert found.gain == 1.0


@pytest.mark.parametrize(
    ("wav", "coded", "message"),
    [
        (np.full((1, 9), np.nan), 1, "NaN or infinite"),
        (np.zeros((3, 9)), 2, "has 3 channels, this model codes 2"),
        (np.stack([np.ones(9), -np.ones(9)]), 1, "cancel"),
    ],
)
def test_what_cannot_be_coded_is_refused(wav: np.ndarray, coded: int, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        prepare_each(wav, 16_000, 16_000, LEVEL_DB, coded)
