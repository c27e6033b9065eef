"""Bad input: a message naming file and cause, the right exit status, nothing half-written, the rest still done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec.cli.main import main
from audiocodec.tokens.token_file import TokenFile

RATE = 24_000
COMMAND = [sys.executable, "-m", "audiocodec"]


def noise(samples: int, channels: int = 1, level: float = 0.1) -> np.ndarray:
    return np.random.default_rng(samples).normal(0, level, (samples, channels))


def with_value(value: float) -> np.ndarray:
    wav = noise(RATE)
    wav[17] = value
    return wav


def write(path: Path, wav: np.ndarray, rate: int = RATE, **kind: str) -> None:
    soundfile.write(path, wav, rate, **kind)


def cut(path: Path, name: str, keep: int, **kind: str) -> None:
    source = path.with_name(name)
    write(source, noise(RATE), **kind)
    path.write_bytes(source.read_bytes()[:keep])
    source.unlink()


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty.wav": (lambda p: p.write_bytes(b""), "empty"),
    "text.wav": (lambda p: p.write_text("not audio\n" * 50), "not audio"),
    "text.flac": (lambda p: p.write_text("not audio\n" * 50), "not audio"),
    "random.mp3": (lambda p: p.write_bytes(bytes(range(1, 200)) * 50), "not audio"),
    "none.wav": (lambda p: write(p, np.zeros((0, 1))), "no samples"),
    "nan.wav": (lambda p: write(p, with_value(np.nan), subtype="FLOAT"), "NaN or infinite"),
    "inf.wav": (lambda p: write(p, with_value(-np.inf), subtype="FLOAT"), "NaN or infinite"),
    "cut.wav": (lambda p: cut(p, "x.wav", 30_000), "truncated"),
    "cut.flac": (lambda p: cut(p, "x.flac", 20_000), "truncated"),
    "head.flac": (lambda p: cut(p, "x.flac", 20), "not audio"),
    "cut.ogg": (lambda p: cut(p, "x.ogg", 5_000), "truncated"),
    "cut.opus": (lambda p: cut(p, "x.ogg", 5_000, format="OGG", subtype="OPUS"), "truncated"),
    "slow.wav": (lambda p: write(p, noise(10), 100), "sample rate 100 Hz"),
    "folder.wav": (lambda p: p.mkdir(), "holds no"),
}

ODD: dict[str, Callable[[Path], object]] = {
    "silent.wav": lambda p: write(p, np.zeros(RATE)),
    "nearly-silent.wav": lambda p: write(p, noise(RATE, level=1e-4)),
    "clipped.wav": lambda p: write(p, np.clip(noise(RATE, level=10.0), -1, 1)),
    "beyond.wav": lambda p: write(p, noise(RATE, level=10.0), subtype="FLOAT"),
    "as-integers.wav": lambda p: write(p, 3_000 * noise(RATE), subtype="FLOAT"),
    "one.wav": lambda p: write(p, noise(1)),
    "8bit.wav": lambda p: write(p, noise(RATE), subtype="PCM_U8"),
    "24bit.wav": lambda p: write(p, noise(RATE), subtype="PCM_24"),
    "float.wav": lambda p: write(p, noise(RATE), subtype="FLOAT"),
    "double.wav": lambda p: write(p, noise(RATE), subtype="DOUBLE"),
    "mulaw.wav": lambda p: write(p, noise(RATE), 8_000, subtype="ULAW"),
    "six.wav": lambda p: write(p, noise(RATE, 6)),
    "fast.wav": lambda p: write(p, noise(RATE), 192_000),
    "really-flac.wav": lambda p: write(p, noise(RATE), format="FLAC"),
    "really-wav.mp3": lambda p: write(p, noise(RATE), format="WAV"),
    "really-opus.flac": lambda p: write(p, noise(RATE), format="OGG", subtype="OPUS"),
    "in\nlines é.wav": lambda p: write(p, noise(RATE)),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_file_alone(tmp_path: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    make, cause = BAD[name]
    make(tmp_path / name)
    where = ["-d", str(tmp_path / "out")] if name == "folder.wav" else ["-o", str(tmp_path / "o.act")]
    assert main(["encode", str(tmp_path / name), *where, "-m", str(tiny_model_path)]) == 1
    message = capsys.readouterr().err
    assert str(tmp_path / name) in message and cause in message and "Traceback" not in message
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ODD)
def test_odd_but_sound_file(tmp_path: Path, tiny_model_path: Path, name: str) -> None:
    ODD[name](tmp_path / name)
    found = soundfile.info(tmp_path / name)
    assert main(["encode", str(tmp_path / name), "-o", str(tmp_path / "a.act"), "-m", str(tiny_model_path)]) == 0
    assert main(["decode", str(tmp_path / "a.act"), "-o", str(tmp_path / "o.wav"), "-m", str(tiny_model_path)]) == 0
    out = soundfile.info(tmp_path / "o.wav")
    assert (out.samplerate, out.frames, out.channels) == (found.samplerate, found.frames, 1)
    if name == "silent.wav":
        assert TokenFile.read(tmp_path / "a.act").gain == 1.0


def test_batch_goes_on_after_bad_files(
    tmp_path: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = tmp_path / "in"
    audio.mkdir()
    for name, (make, _) in BAD.items():
        make(audio / name)
    write(audio / "good.wav", noise(RATE))
    write(audio / "zgood.flac", noise(RATE))
    outside = tmp_path / "missing.wav"
    for name in (
        "text.flac",
        "cut.flac",
        "cut.ogg",
        "cut.opus",
    ):  # their outputs would be those of text.wav and cut.wav
        (audio / name).unlink()
    assert main(["encode", str(outside), str(audio), "-d", str(tmp_path / "out"), "-m", str(tiny_model_path)]) == 1
    message = capsys.readouterr().err
    bad = {name for name in BAD if (audio / name).is_file()}
    assert all(name in message for name in bad) and "missing.wav: No such file" in message
    assert f"2 of {len(bad) + 3} done, {len(bad) + 1} failed" in message
    assert sorted(os.listdir(tmp_path / "out")) == ["good.act", "zgood.act"]


def test_named_pipe_in_a_folder_is_not_waited_for(tmp_path: Path, tiny_model_path: Path) -> None:
    audio, model = tmp_path / "in", ["-m", str(tiny_model_path)]
    audio.mkdir()
    write(audio / "a.wav", noise(RATE))
    os.mkfifo(audio / "pipe.wav")
    (audio / "link.wav").symlink_to("pipe.wav")
    (audio / "gone.wav").symlink_to("nothing.wav")
    for words in (["make-data", audio, tmp_path / "data"], ["encode", audio, "-d", tmp_path / "out", *model]):
        done = subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 1 and "gone.wav: No such file" in done.stderr, done.stderr  # a lost file is told
        assert "pipe.wav" not in done.stderr and "link.wav" not in done.stderr
    assert [line.split()[0] for line in (tmp_path / "data" / "wav.scp").read_text().splitlines()] == ["a"]
    assert os.listdir(tmp_path / "out") == ["a.act"]


def test_damaged_token_files(tmp_path: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "a.wav", noise(3_000))
    model = ["-m", str(tiny_model_path)]
    assert main(["encode", str(tmp_path / "a.wav"), *model]) == 0
    data = (tmp_path / "a.act").read_bytes()
    bad = tmp_path / "bad"
    bad.mkdir()
    for keep in range(0, len(data), 7):
        (bad / f"cut{keep}.act").write_bytes(data[:keep])
    for bit in range(0, 8 * len(data), 31):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        (bad / f"flip{bit}.act").write_bytes(damaged)
    count = len(os.listdir(bad))
    capsys.readouterr()
    assert main(["decode", str(bad), "-d", str(tmp_path / "out"), *model]) == 1
    message = capsys.readouterr().err
    assert message.count("audiocodec: error: ") == count and f"0 of {count} done, {count} failed" in message
    assert not (tmp_path / "out").exists()
    (bad / "good.act").write_bytes(data)
    assert main(["decode", str(bad), "-d", str(tmp_path / "out"), *model]) == 1
    assert os.listdir(tmp_path / "out") == ["good.wav"]


def test_contradicting_lengths(tmp_path: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sound file that claims 2^60 original samples: refused, not allocated."""
    from dataclasses import replace

    write(tmp_path / "a.wav", noise(3_000))
    assert main(["encode", str(tmp_path / "a.wav"), "-m", str(tiny_model_path)]) == 0
    tokens = TokenFile.read(tmp_path / "a.act")
    replace(tokens, original_num_samples=2**60).write(tmp_path / "long.act")
    replace(tokens, original_sample_rate=2**32 - 1, original_num_samples=1).write(tmp_path / "rate.act")
    replace(tokens, gain=1e-300).write(tmp_path / "gain.act")
    names = ("long", "rate", "gain")
    files = [str(tmp_path / f"{name}.act") for name in names]
    assert main(["decode", *files, "-d", str(tmp_path / "out"), "-m", str(tiny_model_path)]) == 1
    message = capsys.readouterr().err
    assert all(f"{name}.act: " in message or f"{name}.wav: " in message for name in names)
    assert not (tmp_path / "out").exists() or os.listdir(tmp_path / "out") == []


