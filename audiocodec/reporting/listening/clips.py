"""The audio in the page: the same seconds of the reference and of every system, made equally loud, and a low anchor.

Level: clips get the gain that makes their RMS that of the reference; then all clips of an utterance are lowered
together until none passes full scale. The anchor is the reference through a low-pass of 3.5 kHz (ITU-R BS.1534-3, 5.1:
-25 dB at 4 kHz, -50 dB at 4.5 kHz). Clips are mono 16-bit FLAC, lossless, at the reference's sample rate.
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audiocodec.audio import io
from audiocodec.data.pipes import audio_file
from audiocodec.errors import AudioCodecError
from audiocodec.metrics.pairs import SILENCE_RMS
from audiocodec.reporting.systems import System

MAX_SECONDS = 10.0
ANCHOR_HZ, ANCHOR_STOP_HZ = 3500.0, 4000.0
_KAISER_BETA, _KAISER_LOSS = 5.65, 60.0  # 60 dB of stop band

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Clip:
    """Samples [S], full scale 1, as they are stored, and the gain they are played with."""

    wav: npt.NDArray[np.float32]
    gain: float

    @property
    def heard(self) -> npt.NDArray[np.float32]:
        """The samples as they are played."""
        return self.wav * np.float32(self.gain)


@dataclass(frozen=True)
class Example:
    """One utterance to listen to.

    Attributes:
        id: of the utterance.
        why: for what it was chosen.
        sample_rate: Hz of all clips.
        seconds: length of the whole utterance; clips may be shorter.
        reference: the original.
        anchor: None where the sample rate leaves nothing to cut off.
        systems: label -> clip, for those that have one.
    """

    id: str
    why: str
    sample_rate: int
    seconds: float
    reference: Clip
    anchor: Clip | None
    systems: Mapping[str, Clip]


def make_example(systems: Sequence[System], utterance: str, why: str, allow_pipes: bool = False) -> Example:
    """Read one utterance of all systems.

    Args:
        systems: those whose row has an estimate get a clip, but for ground truth: it is the reference.
        utterance: id.
        why: see `Example`.
        allow_pipes: run commands in place of files.

    Raises:
        AudioCodecError: no system knows the utterance, or its audio cannot be read.
    """
    rows = {system.label: system.rows[utterance] for system in systems if utterance in system.rows}
    truth = {system.label for system in systems if system.is_ground_truth}
    source = next((row.reference for row in rows.values() if row.reference is not None), None)
    if source is None:
        raise AudioCodecError(f"utterance {utterance!r}: no evaluation has a reference of that name")
    original, rate = _read(source, allow_pipes)
    reference = original[: round(MAX_SECONDS * rate)]
    estimates = {}
    for label, row in rows.items():
        if row.estimate is not None and label not in truth:
            wav, own_rate = _read(row.estimate, allow_pipes)
            estimates[label] = _of_length(io.resample(wav, own_rate, rate), len(reference))
    low = low_pass(reference, rate)
    clips = match_levels([reference, *estimates.values(), *([] if low is None else [low])])
    return Example(
        utterance,
        why,
        rate,
        len(original) / rate,
        reference=clips[0],
        anchor=None if low is None else clips[-1],
        systems=dict(zip(estimates, clips[1:])),
    )


def match_levels(wavs: Sequence[FloatArray]) -> list[Clip]:
    """Clips as loud as the first; a silent one keeps its level.

    Args:
        wavs: samples [S] each, of any level.
    """
    levels = [float(np.sqrt(np.mean(np.square(wav, dtype=np.float64)))) for wav in wavs]
    peaks = [float(np.abs(wav).max()) for wav in wavs]
    wanted = levels[0] if levels[0] > SILENCE_RMS else None
    gains = [wanted / level if wanted and level > SILENCE_RMS else 1.0 for level in levels]
    headroom = min(1.0, 1 / max(max(peak * gain for peak, gain in zip(peaks, gains)), 1e-9))
    stored = [min(1.0, 1 / peak) if peak else 1.0 for peak in peaks]  # 16 bits hold nothing past full scale
    return [
        Clip(np.asarray(wav * np.float32(scale), np.float32), gain * headroom / scale)
        for wav, gain, scale in zip(wavs, gains, stored)
    ]


def low_pass(wav: FloatArray, sample_rate: int) -> npt.NDArray[np.float32] | None:
    """The low anchor: a linear-phase filter, its delay taken back.

    Args:
        wav: samples [S].
        sample_rate: Hz.

    Returns:
        [S]; None when half the sample rate is below the filter's stop band.
    """
    if sample_rate / 2 <= ANCHOR_STOP_HZ:
        return None
    width = 2 * np.pi * (ANCHOR_STOP_HZ - ANCHOR_HZ) / sample_rate
    side = int(np.ceil((_KAISER_LOSS - 7.95) / (2.285 * width) / 2))
    centre = (ANCHOR_STOP_HZ + ANCHOR_HZ) / sample_rate  # the edge's middle in units of half the sample rate
    taps = centre * np.sinc(centre * np.arange(-side, side + 1)) * np.kaiser(2 * side + 1, _KAISER_BETA)
    return np.convolve(wav, taps)[side : side + len(wav)].astype(np.float32)


def flac(wav: FloatArray, sample_rate: int) -> str:
    """The samples as mono 16-bit FLAC in base64."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.flac"
        io.write(path, np.asarray(wav), sample_rate)
        return base64.b64encode(path.read_bytes()).decode("ascii")


def report_id(labels: Sequence[str], examples: Sequence[Example]) -> str:
    """Changes when anything that is listened to does: 16 hexadecimal digits."""
    digest = hashlib.sha256("\0".join(labels).encode(errors="surrogatepass"))  # names of files need not be text
    for example in examples:
        named = {"\0reference": example.reference, "\0anchor": example.anchor, **example.systems}
        for name, clip in sorted(named.items()):
            if clip is not None:
                heading = f"\0{example.id}\0{name}\0{example.sample_rate}\0{clip.gain:.4f}\0"
                digest.update(heading.encode(errors="surrogatepass"))
                digest.update(np.round(clip.wav * 32768).astype("<i4").tobytes())
    return digest.hexdigest()[:16]


def _read(source: str, allow_pipes: bool) -> tuple[npt.NDArray[np.float32], int]:
    with audio_file(source, allow_pipes) as path:
        wav, rate = io.read(path)
    return wav.mean(axis=0, dtype=np.float32), rate


def _of_length(wav: npt.NDArray[np.float32], length: int) -> npt.NDArray[np.float32]:
    return np.pad(wav[:length], (0, max(0, length - len(wav))))
