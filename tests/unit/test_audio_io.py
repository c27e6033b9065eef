"""Reading, resampling and writing audio: exact lengths, blocks equal to the whole, bad files refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec.audio import io
from audiocodec.audio.container import missing_bytes
from audiocodec.errors import AudioError

RATE = 24_000


def noise(samples: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(samples + channels).normal(0, 0.1, (samples, channels)).astype(np.float32)


def saved(folder: Path, name: str, wav: np.ndarray, rate: int = RATE, **kind: str) -> Path:
    path = folder / name
    soundfile.write(path, wav, rate, **kind)
    return path


KINDS = [
    ("a.wav", {"subtype": "PCM_U8"}),
    ("a.wav", {"subtype": "PCM_16"}),
    ("a.wav", {"subtype": "PCM_24"}),
    ("a.wav", {"subtype": "FLOAT"}),
    ("a.flac", {}),
    ("a.ogg", {}),
    ("a.opus", {"format": "OGG", "subtype": "OPUS"}),
    ("a.mp3", {}),
    ("a.aiff", {}),
    ("a.rf64", {"format": "RF64"}),
    ("a.w64", {}),
    ("a.au", {}),
    ("a.au", {"endian": "LITTLE"}),
    ("a.caf", {}),
    ("a.nist", {}),
]


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_read_equals_soundfile_whatever_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: dict[str, str]
) -> None:
    path = saved(tmp_path, name, noise(50_000, 2), **kind)
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    monkeypatch.setattr(io, "READ_VALUES", 2 * 4099)  # many blocks, none a multiple of a codec frame
    wav, rate = io.read(path)
    assert rate == RATE and wav.shape == (2, 50_000) and wav.dtype == np.float32
    np.testing.assert_allclose(wav.T, expected, atol=1e-6)  # MP3 is decoded in float, blocks round differently
    assert io.info(path) == io.AudioInfo(RATE, 2, 50_000)


def test_mp3_in_blocks_and_parts_is_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An MP3 frame borrows bits from earlier frames, so a decoder that seeks spoils what follows."""
    with soundfile.SoundFile(tmp_path / "a.mp3", "w", RATE, 1) as f:
        f.write(noise(480_000))
    whole = soundfile.read(tmp_path / "a.mp3", dtype="float32")[0]
    monkeypatch.setattr(io, "READ_VALUES", 4_097)
    np.testing.assert_allclose(io.read(tmp_path / "a.mp3")[0][0], whole, atol=1e-6)
    for start in range(0, 479_000, 24_999):
        np.testing.assert_allclose(io.read_part(tmp_path / "a.mp3", start, 999), whole[start : start + 999], atol=1e-6)


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_read_part_is_a_slice_of_the_whole(tmp_path: Path, name: str, kind: dict[str, str]) -> None:
    path = saved(tmp_path, name, noise(50_000), **kind)
    whole = soundfile.read(path, dtype="float32")[0]
    np.testing.assert_allclose(io.read_part(path, 20_001, 3_000), whole[20_001:23_001], atol=1e-6)
    assert len(io.read_part(path, 49_990, 3_000)) == 10


RATES = [(8_000, RATE), (16_000, RATE), (44_100, RATE), (48_000, RATE), (192_000, RATE), (RATE, 44_100), (RATE, 11_025)]


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
@pytest.mark.parametrize("samples", [1, 2, 3, 7, 999, 30_000])
def test_blocks_equal_the_whole_with_the_exact_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_rate: int, to_rate: int, samples: int
) -> None:
    wav = noise(samples)
    path = saved(tmp_path, "a.wav", wav, from_rate, subtype="FLOAT")
    monkeypatch.setattr(io, "READ_VALUES", 1_000)
    whole = io.resample(wav[:, 0], from_rate, to_rate)
    blocks = list(io.read_blocks(path, to_rate, 777))
    length = int(np.ceil(np.float64(samples) * to_rate / from_rate))  # in floats: small enough to be exact here
    assert len(whole) == length == sum(len(block) for block in blocks)
    assert all(len(block) == 777 for block in blocks[:-1]) and 1 <= len(blocks[-1]) <= 777
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_resampling_keeps_a_tone() -> None:
    """The expected value is the tone itself, sampled at the new rate; soxr HQ passes 1 kHz within 1e-4."""
    tone = np.sin(2 * np.pi * 1_000 * np.arange(44_100) / 44_100)
    expected = np.sin(2 * np.pi * 1_000 * np.arange(24_000) / 24_000)
    out = io.resample(np.stack([tone, -tone]), 44_100, 24_000)
    assert out.shape == (2, 24_000)
    np.testing.assert_allclose(out[:, 500:-500], np.stack([expected, -expected])[:, 500:-500], atol=1e-4)


