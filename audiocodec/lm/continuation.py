"""A recording and what a language model makes of its beginning."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from audiocodec.audio import io
from audiocodec.codec.files import decode_file, decode_tokens, encode_file
from audiocodec.codec.torch import Codec
from audiocodec.errors import LanguageModelError
from audiocodec.lm.generation import Sampler, continue_codes
from audiocodec.lm.network import TokenLM
from audiocodec.tokens.token_file import EXTENSION, TokenFile


def continue_file(
    model: TokenLM,
    codec: Codec,
    prompt: str,
    output: str,
    *,
    seconds: float = 5.0,
    prompt_seconds: float | None = None,
    temperature: float = 0.9,
    top_p: float = 0.95,
    seed: int = 0,
    only_new: bool = False,
) -> dict[str, Any]:
    """Continue a recording and write it as audio, at the codec's rate and the prompt's level.

    Args:
        model: language model of the codec.
        codec: encodes the prompt, and decodes.
        prompt: audio file of any rate, or token file.
        output: audio file.
        seconds: to generate.
        prompt_seconds: of the prompt to use, from its beginning; None: all.
        temperature, top_p, seed: see `generation.Sampler`.
        only_new: write the continuation alone; it is decoded together with the prompt all the same.

    Returns:
        Ready for JSON: frames and seconds of both parts.

    Raises:
        AudioError, TokenFileError: the prompt cannot be used.
        LanguageModelError: it is too short, silent, or of other codebooks.
    """
    tokens = TokenFile.read(prompt) if Path(prompt).suffix == EXTENSION else encode_file(codec, prompt)
    codes = tokens.truncate(len(model.config.codebook_sizes)).codes
    rate = codec.sample_rate / codec.hop_length
    known = codes[:, : max(1, round(prompt_seconds * rate))] if prompt_seconds is not None else codes
    if prompt_seconds is not None and codes.shape[1] < round(prompt_seconds * rate):
        raise LanguageModelError(
            f"{prompt}: has {codes.shape[1] / rate:.2f} s, fewer than the {prompt_seconds} s asked for"
        )
    if (known == known[:, :1]).all() and known.shape[1] > 1:
        raise LanguageModelError(f"{prompt}: every frame has the same code: silence has no continuation")
    frames = max(1, round(seconds * rate))
    new = np.stack(list(continue_codes(model, known, frames, Sampler(temperature, top_p, seed))), 1)
    whole = np.concatenate([known, new], 1)
    samples = whole.shape[1] * codec.hop_length
    made = replace(
        tokens,
        codes=whole,
        codebook_sizes=tokens.codebook_sizes[: len(whole)],
        num_samples=samples,
        original_sample_rate=codec.sample_rate,
        original_num_samples=samples,
        notes={},
    )
    if not only_new:
        decode_file(codec, made, output)
    else:
        _write_new(codec, made, known.shape[1] * codec.hop_length, output)
    report = {"prompt": prompt, "output": output, "prompt_frames": known.shape[1], "frames": frames}
    return {**report, "prompt_seconds": known.shape[1] / rate, "seconds": frames / rate, "codes": new.tolist()}


def _write_new(codec: Codec, tokens: TokenFile, first: int, output: str) -> None:
    wav, rate = decode_tokens(codec, tokens)
    io.write(output, wav[first:], rate)
