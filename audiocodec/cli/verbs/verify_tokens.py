"""`audiocodec verify-tokens`: a data set of tokens against its plan, and a sample of it encoded again."""

from __future__ import annotations

import argparse
import os

from audiocodec import models
from audiocodec.cli import arguments, runtime
from audiocodec.cli.console import say
from audiocodec.errors import CorpusError, UsageError
from audiocodec.loading import choose_runtime
from audiocodec.tokenize import plan, verify
from audiocodec.tokenize.worker import Job

EXAMPLE = "audiocodec verify-tokens corpus"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folder", metavar="OUT", help="folder that audiocodec tokenize made")
    arguments.add_model(parser, "the model it was made with", "the one at hand with its fingerprint")
    parser.add_argument("--sample", type=int, default=16, metavar="N", help="encode up to N rows again (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the choice of rows (%(default)s)")
    parser.add_argument("--device", type=arguments.device, default="auto", metavar="DEVICE", help=arguments.DEVICES)
    parser.add_argument("--threads", type=arguments.positive, metavar="N", help="CPU threads of the network")
    parser.add_argument("--allow-pipes", action="store_true", help="run commands found in wav.scp")
    parser.add_argument("--quiet", action="store_true", help="only problems")
    runtime.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Check; returns 1 when something is wrong."""
    try:
        planned = plan.read(args.folder)
    except CorpusError as error:
        raise UsageError(str(error)) from None
    report = verify.check(args.folder)
    if args.sample > 0 and report.rows:
        model = args.model or models.find(bytes.fromhex(planned.model.fingerprint))
        job = Job(
            folder=args.folder,
            model=model,
            runtime=choose_runtime(args.runtime, model),
            device=args.device,
            threads=args.threads,
            allow_pipes=args.allow_pipes,
        )
        verify.check_again(args.folder, job, args.sample, args.seed, report)
    for problem in report.problems:
        say(f"audiocodec: error: {os.path.join(args.folder, problem)}")
    if not args.quiet:
        found = f"{report.rows} rows in {report.shards} shards, {report.failures} failures listed"
        say(f"audiocodec: {found}, {report.again} encoded again, {len(report.problems)} problems")
    return 1 if report.problems else 0
