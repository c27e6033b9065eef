"""Signal metrics: what has a score and what has none, and that worse audio scores worse."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import librosa
import numpy as np
import pytest
from support.metric_audio import RATE, clips, incomparable, noisy, words

from audiocodec.errors import MetricUndefined
from audiocodec.evaluation.catalogue import HIGHER, Metric, select
from audiocodec.metrics.loudness import integrated_loudness, loudness_difference
from audiocodec.metrics.pesq import count_phrases, pesq, pesq_nb
from audiocodec.metrics.si_sdr import si_sdr
from audiocodec.metrics.stft_distance import noise_floor, stft_distance
from audiocodec.metrics.stoi import estoi

WORDS = ("pesq", "pesq_nb", "stoi", "estoi", "mel", "si_sdr", "stft", "loudness")


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Three seconds of real speech at 16 kHz."""
    return clips()[0][RATE : 4 * RATE]


@pytest.fixture(params=WORDS)
def metric(request: pytest.FixtureRequest) -> Metric:
    (found,) = select([request.param])
    return found


def test_more_noise_never_scores_better(metric: Metric, speech: np.ndarray) -> None:
    """Better in the direction that the catalogue gives."""
    sign = 1 if metric.measures[0].better == HIGHER else -1
    scores = [
        sign * metric.compute(reference=speech, estimate=noisy(speech, snr), sample_rate=RATE)
        for snr in range(30, -1, -5)
    ]
    assert all(before > after for before, after in itertools.pairwise(scores))


def test_equal_signals_have_the_best_score(metric: Metric, speech: np.ndarray) -> None:
    # The tops of the mappings of P.862.2, 0.999 + 4 / (1 + exp(-1.3669 * 4.5 + 3.8224)), and P.862.1, with 1.4945 and 4.6607.
    best = {"pesq": 4.644, "pesq_nb": 4.549, "stoi": 1.0, "estoi": 1.0, "si_sdr": 100.0}.get(metric.word, 0.0)
    assert metric.compute(reference=speech, estimate=speech, sample_rate=RATE) == pytest.approx(best, abs=1e-3)


def test_what_cannot_be_compared_has_no_score(metric: Metric, speech: np.ndarray) -> None:
    for reason, reference, estimate in incomparable(speech):
        with pytest.raises(MetricUndefined, match=reason):
            metric.compute(reference=reference, estimate=estimate, sample_rate=RATE)
    with pytest.raises(ValueError, match=r"reference must be \[S\], got \[1, 48000\]"):
        metric.compute(reference=speech[None], estimate=speech[None], sample_rate=RATE)


@pytest.mark.parametrize("order", ["positional", "swapped names"])
def test_reference_and_estimate_must_be_named(order: str, metric: Metric, speech: np.ndarray) -> None:
    with pytest.raises(TypeError):
        if order == "positional":
            metric.compute(speech, speech, RATE)
        else:
            metric.compute(ref=speech, deg=speech, sample_rate=RATE)


# --- narrowband PESQ


def test_narrowband_pesq_begins_at_8_khz(speech: np.ndarray) -> None:
    assert pesq_nb(reference=speech, estimate=noisy(speech, 20), sample_rate=8000) > 1
    with pytest.raises(MetricUndefined, match="narrowband PESQ needs 8000 Hz or more, got 7999 Hz"):
        pesq_nb(reference=speech, estimate=speech, sample_rate=7999)


