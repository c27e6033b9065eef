"""Metrics: what has a score and what has none, and that worse audio scores worse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from support.metric_audio import RATE, clips, noisy, words

from audiocodec.dsp.mel import LogMel
from audiocodec.errors import MetricUndefined
from audiocodec.metrics.codebook import CodeCounter, codebook_use
from audiocodec.metrics.mel_distance import mel_distance, noise_floor
from audiocodec.metrics.pairs import check_pair, check_rates
from audiocodec.metrics.pesq import count_phrases, pesq
from audiocodec.metrics.stoi import estoi, stoi

Metric = Callable[..., float]


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Three seconds of real speech at 16 kHz."""
    return clips()[0][RATE : 4 * RATE]


def test_silence_ends_above_one_step_of_16_bits() -> None:
    step = 1 / 32768
    square = np.tile([1.0, -1.0], 500).astype(np.float32)
    for silent in (square * step, square * step + 0.5, np.full(1000, 0.5, np.float32)):  # with and without offset
        with pytest.raises(MetricUndefined, match="estimate is silent"):
            check_pair(reference=square, estimate=silent)
    check_pair(reference=square, estimate=square * 1.01 * step)


def test_rates_must_agree() -> None:
    assert check_rates(reference=RATE, estimate=RATE) == RATE
    with pytest.raises(MetricUndefined, match="reference 16000 Hz, estimate 24000 Hz"):
        check_rates(reference=RATE, estimate=24_000)


@pytest.mark.parametrize("order", ["positional", "swapped names"])
def test_reference_and_estimate_must_be_named(order: str, speech: np.ndarray) -> None:
    for metric in (pesq, stoi, mel_distance):
        with pytest.raises(TypeError):
            metric(speech, speech, RATE) if order == "positional" else metric(ref=speech, deg=speech, sample_rate=RATE)


# --- PESQ


def test_pesq_of_a_quarter_of_a_second_but_not_less(speech: np.ndarray) -> None:
    start = RATE // 2
    assert (
        1
        < pesq(
            reference=speech[start : start + 4000], estimate=noisy(speech, 20)[start : start + 4000], sample_rate=RATE
        )
        < 4.65
    )
    with pytest.raises(MetricUndefined, match="shorter than 0.25 s"):
        pesq(reference=speech[start : start + 3999], estimate=speech[start : start + 3999], sample_rate=RATE)


def test_pesq_without_speech_is_undefined() -> None:
    """A tenth of a second of noise is too short to be an utterance."""
    burst = np.zeros(RATE, np.float32)
    burst[4000:5600] = np.random.default_rng(0).normal(0, 0.2, 1600)
    with pytest.raises(MetricUndefined, match="no utterance detected"):
        pesq(reference=burst, estimate=0.5 * burst, sample_rate=RATE)


def test_pesq_has_no_narrow_band(speech: np.ndarray) -> None:
    with pytest.raises(MetricUndefined, match="needs 16000 Hz or more, got 8000 Hz"):
        pesq(reference=speech, estimate=speech, sample_rate=8000)


def test_pesq_refuses_what_overruns_the_tables_of_its_c_code() -> None:
    """60 words crash the process when they are given to the package itself."""
    with pytest.raises(MetricUndefined, match="more than 40 phrases"):
        pesq(reference=words(60), estimate=noisy(words(60), 30), sample_rate=RATE)
    assert pesq(reference=words(40), estimate=noisy(words(40), 30), sample_rate=RATE) > 1
    assert [count_phrases(words(n)) for n in (1, 10, 60)] == [1, 10, 60]


# --- STOI


@pytest.mark.parametrize("metric", [stoi, estoi])
def test_stoi_of_too_little_speech_is_undefined(metric: Metric, speech: np.ndarray) -> None:
    with pytest.raises(MetricUndefined, match="shorter than 0.4 s"):
        metric(reference=speech[:6399], estimate=speech[:6399], sample_rate=RATE)
    mostly_silent = np.zeros_like(speech)
    mostly_silent[:4000] = speech[RATE : RATE + 4000]
    with pytest.raises(MetricUndefined, match="less than 0.4 s of speech"):
        metric(reference=mostly_silent, estimate=speech, sample_rate=RATE)


# --- mel distance


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 48_000])
def test_mel_distance_of_a_gain_is_its_decibels(rate: int) -> None:
    loud = np.random.default_rng(0).normal(0, 0.2, rate).astype(np.float32)
    assert mel_distance(reference=loud, estimate=0.5 * loud, sample_rate=rate) == pytest.approx(
        20 * np.log10(2), abs=1e-4
    )


def test_mel_distance_is_defined_for_the_shortest_signal() -> None:
    pair = np.float32([0.5, -0.5]), np.float32([0.5, -0.4])
    assert mel_distance(reference=pair[0], estimate=pair[1], sample_rate=RATE) > 0


@pytest.mark.parametrize("rate", [16_000, 24_000, 48_000])
@pytest.mark.parametrize(("window", "bands"), [(512, 40), (2048, 120)])
def test_the_floor_is_what_noise_at_minus_80_db_measures(rate: int, window: int, bands: int) -> None:
    noise = np.random.default_rng(0).normal(0, 10 ** (-80 / 20), 4 * rate).astype(np.float32)
    mels = 10 ** LogMel(rate, window, window // 4, bands, floor=1e-12)(torch.from_numpy(noise)[None])
    assert noise_floor(window, rate) == pytest.approx(float(mels.mean()), rel=0.03)  # the spread of this much noise


def test_what_is_below_the_floor_does_not_count() -> None:
    noise = np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    with_noise = {level: 10 ** (level / 20) * noise for level in (-90, -88, -60, -58)}
    below = mel_distance(reference=with_noise[-90], estimate=with_noise[-88], sample_rate=RATE)
    above = mel_distance(reference=with_noise[-60], estimate=with_noise[-58], sample_rate=RATE)
    assert (below, above) == (pytest.approx(0, abs=0.05), pytest.approx(2, abs=0.05))


# --- codebooks


def test_codebook_use_by_hand() -> None:
    use = codebook_use(np.array([2, 1, 1, 0]))
    # 1/2 * 1 bit + 2 * 1/4 * 2 bits = 1.5 bits
    assert (use.entropy, use.perplexity) == (pytest.approx(1.5), pytest.approx(2**1.5))
    assert (use.codebook_size, use.frames, use.usage, use.dead_codes) == (4, 4, 0.75, 1)


def test_codebook_use_at_its_ends() -> None:
    even = codebook_use(np.full(1024, 3))
    assert (even.usage, even.dead_codes) == (1.0, 0)
    assert (even.entropy, even.perplexity) == (pytest.approx(10), pytest.approx(1024))
    one = codebook_use(np.eye(1, 8, 3, dtype=int)[0])
    assert (one.usage, one.entropy, one.perplexity, one.dead_codes) == (1 / 8, 0.0, 1.0, 7)
    with pytest.raises(MetricUndefined, match="no codes were counted"):
        codebook_use(np.zeros(8, int))


def test_codes_are_counted_over_files_with_fewer_codebooks_too() -> None:
    counter = CodeCounter()
    counter.add(np.array([[0, 1, 1], [4, 4, 4]]), (2, 5))
    counter.add(np.array([[1, 1]]), (2,))
    assert [counts.tolist() for counts in counter.counts] == [[1, 4], [0, 0, 0, 0, 3]]
    assert [use.frames for use in counter.describe()] == [5, 3]
    with pytest.raises(MetricUndefined, match="codebook 0 has 4 entries here, 2 before"):
        counter.add(np.array([[1, 1]]), (4,))
