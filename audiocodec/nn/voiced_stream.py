"""What the network of the voiced decoder gives for a frame, and its head as a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from audiocodec.dsp.noise import ROWS
from audiocodec.dsp.voice import ONSET
from audiocodec.nn.pitch import contour, phases
from audiocodec.nn.streaming import Stream

if TYPE_CHECKING:
    from audiocodec.nn.voiced_decoder import VoicedHead


class Filters(NamedTuple):
    """What the network says of each frame, `[B, T, bins]` each.

    Attributes:
        magnitude, angle: of the free spectrum: log magnitude, radians. First, as in an inverse-STFT head, whose weights
            then fit (`training.checkpoints.initial`).
        gain, phase: of the harmonics: log gain, radians.
        noise: log gain.
    """

    magnitude: Tensor
    angle: Tensor
    gain: Tensor
    phase: Tensor
    noise: Tensor


class VoicedHeadStream(Stream):
    """Features `[1, T, D]` to windowed frames `[1, T, n_fft]`.

    Holds the phase of the voice, the frame before and the filters of frames whose source is not all there yet: a frame's
    source needs the pitch of the next one, and its spectrum looks beyond it.
    """

    def __init__(self, head: VoicedHead) -> None:
        self._head = head
        window = head.linear.weight
        self._before = torch.zeros(1, 2, dtype=torch.int64, device=window.device)  # frequency and voicing
        self._phase = torch.full((1,), ONSET, device=window.device)
        self._frequency = self._before[:, :0]  # of the one frame that waits for its successor's pitch
        self._voiced = self._frequency.bool()
        self._samples = window.new_zeros(1, head.sum.trim_left)  # of the source, as far as coming spectra look back
        self._filters: Filters | None = None  # of the frames that wait for their source
        self._rows = self._before[:, :0]  # theirs of the tables of noise
        self._next = 0  # row of the next frame

    def step(self, x: Tensor, last: bool) -> Tensor:
        head = self._head
        self._take(x)
        self._sing(last)
        if last:
            self._samples = F.pad(self._samples, (0, head.n_fft - head.hop_length - head.sum.trim_left))
        ready = max(0, (self._samples.shape[1] - head.n_fft) // head.hop_length + 1)
        if ready == 0 or self._filters is None:
            return x.new_zeros(1, 0, head.n_fft)
        now = self._samples[:, : head.n_fft + (ready - 1) * head.hop_length]
        self._samples = self._samples[:, ready * head.hop_length :]
        rows, self._rows = self._rows[:, :ready], self._rows[:, ready:]
        filters = Filters(*(part[:, :ready] for part in self._filters))
        self._filters = Filters(*(part[:, ready:] for part in self._filters))
        return head.frames(filters, head.spectra_of_padded(now), rows)

    def _take(self, x: Tensor) -> None:
        """The filters and the pitch of the next features."""
        if x.shape[1] == 0:
            return
        filters, pitch = self._head.parameters_of(x)
        frequency, voiced = self._head.whole(pitch)
        self._frequency = torch.cat([self._frequency, frequency], 1)
        self._voiced = torch.cat([self._voiced, voiced], 1)
        rows = (self._next + torch.arange(x.shape[1], device=x.device))[None] % ROWS
        self._next = (self._next + x.shape[1]) % ROWS
        self._rows = torch.cat([self._rows, rows], 1)
        filters = self._head.with_free_part(filters, voiced, rows)
        held = self._filters
        self._filters = filters if held is None else Filters(*(torch.cat(p, 1) for p in zip(held, filters)))

    def _sing(self, last: bool) -> None:
        """The source of all frames whose successor's pitch is known; at the end nothing succeeds the last one."""
        if last:
            self._frequency, self._voiced = F.pad(self._frequency, (0, 1)), F.pad(self._voiced, (0, 1))
        count = self._frequency.shape[1] - 1
        if count <= 0:
            return
        path = contour(self._before, self._frequency, self._voiced)
        borders = phases(path, self._phase, self._head.hop_length)
        self._samples = torch.cat([self._samples, self._head.sound(path, borders[:, :-1])], 1)
        self._phase = borders[:, -1]
        before = self._frequency[:, count - 1 : count], self._voiced[:, count - 1 : count].long()
        self._before = torch.cat(before, 1)
        self._frequency, self._voiced = self._frequency[:, count:], self._voiced[:, count:]
