"""Token files of version 2: lossless, near the prior's entropy, and damage that stays where it is."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.priors import CODEC, random_network

from audiocodec.errors import CorruptFile, PriorError, TokenFileError, TruncatedFile
from audiocodec.nn.exact.integers import FloatArray
from audiocodec.tokens import priors, range_coding
from audiocodec.tokens.bitpack import pack_frames
from audiocodec.tokens.predictor import Predictor
from audiocodec.tokens.prior import Prior
from audiocodec.tokens.token_file import TokenFile

SIZES = (300, 16)


@pytest.fixture(scope="module")
def prior() -> Prior:
    return random_network(SIZES).export()


@pytest.fixture
def known(prior: Prior, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prior:
    """The prior where files find it."""
    prior.save(tmp_path / "prior.safetensors")
    monkeypatch.setenv(priors.ENVIRONMENT, str(tmp_path))
    return prior


def likely(prior: Prior, frames: int, seed: int = 0, sizes: tuple[int, ...] = SIZES) -> np.ndarray:
    """Codes drawn from the prior itself."""
    random, predictor = np.random.default_rng(seed), Predictor(prior, 1, len(sizes))
    valid = [set(map(tuple, digits)) for digits in prior.digits]

    def choose(k: int, j: int, counts: FloatArray) -> np.ndarray:
        open_ = [d for d in range(counts.shape[1]) if any(v[j] == d and v[:j] == tuple(chosen) for v in valid[k])]
        weights = counts[0, open_].astype(float)
        chosen.append(int(random.choice(open_, p=weights / weights.sum())))
        digit = chosen[-1]
        if len(chosen) == len(prior.digits[k][0]):
            chosen.clear()
        return np.array([digit])

    chosen: list[int] = []
    return np.stack([predictor.frame(choose)[0] for _ in range(frames)], 1)


def tokens_of(codes: np.ndarray, sizes: tuple[int, ...] = SIZES, **changes: object) -> TokenFile:
    frames = codes.shape[1]
    values = {
        "codes": codes,
        "codebook_sizes": sizes,
        "sample_rate": 24_000,
        "hop_length": 320,
        "num_samples": 320 * frames,
        "original_sample_rate": 24_000,
        "original_channels": 1,
        "original_num_samples": 320 * frames,
        "gain": 1.5,
        "fingerprint": bytes.fromhex(CODEC),
        "notes": {"id": "a"},
        **changes,
    }
    return TokenFile(**values)


def test_round_trip_and_size(known: Prior) -> None:
    tokens = tokens_of(likely(known, 100))
    data = tokens.to_bytes(known)
    assert data[4] == 2
    assert len(data) < len(tokens.to_bytes())
    assert TokenFile.from_bytes(data) == tokens
    assert tokens.to_bytes(known) == data


def test_codes_take_what_the_prior_says(prior: Prior) -> None:
    """Against the network's own cross entropy, within 1 % and the words that end a segment."""
    codes = likely(prior, 400)
    longer = random_network(SIZES, segment_frames=400).export()
    bits = 8 * sum(map(len, range_coding.encode(codes, longer)))
    with torch.inference_mode():
        nats = random_network(SIZES)(torch.from_numpy(codes.T[None])).sum().item()
    assert nats / math.log(2) <= bits <= 1.01 * nats / math.log(2) + 64


@given(st.integers(1, 90), st.sampled_from(["uniform", "lowest", "highest"]), st.integers(0, 1000), st.integers(1, 2))
@settings(max_examples=40, deadline=None)
def test_any_codes_come_back(frames: int, kind: str, seed: int, used: int) -> None:
    prior = random_network(SIZES).export()
    random = np.random.default_rng(seed)
    rows = {
        "uniform": lambda v: random.integers(0, v, frames),
        "lowest": lambda v: np.zeros(frames, int),
        "highest": lambda v: np.full(frames, v - 1),
    }
    codes = np.stack([rows[kind](size) for size in SIZES[:used]])
    lengths = range_coding.segment_lengths(frames, 40)
    segments = range_coding.encode(codes, prior)
    assert len(segments) == len(lengths)
    assert np.array_equal(np.concatenate(range_coding.decode(segments, lengths, used, prior), 1), codes)
    for number, data in enumerate(segments):  # each by itself
        alone = range_coding.decode([data], [lengths[number]], used, prior)[0]
        assert np.array_equal(alone, codes[:, 40 * number : 40 * number + lengths[number]])


def test_what_compression_would_enlarge_stays_as_it_is(known: Prior) -> None:
    random = np.random.default_rng(0)  # of such codes, the prior expects few
    tokens = tokens_of(np.stack([random.integers(0, size, 200) for size in SIZES]))
    assert tokens.to_bytes(known) == tokens.to_bytes()


def test_a_file_that_does_not_decode_to_its_codes_is_not_written(known: Prior, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = tokens_of(likely(known, 100))
    decode = range_coding.decode

    def wrong(*args: object) -> list[np.ndarray]:
        found = decode(*args)
        found[0][0, 0] ^= 1
        return found

    monkeypatch.setattr(range_coding, "decode", wrong)
    assert tokens.to_bytes(known) == tokens.to_bytes()


def test_every_flipped_bit_and_every_cut_is_found(known: Prior) -> None:
    data = tokens_of(likely(known, 90)).to_bytes(known)
    assert data[4] == 2
    for bit in range(0, 8 * len(data), 7):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TokenFileError):
            TokenFile.from_bytes(bytes(broken))
    for end in range(0, len(data), 5):
        with pytest.raises(TokenFileError):
            TokenFile.from_bytes(data[:end])


