"""Token files of one model to one file: Parquet, webdataset, or ids for language models."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import final

from audiocodec.errors import TokenFileError
from audiocodec.files import replacing
from audiocodec.lm_tokens.flat_file import IdFile
from audiocodec.lm_tokens.vocabulary import Vocabulary
from audiocodec.tokenize.plan import ModelFacts
from audiocodec.tokenize.rows import row_of_tokens
from audiocodec.tokenize.writers.parquet import ParquetRows
from audiocodec.tokenize.writers.webdataset import WebdatasetRows
from audiocodec.tokens.token_file import TokenFile

FORMATS = ("parquet", "webdataset", "bin", "megatron")


@final
class TokenSet:
    """Writes one file, and what stands beside it; all appear when all is well.

    Attributes:
        count: token files so far.
    """

    def __init__(self, form: str, path: Path) -> None:
        """Open nothing yet: the first token file says which model it is.

        Args:
            form: one of `FORMATS`.
            path: the file.
        """
        self._form, self._path = form, path
        self._stack = contextlib.ExitStack()
        self._facts: tuple[bytes, tuple[int, ...]] | None = None
        self._write: Callable[[str, TokenFile], None] | None = None
        self._seen: set[str] = set()
        self.count = 0

    def __enter__(self) -> TokenSet:
        self._stack.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add(self, key: str, tokens: TokenFile) -> None:
        """One more token file.

        Raises:
            TokenFileError: of another model or with other codebooks than the first, of two channels, or an id that comes twice.
        """
        if tokens.coded_channels > 1:
            raise TokenFileError(f"{key}: has the codes of {tokens.coded_channels} channels; data sets take one")
        facts = tokens.fingerprint, tokens.codebook_sizes
        if self._facts is None or self._write is None:
            self._facts, self._write = facts, self._opened(tokens)
        if facts != self._facts:
            raise TokenFileError(f"{key}: is of another model, or has other codebooks, than the files before it")
        if key in self._seen:
            raise TokenFileError(f"{key}: this id comes twice")
        self._seen.add(key)
        self._write(key, tokens)
        self.count += 1

    def _opened(self, tokens: TokenFile) -> Callable[[str, TokenFile], None]:
        if self._form in ("bin", "megatron"):
            ids = self._stack.enter_context(IdFile(self._path, Vocabulary(tokens.codebook_sizes), self._form))
            return lambda key, one: ids.write(one.codes)
        temporary = self._stack.enter_context(replacing(self._path))
        model = ModelFacts(
            name="",
            fingerprint=tokens.fingerprint.hex(),
            precision="",
            sample_rate=tokens.sample_rate,
            hop_length=tokens.hop_length,
            codebook_sizes=tokens.codebook_sizes,
        )
        rows: ParquetRows | WebdatasetRows
        if self._form == "parquet":
            rows = self._stack.enter_context(ParquetRows(temporary, model, {}))
        else:
            rows = self._stack.enter_context(WebdatasetRows(temporary, model))
        return lambda key, one: rows.write(row_of_tokens(key, one))
