"""Score models, classical codecs and other people's systems on the same utterances: `audiocodec.compare`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiocodec import locks
from audiocodec.errors import UsageError
from audiocodec.evaluation.catalogue import Metric, measures_of
from audiocodec.evaluation.comparison_file import RESULTS, write_against
from audiocodec.evaluation.paired import Difference, differences
from audiocodec.evaluation.pairing import AnyPath, list_audio
from audiocodec.evaluation.results import differences_md, results_md
from audiocodec.evaluation.rows import FINISHED, GROWING, SUMMARY, Row, reopen
from audiocodec.evaluation.run import Options, score_entries
from audiocodec.evaluation.settings import Settings, metrics_of, refuse_inside, words_of
from audiocodec.evaluation.summary_file import Summary
from audiocodec.evaluation.systems import catalogue
from audiocodec.evaluation.systems.kinds import (
    BaselineSystem,
    FolderSystem,
    ModelSystem,
    Originals,
    ReferenceSystem,
    System,
)
from audiocodec.evaluation.watch import Watch
from audiocodec.files import write_text
from audiocodec.loading import AUTO

RESAMPLE_RATE = 24_000


@dataclass(frozen=True)
class Comparison:
    """What came out.

    Attributes:
        rows, summaries: of each system, by its label, in the order of the table.
        differences: with `against`: label -> measure -> paired difference of all the others from that system.
        page: the results page.
    """

    rows: dict[str, list[Row]]
    summaries: dict[str, Summary]
    differences: dict[str, dict[str, Difference]]
    page: Path


@dataclass(frozen=True)
class Contest:
    """What is compared; see `compare`."""

    models: tuple[str, ...] = ()
    baselines: tuple[str, ...] | None = None
    systems: tuple[str, ...] = ()
    encodec: AnyPath | None = None
    against: str | None = None
    resample_rate: int = RESAMPLE_RATE

    def systems_of(self, settings: Settings, watch: Watch) -> list[System]:
        """Everything to score, in the order of the table; refuses what cannot run here, before any work."""
        words = catalogue.DEFAULT if self.baselines is None else self.baselines
        try:
            baselines = catalogue.select([word for word in words if word != catalogue.REFERENCE], self.resample_rate)
        except ValueError as error:
            known = ", ".join(catalogue.names())
            raise UsageError(f"{error.args[0]!r} is no baseline; there are {known}") from None
        baselines += catalogue.encodec(os.fspath(self.encodec)) if self.encodec is not None else ()
        if problems := catalogue.problems(baselines):
            raise UsageError("; ".join(problems))
        found: list[System] = [ReferenceSystem(catalogue.REFERENCE)] if catalogue.REFERENCE in words else []
        found += [BaselineSystem(baseline.name, baseline) for baseline in baselines]
        found += [ModelSystem.of(text, settings, watch.say) for text in self.models]
        found += [FolderSystem.of(text) for text in self.systems]
        labels = [system.label for system in found]
        if twice := [label for label in dict.fromkeys(labels) if labels.count(label) > 1]:
            raise UsageError(f"two systems are called {twice[0]!r}; LABEL=... chooses another name")
        if self.against is not None and self.against not in labels:
            raise UsageError(f"--against {self.against}: no such system; there are {', '.join(labels)}")
        return found

    @property
    def words(self) -> list[str]:
        """The options of the command line, but for `--resample-rate`."""
        words = [word for model in self.models for word in ("-m", model)]
        words += ["--baseline", *self.baselines] if self.baselines else []
        words += ["--system", *self.systems] if self.systems else []
        words += ["--baseline", "encodec", "--weights", os.fspath(self.encodec)] if self.encodec is not None else []
        return [*words, "--against", self.against] if self.against is not None else words


def compare(
    reference: AnyPath,
    out: AnyPath,
    *,
    models: str | Sequence[str] = (),
    baselines: str | Sequence[str] | None = None,
    systems: str | Sequence[str] = (),
    encodec: AnyPath | None = None,
    against: str | None = None,
    resample_rate: int = RESAMPLE_RATE,
    metrics: str | Iterable[str | Metric] = (),
    by: str | Sequence[str] = (),
    table: AnyPath | None = None,
    jobs: int | None = None,
    force: bool = False,
    resume: bool = False,
    allow_pipes: bool = False,
    device: str = AUTO,
    threads: int | None = None,
    watch: Watch | None = None,
) -> Comparison:
    """Code the same utterances with several systems, score them, and write a page.

    Coding and scoring run in processes that import the calling program anew: in a script, call it below
    `if __name__ == "__main__":`.

    Args:
        reference: the originals: folder of audio, data folder, or `wav.scp`.
        out: gets a folder for each system, as `evaluate` leaves it, `RESULTS.md`, and `comparison.json` for `report`.
        models: `[LABEL=]MODEL[@N]` each: a model as `audiocodec.load` takes it, with its first N codebooks.
        baselines: classical codecs, such as `opus-6` and `codec2-3200`, `resample`, and `reference`, the originals against
            themselves (`evaluation.systems.catalogue.names()`); None: all but those with a constant bitrate.
        systems: `LABEL=FOLDER[,CODED]` each: reconstructions of another system; CODED is a folder of its coded files, or a
            `sizes.jsonl`, for the bitrate.
        encodec: file with the weights of EnCodec at 24 kHz, to compare with it.
        against: label of a system that the others' paired differences are from.
        resample_rate: of the baseline `resample`, Hz.
        metrics, by, table, jobs, force, resume, allow_pipes, device, threads, watch: as for `audiocodec.evaluate`.

    Returns:
        `Comparison`. An utterance without a score is a row that says why, not an error.

    Raises:
        UsageError: arguments that contradict each other, a path or a program that is not there, or an earlier comparison
            in `out`.
        AudioCodecError: no references, a table or a model that cannot be read.

    Example:
        >>> compared = audiocodec.compare(
        ...     "audio", "compared", models="speech_24k", baselines="reference", metrics="stoi", jobs=1
        ... )
        >>> list(compared.rows), compared.page.name
        (['reference', 'speech_24k'], 'RESULTS.md')
    """
    settings = Settings(metrics_of(metrics), words_of(by), table, jobs, force, resume, allow_pipes, device, threads)
    baselines = None if baselines is None else words_of(baselines)
    contest = Contest(words_of(models), baselines, words_of(systems), encodec, against, resample_rate)
    return _compare(reference, out, contest, settings, watch or Watch())


def _compare(reference: AnyPath, out: AnyPath, contest: Contest, settings: Settings, watch: Watch) -> Comparison:
    settings.check(reference, contest.encodec)
    refuse_inside(out, reference)
    with locks.alone(out, "written"):
        return _locked(reference, out, contest, settings, watch)


def _locked(reference: AnyPath, out: AnyPath, contest: Contest, settings: Settings, watch: Watch) -> Comparison:
    place = Path(out)
    systems = contest.systems_of(settings, watch)
    folders = {system.label: place / system.label for system in systems}
    names = [folder / name for folder in folders.values() for name in (FINISHED, GROWING, SUMMARY)]
    settings.refuse_existing([place / RESULTS, *names])
    options = Options(
        metrics=settings.metrics,
        jobs=settings.processes,
        resume=settings.resume,
        allow_pipes=settings.allow_pipes,
        command=_command(reference, out, contest, settings),
        groups=settings.groups(reference, watch),
    )
    originals = Originals(reference, list_audio(reference, settings.allow_pipes))
    for folder in folders.values():
        reopen(folder, keep=settings.resume)
    (place / RESULTS).unlink(missing_ok=True)
    scored = {system.label: _score(system, originals, folders[system.label], options, watch) for system in systems}
    write_against(place, contest.against)
    return _write(place / RESULTS, scored, contest.against, measures_of(settings.metrics))


def _score(
    system: System, originals: Originals, folder: Path, options: Options, watch: Watch
) -> tuple[list[Row], Summary]:
    with watch.bar(len(originals.paths), f"{system.label}: coding") as advance:
        entries, options = system.prepare(originals, folder, options, advance)
    with watch.bar(len(entries), f"{system.label}: scoring") as advance:
        rows, summary = score_entries(entries, folder, options, advance)
    watch.scored(system.label, rows, summary)
    return rows, summary


def _write(
    page: Path, scored: dict[str, tuple[list[Row], Summary]], against: str | None, measures: Sequence[str]
) -> Comparison:
    """Write the page."""
    rows = {label: found for label, (found, _) in scored.items()}
    summaries = {label: summary for label, (_, summary) in scored.items()}
    made = [f"- {label}: {summary.coded_by}\n" for label, summary in summaries.items() if summary.coded_by]
    text = results_md(list(summaries), list(summaries.values()), "")
    if against is not None:
        text += "\n" + differences_md(rows, against, measures)
    write_text(page, "".join([text, *(["\nCoded by\n\n", *made] if made else [])]))
    paired = differences(rows, against, measures) if against is not None else {}
    return Comparison(rows, summaries, paired, page)


def _command(reference: AnyPath, out: AnyPath, contest: Contest, settings: Settings) -> str:
    """The command as one would type it, without what does not change the numbers."""
    words = ["audiocodec", "compare", "--reference", os.fspath(reference), "-d", os.fspath(out), *contest.words]
    words += ["--threads", str(settings.threads)] if settings.threads is not None else []
    if contest.resample_rate != RESAMPLE_RATE:
        words += ["--resample-rate", str(contest.resample_rate)]
    return shlex.join([*words, *settings.words])
