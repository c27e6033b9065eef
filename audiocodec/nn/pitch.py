"""Pitch as a source of sound: all harmonics of a voice below the Nyquist frequency, in closed form.

Frequencies are whole numbers, in units of 2^-32 cycles per sample, and so are the phases at which frames begin: sums of
them are exact, so that a signal made in chunks, as a stream or at once is the same, however long it is. Each voice begins
with the same phase: what another runtime rounds otherwise adds up no longer than a voice lasts.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from audiocodec.dsp.voice import BASE_HZ, CYCLE, HIGHEST_HZ, LOWEST_HZ, NEAR, ONSET, log_f0_range


class Pitch(NamedTuple):
    """Pitch of each frame.

    Attributes:
        log_f0: `[B, T]`, natural logarithm of F0 / `BASE_HZ`; means something where voiced.
        voicing: `[B, T]`, above 0 where voiced; from a network, the log odds of it.
    """

    log_f0: Tensor
    voicing: Tensor


def of_hertz(f0: Tensor) -> Pitch:
    """Pitch of `f0 [B, T]` in Hz, 0 where unvoiced."""
    voiced = f0 > 0
    hertz = torch.where(voiced, f0, BASE_HZ).clamp(LOWEST_HZ, HIGHEST_HZ)
    return Pitch(torch.log(hertz / BASE_HZ), voiced.float() * 2 - 1)


def whole_frequency(log_f0: Tensor, sample_rate: int) -> Tensor:
    """Frequency in units of 2^-32 cycles per sample, int64, of `log_f0` limited to the range of F0."""
    hertz = log_f0.double().clamp(*log_f0_range(sample_rate)).exp() * BASE_HZ
    return (hertz * (CYCLE / sample_rate)).round().long()


class Contour(NamedTuple):
    """Whole frequencies at the borders of frames, `[B, T]` each, and which frames sound.

    Attributes:
        start, end: frequency with which a frame begins and ends.
        voiced: which frames have harmonics.
    """

    start: Tensor
    end: Tensor
    voiced: Tensor

    def advance(self, hop_length: int) -> Tensor:
        """Phase that each frame adds, `[B, T]` int64."""
        return (self.start + self.end) * hop_length // 2


def contour(before: Tensor, frequency: Tensor, voiced: Tensor) -> Contour:
    """Glide from frame to frame where both are voiced; the frequency of a frame alone is held.

    Args:
        before: `[B, 2]`, frequency and voicing (0 or 1) of the frame before the first one.
        frequency: `[B, T + 1]` int64, of the frames and of the one after the last.
        voiced: `[B, T + 1]` bool.
    """
    all_frequencies = torch.cat([before[:, :1], frequency], 1)
    all_voiced = torch.cat([before[:, 1:] > 0, voiced], 1)
    left, right = all_frequencies[:, :-1], all_frequencies[:, 1:]
    both = all_voiced[:, :-1] & all_voiced[:, 1:]
    middle = (left + right) // 2  # at the borders, T + 1
    start = torch.where(both, middle, right)[:, :-1]
    end = torch.where(both, middle, left)[:, 1:]
    return Contour(start, end, voiced[:, :-1])


def harmonics(contour: Contour, phase: Tensor, hop_length: int) -> Tensor:
    """Sum of all harmonics below the Nyquist frequency, unit power where voiced, 0 elsewhere.

    `sum_{k=1}^{N} cos(k x) = sin((N + 1/2) x) / (2 sin(x / 2)) - 1/2`.

    Args:
        contour: of T frames.
        phase: `[B, T]` int64, with which each frame begins.
        hop_length: samples per frame.

    Returns:
        `[B, T * hop_length]` float32.
    """
    n = torch.arange(hop_length, device=phase.device, dtype=torch.float32)
    unit = 1.0 / CYCLE
    first, last = (f[..., None].float() * unit for f in (contour.start, contour.end))  # cycles per sample
    cycles = (phase % CYCLE)[..., None].float() * unit + (first + (last - first) * (n / (2 * hop_length))) * n
    x = math.pi * (cycles - cycles.round())
    count = ((CYCLE // 2 - 1) // torch.maximum(contour.start, contour.end).clamp(min=1))[..., None].float()
    sine = x.sin()
    near = sine.abs() < NEAR
    pulses = torch.where(near, count, ((2 * count + 1) * x).sin() / (2 * torch.where(near, 1.0, sine)) - 0.5)
    loud = torch.sqrt(2 / count) * contour.voiced[..., None]
    return (pulses * loud).flatten(1)


def phases(contour: Contour, start: Tensor, hop_length: int) -> Tensor:
    """Phases `[B, T + 1]` int64, modulo a cycle, at the borders of T frames, the first of them `start [B]`.

    A voice begins with `ONSET`, whatever was before.
    """
    total = F.pad((contour.advance(hop_length) * contour.voiced).cumsum(1), (1, 0)) + start[:, None]
    quiet = F.pad(~contour.voiced, (1, 0))  # a frame that has just passed
    return (total - torch.where(quiet, total + CYCLE - ONSET, 0).cummax(1).values) % CYCLE
