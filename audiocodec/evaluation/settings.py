"""What `evaluate` and `compare` have in common: metrics, groups, processes, what becomes of an earlier run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from audiocodec.errors import UsageError
from audiocodec.evaluation.at_hand import missing_libraries
from audiocodec.evaluation.catalogue import DEFAULT, METRICS, Metric, select
from audiocodec.evaluation.groups import read_groups, without_group
from audiocodec.evaluation.pairing import AnyPath, list_audio
from audiocodec.evaluation.watch import Watch
from audiocodec.workers import cpus

Groups = dict[str, dict[str, str]]  # name of an utterance -> column -> value


@dataclass(frozen=True)
class Settings:
    """How to score.

    Attributes:
        metrics: what to compute.
        by, table: columns to break scores down by, and the table that has them; None: `utt2spk`, for `speaker`.
        jobs: processes; None: one for each processor that this process may use.
        force, resume: overwrite an earlier run in the same folder; keep what it has finished.
        allow_pipes: run commands found in `wav.scp`.
        device, threads: of models, see `audiocodec.load`.
        resample: estimates of another sample rate to that of their reference.
        channel: of files that have several, the one to score, from 1 on.
    """

    metrics: tuple[Metric, ...] = DEFAULT
    by: tuple[str, ...] = ()
    table: AnyPath | None = None
    jobs: int | None = None
    force: bool = False
    resume: bool = False
    allow_pipes: bool = False
    device: str = "auto"
    threads: int | None = None
    resample: bool = False
    channel: int | None = None

    @property
    def processes(self) -> int:
        """How many processes score."""
        return self.jobs or cpus()

    def check(self, reference: AnyPath, *paths: AnyPath | None) -> None:
        """Refuse what cannot work, before any work.

        Args:
            reference: the originals.
            paths: what else must be there; None: was not given.

        Raises:
            UsageError: a contradiction, a path that is not there, or a metric that cannot run here.
        """
        if self.table is not None and not self.by:
            raise UsageError("--table needs --by LIST: the columns to break scores down by")
        for path in (reference, self.table, *paths):
            if path is not None and not os.path.exists(path):
                raise UsageError(f"{path}: No such file or directory")
        if problems := missing_libraries(self.metrics):
            raise UsageError(f"{'; '.join(problems)}, or leave it out of --metrics")

    def refuse_existing(self, names: Iterable[Path]) -> None:
        """Raise UsageError when one of these files is there and neither `force` nor `resume` is given."""
        there = [name for name in names if name.exists()]
        if there and not self.force and not self.resume:
            raise UsageError(f"{there[0]} already exists; --force overwrites, --resume keeps what is finished")

    def groups(self, reference: AnyPath, watch: Watch) -> Groups:
        """The groups that `by` and `table` ask for; tells `watch` which references are in none."""
        if not self.by:
            return {}
        names = list_audio(reference, self.allow_pipes).keys()
        groups = read_groups(self.table, self.by, reference)
        if left_out := without_group(groups, names):
            more = f", {left_out[1]} ..." if len(left_out) > 1 else ""
            watch.say(
                f"{len(left_out)} of {len(names)} utterances are not in the table to break scores down by: "
                f"{left_out[0]}{more}; they are counted as -"
            )
        return groups

    @property
    def words(self) -> list[str]:
        """The options of the command line that change the numbers."""
        words = ["--by", ",".join(self.by)] if self.by else []
        words += ["--table", str(self.table)] if self.table is not None else []
        if not all(metric.default for metric in self.metrics):
            words += ["--metrics", ",".join(metric.word for metric in self.metrics)]
        words += ["--channel", str(self.channel)] if self.channel is not None else []
        return [*words, "--resample"] if self.resample else words


def metrics_of(asked: str | Iterable[str | Metric]) -> tuple[Metric, ...]:
    """The metrics that a caller means.

    Args:
        asked: words of `catalogue.METRICS`, names of measures, `all`, separated by commas or as a list; metrics; empty: the
            default.

    Raises:
        UsageError: there is no such metric.
    """
    words = asked.split(",") if isinstance(asked, str) else list(asked)
    try:
        found = select(word.word if isinstance(word, Metric) else word.strip() for word in words if word)
    except ValueError as error:
        known = ", ".join(metric.word for metric in METRICS)
        raise UsageError(f"{error.args[0]!r} is no metric; there are {known}, and `all`") from None
    return found or DEFAULT


def words_of(values: str | Iterable[str]) -> tuple[str, ...]:
    """Words as a tuple; a text is one word, not as many as it has letters."""
    return (values,) if isinstance(values, str) else tuple(values)


def refuse_inside(out: AnyPath, reference: AnyPath) -> None:
    """Raise UsageError when audio that is written to `out` would count as references."""
    inside = os.path.join(os.path.realpath(reference), "")
    if (os.path.realpath(out) + os.sep).startswith(inside):
        raise UsageError(f"{out} is inside {reference}: its audio would count as references")