def test_length_beyond_float_precision() -> None:
    assert io.resampled_length(2**53 + 1, 1, 1) == 2**53 + 1
    assert io.resampled_length(10**15 + 1, 44_100, 24_000) == (10**15 + 1) * 80 // 147 + 1


def test_channels_are_averaged(tmp_path: Path) -> None:
    six = noise(5_000, 6)
    path = saved(tmp_path, "six.wav", six, subtype="FLOAT")
    np.testing.assert_allclose(np.concatenate(list(io.read_blocks(path, RATE, 512))), six.mean(1), atol=1e-7)


def test_level(tmp_path: Path) -> None:
    """A sine of amplitude 0.5 has RMS 0.5 / sqrt 2; measured after resampling it is the same."""
    sine = 0.5 * np.sin(2 * np.pi * 441 * np.arange(88_200) / 44_100)
    path = saved(tmp_path, "sine.wav", np.stack([sine, sine], 1), 44_100, subtype="FLOAT")
    for stats in (io.level(path), io.level(path, RATE)):
        assert stats.rms == pytest.approx(0.5 / 2**0.5, rel=1e-3)  # the resampler's edges cost a little
        assert stats.peak == pytest.approx(0.5, rel=2e-2)
        assert stats.num_samples == 88_200


@pytest.mark.parametrize(
    ("rms", "peak", "gain"),
    [
        (0.0, 0.0, 1.0),
        (0.1, 0.2, 0.631),
        (1e-6, 1e-5, 64.0),
        (0.01, 0.5, 2.0),
        (20.0, 50.0, 1 / 64),
        (5.0, 200.0, 1 / 200),
    ],
)
def test_level_gain(rms: float, peak: float, gain: float) -> None:
    """-24 dB is an RMS of 0.0631; the gain stays in 1/64..64 and never takes the peak past 1."""
    found = io.level_gain(io.LevelStats(rms, peak, 1), -24.0)
    assert found == pytest.approx(gain, rel=1e-3)
    assert found == float(np.float32(found))


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "kind", "keep"),
    [
        ("a.wav", {}, 0.5),
        ("a.wav", {}, -1),
        ("a.wav", {"subtype": "FLOAT"}, 0.9),
        ("a.aiff", {}, 0.5),
        ("a.flac", {}, 0.5),
        ("a.flac", {}, -1),
        ("a.ogg", {}, 0.5),
        ("a.ogg", {}, -1),
        ("a.opus", {"format": "OGG", "subtype": "OPUS"}, 0.9),
        ("a.mp3", {}, 0.5),
        *[
            (f"a.{name}", {"format": name, **kind}, keep)
            for name in ("RF64", "W64", "AU", "CAF", "NIST")
            for kind in ({}, {"subtype": "ULAW"}, {"subtype": "PCM_24"}, {"endian": "LITTLE"} if name == "AU" else {})
            for keep in (-1, 0.5)
        ],
    ],
)
def test_truncated(tmp_path: Path, name: str, kind: dict[str, str], keep: float) -> None:
    data = saved(tmp_path, name, noise(100_000), **kind).read_bytes()
    path = write_bytes(tmp_path / f"cut-{name}", data[: keep if keep < 0 else int(keep * len(data))])
    for attempt in (io.read, io.level, lambda p: list(io.read_blocks(p, 8_000, 4_000))):
        with pytest.raises(AudioError, match=f"cut-{name}: .*truncated"):
            attempt(path)


