"""A codec as the benchmark DASB takes it: the methods that its `Codec` leaves open (package `audiocodecs`).

`DasbCodec` holds them; docs/guide/suites.md has the class that joins both. `length` is, as there, the share of each row
that is signal, the rest is padding. Each item is coded as it is alone, whatever the padding holds; what lies behind its end
is 0. Signals keep their level, because the benchmark has no place for a factor.

B batch, T samples, N frames, K codebooks, C entries, H width of the latents.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiocodec.errors import UsageError
from audiocodec.loading import load
from audiocodec.quantization.base import Stage


class DasbCodec(nn.Module):
    """Name it before the benchmark's `Codec` among the base classes.

    Attributes:
        model: the codec, a `torch.nn.Module`.
        num_codebooks: K.
        vocab_size: C.
    """

    def __init__(
        self,
        sample_rate: int,
        mode: str = "reconstruct",
        model: str = "speech_24k",
        num_codebooks: int | None = None,
    ) -> None:
        """Load a model.

        Args:
            sample_rate: Hz of the signals that the benchmark gives; it resamples them to the codec's.
            mode: of the benchmark: `encode`, `decode` or `reconstruct`.
            model: see `audiocodec.load`.
            num_codebooks: use only the first so many; None: all.

        Raises:
            UsageError: more codebooks than the model has.
        """
        codec = load(model, runtime="torch")
        if num_codebooks is not None and not 1 <= num_codebooks <= codec.num_codebooks:
            raise UsageError(f"num_codebooks {num_codebooks}: {model} has 1 to {codec.num_codebooks}")
        super().__init__(sample_rate, codec.sample_rate, mode)
        self.model = codec
        self.num_codebooks = num_codebooks or codec.num_codebooks
        self.vocab_size = codec.codebook_sizes[0]

    @torch.no_grad()
    def embs(self) -> Tensor:
        """Latents `[K, C, H]` that each entry of each codebook stands for."""
        stages = [stage for stage in self.model.quantizer.stages if isinstance(stage, Stage)][: self.num_codebooks]
        entries = torch.arange(self.vocab_size, device=self.model.device)[None, None]
        return torch.cat([stage.lookup(entries) for stage in stages]).mT

    def _sig_to_toks(self, sig: Tensor, length: Tensor) -> Tensor:
        """Codes `[B, N, K]` of `sig [B, T]`."""
        coded = self.model.encode(sig[:, None], num_codebooks=self.num_codebooks, lengths=_ends(length, sig.shape[1]))
        return coded.codes.mT

    @torch.no_grad()
    def _sig_to_feats(self, sig: Tensor, length: Tensor) -> Tensor:
        """Latents `[B, N, H]` of `sig [B, T]`, before quantization."""
        frames = -(-sig.shape[1] // self.model.hop_length)
        return _alone(self.model.latents, sig[:, None], _ends(length, sig.shape[1]), frames)

    @torch.no_grad()
    def _sig_to_qfeats(self, sig: Tensor, length: Tensor) -> Tensor:
        """Latents `[B, N, H]` of `sig [B, T]`, after quantization."""
        coded = self.model.encode(sig[:, None], num_codebooks=self.num_codebooks, lengths=_ends(length, sig.shape[1]))
        return (self.model.embed(coded.codes) * coded.mask[:, None]).mT

    @torch.no_grad()
    def _toks_to_qfeats(self, toks: Tensor, length: Tensor) -> Tensor:
        """Latents `[B, N, H]` of `toks [B, N, K]`."""
        return _alone(self.model.embed, toks.mT, _ends(length, toks.shape[1]), toks.shape[1])

    def _toks_to_sig(self, toks: Tensor, length: Tensor) -> Tensor:
        """Samples `[B, N * hop]` of `toks [B, N, K]`."""
        samples = toks.shape[1] * self.model.hop_length
        return _alone(self.model.decode, toks.mT, _ends(length, toks.shape[1]), samples)[..., 0]


def _ends(length: Tensor, size: int) -> list[int]:
    """How many of `size` steps each item has, at least one."""
    return [int(end) for end in (length * size).round().clamp(1, size)]


def _alone(compute: Callable[[Tensor], Tensor], batch: Tensor, ends: list[int], size: int) -> Tensor:
    """`compute` of each item of `batch [B, ., S]` without its padding: `[B, size, H]`, 0 behind its end."""
    if all(end == batch.shape[-1] for end in ends):
        return compute(batch).mT
    items = [compute(item[None, :, :end])[0] for item, end in zip(batch, ends)]
    return torch.stack([F.pad(item, (0, size - item.shape[-1])) for item in items]).mT
