"""`audiocodec evaluate` as a user types it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audiocodec import model_file
from audiocodec.audio import io
from audiocodec.cli.main import main
from audiocodec.tokens.token_file import TokenFile

RATE = 16_000
AUDIO = Path(__file__).parents[2] / "egs/mini/codec/local/audio"


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Two seconds of real speech at 16 kHz."""
    return io.read(min(AUDIO.rglob("*.flac")))[0][0, RATE : 3 * RATE]


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory, speech: np.ndarray) -> Path:
    """`ref` and `est`: one good pair in a folder, and one pair of each kind that has no score."""
    root = tmp_path_factory.mktemp("trees")
    random = np.random.default_rng(0)
    noisy = (speech + random.normal(0, 0.005, len(speech))).astype(np.float32)
    nan = noisy.copy()
    nan[100] = np.nan
    for name in ("sub/good", "silent", "nan", "rate", "alone"):
        (root / "ref" / name).parent.mkdir(parents=True, exist_ok=True)
        io.write(root / "ref" / f"{name}.flac", speech, RATE)
    estimates = {"sub/good": noisy, "silent": 0 * noisy, "nan": nan, "extra": noisy}
    for name, wav in estimates.items():
        (root / "est" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / "est" / f"{name}.wav", wav, RATE, "FLOAT")
    io.write(root / "est" / "rate.wav", io.resample(noisy, RATE, 24_000), 24_000)
    return root


@pytest.fixture(scope="module")
def scored(trees: Path) -> Path:
    """The trees evaluated, with the exit status in `status`."""
    status = main(
        ["evaluate", "--reference", str(trees / "ref"), "--estimate", str(trees / "est"), "-d", str(trees / "out")]
    )
    (trees / "out" / "status").write_text(str(status))
    return trees / "out"


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in map(json.loads, (folder / "rows.jsonl").read_text().splitlines())}


def test_bad_pairs_are_counted_rows_with_reasons_and_the_good_one_is_kept(scored: Path) -> None:
    assert (scored / "status").read_text() == "1"
    rows = rows_of(scored)
    assert list(rows) == ["alone", "extra", "nan", "rate", "silent", "sub/good"]
    good = rows.pop("sub/good")
    assert good["failures"] == {}
    assert 1 < good["pesq"] < 4.64 and 0.9 < good["stoi"] < 1 and 0 < good["mel_distance"] < 20
    assert good["seconds"] == 2.0
    reasons = {
        "alone": "no estimate",
        "extra": "no reference",
        "nan": "estimate: holds samples that are NaN or infinite",
        "rate": "sample rates differ",
        "silent": "estimate is silent",
    }
    assert rows["rate"]["details"] == {
        "sample rates differ": "reference 16000 Hz, estimate 24000 Hz; evaluate --resample converts the estimate"
    }
    for name, row in rows.items():
        assert row["failures"] == dict.fromkeys(("pesq", "stoi", "mel_distance"), reasons[name])
        assert (row["pesq"], row["stoi"], row["mel_distance"]) == (None, None, None)
    pesq = json.loads((scored / "summary.json").read_text())["measures"]["pesq"]
    assert (pesq["mean"], pesq["n_scored"], pesq["n_failed"]) == (good["pesq"], 1, 5)
    assert pesq["reasons"] == {reason: 1 for reason in sorted(reasons.values())}