def test_wav_of_unknown_length_is_not_truncated(tmp_path: Path) -> None:
    """Programs that write WAV to a pipe leave 0xFFFFFFFF as the length."""
    data = bytearray(saved(tmp_path, "a.wav", noise(1_000)).read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff" * 4
    assert io.read(write_bytes(tmp_path / "b.wav", bytes(data)))[0].shape == (1, 1_000)


@pytest.mark.parametrize(
    ("kind", "before", "size"),
    [("AU", b".snd\0\0\0\x18", 4), ("CAF", b"data", 8), ("RF64", b"data", 4), ("W64", b"data", None)],
)
def test_other_files_of_unknown_length_are_not_truncated(
    tmp_path: Path, kind: str, before: bytes, size: int | None
) -> None:
    data = bytearray(saved(tmp_path, "a", noise(1_000), format=kind).read_bytes())
    at = data.index(before) + len(before)
    if kind == "RF64":  # 0xFFFFFFFF is what it always has there; the length is in the chunk `ds64`
        assert data[at : at + 4] == b"\xff" * 4
        data += b"LIST\4\0\0\0abcd"  # and what comes after the samples is none of them
    elif size is None:  # the other 12 bytes of the name; ffmpeg leaves the largest number there
        data[at + 12 : at + 20] = b"\xff" * 7 + b"\x7f"
    else:
        data[at : at + size] = b"\xff" * size
    path = write_bytes(tmp_path / "b", bytes(data))
    with open(path, "rb") as file:
        assert missing_bytes(file.fileno()) == 0
    if kind != "CAF":  # which libsndfile itself refuses
        assert io.read(path)[0].shape == (1, 1_000)


@pytest.mark.parametrize("kind", ["VOC", "PAF", "MAT5", "IRCAM", "SVX"])
def test_formats_whose_end_is_not_known_are_refused(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path, "a.bin", noise(1_000), format=kind, subtype="PCM_16")
    with pytest.raises(AudioError, match=r"a\.bin: is a file of type .*convert it to WAV or FLAC"):
        io.info(path)


@pytest.mark.parametrize("kind", ["WAV", "RF64", "W64", "AU", "CAF", "NIST", "AIFF"])
def test_a_header_cut_anywhere_is_an_error_of_audio(tmp_path: Path, kind: str) -> None:
    data = saved(tmp_path, "a", noise(1_000), format=kind).read_bytes()
    for keep in range(len(data) - 2_000):
        with pytest.raises(AudioError, match=r"cut: (is empty|not audio|truncated|has no samples)"):
            io.read(write_bytes(tmp_path / "cut", data[:keep]))


def test_what_is_no_regular_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for path, cause in (
        (tmp_path / "pipe.wav", "no regular file"),
        ("/dev/zero", "no regular file"),
        (tmp_path, "dir"),
    ):
        for attempt in (io.info, io.read, io.level):
            with pytest.raises(AudioError, match=f"{path}: is .*{cause}"):
                attempt(path)


def test_mp3_without_a_stated_length_is_counted(tmp_path: Path) -> None:
    """Without its first frame (the Xing header) libsndfile guesses the length of a variable-rate MP3, badly."""
    path = tmp_path / "a.mp3"
    loud = np.concatenate([np.zeros(120_000, np.float32), noise(120_000)[:, 0]])
    with soundfile.SoundFile(path, "w", RATE, 1, bitrate_mode="VARIABLE", compression_level=0.5) as f:
        f.write(loud)
    data = path.read_bytes()
    bare = write_bytes(tmp_path / "bare.mp3", data[data.index(data[:2], 10) :])
    assert abs(soundfile.info(bare).frames - 240_000) > 20_000  # the guess
    assert 240_000 <= io.info(bare).num_samples < 240_000 + 4 * 1_152  # whole frames, encoder delay included
    assert io.read(bare)[0].shape[1] == io.info(bare).num_samples


@pytest.mark.parametrize("extension", ["wav", "flac", "mp3", "ogg", "opus", "au", "raw", "act", ""])
def test_content_decides_not_the_name(tmp_path: Path, extension: str) -> None:
    data = saved(tmp_path, "a.flac", noise(3_000)).read_bytes()
    path = write_bytes(tmp_path / f"b.{extension}", data)
    np.testing.assert_array_equal(io.read(path)[0], io.read(tmp_path / "a.flac")[0])
    with pytest.raises(AudioError, match="not audio"):
        io.info(write_bytes(tmp_path / f"c.{extension}", b"not audio\n" * 50))


def test_what_is_refused(tmp_path: Path) -> None:
    bad = np.zeros(1_000, np.float32)
    bad[500] = np.nan
    cases = {
        tmp_path / "missing.wav": "No such file",
        tmp_path: "directory",
        write_bytes(tmp_path / "empty.wav", b""): "empty",
        saved(tmp_path, "none.wav", np.zeros(0, np.float32)): "no samples",
        saved(tmp_path, "nan.wav", bad, subtype="FLOAT"): "NaN or infinite",
        saved(tmp_path, "inf.wav", np.where(np.isnan(bad), np.inf, bad), subtype="FLOAT"): "NaN or infinite",
        saved(tmp_path, "slow.wav", bad, 100): "sample rate 100 Hz",
    }
    for path, cause in cases.items():
        with pytest.raises(AudioError, match=cause) as caught:
            io.level(path)
        assert str(path) in str(caught.value)


def test_one_sample(tmp_path: Path) -> None:
    path = saved(tmp_path, "one.wav", np.full(1, 0.5, np.float32), subtype="FLOAT")
    assert io.level(path) == io.LevelStats(0.5, 0.5, 1)
    assert [list(block) for block in io.read_blocks(path, RATE, 10)] == [[0.5]]


# --- writing


def test_write_clips_and_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    assert io.write(path, np.array([0.0, 0.5, 1.0, 1.001, -7.0]), RATE) == 2
    np.testing.assert_allclose(soundfile.read(path)[0], [0, 0.5, 1, 1, -1], atol=1 / 32_767)
    assert io.write(path, np.array([1.5, -7.0]), RATE, subtype="FLOAT") == 0
    assert list(soundfile.read(path)[0]) == [1.5, -7]


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.opus", "a.mp3"])
def test_blocks_written_are_read_back(tmp_path: Path, name: str) -> None:
    wav = noise(30_000)[:, 0]
    with io.Writer(tmp_path / name, RATE) as writer:
        for start in range(0, 30_000, 7_000):
            writer.write(wav[start : start + 7_000])
    back, rate = io.read(tmp_path / name)
    assert rate == RATE and back.shape == (1, 30_000) and os.listdir(tmp_path) == [name]
    if name in ("a.wav", "a.flac"):
        np.testing.assert_allclose(back[0], wav, atol=1.5 / 32_767)


def test_two_channels_and_float(tmp_path: Path) -> None:
    wav = noise(500, 2).T
    io.write(tmp_path / "a.wav", wav, 8_000, subtype="FLOAT")
    np.testing.assert_array_equal(io.read(tmp_path / "a.wav")[0], wav)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, AudioError, SystemExit])
