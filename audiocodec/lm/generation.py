"""Continue a prompt: sampling, frame by frame, with the transformer's cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import DynamicCache

from audiocodec.errors import LanguageModelError
from audiocodec.lm.network import SPECIALS, TokenLM

IntArray = npt.NDArray[np.integer]


class Sampler:
    """Draws digits from logits; equal seeds draw equally."""

    def __init__(self, temperature: float, top_p: float, seed: int) -> None:
        """Keep the settings.

        Args:
            temperature: logits are divided by it; 0: always the most probable.
            top_p: of each digit, only the most probable values that together reach this.
            seed: of the generator.

        Raises:
            LanguageModelError: a temperature below 0, or a top_p outside 0 to 1.
        """
        if not (temperature >= 0 and 0 < top_p <= 1):
            raise LanguageModelError(
                f"need a temperature of 0 or more and a top-p above 0 to 1, got {temperature} and {top_p}"
            )
        self._temperature, self._top_p = temperature, top_p
        self._generator = torch.Generator().manual_seed(seed)

    def draw(self, logits: Tensor) -> Tensor:
        """A value `[1]` of logits `[1, values]`."""
        logits = logits.double().cpu()
        if self._temperature == 0:
            return logits.argmax(-1)
        ordered, places = (logits / self._temperature).softmax(-1).sort(dim=-1, descending=True, stable=True)
        ordered[ordered.cumsum(-1) - ordered >= self._top_p] = 0
        return places.gather(-1, torch.multinomial(ordered, 1, generator=self._generator))[:, 0]


def continue_codes(model: TokenLM, prompt: IntArray, frames: int, sampler: Sampler) -> Iterator[IntArray]:
    """Continue a prompt.

    Args:
        model: in evaluation mode.
        prompt: codes `[K, T]`, T of 1 or more.
        frames: to generate.
        sampler: draws.

    Yields:
        Codes `[K]` of each new frame. Specials are never drawn.

    Raises:
        LanguageModelError: codes of another number of codebooks, or beyond them.
    """
    _check(model, prompt)
    count, known = prompt.shape
    width = known + frames + count  # BOS, and the delay of the last codebook
    ids = np.full((count, width), model.config.vocabulary.pad, np.int64)
    ids[:, 0] = model.config.vocabulary.bos
    for k, row in enumerate(prompt):
        ids[k, 1 + k : 1 + k + known] = row
    with torch.inference_mode():
        steps = _Steps(model, ids[:, : known + 1])
        for step in range(known + 1, width):
            sampled = [known <= step - 1 - k < known + frames for k in range(count)]
            ids[:, step] = steps.next(ids[:, step], sampled, sampler)
            if step - count >= known:
                yield np.array([ids[k, step - count + 1 + k] for k in range(count)])


class _Steps:
    """The transformer and its cache; it begins anew from the newest half of its context when that is full."""

    def __init__(self, model: TokenLM, past: IntArray) -> None:
        self._model, self._device = model, model.body.embed_tokens.weight.device
        self._past = [past[:, i] for i in range(past.shape[1])]
        self._hidden = self._begin()

    def next(self, given: IntArray, sampled: list[bool], sampler: Sampler) -> npt.NDArray[np.int64]:
        """Ids `[K]` of the next step: those given, or drawn where `sampled`."""
        model, positions = self._model, self._model.config.positions
        ids = torch.from_numpy(given).to(self._device)
        digits = [book.digits_of(ids[k : k + 1]) for k, book in enumerate(model.books())]
        chosen = [found[:, :0] for found in digits]
        hidden = self._hidden
        for j in range(positions):
            for k, logits in enumerate(model.digit_logits(hidden, j)):
                if logits is None:
                    continue
                digit = (
                    sampler.draw(_codes_only(logits, model, k, j, chosen[k])).to(self._device)
                    if sampled[k]
                    else digits[k][:, j]
                )
                chosen[k] = torch.cat([chosen[k], digit.unsqueeze(-1)], -1)
            if j + 1 < positions:
                hidden = self._feed(model.embed_digits([found.unsqueeze(1)[..., : j + 1] for found in chosen]))
        taken = model.codes_of(chosen)
        self._past.append(taken[0].numpy(force=True))
        if len(self._past) >= model.config.context:
            self._past = self._past[-model.config.context // 2 :]
            self._hidden = self._begin()
        else:
            self._hidden = self._feed(model.embed_step(taken.unsqueeze(-1)))
        return taken[0].numpy(force=True)

    def _begin(self) -> Tensor:
        self._cache = DynamicCache()
        self._past = self._past[-self._model.config.context + 1 :]
        ids = torch.from_numpy(np.stack(self._past, -1)[None]).to(self._device)
        before = self._model.embed(ids[..., :-1], ids[..., 1:]) if ids.shape[-1] > 1 else None
        last = self._model.embed_step(ids[..., -1:])
        return self._feed(last if before is None else torch.cat([before, last], 1))

    def _feed(self, inputs: Tensor) -> Tensor:
        """Hidden state `[1, dim]` after `inputs [1, n, dim]`."""
        out = self._model.body(inputs_embeds=inputs, cache=self._cache, use_cache=True)
        hidden: Tensor = out.last_hidden_state[:, -1]
        return hidden


def _codes_only(logits: Tensor, model: TokenLM, k: int, j: int, before: Tensor) -> Tensor:
    """Logits without the values that lead to no code."""
    if j == 0:
        logits = logits[:, : logits.shape[1] - SPECIALS]
    return logits.masked_fill(~model.books()[k].leads_to_codes(before[0], logits.shape[1]), -torch.inf)


def _check(model: TokenLM, prompt: IntArray) -> None:
    sizes = model.config.codebook_sizes
    if prompt.ndim != 2 or len(prompt) != len(sizes) or not prompt.shape[1]:
        raise LanguageModelError(
            f"the prompt's codes are {list(prompt.shape)}, the language model needs [{len(sizes)}, frames]"
        )
    for k, (row, size) in enumerate(zip(prompt, sizes)):
        if row.min() < 0 or row.max() >= size:
            raise LanguageModelError(
                f"codebook {k} has {size} entries, the prompt's codes are {row.min()} to {row.max()}"
            )
