"""The codec on onnxruntime and numpy: what `codec.Codec` does for inference, where torch is not installed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from audiocodec.codec.inputs import as_array, batch_shape, check_lengths, check_tokens, prepare
from audiocodec.codec.interface import (
    BlockCodec,
    CodeArray,
    FloatArray,
    float_samples,
    whole_hertz,
)
from audiocodec.dsp.voice import ONSET
from audiocodec.errors import CheckpointError, NotFinite, TokenFileError
from audiocodec.tokens.token_file import TokenFile

if TYPE_CHECKING:
    from audiocodec.codec.exact import NearTies
    from audiocodec.onnx.model import OnnxModel

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_NOTHING = np.zeros(0, np.float32)  # so that there is something to put together when no samples are wanted


class EncodedArrays(NamedTuple):
    """Codes of a padded batch."""

    codes: npt.NDArray[np.int64]  # [B, K, T], 0 behind the end of an item
    frames: npt.NDArray[np.int64]  # [B], frames of each item

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """`[B, T]`: which frames are the items' own."""
        found: npt.NDArray[np.bool_] = np.arange(self.codes.shape[-1]) < self.frames[:, None]
        return found


class OnnxCodec(BlockCodec):
    """Encoder and decoder as sessions of onnxruntime, made when first used; the quantizer in numpy."""

    def __init__(self, model: OnnxModel, device: str = "cpu", threads: int | None = None) -> None:
        """Take a model; `onnx.load.load` reads one.

        Args:
            model: networks, quantizer and what describes them.
            device: `cpu` or `cuda`.
            threads: of the networks; None: onnxruntime's choice. The search in numpy has its own.
        """
        self._model, self._device, self._threads = model, device, threads
        self.sample_rate, self.hop_length, self.level_db = model.sample_rate, model.hop_length, model.level_db
        self.channels = model.channels
        self._sessions: dict[str, Any] = {}

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Entries of each codebook."""
        return self._model.codebook_sizes

    @property
    def fingerprint(self) -> bytes:
        """That of the model file: 8 bytes of a SHA-256 over all weights and what frames their use."""
        return self._model.fingerprint

    @property
    def encoder_context(self) -> tuple[int, int]:
        """Frames of context (before, after) that a frame's codes depend on."""
        return self._model.encoder.context

    @property
    def decoder_context(self) -> tuple[int, int]:
        """Frames of context (before, after) that a frame's samples depend on."""
        return self._model.decoder.context

    @property
    def has_lstm(self) -> bool:
        """Whether a recurrent layer makes the receptive field unbounded."""
        return self._model.has_lstm

    @property
    def near_ties(self) -> NearTies | None:
        """What decides frames that float32 cannot; None: nothing does."""
        return self._model.near_ties

    @overload
    def encode(
        self,
        wav: npt.ArrayLike,
        sample_rate: int | None = None,
        num_codebooks: int | None = None,
        lengths: None = None,
        normalize: bool = False,
    ) -> npt.NDArray[np.int64]: ...

    @overload
    def encode(
        self,
        wav: npt.ArrayLike,
        sample_rate: int | None = None,
        num_codebooks: int | None = None,
        *,
        lengths: Sequence[int] | npt.NDArray[np.integer],
        normalize: bool = False,
    ) -> EncodedArrays: ...

    def encode(
        self,
        wav: npt.ArrayLike,
        sample_rate: int | None = None,
        num_codebooks: int | None = None,
        lengths: Sequence[int] | npt.NDArray[np.integer] | None = None,
        normalize: bool = False,
    ) -> npt.NDArray[np.int64] | EncodedArrays:
        """Encode audio to codes.

        Args:
            wav: float samples in [-1, 1], mono, numpy or torch: `[S]`, `[B, S]` or `[B, 1, S]`. Two rows `[2, S]` without
                `lengths` could be stereo and are refused: `[2, 1, S]` is a batch of two.
            sample_rate: whole Hz of `wav`; resampled when it is not the codec's. None: the codec's.
            num_codebooks: use only the first so many codebooks.
            lengths: samples of each item, 1 to S, at the rate of `wav`, of a padded batch.
            normalize: bring each item to the level that the codec was trained at, as the command line does. The factor is
                not returned; `audiocodec.compress` keeps it for decoding.

        Returns:
            int64 codes `[B, K, T]`, `T = ceil(S' / hop_length)` with S' samples at the codec's rate. With `lengths`
            `EncodedArrays`: the codes, 0 behind the end of an item, and the frames of each item.

        Raises:
            AudioError: an empty or multi-channel waveform, samples that are integers or not finite, a sample rate that
                cannot be, or lengths that are not those of the items.
        """
        array = float_samples(as_array(wav))
        items, samples = batch_shape(array.shape, is_batch=lengths is not None)
        ends = check_lengths(lengths, items, samples)
        rate = self.sample_rate if sample_rate is None else whole_hertz(sample_rate)
        level_db = self.level_db if normalize else None
        coded = []
        for item, end in zip(array.reshape(items, 1, samples), ends):
            signal = prepare(item, rate, self.sample_rate, level_db, end).samples
            coded.append(np.concatenate(list(self.encode_blocks([signal], num_codebooks)), 1))
        frames = np.array([codes.shape[1] for codes in coded])
        padded = [np.pad(codes, ((0, 0), (0, frames.max() - codes.shape[1]))) for codes in coded]
        together = np.stack(padded).astype(np.int64)
        return together if lengths is None else EncodedArrays(together, frames)

    def decode(self, codes: TokenFile | npt.ArrayLike, num_samples: int | None = None) -> FloatArray:
        """Decode codes to audio.

        Args:
            codes: integers of any type `[B, K, T]` or `[K, T]`, numpy or torch; K may be fewer than the codec has. Or a
                token file: its level is restored, and its length gives `num_samples`.
            num_samples: cut the result to so many samples, at most `T * hop_length`.

        Returns:
            float32 `[B, 1, T * hop_length]`, or `[B, 1, num_samples]`, at the codec's rate; `[1, 2, S]` of a token file of
            two channels.

        Raises:
            TokenFileError: codes of the wrong shape or outside their codebook, or fewer samples in them.
            FingerprintMismatch: a token file of another codec.
        """
        if isinstance(codes, TokenFile):
            check_tokens(codes, self)
            length = codes.num_samples if num_samples is None else num_samples
            wav = np.concatenate([self.decode(one, length) for one in codes.channel_codes], 1)
            return (wav / np.float64(codes.gain)).astype(np.float32)
        array = as_array(codes)
        self._check_code_shape(array.shape)
        batch = array.reshape(-1, *array.shape[-2:])
        length = batch.shape[-1] * self.hop_length if num_samples is None else num_samples
        return np.stack([np.concatenate([*self.decode_blocks(item, length), _NOTHING])[None] for item in batch])

    def float_latents(self, wav: FloatArray) -> FloatArray:
        """The scaled float32 latents `[D, T]` of `wav [T * hop_length]`, coded whole."""
        latents: FloatArray = self._run("encoder", wav[None, None])[0][0]
        return latents

    @contextmanager
    def other_threads(self) -> Iterator[None]:
        """For a while, sessions on another number of threads than now: one, or two where it is one."""
        before = self._threads, self._sessions
        self._threads, self._sessions = 2 if (self._threads or os.cpu_count()) == 1 else 1, {}
        try:
            yield
        finally:
            self._threads, self._sessions = before

    def _encode_piece(
        self, piece: FloatArray, context: int, size: int, num_codebooks: int | None, exact: bool
    ) -> CodeArray:
        first, last = context // self.hop_length, -(-(context + size) // self.hop_length)
        padded = np.pad(piece, (0, -len(piece) % self.hop_length))
        latents = self.float_latents(padded)[:, first:last]
        near_ties, quantizer = self._model.near_ties, self._model.quantizer
        if near_ties is None or not exact:
            return quantizer.encode(latents, num_codebooks).astype(np.int32)
        codes, margins = quantizer.encode_with_margins(latents, num_codebooks)
        end = len(padded) // self.hop_length
        return near_ties.decide(latents, codes, margins, padded, first, end).astype(np.int32)

    def _decode_pieces(self, codes: npt.NDArray[np.integer]) -> Iterator[FloatArray]:
        hop, lookback = self.hop_length, self._model.decoder.lookback
        if lookback is None:
            for first, last, low, high in self._chunks(codes.shape[-1], self.decoder_context):
                wav = self._run("decoder", self._latents(codes[:, low:high]))[0]
                yield wav[0, 0, (first - low) * hop : (last - low) * hop]
            return
        anchor, phase = 0, np.array([ONSET])  # the phase with which that frame begins
        for first, last, low, high in self._chunks(codes.shape[-1], self.decoder_context):
            place = np.array([anchor - low]), np.array([low])
            wav, phases = self._run("decoder", self._latents(codes[:, low:high]), phase, *place)
            anchor = max(0, last - lookback)
            phase = phases[anchor - low : anchor - low + 1]
            yield wav[0, 0, (first - low) * hop : (last - low) * hop]

    def _latents(self, codes: npt.NDArray[np.integer]) -> FloatArray:
        """`[1, D, T]` of `codes [K, T]`."""
        if codes.dtype.kind not in "iu":
            raise TokenFileError(f"need integer codes, got {codes.dtype}")
        self._check_code_shape(codes.shape)
        self._check_code_range(int(codes.min()), int(codes.max()))
        return self._model.quantizer.decode(codes)[None]

    def _run(self, part: str, *arrays: npt.NDArray[Any]) -> Sequence[npt.NDArray[Any]]:
        """Outputs of a network for its inputs, in their order."""
        if part not in self._sessions:
            file = (self._model.encoder if part == "encoder" else self._model.decoder).file
            self._sessions[part] = make_session(file, self._device, self._threads)
        session = self._sessions[part]
        try:
            names = (value.name for value in session.get_inputs())
            results: Sequence[npt.NDArray[Any]] = session.run(None, dict(zip(names, arrays)))
        except Exception as error:  # onnxruntime's own have no base class but this
            if "allocate" not in str(error) and "bad allocation" not in str(error):
                raise CheckpointError(f"onnxruntime cannot run the {part}: {error}") from error
            raise MemoryError(str(error)) from error
        if results[0].dtype.kind != "f" or not np.isfinite(results[0]).all():
            raise NotFinite(f"the {part} gives NaN or infinite values: its weights are not sound")
        return results


def providers() -> Sequence[str]:
    """What this installation of onnxruntime can compute with."""
    import onnxruntime

    available: Sequence[str] = onnxruntime.get_available_providers()
    return available


def make_session(file: bytes, device: str, threads: int | None) -> Any:
    """A session of onnxruntime on an ONNX file's bytes.

    Raises:
        CheckpointError: onnxruntime refuses the file, or cannot use the device.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: warnings about what it does not optimise are no business of users
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    chosen = [CPU] if device == "cpu" else [CUDA, CPU]
    try:
        session = onnxruntime.InferenceSession(file, options, providers=chosen)
    except Exception as error:  # onnxruntime's own have no base class but this
        raise CheckpointError(f"onnxruntime cannot use the model: {error}") from error
    if device != "cpu" and CUDA not in session.get_providers():
        raise CheckpointError("onnxruntime found no usable CUDA device; --device cpu does without")
    return session
