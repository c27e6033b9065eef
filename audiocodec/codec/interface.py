"""What every runtime of a codec shares: coding in chunks, the checks of what comes in, the fingerprint. numpy only.

Coding is done in chunks whose overlap is the exact receptive field, so that memory does not grow with the length and
the result is that of the whole (but for float rounding). Models with an LSTM have no finite receptive field: chunks
cannot code them.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from numbers import Integral

import numpy as np
import numpy.typing as npt

from audiocodec.constants import MAX_RATE, MIN_RATE
from audiocodec.errors import AudioError, TokenFileError

CHUNK_SECONDS = 10.0

FloatArray = npt.NDArray[np.float32]
CodeArray = npt.NDArray[np.int32]


class BlockCodec:
    """A codec for streams of blocks of one channel, at one sample rate; a runtime adds how one piece is coded.

    Attributes:
        sample_rate: Hz.
        channels: of a file that are coded, one after the other; 1: their mean is.
        hop_length: samples per frame.
        level_db: RMS in dB full scale that the codec was trained at.
    """

    sample_rate: int
    channels: int
    hop_length: int
    level_db: float

    @property
    @abstractmethod
    def codebook_sizes(self) -> tuple[int, ...]:
        """Entries of each codebook."""

    @property
    @abstractmethod
    def fingerprint(self) -> bytes:
        """8 bytes that tell this codec from any other."""

    @property
    @abstractmethod
    def encoder_context(self) -> tuple[int, int]:
        """Frames of context (before, after) that a frame's codes depend on."""

    @property
    @abstractmethod
    def decoder_context(self) -> tuple[int, int]:
        """Frames of context (before, after) that a frame's samples depend on."""

    @property
    @abstractmethod
    def has_lstm(self) -> bool:
        """Whether a recurrent layer makes the receptive field unbounded."""

    @abstractmethod
    def _encode_piece(
        self, piece: FloatArray, context: int, size: int, num_codebooks: int | None, exact: bool
    ) -> CodeArray:
        """Codes `[K, t]` of `size` samples of `piece [n]` after its first `context`; see `encode_blocks` for `exact`."""

    @abstractmethod
    def float_latents(self, wav: FloatArray) -> FloatArray:
        """The scaled float32 latents `[D, T]` of `wav [T * hop_length]`, coded whole."""

    @abstractmethod
    def other_threads(self) -> AbstractContextManager[None]:
        """For a while, another number of CPU threads in the networks than now: one, or two where it is one."""

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_length

    @property
    def num_codebooks(self) -> int:
        """Number of codebooks K."""
        return len(self.codebook_sizes)

    def encode_blocks(
        self,
        blocks: Iterable[FloatArray],
        num_codebooks: int | None = None,
        chunk_seconds: float | None = None,
        exact: bool = True,
    ) -> Iterator[CodeArray]:
        """Encode a stream of mono blocks `[n]` at the codec's rate in bounded memory.

        Args:
            blocks: consecutive pieces of one signal, any sizes.
            num_codebooks: use only the first so many codebooks.
            chunk_seconds: of audio coded at once, `CHUNK_SECONDS` by default; changes nothing but speed and memory.
            exact: False leaves frames that float32 cannot decide as they are: faster, and the same signal may get other
                codes in other chunks, on other threads or another runtime (docs/guide/determinism.md).

        Yields:
            int32 codes `[K, t]`; together those of `encode` on the whole signal.

        Raises:
            AudioError: samples that are integers or not finite.
        """
        self._check_codebooks(num_codebooks)
        seconds = CHUNK_SECONDS if chunk_seconds is None else chunk_seconds
        chunk = self._chunk_frames(seconds) * self.hop_length
        left, right = (n * self.hop_length for n in self.encoder_context)
        pending = np.zeros(0, np.float32)  # left context, the chunk to encode, right context
        context = 0  # samples of `pending` that are left context
        source = iter(blocks)
        finished = False
        while not finished or len(pending) > context:
            while not finished and len(pending) < context + chunk + right:
                block = next(source, None)
                finished = block is None
                if block is not None:
                    pending = np.concatenate([pending, float_samples(block)])
            size = min(chunk, len(pending) - context)
            if size > 0:
                piece = pending[: context + chunk + right]
                if not np.isfinite(piece).all():
                    raise AudioError("audio holds NaN or infinite samples")
                yield self._encode_piece(piece, context, size, num_codebooks, exact)
            done = context + size
            pending = pending[max(0, done - left) :]
            context = min(left, done)

    def decode_blocks(self, codes: npt.NDArray[np.integer], num_samples: int) -> Iterator[FloatArray]:
        """Decode `codes [K, T]` in bounded memory.

        Args:
            codes: integers `[K, T]`.
            num_samples: total number of samples wanted, at most `T * hop_length`.

        Yields:
            float32 `[n]`; together those of `decode(codes, num_samples)`.

        Raises:
            TokenFileError: codes of the wrong shape or outside their codebook, or fewer samples in them.
        """
        if codes.ndim != 2:
            raise TokenFileError(f"need codes of shape [K, T], got {list(codes.shape)}")
        self._check_num_samples(num_samples, codes.shape[-1])
        left = num_samples
        for wav in self._decode_pieces(codes):
            yield wav[:left]
            left = max(0, left - len(wav))

    @abstractmethod
    def _decode_pieces(self, codes: npt.NDArray[np.integer]) -> Iterator[FloatArray]:
        """Audio `[T * hop_length]` of `codes [K, T]`, which may be anything yet, piece by piece."""

    @property
    def _step_frames(self) -> int:
        """Frames that a stream takes at once."""
        return max(1, round(CHUNK_SECONDS * self.frame_rate))

    def _chunk_frames(self, seconds: float) -> int:
        return 2**62 if self.has_lstm else max(1, round(seconds * self.frame_rate))

    def _chunks(self, frames: int, context: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
        """(first, last, low, high): frames to keep and frames to compute, over all of them."""
        size = self._chunk_frames(CHUNK_SECONDS)
        for first in range(0, frames, size):
            last = min(frames, first + size)
            yield first, last, max(0, first - context[0]), min(frames, last + context[1])

    def _check_codebooks(self, num_codebooks: int | None) -> None:
        if num_codebooks is not None and not 1 <= num_codebooks <= self.num_codebooks:
            raise AudioError(f"num_codebooks {num_codebooks}: this codec has 1 to {self.num_codebooks}")

    def _check_num_samples(self, num_samples: int | None, frames: int) -> None:
        held = frames * self.hop_length
        if num_samples is not None and not (isinstance(num_samples, Integral) and 0 <= num_samples <= held):
            raise TokenFileError(f"num_samples {num_samples}: {frames} frames hold 0 to {held}")

    def _check_code_shape(self, shape: Sequence[int]) -> None:
        if len(shape) not in (2, 3) or not 1 <= shape[-2] <= self.num_codebooks or 0 in shape:
            raise TokenFileError(
                f"need codes of shape [B, K, T] or [K, T] with 1 <= K <= {self.num_codebooks}, got {list(shape)}"
            )

    def _check_code_range(self, lowest: float, highest: float) -> None:
        if lowest < 0 or highest >= self.codebook_sizes[0]:
            raise TokenFileError(f"codes outside 0 to {self.codebook_sizes[0] - 1}")


def fingerprint_of(
    sample_rate: int,
    hop_length: int,
    codebook_sizes: tuple[int, ...],
    weights: Iterable[tuple[str, npt.NDArray[np.float32]]],
    channels: int = 1,
) -> bytes:
    """8 bytes of a SHA-256 over all weights and what frames their use.

    Args:
        sample_rate: Hz.
        hop_length: samples per frame.
        codebook_sizes: entries of each codebook.
        weights: names and values, in the order of the names.
        channels: of a file that are coded.
    """
    several = f" {channels} channels" if channels > 1 else ""  # models of one channel are named as ever
    digest = hashlib.sha256(f"{sample_rate} {hop_length} {codebook_sizes}{several}".encode())
    for name, array in weights:
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(array, np.float32).data)
    return digest.digest()[:8]


def float_samples(wav: npt.ArrayLike) -> FloatArray:
    """`wav` as float32, a copy; integers are refused, because nothing says what their full scale is.

    Raises:
        AudioError: anything but floats.
    """
    array = np.asarray(wav)
    if array.dtype.kind != "f":
        raise AudioError(f"need float samples in [-1, 1], got {array.dtype}; divide 16-bit integers by 32768")
    return np.array(array, np.float32)


def whole_hertz(sample_rate: float) -> int:
    """44100 and 44100.0 are the same rate; everything that is none is refused.

    Raises:
        AudioError: no whole number, or none of a rate that can be.
    """
    if not isinstance(sample_rate, (int, float, np.number)) or not MIN_RATE <= sample_rate <= MAX_RATE:
        raise AudioError(f"sample_rate {sample_rate!r}: need whole Hz, {MIN_RATE} to {MAX_RATE}")
    if sample_rate != int(sample_rate):
        raise AudioError(f"sample_rate {sample_rate!r}: need whole Hz")
    return int(sample_rate)
