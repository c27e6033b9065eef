"""Signal metrics against the libraries called directly, published figures and formulas written out in float64."""

from __future__ import annotations

import math

import librosa
import numpy as np
import pytest
import scipy.signal
import soundfile
import soxr
from speech_pair import AUDIO, degraded_pair

from audiocodec.metrics.level import level
from audiocodec.metrics.loudness import integrated_loudness, loudness_difference
from audiocodec.metrics.si_sdr import si_sdr
from audiocodec.metrics.stft_distance import stft_distance


@pytest.fixture(scope="module", params=[8000, 16_000, 24_000])
def pair(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray, int]:
    return degraded_pair(request.param)


@pytest.mark.parametrize("seconds", [4.0, 0.17])  # the latter: little more than half of the longest transform at 8 kHz
def test_stft_distance(pair: tuple[np.ndarray, np.ndarray, int], seconds: float) -> None:
    """Parallel WaveGAN's formulas with librosa's spectra."""
    clean, degraded, rate = pair
    clean, degraded = clean[rate : rate + round(seconds * rate)], degraded[rate : rate + round(seconds * rate)]

    def distance(reference: np.ndarray, estimate: np.ndarray) -> float:
        total = 0.0
        for n_fft, hop, window in ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200)):
            x, y, hiss = (
                np.abs(
                    librosa.stft(
                        np.pad(wav, n_fft // 2, "reflect"), n_fft=n_fft, hop_length=hop, win_length=window, center=False
                    )
                )
                for wav in (reference, estimate, np.random.default_rng(9).normal(0, 1e-4, 5 * rate))  # -80 dB
            )
            x, y = np.maximum(x, hiss[1:-1].mean()), np.maximum(y, hiss[1:-1].mean())
            total += np.sqrt(np.sum((x - y) ** 2) / np.sum(x**2)) + np.mean(np.abs(np.log(x) - np.log(y)))
        return total / 3

    there, back = distance(clean, degraded), distance(degraded, clean)
    assert abs(there - back) > 0.05
    # The floor is measured from noise here and computed there: they agree to about a hundredth.
    assert stft_distance(reference=clean, estimate=degraded, sample_rate=rate) == pytest.approx(there, rel=1e-3)


# --- SI-SDR: a function of the correlation alone, so that swapping changes nothing


def test_si_sdr_of_speech(pair: tuple[np.ndarray, np.ndarray, int]) -> None:
    """From the correlation coefficient: the part along the reference has the share r^2 of the energy."""
    clean, degraded, rate = pair
    share = np.corrcoef(clean.astype(np.float64), degraded.astype(np.float64))[0, 1] ** 2
    expected = 10 * np.log10(share / (1 - share))
    assert si_sdr(reference=clean, estimate=degraded, sample_rate=rate) == pytest.approx(expected, abs=1e-9)


def test_si_sdr_by_hand() -> None:
    reference, noise = np.float32([1, -1, 1, -1]), np.float32([0.5, 0.5, -0.5, -0.5])
    # orthogonal, energies 4 and 1
    ratio = si_sdr(reference=reference, estimate=reference + noise, sample_rate=16_000)
    assert ratio == pytest.approx(10 * math.log10(4), abs=1e-9)


@pytest.mark.parametrize("snr", [-30.0, 0.0, 7.5, 30.0, 60.0])
@pytest.mark.parametrize("gain", [1.0, 0.1, -0.5])
def test_si_sdr_of_orthogonal_noise_is_its_snr(snr: float, gain: float) -> None:
    rng = np.random.default_rng(0)
    signal, noise = (x - x.mean() for x in rng.normal(size=(2, 16_000)))
    noise -= noise @ signal / (signal @ signal) * signal
    noise *= np.linalg.norm(signal) / np.linalg.norm(noise) * 10 ** (-snr / 20)
    estimate = (gain * (signal + noise) + 0.25).astype(np.float32)
    # Rounding to float32 is noise at about -140 dB: 1e-3 dB beside noise at -60 dB would take -97 dB.
    assert si_sdr(reference=(signal + 0.5).astype(np.float32), estimate=estimate, sample_rate=16_000) == pytest.approx(
        snr, abs=1e-3
    )


# --- level


def test_level_is_that_of_band_filters_and_of_welch(pair: tuple[np.ndarray, np.ndarray, int]) -> None:
    """Energies after long linear-phase filters, and sums of scipy's averaged spectra: both smear the edges a little."""
    clean, degraded, rate = pair
    found = level(reference=clean, estimate=degraded, sample_rate=rate)
    back = level(reference=degraded, estimate=clean, sample_rate=rate)
    bands = [(low, high) for low, high in ((0, 1000), (1000, 2000), (2000, 4000), (4000, 8000)) if high <= rate / 2]
    for (low, high), (name, value) in zip(bands, found.items()):
        assert name == f"level_{low // 1000}_{high // 1000}_khz"
        cutoff = [edge for edge in (low, high) if 0 < edge < rate / 2]
        taps = scipy.signal.firwin(2047, cutoff, fs=rate, pass_zero=low == 0)
        energies = [np.sum(np.square(scipy.signal.fftconvolve(x - x.mean(), taps))) for x in (clean, degraded)]
        assert value == pytest.approx(10 * np.log10(energies[1] / energies[0]), abs=0.05)
        spectra = []
        for wav in (clean, degraded):
            padded = np.pad(wav - wav.mean(), 4096)  # every sample is in as many windows as any other
            hertz, density = scipy.signal.welch(padded, rate, nperseg=4096, noverlap=3072, detrend=False)
            spectra.append(density[(hertz >= low) & (hertz < high)].sum())
        assert value == pytest.approx(10 * np.log10(spectra[1] / spectra[0]), abs=0.05)
        assert value == pytest.approx(-back[name], abs=1e-6) and abs(value) > 0.2


# --- loudness: one channel here. Two equal ones have twice the energy, which is one channel times sqrt(2)


def tone(frequency: float, peak_db: float, seconds: float, rate: int = 48_000) -> np.ndarray:
    """Sine with its peak at `peak_db` full scale."""
    return 10 ** (peak_db / 20) * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 24_000, 44_100, 48_000])
