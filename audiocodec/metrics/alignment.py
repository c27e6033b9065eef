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

from audiocodec.metrics.pairs import check_pair

MAX_LAG_SECONDS, MAX_SECONDS = 2.0, 60.0
WAVE_HZ = 6000  # waveforms are compared below
HOP_SECONDS, BANDS = 0.004, 24
CLEAR_PEAK = 0.7  # normalised correlation that says: this is the same waveform
WAVE_MARGIN, RIVAL_MARGIN = 0.95, 0.95  # of the peak: without lag, or elsewhere, it must be lower
NEAR_SECONDS = 0.002  # "elsewhere" begins here: a tone has as many peaks as periods, and no lag
WAVE_SECONDS = 0.00075  # what a filter's group delay may be
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
    plain, differences, rate = _wave_curves(reference, estimate, sample_rate)
    near, centre, curve = round(NEAR_SECONDS * rate), len(plain) // 2, np.abs(differences)
    peak, rough = int(np.argmax(curve)), int(np.argmax(np.abs(plain)))
    agreed = abs(peak - rough) <= near and differences[peak] * plain[rough] > 0
    if not agreed or max(curve[peak], abs(plain[rough])) < CLEAR_PEAK:
        return 0.0, False, False
    rival = max(curve[: max(0, peak - near)].max(initial=0), curve[peak + near + 1 :].max(initial=0))
    late = max(curve[centre] / WAVE_MARGIN, rival / RIVAL_MARGIN) < curve[peak]
    where = peak if late and abs(peak - centre) >= WAVE_SECONDS * rate else centre
    return (where - centre) / rate, bool(differences[where] < 0), True


def _wave_curves(reference: Array, estimate: Array, sample_rate: int) -> tuple[Array, Array, float]:
    """Normalised correlations of two waveforms and of their differences, below `WAVE_HZ`, and their points a second.

    The centre is no lag, `MAX_LAG_SECONDS` lie on either side. Leaving out the upper part of the spectra is what makes
    them short; the spectrum of a difference is the waveform's times a ramp.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    most = min(round(MAX_LAG_SECONDS * sample_rate), len(reference) - 1)
    size = next_fast_len(len(reference) + most, real=True)
    kept = min(size // 2, max(1, round(size * WAVE_HZ / sample_rate)))
    first, second = rfft(np.stack([reference, estimate]), size)[:, :kept]
    ramp = np.square(np.sin(np.pi * np.arange(kept) / size))
    power = [np.square(np.abs(x)) for x in (first, second)]
    rate, curves = sample_rate * 2 * kept / size, []
    reach = min(round(most * 2 * kept / size), kept - 1)
    for weight in (np.ones(kept), ramp):
        full = irfft(np.conj(first) * second * weight, 2 * kept) * kept
        energy = np.prod([x @ weight for x in power])
        curves.append(np.concatenate([full[2 * kept - reach :], full[: reach + 1]]) / max(np.sqrt(energy), 1e-12))
    return curves[0], curves[1], rate


def _envelope_lag(reference: Array, estimate: Array, sample_rate: int) -> float:
    """Seconds by which the envelopes of the estimate are late; 0 without a clear peak elsewhere."""
    pair = [_envelopes(x, sample_rate) for x in (reference, estimate)]
    most = round(MAX_LAG_SECONDS / HOP_SECONDS)
    curves = [_correlation(a, b, most) for a, b in zip(*pair)]
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


def _correlation(a: Array, b: Array, most: int) -> Array:
    """Correlation of `b` shifted back by -most..most samples with `a`: the peak is where `b` is late by."""
    from scipy.fft import irfft, next_fast_len, rfft

    most = min(most, len(a) - 1)
    size = next_fast_len(len(a) + most, real=True)
    first, second = rfft(np.stack([a, b]), size)
    full: Array = irfft(np.conj(first) * second, size)
    return np.concatenate([full[size - most :], full[: most + 1]]) if most else full[:1]


def _loudest(wav: npt.NDArray[np.float32], length: int) -> slice:
    """The `length` samples that hold the most energy, to a second's sixtieth of them."""
    step = max(1, length // 60)
    energy = np.add.reduceat(np.square(wav, dtype=np.float64), np.arange(0, len(wav), step))
    if len(energy) <= 60:
        return slice(0, len(wav))
    first = int(np.argmax(np.convolve(energy, np.ones(60), "valid"))) * step
    return slice(first, first + length)
