"""What `encode` and `decode` share: their options, the model they load once, and the loop over jobs."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Generator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, final

from audiocodec.cli import arguments
from audiocodec.cli.console import say
from audiocodec.cli.jobs import Job, Plan, refuse_existing, refuse_overwritten_inputs
from audiocodec.cli.outcomes import Outcome, Report, Work, outcomes, processes_for
from audiocodec.errors import CheckpointError, ConfigError, FingerprintMismatch, UsageError
from audiocodec.terminal import printable
from audiocodec.workers import threads_of

if TYPE_CHECKING:
    from audiocodec.loading import Model


def add_arguments(parser: argparse.ArgumentParser, inputs: str) -> None:
    """Add the options that `encode` and `decode` have in common."""
    parser.add_argument("inputs", nargs="+", metavar="IN", help=inputs)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-o", "--output", metavar="OUT", help="output file, - for stdout")
    where.add_argument("-d", "--output-dir", metavar="DIR", help="folder for outputs; the input's tree is kept")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--force", action="store_true", help="overwrite existing outputs")
    again.add_argument(
        "--resume", action="store_true", help="skip outputs that are valid and not older than their input"
    )
    parser.add_argument("--num-codebooks", type=arguments.positive, metavar="N", help="use only the first N codebooks")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument(
        "--threads",
        type=arguments.positive,
        metavar="N",
        help="CPU threads of a process (default: the runtime's choice; with --jobs, its share of the processors)",
    )
    parser.add_argument(
        "--jobs", type=arguments.positive, default=1, metavar="N", help="processes (default: %(default)s)"
    )
    parser.add_argument("--quiet", action="store_true", help="only errors on stderr")
    parser.add_argument("--json", action="store_true", help="one line of JSON per file on stdout")
    parser.add_argument("--allow-pipes", action="store_true", help="run commands found in wav.scp")


def model_of(args: argparse.Namespace) -> Model:
    """The model that the options name."""
    from audiocodec.loading import Model

    return Model(args.model, **model_options(args))


def model_options(args: argparse.Namespace) -> dict[str, Any]:
    """What `Model` takes of the options, besides its name."""
    return {
        "num_codebooks": args.num_codebooks,
        "runtime": getattr(args, "runtime", "auto"),
        "device": args.device,
        "threads": args.threads,
        "announce": announcing(args.quiet or (args.jobs or 1) > 1),  # not a line from every process
    }


def announcing(quiet: bool) -> Callable[[str], None]:
    """What is called when a model is loaded: names it on stderr unless `quiet`, and has torch keep freed memory."""

    def announce(text: str) -> None:
        if "torch" in sys.modules:
            from audiocodec.machine import keep_freed

            keep_freed()
        if not quiet:
            say(f"audiocodec: {text}")

    return announce


def share_processors(plan: Plan, args: argparse.Namespace) -> None:
    """Fit `--jobs` to the plan, and `--threads`, where it is not given, to the processors."""
    args.jobs = processes_for(plan.jobs, args.jobs)
    if args.jobs > 1:
        args.threads = args.threads or threads_of(args.jobs)
        if not args.quiet:
            say(f"audiocodec: {args.jobs} processes of {args.threads} threads each")


def run_plan(
    plan: Plan, args: argparse.Namespace, work: Work, coming: Generator[Outcome, None, None] | None = None
) -> int:
    """Do every job, go on after a bad one, and count.

    Args:
        plan: what to do.
        args: the options.
        work: does a job.
        coming: instead of calling `work`: what becomes of the jobs, in their order.

    Returns:
        0; 1 when some input failed; 2 when the model was the wrong one for every input.
    """
    failures = [_report_failure(Job(name, ""), message, args, None) for name, message in plan.failed]
    wrong_model = finished = skipped = 0
    mixed: list[str] = []
    with (
        _Bar(plan.jobs, args.quiet) as bar,
        contextlib.closing(coming or outcomes(plan.jobs, work, args.jobs, args.threads or 1, bar.advance)) as found,
    ):
        for job, outcome in zip(plan.jobs, found):
            error, report = outcome.error, outcome.report
            if isinstance(error, FingerprintMismatch):
                wrong_model += 1
                failures.append(_report_failure(job, f"{job.source}: {error}", args, bar))
            elif isinstance(error, _EVERY_JOBS_ERRORS):
                raise error
            elif error is not None:
                failures.append(_report_failure(job, str(error) or type(error).__name__, args, bar))
            else:
                finished += report is not None
                skipped += report is None
                if report is not None:
                    _report_success(job, report, args, bar)
                    mixed += [job.source] if report.get("mixed") else []
            bar.done()
    total = len(plan.jobs) + len(plan.failed)
    if not args.quiet and (total > 1 or skipped):
        tail = f", {skipped} were finished before" if skipped else ""
        say(f"audiocodec: {finished} of {total} done, {len(failures)} failed{tail}")
    if mixed and not args.quiet:
        which = mixed[0] if len(mixed) == 1 else f"{len(mixed)} files"
        say(f"audiocodec: {which}: several channels were mixed to one; --channel N encodes one of them")
    if total and wrong_model == total:
        return 2
    return 1 if failures else 0


def check_outputs(plan: Plan, args: argparse.Namespace) -> None:
    """Refuse what would be lost, before any work: outputs that exist, inputs that are outputs."""
    if args.json and args.output == "-":
        raise UsageError("--json and -o - both want stdout")
    if not args.force and not args.resume:
        refuse_existing(plan.jobs)
    refuse_overwritten_inputs(plan.jobs)


def make_folder_of(target: str) -> None:
    """Make the folder an output goes into."""
    if os.path.dirname(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)


_EVERY_JOBS_ERRORS = (UsageError, CheckpointError, ConfigError, BrokenPipeError)  # not this file's fault


def _report_failure(job: Job, message: str, args: argparse.Namespace, bar: _Bar | None) -> str:
    text = message if job.source in message or job.source == "-" else f"{job.source}: {message}"
    _say(f"audiocodec: error: {text}", bar)
    if args.json:
        print(json.dumps({"input": job.source, "output": job.target, "error": text}), flush=True)
    return text


def _report_success(job: Job, report: Report, args: argparse.Namespace, bar: _Bar) -> None:
    if args.json:
        line = {"input": job.source, "output": job.target, **report}
        print(json.dumps(line), flush=True)
    if report.get("verified") and not args.quiet:
        _say(f"audiocodec: {job.source}: verified, {report['frames']} frames twice the same", bar)
    if report.get("clipped"):
        _say(
            f"audiocodec: {job.target}: {report['clipped']} samples clipped at full scale; --subtype float keeps them",
            bar,
        )
    if report.get("warning") and not args.quiet:
        _say(f"audiocodec: warning: {job.source}: {report['warning']}", bar)
    if not args.quiet and not args.json:
        rate = f"{report['kbps_payload']:.3f} kbps ({report['kbps_file']:.3f} on disk)"
        worked = f", {report['wall_seconds']:.2f} s of work" if "wall_seconds" in report else ""
        _say(f"{job.source} -> {job.target}: {report['seconds']:.2f} s, {rate}{worked}", bar)


def _say(text: str, bar: _Bar | None) -> None:
    if bar is None:
        say(text)
    else:
        bar.write(text)


@final
class _Bar:
    """A progress bar on stderr, only on a terminal: files, or seconds of audio when there is one file."""

    def __init__(self, jobs: list[Job], quiet: bool) -> None:
        self._single = len(jobs) == 1
        self._bar: Any = None  # the light installation has no tqdm and shows no bar
        if find_spec("tqdm") is None:
            return
        from tqdm import tqdm

        unit = "s of audio" if self._single else "file"
        total = None if self._single else len(jobs)
        off = True if quiet or not jobs else None  # None: off unless stderr is a terminal
        self._bar = tqdm(total=total, unit=unit, disable=off, file=sys.stderr, leave=False, delay=1.0)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, done: float, total: float) -> None:
        """A piece of one file is done: seconds of audio, of how many."""
        if self._single and self._bar is not None:
            self._bar.total = round(total, 1)
            self._bar.update(round(done, 1) - self._bar.n)

    def done(self) -> None:
        """One file is done."""
        if not self._single and self._bar is not None:
            self._bar.update(1)

    def write(self, text: str) -> None:
        """Print a line without tearing the bar."""
        if self._bar is None:
            say(text)
        else:
            self._bar.write(printable(text), file=sys.stderr)
