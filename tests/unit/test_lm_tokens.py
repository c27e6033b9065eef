"""Ids, orders and flat files for language models: equations written out, formats read by hand, and each way back."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from audiocodec.errors import TokenFileError
from audiocodec.lm_tokens import Vocabulary, delay, flatten, undelay, unflatten
from audiocodec.lm_tokens.flat_file import IdFile


def test_vocabulary_of_two_codebooks() -> None:
    words = Vocabulary((64, 32))
    assert (words.offsets.tolist(), words.pad, words.bos, words.eos, words.size) == ([0, 64], 96, 97, 98, 99)
    ids = words.to_ids(np.array([[0, 63, 5], [31, 0, 7]]))
    assert ids.tolist() == [[0, 63, 5], [95, 64, 71]]
    assert words.to_codes(ids).tolist() == [[0, 63, 5], [31, 0, 7]]


def test_shared_ids() -> None:
    words = Vocabulary((64, 64), shared=True)
    assert (words.offsets.tolist(), words.pad, words.size) == ([0, 0], 64, 67)


@pytest.mark.parametrize(("size", "dtype"), [(65_533, np.uint16), (65_534, np.int32), (65_536, np.int32)])
def test_special_ids_need_room(size: int, dtype: type) -> None:
    words = Vocabulary((size,))
    assert words.dtype is dtype
    assert words.eos <= np.iinfo(dtype).max


@pytest.mark.parametrize("codes", [[[64], [0]], [[-1], [0]], [[0], [32]], [0, 1], [[0.5], [1]], [[0], [0], [0]]])
def test_codes_outside_are_refused(codes: list) -> None:
    with pytest.raises(TokenFileError, match=r"codes"):
        Vocabulary((64, 32)).to_ids(np.array(codes))


def test_ids_of_another_codebook_are_refused() -> None:
    with pytest.raises(TokenFileError, match=r"ids of codebook 1 must be 64 to 95, one is 96"):
        Vocabulary((64, 32)).to_codes(np.array([[0], [96]]))


def test_flatten() -> None:
    ids = np.array([[1, 2, 3], [10, 20, 30]])
    assert flatten(ids).tolist() == [1, 10, 2, 20, 3, 30]
    assert unflatten(flatten(ids), 2).tolist() == ids.tolist()
    with pytest.raises(TokenFileError, match="whole frames"):
        unflatten(np.arange(5), 2)


def test_delay_is_that_of_musicgen() -> None:
    # Copet et al., Simple and Controllable Music Generation, figure 1: codebook k enters at step k.
    ids = np.array([[1, 2, 3], [11, 12, 13], [21, 22, 23]])
    assert delay(ids, 99).tolist() == [[1, 2, 3, 99, 99], [99, 11, 12, 13, 99], [99, 99, 21, 22, 23]]


@pytest.mark.parametrize(("codebooks", "frames"), [(1, 5), (4, 1), (8, 50), (3, 0)])
def test_ways_back(codebooks: int, frames: int) -> None:
    ids = np.random.default_rng(0).integers(0, 1000, (codebooks, frames)).astype(np.uint16)
    np.testing.assert_array_equal(undelay(delay(ids, 70_000)), ids)
    np.testing.assert_array_equal(unflatten(flatten(ids), codebooks), ids)


def test_too_few_steps() -> None:
    with pytest.raises(TokenFileError, match="4 codebooks need 3 steps or more, got 2"):
        undelay(np.zeros((4, 2), int))


def test_flat_file(tmp_path: Path) -> None:
    words = Vocabulary((64, 64))
    with IdFile(tmp_path / "x.bin", words) as file:
        file.write(np.array([[1, 2], [3, 4]]))
        file.write(np.array([[5], [6]]))
    described = json.loads((tmp_path / "x.json").read_text())
    ids = np.memmap(tmp_path / "x.bin", described["dtype"], "r")
    starts = np.load(tmp_path / "x.starts.npy")
    bos, eos = described["bos"], described["eos"]
    assert ids[starts[0] : starts[1]].tolist() == [bos, 1, 64 + 3, 2, 64 + 4, eos]
    assert ids[starts[1] : starts[2]].tolist() == [bos, 5, 64 + 6, eos]
    assert len(ids) == starts[-1]


@pytest.mark.parametrize(("size", "code", "letter"), [(64, 8, "H"), (65_536, 4, "i")])
def test_megatron_files(tmp_path: Path, size: int, code: int, letter: str) -> None:
    """Read as megatron/core/datasets/indexed_dataset.py does: header, lengths, pointers, documents."""
    words = Vocabulary((size,))
    with IdFile(tmp_path / "x.bin", words, "megatron") as file:
        file.write(np.array([[1, 2, size - 1]]))
        file.write(np.array([[7]]))
    index = (tmp_path / "x.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    assert struct.unpack_from("<QBQQ", index, 9) == (1, code, 2, 3)
    assert struct.unpack_from("<2i", index, 34) == (5, 3)
    width = struct.calcsize(letter)
    assert struct.unpack_from("<2q", index, 42) == (0, 5 * width)
    assert struct.unpack_from("<3q", index, 58) == (0, 1, 2)
    assert len(index) == 82
    data = (tmp_path / "x.bin").read_bytes()
    assert struct.unpack(f"<8{letter}", data) == (words.bos, 1, 2, size - 1, words.eos, words.bos, 7, words.eos)


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError), IdFile(tmp_path / "x.bin", Vocabulary((64,))) as file:
        file.write(np.array([[1]]))
        file.write(np.array([[64]]))
    assert list(tmp_path.iterdir()) == []