def test_nothing_is_left_of_an_unfinished_file(tmp_path: Path, stop: type[BaseException]) -> None:
    io.write(tmp_path / "a.wav", np.zeros(10), RATE)
    before = (tmp_path / "a.wav").read_bytes()
    with pytest.raises(stop), io.Writer(tmp_path / "a.wav", RATE) as writer:
        writer.write(noise(100)[:, 0])
        raise stop
    assert os.listdir(tmp_path) == ["a.wav"] and (tmp_path / "a.wav").read_bytes() == before


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"a\.xyz: cannot write audio with extension"):
        io.write(tmp_path / "a.xyz", np.zeros(10), RATE)
    with pytest.raises(AudioError, match=r"none.a\.wav: cannot write: No such file"):
        io.write(tmp_path / "none" / "a.wav", np.zeros(10), RATE)
    with pytest.raises(AudioError, match=r"a\.wav.*NaN"):
        io.write(tmp_path / "a.wav", np.array([0.0, np.nan]), RATE)
    with pytest.raises(AudioError, match=r"a\.opus: .* cannot have 44100 Hz.*--sample-rate 48000"):
        io.write(tmp_path / "a.opus", np.zeros(10), 44_100)
    with pytest.raises(AudioError, match=r"a\.mp3: .* cannot have 96000 Hz.*--sample-rate 48000"):
        io.write(tmp_path / "a.mp3", np.zeros(10), 96_000)
    for name in ("a.mp3", "a.flac"):
        with pytest.raises(AudioError, match=r"has no samples of type FLOAT; write \.wav"):
            io.write(tmp_path / name, np.zeros(10), RATE, subtype="FLOAT")
    assert os.listdir(tmp_path) == []


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    os.symlink(tmp_path / "real" / "a.wav", tmp_path / "link.wav")
    io.write(tmp_path / "link.wav", np.zeros(10), RATE)
    assert (tmp_path / "link.wav").is_symlink() and (tmp_path / "real" / "a.wav").is_file()
