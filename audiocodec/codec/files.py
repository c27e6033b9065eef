"""Whole files through a codec, in memory that does not grow with their length (but for the codes themselves); audio in
memory to the bytes of a token file and back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.audio import io
from audiocodec.codec.inputs import as_array, check_tokens, prepare_each
from audiocodec.codec.interface import BlockCodec, CodeArray, FloatArray, float_samples, whole_hertz
from audiocodec.constants import MAX_RATE, MIN_RATE
from audiocodec.errors import AudioError, TokenFileError
from audiocodec.tokens.token_file import CODED_CHANNELS, TokenFile, row_sizes

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
    """Encode an audio file of any rate; it is resampled to the codec's, and mixed to one channel but for stereo and a stereo codec.

    Args:
        codec: that codes it.
        path: of the file, or the file as it was opened.
        num_codebooks: use only the first so many; None: all.
        normalize: bring the file to the level the codec expects; the factor is kept in the token file.
        progress: called with seconds of audio done, of how many.
        chunk_seconds: of audio coded at once, see `Codec.encode_blocks`.
        exact: False leaves near-ties to float32, see `Codec.encode_blocks`; the notes then hold `FAST`.
        channel: of a path: the only channel to encode, from 1 on, which the notes then hold; None: both of a stereo file,
            where the codec codes two, else the mean of all.

    Returns:
        Codes [K, ceil(S / hop_length)], K of each coded channel, with all that decoding needs, S = samples at the codec's rate.

    Raises:
        AudioError: naming the file and the cause: also channels that cancel when mixed, more of them than a stereo codec
            codes, and when memory runs out.

    Example:
        >>> tokens = audiocodec.encode_file(audiocodec.load(), "speech.wav")
        >>> tokens.original_sample_rate, tokens.original_num_samples, tokens.codes.shape
        (16000, 16000, (1, 75))
    """
    if channel is not None and channel < 1:
        raise AudioError(f"channel {channel}: channels are counted from 1 on")
    with io.AudioFile.of(path, channel) as file:
        header = io.info(file)
        with _enough_memory(path, header.num_samples / header.sample_rate):
            channels = _coded_channels(codec, file, header)
            stats = [io.level(file, codec.sample_rate, one) for one in channels]
            gain = io.level_gain(io.together(stats), codec.level_db) if normalize else 1.0
            num_samples = io.resampled_length(stats[0].num_samples, header.sample_rate, codec.sample_rate)
            coded = []
            for number, (one, its) in enumerate(zip(channels, stats)):
                blocks = io.read_blocks(file, codec.sample_rate, round(BLOCK_SECONDS * codec.sample_rate), one)
                scaled = (io.at_level(block, its, gain) if normalize else block for block in blocks)
                share = None if progress is None else partial(_part_of, progress, number, len(channels))
                watched = _watched(scaled, num_samples, codec.sample_rate, share)
                taken: list[int] = []
                pieces = list(codec.encode_blocks(_counted(watched, taken), num_codebooks, chunk_seconds, exact))
                if sum(taken) != num_samples:
                    raise AudioError(f"{path}: changed while it was read: {num_samples} samples, then {sum(taken)}")
                coded.append(np.concatenate(pieces, 1))
    original = io.AudioInfo(header.sample_rate, header.channels, stats[0].num_samples)
    notes = ({} if exact else FAST) | ({} if file.channel is None else {"channel": file.channel})
    return _token_file(codec, coded, num_samples, original, gain, notes)


def _coded_channels(codec: BlockCodec, file: io.AudioFile, header: io.AudioInfo) -> tuple[int | None, ...]:
    """What is coded of a file, one after the other."""
    try:
        return io.coded_channels(header.channels, codec.channels) if file.channel is None else (None,)
    except AudioError as error:
        raise AudioError(f"{file}: {error}") from None


def _part_of(progress: Progress, number: int, of: int, done: float, total: float) -> None:
    """One channel of several is done so far."""
    progress((number * total + done) / of, total)


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
    """Decode to an audio file of the coded channels, of exactly the original length and level; the file appears only when complete.

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
        io.Writer(path, rate, tokens.coded_channels, subtype) as writer,
    ):
        for block in _decoded(codec, tokens, rate, progress, silent):
            writer.write(block[..., : length - writer.num_samples])
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
        wav: float samples in [-1, 1], numpy or torch: `[S]`, or `[C, S]`, whose channels are mixed, but for two and
            a codec of two.
        sample_rate: whole Hz of `wav`; None: the codec's.
        num_codebooks: use only the first so many; None: all.
        normalize: bring the audio to the level the codec expects; the factor is kept in the bytes.
        progress: called with seconds of audio taken, of how many.

    Raises:
        AudioError: another shape, samples that are integers or not finite, or a sample rate that cannot be.

    Example:
        >>> codec = audiocodec.load()
        >>> data = audiocodec.compress(codec, 0.1 * numpy.sin(numpy.arange(24_000) / 20))
        >>> audiocodec.TokenFile.from_bytes(data).codes.shape  # one second
        (1, 75)
    """
    channels = float_samples(as_array(wav))
    channels = channels[None] if channels.ndim == 1 else channels
    count, original = channels.shape if channels.ndim == 2 else (0, 0)
    if not 1 <= count <= original:
        raise AudioError(f"need audio of shape [S] or [C, S], got {list(channels.shape)}; of [S, C], give wav.T")
    rate = codec.sample_rate if sample_rate is None else whole_hertz(sample_rate)
    level_db = codec.level_db if normalize else None
    signals, gain = prepare_each(channels, rate, codec.sample_rate, level_db, codec.channels)
    coded = []
    for number, one in enumerate(signals):
        blocks = io.reblock([one], round(BLOCK_SECONDS * codec.sample_rate))
        share = None if progress is None else partial(_part_of, progress, number, len(signals))
        watched = _watched(blocks, len(one), codec.sample_rate, share)
        coded.append(np.concatenate(list(codec.encode_blocks(watched, num_codebooks)), 1))
    info = io.AudioInfo(rate, count, original)
    return _token_file(codec, coded, len(signals[0]), info, gain).to_bytes()


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
        (float32 samples `[S]`, `[2, S]` of two coded channels, their sample rate in Hz).

    Raises:
        TokenFileError: the lengths in the token file contradict each other.
        FingerprintMismatch: the tokens are of another codec.
        AudioError: a sample rate that cannot be.
    """
    check_tokens(tokens, codec)
    rate = whole_hertz(tokens.original_sample_rate if sample_rate is None else sample_rate)
    length = decoded_length(tokens, rate)
    return np.concatenate(list(_decoded(codec, tokens, rate, progress)), -1)[..., :length], rate


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
    coded: Sequence[CodeArray],
    num_samples: int,
    original: io.AudioInfo,
    gain: float,
    notes: Mapping[str, Any] | None = None,
) -> TokenFile:
    """Of the codes `[K, T]` of each channel."""
    channels = len(coded)
    codes = np.stack(coded, 1).reshape(-1, coded[0].shape[1])
    return TokenFile(
        codes=codes,
        codebook_sizes=row_sizes(codec.codebook_sizes[: len(coded[0])], channels),
        sample_rate=codec.sample_rate,
        hop_length=codec.hop_length,
        num_samples=num_samples,
        original_sample_rate=original.sample_rate,
        original_channels=original.channels,
        original_num_samples=original.num_samples,
        gain=gain,
        fingerprint=codec.fingerprint,
        notes={**(notes or {}), **({CODED_CHANNELS: channels} if channels > 1 else {})},
    )


def _decoded(
    codec: BlockCodec,
    tokens: TokenFile,
    sample_rate: int,
    progress: Progress | None,
    silent: Sequence[tuple[int, int]] = (),
) -> Iterator[np.ndarray]:
    """Audio of the original's level in blocks `[n]`, or `[C, n]`, at `sample_rate`; the last may be longer than the original."""
    channels = [
        _channel(codec, codes, tokens, sample_rate, progress if number == 0 else None, silent)
        for number, codes in enumerate(tokens.channel_codes)
    ]
    if len(channels) == 1:
        yield from channels[0]
        return
    for blocks in zip(*channels, strict=True):  # of like length: they are made in the same steps
        yield np.stack(blocks)


def _channel(
    codec: BlockCodec,
    codes: CodeArray,
    tokens: TokenFile,
    sample_rate: int,
    progress: Progress | None,
    silent: Sequence[tuple[int, int]],
) -> Iterator[np.ndarray]:
    """Audio of one channel."""
    blocks = codec.decode_blocks(codes, tokens.num_samples)
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
