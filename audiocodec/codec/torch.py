"""The codec on torch: waveform -> latents -> codes -> latents -> waveform.

Chunks, streams and the checks of what comes in are those of `codec.torch_coder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audiocodec.codec.float32 import float32_inference
from audiocodec.codec.inputs import check_tokens
from audiocodec.codec.torch_coder import Audio, Lengths, TorchCoder
from audiocodec.errors import FingerprintMismatch
from audiocodec.nn.conv import fold_weight_norm
from audiocodec.nn.pitch import Pitch
from audiocodec.nn.voiced_decoder import VoicedDecoder
from audiocodec.quantization.base import QuantizerOutput, Stage
from audiocodec.tokens.token_file import TokenFile


class EncodedBatch(NamedTuple):
    """Codes of a padded batch."""

    codes: Tensor  # int64 [B, K, T], 0 behind the end of an item
    frames: Tensor  # int64 [B], frames of each item

    @property
    def mask(self) -> Tensor:
        """bool `[B, T]`: which frames are the items' own."""
        return torch.arange(self.codes.shape[-1], device=self.frames.device) < self.frames[:, None]


class CodecOutput(NamedTuple):
    """What a training step needs of a forward pass."""

    estimate: Tensor  # [B, 1, S]
    latents: Tensor  # [B, D, T] scaled, before quantization
    quantizer: QuantizerOutput | None  # None while the autoencoder warms up
    pitch: Pitch | None = None  # what a voiced decoder says


