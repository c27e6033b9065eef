"""The codec: waveform -> latents -> codes -> latents -> waveform.

Coding is done in chunks whose overlap is the exact receptive field, so that memory does not grow with the length and
the result is that of the whole (but for float rounding). Models with an LSTM have no finite receptive field and are
coded whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiocodec.audio.io import MAX_RATE, MIN_RATE
from audiocodec.audio.resampling import resample
from audiocodec.errors import AudioError, TokenFileError
from audiocodec.near_ties import NearTies
from audiocodec.nn.conv import downsampling_context, fold_weight_norm, upsampling_context
from audiocodec.nn.istft_decoder import ISTFTDecoder
from audiocodec.nn.seanet import SEANetDecoder, SEANetEncoder
from audiocodec.nn.streaming import stream_of
from audiocodec.quantization.base import QuantizerOutput
from audiocodec.quantization.residual import ResidualQuantizer
from audiocodec.quantization.scale import LatentScale
from audiocodec.stream import DecoderStream, EncoderStream

CHUNK_SECONDS = 10.0

FloatArray = npt.NDArray[np.float32]
CodeArray = npt.NDArray[np.int32]


class CodecOutput(NamedTuple):
    """What a training step needs of a forward pass."""

    estimate: Tensor  # [B, 1, S]
    latents: Tensor  # [B, D, T] scaled, before quantization
    quantizer: QuantizerOutput | None  # None while the autoencoder warms up


class Codec(nn.Module):
    """Encoder, quantizer and decoder at one sample rate, mono."""

    def __init__(
        self,
        encoder: SEANetEncoder,
        scale: LatentScale,
        quantizer: ResidualQuantizer,
        decoder: SEANetDecoder | ISTFTDecoder,
        *,
        sample_rate: int,
        hop_length: int,
        level_db: float,
    ) -> None:
        """Put the parts together; `build.build_codec` makes them from a configuration.

        Args:
            encoder: `[B, 1, S] -> [B, D, T]`.
            scale: fixes the scale of the latents.
            quantizer: `[B, D, T] -> codes [B, K, T]`.
            decoder: `[B, D, T] -> [B, 1, S]`.
            sample_rate: Hz.
            hop_length: samples per frame.
            level_db: RMS in dB full scale that the codec was trained at.
        """
        super().__init__()
        self.encoder, self.scale, self.quantizer, self.decoder = encoder, scale, quantizer, decoder
        self.sample_rate, self.hop_length, self.level_db = sample_rate, hop_length, level_db
        self._fingerprint: bytes | None = None
        self.near_ties = NearTies(encoder, scale, quantizer, self.encoder_halo, hop_length)

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_length

    @property
    def num_codebooks(self) -> int:
        """Number of codebooks K."""
        return self.quantizer.num_codebooks

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
            digest = hashlib.sha256(f"{self.sample_rate} {self.hop_length} {self.codebook_sizes}".encode())
            for name, tensor in sorted(self.state_dict().items()):
                digest.update(name.encode())
                digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
            self._fingerprint = digest.digest()[:8]
        return self._fingerprint

    def freeze(self) -> Codec:
        """Fold weight normalisation, switch to inference and drop gradients; returns itself."""
        fold_weight_norm(self)
        self.requires_grad_(False)
        return self.eval()

    def forward(self, wav: Tensor, quantize: bool = True, num_codebooks: int | None = None) -> CodecOutput:
        """Reconstruct `wav [B, 1, S]`.

        Args:
            wav: `[B, 1, S]` at the codec's sample rate.
            quantize: False passes the latents on as they are (autoencoder warm-up).
            num_codebooks: use only the first so many codebooks.

        Returns:
            `CodecOutput` whose estimate has S samples.
        """
        latents = self.scale(self.encoder(self._pad(wav)))
        quantized = self.quantizer(latents, num_codebooks) if quantize else None
        estimate = self.decoder(latents if quantized is None else quantized.quantized)
        return CodecOutput(estimate[..., : wav.shape[-1]], latents, quantized)

    @torch.inference_mode()
    def encode(
        self,
        wav: Tensor | FloatArray,
        sample_rate: int | None = None,
        num_codebooks: int | None = None,
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """Encode audio to codes.

        Args:
            wav: float samples in [-1, 1], `[B, 1, S]`, `[1, S]` or `[S]`, mono.
            sample_rate: whole Hz of `wav`; resampled when it is not the codec's. None: the codec's.
            num_codebooks: use only the first so many codebooks.
            lengths: samples of each item, 1 to S, of a batch whose items differ; needs audio at the codec's rate.

        Returns:
            int64 codes `[B, K, T]`, `T = ceil(S' / hop_length)` with S' samples at the codec's rate. With `lengths`
            item i has its own `ceil(lengths[i] / hop_length)` frames, whatever lies beyond; the others are 0.

        Raises:
            AudioError: an empty or multi-channel waveform, samples that are integers or not finite, a sample rate that
                cannot be, or lengths that are not those of the items.
        """
        batch = self._as_batch(wav, sample_rate)
        self._check_codebooks(num_codebooks)
        if lengths is not None:
            batch = self._without_rest(batch, lengths)
        padded = self._pad(batch)
        total = padded.shape[-1] // self.hop_length
        ends = torch.full((len(padded),), total) if lengths is None else self._frames_of(lengths)
        parts = []
        for first, last, low, high in self._chunks(total, self.encoder_halo, CHUNK_SECONDS):
            piece = padded[..., low * self.hop_length : high * self.hop_length]
            inside = (ends - low).clamp(0, high - low)
            parts.append(self._codes(piece, slice(first - low, last - low), inside, num_codebooks))
        codes = torch.cat(parts, -1)
        return codes * (torch.arange(total) < ends[:, None])[:, None].to(codes.device)

    @torch.inference_mode()
    def decode(self, codes: Tensor | npt.NDArray[np.integer], num_samples: int | None = None) -> Tensor:
        """Decode codes to audio.

        Args:
            codes: integers `[B, K, T]` or `[K, T]`; K may be fewer than the codec has.
            num_samples: cut the result to so many samples, at most `T * hop_length`.

        Returns:
            float32 `[B, 1, T * hop_length]`, or `[B, 1, num_samples]`.

        Raises:
            TokenFileError: codes of the wrong shape or outside their codebook, or fewer samples in them.
        """
        batch = self._check_codes(codes)
        self._check_num_samples(num_samples, batch.shape[-1])
        parts = []
        for first, last, low, high in self._chunks(batch.shape[-1], self.decoder_halo, CHUNK_SECONDS):
            wav = self.decoder(self.quantizer.decode(batch[..., low:high]))
            parts.append(wav[..., (first - low) * self.hop_length : (last - low) * self.hop_length])
        return torch.cat(parts, -1)[..., :num_samples]

    def encode_blocks(
        self, blocks: Iterable[FloatArray], num_codebooks: int | None = None, chunk_seconds: float | None = None
    ) -> Iterator[CodeArray]:
        """Encode a stream of mono blocks `[n]` at the codec's rate in bounded memory.

        Args:
            blocks: consecutive pieces of one signal, any sizes.
            num_codebooks: use only the first so many codebooks.
            chunk_seconds: of audio coded at once; changes nothing but speed and memory. None: `CHUNK_SECONDS`.

        Yields:
            int32 codes `[K, t]`; together those of `encode` on the whole signal.

        Raises:
            AudioError: samples that are integers or not finite.
        """
        self._check_codebooks(num_codebooks)
        chunk = self._chunk_frames(CHUNK_SECONDS if chunk_seconds is None else chunk_seconds) * self.hop_length
        left, right = (n * self.hop_length for n in self.encoder_halo)
        pending = np.zeros(0, np.float32)  # left context, the chunk to encode, right context
        context = 0  # samples of `pending` that are left context
        source = iter(blocks)
        finished = False
        while not finished or len(pending) > context:
            while not finished and len(pending) < context + chunk + right:
                block = next(source, None)
                finished = block is None
                if block is not None:
                    pending = np.concatenate([pending, _float_samples(block).numpy()])
            size = min(chunk, len(pending) - context)
            if size > 0:
                yield self._encode_piece(pending[: context + chunk + right], context, size, num_codebooks)
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
        for first, last, low, high in self._chunks(codes.shape[-1], self.decoder_halo, CHUNK_SECONDS):
            with torch.inference_mode():
                piece = self._check_codes(codes[:, low:high])
                wav = self.decoder(self.quantizer.decode(piece))[0, 0]
            wav = wav[(first - low) * self.hop_length : (last - low) * self.hop_length][:left]
            left -= len(wav)
            yield wav.cpu().numpy()

    @property
    def encoder_halo(self) -> tuple[int, int]:
        """Frames of context (before, after) that a frame's codes depend on."""
        left, right = downsampling_context(self.encoder.modules())
        return -(-left // self.hop_length), -(-right // self.hop_length)

    @property
    def decoder_halo(self) -> tuple[int, int]:
        """Frames of context (before, after) that a frame's samples depend on."""
        left, right = self._decoder_reach
        return -(-left // self.hop_length), -(-right // self.hop_length)

    @property
    def latency_samples(self) -> int:
        """Algorithmic latency: samples, from an instant on, that must be known before it can be put out."""
        return self.encoder_latency_samples + self.decoder_latency_samples

    @property
    def encoder_latency_samples(self) -> int:
        """Samples, from a frame's first on, that must be known before its codes are."""
        return self.hop_length + downsampling_context(self.encoder.modules())[1]

    @property
    def decoder_latency_samples(self) -> int:
        """Samples after an instant whose frames must be known before it can be put out."""
        return self._decoder_reach[1]

    def stream_encoder(self, num_codebooks: int | None = None) -> EncoderStream:
        """A context that takes samples of one signal, in pieces of any size, and gives codes as soon as they are sure.

        Args:
            num_codebooks: use only the first so many codebooks.

        Raises:
            AudioError: codebooks that are not there.
        """
        self._check_codebooks(num_codebooks)
        return EncoderStream(
            stream_of(self.encoder),
            self.scale.running,
            lambda latents, wav, first, frames: self._quantized(latents, wav, first, frames, num_codebooks),
            lambda samples: self._finite(_float_samples(samples).reshape(1, 1, -1)),
            hop_length=self.hop_length,
            halo=self.encoder_halo[0],
            latency_samples=self.encoder_latency_samples,
        )

    def stream_decoder(self) -> DecoderStream:
        """A context that takes codes of one signal, any number at a time, and gives samples as soon as they are sure."""
        return DecoderStream(stream_of(self.decoder), self._latents_of, latency_samples=self.decoder_latency_samples)

    @property
    def _decoder_reach(self) -> tuple[int, int]:
        """Samples before and after an output sample that decide which frames it depends on."""
        left, right = upsampling_context(self.decoder.modules())
        if isinstance(self.decoder, ISTFTDecoder):  # its convolutions run at the frame rate; a sample sums its windows
            head = self.decoder.head
            left = left * self.hop_length + head.n_fft - self.hop_length - head.trim_left
            right = right * self.hop_length + head.trim_left
        return left, right

    @property
    def has_lstm(self) -> bool:
        """Whether a recurrent layer makes the receptive field unbounded."""
        return any(isinstance(layer, nn.LSTM) for layer in self.modules())

    def _chunk_frames(self, seconds: float) -> int:
        return 2**62 if self.has_lstm else max(1, round(seconds * self.frame_rate))

    def _chunks(self, frames: int, halo: tuple[int, int], seconds: float) -> Iterator[tuple[int, int, int, int]]:
        """(first, last, low, high): frames to keep and frames to compute, over all of them."""
        for first in range(0, frames, self._chunk_frames(seconds)):
            last = min(frames, first + self._chunk_frames(seconds))
            yield first, last, max(0, first - halo[0]), min(frames, last + halo[1])

    def _encode_piece(self, piece: FloatArray, context: int, size: int, num_codebooks: int | None) -> CodeArray:
        """Codes of `size` samples of `piece` after its first `context`."""
        if not np.isfinite(piece).all():
            raise AudioError("audio holds NaN or infinite samples")
        with torch.inference_mode():
            wav = torch.from_numpy(np.ascontiguousarray(piece)).to(self.device)[None, None]
            first, last = context // self.hop_length, -(-(context + size) // self.hop_length)
            padded = self._pad(wav)
            frames = torch.tensor([padded.shape[-1] // self.hop_length])
            codes: CodeArray = self._codes(padded, slice(first, last), frames, num_codebooks)[0].int().cpu().numpy()
        return codes

    def _codes(self, padded: Tensor, kept: slice, frames: Tensor, num_codebooks: int | None) -> Tensor:
        """Codes `[B, K, t]` of the frames `kept` of `padded [B, 1, S]`, whose items end after `frames [B]` frames."""
        ragged = bool((frames * self.hop_length != padded.shape[-1]).any())
        raw = self.encoder(padded, frames.to(self.device)) if ragged else self.encoder(padded)
        latents = self.scale.running(raw)[..., kept]
        return self._quantized(latents, padded, kept.start, frames.tolist(), num_codebooks)

    def _quantized(
        self, latents: Tensor, wav: Tensor, first: int, frames: list[int] | None, num_codebooks: int | None
    ) -> Tensor:
        if self.has_lstm:  # each frame depends on all before it: none can be looked at again by itself
            return self.quantizer.encode(latents, num_codebooks)
        return self.near_ties.encode(latents, wav, first, frames, num_codebooks)

    def _latents_of(self, codes: npt.NDArray[np.integer]) -> Tensor:
        if codes.ndim == 2 and codes.shape[1] == 0:
            return self.scale.mean.new_zeros(1, self.quantizer.codebook_dim, 0)
        if codes.ndim != 2:
            raise TokenFileError(f"need codes of shape [K, T], got {list(codes.shape)}")
        return self.quantizer.decode(self._check_codes(codes))

    def _without_rest(self, batch: Tensor, lengths: Sequence[int]) -> Tensor:
        """The batch with zeros after the end of each item."""
        if len(lengths) != len(batch) or not all(1 <= n <= batch.shape[-1] for n in lengths):
            raise AudioError(f"need {len(batch)} lengths of 1 to {batch.shape[-1]} samples, got {list(lengths)}")
        ends = torch.tensor(list(lengths), device=batch.device)
        return batch.where((torch.arange(batch.shape[-1], device=batch.device) < ends[:, None])[:, None], 0)

    def _frames_of(self, lengths: Sequence[int]) -> Tensor:
        return torch.tensor([-(-n // self.hop_length) for n in lengths])

    def _finite(self, wav: Tensor) -> Tensor:
        if not torch.isfinite(wav).all():
            raise AudioError("audio holds NaN or infinite samples")
        return wav.to(self.device)

    def _pad(self, wav: Tensor) -> Tensor:
        return F.pad(wav, (0, -wav.shape[-1] % self.hop_length))

    def _as_batch(self, wav: Tensor | FloatArray, sample_rate: int | None) -> Tensor:
        tensor = _float_samples(wav)
        while tensor.dim() < 3:
            tensor = tensor.unsqueeze(0)
        if tensor.dim() != 3 or tensor.shape[0] == 0 or tensor.shape[1] != 1:
            raise AudioError(f"need mono audio of shape [B, 1, S], [1, S] or [S], got {list(tensor.shape)}")
        if tensor.shape[-1] == 0:
            raise AudioError("cannot encode audio without samples")
        self._finite(tensor)
        rate = self.sample_rate if sample_rate is None else _whole_hertz(sample_rate)
        if rate != self.sample_rate:
            items = [resample(item.cpu().numpy(), rate, self.sample_rate) for item in tensor]
            tensor = torch.from_numpy(np.stack(items))
        return tensor.to(self.device)

    def _check_codebooks(self, num_codebooks: int | None) -> None:
        if num_codebooks is not None and not 1 <= num_codebooks <= self.num_codebooks:
            raise AudioError(f"num_codebooks {num_codebooks}: this codec has 1 to {self.num_codebooks}")

    def _check_num_samples(self, num_samples: int | None, frames: int) -> None:
        held = frames * self.hop_length
        if num_samples is not None and not (isinstance(num_samples, Integral) and 0 <= num_samples <= held):
            raise TokenFileError(f"num_samples {num_samples}: {frames} frames hold 0 to {held}")

    def _check_codes(self, codes: Tensor | npt.NDArray[np.integer]) -> Tensor:
        if not isinstance(codes, Tensor):  # copied: torch warns of read-only arrays
            codes = torch.from_numpy(np.array(codes, np.int64 if np.asarray(codes).dtype.kind in "iu" else None))
        if codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
            raise TokenFileError(f"need integer codes, got {codes.dtype}")
        batch = codes.unsqueeze(0) if codes.dim() == 2 else codes
        if batch.dim() != 3 or not 1 <= batch.shape[1] <= self.num_codebooks or 0 in batch.shape:
            raise TokenFileError(
                f"need codes of shape [B, K, T] or [K, T] with 1 <= K <= {self.num_codebooks}, got {list(codes.shape)}"
            )
        if batch.min() < 0 or batch.max() >= self.quantizer.codebook_size:
            raise TokenFileError(f"codes outside 0 to {self.quantizer.codebook_size - 1}")
        return batch.to(self.device, torch.int64)


def _float_samples(wav: Tensor | FloatArray) -> Tensor:
    """float32; integers are refused, because nothing says what their full scale is."""
    array = wav if isinstance(wav, Tensor) else np.asarray(wav)
    if not (array.is_floating_point() if isinstance(array, Tensor) else array.dtype.kind == "f"):
        raise AudioError(f"need float samples in [-1, 1], got {array.dtype}; divide 16-bit integers by 32768")
    if isinstance(array, Tensor):
        return array.float()
    return torch.from_numpy(np.array(array, np.float32))  # a copy: torch warns of read-only arrays


def _whole_hertz(sample_rate: float) -> int:
    """44100 and 44100.0 are the same rate; everything that is none is refused."""
    if not isinstance(sample_rate, (int, float, np.number)) or not MIN_RATE <= sample_rate <= MAX_RATE:
        raise AudioError(f"sample_rate {sample_rate!r}: need whole Hz, {MIN_RATE} to {MAX_RATE}")
    if sample_rate != int(sample_rate):
        raise AudioError(f"sample_rate {sample_rate!r}: need whole Hz")
    return int(sample_rate)
