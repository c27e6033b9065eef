"""Where the estimate lies against the reference: lag, gain, polarity. Found before anything is scored.

Most metrics punish a shift of a few milliseconds as if it were noise, so a misaligned pair must not be scored. Two
correlations find a lag: of the waveforms (to the sample, where the codec keeps the phase) and of the band
envelopes (to 4 ms, where it does not). Each needs one clear peak, and the place without lag must be clearly worse: a bad
codec is not a late one. Where waveforms are alike, their first differences say where, and must agree: filters turn the
phase of low frequencies, where speech has its energy, and what a high-pass filter leaves would be late by milliseconds. Lags of up to two seconds are found, in up to a
minute around the loudest part of the reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audiocodec.metrics.pairs import check_pair

MAX_LAG_SECONDS, MAX_SECONDS = 2.0, 60.0
HOP_SECONDS, BANDS = 0.004, 24
CLEAR_PEAK = 0.7  # normalised correlation that says: this is the same waveform
WAVE_MARGIN, RIVAL_MARGIN = 0.95, 0.95  # of the peak: without lag, or elsewhere, it must be lower
NEAR_SECONDS = 0.002  # "elsewhere" begins here: a tone has as many peaks as periods, and no lag
WAVE_SECONDS = 0.0005  # what a filter's group delay may be
ENVELOPE_PEAK, ENVELOPE_MARGIN, ENVELOPE_HOPS = 0.5, 0.005, 3

Array = npt.NDArray[np.float64]


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
    first, second = original[part].astype(np.float64), reconstruction[part].astype(np.float64)
    lag, inverted, clear = _wave_lag(first, second, sample_rate)
    if not clear:
        lag = _envelope_lag(first, second, sample_rate)
    return Alignment(1000 * lag, float(gain), inverted)


def _wave_lag(reference: Array, estimate: Array, sample_rate: int) -> tuple[float, bool, bool]:
    """Seconds by which the waveform of the estimate is late, whether it is inverted, whether there is a common waveform."""
    most, near = round(MAX_LAG_SECONDS * sample_rate), round(NEAR_SECONDS * sample_rate)
    plain, full = (_correlation(f(reference), f(estimate), most) for f in (np.asarray, np.diff))
    curve = np.abs(full)
    peak, rough = int(np.argmax(curve)), int(np.argmax(np.abs(plain)))
    agreed = abs(peak - rough) <= near and full[peak] * plain[rough] > 0
    if not agreed or max(curve[peak], abs(plain[rough])) < CLEAR_PEAK:
        return 0.0, False, False
    centre = len(curve) // 2
    rival = max(curve[: max(0, peak - near)].max(initial=0), curve[peak + near + 1 :].max(initial=0))
    late = max(curve[centre] / WAVE_MARGIN, rival / RIVAL_MARGIN) < curve[peak]
    where = peak if late and abs(peak - centre) >= WAVE_SECONDS * sample_rate else centre
    return (where - centre) / sample_rate, bool(full[where] < 0), True


def _envelope_lag(reference: Array, estimate: Array, sample_rate: int) -> float:
    """Seconds by which the envelopes of the estimate are late; 0 without a clear peak elsewhere."""
    pair = [_envelopes(x, sample_rate) for x in (reference, estimate)]
    most = round(MAX_LAG_SECONDS / HOP_SECONDS)
    curves = [_correlation(a, b, most, normalised=False) for a, b in zip(*pair)]
    energy = np.sqrt(np.prod([np.sum(np.square(x)) for x in pair]))
    curve = np.sum(curves, axis=0) / max(energy, 1e-12)
    centre, peak = len(curve) // 2, int(np.argmax(curve))
    clear = curve[peak] >= max(ENVELOPE_PEAK, curve[centre] + ENVELOPE_MARGIN) and abs(peak - centre) >= ENVELOPE_HOPS
    return float((peak - centre) * HOP_SECONDS) if clear else 0.0


def _envelopes(wav: Array, sample_rate: int) -> Array:
    """Log energies of `BANDS` equal bands up to 8 kHz, each centred over time [bands, frames]."""
    hop = round(HOP_SECONDS * sample_rate)
    window = 4 * hop
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wav, window // 2), window)[::hop] * np.hanning(window)
    power = np.square(np.abs(np.fft.rfft(frames)))[:, : max(1, round(8000 / sample_rate * window))]
    bands = np.stack([part.sum(1) for part in np.array_split(power, min(BANDS, power.shape[1]), axis=1)])
    levels = np.log10(
        np.maximum(bands, max(1e-4 * bands.max(), 1e-30))
    )  # what lies 40 dB below the loudest does not count
    centred: Array = levels - levels.mean(1, keepdims=True)
    return centred


def _correlation(a: Array, b: Array, most: int, normalised: bool = True) -> Array:
    """Correlation of `b` shifted back by -most..most samples with `a`: the peak is where `b` is late by."""
    from scipy.fft import irfft, next_fast_len, rfft

    most = min(most, len(a) - 1)
    size = next_fast_len(len(a) + most, real=True)
    first, second = rfft(np.stack([a, b]), size)
    full = irfft(np.conj(first) * second, size, overwrite_x=True)
    curve: Array = np.concatenate([full[size - most :], full[: most + 1]]) if most else full[:1]
    return curve / max(np.sqrt(np.sum(a * a) * np.sum(b * b)), 1e-12) if normalised else curve


def _loudest(wav: npt.NDArray[np.float32], length: int) -> slice:
    """The `length` samples that hold the most energy, to a second's sixtieth of them."""
    step = max(1, length // 60)
    energy = np.add.reduceat(np.square(wav, dtype=np.float64), np.arange(0, len(wav), step))
    if len(energy) <= 60:
        return slice(0, len(wav))
    first = int(np.argmax(np.convolve(energy, np.ones(60), "valid"))) * step
    return slice(first, first + length)
