"""Audio through a codec as a sound card would send it: what comes out, how late, and whether in time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from audiocodec.codec.interface import FloatArray
from audiocodec.codec.torch import Codec


class Turn(NamedTuple):
    """One block through the codec: sound `[m]` that came out, samples n that went in, seconds of work."""

    wav: FloatArray
    samples: int
    seconds: float


@dataclass(frozen=True)
class Loopback:
    """Latencies and work; `near_ties` of `frames` were decided a second time.

    Attributes:
        algorithmic_latency_ms: of the codec, without any work.
        chunk_ms: length of a block.
        allowed_latency_ms: with which sound is played: of the algorithm, of waiting for a block, and the buffer.
        worst_latency_ms: with which a sample was ready.
        underruns: blocks that were not ready in time, of `chunks`.
        work_ms_mean, work_ms_p99: of a block.
        real_time_factor: seconds of work per second of audio.
    """

    algorithmic_latency_ms: float
    chunk_ms: float
    allowed_latency_ms: float
    worst_latency_ms: float
    underruns: int
    chunks: int
    work_ms_mean: float
    work_ms_p99: float
    real_time_factor: float
    near_ties: int
    frames: int


def through(codec: Codec, blocks: Iterable[FloatArray], num_codebooks: int | None = None) -> Iterator[Turn]:
    """Code and decode blocks `[n]`; as many samples as went in come out, the last of them in a turn of their own.

    Args:
        codec: frozen.
        blocks: mono, at the codec's rate.
        num_codebooks: use only the first so many.
    """
    left = 0
    with codec.stream_encoder(num_codebooks) as encoder, codec.stream_decoder() as decoder:
        for block in blocks:
            started = time.perf_counter()
            wav = decoder.push(encoder.push(block))
            left += len(block) - len(wav)
            yield Turn(wav, len(block), time.perf_counter() - started)
        started = time.perf_counter()
        wav = np.concatenate([decoder.push(encoder.finish()), decoder.finish()])[:left]
        yield Turn(wav, 0, time.perf_counter() - started)


def loopback(turns: Iterable[Turn], codec: Codec, chunk: int, buffer: float) -> Loopback:
    """Latency and underruns if the blocks had come from a sound card: its clock is counted, the work is measured.

    A block can be worked on when its last sample is there and the block before is done. Sound is played with the delay of
    the algorithm, of waiting for a block, and of `buffer` seconds; a sample that is not there in time is an underrun.

    Args:
        turns: of `through`.
        codec: whose sample rate and latency count.
        chunk: samples of a block.
        buffer: seconds that playing is put off for the work.
    """
    rate = codec.sample_rate
    delay = (codec.latency_samples + chunk - 1) / rate + buffer
    taken = given = late = 0
    free = worst = 0.0
    times = []
    for wav, samples, seconds in turns:
        taken += samples
        free = max(free, taken / rate) + seconds
        if len(wav) and samples:  # what comes out at the end was waiting for nothing but the end
            waited = free - given / rate
            worst = max(worst, waited)
            late += waited > delay
        given += len(wav)
        times += [1000 * seconds] if samples else []
    work = np.array(times)
    return Loopback(
        algorithmic_latency_ms=1000 * codec.latency_samples / rate,
        chunk_ms=1000 * chunk / rate,
        allowed_latency_ms=1000 * delay,
        worst_latency_ms=1000 * worst,
        underruns=late,
        chunks=len(work),
        work_ms_mean=float(work.mean()) if len(work) else 0.0,
        work_ms_p99=float(np.percentile(work, 99)) if len(work) else 0.0,
        real_time_factor=float(work.sum()) / 1000 * rate / taken if taken else 0.0,
        near_ties=codec.near_ties.settled,
        frames=codec.near_ties.frames,
    )
