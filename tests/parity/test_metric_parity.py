"""Metrics and spectrograms against the libraries called directly; swapped arguments would fail every one."""

from __future__ import annotations

from collections.abc import Callable

import librosa
import numpy as np
import pesq as itu
import pystoi
import pytest
import soxr
import torch
from speech_pair import degraded_pair

from audiocodec.dsp.mel import LogMel, filterbank
from audiocodec.dsp.stft import magnitude
from audiocodec.metrics.mel_distance import mel_distance
from audiocodec.metrics.pesq import pesq, pesq_nb
from audiocodec.metrics.stoi import estoi, stoi


@pytest.fixture(scope="module", params=[16_000, 24_000])
def pair(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray, int]:
    return degraded_pair(request.param)


@pytest.mark.parametrize(
    ("metric", "own_rate", "mode", "rate"),
    [
        (pesq, 16_000, "wb", 16_000),
        (pesq, 16_000, "wb", 24_000),
        (pesq_nb, 8000, "nb", 8000),
        (pesq_nb, 8000, "nb", 16_000),
        (pesq_nb, 8000, "nb", 24_000),
    ],
)
def test_pesq(metric: Callable[..., float], own_rate: int, mode: str, rate: int) -> None:
    clean, degraded, _ = degraded_pair(rate)
    resampled = [soxr.resample(x, rate, own_rate) if rate != own_rate else x for x in (clean, degraded)]
    there, back = itu.pesq(own_rate, *resampled, mode), itu.pesq(own_rate, *resampled[::-1], mode)
    assert abs(there - back) > 0.05
    # The same soxr, but not told to give exactly ceil(S * to / from) samples: the last few samples may differ.
    assert metric(reference=clean, estimate=degraded, sample_rate=rate) == pytest.approx(there, abs=2e-3)


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000])
@pytest.mark.parametrize(("metric", "extended"), [(stoi, False), (estoi, True)])
def test_stoi(metric: Callable[..., float], extended: bool, rate: int) -> None:
    clean, degraded, _ = degraded_pair(rate)
    there, back = (pystoi.stoi(*x, rate, extended) for x in ((clean, degraded), (degraded, clean)))
    assert abs(there - back) > 1e-3
    assert abs(there - pystoi.stoi(clean, degraded, rate, not extended)) > 1e-2
    # float64 here, float32 there; the package adds noise of 1e-16 to the extended one
    assert metric(reference=clean, estimate=degraded, sample_rate=rate) == pytest.approx(there, abs=1e-6)


def test_mel_distance(pair: tuple[np.ndarray, np.ndarray, int]) -> None:
    """The definition in its docstring, written with librosa. It is a distance: swapping changes nothing."""
    clean, degraded, rate = pair
    scales = []
    for window, bands in ((512, 40), (1024, 80), (2048, 120)):
        mels = [
            librosa.feature.melspectrogram(
                y=x, sr=rate, n_fft=window, hop_length=window // 4, n_mels=bands, power=1.0, pad_mode="reflect"
            )
            for x in (clean, degraded)
        ]
        hiss = np.random.default_rng(9).normal(0, 1e-4, 30 * rate)  # -80 dB
        floor = librosa.feature.melspectrogram(
            y=hiss, sr=rate, n_fft=window, hop_length=window // 4, n_mels=bands, power=1.0
        ).mean()
        decibels = [20 * np.log10(np.maximum(mel, floor)) for mel in mels]
        scales.append(np.abs(decibels[0] - decibels[1]).mean())
    # The floor is measured from noise here and computed there: they agree to about a hundredth.
    assert mel_distance(reference=clean, estimate=degraded, sample_rate=rate) == pytest.approx(
        np.mean(scales), rel=1e-4
    )


def test_stft_magnitude(pair: tuple[np.ndarray, np.ndarray, int]) -> None:
    clean = pair[0]
    expected = np.abs(librosa.stft(clean, n_fft=1024, hop_length=256, pad_mode="reflect"))
    actual = magnitude(torch.from_numpy(clean)[None], 1024, 256)[0]
    np.testing.assert_allclose(actual, expected, atol=1e-4)  # of magnitudes up to about 100


def test_log_mel(pair: tuple[np.ndarray, np.ndarray, int]) -> None:
    clean, _, rate = pair
    np.testing.assert_array_equal(filterbank(rate, 1024, 80), librosa.filters.mel(sr=rate, n_fft=1024, n_mels=80))
    mel = librosa.feature.melspectrogram(
        y=clean, sr=rate, n_fft=1024, hop_length=256, n_mels=80, power=1.0, pad_mode="reflect"
    )
    expected = np.log10(np.maximum(mel, 1e-5))
    # Beside a bin of magnitude 30 a float32 transform is off by some 1e-6: near the floor of 1e-5 that is 4e-3.
    np.testing.assert_allclose(LogMel(rate, 1024, 256, 80)(torch.from_numpy(clean)[None])[0], expected, atol=4e-3)
