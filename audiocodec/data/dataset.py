"""Random training segments that are a pure function of (seed, epoch, index).

Every utterance has one slot per whole segment it holds, so long ones are heard in proportion; an epoch visits all
slots once in a random order. Decoded audio is kept in memory as int16 where it fits, else the needed part is read
from disk each time; the two differ by int16 rounding.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np

from audiocodec.audio import io
from audiocodec.data import pipes
from audiocodec.data.manifest import Utterance
from audiocodec.data.pipes import audio_file
from audiocodec.data.tables import refuse
from audiocodec.errors import AudioError, ConfigError, ManifestError

SILENCE_DB = -70.0  # RMS below this has nothing to learn from
_BLOCK_SAMPLES = 1 << 18
_MARGIN = 2048  # samples on both sides of a part that is resampled alone: longer than soxr's filter
_PERMUTATION = (0, 1)  # keeps the shuffle's random stream apart from every (seed, epoch, index) stream

_T = TypeVar("_T")


class Crop(NamedTuple):
    """Where a segment lies, and the two factors its int16 samples are multiplied with, one after the other."""

    utterance: int  # position in `kept`
    start: int  # first sample
    unit: float  # amplitude of one step of int16
    gain: float


@dataclass(frozen=True)
class _Loaded:
    """An utterance, or a channel of it, as measured: length at the dataset's rate, level, and its samples if they are kept."""

    utterance: Utterance
    channel: int | None  # of its file, from 1 on; None: the mean of all
    rate: int
    num_samples: int
    stats: io.LevelStats
    together: io.LevelStats  # of all channels that have one gain
    samples: np.ndarray | None  # int16 [num_samples], peak at full scale


