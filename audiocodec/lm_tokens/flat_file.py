"""Ids of many utterances as one flat file for `numpy.memmap`, or as Megatron's `.bin` and `.idx`.

Every utterance is BOS, its ids frame after frame, EOS. The ids are uint16 where the vocabulary with its special ids has room
in it, else int32, little-endian.
"""

from __future__ import annotations

import contextlib
import json
import struct
from array import array
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, final

import numpy as np
import numpy.typing as npt

from audiocodec.files import replacing
from audiocodec.lm_tokens.orders import flatten
from audiocodec.lm_tokens.vocabulary import IntArray, Vocabulary
from audiocodec.tokens.streams import npy_bytes

_MEGATRON = b"MMIDIDX\x00\x00"
_MEGATRON_TYPES = {np.dtype(np.int32): 4, np.dtype(np.uint16): 8}


@final
class IdFile:
    """Writes ids to `path` (`.bin`) and an index beside it, both whole or not at all.

    `bin`: `.starts.npy`, int64 [N + 1] (utterance i is `starts[i]:starts[i + 1]`), and `.json` with type and vocabulary.
    `megatron`: `.idx`, each utterance a document.
    """

    def __init__(self, path: Path, vocabulary: Vocabulary, form: str = "bin") -> None:
        """Open nothing yet.

        Args:
            path: of the ids.
            vocabulary: its ids.
            form: `bin` or `megatron`.
        """
        self._path, self._vocabulary, self._form = path, vocabulary, form
        self._stack = contextlib.ExitStack()
        self._lengths = array("q")
        self._dtype = np.dtype(vocabulary.dtype)

    def __enter__(self) -> IdFile:
        self._stack.__enter__()
        temporary = self._stack.enter_context(replacing(self._path))
        self._stream: BinaryIO = self._stack.enter_context(open(temporary, "wb"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._write_index()
        except BaseException as failed:
            self._stack.__exit__(type(failed), failed, failed.__traceback__)
            raise
        self._stack.__exit__(kind, error, trace)

    def write(self, codes: IntArray) -> None:
        """Add an utterance.

        Args:
            codes: [K, T].

        Raises:
            TokenFileError: codes outside the vocabulary.
        """
        words = self._vocabulary
        ids = np.concatenate([[words.bos], flatten(words.to_ids(codes)), [words.eos]])
        self._stream.write(ids.astype(self._dtype.newbyteorder("<")).tobytes())
        self._lengths.append(len(ids))

    def _write_index(self) -> None:
        sizes = np.frombuffer(self._lengths, np.int64) if self._lengths else np.zeros(0, np.int64)
        if self._form == "megatron":
            with replacing(self._path.with_suffix(".idx")) as temporary:
                temporary.write_bytes(self._megatron_index(sizes))
            return
        with replacing(self._path.with_suffix(".starts.npy")) as temporary:
            temporary.write_bytes(npy_bytes(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)))
        with replacing(self._path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(self._described(), indent=1) + "\n", encoding="utf-8")

    def _megatron_index(self, sizes: npt.NDArray[np.int64]) -> bytes:
        """Version 1: type, counts, lengths (int32), byte offsets (int64), first utterance of each document and the end."""
        head = _MEGATRON + struct.pack("<QBQQ", 1, _MEGATRON_TYPES[self._dtype], len(sizes), len(sizes) + 1)
        offsets = (np.cumsum(sizes) - sizes) * self._dtype.itemsize
        documents = np.arange(len(sizes) + 1)
        return (
            head + sizes.astype("<i4").tobytes() + offsets.astype("<i8").tobytes() + documents.astype("<i8").tobytes()
        )

    def _described(self) -> dict[str, object]:
        words = self._vocabulary
        return {
            "dtype": self._dtype.name,
            "codebook_sizes": list(words.codebook_sizes),
            "offsets": words.offsets.tolist(),
            "vocabulary": words.size,
            "pad": words.pad,
            "bos": words.bos,
            "eos": words.eos,
            "order": "flat",
        }
