"""Whole files through a codec, in memory that does not grow with their length (but for the codes themselves); audio in
memory to the bytes of a token file and back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.audio import io
from audiocodec.codec.inputs import as_array, check_tokens, prepare
from audiocodec.codec.interface import BlockCodec, CodeArray, FloatArray, float_samples, whole_hertz
from audiocodec.constants import MAX_RATE, MIN_RATE
from audiocodec.errors import AudioError, TokenFileError
from audiocodec.tokens.token_file import TokenFile

BLOCK_SECONDS = 5.0
MEASURED_SECONDS = 30.0
# How torch says it on CPU, CUDA, in cuDNN and cuBLAS, and where the C++ library says it; all are plain RuntimeErrors.
_OUT_OF_MEMORY = ("DefaultCPUAllocator", "out of memory", "ALLOC_FAILED", "bad_alloc")

FAST = {"near_ties": "float32"}  # note of a token file whose near-ties nobody decided

Progress = Callable[[float, float], None]  # called with seconds of audio done, of how many


def encode_file(
    codec: BlockCodec,
    path: str | os.PathLike[str] | io.AudioFile,
    num_codebooks: int | None = None,
    normalize: bool = True,
    progress: Progress | None = None,
    chunk_seconds: float | None = None,
    exact: bool = True,
    channel: int | None = None,
) -> TokenFile:
    """Encode an audio file of any rate and channel count; it is downmixed and resampled to the codec's rate.

    Args:
        codec: that codes it.
        path: of the file, or the file as it was opened.
        num_codebooks: use only the first so many; None: all.
        normalize: bring the file to the level the codec expects; the factor is kept in the token file.
        progress: called with seconds of audio done, of how many.
        chunk_seconds: of audio coded at once, see `Codec.encode_blocks`.
        exact: False leaves near-ties to float32, see `Codec.encode_blocks`; the notes then hold `FAST`.
        channel: of a path: the only channel to encode, from 1 on, which the notes then hold; None: the mean of all.

    Returns:
        Codes [K, ceil(S / hop_length)] with all that decoding needs, S = samples at the codec's rate.

    Raises:
        AudioError: naming the file and the cause: also channels that cancel when mixed, and when memory runs out.
    """
    if channel is not None and channel < 1:
        raise AudioError(f"channel {channel}: channels are counted from 1 on")
    with io.AudioFile.of(path, channel) as file:
        header = io.info(file)
        with _enough_memory(path, header.num_samples / header.sample_rate):
            stats = io.level(file, codec.sample_rate)
            gain = io.level_gain(stats, codec.level_db) if normalize else 1.0
            blocks = io.read_blocks(file, codec.sample_rate, round(BLOCK_SECONDS * codec.sample_rate))
            scaled = (io.at_level(block, stats, gain) if normalize else block for block in blocks)
            num_samples = io.resampled_length(stats.num_samples, header.sample_rate, codec.sample_rate)
            watched = _watched(scaled, num_samples, codec.sample_rate, progress)
            taken: list[int] = []
            coded = list(codec.encode_blocks(_counted(watched, taken), num_codebooks, chunk_seconds, exact))
    if sum(taken) != num_samples:
        raise AudioError(f"{path}: changed while it was read: {num_samples} samples, then {sum(taken)}")
    codes = np.concatenate(coded, 1)
    original = io.AudioInfo(header.sample_rate, header.channels, stats.num_samples)
    notes = ({} if exact else FAST) | ({} if file.channel is None else {"channel": file.channel})
    return _token_file(codec, codes, num_samples, original, gain, notes)


def read_at_level(path: str | os.PathLike[str], codec: BlockCodec) -> FloatArray:
    """The first `MEASURED_SECONDS` of a file as the codec encodes them: mono `[S]`, at its rate and level."""
    length = round(MEASURED_SECONDS * codec.sample_rate)
    with io.AudioFile(path) as file:
        stats = io.level(file, codec.sample_rate)
        first = next(io.read_blocks(file, codec.sample_rate, length))
        return io.at_level(first, stats, io.level_gain(stats, codec.level_db))


def decode_file(
    codec: BlockCodec,
    tokens: TokenFile,
    path: str | os.PathLike[str],
    sample_rate: int | None = None,
    progress: Progress | None = None,
    subtype: str | None = None,
    silent: Sequence[tuple[int, int]] = (),
) -> int:
    """Decode to a mono audio file of exactly the original length and level; the file appears only when complete.

    Args:
        path: the extension decides the format.
        sample_rate: Hz of the file; None: the original's.
        progress: called with seconds of audio done, of how many.
        subtype: of the samples: `PCM_16`, `PCM_24` or `FLOAT`; None: 16 bits, or what a lossy format has. Only `FLOAT`,
            in a .wav file, keeps what passes full scale.
        silent: frames, first and below last, to be silent: what `TokenFile.salvage` found lost.

    Returns:
        How many samples passed full scale and were clipped.

    Raises:
        FingerprintMismatch: the tokens are of another codec.
        AudioError: the file cannot be written, or memory runs out.
        TokenFileError: the lengths in the token file contradict each other.
    """
    check_tokens(tokens, codec)
    rate = tokens.original_sample_rate if sample_rate is None else sample_rate
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"{path}: sample rate {rate} Hz is outside {MIN_RATE} to {MAX_RATE}")
    length = decoded_length(tokens, rate)
    with (
        _enough_memory(path, tokens.num_samples / tokens.sample_rate),
        io.Writer(path, rate, subtype=subtype) as writer,
    ):
        for block in _decoded(codec, tokens, rate, progress, silent):
            writer.write(block[: length - writer.num_samples])
    return writer.clipped


def compress(
    codec: BlockCodec,
    wav: npt.ArrayLike,
    sample_rate: int | None = None,
    *,
    num_codebooks: int | None = None,
    normalize: bool = True,
    progress: Progress | None = None,
) -> bytes:
    """Encode one piece of audio to the bytes of a token file, as the command line encodes a file with these samples.

    Args:
        codec: what `audiocodec.load` gave.
        wav: float samples in [-1, 1], numpy or torch: `[S]`, or `[C, S]`, whose channels are mixed.
        sample_rate: whole Hz of `wav`; None: the codec's.
        num_codebooks: use only the first so many; None: all.
        normalize: bring the audio to the level the codec expects; the factor is kept in the bytes.
        progress: called with seconds of audio taken, of how many.

    Raises:
        AudioError: another shape, samples that are integers or not finite, or a sample rate that cannot be.
    """
    channels = float_samples(as_array(wav))
    channels = channels[None] if channels.ndim == 1 else channels
    count, original = channels.shape if channels.ndim == 2 else (0, 0)
    if not 1 <= count <= original:
        raise AudioError(f"need audio of shape [S] or [C, S], got {list(channels.shape)}; of [S, C], give wav.T")
    rate = codec.sample_rate if sample_rate is None else whole_hertz(sample_rate)
    signal = prepare(channels, rate, codec.sample_rate, codec.level_db if normalize else None)
    blocks = io.reblock([signal.samples], round(BLOCK_SECONDS * codec.sample_rate))
    watched = _watched(blocks, len(signal.samples), codec.sample_rate, progress)
    codes = np.concatenate(list(codec.encode_blocks(watched, num_codebooks)), 1)
    info = io.AudioInfo(rate, count, original)
    return _token_file(codec, codes, len(signal.samples), info, signal.gain).to_bytes()


def decode_tokens(
    codec: BlockCodec, tokens: TokenFile, sample_rate: int | None = None, progress: Progress | None = None
) -> tuple[FloatArray, int]:
    """Decode to audio of exactly the original length and level.

    Args:
        codec: the one that made the tokens.
        tokens: what to decode.
        sample_rate: Hz of the audio; None: the original's.
        progress: called with seconds of audio done, of how many.

    Returns:
        (float32 samples `[S]`, their sample rate in Hz).

    Raises:
        TokenFileError: the lengths in the token file contradict each other.
        FingerprintMismatch: the tokens are of another codec.
        AudioError: a sample rate that cannot be.
    """
    check_tokens(tokens, codec)
    rate = whole_hertz(tokens.original_sample_rate if sample_rate is None else sample_rate)
    length = decoded_length(tokens, rate)
    return np.concatenate(list(_decoded(codec, tokens, rate, progress)))[:length], rate


def decoded_length(tokens: TokenFile, sample_rate: int) -> int:
    """Samples that decoding writes at `sample_rate`: the original's length, ceil(S * sample_rate / original rate).

    Raises:
        TokenFileError: the codes do not hold so many.
    """
    length = io.resampled_length(tokens.original_num_samples, tokens.original_sample_rate, sample_rate)
    held = io.resampled_length(tokens.num_samples, tokens.sample_rate, sample_rate)
    if length > held:
        raise TokenFileError(
            f"claims {tokens.original_num_samples} samples at {tokens.original_sample_rate} Hz, "
            f"but its codes hold {tokens.num_samples} at {tokens.sample_rate} Hz"
        )
    return length


def _token_file(
    codec: BlockCodec,
    codes: CodeArray,
    num_samples: int,
    original: io.AudioInfo,
    gain: float,
    notes: Mapping[str, Any] | None = None,
) -> TokenFile:
    return TokenFile(
        codes=codes,
        codebook_sizes=codec.codebook_sizes[: len(codes)],
        sample_rate=codec.sample_rate,
        hop_length=codec.hop_length,
        num_samples=num_samples,
        original_sample_rate=original.sample_rate,
        original_channels=original.channels,
        original_num_samples=original.num_samples,
        gain=gain,
        fingerprint=codec.fingerprint,
        notes=notes or {},
    )


def _decoded(
    codec: BlockCodec,
    tokens: TokenFile,
    sample_rate: int,
    progress: Progress | None,
    silent: Sequence[tuple[int, int]] = (),
) -> Iterator[np.ndarray]:
    """Audio of the original's level in blocks, at `sample_rate`; the last one may be longer than the original."""
    blocks = codec.decode_blocks(tokens.codes, tokens.num_samples)
    blocks = _silenced(blocks, [(first * tokens.hop_length, last * tokens.hop_length) for first, last in silent])
    watched = _watched(blocks, tokens.num_samples, codec.sample_rate, progress)
    scaled = (_divided(block, tokens.gain) for block in watched)
    return io.resample_blocks(scaled, codec.sample_rate, sample_rate)


