"""`PackedTokens`: contexts over Parquet shards, deterministic, shared between ranks, resumable."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from audiocodec.errors import CorpusError
from audiocodec.lm_tokens import PackedTokens, undelay
from audiocodec.tokenize.marks import Mark
from audiocodec.tokenize.plan import ModelFacts
from audiocodec.tokenize.writers.parquet import ParquetRows

pytest.importorskip("pyarrow")

LENGTHS = [[3, 1, 8], [5, 5], [], [13, 2, 2, 7]]  # frames of the utterances of each shard


def write_shards(folder: Path, codebooks: int) -> dict[int, np.ndarray]:
    """Shards whose utterances begin with a code of their own: that code -> codes [K, T]."""
    model = ModelFacts("m", "00", "float32", 24_000, 320, (64,) * codebooks)
    written = {}
    for shard, lengths in enumerate(LENGTHS):
        with ParquetRows(folder / f"tokens-{shard:05d}.parquet", model, {}) as rows:
            for frames in lengths:
                number = len(written)
                codes = np.random.default_rng(number).integers(32, 64, (codebooks, frames))
                codes[0, 0] = number
                written[number] = codes
                rows.write({"id": str(number), "codes": codes, "num_frames": frames})
            mark = Mark("p", shard, "00", len(lengths), sum(lengths), 1, ())
            rows.finish(mark.to_text())
    return written


@pytest.fixture
def flat(tmp_path: Path) -> tuple[Path, dict[int, np.ndarray]]:
    return tmp_path, write_shards(tmp_path, 2)


def stream(data: PackedTokens) -> list[int]:
    return torch.cat([data[i] for i in range(len(data))]).tolist()


def test_every_utterance_once(flat: tuple[Path, dict[int, np.ndarray]]) -> None:
    folder, written = flat
    data = PackedTokens(folder, context=1)
    ids, words = stream(data), data.vocabulary
    utterances, current = [], []
    for one in ids:
        current = [] if one == words.bos else [*current, one]
        if one == words.eos:
            utterances.append(current[:-1])
    assert len(utterances) == len(written) == 9
    for found in utterances:
        expected = written[found[0]]
        assert found == (expected + [[0], [64]]).T.reshape(-1).tolist()
    assert [found[0] for found in utterances] != sorted(written)  # shuffled


def test_context_cuts_the_same_stream(flat: tuple[Path, dict[int, np.ndarray]]) -> None:
    whole = stream(PackedTokens(flat[0], context=1, seed=3))
    data = PackedTokens(flat[0], context=10, seed=3)
    assert len(data) == len(whole) // 10
    assert stream(data) == whole[: 10 * len(data)]
    assert data[4].dtype == torch.int64


def test_an_item_depends_on_seed_epoch_and_position_alone(flat: tuple[Path, dict[int, np.ndarray]]) -> None:
    data, other = PackedTokens(flat[0], 8, seed=1), PackedTokens(flat[0], 8, seed=1)
    in_order = [data[i].tolist() for i in range(len(data))]
    backwards = [other[i].tolist() for i in reversed(range(len(other)))][::-1]
    assert in_order == backwards
    other.set_epoch(1)
    again = [other[i].tolist() for i in range(len(other))]
    assert again != in_order
    other.set_epoch(0)
    assert other[3].tolist() == in_order[3]
    assert [i.tolist() for i in torch.utils.data.DataLoader(data, None)] == in_order
    assert stream(PackedTokens(flat[0], 8, seed=2)) != stream(data)


def test_ranks_share_the_epoch(flat: tuple[Path, dict[int, np.ndarray]]) -> None:
    one = PackedTokens(flat[0], 8)
    ranks = [PackedTokens(flat[0], 8, rank=rank, world_size=3) for rank in range(3)]
    assert {len(data) for data in ranks} == {len(one) // 3}
    together = [item for data in ranks for item in map(torch.Tensor.tolist, (data[i] for i in range(len(data))))]
    assert together == [one[i].tolist() for i in range(len(together))]


def test_delayed(tmp_path: Path) -> None:
    written = write_shards(tmp_path, 4)
    data = PackedTokens(tmp_path, context=1, order="delay")
    steps = torch.cat([data[i] for i in range(len(data))], -1).numpy()
    begins, ends = np.flatnonzero(steps[0] == data.vocabulary.bos), np.flatnonzero(steps[0] == data.vocabulary.eos)
    found = Counter()
    for begin, end in zip(begins, ends, strict=True):
        codes = undelay(steps[:, begin + 1 : end])
        np.testing.assert_array_equal(codes, written[int(codes[0, 0])])
        found[int(codes[0, 0])] += 1
    assert found == Counter(written.keys())


def test_what_is_refused(flat: tuple[Path, dict[int, np.ndarray]], tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="too few for a context of 1000"):
        PackedTokens(flat[0], 1000)
    with pytest.raises(IndexError):
        PackedTokens(flat[0], 8)[100]
    (tmp_path / "none").mkdir()
    with pytest.raises(CorpusError, match="holds no tokens"):
        PackedTokens(tmp_path / "none", 8)
    (flat[0] / "tokens-00009.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(CorpusError, match="tokens-00009.parquet: damaged"):
        PackedTokens(flat[0], 8)
