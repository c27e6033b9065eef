"""The commands a user types, on files, folders, lists and pipes, with a tiny model of random weights."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec import model_file, model_places
from audiocodec.cli.main import VERBS, main
from audiocodec.tokens.token_file import TokenFile

RATE, HOP = 24_000, 320
COMMAND = [sys.executable, "-m", "audiocodec"]

Run = Callable[..., int]


@pytest.fixture
def run(tiny_model_path: Path) -> Run:
    """Run a command in this process with the tiny model."""

    def command(verb: str, *args: object, model: Path = tiny_model_path) -> int:
        return main([verb, *map(str, args), "-m", str(model)])

    return command


def save(path: Path, samples: int = 5_000, rate: int = RATE, channels: int = 1, gain: float = 0.1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(samples).normal(0, gain, (samples, channels)), rate)
    return path


def tree(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# --- one file


@pytest.mark.parametrize("samples", [1, HOP - 1, HOP, HOP + 1, 2 * HOP - 1, 2 * HOP + 1, 10_001])
@pytest.mark.parametrize(("rate", "channels"), [(RATE, 1), (8_000, 1), (44_100, 2), (192_000, 6), (11_025, 1)])
def test_round_trip_has_the_exact_length(tmp_path: Path, run: Run, samples: int, rate: int, channels: int) -> None:
    source = save(tmp_path / "in.wav", samples, rate, channels)
    assert run("encode", source, "-o", tmp_path / "a.act") == 0
    assert run("decode", tmp_path / "a.act", "-o", tmp_path / "out.wav") == 0
    tokens = TokenFile.read(tmp_path / "a.act")
    at_codec = -(-samples * RATE // rate)
    assert tokens.codes.shape == (2, -(-at_codec // HOP)) and tokens.num_samples == at_codec
    assert (tokens.original_sample_rate, tokens.original_channels, tokens.original_num_samples) == (
        rate,
        channels,
        samples,
    )
    found = soundfile.info(tmp_path / "out.wav")
    assert (found.samplerate, found.channels, found.frames) == (rate, 1, samples)
    assert run("decode", tmp_path / "a.act", "-o", tmp_path / "16k.flac", "--sample-rate", 16_000) == 0
    found = soundfile.info(tmp_path / "16k.flac")
    assert (found.samplerate, found.frames) == (16_000, -(-samples * 16_000 // rate))


def test_the_file_is_what_the_codec_computes(tmp_path: Path, run: Run, tiny_model_path: Path) -> None:
    codec = model_file.load(tiny_model_path)
    source = save(tmp_path / "in.wav", 24_000 * 12 + 77, gain=0.003)  # longer than a chunk, and quiet
    assert run("encode", source, "-o", tmp_path / "a.act") == 0
    wav = soundfile.read(source, dtype="float32")[0]
    gain = np.float32(10 ** (codec.level_db / 20) / np.sqrt(np.mean(np.square(wav, dtype=np.float64))))
    tokens = TokenFile.read(tmp_path / "a.act")
    assert tokens.gain == pytest.approx(gain, rel=1e-6) and tokens.fingerprint == codec.fingerprint
    expected = codec.encode(wav * np.float32(tokens.gain))[0].numpy()
    assert (tokens.codes != expected).mean() < 0.002  # chunks differ from the whole by float rounding only
    assert (tokens.codes != codec.encode(wav)[0].numpy()).mean() > 0.2  # the level does matter to this codec
    assert run("decode", tmp_path / "a.act", "-o", tmp_path / "out.wav") == 0
    estimate = codec.decode(tokens.codes.copy(), len(wav))[0, 0].numpy() / gain
    back = soundfile.read(tmp_path / "out.wav", dtype="float32")[0]
    np.testing.assert_allclose(back, np.clip(estimate, -1, 1), atol=1e-4)


def test_level_is_restored(tmp_path: Path, run: Run) -> None:
    """The same noise at a twentieth of the level: the same tokens, decoded at a twentieth of the level."""
    loud = np.random.default_rng(0).normal(0, 0.1, 20_000)
    for name, wav in {"loud": loud, "soft": loud / 20}.items():
        soundfile.write(tmp_path / f"{name}.wav", wav, RATE, subtype="DOUBLE")
        assert run("encode", tmp_path / f"{name}.wav") == 0
        assert run("decode", tmp_path / f"{name}.act", "-o", tmp_path / f"{name}.out.wav") == 0
    assert (TokenFile.read(tmp_path / "loud.act").codes != TokenFile.read(tmp_path / "soft.act").codes).mean() < 0.01
    rms = {name: np.std(soundfile.read(tmp_path / f"{name}.out.wav")[0]) for name in ("loud", "soft")}
    assert rms["loud"] / rms["soft"] == pytest.approx(20, rel=0.05)


def test_fewer_codebooks(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    source = save(tmp_path / "in.wav")
    assert run("encode", source, "-o", tmp_path / "two.act") == 0
    assert run("encode", source, "-o", tmp_path / "one.act", "--num-codebooks", 1) == 0
    two, one = TokenFile.read(tmp_path / "two.act"), TokenFile.read(tmp_path / "one.act")
    np.testing.assert_array_equal(two.codes[:1], one.codes)
    assert run("decode", tmp_path / "two.act", "-o", tmp_path / "cut.wav", "--num-codebooks", 1) == 0
    assert run("decode", tmp_path / "one.act", "-o", tmp_path / "one.wav") == 0
    assert (tmp_path / "cut.wav").read_bytes() == (tmp_path / "one.wav").read_bytes()
    assert run("encode", source, "-o", tmp_path / "x.act", "--num-codebooks", 3) == 2
    assert "has 2" in capsys.readouterr().err


# --- many files


def test_folder_keeps_its_tree(tmp_path: Path, run: Run) -> None:
    for name in ("a.wav", "x/b.flac", "x/y/c d.ogg", "x/notes.txt"):
        if name.endswith(".txt"):
            (tmp_path / "in" / name).write_text("no audio")
        else:
            save(tmp_path / "in" / name)
    assert run("encode", tmp_path / "in", "-d", tmp_path / "tok") == 0
    assert tree(tmp_path / "tok") == ["a.act", "x/b.act", "x/y/c d.act"]
    assert run("decode", tmp_path / "tok", "-d", tmp_path / "out") == 0
    assert tree(tmp_path / "out") == ["a.wav", "x/b.wav", "x/y/c d.wav"]


def test_same_bytes_alone_in_a_folder_and_with_threads(tmp_path: Path, run: Run) -> None:
    import torch

    for number in range(3):
        save(tmp_path / "in" / f"{number}.wav", 30_000 + number)
    before = torch.get_num_threads()
    try:
        assert run("encode", tmp_path / "in", "-d", tmp_path / "tok", "--threads", 2) == 0
        assert run("encode", tmp_path / "in" / "1.wav", "-o", tmp_path / "alone.act", "--threads", 1) == 0
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert (tmp_path / "alone.act").read_bytes() == (tmp_path / "tok" / "1.act").read_bytes()


def test_list_of_files(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = save(tmp_path / "in" / "with blank.wav"), save(tmp_path / "in" / "two.wav", 6_000)
    scp = tmp_path / "wav.scp"
    scp.write_text(f"id1 {one}\nspk/id2 {two}\n")
    assert run("encode", scp, "-d", tmp_path / "tok") == 0
    assert tree(tmp_path / "tok") == ["id1.act", "spk/id2.act"]
    scp.write_text(f"id1 cat '{one}' |\n")
    assert run("encode", scp, "-d", tmp_path / "refused") == 1
    assert "--allow-pipes" in capsys.readouterr().err and not (tmp_path / "refused").exists()
    assert run("encode", scp, "-d", tmp_path / "piped", "--allow-pipes") == 0
    assert (tmp_path / "piped" / "id1.act").read_bytes() == (tmp_path / "tok" / "id1.act").read_bytes()
    scp.write_text(f"../../outside {one}\n")
    assert run("encode", scp, "-d", tmp_path / "x") == 1
    assert "leads out of the folder" in capsys.readouterr().err


def test_list_of_commands_that_put_out_tokens(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("encode", save(tmp_path / "in.wav")) == 0
    assert run("decode", tmp_path / "in.act", "-o", tmp_path / "whole.wav") == 0
    scp = tmp_path / "tokens.scp"
    scp.write_text(f"id1 cat '{tmp_path}/in.act' |\nid2 head -c 50 '{tmp_path}/in.act' |\nid3 false |\n")
    assert run("decode", scp, "-d", tmp_path / "refused") == 1
    assert "--allow-pipes" in capsys.readouterr().err and not (tmp_path / "refused").exists()
    assert run("decode", scp, "-d", tmp_path / "out", "--allow-pipes") == 1
    message = capsys.readouterr().err
    assert "in.act' |: ends after 50 bytes" in message and "false |: the command ended with status 1" in message
    assert "1 of 3 done, 2 failed" in message and tree(tmp_path / "out") == ["id1.wav"]
    assert (tmp_path / "out" / "id1.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()


def test_json_lines(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    source = save(tmp_path / "in.wav", RATE)
    assert run("encode", source, tmp_path / "none.wav", "-d", tmp_path, "--json") == 1
    failed, done = map(json.loads, capsys.readouterr().out.splitlines())
    assert failed["input"].endswith("none.wav") and "No such file" in failed["error"]
    assert done["input"] == str(source) and done["output"] == str(tmp_path / "in.act")
    assert done["seconds"] == 1.0 and done["wall_seconds"] > 0
    assert done["kbps_payload"] == pytest.approx(0.9)  # 75 frames of 2 x 6 bits
    assert done["kbps_file"] == pytest.approx((tmp_path / "in.act").stat().st_size * 8 / 1000)
    assert run("decode", tmp_path / "in.act", "-o", tmp_path / "x.wav", "--json") == 0
    line = json.loads(capsys.readouterr().out)
    assert line["num_samples"] == RATE and line["clipped"] == 0


def test_quiet_says_nothing(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("encode", save(tmp_path / "in.wav"), "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    assert run("encode", tmp_path / "in.wav", "-o", tmp_path / "b.act") == 0
    assert "on cpu" in capsys.readouterr().err  # --device auto says which it took


# --- nothing is lost


def test_existing_outputs_are_refused_before_the_model_is_opened(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save(tmp_path / "in.wav")
    (tmp_path / "in.act").write_text("precious")
    assert run("encode", source, model=tmp_path / "no-such-model") == 2
    message = capsys.readouterr().err
    assert "in.act already exists" in message and "--force" in message and "model" not in message
    assert (tmp_path / "in.act").read_text() == "precious"
    assert run("encode", source, "--force") == 0
    assert TokenFile.read(tmp_path / "in.act").codes.shape[0] == 2


def dated(folder: Path, second: int) -> None:
    """Give all files of a folder one time, in seconds since 1970."""
    for path in folder.iterdir():
        os.utime(path, (second, second))


def test_resume_skips_what_is_finished_and_sound(
    tmp_path: Path, run: Run, other_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abc":
        save(tmp_path / "in" / f"{name}.wav", 5_000 + ord(name))
    assert run("encode", tmp_path / "in", "-d", tmp_path / "tok", "--resume") == 0
    whole = {name: (tmp_path / "tok" / name).read_bytes() for name in tree(tmp_path / "tok")}
    dated(tmp_path / "in", 100)
    dated(tmp_path / "tok", 100)  # made within the same tick of the clock as its input
    (tmp_path / "tok" / "a.act").unlink()
    (tmp_path / "tok" / "b.act").write_bytes(whole["b.act"][:-1])
    capsys.readouterr()
    assert run("encode", tmp_path / "in", "-d", tmp_path / "tok", "--resume") == 0
    assert "2 of 3 done, 0 failed, 1 were finished before" in capsys.readouterr().err
    assert {name: (tmp_path / "tok" / name).read_bytes() for name in whole} == whole
    assert (tmp_path / "tok" / "c.act").stat().st_mtime == 100
    assert run("encode", tmp_path / "in", "-d", tmp_path / "tok", "--resume", model=other_model_path) == 1
    assert "made by another model" in capsys.readouterr().err
    assert {name: (tmp_path / "tok" / name).read_bytes() for name in whole} == whole

    assert run("decode", tmp_path / "tok", "-d", tmp_path / "out") == 0
    wav = (tmp_path / "out" / "b.wav").read_bytes()
    dated(tmp_path / "tok", 200)
    dated(tmp_path / "out", 200)
    (tmp_path / "out" / "b.wav").write_bytes(wav[:-100])
    assert run("decode", tmp_path / "tok", "-d", tmp_path / "out", "--resume") == 0
    assert (tmp_path / "out" / "b.wav").read_bytes() == wav
    assert (tmp_path / "out" / "c.wav").stat().st_mtime == 200


def test_resume_makes_again_what_is_older_than_its_input(
    tmp_path: Path, run: Run, other_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An input that was replaced by another of the same length: only its date tells."""
    source, tokens, out = tmp_path / "a.wav", tmp_path / "a.act", tmp_path / "out.wav"
    save(source, gain=0.1)
    assert run("encode", source) == 0
    before = tokens.read_bytes()
    soundfile.write(source, np.sin(np.arange(5_000) / 10), RATE)
    os.utime(source, (2_000_000_000, 2_000_000_000))
    assert run("encode", source, "--resume") == 0
    assert tokens.read_bytes() != before
    assert run("decode", tokens, "-o", out) == 0
    sine = out.read_bytes()
    tokens.write_bytes(before)
    os.utime(tokens, (2_000_000_000, 2_000_000_000))
    assert run("decode", tokens, "-o", out, "--resume") == 0
    assert out.read_bytes() != sine
    # tokens of another model are refused before the output that is there counts as finished
    assert run("encode", source, "--force", model=other_model_path) == 0
    os.utime(tokens, (100, 100))
    assert run("decode", tokens, "-o", out, "--resume") == 2
    assert "was encoded by model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["a.wav", "a.flac", "-o", "b.act"], "use -d"),
        (["x"], "say with -d"),
        (["x", "-o", "b.act"], "use -d"),
        (["a.wav", "-o", "x"], "is a folder"),
        (["a.wav", "-o", "none/b.act"], "does not exist"),
        (["a.wav", "-o", "a.wav", "--force"], "is an input as well"),
        (["a.wav", "-o", "-", "--json"], "both want stdout"),
        (["-", "-d", "out"], "stdin has no name"),
        (["a.wav", "-o", "b.act", "-d", "out"], "not allowed with"),
        (["a.wav", "--force", "--resume"], "not allowed with"),
        (["a.wav", "--threads", "0"], "whole number of 1 or more"),
        (["a.wav", "--forse"], "unrecognized arguments"),
        ([], "required"),
        (["a.wav", "-m", "no-such-model"], "no such model"),
    ],
)
def test_usage_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_model_path: Path,
    inputs: list[str], message: str,
) -> None:  # fmt: skip
    for name in ("a.wav", "a.flac", "x/a.wav"):
        save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    model = [] if "-m" in inputs else ["-m", str(tiny_model_path)]
    assert main(["encode", *inputs, *model]) == 2
    assert message in capsys.readouterr().err
    assert tree(tmp_path) == before and not (tmp_path / "out").exists()