def _silenced(blocks: Iterable[np.ndarray], spans: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
    """Blocks with zeros in spans of samples."""
    at = 0
    for block in blocks:
        inside = [(first - at, last - at) for first, last in spans if first < at + len(block) and last > at]
        if inside:
            block = block.copy()
            for first, last in inside:
                block[max(0, first) : last] = 0
        at += len(block)
        yield block


@contextlib.contextmanager
def _enough_memory(path: str | os.PathLike[str] | io.AudioFile, seconds: float) -> Iterator[None]:
    """Turn numpy's and torch's errors of allocation into one about the file, so that a batch goes on after it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in _OUT_OF_MEMORY):
            raise
        message = f"{path}: not enough memory for {seconds:.1f} seconds of audio"
    else:
        return
    raise AudioError(message)  # outside of `except`: a traceback kept would keep the tensors


def _divided(block: np.ndarray, gain: float) -> np.ndarray:
    with np.errstate(all="ignore"):  # an absurd gain gives infinities, which the writer refuses
        return (block / np.float64(gain)).astype(np.float32)


def _counted(blocks: Iterable[np.ndarray], lengths: list[int]) -> Iterator[np.ndarray]:
    for block in blocks:
        lengths.append(len(block))
        yield block


def _watched(
    blocks: Iterable[np.ndarray], num_samples: int, sample_rate: int, progress: Progress | None
) -> Iterator[np.ndarray]:
    done = 0
    for block in blocks:
        yield block
        done += len(block)
        if progress is not None:
            progress(done / sample_rate, num_samples / sample_rate)
