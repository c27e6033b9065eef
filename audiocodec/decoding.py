"""Tokens to audio by the model that made them: found by the fingerprint that every token file carries."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audiocodec import models
from audiocodec.codec import files
from audiocodec.codec.files import Progress
from audiocodec.codec.interface import BlockCodec, FloatArray
from audiocodec.loading import Model, load
from audiocodec.tokens.token_file import TokenFile


class Models:
    """The models that token files ask for; each is looked up and loaded once."""

    def __init__(self, given: Sequence[str | Path] = (), **options: Any) -> None:
        """Read the headers of those that are given.

        Args:
            given: models to look at before those at hand.
            options: of `loading.Model`.

        Raises:
            CheckpointError: one of them is no model, or a damaged one.
            UsageError: none of them has as many codebooks as `options` asks for.
        """
        self._given, self._options = tuple(given), options
        self._found: dict[bytes, Model] = {}
        for model in given:
            Model(model, **options)

    def of(self, tokens: TokenFile) -> Model:
        """The model that made a token file.

        Raises:
            FingerprintMismatch: it is neither given nor at hand.
        """
        if tokens.fingerprint not in self._found:
            options = {name: value for name, value in self._options.items() if name != "num_codebooks"}
            self._found[tokens.fingerprint] = Model(models.find(tokens.fingerprint, self._given), **options)
        return self._found[tokens.fingerprint]


def decode_file(
    codec: BlockCodec | None,
    tokens: TokenFile | str | os.PathLike[str],
    path: str | os.PathLike[str],
    sample_rate: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Decode to an audio file of the coded channels, of exactly the original length and level; the file appears only when complete.

    Args:
        codec: that made the tokens; None: `audiocodec.load(tokens)`, by their fingerprint.
        tokens: a token file, in memory or by its path.
        path: the extension decides the format.
        sample_rate: Hz of the file; None: the original's.
        progress: called with seconds of audio done, of how many.

    Returns:
        How many samples passed full scale and were clipped.

    Raises:
        FingerprintMismatch: the tokens are of another codec, or of none that is at hand.
        AudioError: the file cannot be written, or memory runs out.
        TokenFileError: not a valid token file.

    Example:
        >>> audiocodec.decode_file(None, "speech.act", "decoded.wav")
        0
    """
    held = tokens if isinstance(tokens, TokenFile) else TokenFile.read(Path(tokens))
    return files.decode_file(load(held) if codec is None else codec, held, path, sample_rate, progress)


def decompress(codec: BlockCodec | None, data: bytes, sample_rate: int | None = None) -> tuple[FloatArray, int]:
    """Decode the bytes of a token file to audio of exactly the original length and level.

    Args:
        codec: the one that encoded it; None: by the fingerprint in `data`, as for `decode_file`.
        data: what `compress` or `audiocodec encode` made.
        sample_rate: Hz of the audio; None: the original's.

    Returns:
        (float32 samples `[S]`, `[2, S]` of two coded channels, their sample rate in Hz).

    Raises:
        TokenFileError: not a valid token file.
        FingerprintMismatch: the tokens are of another codec, or of none that is at hand.
        AudioError: a sample rate that cannot be.

    Example:
        >>> wav, sample_rate = audiocodec.decompress(None, pathlib.Path("speech.act").read_bytes())
        >>> wav.dtype, wav.shape, sample_rate
        (dtype('float32'), (16000,), 16000)
    """
    tokens = TokenFile.from_bytes(data)
    return files.decode_tokens(load(tokens) if codec is None else codec, tokens, sample_rate)
