"""`audiocodec compare` as a user types it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiocodec.audio import io
from audiocodec.cli.main import main
from audiocodec.evaluation.systems.codec2 import Codec2
from audiocodec.evaluation.systems.opus import Opus

CHECKOUT = Path(__file__).parents[2]
RATE = 16_000
NAMES = ["a", "b", "sub/c"]
AUDIO = CHECKOUT / "egs/mini/codec/local/audio"


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ref`: two seconds of three speakers; `est`: the same with noise, and sizes of files."""
    root = tmp_path_factory.mktemp("compare")
    lines = []
    for seed, (name, path) in enumerate(zip(NAMES, sorted(AUDIO.rglob("*.flac"))[::4])):
        wav = io.read(path)[0][0, RATE : 3 * RATE]
        noisy = wav + np.random.default_rng(seed).normal(0, 0.003, len(wav)).astype(np.float32)
        for place, signal in (("ref", wav), ("est", noisy)):
            (root / place / name).parent.mkdir(parents=True, exist_ok=True)
            io.write(root / place / f"{name}.wav", signal, RATE)
        size = {"id": name, "file_bits": 4_000, "payload_bits": 3_000, "sample_rate": RATE, "num_samples": 2 * RATE}
        lines.append(json.dumps(size) + "\n")
    (root / "est/sizes.jsonl").write_text("".join(lines))
    return root


def command(trees: Path, model: Path, *more: str) -> list[str]:
    words = ["compare", "--reference", str(trees / "ref"), "-d", str(trees / "out"), "--metrics", "stoi,mel"]
    words += ["-m", f"ours={model}", "--system", f"theirs={trees / 'est'}", "--device", "cpu", "--jobs", "1", *more]
    return [*words, "--baseline", "reference", "resample", "--resample-rate", "8000"]


@pytest.fixture(scope="module")
def compared(trees: Path, tiny_model_path: Path) -> Path:
    """All systems that need no program, scored by one command."""
    assert main(command(trees, tiny_model_path)) == 0
    return trees / "out"


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in map(json.loads, (folder / "rows.jsonl").read_text().splitlines())}


def test_one_command_scores_every_system_on_the_same_utterances(compared: Path, trees: Path) -> None:
    systems = ["ours", "reference", "resample-8k", "theirs"]
    assert sorted(path.name for path in compared.iterdir()) == ["RESULTS.md", "comparison.json", *systems]
    rows = {name: rows_of(compared / name) for name in systems}
    for found in rows.values():
        assert list(found) == NAMES
        assert all(row["failures"] == {} for row in found.values())
    for name in NAMES:
        assert rows["reference"][name]["stoi"] == pytest.approx(1.0)
        assert rows["reference"][name]["mel_distance"] == 0.0
        assert "kbps_file" not in rows["reference"][name]
        assert rows["resample-8k"][name]["kbps_payload"] == pytest.approx(8 * 16)
        coded = compared / "resample-8k/coded" / f"{name}.wav"
        assert rows["resample-8k"][name]["kbps_file"] == pytest.approx(8 * coded.stat().st_size / 2 / 1000)
        assert io.info(compared / "resample-8k/wav" / f"{name}.wav") == io.AudioInfo(RATE, 1, 2 * RATE)
        assert rows["theirs"][name]["kbps_file"] == pytest.approx(2.0)
        assert rows["theirs"][name]["kbps_payload"] == pytest.approx(1.5)
        assert rows["ours"][name]["kbps_payload"] > 0 and rows["ours"][name]["encode_rtf"] > 0
        assert rows["resample-8k"][name]["coding_rtf"] > 0 and "coding_rtf" not in rows["theirs"][name]
        assert rows["resample-8k"][name]["stoi"] > rows["ours"][name]["stoi"]  # of random weights


def test_the_page_has_a_line_for_every_system(compared: Path) -> None:
    text = (compared / "RESULTS.md").read_text()
    assert "\n```\naudiocodec compare --reference " in text
    assert text.count("audiocodec compare") == 1
    for start in ("| reference | 3 | 1.000 [1.000, 1.000] |", "| resample-8k | 3 |", "| ours | 3 |", "| theirs | 3 |"):
        assert start in text
    assert "- resample-8k: 16-bit PCM at 8000 Hz" in text
    assert "sizes.jsonl says its sizes\n" in text


