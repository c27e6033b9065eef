"""All training audio on the device: segments are cut there, so that a step waits neither for a reader nor for a copy.

Where each is cut and how loud it becomes are the draws of `SegmentDataset`, and the arithmetic is that of its `segment`:
the batches are the same bit for bit. Every process holds all of the audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from audiocodec.data.dataset import Crop, SegmentDataset
from audiocodec.errors import TrainingError


class DeviceAudio:
    """One int16 tensor of all utterances, one after the other."""

    def __init__(self, dataset: SegmentDataset, device: torch.device) -> None:
        """Copy the audio.

        Args:
            dataset: that keeps its audio in memory.
            device: where segments are wanted.

        Raises:
            ConfigError: the dataset does not keep its audio.
            TrainingError: the device has too little memory.
        """
        kept, shortest = dataset.kept(), dataset.segment_samples
        lengths = [max(len(samples), shortest) for samples in kept]  # short ones are followed by zeros
        self._first, size = torch.tensor([0, *accumulate(lengths)]), sum(lengths)
        try:
            audio = torch.zeros(size, dtype=torch.int16, device=device)
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            message = f"data.on_device: {2 * size / 1e9:.3g} GB of audio do not fit on {device}: {error}"
            raise TrainingError(f"{message}; set data.on_device=false") from error
        for first, samples in zip(self._first.tolist(), kept):
            audio[first : first + len(samples)] = torch.from_numpy(samples).to(device)
        self._windows = audio.unfold(0, shortest, 1)  # a view: row i is the segment that begins at sample i

    def segments(self, crops: Sequence[Crop]) -> Tensor:
        """The segments of `crops`, float32 `[B, 1, S]` on the device."""
        utterances, starts, units, gains = zip(*crops)
        rows = self._first[list(utterances)] + torch.tensor(starts)
        factors = torch.tensor([units, gains], dtype=torch.float32).to(self._windows.device)
        wav = self._windows[rows.to(self._windows.device)].float()
        return (wav * factors[0, :, None] * factors[1, :, None]).unsqueeze(1)