def test_inputs_that_would_share_an_output_fail_and_the_others_are_done(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.wav", "a.flac", "b.wav", "x/a.wav", "x/c.wav"):
        save(tmp_path / "in" / name)
    folder = tmp_path / "in"
    assert run("encode", folder, "-d", tmp_path / "out", "--json") == 1
    captured = capsys.readouterr()
    assert f"{folder}/a.flac and {folder}/a.wav would all become {tmp_path}/out/a.act" in captured.err
    assert "3 of 5 done, 2 failed" in captured.err and tree(tmp_path / "out") == ["b.act", "x/a.act", "x/c.act"]
    failed = [line["input"] for line in map(json.loads, captured.out.splitlines()) if "error" in line]
    assert failed == [f"{folder}/a.flac", f"{folder}/a.wav"]
    assert run("encode", folder / "a.wav", folder / "a.flac") == 1  # beside the inputs, without -d
    assert tree(folder) == ["a.flac", "a.wav", "b.wav", "x/a.wav", "x/c.wav"]
    assert run("encode", folder / "x" / "a.wav", folder / "a.wav", folder / "b.wav", "-d", tmp_path / "more") == 1
    assert tree(tmp_path / "more") == ["b.act"]


def test_tokens_of_another_model(
    tmp_path: Path, run: Run, other_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save(tmp_path / "in.wav")
    assert run("encode", source, "-o", tmp_path / "t" / "mine.act") == 2  # the folder is missing
    (tmp_path / "t").mkdir()
    assert run("encode", source, "-o", tmp_path / "t" / "other.act", model=other_model_path) == 0
    assert run("decode", tmp_path / "t", "-d", tmp_path / "out") == 2
    assert "other.act: was encoded by model" in capsys.readouterr().err
    assert run("encode", source, "-o", tmp_path / "t" / "mine.act") == 0
    assert run("decode", tmp_path / "t", "-d", tmp_path / "out") == 1
    assert tree(tmp_path / "out") == ["mine.wav"]


# --- info and the command itself


def test_info(tmp_path: Path, tiny_model_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    source = save(tmp_path / "in.wav", 12_000, 8_000, 2)
    assert run("encode", source) == 0
    capsys.readouterr()
    paths = [str(source), str(tmp_path / "in.act"), str(tiny_model_path), str(tiny_model_path.parent)]
    assert main(["info", *paths, "--json"]) == 0
    audio, tokens, model, folder = map(json.loads, capsys.readouterr().out.splitlines())
    assert (audio["kind"], audio["seconds"], audio["channels"]) == ("audio", 1.5, 2)
    assert (tokens["kind"], tokens["original_num_samples"], tokens["frames"]) == ("tokens", 12_000, 113)
    assert (model["kind"], model["codebook_size"], model["kbps_payload"]) == ("model", 64, 0.9)
    assert model == folder and tokens["fingerprint"] == model["fingerprint"]
    assert main(["info", *paths]) == 0
    assert "frame rate             75" in capsys.readouterr().out


def test_info_without_arguments_lists_the_models_in_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    found = [json.loads(line)["path"] for line in capsys.readouterr().out.splitlines()]
    assert found == [str(model_places.resolve(name)) for name in model_places.available()]


def test_info_of_damaged_files(
    tmp_path: Path, run: Run, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("encode", save(tmp_path / "in.wav"))
    tokens = (tmp_path / "in.act").read_bytes()
    (tmp_path / "cut.act").write_bytes(tokens[:-3])
    (tmp_path / "cut.safetensors").write_bytes(tiny_model_path.read_bytes()[:100])
    (tmp_path / "text.wav").write_text("text")
    capsys.readouterr()
    for name in ("cut.act", "cut.safetensors", "text.wav", "none"):
        assert main(["info", str(tmp_path / name)]) == 1
        captured = capsys.readouterr()
        assert name in captured.err and captured.out == ""
    assert main(["info", str(tmp_path / "text.wav"), str(tmp_path / "in.act")]) == 1
    assert "tokens" in capsys.readouterr().out


def test_names_that_are_not_text(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    name = os.fsdecode(b"caf\xe9")  # Latin-1: no UTF-8
    audio = tmp_path / name / "in"
    audio.mkdir(parents=True)
    save(tmp_path / "a.wav", RATE).rename(audio / f"{name}.wav")
    stdout = TextIOWrapper(BytesIO(), encoding="utf-8", errors="strict")  # as PYTHONIOENCODING=utf-8:strict gives it
    monkeypatch.setattr(sys, "stdout", stdout)
    assert main(["info", str(audio / f"{name}.wav")]) == 0
    assert run("encode", audio, "-d", tmp_path / "tok") == 0
    assert run("decode", tmp_path / "tok", "-d", tmp_path / "out") == 0
    pair = ["--reference", str(audio), "--estimate", str(tmp_path / "out")]
    assert main(["evaluate", *pair, "-d", str(tmp_path / name / "eval"), "--metrics", "mel", "--per-file"]) == 0
    text = stdout.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert r"/caf\udce9/in/caf\udce9.wav: audio" in text and re.search(r"^caf\\udce9 +[0-9.]+", text, re.MULTILINE)

    page = tmp_path / "RESULTS.md"
    assert main(["evaluate", "--results-md", str(page), str(tmp_path / name / "eval")]) == 0
    assert r"caf\udce9/in" in page.read_text(encoding="utf-8")
    inode = page.stat().st_ino
    assert main(["evaluate", "--results-md", str(page), str(tmp_path / name / "eval")]) == 0
    assert page.stat().st_ino == inode  # the same page is not written again


def test_validate_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "wav.scp").write_text(f"a {save(tmp_path / 'a.wav', 100)}\n")
    (data / "utt2spk").write_text("a a\n")
    (data / "utt2num_samples").write_text("a 100\n")
    assert main(["validate-data", str(data), "--deep"]) == 0
    (data / "utt2num_samples").write_text("a 99\n")
    assert main(["validate-data", str(data), "--json"]) == 1
    captured = capsys.readouterr()
    assert "has 100 samples, utt2num_samples says 99" in captured.err
    assert json.loads(captured.out)["where"] == "a"
    assert main(["validate-data", str(tmp_path / "none")]) == 1


def test_streams(tmp_path: Path, tiny_model_path: Path, run: Run) -> None:
    source = save(tmp_path / "in.wav")
    assert run("encode", source) == 0
    assert run("decode", tmp_path / "in.act", "-o", tmp_path / "out.wav") == 0

    def piped(verb: str, data: bytes) -> bytes:
        words = [*COMMAND, verb, "-", "-o", "-", "-m", str(tiny_model_path)]
        return subprocess.run(words, input=data, capture_output=True, check=True, timeout=120).stdout

    tokens = piped("encode", source.read_bytes())
    assert tokens == (tmp_path / "in.act").read_bytes()
    assert piped("decode", tokens) == (tmp_path / "out.wav").read_bytes()


def test_help_and_info_do_without_torch(tmp_path: Path, tiny_model_path: Path) -> None:
    script = (
        "import sys; from audiocodec.cli.main import main; status = main(sys.argv[1:]);"
        "sys.exit(status or 100 * ('torch' in sys.modules))"
    )
    for words in (["--help"], ["--version"], ["info", str(tiny_model_path)], *([verb, "--help"] for verb in VERBS)):
        done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, (words, done.stderr)


def test_cuda_that_is_not_there(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run("encode", save(tmp_path / "in.wav"), "--device", "cuda") == 2
    assert "no CUDA device" in capsys.readouterr().err and not (tmp_path / "in.act").exists()


def test_a_bar_on_a_terminal_only(tmp_path: Path, tiny_model_path: Path) -> None:
    """The bar of one long file counts seconds of audio and the time left."""
    import pty

    source = save(tmp_path / "in.wav", 240 * RATE)
    shell = 'stty cols 100 rows 30; exec "$@"'  # a new terminal has no size, and a bar no room
    words = [*COMMAND, "encode", str(source), "-m", str(tiny_model_path), "-o"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["sh", "-c", shell, "sh", *words, str(tmp_path / "a.act")], stdin=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # the end of a terminal is an error
            while piece := os.read(ours, 4_096):
                seen += piece
    os.close(ours)
    assert process.returncode == 0
    assert b"/240.0 [" in seen and b"s of audio/s" in seen
    done = subprocess.run([*words, str(tmp_path / "b.act")], capture_output=True, check=True, timeout=120)
    assert b"[" not in done.stderr and done.stdout == b""


def test_unknown_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transmogrify"]) == 2
    assert "invalid choice: 'transmogrify'" in capsys.readouterr().err
    assert main([]) == 2