def test_an_earlier_evaluation_is_not_overwritten(
    scored: Path, trees: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (scored / "rows.jsonl").read_bytes()
    arguments = ["evaluate", "--reference", str(trees / "ref"), "--estimate", str(trees / "est"), "-d", str(scored)]
    assert main(arguments) == 2
    assert "--force overwrites, --resume keeps" in capsys.readouterr().err
    assert (scored / "rows.jsonl").read_bytes() == before


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory, tiny_model_path: Path, speech: np.ndarray) -> Path:
    """`out`: two references of a wav.scp coded and scored by a model, with what it printed in `stdout`."""
    root = tmp_path_factory.mktemp("coded")
    io.write(root / "one.wav", speech, RATE)
    io.write(root / "two.wav", np.stack([speech, 0.5 * speech])[:, :20_000], RATE)
    (root / "wav.scp").write_text(f"utt-1 {root}/one.wav\nutt-2 cat {root}/two.wav |\n")
    command = [sys.executable, "-m", "audiocodec", "evaluate", "-m", str(tiny_model_path), "--device", "cpu"]
    command += [
        "--reference",
        str(root / "wav.scp"),
        "--allow-pipes",
        "-d",
        str(root / "out"),
        "--per-file",
        "--jobs",
        "2",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (root / "stdout").write_text(done.stdout)
    assert (done.returncode, "error" in done.stderr) == (0, False), done.stderr
    return root


def test_a_model_is_coded_with_measured_and_scored(coded: Path, tiny_model_path: Path) -> None:
    out = coded / "out"
    rows = rows_of(out)
    assert list(rows) == ["utt-1", "utt-2"]
    for name, samples in (("utt-1", 32_000), ("utt-2", 20_000)):
        row, tokens = rows[name], TokenFile.read(out / "tokens" / f"{name}.act")
        seconds = tokens.num_samples / 24_000
        assert row["seconds"] == pytest.approx(samples / RATE)
        assert io.info(out / "wav" / f"{name}.wav") == io.AudioInfo(RATE, 1, samples)
        assert row["kbps_file"] == pytest.approx(8 * (out / "tokens" / f"{name}.act").stat().st_size / seconds / 1000)
        assert row["kbps_payload"] == pytest.approx(tokens.codes.shape[1] * 2 * 6 / seconds / 1000)
        assert row["encode_rtf"] > 0 and row["decode_rtf"] > 0
        assert row["coding_rtf"] == row["encode_rtf"] + row["decode_rtf"]
        assert row["tokens_per_second"] == pytest.approx(tokens.codes.size / seconds)
        assert row["pesq"] is not None and row["stoi"] is not None
    summary = json.loads((out / "summary.json").read_text())
    assert [use["codebook_size"] for use in summary["tokens"]["codebooks"]] == [64, 64]
    assert all(1 <= use["effective_dimension"] <= 16 for use in summary["tokens"]["codebooks"])
    described = model_file.describe(tiny_model_path)
    assert summary["model"]["fingerprint"] == described.fingerprint
    assert summary["model"]["config_fingerprint"] == hashlib.sha256(described.config_text.encode()).hexdigest()[:16]
    codec = model_file.load(tiny_model_path)
    assert summary["model"]["latency_ms"] == pytest.approx(codec.latency_samples / 24)
    assert summary["command"].startswith("audiocodec evaluate --reference")
    assert summary["versions"]["pesq"]


def test_the_table_has_every_file_and_every_measure(coded: Path) -> None:
    text = (coded / "stdout").read_text()
    lines = text.splitlines()
    assert lines[0].split()[:2] == ["id", "seconds"]
    assert [line.split()[0] for line in lines[1:3]] == ["utt-1", "utt-2"]
    assert any(line.startswith("utt-1 ") and line.endswith(str(coded / "out/wav/utt-1.wav")) for line in lines)
    measures = (
        "PESQ-WB",
        "STOI",
        "mel distance",
        "kbps on disk",
        "kbps of codes",
        "encode",
        "decode",
        "codebook 0",
        "codebook 1",
    )
    for measure in measures:
        assert any(line.startswith(measure) for line in lines[3:]), measure


def test_resume_keeps_what_is_coded_and_scored(
    coded: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = coded / "out"
    rows = rows_of(out)
    files = [path for path in out.rglob("*") if path.suffix in (".act", ".wav")]
    times = {path: path.stat().st_mtime_ns for path in files}
    arguments = ["evaluate", "-m", str(tiny_model_path), "--reference", str(coded / "wav.scp"), "--allow-pipes"]
    assert main([*arguments, "-d", str(out), "--resume", "--json", "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["n_rows"] == 2
    assert rows_of(out) == rows  # the real-time factors too, from the times of the first run
    assert {path: path.stat().st_mtime_ns for path in files} == times
    (out / "wav/utt-2.wav").unlink()
    assert main([*arguments, "-d", str(out), "--resume", "--quiet", "--device", "cpu"]) == 0
    again = rows_of(out)
    assert again["utt-1"] == rows["utt-1"]
    assert again["utt-2"]["stoi"] == rows["utt-2"]["stoi"]


def test_force_interrupted_while_coding_leaves_no_scores_of_other_audio(
    coded: Path, tiny_model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = coded / "forced"
    words = [
        "evaluate",
        "-m",
        str(tiny_model_path),
        "--reference",
        str(coded / "one.scp"),
        "-d",
        str(out),
        "--jobs",
        "1",
    ]
    (coded / "one.scp").write_text(f"utt-1 {coded}/one.wav\n")
    words += ["--device", "cpu", "--quiet", "--metrics", "si_sdr"]
    assert main(words) == 0
    with monkeypatch.context() as patch:
        patch.setattr("audiocodec.evaluation.systems.model.encode_file", lambda *_: signal.raise_signal(signal.SIGINT))
        assert main([*words, "--force"]) == 130
    assert {path.name for path in out.iterdir()} == {"tokens", "wav", "timings.jsonl"}
    assert main(["report", str(out), "-o", str(coded / "page.html")]) != 0
    assert main([*words, "--resume"]) == 0
    assert main([*words, "--force", "-m", "no-such-model"]) == 2
    assert (out / "summary.json").is_file()  # a refused command changes nothing


def test_encode_decode_and_their_timings_give_the_same_scores_as_the_model(
    coded: Path,
    tiny_model_path: Path,
    other_model_path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    common = ["-m", str(tiny_model_path), "--device", "cpu", "--quiet", "--json"]
    assert main(["encode", str(coded / "wav.scp"), "--allow-pipes", "-d", "tokens", *common]) == 0
    assert main(["decode", "tokens", "-d", "wav", *common]) == 0
    Path("timings.jsonl").write_text(capsys.readouterr().out)
    arguments = ["--reference", str(coded / "wav.scp"), "--estimate", "wav", "--tokens", "tokens", "--allow-pipes"]
    arguments += ["--timings", "timings.jsonl", "-d", "scores", "--metrics", "stoi,mel"]
    assert main(["evaluate", *arguments, "--made-by", str(other_model_path)]) == 2
    assert "utt-1.act: made by the codec" in capsys.readouterr().err and not Path("scores").exists()
    assert main(["evaluate", *arguments, "--made-by", str(tiny_model_path)]) == 0
    summary, other = (json.loads((where / "summary.json").read_text()) for where in (Path("scores"), coded / "out"))
    assert "pesq" not in summary["measures"]
    assert (summary["model"], summary["tokens"]) == (other["model"], other["tokens"])
    expected = rows_of(coded / "out")
    for name, row in rows_of(Path("scores")).items():
        for measure in ("stoi", "mel_distance", "kbps_file", "kbps_payload"):
            assert row[measure] == expected[name][measure]
        assert row["encode_rtf"] > 0 and row["decode_rtf"] > 0
        assert "pesq" not in row


def test_a_results_page_from_the_command_line(coded: Path, tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    arguments = ["evaluate", "--results-md", str(page), "--results-command", "./run.sh", str(coded / "out")]
    assert main(arguments) == 0
    assert page.read_text().startswith("# Results\n\n```\n./run.sh\n```\n")
    assert f"| {coded / 'out'} | 2 |" in page.read_text()
    assert main(["evaluate", "--results-md", str(page)]) == 2


@pytest.mark.parametrize(
    ("library", "error"),
    [
        ("pesq", "ModuleNotFoundError(\"No module named 'pesq'\")"),
        ("pystoi", "OSError('libfoo.so: cannot open shared object file')"),
        ("librosa", "ModuleNotFoundError(\"No module named 'librosa'\")"),
    ],
)
def test_a_missing_library_is_refused_before_any_work(library: str, error: str, trees: Path, tmp_path: Path) -> None:
    (tmp_path / "stubs").mkdir()
    (tmp_path / "stubs" / f"{library}.py").write_text(f"raise {error}")
    here = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "stubs"), here])}
    command = [sys.executable, "-m", "audiocodec", "evaluate", "--reference", str(trees / "ref")]
    command += ["--estimate", str(trees / "est"), "-d", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    assert f"needs {library}" in done.stderr and ("No module named" in done.stderr or "libfoo.so" in done.stderr)
    assert 'pip install -e "' in done.stderr and '[eval]"' in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reference", "REF"], "needs --reference PATH and -d OUT"),
        (["--reference", "REF", "-d", "OUT"], "say --estimate PATH"),
        (["--reference", "REF", "-d", "OUT", "--estimate", "nowhere"], "nowhere: No such file or directory"),
        (["--reference", "REF", "-d", "OUT", "--estimate", "EST", "--threads", "2"], "--threads goes with --model"),
        (["--reference", "REF", "-d", "OUT", "-m", "x", "--made-by", "x"], "--made-by goes with --estimate"),
        (["--reference", "REF", "-d", "OUT", "--estimate", "EST", "--made-by", "x"], "--made-by MODEL needs --tokens"),
        (["--reference", "REF", "-d", "OUT", "-m", "x", "--tokens", "EST"], "--tokens goes with --estimate"),
        (["--reference", "REF", "-d", "REF/out", "-m", "x"], "would count as references"),
        (["--reference", "REF", "-d", "OUT", "--estimate", "EST", "--metrics", "pesq,mos"], "'mos' is no metric"),
        (["--reference", "REF", "-d", "OUT", "--estimate", "EST", "stray"], "only --results-md takes stray"),
        (["--reference", "REF", "-d", "OUT", "-m", "no-such-model"], "no such model"),
    ],
)
def test_wrong_usage_is_status_2_and_leaves_nothing(
    arguments: list[str], message: str, trees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"REF": trees / "ref", "EST": trees / "est", "OUT": tmp_path / "out", "REF/out": trees / "ref/out"}
    words = [str(places.get(word, word)) for word in arguments]
    assert main(["evaluate", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and not (trees / "ref/out").exists()


def test_a_table_that_is_about_other_utterances_is_refused_and_gaps_are_told(
    trees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "t.tsv"
    words = [
        "evaluate",
        "--reference",
        str(trees / "ref"),
        "--estimate",
        str(trees / "est"),
        "-d",
        str(tmp_path / "out"),
    ]
    words += ["--by", "language", "--table", str(table), "--metrics", "si_sdr", "--jobs", "1"]
    table.write_text("path\tlanguage\nref/silent.flac\teo\n")
    assert main(words) == 1
    assert "none of 5 utterances is in the table" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    table.write_text("path\tlanguage\nsilent.flac\teo\nsub/good.flac\teo\n")
    assert main(words) == 1  # some have no score
    assert "3 of 5 utterances are not in the table to break scores down by: alone, nan ..." in capsys.readouterr().err
    found = json.loads((tmp_path / "out/summary.json").read_text())["groups"]["language"]
    assert {value: group["n_rows"] for value, group in found.items()} == {"": 4, "eo": 2}


def test_no_references_is_status_1_and_no_estimates_a_row_each(
    trees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    arguments = ["evaluate", "--reference", str(trees / "ref"), "--estimate", str(tmp_path / "empty")]
    assert main([*arguments, "-d", str(tmp_path / "out"), "--jobs", "1", "--metrics", "si_sdr"]) == 1
    rows = rows_of(tmp_path / "out")
    assert list(rows) == ["alone", "nan", "rate", "silent", "sub/good"]
    assert all(row["failures"] == {"si_sdr": "no estimate"} for row in rows.values())
    arguments = ["evaluate", "--reference", str(tmp_path / "empty"), "--estimate", str(trees / "est")]
    assert main([*arguments, "-d", str(tmp_path / "none")]) == 1
    assert "empty: holds no .wav" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
