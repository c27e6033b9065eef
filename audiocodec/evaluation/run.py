"""An evaluation from entries to rows and a summary: score what is not scored yet, measure the coding, write it down."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from audiocodec.data.pipes import files_behind
from audiocodec.errors import AudioCodecError
from audiocodec.evaluation.at_hand import missing_libraries
from audiocodec.evaluation.catalogue import DEFAULT, METRICS, Metric, measures_of, weights_of
from audiocodec.evaluation.coding import CodedSizes, Timings, TokenSet, read_timings
from audiocodec.evaluation.model_facts import ModelFacts
from audiocodec.evaluation.pairing import Entry
from audiocodec.evaluation.rows import SUMMARY, Row, RowWriter, reopen, scored_before
from audiocodec.evaluation.scoring import Scores, Task, score
from audiocodec.evaluation.summary import summarize
from audiocodec.evaluation.summary_file import Summary
from audiocodec.files import write_text
from audiocodec.workers import Lost, run_all

TIMES = ("encode_rtf", "decode_rtf", "coding_rtf")  # measures that are not there where nobody took the time


@dataclass(frozen=True)
class Options:
    """How to evaluate.

    Attributes:
        metrics: out of `catalogue.METRICS`.
        jobs: processes that score.
        bitrate: token files are expected; one that is not there is a failure.
        sizes: of coded files that are no token files, instead of `bitrate`.
        timings: files with lines of `encode --json` and `decode --json`.
        resume: keep what an earlier run in the same folder has scored, unless the audio changed; also metrics that are
            not asked for now, which the summary leaves out. What other weights gave is computed anew.
        allow_pipes: run commands found in `wav.scp`.
        resample: estimates of another sample rate to that of their reference.
        channel: of files that have several, the one to score, from 1 on.
        command: what to write down as the command.
        model: that made the token files, where it is given.
        groups: name of an utterance -> column -> value; scores are broken down by each column.
    """

    metrics: tuple[Metric, ...] = DEFAULT
    jobs: int = 1
    bitrate: bool = False
    sizes: CodedSizes | None = None
    timings: tuple[str, ...] = ()
    resume: bool = False
    allow_pipes: bool = False
    resample: bool = False
    channel: int | None = None
    command: str = ""
    model: ModelFacts | None = None
    groups: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def _ignore() -> None:
    pass


def score_entries(
    entries: Sequence[Entry], out_dir: str | os.PathLike[str], options: Options, progress: Callable[[], None] = _ignore
) -> tuple[list[Row], Summary]:
    """Score all entries; writes `rows.jsonl` and `summary.json` into `out_dir`.

    Args:
        entries: what to score, in the order the rows shall have.
        out_dir: folder; made when it is not there.
        options: how.
        progress: called once for every entry done.

    Returns:
        (the rows, the summary).

    Raises:
        AudioCodecError: a metric cannot run here, there is nothing to score, or timings cannot be read.
    """
    if problems := missing_libraries(options.metrics):
        raise AudioCodecError("; ".join(problems))
    if not entries:
        raise AudioCodecError("nothing to evaluate")
    timings = read_timings(options.timings)
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    reopen(folder, options.resume)
    kept = _kept(entries, folder, options)
    tasks = _tasks(entries, kept, options)
    coding = TokenSet() if options.bitrate else options.sizes
    with RowWriter(folder, kept.values()) as writer:
        scored = dict(kept)
        for _ in range(len(entries) - len(tasks)):
            progress()
        for row in _score_all(tasks, kept, options):
            writer.append(row)
            scored[row.id] = row
            progress()
        rows = [_with_coding(scored[entry.id], entry, coding, timings) for entry in entries]
        rows = [replace(row, groups=dict(options.groups.get(row.id, {}))) for row in rows]
        writer.finish(rows)
    codebooks = options.model.codebooks if options.model is not None else ()
    described = coding.describe(codebooks) if coding is not None else None
    model = options.model.summary if options.model is not None else None
    summary = summarize(rows, _measures(rows, options, coding), described, options.command, model)
    write_text(folder / SUMMARY, summary.to_text())
    return rows, summary


def _score_all(tasks: Sequence[Task], kept: Mapping[str, Row], options: Options) -> Iterator[Row]:
    """Rows with metrics, as they get done: what an earlier run has, and what the tasks add."""
    weights = weights_of(options.metrics)
    stamps = [_stamp(task.entry, options) for task in tasks]  # before the files are read: a change meanwhile must show
    with contextlib.closing(run_all(score, tasks, options.jobs)) as results:
        for index, result in results:
            task = tasks[index]
            measures = measures_of(task.metrics)
            scores = result
            if isinstance(result, Lost):
                scores = Scores(failures=dict.fromkeys(measures, result.reason), again=True)
            found = scores.values.keys() | scores.failures.keys()
            before = kept.get(task.entry.id) or _row_of(Row(task.entry.id, stamp=stamps[index]), task.entry)
            yield replace(
                before,
                seconds=before.seconds if scores.seconds is None else scores.seconds,
                reference_hash=scores.reference_hash or before.reference_hash,
                values=before.values | scores.values,
                failures=before.failures | scores.failures,
                details=before.details | scores.details,
                notes=scores.notes or before.notes,
                again=tuple(scores.failures) if scores.again else (),
                weights=before.weights | {name: weights[name] for name in weights if name in found},
            )


def _tasks(entries: Sequence[Entry], kept: Mapping[str, Row], options: Options) -> list[Task]:
    """What is left to score: for each entry the metrics of which the earlier run holds neither value nor reason."""
    tasks = []
    for entry in entries:
        row = kept.get(entry.id)
        known = {**row.values, **row.failures} if row is not None else {}
        todo = tuple(metric for metric in options.metrics if not known.keys() >= set(measures_of([metric])))
        if row is None or todo:
            tasks.append(Task(entry, todo, options.allow_pipes, options.resample, options.channel))
    return tasks


def _kept(entries: Sequence[Entry], folder: Path, options: Options) -> dict[str, Row]:
    """What holds of an earlier run's rows: all values and reasons that metrics gave for the same audio."""
    if not options.resume:
        return {}
    before, known, weights = scored_before(folder), measures_of(METRICS), weights_of(options.metrics)
    kept = {}
    for entry in entries:
        row = before.get(entry.id)
        if row is not None and not entry.problem and row.stamp == _stamp(entry, options):
            other = {name for name, used in weights.items() if row.weights.get(name) != used}
            values = {name: value for name, value in row.values.items() if name in known and name not in other}
            failures = {
                name: why for name, why in row.failures.items() if name in known and name not in {*row.again, *other}
            }
            reasons = {*failures.values(), *row.notes}
            details = {why: detail for why, detail in row.details.items() if why in reasons}
            used = {name: used for name, used in row.weights.items() if name not in other}
            known_of = replace(row, values=values, failures=failures, details=details, again=(), weights=used)
            kept[entry.id] = _row_of(known_of, entry)
    return kept


