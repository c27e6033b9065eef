"""VERSA's scores beside ours, and the lists that it reads: as its own loader of `--io soundfile` takes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.report_folders import report, write_evaluations
from support.workspace import CHECKOUT, run

from audiocodec.cli.main import main

ROWS = [
    {"key": "u0", "utmos": 2.0, "sir": float("inf"), "text": "hallo", "vad": [{"start": 0}]},
    {"key": "u2", "utmos": 3.0, "sir": None},
    {"key": "u1", "utmos": 4.0, "sir": 10.0},
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("versa")
    write_evaluations(folder)
    return folder


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)  # as VERSA: Infinity is no JSON


def test_numbers_are_shown_with_how_many_there_are(root: Path, tmp_path: Path) -> None:
    scores, page = tmp_path / "a.jsonl", tmp_path / "r.html"
    scores.write_text(lines(*ROWS))
    assert report(root, page, "--versa", f"good={scores}") == 0
    section = page.read_text().split('<section id="versa">')[1].split("</section>")[0]
    assert "<b>3</b>" in section and "median 3" in section and "n = 3" in section  # 2, 3, 4 of four utterances
    assert "<b>10</b>" in section and "n = 1" in section
    assert "hallo" not in section and ">vad<" not in section and ">bad<" not in section
    assert report(root, page) == 0
    assert 'id="versa"' not in page.read_text()


def test_of_one_system_the_file_will_do(root: Path, tmp_path: Path) -> None:
    (tmp_path / "x=1.jsonl").write_text(lines(*ROWS))
    page = tmp_path / "r.html"
    words = ["report", str(root / "eval/good"), "-o", str(page), "--quiet", "--versa", str(tmp_path / "x=1.jsonl")]
    assert main(words) == 0
    assert "Scores by VERSA" in page.read_text()


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("", 1, "a.jsonl: holds no scores"),
        ('{"key": "u0", "utmos": 2\n', 1, "a.jsonl:1: not a line of VERSA's scores"),
        (
            lines(ROWS[0]) + '{"utmos": 2}\n',
            1,
            'a.jsonl:2: not a line of VERSA\'s scores: expected an object with a "key"',
        ),
        (lines([1]), 1, "a.jsonl:1: not a line"),
        (lines({"key": 3}), 1, "a.jsonl:1: not a line"),
        (lines(ROWS[0], ROWS[1], ROWS[0]), 1, "a.jsonl:3: 'u0' was scored in line 1 already"),
        (
            lines({"key": "u0.wav", "utmos": 1}),
            1,
            "a.jsonl:1: 'u0.wav' is no utterance of good, whose names are as 'u0'",
        ),
        ("\xff\xfe", 1, "a.jsonl:1: not a line"),
        (None, 2, "a.jsonl: No such file"),
    ],
)
def test_what_is_no_file_of_scores(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, status: int, message: str
) -> None:
    if text is not None:
        (tmp_path / "a.jsonl").write_text(text)
    assert report(root, tmp_path / "r.html", "--versa", f"good={tmp_path / 'a.jsonl'}") == status
    assert message in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


def test_labels(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = tmp_path / "a.jsonl"
    scores.write_text(lines(*ROWS))
    for words, message in (
        ([str(scores)], "say LABEL=FILE; the systems are good, bad"),
        ([f"better={scores}"], "say LABEL=FILE; the systems are good, bad"),
        ([f"good={scores}", f"good={scores}"], "good has a file already"),
    ):
        assert report(root, tmp_path / "r.html", "--versa", *words) == 2
        assert message in capsys.readouterr().err


def test_lists_of_recipes_are_as_versa_reads_them(tmp_path: Path) -> None:
    """Key and path of a line, split at the first white space, no commands. test_recipes.py: keys and paths of a recipe."""
    for name in ("b.wav", "a.wav", "c/d.wav", "timings.jsonl"):
        (tmp_path / "a wav/test" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a wav/test" / name).touch()
    call = f'source "{CHECKOUT}/recipes/codec.sh"; list_audio "a wav/test"'
    run(["bash", "-euo", "pipefail", "-c", call], tmp_path)
    with open(tmp_path / "a wav/test.scp") as file:
        read = dict(line.strip().split(maxsplit=1) for line in file)
    assert read == {name: f"a wav/test/{name}.wav" for name in ("a", "b", "c/d")}
    assert not any(path.endswith("|") for path in read.values())