def test_a_damaged_segment_is_named_and_loses_itself_only(known: Prior, tmp_path: Path) -> None:
    tokens = tokens_of(likely(known, 120))
    data = bytearray(tokens.to_bytes(known))
    data[-20] ^= 0xFF  # in the last of three segments
    path = tmp_path / "a.act"
    path.write_bytes(data)
    with pytest.raises(CorruptFile, match=r"a\.act: damaged: segment 3 of 3 \(1\.1 to 1\.6 s\); decode --salvage"):
        TokenFile.read(path)
    found, lost = TokenFile.salvage(path)
    assert [(one.first, one.last) for one in lost] == [(80, 120)]
    assert np.array_equal(found.codes[:, :80], tokens.codes[:, :80])
    assert not found.codes[:, 80:].any()
    path.write_bytes(tokens.to_bytes(known)[:-30])
    with pytest.raises(TruncatedFile):
        TokenFile.read(path)
    assert [one.first for one in TokenFile.salvage(path)[1]] == [80]


def test_a_prior_of_another_codec_or_none_is_refused(
    known: Prior, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = tokens_of(likely(known, 100))
    with pytest.raises(PriorError, match=f"the prior is of codec {CODEC}, the tokens of ff"):
        tokens_of(tokens.codes, fingerprint=b"\xff" * 8).to_bytes(known)
    tokens.write(tmp_path / "a.act", known)
    monkeypatch.delenv(priors.ENVIRONMENT)
    with pytest.raises(
        PriorError, match=rf"a\.act: is compressed by prior {known.fingerprint.hex()}, which is not at hand"
    ):
        TokenFile.read(tmp_path / "a.act")


def test_a_probability_one_unit_off_ruins_floating_point_coding_and_not_ours(prior: Prior) -> None:
    """EnCodec's way: probabilities from a float32 network into a range coder. Another CPU's last bit ruins all that follows."""
    import constriction

    model, queue = constriction.stream.model.Categorical, constriction.stream.queue
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (400, 256)).astype(np.float32)
    probabilities = torch.from_numpy(logits).softmax(-1).numpy()
    symbols = [int(random.choice(256, p=row.astype(float) / row.astype(float).sum())) for row in probabilities]
    encoder = queue.RangeEncoder()
    for symbol, row in zip(symbols, probabilities):
        encoder.encode(symbol, model(row, perfect=False))
    elsewhere = np.nextafter(probabilities, np.float32(np.inf))
    decoder, found = queue.RangeDecoder(encoder.get_compressed()), []
    try:
        for row in elsewhere:
            found.append(decoder.decode(model(row, perfect=False)))
    except AssertionError:
        pass
    agree = [ours == theirs for ours, theirs in zip(found, symbols)]
    assert False in agree and agree.index(False) < 100

    codes = likely(prior, 80)
    shaken = random_network(SIZES).export()
    for name, weight in shaken.weights.items():  # sums in another order, the way another BLAS adds them
        shaken.weights[name] = np.asfortranarray(weight)
    lengths = range_coding.segment_lengths(80, 40)
    assert np.array_equal(
        np.concatenate(range_coding.decode(range_coding.encode(codes, prior), lengths, 2, shaken), 1), codes
    )


def test_layout(known: Prior) -> None:
    """The bytes before the segments, written by hand."""
    tokens = tokens_of(likely(known, 90), original_sample_rate=44_100, original_num_samples=52_920)
    data = tokens.to_bytes(known)

    def varint(number: int) -> bytes:
        return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + varint(number // 128)

    numbers = [2, 300, 16, 24_000, 320, 28_800, 1, 44_100, 52_920, len('{"id":"a"}'), 40]
    head = b"\x89ACT\x02" + b"".join(map(varint, numbers)) + struct.pack("<d", 1.5) + bytes.fromhex(CODEC)
    assert data.startswith(head + known.fingerprint)
    at, sizes = len(head) + 8, []
    for first in (0, 40, 80):
        assert data[at] < 128  # these segments are short
        sizes.append(data[at])
        packed = pack_frames(tokens.codes[:, first : first + 40], (9, 4))
        assert struct.unpack_from("<I", data, at + 1)[0] == zlib.crc32(packed)
        at += 5
    assert data[at : at + 10] == b'{"id":"a"}'
    assert len(data) == at + 10 + sum(sizes) + 4
    assert struct.unpack("<I", data[-4:])[0] == zlib.crc32(data[:-4])


def test_usual_fields_take_a_byte(known: Prior) -> None:
    usual, unusual = (
        tokens_of(likely(known, 90)),
        tokens_of(likely(known, 90), original_sample_rate=16_000, original_num_samples=19_200),
    )
    more = len(unusual.to_bytes(known)) - len(usual.to_bytes(known))
    assert more == 1 + 2  # numbers of two and three bytes, for which 0 stands
    assert TokenFile.from_bytes(unusual.to_bytes(known)) == unusual