def _row_of(row: Row, entry: Entry) -> Row:
    return replace(row, reference=entry.reference, estimate=entry.estimate, tokens=entry.tokens)


def _with_coding(row: Row, entry: Entry, coding: TokenSet | CodedSizes | None, timings: Timings) -> Row:
    """The row with what is known of the coding; always from the files there are now."""
    encode, decode = timings.of(entry)
    both = encode + decode if encode is not None and decode is not None else None
    times = {"encode_rtf": encode, "decode_rtf": decode, "coding_rtf": both}
    row = replace(row, values=row.values | {name: time for name, time in times.items() if time is not None})
    if coding is None:
        return row
    try:
        found = coding.bitrate_of(entry)
    except AudioCodecError as error:
        reason = str(error).removeprefix(f"{entry.tokens}: ")
        return replace(row, failures=row.failures | dict.fromkeys(coding.measures, reason))
    return replace(row, values=row.values | found.values)


def _measures(rows: Sequence[Row], options: Options, coding: TokenSet | CodedSizes | None) -> list[str]:
    """What the summary describes: what was asked for, and times where some are known."""
    timed = [name for name in TIMES if any(name in row.values for row in rows)]
    return [*measures_of(options.metrics), *(coding.measures if coding is not None else ()), *timed]


def _stamp(entry: Entry, options: Options) -> str:
    """Changes when a file of the pair does (name, size or time); a command's output is taken to stay the same."""
    parts: list[object] = ["resample"] if options.resample else []
    parts += [options.channel] if options.channel is not None else []
    for path in (entry.reference, entry.estimate):
        try:
            found = os.stat(files_behind(path)[0]) if path is not None else None
        except OSError:
            found = None
        parts.append([path, found and found.st_size, found and found.st_mtime_ns])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
