"""Evaluations that an earlier version wrote are read, and written again byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audiocodec.errors import AudioCodecError
from audiocodec.evaluation.rows import FINISHED, SUMMARY, read_rows
from audiocodec.evaluation.summary_file import read_summary

FOLDERS = sorted(path.parent for path in (Path(__file__).parent / "evaluations").glob(f"*/{SUMMARY}"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_evaluation_is_written_as_it_was_read(folder: Path) -> None:
    assert read_summary(folder).to_text() == (folder / SUMMARY).read_text()
    lines = "".join(row.to_json() + "\n" for row in read_rows(folder / FINISHED))
    assert lines == (folder / FINISHED).read_text()


def test_what_a_summary_holds() -> None:
    assert [folder.name for folder in FOLDERS] == ["model", "reference", "resampled", "tokens"]
    model, reference, resampled, tokens = map(read_summary, FOLDERS)
    assert model.model is not None and model.model.name == "tiny"
    assert model.codecs == tokens.codecs == (model.model.fingerprint,)
    assert [use.codebook_size for use in model.codebooks] == [64, 64]
    assert all(use.effective_dimension for use in model.codebooks)
    assert [use.effective_dimension for use in tokens.codebooks] == [None, None]  # nobody said which model made them
    assert model.measures["stoi"].n_failed == 1 and sum(model.measures["stoi"].reasons.values()) == 1
    assert {value: group.n_rows for value, group in model.groups["language"].items()} == {"eo": 2, "it": 1}
    assert reference.tokens is None and reference.model is None
    assert resampled.coded_by.startswith("16-bit PCM at 24000 Hz") and not resampled.codebooks


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("measures", "si_sdr", "mean"), "high", r"measures\.si_sdr\.mean: expected a number, got 'high'"),
        (("measures", "si_sdr", "n_scored"), 2.5, r"measures\.si_sdr\.n_scored: expected a whole number, got 2\.5"),
        (("measures", "si_sdr", "interval"), [1.0], r"measures\.si_sdr\.interval: expected 2 values, got 1"),
        (("measures", "si_sdr"), None, r"measures\.si_sdr: expected an object, got None"),
        (("tokens", "codebooks"), {}, r"tokens\.codebooks: expected a list, got \{\}"),
        (("tokens", "kbps_file"), "2", r"tokens\.rates\.kbps_file: expected a number, got '2'"),
        (("model", "name"), 7, r"model\.name: expected a text, got 7"),
        (
            ("groups", "language", "eo", "n_rows"),
            True,
            r"groups\.language\.eo\.n_rows: expected a whole number, got True",
        ),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(keys: tuple[str, ...], value: object, message: str, tmp_path: Path) -> None:
    record = json.loads((FOLDERS[0] / SUMMARY).read_text())
    place = record
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (tmp_path / SUMMARY).write_text(json.dumps(record))
    with pytest.raises(AudioCodecError, match=rf"summary\.json: is not a summary of `audiocodec evaluate`: {message}$"):
        read_summary(tmp_path)


@pytest.mark.parametrize("key", ["command", "measures", "versions", "n_rows"])
def test_a_missing_key_is_named(key: str, tmp_path: Path) -> None:
    record = json.loads((FOLDERS[0] / SUMMARY).read_text())
    del record[key]
    (tmp_path / SUMMARY).write_text(json.dumps(record))
    with pytest.raises(AudioCodecError, match=rf"summary\.json: .*: {key} is missing$"):
        read_summary(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "a", "stoi": "0.5"}', "stoi: expected a number, got '0.5'"),
        ('{"id": "a", "notes": "odd"}', "notes: expected a list, got 'odd'"),
        ('{"id": "a", "failures": {"stoi": null}}', r"failures\.stoi: expected a text, got None"),
    ],
)
def test_a_bad_value_of_a_row_is_named(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / FINISHED).write_text(line + '\n{"id": "b"}\n')
    with pytest.raises(AudioCodecError, match=rf"rows\.jsonl:1: not a row: {message}$"):
        read_rows(tmp_path / FINISHED)