def test_an_earlier_comparison_is_kept_and_resumed(
    compared: Path, trees: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(trees, tiny_model_path)) == 2
    assert "--force overwrites, --resume keeps" in capsys.readouterr().err
    rows = {path: path.read_bytes() for path in compared.rglob("rows.jsonl")}
    times = {path: path.stat().st_mtime_ns for path in compared.rglob("*.wav")}
    lost = compared / "resample-8k/wav/a.wav"
    lost.unlink()
    assert main(command(trees, tiny_model_path, "--resume", "--json", "--against", "theirs")) == 0
    summaries = json.loads(capsys.readouterr().out)
    assert "differences" not in summaries["theirs"]
    found = summaries["ours"]["differences"]
    assert found["against"] == "theirs" and list(found["measures"]) == ["stoi", "mel_distance"]
    both = [rows_of(compared / label) for label in ("ours", "theirs")]
    by_hand = np.mean([both[0][name]["stoi"] - both[1][name]["stoi"] for name in NAMES])
    assert found["measures"]["stoi"]["mean"] == pytest.approx(by_hand) and by_hand < 0
    assert (found["measures"]["stoi"]["wins"], found["measures"]["stoi"]["n"]) == (0.0, 3)
    assert list(summaries) == ["reference", "resample-8k", "ours", "theirs"]
    made_again = {lost, compared / "resample-8k/coded/a.wav"}
    assert {path for path, time in times.items() if path.stat().st_mtime_ns != time} == made_again
    for path, before in rows.items():
        if path.parent.name != "resample-8k":  # there one row has another stamp
            assert path.read_bytes() == before
    assert io.info(lost).num_samples == 2 * RATE


