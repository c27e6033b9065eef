"""Batches of segments by position: what step n sees depends on the seed and n alone, so a resumed run sees the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audiocodec.data.dataset import SegmentDataset
from audiocodec.training.batches.device_audio import DeviceAudio


class Feeder:
    """Serves the segments of one process out of a run over all of them.

    Position p is segment `p % len` of epoch `p // len`; a micro-batch of all processes takes `processes * batch_size`
    consecutive positions, of which process r takes the r-th run.
    """

    def __init__(
        self,
        dataset: SegmentDataset,
        batch_size: int,
        *,
        position: int,
        rank: int,
        processes: int,
        workers: int,
        audio: DeviceAudio | None = None,
        pin: bool = False,
    ) -> None:
        """Start serving.

        Args:
            dataset: where the segments come from.
            batch_size: segments per process.
            position: the first position of the next micro-batch of all processes.
            rank: this process.
            processes: how many there are.
            workers: threads that read ahead; 0 reads when asked.
            audio: that of `dataset` on a device, where the segments are then cut; threads draw no more than the places.
            pin: put batches on the CPU where a GPU can fetch them while it works on others.
        """
        self.dataset, self.batch_size, self.position = dataset, batch_size, position
        self.rank, self.processes = rank, processes
        self._pool = ThreadPoolExecutor(workers) if workers else None
        self._ahead: deque[list[Any]] = deque()  # of futures where there are threads
        self._depth = 4 if workers else 0
        self._read: Callable[[int, int], Any] = dataset.segment if audio is None else dataset.crop
        self._together: Callable[[list[Any]], Tensor] = _stacked if audio is None else audio.segments
        self._pin = pin and audio is None

    def next(self) -> tuple[Tensor, list[tuple[int, int]]]:
        """The next micro-batch `[B, 1, S]` float32, on the CPU or where the audio is, and its (epoch, index) pairs."""
        items = self._items(0)
        if self._pool is None:
            read = self._ahead.popleft() if self._ahead else [self._read(*item) for item in items]
        else:
            while len(self._ahead) < self._depth:
                later = self._items(len(self._ahead))
                self._ahead.append([self._pool.submit(self._read, *item) for item in later])
            read = [future.result() for future in self._ahead.popleft()]
        self.position += self.batch_size * self.processes
        batch = self._together(read)
        return batch.pin_memory() if self._pin else batch, items

    def prepare(self) -> None:
        """Read the next micro-batch now, where no threads do: while the device is busy with the last one."""
        if self._pool is None and not self._ahead:
            self._ahead.append([self._read(*item) for item in self._items(0)])

    def close(self) -> None:
        """Stop reading ahead."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _items(self, batches_ahead: int) -> list[tuple[int, int]]:
        first = self.position + (batches_ahead * self.processes + self.rank) * self.batch_size
        return [divmod(first + i, len(self.dataset)) for i in range(self.batch_size)]


def _stacked(segments: Sequence[npt.NDArray[np.float32]]) -> Tensor:
    return torch.from_numpy(np.stack(segments)).unsqueeze(1)


def fixed_batches(dataset: SegmentDataset, count: int, batch_size: int) -> Iterator[Tensor]:
    """The first `count` segments of epoch 0 (or all there are) as batches `[B, 1, S]`; the last may be smaller."""
    count = min(len(dataset), count)
    for first in range(0, count, batch_size):
        yield _stacked([dataset.segment(0, i) for i in range(first, min(count, first + batch_size))])