# --- a full disk, an interruption


def limited(size: int) -> list[str]:
    """Run the command that follows with files of at most `size` bytes: a full disk, for a test that owns no disk."""
    script = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}));"
    return [sys.executable, "-c", script + "os.execv(sys.argv[1], sys.argv[1:])"]


@pytest.mark.parametrize("verb", ["encode", "decode"])
def test_full_disk(tmp_path: Path, tiny_model_path: Path, verb: str) -> None:
    write(tmp_path / "long.wav", noise(3 * RATE))
    write(tmp_path / "short.wav", noise(10))
    model = ["-m", str(tiny_model_path)]
    for name in ("long", "short"):
        assert main(["encode", str(tmp_path / f"{name}.wav"), "-o", str(tmp_path / f"{name}.act"), *model]) == 0
    extension, limit = {"encode": (".wav", 200), "decode": (".act", 10_000)}[verb]
    inputs = [str(tmp_path / f"{name}{extension}") for name in ("long", "short")]
    words = [*limited(limit), *COMMAND, verb, *inputs, "-d", str(tmp_path / "out"), *model]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    assert "File too large" in done.stderr and "long." in done.stderr and "Traceback" not in done.stderr
    assert [Path(name).stem for name in os.listdir(tmp_path / "out")] == ["short"]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline, "the command ended before it was interrupted"
        time.sleep(0.02)


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_while_decoding(tmp_path: Path, tiny_model_path: Path, sent: int, status: int) -> None:
    """First a short file, which must stay, then an hour of codes, of which nothing may stay."""
    write(tmp_path / "a.wav", noise(3_000))
    assert main(["encode", str(tmp_path / "a.wav"), "-m", str(tiny_model_path)]) == 0
    short = TokenFile.read(tmp_path / "a.act")
    hour = 3_600 * RATE
    codes = np.random.default_rng(0).integers(0, 64, (2, hour // 320))
    from dataclasses import replace

    replace(short, codes=codes, num_samples=hour, original_num_samples=hour).write(tmp_path / "b.act")
    out = tmp_path / "out"
    words = [
        *COMMAND,
        "decode",
        str(tmp_path / "a.act"),
        str(tmp_path / "b.act"),
        "-d",
        str(out),
        "-m",
        str(tiny_model_path),
    ]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: out.exists() and any(n.startswith(".b.wav") for n in os.listdir(out)), process)
        process.send_signal(sent)
        message = process.communicate(timeout=60)[1]
    assert process.returncode == status
    assert "Traceback" not in message and os.listdir(out) == ["a.wav"]


def test_interrupted_while_reading_stdin(tmp_path: Path, tiny_model_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    words = [*COMMAND, "encode", "-", "-o", str(tmp_path / "a.act"), "-m", str(tiny_model_path)]
    environment = {**os.environ, "TMPDIR": str(spool)}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True) as process:
        wait_for(lambda: bool(os.listdir(spool)), process)
        process.send_signal(signal.SIGINT)
        message = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "interrupted" in message and "Traceback" not in message
    assert os.listdir(spool) == [] and os.listdir(tmp_path) == ["spool"]


def test_reader_of_stdout_goes_away(tmp_path: Path, tiny_model_path: Path) -> None:
    write(tmp_path / "a.wav", noise(3_000))
    assert main(["encode", str(tmp_path / "a.wav"), "-m", str(tiny_model_path)]) == 0
    words = [*COMMAND, "info", *[str(tmp_path / "a.act")] * 500]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
