"""Pairs: a lag is found and named, a bad codec is not taken for a late one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from audiocodec.audio import io
from audiocodec.errors import MetricUndefined
from audiocodec.evaluation.catalogue import DEFAULT
from audiocodec.evaluation.pairing import Entry
from audiocodec.evaluation.scoring import Task, score
from audiocodec.metrics.alignment import alignment

RATE = 16_000
CLIPS = sorted((Path(__file__).parents[2] / "egs/mini/codec/local/audio").rglob("*.flac"))


@pytest.fixture(scope="module", params=CLIPS[:4], ids=lambda path: path.stem)
def speech(request: pytest.FixtureRequest) -> np.ndarray:
    wav, rate = io.read(request.param)
    return io.resample(wav[0, : 4 * rate], rate, RATE)


FILTERS = {  # none of them delays all frequencies alike
    "high-pass, 300 Hz": signal.butter(4, 300, "high", fs=RATE),
    "high-pass, 200 Hz": signal.butter(2, 200, "high", fs=RATE),
    "low-pass, 3.4 kHz": signal.butter(8, 3400, "low", fs=RATE),
    "all-pass": (np.poly([0.9] * 4)[::-1], np.poly([0.9] * 4)),
}


def late(wav: np.ndarray, samples: int) -> np.ndarray:
    """Delayed (or, negative, advanced), the same length."""
    moved = np.roll(wav, samples)
    moved[slice(0, samples) if samples >= 0 else slice(samples, None)] = 0
    return moved


def noisy(wav: np.ndarray, snr_db: float) -> np.ndarray:
    noise = np.random.default_rng(2).normal(0, float(wav.std()) * 10 ** (-snr_db / 20), len(wav))
    return (wav + noise).astype(np.float32)


def vocoded(wav: np.ndarray) -> np.ndarray:
    """The same magnitudes with random phases, window by window: what a codec that keeps no phase leaves of a waveform."""
    window, hop = 512, 128
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wav, window // 2), window)[::hop] * np.hanning(window)
    phases = np.exp(2j * np.pi * np.random.default_rng(4).random((len(frames), window // 2 + 1)))
    again = np.fft.irfft(np.abs(np.fft.rfft(frames)) * phases) * np.hanning(window)
    out = np.zeros(len(frames) * hop + window)
    for i, frame in enumerate(again):
        out[i * hop : i * hop + window] += frame
    return out[window // 2 : window // 2 + len(wav)].astype(np.float32)


@pytest.mark.parametrize("samples", [13, -13, 15, 80, 1600, -3200, 9600, 19200])
@pytest.mark.parametrize("snr_db", [40, 10])
def test_a_lag_of_the_waveform_is_found(speech: np.ndarray, samples: int, snr_db: float) -> None:
    found = alignment(reference=speech, estimate=late(noisy(speech, snr_db), samples), sample_rate=RATE)
    assert found.lag_ms == pytest.approx(1000 * samples / RATE, abs=0.1)


@pytest.mark.parametrize("milliseconds", [12, -20, 100, 400])
def test_a_lag_without_a_common_waveform_is_found_to_8_ms(speech: np.ndarray, milliseconds: int) -> None:
    estimate = late(vocoded(speech), milliseconds * RATE // 1000)
    found = alignment(reference=speech, estimate=estimate, sample_rate=RATE)
    assert found.lag_ms == pytest.approx(milliseconds, abs=8)


def test_what_is_bad_is_not_late(speech: np.ndarray) -> None:
    worse = [noisy(speech, 0), noisy(speech, -10), vocoded(speech), np.clip(speech, -0.01, 0.01)]
    worse.append(np.convolve(speech, np.hanning(9) / 4, "same").astype(np.float32))
    worse.append(np.random.default_rng(0).normal(0, 0.1, len(speech)).astype(np.float32))
    lags = [alignment(reference=speech, estimate=estimate, sample_rate=RATE).lag_ms for estimate in worse]
    assert lags == [0] * len(worse)


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_makes_nothing_late(speech: np.ndarray, name: str) -> None:
    estimate = signal.lfilter(*FILTERS[name], speech).astype(np.float32)
    assert alignment(reference=speech, estimate=estimate, sample_rate=RATE).lag_ms == 0


def test_a_rumble_with_another_phase_makes_no_speech_late(speech: np.ndarray) -> None:
    """A codec that keeps no phase may turn a rumble around, 4 ms late; the speech above it stays where it was."""
    band = signal.butter(2, (60, 160), "bandpass", fs=RATE, output="sos")
    rumble = signal.sosfilt(band, np.random.default_rng(3).normal(size=len(speech)))
    rumble *= 1.6 * np.sqrt(np.mean(np.square(speech)) / np.mean(np.square(rumble)))
    reference = (speech + rumble).astype(np.float32)
    estimate = (vocoded(speech) - np.roll(rumble, 4 * RATE // 1000)).astype(np.float32)
    assert alignment(reference=reference, estimate=estimate, sample_rate=RATE).lag_ms == 0


def test_a_tone_has_no_lag() -> None:
    phase = 2 * np.pi * 100 * np.arange(2 * RATE) / RATE
    assert alignment(reference=np.sin(phase), estimate=np.cos(phase), sample_rate=RATE).lag_ms == 0


def test_gain_and_polarity(speech: np.ndarray) -> None:
    found = alignment(reference=speech, estimate=-0.5 * speech, sample_rate=RATE)
    assert found.inverted and found.lag_ms == 0
    assert found.gain_db == pytest.approx(-6.0206, abs=1e-3)
    assert not alignment(reference=speech, estimate=2 * speech, sample_rate=RATE).inverted


def test_a_long_pair_is_judged_by_its_loudest_minute() -> None:
    wav = np.random.default_rng(1).normal(0, 0.1, 200 * 8000).astype(np.float32)
    wav[20 * 8000 : 180 * 8000] = 0
    assert alignment(reference=wav, estimate=late(wav, 400), sample_rate=8000).lag_ms == 50


def test_an_estimate_without_the_loudest_minute_has_no_lag() -> None:
    wav = np.random.default_rng(1).normal(0, 0.1, 130 * 8000).astype(np.float32)
    wav[: 65 * 8000] *= 0.1
    estimate = wav.copy()
    estimate[65 * 8000 :] = 0
    assert alignment(reference=wav, estimate=estimate, sample_rate=8000).lag_ms == 0


@pytest.mark.parametrize("samples", [1, 2, 100])
def test_short_pairs_have_an_alignment(samples: int) -> None:
    wav = np.linspace(0.1, 0.2, samples, dtype=np.float32) if samples > 1 else None
    if wav is None:
        with pytest.raises(MetricUndefined, match="silent"):
            alignment(reference=np.ones(1), estimate=np.ones(1), sample_rate=RATE)
    else:
        assert alignment(reference=wav, estimate=wav, sample_rate=RATE).lag_ms == 0


def test_a_late_estimate_has_a_reason_and_no_score(tmp_path: Path, speech: np.ndarray) -> None:
    def scores(estimate: np.ndarray):  # type: ignore[no-untyped-def]
        io.write(tmp_path / "r.wav", speech, RATE, "FLOAT")
        io.write(tmp_path / "e.wav", estimate, RATE, "FLOAT")
        return score(Task(Entry("a", str(tmp_path / "r.wav"), str(tmp_path / "e.wav")), DEFAULT))

    found = scores(late(speech, 320))
    assert found.values == {}
    assert set(found.failures.values()) == {"misaligned"}
    assert found.details == {"misaligned": "estimate is 20 ms late"}
    assert scores(late(speech, -320)).details == {"misaligned": "estimate is 20 ms early"}
    odd = scores(-0.4 * speech)
    assert odd.failures == {} and odd.values["stoi"] == pytest.approx(1, abs=1e-4)
    assert odd.notes == ("polarity inverted", "estimate more than 6 dB quieter")
