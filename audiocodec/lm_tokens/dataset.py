"""A torch `Dataset` of packed contexts over the Parquet shards that `audiocodec tokenize` made.

An item depends on (seed, epoch, position) alone: not on workers, nor on where a run was resumed. Which utterances stand
where is known from counts, so that any position is reached without reading what comes before.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from audiocodec.errors import CorpusError, TokenFileError
from audiocodec.installing import advice
from audiocodec.lm_tokens.orders import delay, flatten
from audiocodec.lm_tokens.vocabulary import Vocabulary
from audiocodec.records import from_json, parse
from audiocodec.tokens.layout import MAX_CODEBOOK_SIZE, MAX_CODEBOOKS

if TYPE_CHECKING:
    import os

_HELD = 2  # shards in memory


class _Shard(NamedTuple):
    path: Path
    rows: int
    frames: int


@dataclass(frozen=True)
class _Counts:
    """What a shard says of itself, as far as it matters here."""

    rows: int
    frames: int


class PackedTokens(Dataset[torch.Tensor]):
    """Contexts of one length: utterances after each other, each with BOS and EOS, cut wherever a context is full.

    Shards are shuffled, and the utterances in each. What is left at the end of an epoch and fills no context is dropped.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        context: int,
        order: Literal["flat", "delay"] = "flat",
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Look at the footers of a data set's shards.

        Args:
            folder: of `tokens-*.parquet`.
            context: ids of an item.
            order: `flat`: frame after frame, ids of each codebook apart; `delay`: a row a codebook, see `orders.delay`.
            seed: of the shuffling.
            rank, world_size: this process and how many there are; each has contexts of its own, all equally many.

        Raises:
            CorpusError: no shards, or not of this package; or fewer contexts than processes.
        """
        self._shards, sizes = _shards(Path(folder))
        self._order, self._context, self._seed = order, context, seed
        self.vocabulary = Vocabulary(sizes, shared=order == "delay")
        self._rank, self._world_size, self._epoch = rank, world_size, 0
        self._held: OrderedDict[int, npt.NDArray[np.int64]] = OrderedDict()
        total = sum(self._length(shard.frames, shard.rows) for shard in self._shards)
        self._items = total // context // world_size
        if not self._items:
            raise CorpusError(
                f"{folder}: holds {total} ids, too few for a context of {context} for each of {world_size}"
            )
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Shuffle anew; call it before each epoch, as with torch's `DistributedSampler`."""
        self._epoch = epoch
        self._sequence = np.random.default_rng([self._seed, epoch]).permutation(len(self._shards))
        lengths = [self._length(self._shards[i].frames, self._shards[i].rows) for i in self._sequence]
        self._ends = np.cumsum(lengths)
        self._held.clear()

    def __len__(self) -> int:
        """Contexts of this process in an epoch."""
        return self._items

    def __getitem__(self, position: int) -> torch.Tensor:
        """Ids int64 `[context]`, or `[K, context]` in delayed order."""
        if not 0 <= position < self._items:
            raise IndexError(f"position {position} of {self._items}")
        first = (self._rank * self._items + position) * self._context
        parts, wanted = [], self._context
        at = int(np.searchsorted(self._ends, first, side="right"))
        offset = first - (int(self._ends[at - 1]) if at else 0)
        while wanted:
            part = self._ids(at)[..., offset : offset + wanted]
            parts.append(part)
            wanted -= part.shape[-1]
            at, offset = at + 1, 0
        return torch.from_numpy(np.concatenate(parts, axis=-1))

    def _length(self, frames: int, rows: int) -> int:
        """Ids (or steps) of so many utterances with so many frames together."""
        codebooks = len(self.vocabulary.codebook_sizes)
        return frames * codebooks + 2 * rows if self._order == "flat" else frames + rows * (codebooks + 1)

    def _ids(self, at: int) -> npt.NDArray[np.int64]:
        """All ids of the shard at place `at` of this epoch."""
        if at not in self._held:
            self._held[at] = self._read(int(self._sequence[at]))
            while len(self._held) > _HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(at)
        return self._held[at]

    def _read(self, number: int) -> npt.NDArray[np.int64]:
        shard = self._shards[number]
        try:
            column = _pyarrow().parquet.read_table(shard.path, columns=["codes"])["codes"]
            shuffled = np.random.default_rng([self._seed, self._epoch, number]).permutation(len(column))
            ids = np.concatenate([self._utterance(column[int(row)].values) for row in shuffled], axis=-1)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError, TokenFileError) as error:
            raise CorpusError(f"{shard.path}: damaged: {error}") from None
        if ids.shape[-1] != self._length(shard.frames, shard.rows):
            raise CorpusError(
                f"{shard.path}: damaged: has not the {shard.frames} frames of {shard.rows} rows that it says"
            )
        return ids

    def _utterance(self, values: Any) -> npt.NDArray[np.int64]:
        """BOS, ids, EOS of the codes of one row, an arrow array."""
        nested = _pyarrow().types.is_list(values.type)
        codes = np.stack([row.values.to_numpy() for row in values]) if nested else values.to_numpy()[None]
        ids, words = self.vocabulary.to_ids(codes), self.vocabulary
        body = flatten(ids)[None] if self._order == "flat" else delay(ids, words.pad)
        framed = np.pad(body.astype(np.int64), ((0, 0), (1, 1)))
        framed[:, 0], framed[:, -1] = words.bos, words.eos
        return framed[0] if self._order == "flat" else framed


def _shards(folder: Path) -> tuple[list[_Shard], tuple[int, ...]]:
    found, sizes = [], None
    for path in sorted(folder.glob("tokens-*.parquet")):
        try:
            metadata = _pyarrow().parquet.read_metadata(path).metadata
            mark = parse(_Counts, from_json(metadata[b"audiocodec.shard"]))
            its = parse(tuple[int, ...], from_json(metadata[b"audiocodec.codebook_sizes"]))
            if (
                min(mark.rows, mark.frames) < 0
                or not 1 <= len(its) <= MAX_CODEBOOKS
                or not all(2 <= n <= MAX_CODEBOOK_SIZE for n in its)
            ):
                raise ValueError("counts or codebook sizes are out of range")
        except (OSError, ValueError, KeyError, TypeError, NotImplementedError, MemoryError) as error:
            raise CorpusError(f"{path}: damaged, or no shard of a token data set: {error}") from None
        if sizes is not None and its != sizes:
            raise CorpusError(f"{path}: has codebooks {its}, the shards before it {sizes}")
        sizes = its
        if mark.rows:
            found.append(_Shard(path, mark.rows, mark.frames))
    if sizes is None or not found:
        raise CorpusError(f"{folder}: holds no tokens-*.parquet with utterances; make them with audiocodec tokenize")
    return found, sizes


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise CorpusError(f"Parquet needs a package that is not installed ({error}); {advice('tokenize')}") from None
    return pyarrow
