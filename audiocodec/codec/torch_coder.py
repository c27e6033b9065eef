"""What codes audio on torch: chunks, streams and batches, and the checks of what comes in.

Chunks, and the checks that need no torch, are those of every runtime (`codec.interface`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from audiocodec.codec.exact import ExactEncoder, NearTies
from audiocodec.codec.float32 import float32_inference
from audiocodec.codec.inputs import batch_shape, check_lengths, prepare
from audiocodec.codec.interface import (
    BlockCodec,
    CodeArray,
    FloatArray,
    fingerprint_of,
    float_samples,
    whole_hertz,
)
from audiocodec.codec.latent_error import LatentError
from audiocodec.codec.streams import DecoderStream, EncoderStream
from audiocodec.config.schema import Config
from audiocodec.errors import AudioError, NotFinite, TokenFileError
from audiocodec.nn.conv import fold_weight_norm
from audiocodec.nn.istft_decoder import ISTFTDecoder
from audiocodec.nn.seanet import SEANetDecoder, SEANetEncoder
from audiocodec.nn.voiced_decoder import VoicedDecoder
from audiocodec.onnx.quantizers import Quantizer
from audiocodec.quantization.residual import ResidualQuantizer
from audiocodec.quantization.scale import LatentScale

Decoder = SEANetDecoder | ISTFTDecoder | VoicedDecoder
Audio = Tensor | npt.NDArray[np.floating]
Lengths = Sequence[int] | Tensor | npt.NDArray[np.integer]


class TorchCoder(nn.Module, BlockCodec):
    """Encoder, scale, quantizer and decoder, and the ways through them that keep no gradient."""

    def __init__(
        self,
        encoder: SEANetEncoder,
        scale: LatentScale,
        quantizer: ResidualQuantizer,
        decoder: Decoder,
        config: Config,
    ) -> None:
        """Put the parts together; `build.build_codec` makes them from a configuration.

        Args:
            encoder: `[B, 1, S] -> [B, D, T]`.
            scale: fixes the scale of the latents.
            quantizer: `[B, D, T] -> codes [B, K, T]`.
            decoder: `[B, D, T] -> [B, 1, S]`.
            config: what all of them were built from.
        """
        super().__init__()
        self.encoder, self.scale, self.quantizer, self.decoder = encoder, scale, quantizer, decoder
        self.sample_rate, self.hop_length, self.level_db = config.sample_rate, config.hop_length, config.data.level_db
        self.channels = config.channels
        self.notes: Mapping[str, Any] = {}  # of the model file that it came from
        self._config = config
        self._fingerprint: bytes | None = None
        self._exact: tuple[tuple[int, ...], ExactEncoder] | None = None
        self._near_ties = NearTies(self._exact_encoder, LatentError())

    @property
    def config(self) -> Config:
        """What all parts were built from."""
        return self._config

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Entries of each codebook."""
        return (self.quantizer.codebook_size,) * self.quantizer.num_codebooks

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.scale.mean.device

    @property
    def fingerprint(self) -> bytes:
        """8 bytes of a SHA-256 over all weights and what frames their use; computed once, on frozen weights."""
        if self._fingerprint is None:
            weights = (
                (name, tensor.detach().float().cpu().numpy()) for name, tensor in sorted(self.state_dict().items())
            )
            self._fingerprint = fingerprint_of(
                self.sample_rate, self.hop_length, self.codebook_sizes, weights, self.channels
            )
        return self._fingerprint

    @property
    def near_ties(self) -> NearTies:
        """What decides frames that float32 cannot."""
        return self._near_ties

    @property
    def encoder_context(self) -> tuple[int, int]:
        """Frames of context (before, after) that a frame's codes depend on."""
        left, right = self.encoder.context()
        return -(-left // self.hop_length), -(-right // self.hop_length)

    @property
    def decoder_context(self) -> tuple[int, int]:
        """Frames of context (before, after) that a frame's samples depend on."""
        left, right = self.decoder.context()
        return -(-left // self.hop_length), -(-right // self.hop_length)

    @property
    def latency_samples(self) -> int:
        """Algorithmic latency: samples, from an instant on, that must be known before it can be put out."""
        return self.encoder_latency_samples + self.decoder_latency_samples

    @property
    def encoder_latency_samples(self) -> int:
        """Samples, from a frame's first on, that must be known before its codes are."""
        return self.hop_length + self.encoder.context()[1]

    @property
    def decoder_latency_samples(self) -> int:
        """Samples after an instant whose frames must be known before it can be put out."""
        return self.decoder.context()[1]

    def stream_encoder(self, num_codebooks: int | None = None) -> EncoderStream:
        """A context that takes samples of one signal, in pieces of any size, and gives codes as soon as they are sure.

        Args:
            num_codebooks: use only the first so many codebooks.

        Raises:
            AudioError: codebooks that are not there.
        """
        self._check_codebooks(num_codebooks)
        return EncoderStream(
            self.encoder.stream(),
            self.scale.running,
            lambda latents, wav, first, frames: self._quantized(latents, wav, first, frames, num_codebooks),
            lambda samples: self._finite(_float_samples(samples).reshape(1, 1, -1)),
            hop_length=self.hop_length,
            context=self.encoder_context[0],
            latency_samples=self.encoder_latency_samples,
        )

    def stream_decoder(self) -> DecoderStream:
        """A context that takes codes of one signal, any number at a time, and gives samples as soon as they are sure."""
        return DecoderStream(self.decoder.stream(), self._latents_of, latency_samples=self.decoder_latency_samples)

    @property
    def _sings(self) -> bool:
        """Whether the phase of a voice goes through the whole signal: then it is decoded as a stream."""
        return isinstance(self.decoder, VoicedDecoder)

    def encode_blocks(
        self,
        blocks: Iterable[FloatArray],
        num_codebooks: int | None = None,
        chunk_seconds: float | None = None,
        exact: bool = True,
    ) -> Iterator[CodeArray]:
        """See `BlockCodec.encode_blocks`; a model with an LSTM is coded by a stream, which carries its state."""
        if not self.has_lstm:
            yield from super().encode_blocks(blocks, num_codebooks, chunk_seconds, exact)
            return
        with self.stream_encoder(num_codebooks) as stream:
            for codes in (*map(stream.push, blocks), stream.finish()):
                if codes.shape[1]:
                    yield codes

    def _streamed(self, codes: Tensor) -> Iterator[Tensor]:
        """Waveform `[1, 1, n]` of `codes [1, K, T]` by a stream, a chunk at a time; the last piece holds what was held back."""
        stream, frames, size = self.decoder.stream(), codes.shape[-1], self._step_frames
        for first in range(0, frames, size):
            with float32_inference():
                latents = self.quantizer.decode(codes[..., first : first + size])
                wav = stream.step(latents, first + size >= frames)
            yield wav

    @property
    def has_lstm(self) -> bool:
        """Whether a recurrent layer makes the receptive field unbounded."""
        return any(isinstance(layer, nn.LSTM) for layer in self.modules())

    @float32_inference()
    def float_latents(self, wav: FloatArray) -> FloatArray:
        """The scaled float32 latents `[D, T]` of `wav [T * hop_length]`, coded whole."""
        raw = self.encoder(torch.from_numpy(wav).to(self.device)[None, None])
        latents: FloatArray = self.scale.running(raw)[0].cpu().numpy()
        return latents

    @contextmanager
    def other_threads(self) -> Iterator[None]:
        """For a while, another number of torch's CPU threads than now: one, or two where it is one."""
        before = torch.get_num_threads()
        torch.set_num_threads(2 if before == 1 else 1)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _encode_piece(
        self, piece: FloatArray, context: int, size: int, num_codebooks: int | None, exact: bool
    ) -> CodeArray:
        with float32_inference():
            wav = torch.from_numpy(np.ascontiguousarray(piece)).to(self.device)[None, None]
            first, last = context // self.hop_length, -(-(context + size) // self.hop_length)
            padded = self._pad(wav)
            frames = torch.tensor([padded.shape[-1] // self.hop_length])
            codes = self._codes(padded, slice(first, last), frames, num_codebooks, exact)
            piece_codes: CodeArray = codes[0].int().cpu().numpy()
        return piece_codes

    def _decode_pieces(self, codes: npt.NDArray[np.integer]) -> Iterator[FloatArray]:
        for wav in self._streamed(self._check_codes(codes)):
            yield wav[0, 0].cpu().numpy()

    def _codes(
        self, padded: Tensor, kept: slice, frames: Tensor, num_codebooks: int | None, exact: bool = True
    ) -> Tensor:
        """Codes `[B, K, t]` of the frames `kept` of `padded [B, 1, S]`, whose items end after `frames [B]` frames."""
        ragged = bool((frames * self.hop_length != padded.shape[-1]).any())
        raw = self.encoder(padded, frames.to(self.device)) if ragged else self.encoder(padded)
        latents = self.scale.running(raw)[..., kept]
        if not exact:
            return self.quantizer.encode(_sound(latents), num_codebooks)
        return self._quantized(latents, padded, kept.start, frames.tolist(), num_codebooks)

    def _quantized(
        self, latents: Tensor, wav: Tensor, first: int, frames: list[int] | None, num_codebooks: int | None
    ) -> Tensor:
        _sound(latents)
        if self.has_lstm:  # each frame depends on all before it: none can be looked at again by itself
            return self.quantizer.encode(latents, num_codebooks)
        codes, margins = self.quantizer.encode_with_margins(latents, num_codebooks)
        floats, decided, margin, samples = (x.cpu().numpy() for x in (latents, codes, margins, wav[:, 0]))
        for item, own in enumerate(decided):
            end = None if frames is None else frames[item]
            self.near_ties.decide(floats[item], own, margin[item], samples[item], first, end)
        return torch.from_numpy(decided).to(codes.device)

    def _exact_encoder(self) -> ExactEncoder:
        """Encoder, scale and quantizer in float64, kept until a weight changes."""
        tensors = [*self.encoder.state_dict().values(), *self.scale.buffers(), *self.quantizer.state_dict().values()]
        counted = not any(t.is_inference() for t in tensors)  # weights made in inference mode could change unseen
        key = tuple(n for t in tensors for n in (t._version, t.data_ptr())) if counted else ()
        if self._exact is None or self._exact[0] != key or not counted:
            encoder = copy.deepcopy(self.encoder)
            fold_weight_norm(encoder)
            parts = {"encoder": encoder, "scale": self.scale, "quantizer": self.quantizer}
            weights = {
                f"{part}.{name}": tensor.detach().float().cpu().numpy()
                for part, module in parts.items()
                for name, tensor in module.state_dict().items()
            }
            self._exact = key, ExactEncoder(self._config, weights, Quantizer(self._config, weights))
        return self._exact[1]

    def _latents_of(self, codes: npt.NDArray[np.integer]) -> Tensor:
        if codes.ndim == 2 and codes.shape[1] == 0:
            return self.scale.mean.new_zeros(1, self.quantizer.codebook_dim, 0)
        if codes.ndim != 2:
            raise TokenFileError(f"need codes of shape [K, T], got {list(codes.shape)}")
        return self.quantizer.decode(self._check_codes(codes))

    def _frames_of(self, samples: Sequence[int]) -> Tensor:
        return torch.tensor([-(-n // self.hop_length) for n in samples])

    def _finite(self, wav: Tensor) -> Tensor:
        if not torch.isfinite(wav).all():
            raise AudioError("audio holds NaN or infinite samples")
        return wav.to(self.device)

    def _pad(self, wav: Tensor) -> Tensor:
        return F.pad(wav, (0, -wav.shape[-1] % self.hop_length))

    def _as_batch(
        self, wav: Audio, sample_rate: int | None, lengths: Lengths | None, normalize: bool
    ) -> tuple[Tensor, list[int]]:
        """Audio `[B, 1, S']` at the codec's rate, with zeros behind the end of each item; samples of each item."""
        tensor = _float_samples(wav)
        items, samples = batch_shape(tensor.shape, is_batch=lengths is not None)
        tensor, ends = tensor.reshape(items, 1, samples), check_lengths(lengths, items, samples)
        rate = self.sample_rate if sample_rate is None else whole_hertz(sample_rate)
        if rate != self.sample_rate or normalize:
            level_db = self.level_db if normalize else None
            arrays = tensor.detach().cpu().numpy()
            found = [prepare(one, rate, self.sample_rate, level_db, n).samples for one, n in zip(arrays, ends)]
            tensor = pad_sequence([torch.from_numpy(one) for one in found], batch_first=True)[:, None]
            return tensor.to(self.device), [len(one) for one in found]
        if lengths is not None:
            inside = torch.arange(samples, device=tensor.device) < torch.tensor(ends, device=tensor.device)[:, None]
            tensor = tensor.where(inside[:, None], 0)
        return self._finite(tensor), ends

    def _check_latents(self, latents: Tensor) -> None:
        width = self.quantizer.codebook_dim
        if latents.dim() != 3 or latents.shape[1] != width or not latents.is_floating_point():
            raise AudioError(f"need float latents of shape [B, {width}, T], got {latents.dtype} {list(latents.shape)}")

    def _check_codes(self, codes: Tensor | npt.NDArray[np.integer]) -> Tensor:
        if not isinstance(codes, Tensor):  # copied: torch warns of read-only arrays
            codes = torch.from_numpy(np.array(codes, np.int64 if np.asarray(codes).dtype.kind in "iu" else None))
        if codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
            raise TokenFileError(f"need integer codes, got {codes.dtype}")
        self._check_code_shape(codes.shape)
        batch = (codes.unsqueeze(0) if codes.dim() == 2 else codes).to(self.device, torch.int64)
        self._check_code_range(int(batch.min()), int(batch.max()))
        return batch


def _float_samples(wav: Tensor | FloatArray) -> Tensor:
    """float32; integers are refused, because nothing says what their full scale is."""
    if not isinstance(wav, Tensor):
        return torch.from_numpy(float_samples(wav))  # a copy: torch warns of read-only arrays
    if not wav.is_floating_point():
        raise AudioError(f"need float samples in [-1, 1], got {wav.dtype}; divide 16-bit integers by 32768")
    return wav.float()


def _sound(latents: Tensor) -> Tensor:
    """Latents as they are; finite weights can still give others.

    Raises:
        NotFinite: the nearest code of NaN would be one like any other.
    """
    if not bool(torch.isfinite(latents).all()):
        raise NotFinite("the encoder gives NaN or infinite latents: its weights are not sound")
    return latents
