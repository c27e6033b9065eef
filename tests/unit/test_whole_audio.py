"""A file is read whole or refused: files joined end to end, lengths that headers leave open, kinds that need ffmpeg."""

from __future__ import annotations

import os
import stat
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec.audio import container, io
from audiocodec.audio.container import missing_bytes
from audiocodec.errors import AudioError

RATE = 24_000
KINDS = {
    "wav": {"format": "WAV"},
    "rf64": {"format": "RF64"},
    "w64": {"format": "W64"},
    "aiff": {"format": "AIFF"},
    "au": {"format": "AU"},
    "caf": {"format": "CAF"},
    "sph": {"format": "NIST"},
    "flac": {"format": "FLAC"},
    "ogg": {"format": "OGG"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3"},
}


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def saved(path: Path, wav: np.ndarray, **kind: str) -> bytes:
    soundfile.write(path, wav, RATE, **kind)
    return path.read_bytes()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("second", ["same", "other", "short"])
def test_files_joined_end_to_end_are_refused(tmp_path: Path, name: str, second: str) -> None:
    """`cat a b > c`: libsndfile reads the first, or takes the header of the second for samples."""
    first = saved(tmp_path / "a", noise(20_000), **KINDS[name])
    more = {
        "same": first,
        "other": saved(tmp_path / "b", noise(30_000, 1), **KINDS[name]),
        "short": saved(tmp_path / "b", noise(9_000, 2), **KINDS[name]),
    }
    assert io.info(tmp_path / "a").num_samples == 20_000
    joined = tmp_path / f"joined.{name}"
    joined.write_bytes(first + more[second])
    for attempt in (io.info, io.read, io.level, lambda path: list(io.read_blocks(path, RATE, 999))):
        with pytest.raises(AudioError, match=rf"joined\.{name}: .*(several|one after the other)"):
            attempt(joined)


def test_mp3_without_a_tag_of_its_length_is_read_through_joins(tmp_path: Path) -> None:
    data = saved(tmp_path / "a.mp3", noise(24_000), format="MP3")
    bare = data[data.index(data[:2], 10) :]  # without its first frame, which states the length
    (tmp_path / "one.mp3").write_bytes(bare)
    (tmp_path / "two.mp3").write_bytes(bare + bare)
    assert io.info(tmp_path / "two.mp3").num_samples >= 2 * io.info(tmp_path / "one.mp3").num_samples - 1152


@pytest.mark.parametrize(
    "behind",
    [
        b"LIST\x0e\0\0\0INFOISFT\2\0\0\0x\0",
        b"LIST\x03\0\0\0abc" + b"bext\4\0\0\0abcd",  # an odd length that is not padded
        b"id3 " + struct.pack("<I", 5_000) + bytes(range(250)) * 20,
        b"TAG" + bytes(125),
        bytes(9_000),
        b"junk of some tool",
    ],
)
def test_what_may_follow_samples(tmp_path: Path, behind: bytes) -> None:
    data = saved(tmp_path / "a.wav", noise(1_000))
    (tmp_path / "b.wav").write_bytes(data + behind)
    assert io.info(tmp_path / "b.wav").num_samples == 1_000


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
@pytest.mark.parametrize("stated", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_wav_of_open_length_is_read_to_its_end(tmp_path: Path, stated: int, subtype: str) -> None:
    """What programs leave in the header that write to a pipe, or that are killed."""
    data = bytearray(saved(tmp_path / "a.wav", noise(5_000), subtype=subtype))
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = struct.pack("<I", stated)
    (tmp_path / "b.wav").write_bytes(data)
    np.testing.assert_array_equal(io.read(tmp_path / "b.wav")[0], io.read(tmp_path / "a.wav")[0])
    np.testing.assert_array_equal(
        io.read_part(tmp_path / "b.wav", 1_000, 50), io.read_part(tmp_path / "a.wav", 1_000, 50)
    )


@pytest.mark.parametrize(("stated", "gib"), [(0x7FFFF000, 3), (0xFFFFFFFF, 5), (0, 5)])
def test_open_lengths_beyond_what_a_header_can_state(tmp_path: Path, stated: int, gib: int) -> None:
    head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 2, 44100, 176400, 4, 16) + b"data" + struct.pack("<I", stated)
    with open(tmp_path / "a.wav", "wb") as file:
        file.write(b"RIFF" + struct.pack("<I", stated) + head + b"\1\2\3\4")
        file.truncate(44 + gib * 2**30)  # the rest takes no room on the disk
    assert io.info(tmp_path / "a.wav") == io.AudioInfo(44100, 2, gib * 2**28)


def test_a_length_that_stopped_growing_is_named(tmp_path: Path) -> None:
    data = bytearray(saved(tmp_path / "a.wav", noise(20_000)))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 8_000)
    (tmp_path / "b.wav").write_bytes(data)
    with pytest.raises(
        AudioError, match=r"b\.wav: 32000 bytes follow the 8000 bytes of samples that its header states"
    ):
        io.info(tmp_path / "b.wav")


