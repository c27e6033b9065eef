"""Token files of any shape: written and read back equal; damaged in any single place, refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocodec.errors import CorruptFile, NotATokenFile, TokenFileError, TruncatedFile, UnsupportedVersion
from audiocodec.tokens.bitpack import pack, pack_frames, unpack, unpack_frames
from audiocodec.tokens.token_file import TokenFile

# sizes at and beside the powers of two, where the width changes, and any other
SIZES = st.one_of(
    st.integers(2, 2**24),
    st.tuples(st.integers(1, 24), st.sampled_from([-1, 0, 1])).map(
        lambda pair: min(max(2 ** pair[0] + pair[1], 2), 2**24)
    ),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NOTES = st.dictionaries(st.text(), JSON, max_size=3)
U32 = st.integers(1, 2**32 - 1)


@st.composite
def codes_of(draw, sizes, frames):
    """Codes [K, T], the smallest and largest of each codebook among them where they fit."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    codes = np.stack([rng.integers(0, size, frames) for size in sizes])
    for row, size in zip(codes, sizes):
        row[: min(frames, 2)] = [size - 1, 0][: min(frames, 2)]
    return codes


@st.composite
def token_files(draw, max_frames=40, max_codebooks=8, notes=NOTES):
    sizes = draw(st.lists(SIZES, min_size=1, max_size=max_codebooks))
    frames, hop_length = draw(st.integers(1, max_frames)), draw(U32)
    last = draw(st.sampled_from([1, hop_length]) | st.integers(1, hop_length))  # samples of the last frame
    return TokenFile(
        codes=draw(codes_of(sizes, frames)),
        codebook_sizes=tuple(sizes),
        sample_rate=draw(U32),
        hop_length=hop_length,
        num_samples=(frames - 1) * hop_length + last,
        original_sample_rate=draw(U32),
        original_channels=draw(st.integers(1, 2**16 - 1)),
        original_num_samples=draw(st.integers(1, 2**64 - 1)),
        gain=draw(st.floats(min_value=0, exclude_min=True, allow_infinity=False)),
        fingerprint=draw(st.binary(min_size=8, max_size=8)),
        notes=draw(notes),
    )


SMALL = token_files(max_frames=5, max_codebooks=3, notes=st.sampled_from([{}, {"id": "é"}]))


@settings(deadline=None)
@given(token_files())
def test_written_and_read_back_equal(tokens):
    data = tokens.to_bytes()
    back = TokenFile.from_bytes(data)
    assert back == tokens
    assert back.to_bytes() == data
    assert len(data) == tokens.describe()["file_bytes"]


@settings(deadline=None)
@given(token_files(), st.data())
def test_truncate_equals_encoding_with_fewer_codebooks(tokens, data):
    count = data.draw(st.integers(1, len(tokens.codebook_sizes)))
    cut = TokenFile.from_bytes(tokens.truncate(count).to_bytes())
    assert np.array_equal(cut.codes, tokens.codes[:count])
    assert cut.codebook_sizes == tokens.codebook_sizes[:count]
    assert cut.payload_bits == sum((size - 1).bit_length() for size in cut.codebook_sizes) * tokens.codes.shape[1]


@settings(deadline=None, max_examples=50)
@given(SMALL)
def test_cut_at_every_byte_is_truncated(tokens):
    data = tokens.to_bytes()
    for length in range(len(data)):
        with pytest.raises(TruncatedFile, match="^cut: "):
            TokenFile.from_bytes(data[:length], "cut")


@settings(deadline=None, max_examples=50)
@given(SMALL)
def test_every_flipped_bit_is_found(tokens):
    data = bytearray(tokens.to_bytes())
    for byte in range(len(data)):
        expected = NotATokenFile if byte < 4 else UnsupportedVersion if byte == 4 else (CorruptFile, TruncatedFile)
        for bit in range(8):
            data[byte] ^= 1 << bit
            with pytest.raises(expected, match="^flipped: "):
                TokenFile.from_bytes(bytes(data), "flipped")
            data[byte] ^= 1 << bit
    assert TokenFile.from_bytes(bytes(data)) == tokens


@settings(deadline=None)
@given(SMALL, st.binary(min_size=1, max_size=100))
def test_trailing_bytes_are_corrupt(tokens, extra):
    with pytest.raises(CorruptFile, match="goes on after"):
        TokenFile.from_bytes(tokens.to_bytes() + extra)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_give_a_token_file_error(data, with_magic):
    with pytest.raises(TokenFileError):
        TokenFile.from_bytes(b"\x89ACT\x01" + data if with_magic else data)


@settings(deadline=None)
@given(SMALL, st.data())
def test_code_outside_its_codebook_is_refused(tokens, data):
    codes = np.array(tokens.codes, dtype=np.int64)
    row = data.draw(st.integers(0, codes.shape[0] - 1))
    size = tokens.codebook_sizes[row]
    codes[row, data.draw(st.integers(0, codes.shape[1] - 1))] = data.draw(
        st.sampled_from([size, -1, 2**32, -(2**32)]) | st.integers(size, 2**40)
    )
    values = {name: getattr(tokens, name) for name in tokens.__dataclass_fields__ if name[0] != "_"}
    with pytest.raises(TokenFileError, match=f"codebook {row} has {size} entries"):
        TokenFile(**{**values, "codes": codes})


@settings(deadline=None)
@given(st.lists(st.integers(1, 24), min_size=1, max_size=8), st.integers(0, 50), st.data())
def test_packed_bits_are_those_of_a_big_integer(widths, frames, data):
    """Any T, 0 too; the expected bytes come from one Python integer per stream."""
    codes = (
        np.zeros((len(widths), 0), int) if not frames else data.draw(codes_of([2**width for width in widths], frames))
    )
    number = position = 0
    for frame in codes.T.tolist():
        for code, width in zip(frame, widths):
            number |= code << position
            position += width
    packed = pack_frames(codes, widths)
    assert packed == number.to_bytes((position + 7) // 8, "little")
    assert np.array_equal(unpack_frames(packed, widths, frames), codes)
    assert np.array_equal(unpack(pack(codes[0], widths[0]), widths[0], frames), codes[0])
