"""Token files as values and as files: what is refused, what a reader is told, what a failed write leaves."""

import dataclasses
import io
import json
import os
import resource
import stat
import struct
import threading
import tracemalloc
import zlib

import numpy as np
import pytest

from audiocodec.errors import CorruptFile, NotATokenFile, TokenFileError, TruncatedFile, UnsupportedVersion
from audiocodec.tokens.bitpack import pack, unpack
from audiocodec.tokens.export import write_jsonl, write_kaldi_text, write_npy
from audiocodec.tokens.token_file import TokenFile


def make(**changes):
    values = {
        "codes": np.array([[1, 999, 512], [2, 0, 1]]),
        "codebook_sizes": (1000, 3),
        "sample_rate": 24000,
        "hop_length": 320,
        "num_samples": 700,
        "original_sample_rate": 44100,
        "original_channels": 2,
        "original_num_samples": 1286,
        "gain": 0.5,
        "fingerprint": bytes(range(8)),
        "notes": {"id": "a"},
    }
    return TokenFile(**{**values, **changes})


def patched(offset, data, tokens=None):
    """A token file with some bytes replaced and its checksum made right again."""
    body = bytearray((tokens or make()).to_bytes()[:-4])
    body[offset : offset + len(data)] = data
    return bytes(body) + struct.pack("<I", zlib.crc32(body))


# --- values that are refused before anything is written


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codes": [[1, 1000, 2], [0, 0, 0]]}, "codebook 0 has 1000 entries, a code is 1000; must be 0 to 999"),
        ({"codes": [[1, 9, 2], [0, -1, 0]]}, "codebook 1 has 3 entries, a code is -1; must be 0 to 2"),
        ({"codes": [[1, 2**32 + 1, 2], [0, 0, 0]]}, "a code is 4294967297"),  # would be 1 as int32
        ({"codes": [[1.0, 2.0, 3.0], [0, 0, 0]]}, r"codes are float64 \[2, 3\], must be integers"),
        ({"codes": [1, 2, 3]}, r"codes are int64 \[3\], must be integers \[codebooks, frames\]"),
        ({"codes": [[1, 2, 3], [0]]}, "wrong kind"),
        ({"codes": [[1, 2, 3]]}, "1 rows of codes for 2 codebook sizes"),
        ({"codes": np.zeros((2, 0), int), "num_samples": 0}, "num_samples is 0, must be 1"),
        ({"codes": np.zeros((0, 3), int), "codebook_sizes": ()}, "0 codebooks, must be 1 to 255"),
        ({"codes": np.zeros((256, 3), int), "codebook_sizes": (2,) * 256}, "256 codebooks, must be 1 to 255"),
        ({"codebook_sizes": (1000, 1)}, "codebook 1 has 1 entries, must be 2 to 16777216"),
        ({"codebook_sizes": (2**24 + 1, 3)}, "codebook 0 has 16777217 entries"),
        ({"codebook_sizes": (1000.0, 3)}, "wrong kind"),
        ({"num_samples": 640}, "3 frames contradict 640 samples in hops of 320, which make 2"),
        ({"num_samples": 961}, "3 frames contradict 961 samples in hops of 320, which make 4"),
        ({"num_samples": 700.0}, "wrong kind"),
        ({"hop_length": 0}, "hop_length is 0, must be 1"),
        ({"sample_rate": 2**32}, "sample_rate is 4294967296"),
        ({"original_channels": 70000}, "original_channels is 70000, must be 1 to 65535"),
        ({"original_sample_rate": -1}, "original_sample_rate is -1"),
        ({"original_num_samples": 0}, "original_num_samples is 0"),
        ({"gain": 0.0}, "gain is 0.0, must be finite and above 0"),
        ({"gain": float("nan")}, "gain is nan"),
        ({"gain": float("inf")}, "gain is inf"),
        ({"gain": "loud"}, "wrong kind"),
        ({"fingerprint": b"1234567"}, "fingerprint has 7 bytes, must have 8"),
        ({"fingerprint": 8}, "wrong kind"),  # bytes(8) would be eight zeros
        ({"notes": ["a"]}, "notes must be a mapping, got list"),
        ({"notes": {"a": {1, 2}}}, "not JSON serializable"),
        ({"notes": {"a": float("nan")}}, "wrong kind"),
        ({"notes": {"a": "\ud800"}}, "wrong kind"),
    ],
)
def test_value_that_no_file_can_hold_is_refused(changes, message):
    with pytest.raises(TokenFileError, match=message):
        make(**changes)


