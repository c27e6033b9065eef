"""The codec live: samples in, codes out; codes in, samples out; each as soon as it is determined.

Every layer carries its state (`nn.streaming`), so nothing is computed twice and memory does not grow. What comes out is
what `Codec.encode` and `Codec.decode` give for the whole. Each stream is a context; after it nothing more goes in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from audiocodec.codec.float32 import float32_inference
from audiocodec.errors import AudioError
from audiocodec.nn.streaming import Stream

if TYPE_CHECKING:
    from typing_extensions import Self

LARGEST_STEP = 64  # frames at once; more would only take more memory

Samples = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int32]


class _Context:
    """Open until it is left or finished."""

    def __init__(self) -> None:
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open = False

    def _still_open(self, last: bool) -> None:
        if not self._open:
            raise AudioError("this stream has ended; begin another")
        self._open = not last


class EncoderStream(_Context):
    """Samples to codes; made by `Codec.stream_encoder`."""

    def __init__(
        self,
        stream: Stream,
        scaled: Callable[[Tensor], Tensor],
        quantize: Callable[[Tensor, Tensor, int, list[int] | None], Tensor],
        checked: Callable[[Samples], Tensor],
        *,
        hop_length: int,
        context: int,
        latency_samples: int,
    ) -> None:
        """Put the parts together.

        Args:
            stream: the encoder's.
            scaled: scales its latents.
            quantize: `NearTies.encode` but for the number of codebooks.
            checked: mono samples `[1, 1, n]`, or an error.
            hop_length: samples per frame.
            context: frames of past that a frame depends on.
            latency_samples: see `Codec.encoder_latency_samples`.
        """
        super().__init__()
        self._stream, self._scaled, self._quantize, self._checked = stream, scaled, quantize, checked
        self._hop_length, self._context = hop_length, context
        self.latency_samples = latency_samples
        self._waiting: Tensor | None = None  # samples that complete no frame yet
        self._early = latency_samples % hop_length  # of the first samples, so that each further hop completes a frame
        self._past: Tensor | None = None  # samples of the frames that near-ties may still need
        self._first = 0  # the frame its first sample belongs to
        self._done = 0  # frames put out
        self._received = 0  # samples

    def push(self, samples: Samples) -> Codes:
        """Take the next samples, `[n]` floats in [-1, 1], any `n`; returns int32 codes `[K, t]`, `t` 0 or more.

        Raises:
            AudioError: samples that are integers or not finite, or a stream that has ended.
        """
        return self._step(samples, last=False)

    def finish(self) -> Codes:
        """End the signal; returns the codes `[K, t]` that are left, the last frame filled up with zeros."""
        return self._step(np.zeros(0, np.float32), last=True)

    @float32_inference()
    def _step(self, samples: Samples, last: bool) -> Codes:
        self._still_open(last)
        wav = self._checked(samples)
        self._received += wav.shape[-1]
        waiting = wav if self._waiting is None else torch.cat([self._waiting, wav], -1)
        parts = []
        for size in self._sizes(waiting.shape[-1]):
            parts.append(self._advance(waiting[..., :size], last=False))
            waiting = waiting[..., size:]
        self._waiting = waiting.clone()
        if last or not parts:
            rest = F.pad(waiting, (0, -self._received % self._hop_length)) if last else waiting[..., :0]
            parts.append(self._advance(rest, last))
        found: Codes = torch.cat(parts, -1)[0].int().cpu().numpy()
        return found

    def _sizes(self, samples: int) -> Iterator[int]:
        """Pieces of so many samples at most, each but the first of whole frames."""
        if samples >= self._early:
            samples -= self._early
            if self._early:
                yield self._early
            self._early = 0
            yield from (count * self._hop_length for count in few_sizes(samples // self._hop_length))

    def _advance(self, wav: Tensor, last: bool) -> Tensor:
        """Codes `[1, K, t]` that the next samples `[1, 1, n]` determine."""
        past = wav if self._past is None else torch.cat([self._past, wav], -1)
        latents = self._scaled(self._stream.step(wav, last))
        end = [past.shape[-1] // self._hop_length] if last else None
        codes = self._quantize(latents, past, self._done - self._first, end)
        self._done += codes.shape[-1]
        first = max(0, self._done - self._context)
        self._past = past[..., (first - self._first) * self._hop_length :].clone()
        self._first = first
        return codes


class DecoderStream(_Context):
    """Codes to samples; made by `Codec.stream_decoder`."""

    def __init__(
        self, stream: Stream, latents_of: Callable[[npt.NDArray[np.integer]], Tensor], *, latency_samples: int
    ) -> None:
        """Put the parts together.

        Args:
            stream: the decoder's.
            latents_of: `[1, D, t]` of codes `[K, t]`, or an error.
            latency_samples: see `Codec.decoder_latency_samples`.
        """
        super().__init__()
        self._stream, self._latents_of = stream, latents_of
        self.latency_samples = latency_samples

    def push(self, codes: npt.NDArray[np.integer]) -> Samples:
        """Take the next codes, integers `[K, t]`, any `t`; returns float32 samples `[n]`, `n` 0 or more.

        Raises:
            TokenFileError: codes of the wrong shape or outside their codebook.
            AudioError: a stream that has ended.
        """
        return self._step(codes, last=False)

    def finish(self) -> Samples:
        """End the signal; returns the samples `[n]` that are left."""
        return self._step(None, last=True)

    @float32_inference()
    def _step(self, codes: npt.NDArray[np.integer] | None, last: bool) -> Samples:
        self._still_open(last)
        latents = self._latents_of(np.zeros((1, 0), np.int32) if codes is None else codes)
        steps = [self._stream.step(piece, last=False) for piece in _split(latents)]
        if last or not steps:
            steps.append(self._stream.step(latents[..., :0], last))
        samples: Samples = torch.cat(steps, -1)[0, 0].cpu().numpy()
        return samples


def few_sizes(frames: int) -> Iterator[int]:
    """Powers of two that add up to `frames`: kernels are made, and kept, for each size they meet."""
    while frames:
        size = min(LARGEST_STEP, 1 << (frames.bit_length() - 1))
        yield size
        frames -= size


def _split(latents: Tensor) -> tuple[Tensor, ...]:
    """Pieces of `latents [1, D, t]` along time; none of nothing."""
    sizes = list(few_sizes(latents.shape[-1]))
    return latents.split(sizes, -1) if sizes else ()
