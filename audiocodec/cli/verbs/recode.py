"""`audiocodec recode`: token files compressed or plain, without loss; needs neither torch nor the model."""

from __future__ import annotations

import argparse
import time

from audiocodec.cli import arguments, batch
from audiocodec.cli.jobs import STREAM, Job, local_file, make_plan
from audiocodec.cli.outcomes import Report
from audiocodec.codec.files import Progress
from audiocodec.tokens import priors
from audiocodec.tokens.token_file import EXTENSION, TokenFile

EXAMPLE = "audiocodec recode tokens --compress -d smaller"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    inputs = "token file, folder of token files, list (.scp) of them, or - for stdin"
    parser.add_argument("inputs", nargs="+", metavar="IN", help=inputs)
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument(
        "--compress", action="store_true", help="near the entropy of the codes, by a prior of their model"
    )
    form.add_argument("--plain", action="store_true", help="every code with the same number of bits")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-o", "--output", metavar="OUT", help="output file, - for stdout")
    where.add_argument("-d", "--output-dir", metavar="DIR", help="folder for outputs; the input's tree is kept")
    parser.add_argument("--force", action="store_true", help="overwrite existing outputs")
    parser.add_argument("--num-codebooks", type=arguments.positive, metavar="N", help="keep only the first N codebooks")
    parser.add_argument("--quiet", action="store_true", help="only errors on stderr")
    parser.add_argument("--json", action="store_true", help="one line of JSON per file on stdout")
    parser.add_argument("--allow-pipes", action="store_true", help="run commands found in a list")
    parser.set_defaults(resume=False, jobs=1, threads=1)


def run(args: argparse.Namespace) -> int:
    """Recode all inputs; returns the exit status."""
    plan = make_plan(args.inputs, args.output, args.output_dir, (EXTENSION,), EXTENSION, args.allow_pipes)
    batch.check_outputs(plan, args)

    def work(job: Job, progress: Progress) -> Report:
        started = time.perf_counter()
        with local_file(job.source, args.allow_pipes) as path:
            tokens = TokenFile.read(path)
        if args.num_codebooks is not None:
            tokens = tokens.truncate(args.num_codebooks)
        if job.target != STREAM:
            batch.make_folder_of(job.target)
        written = tokens.write(job.target, priors.of_codec(tokens.fingerprint) if args.compress else None)
        described = tokens.describe()
        report = {key: described[key] for key in ("seconds", "num_codebooks", "kbps_payload")}
        kbps = 8 * written / described["seconds"] / 1000
        return {**report, "kbps_file": kbps, "wall_seconds": time.perf_counter() - started}

    return batch.run_plan(plan, args, work)
