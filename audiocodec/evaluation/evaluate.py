"""Score reconstructions, or a model, against references: `audiocodec.evaluate`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiocodec import locks
from audiocodec.errors import UsageError
from audiocodec.evaluation.catalogue import Metric
from audiocodec.evaluation.model_facts import ModelFacts
from audiocodec.evaluation.pairing import AnyPath, Entry, list_audio, pair
from audiocodec.evaluation.rows import FINISHED, GROWING, SUMMARY, Row, reopen
from audiocodec.evaluation.run import Options, score_entries
from audiocodec.evaluation.settings import Settings, metrics_of, refuse_inside, words_of
from audiocodec.evaluation.summary_file import Summary
from audiocodec.evaluation.systems.model import TIMINGS, Processes, reconstruct
from audiocodec.evaluation.watch import Watch
from audiocodec.loading import AUTO, Model


@dataclass(frozen=True)
class Evaluation:
    """What came out: a row for each utterance, and the summary; `rows.jsonl` and `summary.json` hold the same."""

    rows: list[Row]
    summary: Summary


@dataclass(frozen=True)
class Subject:
    """What is scored: `estimate` with what is known of its making, or `model`, which codes the references first."""

    estimate: AnyPath | None = None
    model: AnyPath | None = None
    num_codebooks: int | None = None
    tokens: AnyPath | None = None
    made_by: AnyPath | None = None
    timings: tuple[AnyPath, ...] = ()

    def check(self, settings: Settings) -> None:
        """Raise UsageError for a contradiction."""
        if self.estimate is None and self.model is None:
            raise UsageError("say --estimate PATH to score what is there, or -m MODEL to code the references first")
        if self.estimate is not None and self.model is not None:
            raise UsageError("--estimate PATH and -m MODEL: one of them")
        only: dict[str, object] = {"--tokens": self.tokens, "--timings": self.timings, "--made-by": self.made_by}
        only |= {"--resample": settings.resample or None, "--channel": settings.channel}
        other = "--estimate"
        if self.estimate is not None:
            device = None if settings.device == AUTO else settings.device
            only = {"--device": device, "--threads": settings.threads, "--num-codebooks": self.num_codebooks}
            other = "--model"
        if given := [name for name, value in only.items() if value not in (None, ())]:
            raise UsageError(f"{given[0]} goes with {other}")
        if self.made_by is not None and self.tokens is None:
            raise UsageError("--made-by MODEL needs --tokens DIR: the token files that it made")

    @property
    def words(self) -> list[str]:
        """The options of the command line."""
        words = []
        for name in ("estimate", "model", "tokens", "made_by", "num_codebooks"):
            if (value := getattr(self, name)) is not None:
                words += [f"--{name.replace('_', '-')}", str(value)]
        return [*words, "--timings", *map(str, self.timings)] if self.timings else words


def evaluate(
    reference: AnyPath,
    out: AnyPath,
    *,
    estimate: AnyPath | None = None,
    model: AnyPath | None = None,
    num_codebooks: int | None = None,
    tokens: AnyPath | None = None,
    made_by: AnyPath | None = None,
    timings: AnyPath | Sequence[AnyPath] = (),
    metrics: str | Iterable[str | Metric] = (),
    by: str | Sequence[str] = (),
    table: AnyPath | None = None,
    jobs: int | None = None,
    force: bool = False,
    resume: bool = False,
    allow_pipes: bool = False,
    device: str = AUTO,
    threads: int | None = None,
    resample: bool = False,
    channel: int | None = None,
    watch: Watch | None = None,
) -> Evaluation:
    """Score reconstructions against their references, or code the references with a model and score that.

    Scoring runs in processes that import the calling program anew: in a script, call it below
    `if __name__ == "__main__":`.

    Args:
        reference: the originals: folder of audio, data folder, or `wav.scp`.
        out: folder that gets `rows.jsonl` and `summary.json`; with `model` also `tokens/`, `wav/` and `timings.jsonl`.
        estimate: the reconstructions, named as the references but for extensions.
        model: instead, a model as `audiocodec.load` takes it, on torch.
        num_codebooks: with `model`: use only the first so many codebooks.
        tokens: with `estimate`: folder of its token files, for bitrate and use of the codebooks.
        made_by: with `tokens`: the model that made them, for latency and effective dimensions.
        timings: with `estimate`: files with the output of `encode --json` and `decode --json`.
        metrics: words of `audiocodec evaluate --list-metrics`, or `all`; empty: PESQ, STOI and mel distance.
        by, table: columns to break scores down by, and the table (TSV) that has them; without a table `speaker`, from
            `utt2spk`.
        jobs: processes that score, and with `model` on a CPU, that code; None: one for each processor, one that codes.
        force, resume: overwrite an earlier evaluation in `out`; keep what it has coded and scored.
        allow_pipes: run commands found in `wav.scp`.
        device, threads: with `model`, see `audiocodec.load`.
        resample: with `estimate`: bring one of another sample rate to that of its reference; a note counts them.
        channel: with `estimate`, of files that have several channels: the one to score, from 1 on; None: their mean.
        watch: sees progress; None: nobody does.

    Returns:
        `Evaluation`. An utterance without a score is a row that says why, not an error.

    Raises:
        UsageError: arguments that contradict each other, a path that is not there, or an earlier evaluation in `out`.
        AudioCodecError: no references, a table, a model or timings that cannot be read.

    Example:
        >>> scored = audiocodec.evaluate("audio", "scores", estimate="decoded", metrics="stoi", jobs=1)
        >>> [row.id for row in scored.rows], pathlib.Path("scores/summary.json").is_file()
        (['speech'], True)
    """
    files = (timings,) if isinstance(timings, str | os.PathLike) else tuple(timings)
    settings = Settings(
        metrics_of(metrics), words_of(by), table, jobs, force, resume, allow_pipes, device, threads, resample, channel
    )
    subject = Subject(estimate, model, num_codebooks, tokens, made_by, files)
    return _evaluate(reference, out, subject, settings, watch or Watch())


def _evaluate(reference: AnyPath, out: AnyPath, subject: Subject, settings: Settings, watch: Watch) -> Evaluation:
    codes = subject.model is not None
    subject.check(settings)
    settings.check(reference, subject.estimate, subject.tokens, *subject.timings)
    if codes:
        refuse_inside(out, reference)
    with locks.alone(out, "written"):
        return _locked(reference, out, subject, settings, watch)


def _locked(reference: AnyPath, out: AnyPath, subject: Subject, settings: Settings, watch: Watch) -> Evaluation:
    codes = subject.model is not None
    names = (FINISHED, GROWING, SUMMARY, *([TIMINGS] if codes else []))
    settings.refuse_existing(Path(out) / name for name in names)
    groups = settings.groups(reference, watch)
    entries, timings, facts = (_code if codes else _pair)(reference, out, subject, settings, watch)
    options = Options(
        metrics=settings.metrics,
        jobs=settings.processes,
        bitrate=codes or subject.tokens is not None,
        timings=timings,
        resume=settings.resume,
        allow_pipes=settings.allow_pipes,
        resample=settings.resample,
        channel=settings.channel,
        command=_command(reference, out, subject, settings),
        model=facts,
        groups=groups,
    )
    with watch.bar(len(entries), "scoring") as advance:
        rows, summary = score_entries(entries, out, options, advance)
    watch.scored("", rows, summary)
    return Evaluation(rows, summary)


_Prepared = tuple[list[Entry], tuple[str, ...], ModelFacts | None]  # what to score, files of timings, the model


def _pair(reference: AnyPath, out: AnyPath, subject: Subject, settings: Settings, watch: Watch) -> _Prepared:
    """What is there to score."""
    assert subject.estimate is not None
    entries = pair(reference, subject.estimate, subject.tokens, settings.allow_pipes)
    facts = None
    if subject.made_by is not None:
        facts = ModelFacts.of(Model(os.fspath(subject.made_by), announce=watch.say))
        facts.check(entries)
    return entries, tuple(os.fspath(path) for path in subject.timings), facts


def _code(reference: AnyPath, out: AnyPath, subject: Subject, settings: Settings, watch: Watch) -> _Prepared:
    """Make what there is to score."""
    references = list_audio(reference, settings.allow_pipes)
    count = subject.num_codebooks
    assert subject.model is not None
    model = Model(
        os.fspath(subject.model),
        num_codebooks=count,
        device=settings.device,
        threads=settings.threads,
        announce=watch.say,
    )
    codec = model.codec
    reopen(Path(out), keep=settings.resume)
    with watch.bar(len(references), "coding") as advance:
        entries = reconstruct(
            codec, references, out, count, settings.resume, settings.allow_pipes, advance, Processes.of(model, settings)
        )
    return entries, (str(Path(out) / TIMINGS),), ModelFacts.of(model)


def _command(reference: AnyPath, out: AnyPath, subject: Subject, settings: Settings) -> str:
    """The command as one would type it, without what does not change the numbers."""
    words = ["audiocodec", "evaluate", "--reference", os.fspath(reference), "-d", os.fspath(out), *subject.words]
    words += ["--threads", str(settings.threads)] if settings.threads is not None else []
    return shlex.join([*words, *settings.words])