README_COMMANDS = re.findall(
    r"^audiocodec compare .*$", (CHECKOUT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
)


@pytest.mark.parametrize("line", README_COMMANDS)
def test_the_readme_s_command_runs(line: str, trees: Path, tmp_path: Path) -> None:
    words = shlex.split(line)[1:]
    words[words.index("--reference") + 1] = str(trees / "ref")
    words[words.index("-d") + 1] = str(tmp_path / "out")
    more = ["--baseline", "reference", "resample", "--metrics", "stoi", "--device", "cpu", "--jobs", "1"]
    assert main([*words, *more]) == 0
    assert "| speech_24k | 3 |" in (tmp_path / "out/RESULTS.md").read_text()


def test_a_model_by_its_first_codebooks(
    tiny_model_path: Path, trees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tiny model has two codebooks of 64: 6 bits a frame each, 75 frames a second."""
    words = ["compare", "--reference", str(trees / "ref"), "-d", str(tmp_path / "out"), "--metrics", "stoi"]
    words += ["--device", "cpu", "--jobs", "1", "--baseline", "reference"]
    assert main([*words, "-m", f"one={tiny_model_path}@1", "-m", f"two={tiny_model_path}"]) == 0
    rate = {label: rows_of(tmp_path / "out" / label)["a"]["kbps_payload"] for label in ("one", "two")}
    assert rate == pytest.approx({"one": 0.45, "two": 0.9})
    tiny = tmp_path / "tiny.safetensors"
    shutil.copy(tiny_model_path, tiny)
    assert main([*words, "-m", f"{tiny}@2", "--force"]) == 0
    assert (tmp_path / "out/tiny-2/rows.jsonl").is_file()
    assert main([*words, "-m", f"{tiny}@3", "--force"]) == 2
    assert "3 codebooks are asked for" in capsys.readouterr().err
    assert main([*words, "-m", f"{tiny}@0", "--force"]) == 2
    assert "tiny.safetensors@0: no such model" in capsys.readouterr().err


def test_a_model_is_called_what_the_user_calls_it(
    tiny_model_path: Path, trees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.v2.safetensors").write_bytes(tiny_model_path.read_bytes())
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp/model.safetensors").write_bytes(tiny_model_path.read_bytes())
    words = ["compare", "--reference", str(trees / "ref"), "-d", str(tmp_path / "out"), "--baseline", "reference"]
    words += ["-m", str(tmp_path / "mine.v2.safetensors"), "-m", f"{tmp_path}/exp/"]
    assert main([*words, "--against", "no-such"]) == 2
    assert "there are reference, mine.v2, exp" in capsys.readouterr().err
    assert main([*words, "-m", f"{tmp_path}/exp/../exp/."]) == 2
    assert "two systems are called 'exp'" in capsys.readouterr().err
    (tmp_path / "exp/with space.safetensors").write_bytes(tiny_model_path.read_bytes())
    assert main([*words, "-m", str(tmp_path / "exp/with space.safetensors")]) == 2
    assert "'with space' cannot name a folder; say -m LABEL=" in capsys.readouterr().err


def test_the_table_and_a_system_that_lacks_an_utterance(
    trees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "est").mkdir()
    io.write(tmp_path / "est/a.wav", io.read(trees / "est/a.wav")[0], RATE)
    words = ["compare", "--reference", str(trees / "ref"), "-d", str(tmp_path / "out"), "--metrics", "mel"]
    assert main([*words, "--baseline", "reference", "--system", f"half={tmp_path / 'est'}"]) == 1
    said = capsys.readouterr()
    assert said.err.count("half: b: no estimate (mel_distance)") == 1
    lines = said.out.splitlines()
    assert lines[0].split()[:4] == ["system", "utterances", "mel", "distance,"]
    assert lines[1].split()[:3] == ["reference", "3", "0.00"]
    assert lines[2].endswith("1 of 3 scored")
    assert lines[3:5] == ["", "medians"] and lines[7].split()[:2] == ["half", "3"]
    assert rows_of(tmp_path / "out/half")["a"]["mel_distance"] > 0


def test_where_the_bitrate_of_another_system_comes_from(compared: Path, trees: Path, tmp_path: Path) -> None:
    """What compare left, as a whole or its wavs; a folder of coded files."""
    for seed, name in enumerate(NAMES):
        (tmp_path / "bits" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bits" / f"{name}.bin").write_bytes(bytes(500 + seed))
    words = ["compare", "--reference", str(trees / "ref"), "-d", str(tmp_path / "out"), "--metrics", "si_sdr"]
    words += ["--baseline", "reference", "--jobs", "1", "--json", "--system", f"whole={compared}/resample-8k"]
    words += [f"wavs={compared}/resample-8k/wav", f"coded={trees}/est,{tmp_path}/bits", f"tokens={compared}/ours/wav"]
    assert main(words) == 0
    rows = {label: rows_of(tmp_path / "out" / label) for label in ("whole", "wavs", "coded", "tokens")}
    before = {label: rows_of(compared / label) for label in ("resample-8k", "ours")}
    for seed, name in enumerate(NAMES):
        for label, earlier in (("whole", "resample-8k"), ("wavs", "resample-8k"), ("tokens", "ours")):
            for measure in ("kbps_file", "kbps_payload"):
                assert rows[label][name][measure] == before[earlier][name][measure]
        assert rows["coded"][name]["kbps_file"] == pytest.approx((500 + seed) * 8 / 2 / 1000)
        assert "kbps_payload" not in rows["coded"][name]
        assert rows["coded"][name]["failures"] == {}


def test_names_that_are_not_utf_8(trees: Path, tmp_path: Path) -> None:
    reference = os.path.join(os.fsencode(tmp_path), b"sur\xff", b"r\xe9f")
    os.makedirs(reference)
    shutil.copy(trees / "ref/a.wav", os.path.join(reference, b"\xf6.wav"))
    words = ["compare", "--reference", os.fsdecode(reference), "-d", str(tmp_path / "out"), "--metrics", "si_sdr"]
    assert main([*words, "--baseline", "resample", "--jobs", "1"]) == 0
    assert "sur\\udcff/r\\udce9f" in (tmp_path / "out/RESULTS.md").read_text(encoding="utf-8")
    assert list(rows_of(tmp_path / "out/resample-24k")) == [os.fsdecode(b"\xf6")]


def test_classical_codecs_from_the_command_line(trees: Path, tmp_path: Path) -> None:
    for baseline in (Opus(12, cbr=True), Codec2("3200")):
        if problems := baseline.problems():
            pytest.skip(problems[0])
    words = ["compare", "--reference", str(trees / "ref"), "-d", str(tmp_path), "--metrics", "stoi,mel"]
    assert main([*words, "--baseline", "opus-12-cbr", "codec2-3200", "codec2-700C", "--jobs", "1"]) == 0
    opus, best, worst = (rows_of(tmp_path / name) for name in ("opus-12-cbr", "codec2-3200", "codec2-700C"))
    for name in NAMES:
        assert opus[name]["stoi"] > best[name]["stoi"] > worst[name]["stoi"] > 0.4
        assert opus[name]["kbps_payload"] == pytest.approx(12, rel=0.02)
        assert opus[name]["kbps_file"] > opus[name]["kbps_payload"]
        assert best[name]["kbps_payload"] == pytest.approx(3.2, rel=0.03)
        assert (tmp_path / f"codec2-3200/coded/{name}.c2").read_bytes()[:3] == b"\xc0\xde\xc2"


def test_a_missing_program_is_refused_before_any_work(
    trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["compare", "--reference", str(trees / "ref"), "-d", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "opusenc and opusdec (Debian package opus-tools)" in said
    assert "c2enc and c2dec (Debian package codec2)" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--baseline", "opus-7"], "'opus-7' is no baseline; there are reference, resample, opus-6"),
        (["--baseline", "reference", "--baseline", "encodec"], "--weights FILE go together"),
        (["--baseline", "reference", "--weights", "x"], "--weights FILE go together"),
        (["--baseline", "reference", "--system", "x"], "expected LABEL=FOLDER[,CODED]"),
        (["--baseline", "reference", "--system", "../x=REF"], "expected LABEL=FOLDER[,CODED]"),
        (["--baseline", "reference", "--system", "x=nowhere"], "nowhere: No such file or directory"),
        (["--baseline", "reference", "--system", "x=REF,nowhere"], "nowhere: No such file or directory"),
        (["--baseline", "reference", "--system", "reference=REF"], "two systems are called 'reference'"),
        (["--baseline", "reference", "-m", "no-such-model"], "no such model"),
        (["--baseline", "reference", "--metrics", "mos"], "'mos' is no metric"),
        (["--baseline", "reference", "--table", "REF"], "--table needs --by"),
        (["--baseline", "reference", "-d", "REF/out"], "would count as references"),
    ],
)
def test_wrong_usage_is_status_2_and_leaves_nothing(
    arguments: list[str], message: str, trees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.replace("REF", str(trees / "ref")) for word in arguments]
    assert main(["compare", "--reference", str(trees / "ref"), "-d", str(tmp_path / "out"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and not (trees / "ref/out").exists()
