"""Pitch at the frames of training segments, from the tracks of their utterances; on any device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audiocodec.audio.f0 import STEP_SECONDS
from audiocodec.data.dataset import Crop

LARGEST_GLIDE = 0.2  # of log F0 between two values of a track; more is an error of an octave, not a voice
SILENT = 1e-4  # RMS of a frame in which nothing can be voiced: augmentation makes gaps


class PitchTargets:
    """All tracks, one after the other, in one tensor."""

    def __init__(
        self,
        tracks: Sequence[npt.NDArray[np.uint16]],
        sample_rate: int,
        hop_length: int,
        device: torch.device,
    ) -> None:
        """Copy the tracks.

        Args:
            tracks: hundredths of a hertz (`data.pitch`), in the order of `Crop.utterance`.
            sample_rate: Hz, of the segments.
            hop_length: samples per frame.
            device: where the targets are wanted.
        """
        self._step = STEP_SECONDS * sample_rate
        self._hop_length = hop_length
        lengths = torch.tensor([len(track) for track in tracks])
        self._first = (lengths.cumsum(0) - lengths).to(device)
        self._last = (lengths - 1).to(device)
        values = np.concatenate([*tracks, np.zeros(1, np.uint16)]).astype(np.float32) / 100
        self._values = torch.from_numpy(values).to(device)

    def of(self, crops: Sequence[Crop], wav: Tensor) -> Tensor:
        """F0 in Hz at the middle of each frame, 0 where unvoiced, `[B, T]`.

        Args:
            crops: where the segments were cut.
            wav: the segments `[B, 1, S]`, as the codec hears them.
        """
        device, frames = self._values.device, wav.shape[-1] // self._hop_length
        places = torch.tensor([(crop.utterance, crop.start) for crop in crops], device=device)
        utterances, starts = places[:, 0], places[:, 1]
        middle = (torch.arange(frames, device=device) + 0.5) * self._hop_length
        place = (starts[:, None] + middle) / self._step
        last = self._last[utterances][:, None]
        below = place.floor().long()
        left, right = (
            self._values[(self._first[utterances][:, None] + i.clamp(max=last)).clamp(min=0)]
            for i in (below, below + 1)
        )
        sounding = wav[..., : frames * self._hop_length].unflatten(-1, (frames, -1)).square().mean(-1)[:, 0] > SILENT**2
        there = (below <= last) & sounding
        return torch.where(there, _between(left, right, place - below), 0.0)


def _between(left: Tensor, right: Tensor, share: Tensor) -> Tensor:
    """Along the glide from `left` to `right` where there is one, else the nearer of the two."""
    a, b = left.clamp(min=1).log(), right.clamp(min=1).log()
    glide = (left > 0) & (right > 0) & ((a - b).abs() < LARGEST_GLIDE)
    return torch.where(glide, (a + (b - a) * share).exp(), torch.where(share < 0.5, left, right))
