"""Where the estimate lies against the reference: lag, gain, polarity. Found before anything is scored.

Most metrics punish a shift of a few milliseconds as if it were noise, so a misaligned pair must not be scored. Two
correlations find a lag: of the waveforms (to a tenth of a millisecond, where the codec keeps the phase) and of the band
envelopes (to 4 ms, where it does not). Each needs one clear peak, and the place without lag must be clearly worse: a bad
codec is not a late one. Where waveforms are alike, their first differences say where, and must agree: filters turn the
phase of low frequencies, where speech has its energy, and what a high-pass filter leaves would be late by milliseconds. Lags of up to two seconds are found, in up to a
minute around the loudest part of the reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audiocodec.audio.io import resample
from audiocodec.metrics.pairs import FloatArray, check_pair
from audiocodec.metrics.spectra import magnitudes

MAX_LAG_SECONDS, MAX_SECONDS = 2.0, 60.0
MAX_RATE = 12_000  # what is compared is resampled to it
HOP_SECONDS, BANDS = 0.004, 24
CLEAR_PEAK = 0.7  # normalised correlation that says: this is the same waveform
CLEAR_DIFFERENCES = 0.4  # and that of the first differences: a rumble alone may be turned around
WAVE_MARGIN, RIVAL_MARGIN = 0.95, 0.95  # of the peak: without lag, or elsewhere, it must be lower
NEAR_SECONDS = 0.002  # "elsewhere" begins here: a tone has as many peaks as periods, and no lag
WAVE_SECONDS = 0.00075  # what a filter's group delay may be
ENVELOPE_PEAK, ENVELOPE_MARGIN, ENVELOPE_HOPS = 0.5, 0.005, 3


@dataclass(frozen=True)
class Alignment:
    """How an estimate lies against its reference.

    Attributes:
        lag_ms: positive: the estimate comes late. 0 where none was found.
        gain_db: level of the estimate over that of the reference, RMS.
        inverted: the estimate is the reference's waveform with the other sign.
    """

    lag_ms: float
    gain_db: float
    inverted: bool


def alignment(
    *, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int
) -> Alignment:
    """Compare the positions of two signals.

    Args:
        reference: original samples [S].
        estimate: reconstructed samples [S].
        sample_rate: Hz of both.

    Raises:
        MetricUndefined: the pair cannot be compared, see `check_pair`.
    """
    original, reconstruction = check_pair(reference=reference, estimate=estimate)
    gain = 10 * np.log10(np.mean(np.square(reconstruction, dtype=float)) / np.mean(np.square(original, dtype=float)))
    part = _loudest(original, round(MAX_SECONDS * sample_rate))
    rate = min(sample_rate, MAX_RATE)
    first, second = (resample(x[part], sample_rate, rate) for x in (original, reconstruction))
    lag, inverted, clear = _wave_lag(first, second, rate)
    if not clear:
        lag = _envelope_lag(first, second, rate)
    return Alignment(1000 * lag, float(gain), inverted)


def _wave_lag(reference: FloatArray, estimate: FloatArray, sample_rate: int) -> tuple[float, bool, bool]:
    """Seconds by which the waveform of the estimate is late, whether it is inverted, whether there is a common waveform."""
    most, near = round(MAX_LAG_SECONDS * sample_rate), round(NEAR_SECONDS * sample_rate)
    plain = _normalised(reference, estimate, most)
    differences = _normalised(np.diff(reference), np.diff(estimate), most)
    curve, centre = np.abs(differences), len(differences) // 2
    peak, rough = int(np.argmax(curve)), int(np.argmax(np.abs(plain)))
    agreed = abs(peak - rough) <= near and differences[peak] * plain[rough] > 0
    clear = max(curve[peak], abs(plain[rough])) >= CLEAR_PEAK and curve[peak] >= CLEAR_DIFFERENCES
    if not (agreed and clear):
        return 0.0, False, False
    rival = max(curve[: max(0, peak - near)].max(initial=0), curve[peak + near + 1 :].max(initial=0))
    late = max(curve[centre] / WAVE_MARGIN, rival / RIVAL_MARGIN) < curve[peak]
    where = peak if late and abs(peak - centre) >= WAVE_SECONDS * sample_rate else centre
    return (where - centre) / sample_rate, bool(differences[where] < 0), True


def _normalised(a: FloatArray, b: FloatArray, most: int) -> FloatArray:
    energy = float(np.sum(np.square(a), dtype=np.float64) * np.sum(np.square(b), dtype=np.float64))
    return _correlation(a, b, most) / np.float32(max(energy**0.5, 1e-12))


def _envelope_lag(reference: FloatArray, estimate: FloatArray, sample_rate: int) -> float:
    """Seconds by which the envelopes of the estimate are late; 0 without a clear peak elsewhere."""
    first, second = _envelopes(np.stack([reference, estimate]), sample_rate)
    most = round(MAX_LAG_SECONDS / HOP_SECONDS)
    curve = _correlation(first, second, most).sum(0)
    curve /= max(float(np.sqrt(np.sum(np.square(first)) * np.sum(np.square(second)))), 1e-12)
    centre, peak = len(curve) // 2, int(np.argmax(curve))
    clear = curve[peak] >= max(ENVELOPE_PEAK, curve[centre] + ENVELOPE_MARGIN) and abs(peak - centre) >= ENVELOPE_HOPS
    return float((peak - centre) * HOP_SECONDS) if clear else 0.0


def _envelopes(pair: FloatArray, sample_rate: int) -> FloatArray:
    """Log energies of `BANDS` equal bands, each centred over time [2, bands, frames]."""
    hop = max(1, round(HOP_SECONDS * sample_rate))
    power = np.square(np.concatenate(list(magnitudes(pair, 4 * hop, hop)), axis=1))
    bands = np.stack([part.sum(2) for part in np.array_split(power, min(BANDS, power.shape[2]), axis=2)], axis=1)
    floor = np.maximum(1e-4 * bands.max((1, 2), keepdims=True), 1e-30)  # 40 dB below the loudest: does not count
    levels: FloatArray = np.log10(np.maximum(bands, floor))
    levels -= levels.mean(2, keepdims=True)
    return levels


def _correlation(a: FloatArray, b: FloatArray, most: int) -> FloatArray:
    """Correlation of `b` shifted back by -most..most samples with `a`, along the last axis: the peak is where `b` is late by."""
    from scipy.fft import irfft, next_fast_len, rfft

    most = min(most, a.shape[-1] - 1)
    size = next_fast_len(a.shape[-1] + most, real=True)
    full: FloatArray = irfft(np.conj(rfft(a, size)) * rfft(b, size), size)
    return np.concatenate([full[..., size - most :], full[..., : most + 1]], axis=-1) if most else full[..., :1]


def _loudest(wav: npt.NDArray[np.float32], length: int) -> slice:
    """The `length` samples that hold the most energy, to a second's sixtieth of them."""
    step = max(1, length // 60)
    energy = np.add.reduceat(np.square(wav, dtype=np.float64), np.arange(0, len(wav), step))
    if len(energy) <= 60:
        return slice(0, len(wav))
    first = int(np.argmax(np.convolve(energy, np.ones(60), "valid"))) * step
    return slice(first, first + length)