@pytest.mark.parametrize(("num_samples", "frames"), [(1, 1), (319, 1), (320, 1), (321, 2), (640, 2), (641, 3)])
def test_frames_are_samples_over_hop_rounded_up(num_samples, frames):
    make(codes=np.zeros((2, frames), int), num_samples=num_samples)
    for other in (frames - 1, frames + 1):
        with pytest.raises(TokenFileError, match=r"contradict|frames is 0"):
            make(codes=np.zeros((2, other), int), num_samples=num_samples)


def test_token_file_is_a_value():
    codes = np.array([[1, 999, 512], [2, 0, 1]], dtype=np.int32)  # the type kept inside: must be copied
    tokens = make(codes=codes)
    codes[0, 0] = 7
    assert tokens == make()
    assert tokens.codes.dtype == np.int32
    assert not tokens.codes.flags.writeable
    assert tokens != make(gain=0.25)
    assert tokens != make(codes=[[1, 999, 513], [2, 0, 1]])
    with pytest.raises(dataclasses.FrozenInstanceError):
        tokens.gain = 1.0
    with pytest.raises(TypeError, match="unhashable"):
        hash(tokens)


def test_describe_is_json_and_its_numbers_are_those_of_the_file():
    values = json.loads(json.dumps(make().describe()))
    # 36 bits in 700 / 24000 s; 91 bytes are the golden example of the format document
    assert values["payload_bits"] == make().payload_bits == 36
    assert values["file_bytes"] == len(make().to_bytes()) == 91
    assert values["seconds"] == 700 / 24000
    assert values["kbps_payload"] == pytest.approx(36 * 24 / 700)
    assert values["kbps_file"] == pytest.approx(91 * 8 * 24 / 700)
    assert (values["frame_rate"], values["bits_per_frame"], values["frames"]) == (75.0, 12, 3)
    assert (values["fingerprint"], values["notes"]) == ("0001020304050607", {"id": "a"})


def test_truncate_is_encoding_with_fewer_codebooks():
    rng = np.random.default_rng(1)
    sizes = (1024, 3, 70000)
    codes = np.stack([rng.integers(0, size, 50) for size in sizes])
    whole = make(codes=codes, codebook_sizes=sizes, num_samples=50 * 320)
    for count in (1, 2, 3):
        fewer = make(codes=codes[:count], codebook_sizes=sizes[:count], num_samples=50 * 320)
        assert whole.truncate(count).to_bytes() == fewer.to_bytes()
    for count in (0, 4, -1):
        with pytest.raises(TokenFileError, match=f"cannot keep {count} codebooks of 3"):
            whole.truncate(count)


# --- damaged bytes (cuts and flips: tests/property)


@pytest.mark.parametrize(
    "data", [b"RIFF\x24\x00\x00\x00WAVE", b"\x89PNG\r\n\x1a\n", b"\0" * 100, b"hello\n", b"\x89AC\0"]
)
def test_other_files_are_not_token_files(data):
    with pytest.raises(NotATokenFile, match="x.act: not a token file: starts with"):
        TokenFile.from_bytes(data, "x.act")


def test_newer_version_is_refused_even_if_its_layout_is_unknown():
    with pytest.raises(
        UnsupportedVersion, match="x.act: token file of version 3, this reads 1 and 2; a newer audiocodec"
    ):
        TokenFile.from_bytes(patched(4, b"\x03"), "x.act")
    with pytest.raises(UnsupportedVersion, match="version 3"):
        TokenFile.from_bytes(b"\x89ACT\x03")
    with pytest.raises(UnsupportedVersion, match="version 0.*no such version"):
        TokenFile.from_bytes(patched(4, b"\x00"))


def test_trailing_bytes_are_refused():
    for extra in (b"\0", b"more" * 1000, make().to_bytes()):
        with pytest.raises(CorruptFile, match="goes on after the 91 bytes"):
            TokenFile.from_bytes(make().to_bytes() + extra)
        with pytest.raises(CorruptFile, match="goes on after the 91 bytes"):
            TokenFile.read(io.BytesIO(make().to_bytes() + extra))


