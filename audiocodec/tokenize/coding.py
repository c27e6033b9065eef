"""Utterances to codes: decoded in threads while the network computes, batched by length where that pays.

A batch changes nothing but speed: each utterance gets the codes that `audiocodec encode` gives its file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.codec.files import encode_file
from audiocodec.codec.interface import BlockCodec, CodeArray
from audiocodec.errors import AudioCodecError
from audiocodec.tokenize.decoding import Clip, Decoder
from audiocodec.tokenize.utterance import Failure, Utterance

AHEAD = 32  # utterances decoded ahead
AHEAD_BYTES = 64_000_000  # of undecoded audio held for them
WINDOW_BATCHES = 8  # batches' worth of audio that is sorted by length at once


@dataclass(frozen=True)
class Coded:
    """An utterance with its codes.

    Attributes:
        utterance: what it is.
        codes: int32 [K, T].
        num_samples: at the codec's rate.
        gain: the samples were multiplied by this before encoding.
        original_sample_rate, original_channels, original_num_samples: of the audio before.
    """

    utterance: Utterance
    codes: CodeArray
    num_samples: int
    gain: float
    original_sample_rate: int
    original_channels: int
    original_num_samples: int


def encode_all(
    codec: BlockCodec,
    decoder: Decoder,
    items: Iterable[Utterance | Failure],
    num_codebooks: int | None,
    batch_seconds: float,
    batch_size: int | None = None,
) -> Generator[Coded | Failure, None, None]:
    """Encode what a source yields, in its order.

    Args:
        codec: on any runtime; only torch's encodes batches.
        decoder: for the codec's rate and level.
        items: failures pass through.
        num_codebooks: use only the first so many.
        batch_seconds: of audio, padding included, encoded at once; 0: one utterance at a time.
        batch_size: utterances at most in a batch; None: as many as `batch_seconds` holds.

    Yields:
        One result for each item; a failure with the cause where the audio cannot be read.
    """
    batched = batch_seconds > 0 and hasattr(codec, "stream_encoder") and not codec.has_lstm
    limit = int(batch_seconds * codec.sample_rate) if batched else 0
    for window in _windows(_decoded(decoder, items), WINDOW_BATCHES * limit):
        codes = dict(_encoded(codec, decoder, window, num_codebooks, (limit, batch_size or len(window))))
        for number, clip in enumerate(window):
            yield clip if isinstance(clip, Failure) else codes.pop(number)


def _decoded(decoder: Decoder, items: Iterable[Utterance | Failure]) -> Iterator[Clip | Failure]:
    """Clips in the order of the items, a few decoded ahead."""
    pending: deque[tuple[Utterance | Failure, Future[Clip] | None, int]] = deque()
    held = 0
    for item in items:
        future = decoder.pool.submit(decoder.decode, item) if isinstance(item, Utterance) else None
        size = len(item.audio) if isinstance(item, Utterance) and isinstance(item.audio, bytes) else 0
        pending.append((item, future, size))
        held += size
        while len(pending) > AHEAD or (held > AHEAD_BYTES and len(pending) > 1):
            first, future, size = pending.popleft()
            held -= size
            yield _result(first, future)
    while pending:
        first, future, _ = pending.popleft()
        yield _result(first, future)


def _result(item: Utterance | Failure, future: Future[Clip] | None) -> Clip | Failure:
    if isinstance(item, Failure) or future is None:
        return item if isinstance(item, Failure) else Failure(item.id, item.file, "was not decoded")
    try:
        return future.result()
    except (AudioCodecError, OSError) as error:
        if isinstance(error, OSError) and error.errno == 28:  # a full disk is not the utterance's fault
            raise
        return Failure(item.id, item.file, str(error))


def _windows(clips: Iterable[Clip | Failure], samples: int) -> Iterator[list[Clip | Failure]]:
    window: list[Clip | Failure] = []
    held = 0
    for clip in clips:
        window.append(clip)
        held += len(clip.wav) if isinstance(clip, Clip) and clip.wav is not None else 1
        if held > samples:
            yield window
            window, held = [], 0
    if window:
        yield window


def _encoded(
    codec: BlockCodec,
    decoder: Decoder,
    window: list[Clip | Failure],
    num_codebooks: int | None,
    limits: tuple[int, int],
) -> Iterator[tuple[int, Coded | Failure]]:
    """(position in the window, result) of its clips; those of like length go together."""
    clips = [(n, clip) for n, clip in enumerate(window) if isinstance(clip, Clip)]
    short = [(n, clip, clip.wav) for n, clip in clips if clip.wav is not None]
    for n, clip in clips:
        if clip.wav is None:
            yield n, _long(codec, decoder, clip, num_codebooks)
    for batch in _batches(sorted(short, key=lambda item: len(item[2])), *limits):
        for (n, clip, wav), codes in zip(batch, _codes(codec, [wav for _, _, wav in batch], num_codebooks)):
            original = clip.sample_rate, clip.channels, clip.num_samples
            yield n, Coded(clip.utterance, codes, len(wav), clip.gain, *original)


def _batches(clips: list[tuple[int, Clip, Any]], limit: int, size: int) -> Iterator[list[tuple[int, Clip, Any]]]:
    """Runs of sorted clips, at most `size`, whose number times the longest stays within the limit."""
    batch: list[tuple[int, Clip, Any]] = []
    for item in clips:
        if batch and (len(batch) == size or (len(batch) + 1) * len(item[2]) > limit):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _codes(codec: Any, wavs: list[npt.NDArray[np.float32]], num_codebooks: int | None) -> list[CodeArray]:
    """Codes [K, T] of each signal [S]."""
    if len(wavs) == 1:
        return [np.concatenate(list(codec.encode_blocks(wavs, num_codebooks)), 1)]
    lengths = [len(wav) for wav in wavs]
    batch = np.zeros((len(wavs), 1, max(lengths)), np.float32)
    for row, wav in zip(batch, wavs):
        row[0, : len(wav)] = wav
    encoded = codec.encode(batch, num_codebooks=num_codebooks, lengths=lengths)
    codes = encoded.codes.int().cpu().numpy()
    return [row[:, :frames] for row, frames in zip(codes, encoded.frames.tolist())]


def _long(codec: BlockCodec, decoder: Decoder, clip: Clip, num_codebooks: int | None) -> Coded | Failure:
    """A file that is too long to hold, coded in blocks."""
    try:
        with decoder.file(clip.utterance) as path:
            tokens = encode_file(codec, path, num_codebooks)
    except AudioCodecError as error:
        return Failure(clip.utterance.id, clip.utterance.file, str(error))
    original = tokens.original_sample_rate, tokens.original_channels, tokens.original_num_samples
    return Coded(clip.utterance, tokens.codes, tokens.num_samples, tokens.gain, *original)
