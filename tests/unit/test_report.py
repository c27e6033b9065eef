"""The report: what the page says, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.report_folders import RATE, data_of, noise, report, write_evaluation

from audiocodec.audio import io
from audiocodec.cli.main import main
from audiocodec.errors import AudioCodecError
from audiocodec.evaluation.rows import Row
from audiocodec.reporting.systems import read_systems

# What the page says


def test_the_page_holds_scores_groups_failures_codebooks_and_origins(evaluations: Path, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    assert report(evaluations, page, "--title", "Two <b>codecs</b>") == 0
    text = page.read_text()
    assert "<title>Two &lt;b&gt;codecs&lt;/b&gt;</title>" in text and "<b>codecs</b>" not in text
    assert "<b>0.915</b>" in text and "<b>0.600</b>" in text  # means of four, and of the three that have a score
    assert '<small>n = 3</small> <span class="failed">1 failed</span>' in text
    assert text.count("<small>n = 3</small>") == 1 and "<small>n = 4</small>" not in text
    assert "estimate is &lt;silent&gt;" in text and "estimate is <silent>" not in text
    assert "audiocodec evaluate good" in text and "audiocodec evaluate bad" in text
    assert "Use of codebook entries, sorted" in text and "Codebook entries by how often they occur" in text
    assert "Distribution of STOI by language" in text
    assert '<th scope="row">it</th>' in text and "<b>0.905</b>" in text  # the mean of 0.90 and 0.91
    assert list(tmp_path.iterdir()) == [page]


def test_the_median_and_how_many_have_a_score_are_said(tmp_path: Path) -> None:
    rows = [Row(f"u{i}", values={"stoi": v} if v else {}) for i, v in enumerate((0.1, 0.2, 0.9, None, None))]
    assert main(["report", str(write_evaluation(tmp_path / "a", rows)), "-o", str(tmp_path / "r.html"), "--quiet"]) == 0
    cell = re.search(r"<b>0\.400</b>.*?</td>", (tmp_path / "r.html").read_text())  # times, for one, are often not known
    assert cell and "<small>median 0.200</small> <small>n = 3</small></td>" in cell[0]


def test_an_utterance_whose_name_is_no_text_is_played_and_rated(evaluations: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"sur\xff")
    files = {"reference": str(evaluations / "ref/u0.wav"), "estimate": str(evaluations / "good/u0.wav")}
    folder = write_evaluation(tmp_path / "eval", [Row(name, values={"stoi": 1.0}, **files)])
    page = tmp_path / "r.html"
    assert main(["report", str(folder), "-o", str(page), "--quiet", "--title", name, "--name", f"by {name}"]) == 0
    assert r"sur\udcff" in page.read_text(encoding="utf-8")
    data = data_of(page)
    assert data["examples"][0]["id"] == name and data["systems"] == [f"by {name}"]
    trial = {"test": "abx", "utterance": name, "system": f"by {name}", "x": "system", "answer": "system"}
    head = {"format": "audiocodec-ratings", "version": 1, "report": data["report"], "session": "s", "rater": "Ann"}
    (tmp_path / "ratings.json").write_text(
        json.dumps({**head, "trials": [trial]})
    )  # as a browser writes lone surrogates
    words = ["report", str(folder), "-o", str(page), "--quiet", "--force", "--title", name, "--name", f"by {name}"]
    assert main([*words, "--ratings", str(tmp_path / "ratings.json")]) == 0
    assert "<td>1 of 1</td>" in page.read_text(encoding="utf-8")


def test_differences_are_paired_and_from_the_system_one_asks_for(tmp_path: Path) -> None:
    scores = {"a": (0.5, 0.6, 0.7, 0.8), "b": (0.6, 0.7, 0.8, 0.7), "c": (0.4, 0.5, 0.6)}
    for label, stoi in scores.items():
        rows = [Row(f"u{i}", values={"stoi": value, "mel_distance": value}) for i, value in enumerate(stoi)]
        write_evaluation(tmp_path / label, rows, ["stoi", "mel_distance"])
    words = [
        "report",
        *(str(tmp_path / label) for label in scores),
        "-o",
        str(tmp_path / "r.html"),
        "--quiet",
        "--force",
    ]

    def lines(*options: str) -> list[str]:
        assert main([*words, *options]) == 0
        section = re.search(r'<section id="differences">(.*?)</section>', (tmp_path / "r.html").read_text(), re.DOTALL)
        assert section
        return [re.sub(r"<[^>]*>", " ", line) for line in re.findall(r"<tr>(.*?)</tr>", section[1])[1:]]

    b, c = (" ".join(line.split()) for line in lines())
    assert re.fullmatch(r"b \+0\.050 \[.*\] better on 75 % \+0\.05 \[.*\] better on 25 %", b)
    same = "[-0.100, -0.100] better on 0 % of 3"
    assert c == f"c -0.100 worse {same} -0.10 better [-0.10, -0.10] better on 100 % of 3"
    assert [line.split()[:3] for line in lines("--against", "c")] == [
        ["a", "+0.100", "better"],
        ["b", "+0.200", "better"],
    ]


def tags_of(page: Path) -> set[str]:
    """Names of all elements, as a parser sees them."""
    found: set[str] = set()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.add(tag)  # type: ignore[method-assign]
    parser.feed(page.read_text())
    return found


def test_nothing_that_somebody_else_named_becomes_part_of_the_page(tmp_path: Path) -> None:
    def named(what: str) -> str:
        return f"\"'><evil{what} http-equiv=refresh><!--</table></script>"

    reference, estimate = tmp_path / "reference.wav", tmp_path / "estimate.wav"
    for path in (reference, estimate):
        io.write(path, noise(0), RATE)
    rows = [
        Row(
            id=named(f"id{number}"),
            values={"stoi": 0.5 + number / 10},
            failures={"pesq": named("reason")},
            notes=(named("note"),),
            groups={named("column"): named("group")},
            reference=str(reference),
            estimate=str(estimate),
        )
        for number in range(2)
    ]
    folder = write_evaluation(tmp_path / "eval", rows, ["stoi", "pesq"])
    page = tmp_path / "r.html"
    words = ["report", str(folder), str(folder), "-o", str(page), "--quiet", "--title", named("title")]
    assert main([*words, "--name", named("label"), "other"]) == 0
    assert len(data_of(page)["examples"]) == 2  # the names are in the players and in the program's data too
    assert [tag for tag in tags_of(page) if tag.startswith("evil")] == []


def test_the_page_asks_nothing_of_the_network_and_runs_only_its_own_program(evaluations: Path, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    assert report(evaluations, page) == 0
    text = page.read_text()
    assert re.findall(r"https?://|//cdn|@import|url\(", text) == []
    assert {source[:5] for source in re.findall(r'(?:src|href)="([^"]*)', text)} <= {"data:", "#main"}
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy and policy[1].startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        bodies = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(bodies[0].encode()).digest()).decode()
        assert len(bodies) == 1 and f"{tag}-src 'sha256-{digest}'" in policy[1]
    assert " style=" not in text and " onclick=" not in text


def test_without_the_audio_there_is_a_page_without_players(
    evaluations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (evaluations / "eval/good/rows.jsonl").read_text().replace(str(evaluations), "/nowhere")
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval/rows.jsonl").write_text(rows)
    (tmp_path / "eval/summary.json").write_bytes((evaluations / "eval/good/summary.json").read_bytes())
    assert main(["report", str(tmp_path / "eval"), "-o", str(tmp_path / "r.html")]) == 0
    assert "evaluations; /nowhere/ref/u0.wav is not there" in capsys.readouterr().err
    text = (tmp_path / "r.html").read_text()
    assert "<b>0.915</b>" in text and "No audio" in text and "<article" not in text and "not all codes" in text


def test_names(evaluations: Path, tmp_path: Path) -> None:
    good = evaluations / "eval/good"
    recipe = tmp_path / "exp/small/eval/dev"
    recipe.mkdir(parents=True)
    for name in ("rows.jsonl", "summary.json"):
        (recipe / name).write_bytes((good / name).read_bytes())
    (tmp_path / "other/good").mkdir(parents=True)
    for name in ("rows.jsonl", "summary.json"):
        (tmp_path / "other/good" / name).write_bytes((good / name).read_bytes())
    assert read_systems([recipe])[0].label == "small/dev"
    assert read_systems([tmp_path / "other/good"])[0].label == "good"
    with pytest.raises(AudioCodecError, match="two evaluations are called 'a'"):
        read_systems([good, recipe], ["a", "a"])


def test_evaluations_of_different_utterances_have_none_to_play_and_that_is_said(
    evaluations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"reference": str(evaluations / "ref/u0.wav"), "estimate": str(evaluations / "good/u0.wav")}
    folders = [str(write_evaluation(tmp_path / name, [Row(id=name, values={"stoi": 1.0}, **files)])) for name in "ab"]
    assert main(["report", *folders, "-o", str(tmp_path / "r.html")]) == 0
    reason = "no utterance is in all of these evaluations; make a report of each set of utterances"
    assert reason in capsys.readouterr().err and reason in (tmp_path / "r.html").read_text()


# What is refused


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere", "-o", "OUT"], 2, "nowhere: No such file or directory"),
        (["REF", "-o", "OUT"], 1, "ref/summary.json: cannot read the summary"),
        (["GOOD", "-o", "THERE"], 2, "already exists; --force overwrites"),
        (["GOOD", "-o", "FOLDER"], 2, "is a folder; say -o"),
        (["GOOD", "-o", "FOLDER/none/r.html"], 2, "none: No such directory"),
        (["GOOD", "-o", "OUT", "--name", "a", "b"], 2, "2 names for 1 evaluations"),
        (["GOOD", "-o", "OUT", "--against", "x"], 2, "--against x: no such system; there are "),
        (["GOOD", "-o", "OUT", "--utterances", "u9"], 1, "utterance 'u9': no evaluation has"),
        (["GOOD", "-o", "OUT", "--utterances", ","], 2, "names no utterance"),
        (["GOOD", "-o", "OUT", "--examples", "-1"], 2, "-1"),
        (["GOOD", "-o", "OUT", "--ratings", "nowhere.json"], 2, "nowhere.json: No such file or directory"),
        (["GOOD", "GOOD", "-o", "OUT"], 1, "two evaluations are called"),
    ],
)
def test_refusals_leave_nothing(
    arguments: list[str],
    status: int,
    message: str,
    evaluations: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    there = tmp_path / "there.html"
    there.write_text("kept")
    places = {"OUT": tmp_path / "out.html", "REF": evaluations / "ref", "GOOD": evaluations / "eval/good"}
    places |= {"THERE": there, "FOLDER": tmp_path, "FOLDER/none/r.html": tmp_path / "none/r.html"}
    assert main(["report", *(str(places.get(word, word)) for word in arguments)]) == status
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["there.html"] and there.read_text() == "kept"


@pytest.mark.parametrize(
    ("hashes", "status"),
    [((None, None), 0), (("a1", None), 0), (("a1", "a1"), 0), (("", ""), 0), (("a1", "b2"), 2)],
)
def test_equal_names_of_different_references_are_refused(
    hashes: tuple[str | None, str | None], status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = []
    for label, found in zip(("one", "two"), hashes):
        folder = write_evaluation(tmp_path / label, [Row("u0", values={"stoi": 0.5}), Row("u1", values={"stoi": 0.5})])
        lines = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
        lines[1] |= {} if found is None else {"reference_hash": found}
        (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        folders.append(str(folder))
    assert main(["report", *folders, "-o", str(tmp_path / "r.html"), "--quiet"]) == status
    said = capsys.readouterr().err
    assert ("u1: one and two were scored against different references" in said) == (status == 2)
    assert (tmp_path / "r.html").exists() == (status == 0)
