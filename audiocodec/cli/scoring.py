"""What commands that score have in common: options, the list of metrics, groups, failures, a progress bar."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from audiocodec.cli import arguments
from audiocodec.cli.batch import announcing
from audiocodec.cli.console import say
from audiocodec.errors import UsageError

if TYPE_CHECKING:
    from audiocodec.evaluation.catalogue import Metric
    from audiocodec.evaluation.rows import Row
    from audiocodec.evaluation.summary_file import Summary
    from audiocodec.evaluation.watch import Watch


def add_arguments(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the options that `evaluate` and `compare` have in common; `what` is the thing that a run leaves in OUT."""
    parser.add_argument(
        "--metrics",
        type=metrics_list,
        default=(),
        metavar="LIST",
        help="what to score, separated by commas: `pesq,stoi,mel` (default), `all`, or words of evaluate --list-metrics",
    )
    parser.add_argument(
        "--by", type=arguments.words, default=(), metavar="LIST", help="break scores down by these columns"
    )
    parser.add_argument(
        "--table", metavar="TSV", help="with --by: table about the utterances (default: utt2spk: speaker)"
    )
    parser.add_argument(
        "--jobs",
        type=arguments.positive,
        metavar="N",
        help="processes (default: one per CPU that score, one that codes with -m)",
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--force", action="store_true", help=f"overwrite an earlier {what} in OUT")
    again.add_argument("--resume", action="store_true", help="keep what is coded and scored already")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--quiet", action="store_true", help="only errors on stderr")
    parser.add_argument("--allow-pipes", action="store_true", help="run commands found in wav.scp")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="with -m; default: auto")
    parser.add_argument("--threads", type=arguments.positive, metavar="N", help="with -m: CPU threads that code")


def options(args: argparse.Namespace) -> dict[str, Any]:
    """What `audiocodec.evaluate` and `audiocodec.compare` take of the options that `add_arguments` declares."""
    names = ("metrics", "by", "table", "jobs", "force", "resume", "allow_pipes", "device", "threads")
    return {**{name: getattr(args, name) for name in names}, "watch": _watch(args.quiet)}


def metrics_list(text: str) -> tuple[Metric, ...]:
    """An argument that names metrics, separated by commas."""
    from audiocodec.evaluation.settings import metrics_of

    try:
        return metrics_of(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _watch(quiet: bool) -> Watch:
    """Prints on stderr what one wants to see; `quiet`: only failures."""
    from audiocodec.evaluation.watch import Watch

    announce = announcing(quiet)

    class Terminal(Watch):
        def say(self, text: str) -> None:
            announce(text)

        def bar(self, total: int, what: str) -> AbstractContextManager[Callable[[], None]]:
            return progress_bar(total, what, quiet)

        def scored(self, system: str, rows: Sequence[Row], summary: Summary) -> None:
            say_failures(rows, summary, f"{system}: " if system else "")

    return Terminal()


def say_failures(rows: Iterable[Row], summary: Summary, where: str = "") -> None:
    """A line on stderr for every reason why an utterance lacks something of the summary; `where` comes before its id."""
    for row in rows:
        failures = {name: why for name, why in row.failures.items() if name in summary.measures}
        for reason in dict.fromkeys(failures.values()):
            names = [name for name, why in failures.items() if why == reason]
            detail = f": {row.details[reason]}" if reason in row.details else ""
            say(f"audiocodec: error: {where}{row.id}: {reason}{detail} ({', '.join(names)})")


@contextmanager
def progress_bar(total: int, what: str, quiet: bool) -> Iterator[Callable[[], None]]:
    """A bar on stderr, only on a terminal; gives what to call once for every file done."""
    from tqdm import tqdm

    off = True if quiet else None  # None: off unless stderr is a terminal
    with tqdm(total=total, desc=what, unit="file", disable=off, file=sys.stderr, leave=False, delay=1.0) as bar:

        def advance() -> None:
            bar.update(1)

        yield advance
