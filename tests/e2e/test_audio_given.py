"""All audio that is given is coded, or named: folders with other kinds, channels, offsets, samples beyond full scale."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import audiocodec
from audiocodec.audio import io
from audiocodec.cli.main import main
from audiocodec.errors import AudioError
from audiocodec.tokens.token_file import TokenFile

RATE = 24_000


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)


def test_a_folder_s_audio_is_coded_or_named(
    tmp_path: Path, tiny_model_path: Path, noise: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = tmp_path / "in"
    audio.mkdir()
    kinds = {"a.wav": "WAV", "b.aiff": "AIFF", "c.AU": "AU", "d.sph": "NIST", "e.caf": "CAF", "f.w64": "W64"}
    for name, kind in kinds.items():
        soundfile.write(audio / name, noise, RATE, format=kind, subtype="PCM_16")
    (audio / "g.wma").write_bytes(b"cut off")
    (audio / "notes.txt").write_text("not audio")
    (audio / "table.json").write_text("{}")
    assert main(["encode", str(audio), "-d", str(tmp_path / "t"), "-m", str(tiny_model_path)]) == 1
    said = capsys.readouterr().err
    assert sorted(path.stem for path in (tmp_path / "t").iterdir()) == list("abcdef")
    assert "g.wma: not audio" in said and "6 of 7 done, 1 failed" in said
    assert "notes" not in said and "table" not in said
    assert main(["make-data", str(audio), str(tmp_path / "data")]) == 1
    assert "g.wma: not audio" in capsys.readouterr().err
    assert [line.split()[0] for line in (tmp_path / "data" / "wav.scp").read_text().splitlines()] == list("abcdef")


def test_channels_that_cancel_are_refused_and_one_can_be_chosen(
    tmp_path: Path, tiny_model_path: Path, noise: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "x.wav", np.stack([noise, -noise], 1), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "left.wav", noise, RATE, subtype="FLOAT")
    encode = ["encode", str(tmp_path / "x.wav"), "-m", str(tiny_model_path), "-o", str(tmp_path / "x.act")]
    assert main(encode) == 1
    assert "x.wav: its channels cancel when they are mixed" in capsys.readouterr().err
    assert not (tmp_path / "x.act").exists()
    assert main([*encode, "--channel", "1"]) == 0
    assert main(["encode", str(tmp_path / "left.wav"), "-m", str(tiny_model_path)]) == 0
    chosen, left = TokenFile.read(tmp_path / "x.act"), TokenFile.read(tmp_path / "left.act")
    np.testing.assert_array_equal(chosen.codes, left.codes)
    assert (chosen.gain, dict(chosen.notes), dict(left.notes)) == (left.gain, {"channel": 1}, {})
    codec = audiocodec.load(tiny_model_path)
    again = audiocodec.encode_file(codec, tmp_path / "x.wav", channel=1)
    np.testing.assert_array_equal(again.codes, left.codes)
    with pytest.raises(AudioError, match=r"x\.wav: has 2 channels, no channel 3"):
        audiocodec.encode_file(codec, tmp_path / "x.wav", channel=3)
    with pytest.raises(AudioError, match="its channels cancel"):
        audiocodec.compress(codec, np.stack([noise, -noise]))
    capsys.readouterr()
    assert main([*encode, "--channel", "2", "--resume"]) == 1
    assert "another --channel" in capsys.readouterr().err


@pytest.mark.parametrize("channels", [2, 6])
def test_independent_channels_are_mixed_with_a_note(
    tmp_path: Path, tiny_model_path: Path, channels: int, capsys: pytest.CaptureFixture[str]
) -> None:
    wav = np.random.default_rng(1).normal(0, 0.1, (RATE, channels))
    soundfile.write(tmp_path / "x.wav", wav, RATE)
    assert main(["encode", str(tmp_path / "x.wav"), "-m", str(tiny_model_path)]) == 0
    assert "x.wav: several channels were mixed to one; --channel N" in capsys.readouterr().err


def test_samples_beyond_full_scale_are_named_and_can_be_kept(
    tmp_path: Path, tiny_model_path: Path, noise: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "x.wav", 32767 * noise, RATE, subtype="FLOAT")
    model = ["-m", str(tiny_model_path)]
    assert main(["encode", str(tmp_path / "x.wav"), *model]) == 0
    peak = 32767 * float(np.abs(noise).max())
    assert f"warning: {tmp_path}/x.wav: samples up to {peak:.4g} times full scale" in capsys.readouterr().err
    decode = ["decode", str(tmp_path / "x.act"), *model]
    assert main([*decode, "-o", str(tmp_path / "y.wav"), "--subtype", "float", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clipped"] == 0
    assert main([*decode, "-o", str(tmp_path / "z.wav")]) == 0
    assert "samples clipped at full scale; --subtype float keeps them" in capsys.readouterr().err
    assert main([*decode, "-o", str(tmp_path / "z.wav"), "--resume", "--subtype", "pcm16", "--json"]) == 0
    assert capsys.readouterr().out == ""  # finished before
    assert main([*decode, "-o", str(tmp_path / "y.wav"), "--resume", "--subtype", "pcm24", "--json"]) == 0
    assert soundfile.info(tmp_path / "y.wav").subtype == "PCM_24"
    assert main([*decode, "-o", str(tmp_path / "y.wav"), "--force", "--subtype", "float"]) == 0
    kept, clipped = soundfile.read(tmp_path / "y.wav")[0], soundfile.read(tmp_path / "z.wav")[0]
    assert np.abs(kept).max() > 100
    np.testing.assert_allclose(np.clip(kept, -1, 1), clipped, atol=1 / 32_000)
    for name, cause in (("y.flac", "FLOAT; write .wav"), ("y.opus", "FLOAT; write .wav")):
        assert main([*decode, "-o", str(tmp_path / name), "--subtype", "float"]) == 1
        assert cause in capsys.readouterr().err


@pytest.mark.parametrize("offset", [0.02, -0.1, 0.5])
def test_a_constant_offset_changes_nothing(
    tmp_path: Path, tiny_model_path: Path, noise: np.ndarray, offset: float
) -> None:
    quiet = (0.05 * noise / np.abs(noise).max()).astype(np.float32)
    codec = audiocodec.load(tiny_model_path)
    found = []
    for name, wav in (("plain", quiet), ("offset", quiet + np.float32(offset))):
        soundfile.write(tmp_path / f"{name}.wav", wav, RATE, subtype="FLOAT")
        found.append(audiocodec.encode_file(codec, tmp_path / f"{name}.wav"))
        compressed = TokenFile.from_bytes(audiocodec.compress(codec, wav, RATE))
        np.testing.assert_array_equal(compressed.codes, found[-1].codes)
    assert found[1].gain == pytest.approx(found[0].gain, rel=1e-2)
    assert (found[0].codes == found[1].codes).mean() > 0.95  # the mean of the noise itself goes, too


def test_audio_without_an_offset_is_left_as_it_is(noise: np.ndarray) -> None:
    """To the bit: the level is that of the plain formula, and samples are only multiplied."""
    wav = noise + np.float32(0.009)  # 0.8 % of the energy
    stats = io.level_of([wav], RATE, RATE)
    assert stats == io.LevelStats(
        float(np.square(wav, dtype=np.float64).sum() / len(wav)) ** 0.5, float(np.abs(wav).max()), len(wav), 0.0
    )
    np.testing.assert_array_equal(io.at_level(wav, stats, 3.7), wav * np.float32(3.7))
    assert io.level_of([noise + np.float32(0.011)], RATE, RATE).offset == pytest.approx(0.011, abs=2e-3)
    assert io.level_of([np.full(1, 0.5, np.float32)], RATE, RATE).offset == 0.0  # one sample is no offset


def test_files_given_to_a_stream_of_samples_are_refused(
    tmp_path: Path, tiny_model_path: Path, noise: np.ndarray
) -> None:
    soundfile.write(tmp_path / "x.wav", noise, RATE)
    words = [sys.executable, "-m", "audiocodec", "stream", "--encode", "-m", str(tiny_model_path)]
    with open(tmp_path / "x.wav", "rb") as file:
        done = subprocess.run(words, stdin=file, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is a file that begins with b'RIFF', not samples without a header (s16le)" in done.stderr


def test_a_file_that_changes_between_two_readings_is_named(
    tmp_path: Path, tiny_model_path: Path, noise: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "x.wav", noise, RATE)
    codec, level = audiocodec.load(tiny_model_path), io.level

    def and_then_it_grows(*asked: object) -> io.LevelStats:
        found = level(*asked)  # type: ignore[arg-type]
        soundfile.write(tmp_path / "x.wav", np.tile(noise, 2), RATE)
        return found

    monkeypatch.setattr(io, "level", and_then_it_grows)
    with pytest.raises(AudioError, match=r"x\.wav: changed while it was read: 24000 samples, then 48000"):
        audiocodec.encode_file(codec, tmp_path / "x.wav")


def test_a_library_that_does_not_fit_in_memory_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(args: object) -> int:
        raise ImportError("libtorch_cpu.so: failed to map segment from shared object")

    monkeypatch.setattr("audiocodec.cli.verbs.info.run", fails)
    assert main(["info"]) == 2
    assert "a library cannot be loaded, as where memory is short: libtorch_cpu.so" in capsys.readouterr().err


def test_it_works_without_what_only_posix_has(tmp_path: Path, tiny_model_path: Path, noise: np.ndarray) -> None:
    """As far as an interpreter on Linux can stand in for one on Windows."""
    program = """
import os, signal, sys
for name in ("O_NONBLOCK", "pread", "sched_getaffinity", "mkfifo", "geteuid", "getuid", "fork", "link"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGALRM", "SIGKILL", "SIGPIPE"):
    if hasattr(signal, name):
        delattr(signal, name)
sys.modules["fcntl"] = sys.modules["resource"] = sys.modules["pwd"] = None
from audiocodec.cli.main import main
sys.exit(main())
"""
    soundfile.write(tmp_path / "x.flac", noise, RATE)
    words = ["-m", str(tiny_model_path), "--quiet"]
    assert main(["encode", str(tmp_path / "x.flac"), "-o", str(tmp_path / "a.act"), *words]) == 0
    assert main(["decode", str(tmp_path / "a.act"), "-o", str(tmp_path / "a.wav"), *words]) == 0
    for verb in (
        ["encode", "x.flac", "-o", "b.act", *words],
        ["decode", "b.act", "-o", "b.wav", *words],
        ["info", "b.wav"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, *verb], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.act").read_bytes() == (tmp_path / "b.act").read_bytes()
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
