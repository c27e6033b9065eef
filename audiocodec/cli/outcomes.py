"""Jobs of `encode` and `decode`, done one after the other or spread over processes, with the same results in the same order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from audiocodec.cli.jobs import STREAM, Job
from audiocodec.codec.files import Progress
from audiocodec.errors import AudioCodecError
from audiocodec.workers import in_order, run_all

Report = dict[str, Any]
Work = Callable[[Job, Progress], "Report | None"]  # (job, progress) -> report; None: finished before

_JOB_ERRORS = (AudioCodecError, OSError, MemoryError)


@dataclass(frozen=True)
class Outcome:
    """What became of a job: a report, None where it was finished before; or the error."""

    report: Report | None = None
    error: Exception | None = None


def processes_for(jobs: Sequence[Job], asked: int) -> int:
    """How many processes to start: one where there is one job, or stdin or stdout takes part, which are ours alone."""
    streamed = any(STREAM in (job.source, job.target) for job in jobs)
    return 1 if streamed else max(1, min(asked, len(jobs)))


def outcomes(
    jobs: Sequence[Job], work: Work, processes: int, threads: int, progress: Progress
) -> Generator[Outcome, None, None]:
    """Do jobs.

    Args:
        jobs: to do.
        work: does one; with several processes it is pickled.
        processes: 1: this one does all.
        threads: of each of several processes.
        progress: told about the job that this process does.

    Yields:
        What becomes of each job, in their order.
    """
    if processes == 1:
        for job in jobs:
            yield _attempt(work, job, progress)
        return
    with contextlib.closing(in_order(run_all(partial(_attempt, work), jobs, processes, threads))) as results:
        for result in results:
            yield result if isinstance(result, Outcome) else Outcome(error=AudioCodecError(result.reason))


def _ignore(done: float, total: float) -> None:
    pass


def _attempt(work: Work, job: Job, progress: Progress = _ignore) -> Outcome:
    try:
        return Outcome(work(job, progress))
    except _JOB_ERRORS as error:
        return Outcome(error=error)
