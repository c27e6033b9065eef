"""Ids of a language model: each codebook in a range of its own, then padding, beginning and end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audiocodec.errors import TokenFileError

IntArray = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Vocabulary:
    """Ids of all codes of all codebooks, and three special ones after them.

    Attributes:
        codebook_sizes: entries of each codebook [K].
        shared: all codebooks use the range of the first, as models with an embedding for each codebook want it.
    """

    codebook_sizes: tuple[int, ...]
    shared: bool = False

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Id of code 0 of each codebook [K]."""
        if self.shared:
            return np.zeros(len(self.codebook_sizes), np.int64)
        return np.concatenate([[0], np.cumsum(self.codebook_sizes)[:-1]]).astype(np.int64)

    @property
    def num_codes(self) -> int:
        """Ids of codes: 0 to this."""
        return max(self.codebook_sizes) if self.shared else sum(self.codebook_sizes)

    @property
    def pad(self) -> int:
        """Id that fills what holds nothing."""
        return self.num_codes

    @property
    def bos(self) -> int:
        """Id before an utterance."""
        return self.num_codes + 1

    @property
    def eos(self) -> int:
        """Id after an utterance."""
        return self.num_codes + 2

    @property
    def size(self) -> int:
        """Number of ids: rows of an embedding."""
        return self.num_codes + 3

    @property
    def dtype(self) -> type[np.integer]:
        """The smallest of uint16 and int32 that holds every id: 65,536 codes leave uint16 no room for the special ones."""
        return np.uint16 if self.size <= 2**16 else np.int32

    def to_ids(self, codes: IntArray | Sequence[Sequence[int]]) -> npt.NDArray[np.int64]:
        """Ids `[k, T]` of codes `[k, T]`, k <= K.

        Raises:
            TokenFileError: codes of another shape, or outside their codebooks.
        """
        array = np.asarray(codes)
        self._check(array, np.zeros(len(self.codebook_sizes), np.int64), "codes")
        return array.astype(np.int64) + self.offsets[: len(array), None]

    def to_codes(self, ids: IntArray | Sequence[Sequence[int]]) -> npt.NDArray[np.int64]:
        """Codes `[k, T]` of ids `[k, T]`: the inverse of `to_ids`.

        Raises:
            TokenFileError: an id that is not of its row's codebook, or a special one.
        """
        array = np.asarray(ids)
        self._check(array, self.offsets, "ids")
        return array.astype(np.int64) - self.offsets[: len(array), None]

    def _check(self, array: IntArray, offsets: npt.NDArray[np.int64], what: str) -> None:
        most = len(self.codebook_sizes)
        if array.ndim != 2 or array.dtype.kind not in "iu" or not 1 <= len(array) <= most:
            raise TokenFileError(
                f"need integer {what} [k, T] with k from 1 to {most}, got {array.dtype} {list(array.shape)}"
            )
        for index, (row, low, size) in enumerate(zip(array, offsets.tolist(), self.codebook_sizes)):
            if row.size and (int(row.min()) < low or int(row.max()) >= low + size):
                bad = int(row.min()) if int(row.min()) < low else int(row.max())
                raise TokenFileError(f"{what} of codebook {index} must be {low} to {low + size - 1}, one is {bad}")