def test_a_full_scale_sine_of_997_hz_has_minus_3_01_lkfs(rate: int) -> None:
    """BS.1770-4, annex 1. The coefficients are for 48 kHz; EBU Tech 3341 allows 0.1."""
    assert integrated_loudness(tone(997, 0, 5, rate), rate) == pytest.approx(
        -3.01, abs=0.005 if rate == 48_000 else 0.05
    )


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([(-23.0, 20)], -23.0),
        ([(-33.0, 20)], -33.0),
        ([(-36.0, 10), (-23.0, 60), (-36.0, 10)], -23.0),
        ([(-72.0, 10), (-36.0, 10), (-23.0, 60), (-36.0, 10), (-72.0, 10)], -23.0),
        ([(-26.0, 20), (-20.0, 20.1), (-26.0, 20)], -23.0),
    ],
    ids=["case 1", "case 2", "case 3, relative gate", "case 4, both gates", "case 5, gate of the mean"],
)
def test_ebu_tech_3341(segments: list[tuple[float, float]], expected: float) -> None:
    """The stereo test signals of EBU Tech 3341, table 1: 1000 Hz, peak per channel, tolerance 0.1 LU."""
    stereo = math.sqrt(2) * np.concatenate([tone(1000, level, seconds) for level, seconds in segments])
    assert integrated_loudness(stereo, 48_000) == pytest.approx(expected, abs=0.1)


SHELF = [1.53512485958697, -2.69169619938640, 1.19839281085285], [1.0, -1.69065929318241, 0.73248077421585]
HIGHPASS = [1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621]  # BS.1770-4, tables 1 and 2, for 48 kHz


@pytest.mark.parametrize("frequency", [25, 100, 500, 1000, 2000, 10_000])
def test_weighting_is_that_of_the_recommendation(frequency: float) -> None:
    """At the frequencies of BS.2217's compliance material."""
    gain = np.prod([abs(scipy.signal.freqz(b, a, [frequency], fs=48_000)[1][0]) for b, a in (SHELF, HIGHPASS)])
    expected = -0.691 + 10 * np.log10(gain**2 / 2)
    # The filters' first fading-in is in the measured blocks.
    assert integrated_loudness(tone(frequency, 0, 20), 48_000) == pytest.approx(expected, abs=0.01)


def test_loudness_of_speech_is_that_of_the_recommendation() -> None:
    """BS.1770-4, annex 1, equations 1 to 7, written out; the pauses fall below the gates."""
    wav, rate = soundfile.read(max(AUDIO.rglob("*.flac")))
    wav = soxr.resample(wav, rate, 48_000)
    wav = np.concatenate([wav, 0.05 * wav, 1e-4 * wav])
    weighted = scipy.signal.lfilter(*HIGHPASS, scipy.signal.lfilter(*SHELF, wav))
    energy = np.array([np.mean(weighted[i : i + 19_200] ** 2) for i in range(0, len(weighted) - 19_200 + 1, 4800)])
    loud = energy[-0.691 + 10 * np.log10(energy) > -70]
    gated = loud[loud > loud.mean() / 10]
    assert len(energy) > len(loud) > len(gated)
    expected = -0.691 + 10 * np.log10(gated.mean())
    # The coefficients are given to some 1e-14, pyloudnorm's come from rounded analogue ones.
    assert integrated_loudness(wav, 48_000) == pytest.approx(expected, abs=1e-4)


def test_loudness_difference_of_tones() -> None:
    loud, quiet = (tone(1000, level, 3).astype(np.float32) for level in (-20, -26.5))
    for reference, estimate in ((loud, quiet), (quiet, loud)):
        difference = loudness_difference(reference=reference, estimate=estimate, sample_rate=48_000)
        assert difference == pytest.approx(6.5, abs=1e-4)  # float32
