"""A card is what the run and its evaluations say: every figure of it is looked up elsewhere here."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from audiocodec.cli.main import main
from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.summary import summarize
from audiocodec.evaluation.summary_file import CodebookSummary, CodingSummary
from audiocodec.model_file import describe

pytestmark = pytest.mark.usefixtures("fresh_process")


@pytest.fixture
def command(command: list[str]) -> list[str]:
    """With so many codes that the size of the model file shows in MB."""
    return [*command, "--set", "quantizer.codebook_size=16384"]


@pytest.fixture
def run(tmp_path: Path, command: list[str]) -> Path:
    """An experiment of three steps in two runs, with a line of the log at each step."""
    every = ["--set", "train.log_interval=1", "--set", "train.valid_interval=1", "--set", "data.augment.noise=0.25"]
    assert main([*command, *every, "--set", "train.steps=1"]) == 0
    for _ in range(2):  # the second time there is nothing left to do
        assert main([*command, *every, "--set", "train.steps=3", "--resume"]) == 0
    return tmp_path / "exp"


def evaluation(folder: Path, stoi: list[float], *codecs: str, codebooks: Sequence[CodebookSummary] = ()) -> Path:
    """Of token files of these codecs, which use their codebooks so; of a codec that has none."""
    folder.mkdir()
    rows = [Row(f"u{i}", {}, {"stoi": value}, {}) for i, value in enumerate(stoi)]
    tokens = CodingSummary(codecs=codecs, codebooks=tuple(codebooks), with_dimensions=True) if codecs else None
    summary = summarize(rows, ["stoi"], tokens, f"command of {folder.name}")
    (folder / "summary.json").write_text(summary.to_text())
    return folder


def test_card(run: Path, tmp_path: Path, data: Path) -> None:
    lines = [json.loads(line) for line in (run / "runs.jsonl").read_text().splitlines()]
    assert [(line["first_step"], line["last_step"]) for line in lines] == [(0, 1), (1, 3)]
    assert all(line["clips"] == 5 and line["processes"] == 1 and line["seconds"] > 0 for line in lines)
    assert lines[0]["hours"] == pytest.approx((5 * 4000 + 2000) / 8000 / 3600, abs=1e-4)
    about = tmp_path / "about.md"
    about.write_text("## Known failures\n\nIt cannot speak.\n")
    ours = describe(run).fingerprint
    use = CodebookSummary(16_384, 1500, 0.25, 1234.4, 10.3, 12_288, 3.21)
    two = [use, replace(use, usage=1.0, perplexity=6.6, effective_dimension=None)]
    good = evaluation(tmp_path / "good", [0.5, 0.7], ours, codebooks=[use])
    bad = evaluation(tmp_path / "bad", [0.25, 0.25], ours, codebooks=two)
    opus = evaluation(tmp_path / "opus", [0.9, 0.9, 0.9])
    out, picture = tmp_path / "CARD.md", tmp_path / "log.png"
    words = ["card", str(run), "-o", str(out), "--picture", str(picture), "--about", str(about)]
    words += ["--title", "tiny one", "--evaluation", f"dev={good}", "--evaluation", f"noise={bad}"]
    words += ["--baseline", f"Opus={opus}"]
    assert main(words) == 0
    text = out.read_text()
    assert text.startswith("# tiny one\n") and text.endswith("## Known failures\n\nIt cannot speak.\n")
    facts = dict(re.findall(r"^\| (\w+) \| (.*) \|$", text, re.MULTILINE))
    assert facts["codec"] == "8 kHz mono, 400 frames a second, 5.6 kbps"
    assert facts["quantizer"] == "simvq, 1 x 16,384 codes of 4 dimensions"
    assert facts["parts"] == "SEANet encoder of 2 channels; istft decoder, 1 x 8"
    model = run / "checkpoints" / "step_00000003" / "model.safetensors"
    with safe_open(model, "numpy") as file:
        header = file.metadata()
    parameters, size = sum(tensor.size for tensor in load_file(model).values()), model.stat().st_size
    assert size > 100_000 and facts["weights"] == f"{parameters:,} parameters, {size / 1e6:.1f} MB"
    assert facts["fingerprint"] == header["fingerprint"]
    assert facts["configuration"] == f"tiny, {hashlib.sha256(header['config'].encode()).hexdigest()[:16]}"
    speakers = {line.split()[1] for line in (data / "utt2spk").read_text().splitlines()}
    assert facts["data"] == f"0.00 h, 5 clips, {len(speakers)} speakers"
    assert facts["steps"] == "3 of 3, each of 2 segments, 0.2 s of audio, per process"
    threads = torch.get_num_threads()
    assert facts["hardware"] == f"1 x {lines[0]['hardware']}, {threads} threads, torch {torch.__version__}"
    assert "| begins with | random weights |" in text
    assert facts["time"] == f"{sum(line['seconds'] for line in lines) / 3600:.1f} h in 2 run(s)"
    assert facts["augmentation"] == "shares of the segments: noise 0.25"
    low, high = json.loads((good / "summary.json").read_text())["measures"]["stoi"]["interval"]
    assert f"| dev | 2 | 0.600 [{low:.3f}, {high:.3f}] |\n" in text
    assert "| noise | 2 | 0.250 [0.250, 0.250] |\n| Opus | 3 | 0.900 [0.900, 0.900] |\n" in text
    assert "| codebook, noise | used | perplexity | effective dimension | frames |\n" in text
    assert "\n| 0 | 25.0 % | 1,234 | 3.2 | 1,500 |\n| 1 | 100.0 % | 7 | - | 1,500 |\n\n" in text
    assert "command of good\ncommand of bad\ncommand of opus\n" in text and "(log.png)" in text
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_picture_is_of_what_was_logged(run: Path) -> None:
    from audiocodec.reporting.plots.training import read_scalars

    curves = read_scalars(run / "tensorboard")
    assert curves["loss/mel"][0] == curves["valid/mel"][0] == [1, 2, 3]
    log = (run / "train.log").read_text()
    found = {int(step): float(value) for step, value in re.findall(r"step (\d+)  \S+ steps/s.*? mel (\S+)", log)}
    assert dict(zip(*curves["loss/mel"])) == pytest.approx(found, rel=1e-3)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--evaluation", "dev"], 2, "'dev' is not NAME=DIR"),
        (["--evaluation", "a|b=nowhere"], 2, "NAME without |"),
        (["--evaluation", "dev=nowhere"], 1, "cannot read the summary"),
        (["--evaluation", "dev=nowhere", "--evaluation", "dev=there"], 2, "two rows are called 'dev'"),
        (["--about", "nowhere.md"], 1, "nowhere.md"),
        (["--picture", "log.jpg"], 2, "ends in .png"),
        (["--model", "nowhere"], 2, "nowhere: no such model"),
    ],
)
def test_what_is_missing_is_said_and_nothing_written(
    run: Path, tmp_path: Path, words: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "CARD.md"
    assert main(["card", str(run), "-o", str(out), *words]) == status
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_what_goes_below_is_utf_8(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about, out = tmp_path / "latin.md", tmp_path / "CARD.md"
    about.write_bytes("## Für".encode("latin-1"))
    assert main(["card", str(run), "-o", str(out), "--about", str(about)]) == 2
    assert f"{about}: not UTF-8 text (byte 4: " in capsys.readouterr().err
    assert not out.exists()


def test_scores_of_another_model_are_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours, other = describe(run).fingerprint, "0123456789abcdef"
    for name, codecs, status in (
        ("ours", [ours], 0),
        ("other", [other], 1),
        ("both", [ours, other], 1),
        ("none", [], 1),
    ):
        folder, card = evaluation(tmp_path / name, [0.5, 0.7], *codecs), tmp_path / f"{name}.md"
        assert main(["card", str(run), "-o", str(card), "--evaluation", f"dev={folder}"]) == status
        assert card.exists() == (status == 0)
    said = capsys.readouterr().err
    assert f"scores of {other}, but the card is about {ours}" in said and "scores of no token files, but" in said


def test_what_a_run_began_with_and_that_a_part_of_it_is_lost(run: Path, tmp_path: Path, command: list[str]) -> None:
    other = [
        *command[: command.index("--exp")],
        "--exp",
        str(tmp_path / "tuned"),
        *command[command.index("--exp") + 2 :],
    ]
    assert main([*other, "--init-from", str(run), "--set", "train.steps=1"]) == 0
    assert main([*other, "--resume", "--set", "train.steps=2"]) == 0
    cards = []
    for name in ("whole", "lost"):
        assert main(["card", str(tmp_path / "tuned"), "-o", str(tmp_path / f"{name}.md")]) == 0
        cards.append((tmp_path / f"{name}.md").read_text())
        lines = (tmp_path / "tuned/runs.jsonl").read_text().splitlines()
        (tmp_path / "tuned/runs.jsonl").write_text(lines[-1] + "\n")
    assert f"| begins with | tiny, {describe(run).fingerprint} |" in cards[0] and "at least" not in cards[0]
    assert (
        f"| begins with | tiny, {describe(run).fingerprint} |" in cards[1]
        and "| time | at least 0.0 h in 1 run(s) |" in cards[1]
    )


def test_a_run_without_history_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, message in ((None, "cannot read"), ("", "is empty"), ("{}\n", ":1: not a line"), ("no\n", "cannot read")):
        (run / "runs.jsonl").unlink(missing_ok=True)
        if text is not None:
            (run / "runs.jsonl").write_text(text)
        assert main(["card", str(run), "-o", str(tmp_path / "c.md")]) == 1
        assert message in capsys.readouterr().err


def test_what_a_killed_run_began_with(run: Path, tmp_path: Path, command: list[str]) -> None:
    """Killed before it could write its history, and resumed without being told again; and of a version that did not note it."""
    exp = command.index("--exp") + 1
    tuned = [*command[:exp], str(tmp_path / "tuned"), *command[exp + 1 :]]
    assert main([*tuned, "--init-from", str(run), "--set", "train.steps=1"]) == 0
    (tmp_path / "tuned/runs.jsonl").unlink()
    shutil.rmtree(tmp_path / "tuned/checkpoints/step_00000001")
    assert main([*tuned, "--resume", "--set", "train.steps=1"]) == 0
    assert main(["card", str(tmp_path / "tuned"), "-o", str(tmp_path / "1.md")]) == 0
    assert f"| begins with | tiny, {describe(run).fingerprint} |" in (tmp_path / "1.md").read_text()
    state = tmp_path / "tuned/checkpoints/step_00000001/state.json"
    state.write_text(
        json.dumps(
            {k: v for k, v in json.loads(state.read_text()).items() if k not in ("begins_with", "files", "sha256")}
        )
    )
    (tmp_path / "tuned/runs.jsonl").unlink()
    assert main([*tuned, "--resume", "--set", "train.steps=2"]) == 0
    assert main(["card", str(tmp_path / "tuned"), "-o", str(tmp_path / "2.md")]) == 0
    assert "| begins with | not recorded |" in (tmp_path / "2.md").read_text()
