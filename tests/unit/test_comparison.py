"""Comparing systems on the same utterances, and breaking scores down by columns of a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from audiocodec.errors import AudioCodecError, ManifestError
from audiocodec.evaluation.groups import read_groups, without_group
from audiocodec.evaluation.paired import difference
from audiocodec.evaluation.results import differences_md
from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.summary import bootstrap_interval, summarize


def rows(measure: str, values: dict[str, float], **groups: dict[str, str]) -> list[Row]:
    return [Row(name, values={measure: value}, groups=groups.get(name, {})) for name, value in values.items()]


def test_a_difference_by_hand() -> None:
    first = rows("pesq", {"a": 2.0, "b": 3.0, "c": 1.5, "only here": 4.0})
    second = [*rows("pesq", {"a": 1.0, "b": 3.0, "c": 2.0, "only there": 1.0}), Row("d", failures={"pesq": "why"})]
    found = difference(first, second, "pesq")
    assert (found.n, found.n_left_out) == (3, 2)
    assert found.mean == pytest.approx((1.0 + 0.0 - 0.5) / 3)
    assert found.wins == pytest.approx((1 + 0.5 + 0) / 3)
    assert difference(second, first, "pesq").mean == pytest.approx(-0.5 / 3)


def test_where_lower_is_better_the_lower_wins() -> None:
    first, second = rows("mel_distance", {"a": 5.0, "b": 6.0}), rows("mel_distance", {"a": 7.0, "b": 6.5})
    found = difference(first, second, "mel_distance")
    assert (found.mean, found.wins) == (-1.25, 1.0)


def test_the_interval_is_that_of_the_differences_and_much_narrower_than_the_means() -> None:
    random = np.random.default_rng(0)
    quality = random.normal(2.5, 0.5, 200)  # utterances differ much more than the systems
    ours, theirs = quality + 0.05 + random.normal(0, 0.05, 200), quality + random.normal(0, 0.05, 200)
    names = [f"u{i:03}" for i in range(200)]
    found = difference(rows("pesq", dict(zip(names, ours))), rows("pesq", dict(zip(names, theirs))), "pesq")
    expected = scipy.stats.bootstrap(
        (ours - theirs,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found.interval == pytest.approx(list(expected), abs=2e-3)
    assert found.interval is not None and found.interval[0] > 0
    alone = bootstrap_interval(ours.tolist())
    assert alone is not None and (alone[1] - alone[0]) > 5 * (found.interval[1] - found.interval[0])


def test_nothing_in_common() -> None:
    found = difference(rows("stoi", {"a": 1.0}), rows("stoi", {"b": 1.0}), "stoi")
    assert (found.n, found.n_left_out, found.mean, found.interval, found.wins) == (0, 2, None, None, None)


def test_equal_names_of_different_originals_are_not_compared() -> None:
    ours = [Row("a", values={"stoi": 0.9}, reference="x/a.wav", reference_hash="00ff")]
    theirs = [replace(ours[0], reference="y/a.wav", values={"stoi": 0.5}, reference_hash="00fe")]
    with pytest.raises(AudioCodecError, match=r"a: .* against different references \(x/a.wav, y/a.wav\)"):
        difference(ours, theirs, "stoi")
    assert difference(ours, [replace(theirs[0], reference_hash="00ff")], "stoi").mean == pytest.approx(0.4)
    assert difference(ours, [replace(theirs[0], reference_hash="")], "stoi").n == 1  # not known
    assert difference(ours, [replace(theirs[0], id="b")], "stoi").n_left_out == 2


TABLE = "path\tlanguage\tseconds\na/x.flac\teo\t1.0\na/y.z.ogg\tcnh\t2.0\nw\teo\t2.0\n"


def test_groups_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text(TABLE)
    assert read_groups(path, ["language"], tmp_path) == {
        "a/x": {"language": "eo"},
        "a/y.z": {"language": "cnh"},
        "w": {"language": "eo"},
    }
    assert read_groups(path, [], tmp_path) == {}


def test_speakers_of_a_data_folder(tmp_path: Path) -> None:
    (tmp_path / "utt2spk").write_text("a ann\nb ben jones\n")
    expected = {"a": {"speaker": "ann"}, "b": {"speaker": "ben jones"}}
    assert read_groups(None, ["speaker"], tmp_path) == expected
    assert read_groups(None, ["speaker"], tmp_path / "wav.scp") == expected
    for columns in (["language"], ["speaker", "language"]):
        with pytest.raises(ManifestError, match="needs a table"):
            read_groups(None, columns, tmp_path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"b", r"utt2spk:2: expected 'id speaker', got 'b'"),
        (b"b j\xf6rg", "utt2spk:2: is not UTF-8"),
        (b"a ben", "utt2spk:2: a was there before"),
    ],
)
def test_a_bad_line_of_utt2spk_is_named(line: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "utt2spk").write_bytes(b"a ann\n" + line + b"\nc cleo\n")
    with pytest.raises(ManifestError, match=reason):
        read_groups(None, ["speaker"], tmp_path)


def test_utterances_that_no_line_of_a_table_is_about() -> None:
    groups = {"a": {"language": "eo"}, "b": {"language": "cnh"}}
    assert without_group(groups, ["c", "b", "a.x"]) == ["a.x", "c"]
    assert without_group(groups, ["a"]) == []
    assert without_group({}, ["a"]) == []
    with pytest.raises(
        ManifestError, match="none of 2 utterances is in the table .* called as 'x/a', its lines as 'a'"
    ):
        without_group(groups, ["x/a", "x/b"])


@pytest.mark.parametrize(
    ("text", "columns", "reason"),
    [
        (TABLE, ["speaker"], "no column 'speaker'; there are path, language, seconds"),
        (TABLE.replace("path", "name"), ["language"], "none of its columns is id, path, file"),
        (TABLE + "w.wav\teo\t1\n", ["language"], "t.tsv:5: w was there before"),
        ("", ["language"], "none of its columns"),
        ("path\tlanguage\nx\n", ["language"], "t.tsv:2: has 1 of 2 columns"),
    ],
)
def test_a_bad_table_is_named(text: str, columns: list[str], reason: str, tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(ManifestError, match=reason):
        read_groups(tmp_path / "t.tsv", columns, tmp_path)


def test_a_summary_by_groups() -> None:
    groups = {name: {"language": language} for name, language in zip("abc", ("eo", "cnh", "eo"))}
    found = summarize(rows("pesq", {"a": 2.0, "b": 1.5, "c": 3.0}, **groups), ["pesq"]).groups["language"]
    assert list(found) == ["cnh", "eo"]
    assert (found["eo"].n_rows, found["eo"].measures["pesq"].mean) == (2, 2.5)
    assert found["cnh"].measures["pesq"].mean == 1.5


def test_the_table_of_differences() -> None:
    ours = rows("pesq", {"a": 2.0, "b": 3.0, "c": 1.5})
    theirs = rows("pesq", {"a": 1.0, "b": 2.5, "d": 2.0})
    text = differences_md({"theirs": theirs, "ours": ours, "none": []}, "theirs", ["pesq", "stoi"])
    assert "| system | PESQ-WB | STOI |" in text
    # differences 1.0 and 0.5: the bootstrap's means are 0.5, 0.75 or 1.0; utterances c and d are not in both
    assert "| ours | +0.750 [+0.500, +1.000], 100 % of 2 | - |" in text
    assert "| none | - | - |" in text and "| theirs |" not in text