@pytest.mark.parametrize("frames", [2**60, 2**64 - 1])
def test_claim_of_a_huge_length_is_refused_before_anything_is_allocated(frames, tmp_path):
    consistent = struct.pack("<QQ", frames, frames)  # frames and samples agree in hops of 1
    data = bytearray(patched(24, consistent))
    data[12:16] = struct.pack("<I", 1)
    data[-4:] = struct.pack("<I", zlib.crc32(data[:-4]))
    path = tmp_path / "x.act"
    path.write_bytes(data)
    read_end, write_end = os.pipe()
    os.write(write_end, data)
    os.close(write_end)
    tracemalloc.start()
    try:
        with pytest.raises(TruncatedFile, match="its header says"):
            TokenFile.from_bytes(bytes(data))
        with pytest.raises(TruncatedFile, match="its header says"):
            TokenFile.read(path)
        with os.fdopen(read_end, "rb") as pipe, pytest.raises(TruncatedFile, match="its header says"):
            TokenFile.read(pipe)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20  # a read of 1 MiB at a time, its buffer, and pytest's own


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (patched(5, b"\0"), "0 codebooks"),
        (patched(24, struct.pack("<Q", 2)), "2 frames contradict 700 samples"),
        (patched(32, struct.pack("<Q", 0)), "num_samples is 0"),
        (patched(48, struct.pack("<d", float("nan"))), "gain is nan"),
        (patched(64, struct.pack("<I", 1)), "codebook 0 has 1 entries"),
        (patched(64, struct.pack("<I", 513)), "codebook 0 has 513 entries, a code is 999"),
        (patched(86, b"\x16"), "the bits that fill the last byte of the codes are not zero"),
        (patched(72, b'{"id":"a"]'), "notes are not JSON"),
        (patched(72, b'["id","a"]'), "notes are not a JSON object"),
        (patched(72, b'{"id":NaN}'), "notes are not JSON: NaN"),
        (patched(72, b'{"i":1e999}', make(notes={"id": "ab"})), "Out of range float"),
        (patched(72, b"\xff" * 10), "notes are not JSON"),
        (patched(72, b"{        }"), "notes are not a JSON object with entries"),
    ],
)
def test_fields_that_contradict_each_other_under_a_right_checksum(data, message):
    with pytest.raises(CorruptFile, match=f"x.act: .*{message}"):
        TokenFile.from_bytes(data, "x.act")


def test_notes_nested_too_deeply_are_refused():
    notes = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    whole = make(notes={"a": "x" * (len(notes) - 8)})
    with pytest.raises(CorruptFile, match="x.act: the notes are not JSON"):
        TokenFile.from_bytes(patched(72, notes, whole), "x.act")


# --- reading


def test_read_from_path_stream_and_stdin(tmp_path, monkeypatch):
    tokens = make()
    tokens.write(tmp_path / "x.act")
    assert TokenFile.read(tmp_path / "x.act") == tokens
    assert TokenFile.read(str(tmp_path / "x.act")) == tokens
    assert TokenFile.read(io.BytesIO(tokens.to_bytes())) == tokens
    with open(tmp_path / "x.act") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert TokenFile.read("-") == tokens


def test_stream_is_read_no_further_than_one_byte_past_the_end():
    stream = io.BytesIO(b"no token file" + bytes(10_000))
    with pytest.raises(NotATokenFile):
        TokenFile.read(stream)
    assert stream.tell() == 5  # magic and version


def test_unreadable_paths_are_token_file_errors(tmp_path):
    with pytest.raises(TokenFileError, match=r"gone\.act: cannot be read: No such file or directory"):
        TokenFile.read(tmp_path / "gone.act")
    with pytest.raises(TokenFileError, match="cannot be read: Is a directory"):
        TokenFile.read(tmp_path)
    with pytest.raises(TokenFileError, match="cannot be read: embedded null byte"):
        TokenFile.read("a\0b")
    (tmp_path / "empty.act").touch()
    with pytest.raises(TruncatedFile, match=r"empty\.act: ends after 0 bytes"):
        TokenFile.read(tmp_path / "empty.act")


# --- writing


def test_write_leaves_only_the_file_with_the_usual_permissions(tmp_path):
    make(gain=2.0).write(tmp_path / "x.act")
    make().write(tmp_path / "x.act")
    (tmp_path / "plain").touch()
    assert TokenFile.read(tmp_path / "x.act") == make()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain", "x.act"]
    assert (tmp_path / "x.act").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_write_goes_through_a_symbolic_link(tmp_path):
    (tmp_path / "real").mkdir()
    make(gain=2.0).write(tmp_path / "real" / "x.act")
    (tmp_path / "link.act").symlink_to(tmp_path / "real" / "x.act")
    make().write(tmp_path / "link.act")
    assert (tmp_path / "link.act").is_symlink()
    assert TokenFile.read(tmp_path / "real" / "x.act") == make()


