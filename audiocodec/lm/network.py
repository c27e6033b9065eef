"""A causal transformer over codes: the codec's own vectors go in, addresses come out, digit by digit.

Each step of the sequence is one frame (of several codebooks: one column of the delay pattern, `lm_tokens.delay`) and takes as
many positions as addresses have digits. The first position of a step sees the code vectors of the step before and predicts
the leading digit of each code; the next one sees these digits and predicts the following ones. Beginning, end and padding
are further values of the leading digit, so all probabilities are of one normalised distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel

from audiocodec.lm_tokens.vocabulary import Vocabulary
from audiocodec.nn.exact.integers import ONE
from audiocodec.prior.network import code_vectors
from audiocodec.tokens.address import addresses_of, digit_sizes, digits_of

SPECIALS = 3  # PAD, BOS, EOS
FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True)
class LMConfig:
    """Sizes of a language model.

    Attributes:
        codec: fingerprint of the codec whose codes it models, hexadecimal.
        codebook_sizes: of that codec [K].
        dim: width.
        layers, heads: of the transformer.
        context: steps that it was trained on, and sees at most.
        vector_dim: principal components of the code vectors that it is given.
    """

    codec: str
    codebook_sizes: tuple[int, ...]
    dim: int = 256
    layers: int = 6
    heads: int = 4
    context: int = 512
    vector_dim: int = 32

    @property
    def vocabulary(self) -> Vocabulary:
        """Ids of codes and specials, shared by all codebooks."""
        return Vocabulary(self.codebook_sizes, shared=True)

    @property
    def digits(self) -> tuple[tuple[int, ...], ...]:
        """Values of each digit of each codebook; the specials are further values of the first."""
        return tuple((sizes[0] + SPECIALS, *sizes[1:]) for sizes in map(digit_sizes, self.codebook_sizes))

    @property
    def positions(self) -> int:
        """Of a step."""
        return max(map(len, self.digits))

    @property
    def reserved(self) -> int:
        """Features that no layer writes to: which position of a step it is, and the bits of the leading digit.

        A plain Llama tells valid from invalid next tokens by them (`lm.export`); models that it cannot be have none.
        """
        exportable = len(self.codebook_sizes) == 1 and self.positions == 2
        return 1 + (self.digits[0][0] - SPECIALS - 1).bit_length() if exportable else 0


class TokenLM(nn.Module):
    """Ids `[B, K, T]` to the nats of each."""

    def __init__(self, config: LMConfig, tables: Sequence[FloatArray] | None = None) -> None:
        """Draw weights.

        Args:
            config: sizes.
            tables: the code vectors `[V, D]` of each codebook of the codec; None: they come with a state that is loaded.
        """
        super().__init__()
        self.config = config
        self.codebooks = nn.ModuleList(_Codebook(config, k) for k in range(len(config.codebook_sizes)))
        for book, table in zip(self.books(), tables or ()):
            book.fill(table)
        self.body = LlamaModel(
            LlamaConfig(
                vocab_size=1,
                hidden_size=config.dim,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                intermediate_size=config.dim * 8 // 3 // 16 * 16,
                max_position_embeddings=config.positions * config.context,
                pad_token_id=None,
                bos_token_id=None,
                eos_token_id=None,
            )
        )
        self._reserve(config.reserved)

    def forward(self, ids: Tensor) -> Tensor:
        """Nats `[B, K, T - 1]` of the ids after the first, given those before; nothing but a code or a special takes any.

        Args:
            ids: `[B, K, T]` of `LMConfig.vocabulary`, in delayed order.
        """
        given, wanted = ids[..., :-1], ids[..., 1:]
        hidden = self.body(inputs_embeds=self.embed(given, wanted)).last_hidden_state
        hidden = hidden.unflatten(1, (-1, self.config.positions))
        nats = [book.nats(hidden, wanted[:, k]) for k, book in enumerate(self.books())]
        return torch.stack(nats, 1)

    def embed(self, given: Tensor, wanted: Tensor) -> Tensor:
        """Inputs `[B, T * positions, dim]` of steps `[B, K, T]` and of the digits of the steps after each."""
        parts = [self.embed_step(given)]
        parts += [
            self.embed_digits([book.digits_of(wanted[:, k])[..., :j] for k, book in enumerate(self.books())])
            for j in range(1, self.config.positions)
        ]
        return torch.stack(parts, 2).flatten(1, 2)

    def embed_step(self, ids: Tensor) -> Tensor:
        """Inputs `[B, T, dim]` of the first positions of the steps after `ids [B, K, T]`."""
        total = sum(book.enter(ids[:, k]) for k, book in enumerate(self.books()))
        return self._marked(torch.as_tensor(total), None)

    def embed_digits(self, digits: Sequence[Tensor]) -> Tensor:
        """Inputs `[B, T, dim]` of a later position, of the digits `[B, T, j]` of each codebook so far."""
        total = sum(book.given(found) for book, found in zip(self.books(), digits))
        return self._marked(torch.as_tensor(total), digits[0][..., 0])

    def digit_logits(self, hidden: Tensor, j: int) -> list[Tensor | None]:
        """Logits `[B, values]` of digit j of each codebook, from hidden states `[B, dim]`; None: it has no such digit."""
        return [book.logits(hidden, j) for book in self.books()]

    def codes_of(self, digits: Sequence[Tensor]) -> Tensor:
        """Ids `[B, K]` of the digits `[B, N]` of each codebook."""
        return torch.stack([book.id_of(found) for book, found in zip(self.books(), digits)], -1)

    def books(self) -> list[_Codebook]:
        """What belongs to each codebook."""
        return [book for book in self.codebooks if isinstance(book, _Codebook)]

    def _marked(self, x: Tensor, leading: Tensor | None) -> Tensor:
        """`x [B, T, dim]` with the reserved features in place of its first ones."""
        count = self.config.reserved
        if not count:
            return x
        marks = x.new_zeros((*x.shape[:-1], count))
        marks[..., 0] = 1 if leading is None else -1
        if leading is not None:
            marks[..., 1:] = bits_of(leading, count - 1)
        return torch.cat([marks, x[..., count:]], -1)

    def _reserve(self, count: int) -> None:
        """Keep layers from writing to the first features, for good: zero rows without a gradient."""
        if not count:
            return
        for name, parameter in self.body.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")) or name == "norm.weight":
                with torch.no_grad():
                    parameter[:count] = 1 if name == "norm.weight" else 0
                parameter.register_hook(
                    lambda gradient: gradient.index_fill(0, torch.arange(count, device=gradient.device), 0)
                )


class _Codebook(nn.Module):
    """Vectors, digits and heads of one codebook; the three specials follow its codes and those of larger codebooks."""

    vectors: Tensor
    digits: Tensor
    codes: Tensor

    def __init__(self, config: LMConfig, k: int) -> None:
        super().__init__()
        sizes, self._size = config.digits[k], config.codebook_sizes[k]
        self._special = config.vocabulary.num_codes
        rows = self._special + SPECIALS
        self.register_buffer("vectors", torch.zeros(rows, config.vector_dim))
        self.register_buffer("digits", torch.zeros(rows, len(sizes), dtype=torch.int64))
        self.register_buffer("codes", torch.zeros(sizes, dtype=torch.int64))
        self.linear = nn.Linear(config.vector_dim, config.dim, bias=False)
        self.special = nn.Parameter(torch.randn(SPECIALS, config.dim) * 0.3)
        self.earlier = nn.ModuleList(nn.Embedding(size, config.dim) for size in sizes[:-1])
        self.heads = nn.ModuleList(nn.Linear(config.dim, size, bias=False) for size in sizes)
        for parameter in self.earlier.parameters():
            nn.init.normal_(parameter, std=0.3)

    def fill(self, table: FloatArray) -> None:
        """Set vectors and addresses from the code vectors `[V, D]` of the codec."""
        sizes = digit_sizes(self._size)
        ids = torch.cat([torch.arange(self._size), self._special + torch.arange(SPECIALS)])
        self.vectors[: self._size] = torch.from_numpy(code_vectors(table, self.vectors.shape[1]) / ONE)
        self.digits[: self._size] = torch.from_numpy(digits_of(addresses_of(table), sizes))
        self.digits[self._special :, 0] = sizes[0] + torch.arange(SPECIALS)
        self.codes[tuple(self.digits[ids].unbind(-1))] = ids

    def enter(self, ids: Tensor) -> Tensor:
        """Features `[..., dim]` of ids."""
        entered: Tensor = self.linear(self.vectors[ids])
        special = ids >= self._special
        return entered + self.special[(ids - self._special).clamp(min=0)] * special.unsqueeze(-1)

    def given(self, digits: Tensor) -> Tensor:
        """Features `[..., dim]` of the digits `[..., j]` so far."""
        pairs = zip(self.earlier, digits.unbind(-1))
        return torch.as_tensor(sum(embedding(digit) for embedding, digit in pairs))

    def digits_of(self, ids: Tensor) -> Tensor:
        """Digits `[..., N]` of ids."""
        return self.digits[ids]

    def leads_to_codes(self, before: Tensor, values: int) -> Tensor:
        """Which of the first `values` of the next digit, after digits `[j]`, are of a code `[values]`."""
        own = self.digits[: self._size]
        matching = own[(own[:, : len(before)] == before).all(-1)]
        found = torch.zeros(values, dtype=torch.bool, device=own.device)
        found[matching[:, len(before)]] = True
        return found

    def id_of(self, digits: Tensor) -> Tensor:
        """Ids of digits `[..., N]`."""
        return self.codes[tuple(digits[..., : self.digits.shape[1]].unbind(-1))]

    def logits(self, hidden: Tensor, j: int) -> Tensor | None:
        """Logits of digit j."""
        return self.heads[j](hidden) if j < len(self.heads) else None

    def nats(self, hidden: Tensor, ids: Tensor) -> Tensor:
        """Nats `[B, T]` of ids, from `hidden [B, T, positions, dim]`; a special has a leading digit only."""
        digits, code = self.digits[ids], ids < self._special
        total = torch.zeros_like(ids, dtype=torch.float32)
        for j, head in enumerate(self.heads):
            logits = head(hidden[:, :, j]).float()
            nats = F.cross_entropy(logits.flatten(0, 1), digits[..., j].flatten(), reduction="none").view_as(total)
            total = total + (nats if j == 0 else nats * code)
        return total


def bits_of(digit: Tensor, count: int) -> Tensor:
    """Bits of digits as -1 and 1 `[..., count]`; 0 for specials, whose digits have one bit more."""
    found = (digit.unsqueeze(-1) >> torch.arange(count, device=digit.device)) & 1
    return (2.0 * found - 1) * (digit < 1 << count).unsqueeze(-1)