class SegmentDataset:
    """Segments of equal length from a data folder's utterances.

    Args:
        utterances: as `read_folder` returns them.
        sample_rate: rate of the segments, Hz.
        segment_samples: samples per segment.
        seed: not negative.
        level_db: RMS every utterance is scaled to, dB full scale.
        level_jitter_db: the scale then varies by up to this much, per segment.
        memory_gb: keep decoded audio when all of it fits in this many 10^9 bytes.
        allow_pipes: run commands from `wav.scp`.
        must_fit: refuse audio that does not fit in `memory_gb`.
        skip_bad: go on without audio that cannot be read.
        channels: 2: each channel of a stereo file is an utterance of its own, at the gain of both; 1: the mean is.

    Attributes:
        left_out: what that was, with the cause (after `preload`).
        silent: ids of utterances left out because their RMS is below -70 dB full scale (after `preload`).
        in_memory: whether decoded audio is kept (after `preload`).
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        sample_rate: int,
        segment_samples: int,
        seed: int,
        level_db: float = -24.0,
        level_jitter_db: float = 6.0,
        memory_gb: float = 8.0,
        allow_pipes: bool = False,
        must_fit: bool = False,
        skip_bad: bool = False,
        channels: int = 1,
    ) -> None:
        self._channels = channels
        self.sample_rate, self.segment_samples, self.seed = sample_rate, segment_samples, seed
        self.level_db, self.level_jitter_db = level_db, level_jitter_db
        self.silent: list[str] = []
        self.left_out: list[str] = []
        self.in_memory = False
        self._utterances, self._memory_gb, self._allow_pipes = list(utterances), memory_gb, allow_pipes
        self._must_fit, self._needed_gb, self._skip_bad = must_fit, 0.0, skip_bad
        self._loaded: list[_Loaded] | None = None
        self._slots = np.zeros(0, np.int64)
        self._order: tuple[int, np.ndarray] = (-1, self._slots)
        self._drawn = lru_cache(maxsize=4096)(self._draw)  # several ask for the same segment

    def preload(self, progress: Callable[[int, int], None] | None = None, threads: int | None = None) -> None:
        """Measure (and keep, where they fit) all utterances; done on first use if not called.

        Args:
            progress: called with (utterances done, of how many).
            threads: decoders at work; default one per available core, at most 8.

        Raises:
            ManifestError: naming the utterances that cannot be read, or that nothing is left to train on.
            ConfigError: audio that must fit in memory does not; said before any of it is decoded.
        """
        if self._loaded is not None:
            return
        threads = threads or min(8, os.cpu_count() or 1)
        with ThreadPoolExecutor(threads) as pool:
            with_headers = self._gather([pool.submit(self._header, u) for u in self._utterances])
            total = sum(
                len(self._chosen(h)) * io.resampled_length(h.num_samples, h.sample_rate, self.sample_rate)
                for _, h in with_headers
            )
            self._needed_gb = 2 * total / 1e9
            self.in_memory = self._needed_gb <= self._memory_gb
            if self._must_fit:
                self._need_memory()
            self._utterances = [u for u, _ in with_headers]
            work = [pool.submit(self._load, u, h) for u, h in with_headers]
            try:
                loaded = [item for items in self._gather(work, progress) for item in items]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        floor = 10 ** (SILENCE_DB / 20)
        self.silent = [item.utterance.id for item in loaded if item.stats.rms < floor]
        self._loaded = [item for item in loaded if item.stats.rms >= floor]
        if not self._loaded:
            what = f"{len(loaded)} utterances, {len(self.silent)} of them silent"
            refuse([f"no audio to train on: {what}, {len(self.left_out)} left out", *self.left_out])
        counts = [max(1, item.num_samples // self.segment_samples) for item in self._loaded]
        self._slots = np.repeat(np.arange(len(counts)), counts)

    def __len__(self) -> int:
        """Segments in an epoch: the sum over utterances of max(1, num_samples // segment_samples)."""
        self.preload()
        return len(self._slots)

    def extent(self) -> tuple[int, float, int]:
        """What there is to train on: utterances, hours, different speakers."""
        self.preload()
        assert self._loaded is not None
        hours = sum(item.num_samples for item in self._loaded) / self.sample_rate / 3600
        return len(self._loaded), hours, len({item.utterance.speaker for item in self._loaded})

    def utterances(self) -> list[Utterance]:
        """Those that are not silent, in the order of `Crop.utterance`."""
        self.preload()
        return [item.utterance for item in self._loaded or ()]

    def segment(self, epoch: int, index: int) -> np.ndarray:
        """One segment, the same for the same (seed, epoch, index) in any process.

        Returns:
            float32 [segment_samples]; a shorter utterance is followed by zeros.
        """
        crop, item = self._drawn(epoch, index)
        length = min(self.segment_samples, item.num_samples)
        out = np.zeros(self.segment_samples, np.float32)
        if item.samples is not None:
            part = item.samples[crop.start : crop.start + length].astype(np.float32) * np.float32(crop.unit)
        else:
            part = io.at_level(self._read_part(item, crop.start, length), item.stats, 1.0)
        out[: len(part)] = part * np.float32(crop.gain)
        return out

    def crop(self, epoch: int, index: int) -> Crop:
        """What `segment` cuts and multiplies, for those who hold the samples themselves."""
        return self._drawn(epoch, index)[0]

    def kept(self) -> list[np.ndarray]:
        """int16 samples of every utterance that is not silent, its peak at full scale.

        Raises:
            ConfigError: the audio is not in memory.
        """
        self.preload()
        self._need_memory()
        samples: list[np.ndarray] = []
        for item in self._loaded or ():
            assert item.samples is not None  # without one, every later `Crop.utterance` would mean another
            samples.append(item.samples)
        return samples

    def locate(self, epoch: int, index: int) -> tuple[str, int]:
        """Where a segment comes from: (utterance id, first sample at the dataset's rate)."""
        crop, item = self._drawn(epoch, index)
        return item.utterance.id, crop.start

    def _draw(self, epoch: int, index: int) -> tuple[Crop, _Loaded]:
        """The crop of (epoch, index) and its utterance."""
        if not 0 <= index < len(self):
            raise IndexError(f"segment {index} of {len(self)}")
        assert self._loaded is not None
        order = self._order  # one read: other threads may be at another epoch
        if order[0] != epoch:
            rng = np.random.default_rng((self.seed, epoch, *_PERMUTATION))
            self._order = order = (epoch, rng.permutation(len(self._slots)))
        utterance = int(self._slots[order[1][index]])
        item = self._loaded[utterance]
        rng = np.random.default_rng((self.seed, epoch, index))
        start = int(rng.integers(0, max(0, item.num_samples - self.segment_samples) + 1))
        jitter = 10 ** (rng.uniform(-self.level_jitter_db, self.level_jitter_db) / 20)
        gain = io.level_gain(item.together, self.level_db) * jitter
        return Crop(utterance, start, item.stats.peak / 32767, min(gain, 1 / item.together.peak)), item

    def _need_memory(self) -> None:
        """Refuse audio that does not fit."""
        if not self.in_memory:
            need = f"the audio takes {self._needed_gb:.3g} GB at {self.sample_rate} Hz"
            raise ConfigError(f"data.memory_gb: {need}, got {self._memory_gb:g}; data.on_device needs all of it")

    def _gather(self, work: Sequence[Future[_T]], progress: Callable[[int, int], None] | None = None) -> list[_T]:
        """Results in order of the utterances; everything that failed is named in one error, or left out."""
        results: list[_T] = []
        problems: list[str] = []
        for done, (future, utterance) in enumerate(zip(work, self._utterances), 1):
            try:
                results.append(future.result())
            except (AudioError, ManifestError) as error:
                problems.append(f"{utterance.id}: {error}")
            if progress is not None:
                progress(done, len(work))
        if not self._skip_bad:
            refuse(problems)
        self.left_out += problems
        return results

    def _header(self, utterance: Utterance) -> tuple[Utterance, io.AudioInfo]:
        """The utterance with its length, and what its file states."""
        found = pipes.info(utterance.path, self._allow_pipes)
        self._chosen(found)  # audio of too many channels is refused here
        return replace(utterance, num_samples=utterance.num_samples or found.num_samples), found

    def _chosen(self, header: io.AudioInfo) -> tuple[int | None, ...]:
        """What becomes an utterance of a file: each channel, or their mean."""
        return io.coded_channels(header.channels, self._channels)

    def _load(self, utterance: Utterance, header: io.AudioInfo) -> list[_Loaded]:
        """Each channel that is learned from."""
        length = io.resampled_length(header.num_samples, header.sample_rate, self.sample_rate)
        chosen = self._chosen(header)
        with audio_file(utterance.path, self._allow_pipes) as path:
            measured = [self._measure(path, channel, header.num_samples) for channel in chosen]
        together = io.together([stats for stats, _ in measured])
        return [
            _Loaded(utterance, channel, header.sample_rate, length, stats, together, samples)
            for channel, (stats, samples) in zip(chosen, measured)
        ]

    def _measure(self, path: str, channel: int | None, num_samples: int) -> tuple[io.LevelStats, np.ndarray | None]:
        """Level of a file of so many samples, and what is kept of it."""
        if not self.in_memory:
            return io.level(path, self.sample_rate, channel), None
        wav = np.concatenate(list(io.read_blocks(path, self.sample_rate, _BLOCK_SAMPLES, channel)))
        stats = io.level_of([wav], self.sample_rate, self.sample_rate)
        samples = np.rint(io.at_level(wav, stats, 1.0) * (32767 / max(stats.peak, 1e-30))).astype(np.int16)
        return replace(stats, num_samples=num_samples), samples

    def _read_part(self, item: _Loaded, start: int, length: int) -> np.ndarray:
        """Samples [start, start + length) at the dataset's rate, decoding little more than that."""
        with audio_file(item.utterance.path, self._allow_pipes) as path:
            if item.rate == self.sample_rate:
                return io.read_part(path, start, length, item.channel)
            divisor = math.gcd(item.rate, self.sample_rate)
            own, ours = item.rate // divisor, self.sample_rate // divisor  # the grids meet every `ours` of our samples
            first = max(0, start - _MARGIN) // ours
            last = -(-(start + length + _MARGIN) // ours)
            part = io.read_part(path, first * own, (last - first) * own, item.channel)
            part = io.resample(part, item.rate, self.sample_rate)
        return part[start - first * ours :][:length]