def test_write_to_stdout_and_to_a_pipe(tmp_path, monkeypatch):
    out = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(out))
    make().write("-")
    assert out.getvalue() == make().to_bytes()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=make().write, args=(fifo,))
    writer.start()
    assert TokenFile.read(fifo) == make()
    writer.join()
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_full_disk_keeps_the_old_file_and_no_temporary_one(tmp_path):
    """A limit on the size of files fails a write half-way, as a full disk does."""
    path = tmp_path / "x.act"
    make().write(path)
    big = make(codes=np.zeros((2, 40_000), int), num_samples=40_000 * 320)
    assert len(big.to_bytes()) > 50_000
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(TokenFileError, match=r"x\.act: cannot be written: File too large"):
            big.write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert TokenFile.read(path) == make()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_device_names_file_and_cause():
    with pytest.raises(TokenFileError, match="^/dev/full: cannot be written: No space left on device$"):
        make().write("/dev/full")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make().write(tmp_path / "x.act")
    assert list(tmp_path.iterdir()) == []


def test_write_errors_name_the_path(tmp_path):
    with pytest.raises(TokenFileError, match=r"gone/x\.act: cannot be written: No such file or directory"):
        make().write(tmp_path / "gone" / "x.act")
    with pytest.raises(TokenFileError, match="cannot be written: Is a directory"):
        make().write(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TokenFileError, match="cannot be written: File name too long"):
        make().write(tmp_path / ("x" * 300))


# --- bits


def test_bits_by_hand():
    # 5 = 101, 3 = 011, 6 = 110, lowest bit first: 101 110 01|1 -> 0b10011101, 0b0
    assert pack(np.array([5, 3, 6]), 3) == bytes([0b10011101, 0b1])
    assert unpack(bytes([0b10011101, 0b1]), 3, 3).tolist() == [5, 3, 6]
    assert pack(np.array([], int), 7) == b""
    assert unpack(b"", 7, 0).tolist() == []


def test_bits_across_the_blocks_they_are_worked_in():
    """2**22 bits are one block: lengths around it, against Python's big integers."""
    width = 20
    for count in (2**22 // width // 8 * 8 + delta for delta in (-1, 0, 1, 9)):
        values = np.random.default_rng(count).integers(0, 1 << width, count)
        data = pack(values, width)
        number = int.from_bytes(data, "little")
        assert [number >> (width * at) & (2**width - 1) for at in (0, count - 2, count - 1)] == [
            values[0],
            values[-2],
            values[-1],
        ]
        assert np.array_equal(unpack(data, width, count), values)


def test_bits_that_do_not_fit():
    with pytest.raises(TokenFileError, match="values 0 to 8 do not fit in 3 bits"):
        pack(np.array([0, 8]), 3)
    with pytest.raises(TokenFileError, match="values -1 to 0 do not fit in 3 bits"):
        pack(np.array([0, -1]), 3)
    for bits in (0, 25):
        with pytest.raises(TokenFileError, match="each must be 1 to 24"):
            pack(np.array([0]), bits)
    with pytest.raises(TruncatedFile, match="1 bytes of codes, 2 expected"):
        unpack(b"a", 3, 3)
    with pytest.raises(CorruptFile, match="3 bytes of codes, 2 expected"):
        unpack(b"abc", 3, 3)


# --- export


def test_export_to_numpy_json_and_kaldi(tmp_path):
    one, two = make(codes=[[5, 7, 9]], codebook_sizes=(1000,)), make()
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(TokenFileError, match="No space left on device"):
        write_npy(two, full)
    write_npy(two, tmp_path / "x.npy")
    assert np.array_equal(np.load(tmp_path / "x.npy"), two.codes)
    assert write_jsonl(iter([("one", one), ("zwö", two)]), tmp_path / "x.jsonl") == 2
    rows = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == ["one", "zwö"]
    assert rows[1]["codes"] == [[1, 999, 512], [2, 0, 1]]
    assert rows[1]["num_samples"] == 700
    out = io.BytesIO()
    assert write_kaldi_text([("one", one), ("two", two)], out) == 2
    assert out.getvalue() == b"one 5 7 9\ntwo 1 2 ; 999 0 ; 512 1 ;\n"


@pytest.mark.parametrize(
    ("names", "message"), [(["a", "a"], "'a': comes twice"), (["a b"], "one word"), ([""], "one word")]
)
def test_export_refuses_ids_that_cannot_be_read_back(names, message, tmp_path):
    for write in (write_jsonl, write_kaldi_text):
        with pytest.raises(TokenFileError, match=message):
            write([(name, make()) for name in names], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
