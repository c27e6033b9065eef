"""Evaluation: pairing, rows, workers, summaries, coding measures, the results page."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiocodec.audio import io
from audiocodec.errors import AudioCodecError, ManifestError, TokenFileError
from audiocodec.evaluation import run as run_module
from audiocodec.evaluation import scoring as scoring_module
from audiocodec.evaluation.catalogue import DEFAULT, Metric, select
from audiocodec.evaluation.coding import TokenSet, read_timings
from audiocodec.evaluation.pairing import Entry, pair
from audiocodec.evaluation.results import cell, median, results_md, write_results_md
from audiocodec.evaluation.rows import Row, RowWriter, read_rows
from audiocodec.evaluation.run import Options, score_entries
from audiocodec.evaluation.scoring import Scores, Task, score
from audiocodec.evaluation.summary import bootstrap_interval, describe_measure, summarize
from audiocodec.evaluation.summary_file import MeasureSummary, Summary, read_summary
from audiocodec.tokens.token_file import TokenFile
from audiocodec.workers import Lost, run_all

RATE = 16_000
AUDIO = Path(__file__).parents[2] / "egs/mini/codec/local/audio"


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Two seconds of real speech at 16 kHz."""
    return io.read(min(AUDIO.rglob("*.flac")))[0][0, RATE : 3 * RATE]


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Score in this process; gives the ids that were scored."""
    scored: list[str] = []

    def run_here(function: Callable[[Any], Any], items: list[Task], jobs: int) -> Iterator[tuple[int, Any]]:
        for index, item in reversed(list(enumerate(items))):  # any order must do
            scored.append(item.entry.id)
            yield index, function(item)

    monkeypatch.setattr(run_module, "run_all", run_here)
    return scored


def write_pair(folder: Path, name: str, reference: np.ndarray, estimate: np.ndarray) -> Entry:
    paths = [folder / role / f"{name}.wav" for role in ("reference", "estimate")]
    for path, wav in zip(paths, (reference, estimate)):
        path.parent.mkdir(exist_ok=True)
        io.write(path, wav, RATE, "FLOAT")
    return Entry(name, str(paths[0]), str(paths[1]))


def noisy(wav: np.ndarray, seed: int = 0) -> np.ndarray:
    return (wav + np.random.default_rng(seed).normal(0, 0.005, len(wav))).astype(np.float32)


def token_file(path: Path, frames: int = 75, fingerprint: bytes = b"8 bytes!", size: int = 1024) -> Path:
    codes = np.arange(2 * frames).reshape(2, frames) % min(size, 8)
    path.parent.mkdir(exist_ok=True, parents=True)
    TokenFile(codes, (size, 8), 24_000, 320, 320 * frames, 24_000, 1, 320 * frames, 1.0, fingerprint).write(path)
    return path


# --- pairing


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_files_are_paired_by_path_without_extension_and_none_is_dropped(tmp_path: Path) -> None:
    reference = touch(
        tmp_path / "r", "a.flac", "sub/a.FLAC", "sub.x/b.wav", "alone.wav", "twice.wav", "twice.ogg", "t.md"
    )
    estimate = touch(tmp_path / "e", "a.wav", "sub/a.wav", "sub.x/b.wav", "twice.wav", "extra.wav", ".hidden.wav")
    tokens = touch(tmp_path / "t", "a.act", "sub/a.act", "orphan.act")
    entries = {entry.id: entry for entry in pair(reference, estimate, tokens)}
    assert list(entries) == ["a", "alone", "extra", "orphan", "sub.x/b", "sub/a", "twice"]
    assert entries["sub/a"] == Entry(
        "sub/a", str(reference / "sub/a.FLAC"), str(estimate / "sub/a.wav"), str(tokens / "sub/a.act")
    )
    assert {name: entry.problem for name, entry in entries.items() if entry.problem} == {
        "alone": "no estimate",
        "extra": "no reference",
        "orphan": "no reference; no estimate",
        "twice": "more than one reference of that name (.ogg, .wav)",
    }


def test_a_data_folder_and_a_wav_scp_are_paired_by_utterance(tmp_path: Path) -> None:
    estimate = touch(tmp_path / "e", "utt1.wav", "utt2.wav")
    data = touch(tmp_path / "data", "notes.txt")
    (data / "wav.scp").write_text("utt1 /x/first.flac\nutt2 /x/second.flac\n")
    for reference in (data, data / "wav.scp"):
        assert pair(reference, estimate) == [
            Entry("utt1", "/x/first.flac", str(estimate / "utt1.wav")),
            Entry("utt2", "/x/second.flac", str(estimate / "utt2.wav")),
        ]


def test_nothing_to_pair_is_an_error(tmp_path: Path) -> None:
    empty, full = touch(tmp_path / "empty", "readme.txt"), touch(tmp_path / "full", "a.wav")
    with pytest.raises(ManifestError, match=r"empty: holds no \.wav"):
        pair(empty, full)
    with pytest.raises(ManifestError, match="no such folder"):
        pair(tmp_path / "nowhere", full)
    with pytest.raises(ManifestError, match="neither a folder nor a list"):
        pair(full / "a.wav", full)
    (tmp_path / "wav.scp").write_text("utt1 cat x.wav |\n")
    with pytest.raises(ManifestError, match="--allow-pipes"):
        pair(tmp_path / "wav.scp", full)
    assert pair(tmp_path / "wav.scp", full, allow_pipes=True)[1].reference == "cat x.wav |"


def test_ids_that_a_wav_scp_repeats_are_entries_with_a_reason_and_cost_no_others(tmp_path: Path) -> None:
    estimate = touch(tmp_path / "e", "once.wav", "twice.wav")
    (tmp_path / "wav.scp").write_text("twice /x/1.flac\nonce /x/2.flac\ntwice /x/3.flac\n")
    entries = {entry.id: entry for entry in pair(tmp_path / "wav.scp", estimate)}
    assert entries["once"] == Entry("once", "/x/2.flac", str(estimate / "once.wav"))
    assert entries["twice"].problem.startswith("more than one reference of that name")
    assert list(entries) == ["once", "twice"]
    reversed_roles = {entry.id: entry.problem for entry in pair(estimate, tmp_path / "wav.scp")}
    assert reversed_roles["twice"].startswith("more than one estimate of that name")


def test_without_any_estimate_every_reference_says_so(tmp_path: Path) -> None:
    full, empty = touch(tmp_path / "full", "a.wav", "b.wav"), touch(tmp_path / "empty", "readme.txt")
    assert [(entry.id, entry.problem) for entry in pair(full, empty)] == [("a", "no estimate"), ("b", "no estimate")]
    (tmp_path / "wav.scp").touch()
    assert len(pair(full, tmp_path / "wav.scp")) == 2
    with pytest.raises(ManifestError, match="nowhere: no such folder"):
        pair(full, tmp_path / "nowhere")


# --- scoring


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("silent", "estimate is silent"),
        ("nan", "estimate: holds samples that are NaN or infinite"),
        ("rate", "sample rates differ"),
        ("short", "lengths differ"),
        ("empty", r"estimate: is empty \(0 bytes\)"),
        ("missing", "estimate: No such file or directory"),
    ],
)
def test_a_bad_estimate_has_reasons_and_no_scores(name: str, reason: str, tmp_path: Path, speech: np.ndarray) -> None:
    bad = speech.copy()
    bad[7] = np.nan
    entry = write_pair(
        tmp_path, name, speech, 0 * speech if name == "silent" else speech[: 30_000 if name == "short" else None]
    )
    assert entry.estimate is not None
    if name == "nan":
        import soundfile

        soundfile.write(entry.estimate, bad, RATE, "FLOAT")
    elif name == "rate":
        io.write(entry.estimate, io.resample(speech, RATE, 24_000), 24_000)
    elif name == "empty":
        Path(entry.estimate).write_bytes(b"")
    elif name == "missing":
        os.unlink(entry.estimate)
    scores = score(Task(entry, DEFAULT))
    assert scores.values == {}
    assert list(scores.failures) == ["pesq", "stoi", "mel_distance"]
    for found in scores.failures.values():
        assert re.fullmatch(reason, found), found
    rates = "reference 16000 Hz, estimate 24000 Hz; evaluate --resample converts the estimate"
    details = {"rate": rates, "short": "reference 32000 samples, estimate 30000"}
    assert list(scores.details.values()) == ([details[name]] if name in details else [])
    assert scores.seconds == 2.0


def test_what_only_one_pair_has_does_not_divide_the_counts(
    tmp_path: Path, speech: np.ndarray, in_process: list[str]
) -> None:
    late = {f"late {ms} ms": np.roll(speech, ms * RATE // 1000) for ms in (20, 30, 45)}
    short = {f"short {n}": speech[:-n] for n in (1_601, 7_000)}
    entries = [write_pair(tmp_path, name, speech, wav) for name, wav in {**late, **short}.items()]
    rows, summary = score_entries(entries, tmp_path / "out", Options(metrics=select(["si_sdr"])))
    assert summary.measures["si_sdr"].reasons == {"misaligned": 3, "lengths differ": 2}
    assert [list(row.details.values()) for row in rows] == [
        ["estimate is 20 ms late"],
        ["estimate is 30 ms late"],
        ["estimate is 45 ms late"],
        ["reference 32000 samples, estimate 30399"],
        ["reference 32000 samples, estimate 25000"],
    ]
    assert score_entries(entries, tmp_path / "out", Options(metrics=select(["si_sdr"]), resume=True))[0] == rows


@pytest.mark.parametrize("extra", [1, 120, 1600, -1, -1600])
def test_a_little_longer_or_shorter_is_scored_over_the_common_part(
    extra: int, tmp_path: Path, speech: np.ndarray
) -> None:
    """Codecs that code whole frames leave a few milliseconds more; the score is that of the samples both have."""
    noise = noisy(speech)
    entry = write_pair(tmp_path, "a", speech, np.pad(noise, (0, max(0, extra)))[: len(speech) + extra])
    short = min(len(speech), len(speech) + extra)
    expected = score(Task(write_pair(tmp_path, "b", speech[:short], noise[:short]), DEFAULT))
    scores = score(Task(entry, DEFAULT))
    how = "longer" if extra > 0 else "shorter"
    assert scores.failures == {} and scores.values == expected.values
    assert scores.notes == (f"estimate {how} by up to 0.1 s, common part scored",)
    assert list(scores.details.values()) == [f"reference 32000 samples, estimate {32000 + extra}"]


def test_other_rates_are_resampled_where_that_is_asked_for(
    tmp_path: Path, speech: np.ndarray, in_process: list[str]
) -> None:
    entry = write_pair(tmp_path, "a", speech, speech)
    io.write(entry.estimate or "", io.resample(speech, RATE, 24_000), 24_000)
    scores = score(Task(entry, select(["stoi"]), resample=True))
    assert scores.values["stoi"] > 0.999 and scores.failures == {}
    assert scores.notes == ("estimate resampled from 24000 to 16000 Hz",)
    rows = score_entries([entry], tmp_path / "out", Options(metrics=select(["stoi"])))[0]
    assert list(rows[0].failures.values()) == ["sample rates differ"]
    options = Options(metrics=select(["stoi"]), resume=True, resample=True)
    assert score_entries([entry], tmp_path / "out", options)[0][0].values == scores.values


def test_one_channel_of_several_is_scored(tmp_path: Path, speech: np.ndarray) -> None:
    entry = write_pair(tmp_path, "a", speech, speech)
    io.write(entry.reference or "", np.stack([speech[::-1], speech]), RATE)
    task = Task(entry, select(["si_sdr"]))
    assert score(task).values.get("si_sdr", 0) < 10
    assert score(replace(task, channel=2)).values["si_sdr"] > 60
    assert score(replace(task, channel=3)).failures == {"si_sdr": "reference: has 2 channels, no channel 3"}
    io.write(entry.reference or "", np.stack([speech, -speech]), RATE)
    assert "its channels cancel when they are mixed" in score(task).failures["si_sdr"]


def test_one_odd_clip_does_not_decide_a_mean_without_a_word() -> None:
    values = [10.0, 10.5, 11.0, 9.5, 10.2, -60.0]
    rows = [Row(f"u{i}", values={"si_sdr": value}) for i, value in enumerate(values)]
    assert list(summarize(rows, ["si_sdr"]).notes) == ["SI-SDR, dB: u5 alone moves the mean from 10.24 to -1.47"]
    assert summarize(rows[:5], ["si_sdr"]).notes == {}


def test_the_reference_s_hash_is_that_of_its_sound(tmp_path: Path, speech: np.ndarray, in_process: list[str]) -> None:
    entries = [write_pair(tmp_path, name, speech, noisy(speech)) for name in ("a", "b", "c")]
    flac = tmp_path / "a.flac"
    io.write(flac, io.read(entries[0].reference or "")[0], RATE)
    entries[0] = replace(entries[0], reference=str(flac))
    io.write(entries[1].reference or "", io.read(flac)[0], RATE)  # the same 16 bits
    io.write(entries[2].reference or "", 0.999 * speech, RATE, "FLOAT")
    rows, _ = score_entries(entries, tmp_path / "out", Options(metrics=select(["si_sdr"])))
    hashes = [row.reference_hash for row in rows]
    assert hashes[0] == hashes[1] != hashes[2] and all(re.fullmatch("[0-9a-f]{16}", found) for found in hashes)
    assert read_rows(tmp_path / "out/rows.jsonl") == rows


def test_one_metric_without_a_score_does_not_cost_the_others(tmp_path: Path, speech: np.ndarray) -> None:
    part = speech[RATE : RATE + 5000]  # 0.31 s: enough for PESQ, too short for STOI
    scores = score(Task(write_pair(tmp_path, "a", part, noisy(part)), DEFAULT))
    assert set(scores.values) == {"pesq", "mel_distance"}
    assert scores.failures == {"stoi": "shorter than 0.4 s"}


def test_many_channels_are_mixed_to_one(tmp_path: Path, speech: np.ndarray) -> None:
    entry = write_pair(tmp_path, "a", speech, noisy(speech))
    other = np.random.default_rng(1).normal(0, 0.01, len(speech)).astype(np.float32)
    assert entry.reference is not None
    mono = score(Task(entry, select(["mel"]))).values
    io.write(entry.reference, np.stack([speech + other, speech - other]), RATE, "FLOAT")
    assert score(Task(entry, select(["mel"]))).values == pytest.approx(mono, rel=1e-5)


# --- evaluate


def test_a_silent_estimate_adds_nothing_to_the_mean_and_one_to_the_failed(
    tmp_path: Path, speech: np.ndarray, in_process: list[str]
) -> None:
    entries = [write_pair(tmp_path, name, speech, noisy(speech, seed)) for seed, name in enumerate("abc")]
    _, before = score_entries(entries, tmp_path / "before", Options(metrics=select(["pesq", "stoi"])))
    entries.append(write_pair(tmp_path, "d", speech, 0 * speech))
    rows, after = score_entries(entries, tmp_path / "after", Options(metrics=select(["pesq", "stoi"])))
    for name in ("pesq", "stoi"):
        expected = replace(before.measures[name], n_failed=1, reasons={"estimate is silent": 1})
        assert after.measures[name] == expected
        assert before.measures[name].n_scored == 3
    assert [row.id for row in rows] == list("abcd")
    assert rows[3].failures == {"pesq": "estimate is silent", "stoi": "estimate is silent"}
    assert (rows[3].values.get("pesq"), rows[3].values.get("mel_distance")) == (None, None)
    assert after.n_rows_with_failures == 1
    assert read_rows(tmp_path / "after/rows.jsonl") == rows
    assert read_summary(tmp_path / "after") == after
    assert sorted(os.listdir(tmp_path / "after")) == ["rows.jsonl", "summary.json"]


def calls_of(monkeypatch: pytest.MonkeyPatch, scored: list[str]) -> Callable[[], list[tuple[str, str]]]:
    """Gives the pairs (id, word of a metric) computed since it was last called; pairs are told by `scored`."""
    calls: list[tuple[str, str]] = []
    compute = scoring_module._compute

    def counted(metric: Metric, *signals: Any) -> Any:
        calls.append((scored[-1], metric.word))
        return compute(metric, *signals)

    def since() -> list[tuple[str, str]]:
        found, calls[:] = sorted(calls), []
        scored.clear()
        return found

    monkeypatch.setattr(scoring_module, "_compute", counted)
    return since


def test_resume_computes_only_what_is_missing_or_changed_and_keeps_the_rest(
    tmp_path: Path, speech: np.ndarray, in_process: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, computed = tmp_path / "out", calls_of(monkeypatch, in_process)

    def scores_with(words: str) -> tuple[list[Row], Summary]:
        return score_entries(entries, out, Options(metrics=select(words.split()), resume=True))

    entries = [write_pair(tmp_path, name, speech, noisy(speech, seed)) for seed, name in enumerate("abc")]
    part = speech[RATE : RATE + 5000]  # too short for STOI
    entries.append(write_pair(tmp_path, "d", part, noisy(part)))
    first, _ = scores_with("stoi si_sdr")
    assert computed() == [(name, word) for name in "abcd" for word in ("si_sdr", "stoi")]
    fewer, summary = scores_with("si_sdr")
    assert computed() == []
    assert [row.values for row in fewer] == [row.values for row in first]
    assert (list(summary.measures), summary.n_rows_with_failures) == (["si_sdr"], 0)
    more, summary = scores_with("stoi stft si_sdr")
    assert computed() == [(name, "stft") for name in "abcd"]  # not the STOI of d, which has none
    assert [(row.values["stoi"], row.values["si_sdr"]) for row in more[:3]] == [
        (row.values["stoi"], row.values["si_sdr"]) for row in first[:3]
    ]
    assert summary.measures["stoi"].reasons == {"shorter than 0.4 s": 1}
    write_pair(tmp_path, "b", speech, noisy(noisy(speech, 7), 8))
    os.utime(entries[1].estimate or "", ns=(1, 1))
    changed, _ = scores_with("stoi")
    assert computed() == [("b", "stoi")]
    assert changed[1].values["stoi"] < first[1].values["stoi"]
    assert list(changed[1].values) == ["stoi"]  # what is known of the old audio is gone
    assert set(changed[0].values) == {"stoi", "stft_distance", "si_sdr"}


def test_resume_tries_again_what_failed_for_reasons_outside_the_pair(
    tmp_path: Path, speech: np.ndarray, in_process: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [write_pair(tmp_path, name, speech, noisy(speech)) for name in "ab"]
    flag = tmp_path / "mounted"
    entries[1] = Entry("b", f"test -e {flag} && cat {entries[1].reference} |", entries[1].estimate)
    options = Options(metrics=select(["stoi"]), resume=True, allow_pipes=True)
    before, _ = score_entries(entries, tmp_path / "out", options)
    assert before[1].failures["stoi"].startswith("reference: the command ended with status 1")
    flag.touch()
    in_process.clear()
    after, _ = score_entries(entries, tmp_path / "out", options)
    assert in_process == ["b"]
    assert (after[1].failures, after[1].values) == ({}, before[0].values)


def test_an_interrupted_evaluation_goes_on_where_it_was(
    tmp_path: Path, speech: np.ndarray, in_process: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [write_pair(tmp_path, name, speech, noisy(speech, seed)) for seed, name in enumerate("abc")]
    calls = iter([None, None, KeyboardInterrupt()])

    def stop() -> None:
        if (error := next(calls)) is not None:
            raise error

    out, options = tmp_path / "out", Options(metrics=select(["stoi"]), resume=True)
    with pytest.raises(KeyboardInterrupt):
        score_entries(entries, out, options, stop)
    assert os.listdir(out) == ["rows.jsonl.partial"]
    with open(out / "rows.jsonl.partial", "a") as file:
        file.write('{"id": "a", "stoi": 0.')  # the power went while this line was written
    in_process.clear()
    rows, summary = score_entries(entries, out, options)
    assert in_process == []
    assert summary.measures["stoi"].n_scored == 3
    assert rows == score_entries(entries, tmp_path / "whole", Options(metrics=select(["stoi"])))[0]


@pytest.mark.parametrize("resume", [True, False])
def test_an_interrupted_run_leaves_nothing_that_counts_as_finished(
    resume: bool, tmp_path: Path, speech: np.ndarray, in_process: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [write_pair(tmp_path, name, speech, noisy(speech, seed)) for seed, name in enumerate("abc")]
    out, options = tmp_path / "out", Options(metrics=select(["si_sdr"]), resume=resume)
    first, _ = score_entries(entries, out, options)
    write_pair(tmp_path, "c", speech, noisy(speech, 5))
    os.utime(entries[2].estimate or "", ns=(1, 1))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run_module, "score", lambda task: signal.raise_signal(signal.SIGINT))
        score_entries(entries, out, options)
    assert os.listdir(out) == ["rows.jsonl.partial"]
    assert read_rows(out / "rows.jsonl.partial") == (first[:2] if resume else [])
    again, _ = score_entries(entries, out, replace(options, resume=True))
    assert again[:2] == first[:2] and again[2].values != first[2].values
    assert sorted(os.listdir(out)) == ["rows.jsonl", "summary.json"]


def test_nothing_to_evaluate_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AudioCodecError, match="nothing to evaluate"):
        score_entries([], tmp_path, Options())


def crash_on_b(task: Task) -> Scores:
    """In a worker: dies on one pair as C code does, raises on another."""
    if task.entry.id == "b":
        os.kill(os.getpid(), signal.SIGSEGV)
    if task.entry.id == "c":
        raise ZeroDivisionError("a bug")
    return Scores(1.0, {"stoi": 0.5})


def quarter(task: Task) -> Scores:
    """In a worker: another score than before."""
    return Scores(1.0, {"stoi": 0.25})


def test_a_worker_that_dies_is_a_counted_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "score", crash_on_b)
    entries = [Entry(name, "r.wav", "e.wav") for name in "abcd"]
    rows, summary = score_entries(entries, tmp_path, Options(metrics=select(["stoi"]), jobs=1))
    assert [row.values.get("stoi") for row in rows] == [0.5, None, None, 0.5]
    assert [row.failures.get("stoi") for row in rows] == [
        None,
        "the process working on it died (signal SIGSEGV)",
        "ZeroDivisionError: a bug",
        None,
    ]
    found = summary.measures["stoi"]
    assert (found.mean, found.n_scored, found.n_failed) == (0.5, 2, 2)
    monkeypatch.setattr(run_module, "score", quarter)
    again, _ = score_entries(entries, tmp_path, Options(metrics=select(["stoi"]), jobs=1, resume=True))
    assert [row.values.get("stoi") for row in again] == [0.5, 0.25, 0.25, 0.5]


# --- workers


def slow_square(number: int) -> tuple[int, int, str]:
    time.sleep(0.05)
    return number * number, os.getpid(), os.environ["OMP_NUM_THREADS"]


def test_every_item_is_worked_on_once_in_as_many_processes_as_asked() -> None:
    results = dict(run_all(slow_square, list(range(12)), jobs=2))
    assert {index: value[0] for index, value in results.items()} == {n: n * n for n in range(12)}
    processes = {value[1] for value in results.values()}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert {value[2] for value in results.values()} == {"1"}


def leave(status: int) -> int:
    if status:
        os._exit(status)
    return status


def test_more_processes_than_items_and_all_of_them_dying() -> None:
    results = dict(run_all(leave, [3, 0, 4], jobs=8))
    assert results == {
        0: Lost("the process working on it died (status 3)"),
        1: 0,
        2: Lost("the process working on it died (status 4)"),
    }
    assert list(run_all(leave, [], jobs=2)) == []


def test_leaving_early_ends_the_workers() -> None:
    results = run_all(slow_square, list(range(50)), jobs=2)
    pids = {next(results)[1][1] for _ in range(4)}
    results.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


# --- summary


def test_the_interval_is_that_of_an_independent_bootstrap() -> None:
    import scipy.stats  # not above: every worker process imports this module for the functions it calls

    values = np.random.default_rng(5).gamma(2.0, 0.5, 60) + 1  # skewed, like PESQ
    low, high = bootstrap_interval(values.tolist()) or (0, 0)
    other = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", random_state=np.random.default_rng(1)
    ).confidence_interval
    # The quantiles of 2000 resampled means are off by about 0.06 of their spread.
    slack = 0.06 * values.std() / np.sqrt(len(values)) * 3
    assert [low, high] == [pytest.approx(other.low, abs=slack), pytest.approx(other.high, abs=slack)]
    assert bootstrap_interval(values.tolist()) == (low, high)
    assert bootstrap_interval(values.tolist(), seed=1) != (low, high)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(11)
    intervals = [bootstrap_interval(random.normal(3, 1, 40).tolist()) or (9, 9) for _ in range(300)]
    covered = np.mean([low <= 3 <= high for low, high in intervals])
    assert 0.90 <= covered <= 0.98  # 0.94 expected at 40 values; three deviations of 300 draws are 0.04


def test_the_interval_does_not_depend_on_how_many_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).normal(size=300).tolist()
    whole = bootstrap_interval(values)
    monkeypatch.setattr("audiocodec.evaluation.summary._AT_ONCE", 1000)
    assert bootstrap_interval(values) == whole


@pytest.mark.parametrize("values", [[], [2.5]])
def test_there_is_no_interval_of_fewer_than_two_values(values: list[float]) -> None:
    assert bootstrap_interval(values) is None
    rows = [Row("a", values={"pesq": value}) for value in values] + [Row("b", failures={"pesq": "why"})]
    middle = values[0] if values else None
    assert describe_measure(rows, "pesq") == MeasureSummary(middle, middle, None, len(values), 1, {"why": 1})


def test_reasons_are_counted_most_frequent_first() -> None:
    rows = [Row(str(n), failures={"pesq": reason}) for n, reason in enumerate(["x", "y", "y", "z"])]
    found = describe_measure([*rows, Row("ok", values={"pesq": 1.0}), Row("not asked")], "pesq")
    assert list(found.reasons.items()) == [("y", 2), ("x", 1), ("z", 1)]
    assert (found.n_scored, found.n_failed) == (1, 4)


# --- rows


def test_rows_come_back_equal_and_bad_lines_are_named(tmp_path: Path) -> None:
    rows = [Row("ä/b", 1.5, {"pesq": 2.0}, failures={"stoi": "why"}, reference="r"), Row("c")]
    with RowWriter(tmp_path) as writer:
        writer.finish(rows)
    path = tmp_path / "rows.jsonl"
    assert read_rows(path) == rows
    assert json.loads(path.read_text().splitlines()[0])["pesq"] == 2.0
    path.write_text('{"id": "a"}\nnonsense\n{"id": "b"}\n')
    with pytest.raises(AudioCodecError, match=r"rows\.jsonl:2: not a row"):
        read_rows(path)
    path.write_text("[1]\n")
    with pytest.raises(AudioCodecError, match="expected an object with an id"):
        read_rows(path)


# --- coding


def test_bitrate_is_that_of_the_files_on_disk(tmp_path: Path) -> None:
    path = token_file(tmp_path / "a.act")  # 75 frames of 10 + 3 bits in 1 s
    tokens = TokenSet()
    found = tokens.add(path)
    assert (found.seconds, found.payload_bits) == (1.0, 75 * 13)
    assert found.file_bits == 8 * len(path.read_bytes())
    tokens.add(token_file(tmp_path / "b.act", frames=225))
    described = tokens.describe()
    assert described.rates["kbps_payload"] == pytest.approx(0.075 * 13)
    assert described.rates["kbps_file"] == pytest.approx(
        8 * sum(p.stat().st_size for p in tmp_path.iterdir()) / 4 / 1000
    )
    assert [use.usage for use in described.codebooks or ()] == [8 / 1024, 1.0]
    assert [use.frames for use in described.codebooks or ()] == [300, 300]
    assert described.codecs == (b"8 bytes!".hex(),)


def test_token_files_of_two_codecs_have_no_common_codebook_use(tmp_path: Path) -> None:
    tokens = TokenSet()
    tokens.add(token_file(tmp_path / "a.act"))
    tokens.add(token_file(tmp_path / "b.act", fingerprint=b"another!", size=512))
    described = tokens.describe()
    assert described.codebooks_undefined == "token files of 2 codecs"
    assert "codebooks" not in described.to_json()


def test_missing_and_damaged_token_files_are_failures_of_the_bitrate_only(
    tmp_path: Path, speech: np.ndarray, in_process: list[str]
) -> None:
    good, cut = token_file(tmp_path / "good.act"), token_file(tmp_path / "cut.act")
    cut.write_bytes(good.read_bytes()[:-1])
    entry = write_pair(tmp_path, "a", speech, noisy(speech))
    entries = [
        Entry(name, entry.reference, entry.estimate, tokens)
        for name, tokens in (("good", str(good)), ("none", None), ("cut", str(cut)))
    ]
    rows, summary = score_entries(entries, tmp_path / "out", Options(metrics=select(["stoi"]), bitrate=True))
    assert rows[0].failures == {}
    assert rows[0].values.get("kbps_payload") == pytest.approx(0.975)
    assert rows[0].values.get("tokens_per_second") == 150.0  # 75 frames of two codebooks
    assert rows[1].failures == dict.fromkeys(("kbps_file", "kbps_payload", "tokens_per_second"), "no token file")
    assert rows[2].failures["kbps_file"].startswith("truncated") or "bytes" in rows[2].failures["kbps_file"]
    assert str(cut) not in rows[2].failures["kbps_file"]
    assert [row.values.get("stoi") is None for row in rows] == [False] * 3
    assert (summary.measures["kbps_file"].n_scored, summary.measures["kbps_file"].n_failed) == (1, 2)
    with pytest.raises(TokenFileError):
        TokenSet().add(cut)


def test_real_time_factors_find_their_rows(tmp_path: Path) -> None:
    lines = [
        {"input": "ref/a.flac", "output": "tok/a.act", "seconds": 4.0, "wall_seconds": 1.0, "frames": 300},
        {"input": str(tmp_path / "tok/a.act"), "output": "wav/a.wav", "seconds": 4.0, "wall_seconds": 0.5},
        {"input": "ref/b.flac", "output": "tok/b.act", "error": "ref/b.flac: is empty"},
    ]
    path = tmp_path / "times.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "\n")
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        timings = read_timings([path])
    finally:
        os.chdir(before)
    paths = [str(tmp_path / name) for name in ("ref/a.flac", "wav/a.wav", "tok/a.act")]
    assert timings.of(Entry("a", *paths)) == (0.25, 0.125)
    assert timings.of(Entry("a", paths[0], paths[1])) == (0.25, 0.125)  # without --tokens
    assert timings.of(Entry("b", str(tmp_path / "ref/b.flac"), None)) == (None, None)


@pytest.mark.parametrize(
    "line",
    ["seconds", '{"input": "a", "output": "b.act"}', '{"input": "a", "output": "b", "seconds": 0, "wall_seconds": 1}'],
)
def test_timings_that_are_none_are_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "times.jsonl"
    path.write_text('{"input": "a", "output": "b.act", "seconds": 1, "wall_seconds": 1}\n' + line)
    with pytest.raises(AudioCodecError, match=r"times\.jsonl:2: not a line of"):
        read_timings([path])


# --- results page


def summary_of(pesq: dict[str, Any], tokens: dict[str, Any]) -> dict[str, Any]:
    versions = {"audiocodec": "0.1.0", "torch": "2.13.0", "machine": "a CPU", "commit": "abc1234"}
    return {
        "command": "audiocodec evaluate x",
        "n_rows": 4,
        "measures": {"pesq": pesq},
        "tokens": tokens,
        "model": {"name": "small", "config_fingerprint": "00aa", "fingerprint": "00ff", "latency_ms": 26.667},
        "versions": versions,
    }


def test_the_results_page_opens_with_its_command_and_has_every_number(tmp_path: Path) -> None:
    pesq = {"mean": 1.23456, "interval": [1.1, 1.3], "n_scored": 3, "n_failed": 1, "median": 1.2, "reasons": {"x": 1}}
    use = {
        "codebook_size": 4096,
        "frames": 3000,
        "usage": 0.5,
        "perplexity": 1000.4,
        "entropy": 9.97,
        "dead_codes": 2048,
        "effective_dimension": 7.31,
    }
    folder = tmp_path / "exp" / "small" / "eval" / "dev"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(summary_of(pesq, {"codecs": ["00ff"], "codebooks": [use]})))
    page = tmp_path / "RESULTS.md"
    write_results_md([folder], "./run.sh --stage 5", page)
    text = page.read_text()
    assert text.startswith("# Results\n\n```\n./run.sh --stage 5\n```\n")
    for expected in (
        "- commit: abc1234\n",
        "- codec: 00ff\n",
        "| small/dev | 4 | 1.235 [1.100, 1.300], 3 of 4 scored |\n",
        "\nMedians:\n\n| evaluation | utterances | PESQ-WB |\n|---|---|---|\n| small/dev | 4 | 1.200, 3 of 4 scored |\n",
        "- configuration: small 00aa (latency 26.7 ms)\n",
        "| codebook | entries | used | dead | perplexity | entropy, bits | effective dimension | frames counted |\n",
        "| small/dev | 0 | 4,096 | 50.0 % | 2,048 | 1000 | 9.97 | 7.3 | 3,000 |\n",
    ):
        assert expected in text
    os.utime(page, ns=(1, 1))
    write_results_md([folder], "./run.sh --stage 5", page)
    assert page.stat().st_mtime_ns == 1  # nothing changed, nothing was written
    assert "```\naudiocodec evaluate x\n```" in results_md(["dev"], [Summary.from_json(summary_of(pesq, {}))], "")


def test_a_results_page_needs_finished_evaluations(tmp_path: Path) -> None:
    with pytest.raises(AudioCodecError, match="cannot read the summary"):
        write_results_md([tmp_path], "x", tmp_path / "RESULTS.md")
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(AudioCodecError, match="is not a summary"):
        write_results_md([tmp_path], "x", tmp_path / "RESULTS.md")
    assert not (tmp_path / "RESULTS.md").exists()


def test_a_cell_without_a_score_says_so() -> None:
    assert cell(None, ".3f", 4) == median(None, ".3f", 4) == "-"
    nothing = MeasureSummary(None, None, None, 0, 4)
    assert cell(nothing, ".3f", 4) == median(nothing, ".3f", 4) == "none of 4"
    one = MeasureSummary(1.0, 0.9, None, 1, 0)
    assert (cell(one, ".3f", 1), median(one, ".3f", 1)) == ("1.000", "0.900")
    assert cell(one, ".3f", 100) == "1.000, 1 of 100 scored"  # the others' times are not known: no failures
