"""Metrics that carry a model, against their packages called directly.

Swapped arguments fail wherever the metric is not symmetric; V/UV F1, F0 errors and speaker similarity are (almost) symmetric, so
there each signal's own track or embedding is taken from the package.
"""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pocketsphinx
import pytest
import soundfile
import soxr
import swift_f0
import torch
import visqol as google
from speechmos import dnsmos as microsoft
from speechmos import plcmos as plcmos_package

from audiocodec.metrics.dnsmos import dnsmos
from audiocodec.metrics.pitch import pitch
from audiocodec.metrics.plcmos import plcmos
from audiocodec.metrics.speaker import speaker_similarity
from audiocodec.metrics.visqol import visqol
from audiocodec.metrics.voice_activity import voice_activity
from audiocodec.metrics.wer import word_error_rate

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", ".*scipy.ndimage.morphology", DeprecationWarning)
    warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
    import resemblyzer

AUDIO = Path(__file__).parents[2] / "egs/mini/codec/local/audio"
RATE = 16_000
Pair = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def pair() -> Pair:
    """(clean, degraded) at 16 kHz: slowed by 3 %, quieter, a gap, noise that comes and goes, clipping."""
    clean, rate = soundfile.read(AUDIO / "it-flora/vm-mismatch.flac", dtype="float32")
    assert rate == RATE
    degraded = 0.7 * soxr.resample(clean, 100, 103)[: len(clean)]
    degraded += np.random.default_rng(3).normal(0, 0.01, len(clean)) * (np.sin(np.arange(len(clean)) / 5000) > 0)
    degraded[RATE : RATE + 6000] *= 0.01
    return clean, np.clip(degraded, -0.2, 0.2).astype(np.float32)


