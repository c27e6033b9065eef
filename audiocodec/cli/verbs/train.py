"""`audiocodec train`: train a codec from a configuration."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from audiocodec import signals
from audiocodec.cli import arguments
from audiocodec.cli.console import say, show
from audiocodec.config.load import load_config
from audiocodec.config.schema import Config
from audiocodec.errors import UsageError

if TYPE_CHECKING:
    from audiocodec.training.run import TrainingResult, Watch


EXAMPLE = "audiocodec train --config simvq_24k --exp exp/first --set data.train=data/train"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--config",
        required=True,
        metavar="CONFIG",
        help="a YAML file, or a configuration in the package, such as simvq_24k",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key, as data.train=[a,b]; repeatable",
    )
    parser.add_argument("--exp", metavar="DIR", help="experiment folder to write (needed unless --dry-run)")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in DIR, if any")
    parser.add_argument("--init-from", metavar="MODEL", help="begin with the weights of MODEL, where they fit")
    parser.add_argument(
        "--max-minutes",
        type=arguments.minutes,
        default=math.inf,
        metavar="M",
        help="have saved and stopped M minutes after the start",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="cuda: an error where there is none (default: %(default)s)",
    )
    parser.add_argument("--allow-pipes", action="store_true", help="run commands that wav.scp holds")
    parser.add_argument("--dry-run", action="store_true", help="print what the configuration means, and stop")
    parser.add_argument("--json", action="store_true", help="with --dry-run: as JSON")


def run(args: argparse.Namespace) -> int:
    """Train; 0 when the last step was reached or the time was up."""
    if args.dry_run:
        return _dry_run(load_config(args.config, args.set), args.json)
    if not args.exp:
        load_config(args.config, args.set)  # what is wrong with it is said first
        raise UsageError("train: --exp DIR is needed (or --dry-run)")
    from audiocodec.machine import keep_freed
    from audiocodec.training.run import train

    keep_freed()
    found = train(
        args.config,
        args.exp,
        overrides=args.set,
        resume=args.resume,
        init_from=args.init_from,
        max_minutes=args.max_minutes,
        started=args.started,
        device=args.device,
        allow_pipes=args.allow_pipes,
        watch=_watch(),
    )
    say(f"audiocodec: {found.folder}: at step {found.step}{_goal(found)}")
    return 0 if found.signal is None else signals.status(found.signal)


def _goal(found: TrainingResult) -> str:
    """What is behind a run of how much, in words that follow `at step 7`."""
    if found.config.train.minutes:
        return f", after {found.seconds / 60:.1f} of {found.config.train.minutes:g} minutes"
    return f" of {found.config.train.steps}"


def _watch() -> Watch:
    """Prints on stderr."""
    from audiocodec.training.run import Watch

    class Terminal(Watch):
        def say(self, text: str) -> None:
            say(f"audiocodec: {text}")

        def reading(self, what: str) -> Callable[[int, int], None]:
            return _progress(what)

    return Terminal()


def _dry_run(config: Config, as_json: bool) -> int:
    from audiocodec.training.monitor import dry_run

    values = dry_run.describe(config)
    if as_json:
        print(json.dumps(values))
    else:
        width = max(map(len, values))
        for name, value in values.items():
            show(f"{name:{width}}  {value:,}" if isinstance(value, int) else f"{name:{width}}  {value}")
    return 0


def _progress(what: str) -> Callable[[int, int], None]:
    from tqdm import tqdm

    bar = tqdm(desc=what, unit="file", disable=not sys.stderr.isatty(), leave=False)

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return show