@pytest.mark.parametrize(
    "head", [b"RIFF\0\0\0\0WAVE", b"RF64\0\0\0\0WAVE", b"FORM\0\0\0\0AIFF", b"caff\0\1\0\0", b"riff"]
)
def test_endless_headers_are_left_soon(tmp_path: Path, head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(tmp_path / "a.wav", "wb") as file:
        file.write(head)
        file.truncate(1 << 30)
    reads: list[int] = []
    plain = container.read_at
    monkeypatch.setattr(container, "read_at", lambda *asked: reads.append(1) or plain(*asked))
    with open(tmp_path / "a.wav", "rb") as file, pytest.raises(AudioError, match="more than 4096 chunks"):
        missing_bytes(file.fileno())
    assert len(reads) < 5_000
    with pytest.raises(AudioError, match=r"a\.wav: not audio, or damaged: its header has more than"):
        io.info(tmp_path / "a.wav")


def test_samples_too_large_to_be_audio_are_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full((100, 2), 3e38, np.float32), RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav: holds samples of 3e\+38 times full scale"):
        io.level(tmp_path / "a.wav")


def test_compressed_sphere_is_not_called_truncated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The samples that its header counts are those after decompression, which ffmpeg does."""
    monkeypatch.setenv("PATH", str(tmp_path))
    fields = "sample_count -i 40000\nchannel_count -i 1\nsample_n_bytes -i 2\nsample_rate -i 16000\n"
    head = f"NIST_1A\n   1024\n{fields}sample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n"
    (tmp_path / "a.sph").write_bytes(head.encode().ljust(1024) + b"ajkg" + bytes(range(1, 256)) * 20)
    with pytest.raises(AudioError, match=r"a\.sph: not audio.*install the program ffmpeg"):
        io.info(tmp_path / "a.sph")


# --- kinds that need ffmpeg

M4A = b"\0\0\0\x20ftypM4A " + bytes(20)
FFMPEG = """#!{python}
import shutil, sys
words = sys.argv[1:]
assert words[words.index("-protocol_whitelist") + 1] == "file" and words[words.index("-f") + 1] == "{kind}"
assert words[words.index("-i") + 1].startswith("file:/") and words[-1].startswith("file:/")
shutil.copy("{audio}", words[-1][5:])
sys.stderr.write("{complaint}")
sys.exit({status})
"""


def fake_ffmpeg(folder: Path, kind: str = "mov", complaint: str = "", status: int = 0) -> None:
    """A program `ffmpeg` in `folder` that writes what the file `decoded` in it holds."""
    program = folder / "ffmpeg"
    audio = folder / "decoded"
    words = {"python": sys.executable, "kind": kind, "audio": audio, "complaint": complaint, "status": status}
    program.write_text(FFMPEG.format(**words))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_other_kinds_are_read_through_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "a.m4a").write_bytes(M4A)
    with pytest.raises(AudioError, match=r"a\.m4a: libsndfile does not read .*\(mov\); install the program ffmpeg"):
        io.info(tmp_path / "a.m4a")
    soundfile.write(tmp_path / "decoded", noise(5_000), RATE, format="WAV", subtype="FLOAT")
    fake_ffmpeg(tmp_path)
    before = set(os.listdir(tmp_path))
    assert io.info(tmp_path / "a.m4a") == io.AudioInfo(RATE, 1, 5_000)
    np.testing.assert_array_equal(io.read(tmp_path / "a.m4a")[0][0], noise(5_000))
    assert set(os.listdir(tmp_path)) == before
    for complaint, status in (("moov atom not found", 1), ("Error while decoding", 0), ("", 3)):
        fake_ffmpeg(tmp_path, complaint=complaint, status=status)
        with pytest.raises(AudioError, match=rf"a\.m4a: .*ffmpeg as mov: {complaint or 'status 3'}"):
            io.level(tmp_path / "a.m4a")


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x1aE\xdf\xa3", "matroska"),
        (b"0&\xb2u\x8ef\xcf\x11", "asf"),
        (b"#!AMR\n" + bytes(range(1, 200)), "amr"),
        ((b"\xd2" + bytes(32)) * 9, "gsm"),
    ],
)
def test_kinds_are_known_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes, kind: str) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "a.bin").write_bytes(head)
    with pytest.raises(AudioError, match=rf"\({kind}\); install the program ffmpeg"):
        io.info(tmp_path / "a.bin")


def test_text_is_never_given_to_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ffmpeg would follow a playlist to other files."""
    monkeypatch.setenv("PATH", str(tmp_path))
    fake_ffmpeg(tmp_path)
    (tmp_path / "a.mp4").write_text("#EXTM3U\nfile:///etc/passwd\n")
    with pytest.raises(AudioError, match=r"a\.mp4: not audio"):
        io.info(tmp_path / "a.mp4")