def test_pitch(pair: Pair) -> None:
    """The definitions, frame by frame, on the package's tracks."""
    first, second = (swift_f0.SwiftF0().detect(x, RATE, fmin=50, fmax=600) for x in pair)
    hits = misses = gross = 0
    squares = []
    for f0, other, p, q in zip(first.pitch_hz, second.pitch_hz, first.confidence, second.confidence, strict=True):
        if p >= 0.5 and q >= 0.5:
            hits += 1
            squares.append((1200 * (np.log2(other) - np.log2(f0))) ** 2)
            gross += not 0.8 * f0 <= other <= 1.2 * f0
        elif p >= 0.5 or q >= 0.5:
            misses += 1
    assert hits > 50 and misses > 10
    scores = pitch(reference=pair[0], estimate=pair[1], sample_rate=RATE)
    assert scores["vuv_f1"] == pytest.approx(hits / (hits + misses / 2), abs=1e-9)
    # One thread here, as many as the machine has there: sums are rounded differently.
    assert scores["f0_rmse_cents"] == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-3)
    middle = sorted(np.sqrt(squares))[(hits - 1) // 2 : hits // 2 + 1]  # one, or the two in the middle
    assert scores["f0_median_cents"] == pytest.approx(sum(middle) / len(middle), rel=1e-2)
    assert scores["f0_gross"] == gross / hits


def test_f0_rmse_of_a_fifth() -> None:
    """Voices made of harmonics of 200 Hz and of 300 Hz: 1200 log2(3 / 2) = 702 cents."""
    t = np.arange(2 * RATE) / RATE
    voices = [sum(0.2 / k * np.sin(2 * np.pi * k * f * t) for k in range(1, 12)).astype(np.float32) for f in (200, 300)]
    scores = pitch(reference=voices[0], estimate=voices[1], sample_rate=RATE)
    assert scores["vuv_f1"] == 1.0
    for name in ("f0_rmse_cents", "f0_median_cents"):
        assert scores[name] == pytest.approx(702, abs=10)  # the model's steps are of 70 cents
    assert scores["f0_gross"] == 1.0


@pytest.mark.parametrize(("factor", "share"), [(1.1, 0.0), (1.3, 1.0), (0.9, 0.0), (0.7, 1.0)])
def test_gross_errors_are_those_of_more_than_a_fifth(factor: float, share: float) -> None:
    """Half a second out of two has another pitch: the median does not hear it, the share of gross errors counts it."""
    t = np.arange(2 * RATE) / RATE
    cycles = np.cumsum(np.where(t < 1.5, 1.0, factor)) * 200 / RATE
    steady, moved = (sum(0.2 / k * np.sin(2 * np.pi * k * c) for k in range(1, 12)) for c in (200 * t, cycles))
    scores = pitch(reference=steady.astype(np.float32), estimate=moved.astype(np.float32), sample_rate=RATE)
    assert scores["f0_gross"] == pytest.approx(0.25 * share, abs=0.02)
    assert scores["f0_median_cents"] == pytest.approx(0, abs=10)
    assert scores["f0_rmse_cents"] == pytest.approx(1200 * abs(np.log2(factor)) / 2, rel=0.1)


def test_speaker_similarity(pair: Pair) -> None:
    encoder = resemblyzer.VoiceEncoder("cpu", verbose=False)
    first, second = (encoder.embed_utterance(resemblyzer.preprocess_wav(x.copy())) for x in pair)
    score = speaker_similarity(reference=pair[0], estimate=pair[1], sample_rate=RATE)
    assert 0.5 < score < 0.99
    assert score == pytest.approx(float(np.inner(first, second)), abs=1e-5)  # float32 there


def test_dnsmos(pair: Pair) -> None:
    """Three windows of 9.01 s: the doubling of short signals and the hops are the package's."""
    clean, degraded = (np.tile(x, 3)[: 12 * RATE] for x in pair)
    there, back = (microsoft.run(x, RATE) for x in (degraded, clean))
    scores = dnsmos(reference=clean, estimate=degraded, sample_rate=RATE)
    assert list(scores) == ["dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "dnsmos_p808"]
    for name in ("ovrl", "sig", "bak", "p808"):
        assert abs(there[f"{name}_mos"] - back[f"{name}_mos"]) > 0.02
        # float32 models; the number of threads changes how sums are rounded
        assert scores[f"dnsmos_{name}"] == pytest.approx(float(there[f"{name}_mos"]), abs=1e-3)


def test_visqol(pair: Pair) -> None:
    api = google.VisqolApi()
    api.create(mode="speech", use_lattice_model=True)
    clean = pair[0]
    degraded = np.clip(0.7 * clean, -0.2, 0.2)  # the pair's other faults bring it to 1, the end of the scale
    degraded[RATE : RATE + 6000] *= 0.1
    there, back = (api.measure_from_arrays(x, y, RATE).moslqo for x, y in ((clean, degraded), (degraded, clean)))
    assert abs(there - back) > 0.02 and 2 < there < 4
    # float64 here, float32 there
    assert visqol(reference=clean, estimate=degraded, sample_rate=RATE) == pytest.approx(there, abs=1e-3)
    api.create(mode="speech", use_lattice_model=False)
    assert abs(api.measure_from_arrays(clean, degraded, RATE).moslqo - there) > 0.3  # the polynomial would be seen


def test_plcmos(pair: Pair) -> None:
    """The package draws other raters at every call: two means of 15 differ by some hundredths."""
    clean = pair[0]
    lost = np.where(np.arange(len(clean)) // 320 % 5 == 0, np.float32(0), clean)
    there, back = (plcmos_package.run(np.clip(x, -1, 1), RATE)["plcmos"] for x in (lost, clean))
    assert abs(there - back) > 0.5
    assert plcmos(reference=clean, estimate=lost, sample_rate=RATE) == pytest.approx(there, abs=0.15)


def test_share_of_speech(pair: Pair) -> None:
    """The package's own loop over its model, whose import sets the threads of torch."""
    threads = torch.get_num_threads()
    silero = importlib.import_module("silero_vad")
    torch.set_num_threads(threads)
    clean, degraded = pair[0], np.concatenate([pair[0][: len(pair[0]) // 2], 1e-3 * pair[1][len(pair[1]) // 2 :]])
    model, shares = silero.load_silero_vad(onnx=True), []
    for wav in (clean, degraded):
        model.reset_states()
        steps = [torch.from_numpy(wav[i : i + 512].copy()) for i in range(0, len(wav), 512)]
        steps[-1] = torch.nn.functional.pad(steps[-1], (0, 512 - len(steps[-1])))
        shares.append(np.mean([float(model(step, RATE)) >= 0.5 for step in steps]))
    found = voice_activity(reference=clean, estimate=degraded, sample_rate=RATE)
    assert shares[0] - shares[1] > 0.1
    assert found == {"speech_share": shares[1], "speech_share_error": shares[1] - shares[0]}


def test_word_error_rate(pair: Pair) -> None:
    """Edit distance written as a recursion over prefixes; transcripts from the recogniser called directly."""
    clean = pair[0][: 3 * RATE]
    degraded = (clean + np.random.default_rng(5).normal(0, 0.004, len(clean))).astype(np.float32)
    heard = []
    for wav in (clean, degraded):
        decoder = pocketsphinx.Decoder(loglevel="FATAL", cmn="batch")
        decoder.start_utt()
        decoder.process_raw((wav * 32767).astype(np.int16).tobytes(), full_utt=True)
        decoder.end_utt()
        heard.append(decoder.hyp().hypstr.split())
    errors = {(0, 0): 0}
    for i in range(len(heard[0]) + 1):
        for j in range(len(heard[1]) + 1):
            ways = [errors[i - 1, j] + 1] if i else []
            ways += [errors[i, j - 1] + 1] if j else []
            ways += [errors[i - 1, j - 1] + (heard[0][i - 1] != heard[1][j - 1])] if i and j else []
            errors[i, j] = min(ways, default=0)
    count = errors[len(heard[0]), len(heard[1])]
    assert count > 0 and len(heard[0]) != len(heard[1])  # else swapping would not show
    assert word_error_rate(reference=clean, estimate=degraded, sample_rate=RATE) == count / len(heard[0])


@pytest.mark.parametrize("rate", [24_000, 48_000])
def test_other_rates_are_brought_to_16_khz(pair: Pair, rate: int) -> None:
    clean, degraded = (soxr.resample(x, RATE, rate) for x in pair)
    at_16k = [soxr.resample(x, rate, RATE)[: len(pair[0])] for x in (clean, degraded)]
    for metric, tolerance in ((speaker_similarity, 1e-3), (visqol, 5e-3)):  # the last samples may differ
        there = metric(reference=at_16k[0], estimate=at_16k[1], sample_rate=RATE)
        assert metric(reference=clean, estimate=degraded, sample_rate=rate) == pytest.approx(there, abs=tolerance)
    for metric in (pitch, dnsmos):
        expected = metric(reference=at_16k[0], estimate=at_16k[1], sample_rate=RATE)
        assert metric(reference=clean, estimate=degraded, sample_rate=rate) == pytest.approx(expected, rel=5e-3)