def test_narrowband_pesq_of_a_quarter_of_a_second_but_not_less(speech: np.ndarray) -> None:
    short = speech[RATE // 2 : RATE // 2 + 4000]
    assert 1 < pesq_nb(reference=short, estimate=noisy(short, 20), sample_rate=RATE) < 4.55
    with pytest.raises(MetricUndefined, match="shorter than 0.25 s"):
        pesq_nb(reference=short[:3998], estimate=short[:3998], sample_rate=RATE)


def test_narrowband_pesq_refuses_what_overruns_the_tables_of_its_c_code() -> None:
    """60 words crash the process when they are given to the package itself."""
    for rate in (8000, RATE):
        with pytest.raises(MetricUndefined, match="more than 40 phrases"):
            pesq_nb(reference=words(60, rate), estimate=noisy(words(60, rate), 30), sample_rate=rate)
    assert pesq_nb(reference=words(40), estimate=noisy(words(40), 30), sample_rate=RATE) > 1
    assert [count_phrases(words(n, 8000), 8000) for n in (1, 10, 60)] == [1, 10, 60]


@pytest.mark.parametrize(("compute", "frequency"), [(pesq, 11_000), (pesq_nb, 6000)])
def test_pesq_of_what_its_scale_cannot_hear_is_undefined(compute: Callable[..., float], frequency: int) -> None:
    speech = words(3, 24_000)
    high = (0.3 * np.sin(2 * np.pi * frequency * np.arange(len(speech)) / 24_000)).astype(np.float32)
    high *= np.hanning(len(high)).astype(np.float32)
    with pytest.raises(MetricUndefined, match="estimate is silent"):
        compute(reference=speech, estimate=high, sample_rate=24_000)


# --- extended STOI


def test_extended_stoi_is_the_same_every_time_and_leaves_the_global_generator_alone(speech: np.ndarray) -> None:
    """An estimate that drops out leaves the package nothing to compare but its own noise."""
    dropped = speech.copy()
    dropped[RATE : 2 * RATE] = 0
    np.random.seed(1)
    first = estoi(reference=speech, estimate=dropped, sample_rate=RATE)
    drawn = np.random.standard_normal()
    assert estoi(reference=speech, estimate=dropped, sample_rate=RATE) == first
    np.random.seed(1)
    assert np.random.standard_normal() == drawn


# --- SI-SDR


def test_si_sdr_ends_at_100_db() -> None:
    """Also of a gain that is no power of two, where rounding leaves something."""
    wav = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    for estimate in (wav, -wav, np.float32(0.3) * wav):
        assert si_sdr(reference=wav, estimate=estimate, sample_rate=RATE) == 100
    one, other = np.float32([1, -1, 1, -1]), np.float32([1, 1, -1, -1])  # orthogonal, exactly
    assert si_sdr(reference=one, estimate=other, sample_rate=RATE) == -100


def test_si_sdr_hears_one_sample_of_lag(speech: np.ndarray) -> None:
    assert si_sdr(reference=speech[1:], estimate=speech[:-1], sample_rate=RATE) < 20


# --- STFT distance


def test_stft_distance_of_a_gain() -> None:
    """Half the magnitude: a convergence of 1/2 and logarithms that differ by log 2."""
    loud = np.random.default_rng(0).normal(0, 0.2, RATE).astype(np.float32)
    distance = stft_distance(reference=loud, estimate=0.5 * loud, sample_rate=RATE)
    assert distance == pytest.approx(0.5 + math.log(2), abs=1e-4)


@pytest.mark.parametrize("length", [2, 256, 257, 1024, 1025])  # around half of each transform
def test_stft_distance_is_defined_for_the_shortest_signal(length: int) -> None:
    reference = np.tile(np.float32([0.5, -0.5]), length)[:length]
    estimate = reference.copy()
    estimate[1] += np.float32(0.1)
    assert stft_distance(reference=reference, estimate=estimate, sample_rate=RATE) > 0


@pytest.mark.parametrize("window", [240, 1200])
def test_the_floor_is_what_noise_at_minus_80_db_measures(window: int) -> None:
    noise = np.random.default_rng(0).normal(0, 10 ** (-80 / 20), 4 * RATE)
    measured = np.abs(librosa.stft(noise, n_fft=2048, win_length=window, hop_length=window)).mean()
    assert noise_floor(window) == pytest.approx(measured, rel=0.03)  # the spread of this much noise


def test_what_is_below_the_floor_does_not_count() -> None:
    noise = np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    with_noise = {level: 10 ** (level / 20) * noise for level in (-89, -95, -60, -66)}
    speech = words(2)[:RATE]
    below, above = (
        stft_distance(reference=speech + with_noise[a], estimate=speech + with_noise[b], sample_rate=RATE)
        for a, b in ((-89, -95), (-60, -66))
    )
    assert below < 0.05
    assert above > 0.5


# --- loudness


def test_loudness_of_what_cannot_be_measured_is_undefined(speech: np.ndarray) -> None:
    with pytest.raises(MetricUndefined, match="reference: shorter than 0.4 s"):
        loudness_difference(reference=speech[:6399], estimate=speech[:6399], sample_rate=RATE)
    loudness_difference(reference=speech[:6400], estimate=speech[:6400], sample_rate=RATE)
    quiet = (10 ** (-75 / 20) * np.sin(np.arange(len(speech)))).astype(np.float32)
    with pytest.raises(MetricUndefined, match="estimate: nothing above -70 LUFS"):
        loudness_difference(reference=speech, estimate=quiet, sample_rate=RATE)
    with pytest.raises(MetricUndefined, match="needs 8000 Hz or more, got 7999 Hz"):
        loudness_difference(reference=speech, estimate=speech, sample_rate=7999)


@pytest.mark.parametrize("gain_db", [-6.0, 3.0])
def test_loudness_difference_of_a_gain_is_its_size(gain_db: float, speech: np.ndarray) -> None:
    changed = (10 ** (gain_db / 20) * speech).astype(np.float32)
    difference = loudness_difference(reference=speech, estimate=changed, sample_rate=RATE)
    assert difference == pytest.approx(abs(gain_db), abs=1e-4)


@pytest.mark.parametrize("rate", [11_025, 16_000, 22_050])
def test_an_unfinished_block_does_not_count(rate: int) -> None:
    """Noise that gets louder right after the last whole block of 0.4 s; at 11025 Hz a tenth of a second is no integer."""
    noise = np.random.default_rng(0).normal(0, 0.01, rate)
    longer = np.concatenate([noise, np.random.default_rng(1).normal(0, 0.5, rate // 10 - 1)])
    assert integrated_loudness(longer, rate) == pytest.approx(integrated_loudness(noise, rate), abs=0.01)
    shorter = noise[: -(rate // 20)]  # pyloudnorm would take it for as long as the whole, half of its end missing
    assert integrated_loudness(shorter, rate) == integrated_loudness(noise[: -(rate // 10)], rate)