class Codec(TorchCoder):
    """Encoder, quantizer and decoder of one channel, at one sample rate; channels are coded as items of a batch.

    Example:
        >>> codec = audiocodec.load(runtime="torch")
        >>> codes = codec.encode(0.01 * torch.randn(2, 1, 24_000))
        >>> codes.shape, codec.decode(codes).shape
        (torch.Size([2, 1, 75]), torch.Size([2, 1, 24000]))
        >>> codec.embed(codes).shape  # the vectors of the codes
        torch.Size([2, 32, 75])
    """

    @classmethod
    def from_pretrained(
        cls, model: str, *, revision: str | None = None, fingerprint: str | None = None, device: str = "cpu"
    ) -> Codec:
        """A codec from a repository on a hub, a folder, or by any other name that `audiocodec.load` takes.

        Args:
            model: `org/name`, or another name.
            revision: branch, tag or commit of a repository.
            fingerprint: that the codec must have, 16 hexadecimal digits; None: any.
            device: `cpu`, `cuda`, `cuda:1`.

        Raises:
            CheckpointError, HubError: as for `audiocodec.load`.
            FingerprintMismatch: another codec.
        """
        from audiocodec import load

        codec = load(f"{model}@{revision}" if revision else model, runtime="torch", device=device)
        if fingerprint not in (None, codec.fingerprint.hex()):
            raise FingerprintMismatch(
                f"{model}: is model {codec.fingerprint.hex()}, not {fingerprint}, as was asked for"
            )
        return codec

    def save_pretrained(
        self, folder: str | Path, *, license: str = "unknown", tags: Sequence[str] = (), card: str | Path | None = None
    ) -> Path:
        """Write a folder for `audiocodec.load`, transformers and hubs; see `audiocodec.save_pretrained`."""
        from audiocodec import save_pretrained

        return save_pretrained(self, folder, license=license, tags=tags, card=card)

    def push_to_hub(
        self,
        repository: str,
        *,
        license: str = "unknown",
        tags: Sequence[str] = (),
        card: str | Path | None = None,
        private: bool = False,
    ) -> str:
        """Upload to a repository on a hub, `org/name`; see `audiocodec.push`."""
        from audiocodec import push

        return push(self, repository, license=license, tags=tags, card=card, private=private)

    def freeze(self) -> Codec:
        """Fold weight normalisation, switch to inference and drop gradients; returns itself."""
        fold_weight_norm(self)
        self.requires_grad_(False)
        return self.eval()

    def forward(
        self, wav: Tensor, quantize: bool = True, num_codebooks: int | None = None, pitch: Pitch | None = None
    ) -> CodecOutput:
        """Reconstruct `wav [B, 1, S]`.

        Args:
            wav: `[B, 1, S]` at the codec's sample rate.
            quantize: False passes the latents on as they are (autoencoder warm-up).
            num_codebooks: use only the first so many codebooks.
            pitch: that of `wav`, to drive the source of a voiced decoder; None: the pitch that it finds in the latents.

        Returns:
            `CodecOutput` whose estimate has S samples.
        """
        latents = self.scale(self.encoder(self._pad(wav)), settled=quantize)
        quantized = self.quantizer(latents, num_codebooks) if quantize else None
        entering, said = latents if quantized is None else quantized.quantized, None
        if isinstance(self.decoder, VoicedDecoder):
            estimate, said = self.decoder.voice(entering, pitch)
        else:
            estimate = self.decoder(entering)
        return CodecOutput(estimate[..., : wav.shape[-1]], latents, quantized, said)

    @overload
    def encode(
        self,
        wav: Audio,
        sample_rate: int | None = None,
        num_codebooks: int | None = None,
        lengths: None = None,
        normalize: bool = False,
    ) -> Tensor: ...

    @overload
    def encode(
        self,
        wav: Audio,
        sample_rate: int | None = None,
        num_codebooks: int | None = None,
        *,
        lengths: Lengths,
        normalize: bool = False,
    ) -> EncodedBatch: ...

    def encode(
        self,
        wav: Audio,
        sample_rate: int | None = None,
        num_codebooks: int | None = None,
        lengths: Lengths | None = None,
        normalize: bool = False,
    ) -> Tensor | EncodedBatch:
        """Encode audio to codes.

        Args:
            wav: float samples in [-1, 1], mono, numpy or torch: `[S]`, `[B, S]` or `[B, 1, S]`. Two rows `[2, S]` without
                `lengths` could be stereo and are refused: `[2, 1, S]` is a batch of two.
            sample_rate: whole Hz of `wav`; resampled when it is not the codec's. None: the codec's.
            num_codebooks: use only the first so many codebooks.
            lengths: samples of each item, 1 to S, at the rate of `wav`, of a padded batch. Each item is coded as it would
                be alone, whatever the padding holds.
            normalize: bring each item to the level that the codec was trained at, as the command line does. The factor is
                not returned; `audiocodec.compress` keeps it for decoding.

        Returns:
            int64 codes `[B, K, T]`, `T = ceil(S' / hop_length)` with S' samples at the codec's rate. With `lengths`
            `EncodedBatch`: the codes, 0 behind the end of an item, and the frames of each item.

        Raises:
            AudioError: an empty or multi-channel waveform, samples that are integers or not finite, a sample rate that
                cannot be, or lengths that are not those of the items.
        """
        self._check_codebooks(num_codebooks)
        batch, samples = self._as_batch(wav, sample_rate, lengths, normalize)
        frames = self._frames_of(samples)
        with float32_inference():
            codes = self._encode_batch(batch, frames, num_codebooks)
        codes = codes.clone()  # an ordinary tensor: outside of inference mode
        return codes if lengths is None else EncodedBatch(codes, frames.to(codes.device))

    def _encode_batch(self, batch: Tensor, ends: Tensor, num_codebooks: int | None) -> Tensor:
        """Codes `[B, K, T]` of `batch [B, 1, S]`, whose items end after `ends [B]` frames."""
        padded = self._pad(batch)
        total = padded.shape[-1] // self.hop_length
        parts = []
        for first, last, low, high in self._chunks(total, self.encoder_context):
            piece = padded[..., low * self.hop_length : high * self.hop_length]
            inside = (ends - low).clamp(0, high - low)
            parts.append(self._codes(piece, slice(first - low, last - low), inside, num_codebooks))
        codes = torch.cat(parts, -1)
        return codes * (torch.arange(total) < ends[:, None])[:, None].to(codes.device)

    def decode(self, codes: TokenFile | Tensor | npt.NDArray[np.integer], num_samples: int | None = None) -> Tensor:
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
            wav = torch.cat([self.decode(one, length) for one in codes.channel_codes], 1)
            return (wav.double() / codes.gain).float()
        batch = self._check_codes(codes)
        self._check_num_samples(num_samples, batch.shape[-1])
        with float32_inference():
            wav = self._decode_batch(batch)[..., :num_samples]
        return wav.clone()

    def _decode_batch(self, batch: Tensor) -> Tensor:
        """Audio `[B, 1, T * hop_length]` of `batch [B, K, T]`."""
        if self._sings:
            items = [torch.cat(list(self._streamed(item[None])), -1) for item in batch]
            return torch.cat(items)
        parts = []
        for first, last, low, high in self._chunks(batch.shape[-1], self.decoder_context):
            wav = self.decoder(self.quantizer.decode(batch[..., low:high]))
            parts.append(wav[..., (first - low) * self.hop_length : (last - low) * self.hop_length])
        return torch.cat(parts, -1)

    def latents(self, wav: Audio, sample_rate: int | None = None, normalize: bool = False) -> Tensor:
        """What the encoder makes of audio, before quantization, with gradient.

        Args:
            wav, sample_rate, normalize: as for `encode`. The gradient reaches a tensor at the codec's rate that is not
                normalized, and the encoder's weights where they require one.

        Returns:
            float32 `[B, D, T]` at the scale that the quantizer takes: mean 0 and RMS 1 over speech. `quantize` gives the
            codes of `encode` for them, but for latents as near to two codes as float32 rounds.

        Raises:
            AudioError: as for `encode`.
        """
        batch, _ = self._as_batch(wav, sample_rate, None, normalize)
        return self.scale.running(self.encoder(self._pad(batch)))

    def quantize(self, latents: Tensor, num_codebooks: int | None = None) -> QuantizerOutput:
        """Quantize latents, with gradient.

        Args:
            latents: float `[B, D, T]`, at the scale of `latents()`.
            num_codebooks: use only the first so many codebooks.

        Returns:
            `QuantizerOutput`: `codes` int64 `[B, K, T]`, and `quantized` float32 `[B, D, T]`, whose gradient reaches the
            latents (straight-through in most quantizers; `kmeans` has none); and the losses of a training step.

        Raises:
            AudioError: another shape, or codebooks that are not there.
        """
        self._check_codebooks(num_codebooks)
        self._check_latents(latents)
        output: QuantizerOutput = self.quantizer(latents.to(self.device), num_codebooks)
        return output

    def embed(self, codes: Tensor | npt.NDArray[np.integer]) -> Tensor:
        """The latents that codes stand for: the sum of their codebook vectors.

        Args:
            codes: as for `decode`.

        Returns:
            float32 `[B, D, T]`, with gradient to the codebooks where they require one. `codec.decoder` makes audio
            `[B, 1, T * hop_length]` of it, with gradient.

        Raises:
            TokenFileError: codes of the wrong shape or outside their codebook.
        """
        batch = self._check_codes(codes)
        stages = [stage for stage in self.quantizer.stages if isinstance(stage, Stage)]
        parts = [stage.lookup(batch[:, k : k + 1]) for k, stage in zip(range(batch.shape[1]), stages)]
        return torch.stack(parts).sum(0)
