"""`audiocodec export-tokens`: token files as numpy arrays, JSON lines or a Kaldi archive; needs no model."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import BinaryIO

from audiocodec.cli import arguments, batch, token_sets
from audiocodec.cli.jobs import STREAM, Job, Plan, local_file, make_plan, refuse_overwritten_inputs
from audiocodec.cli.outcomes import Report
from audiocodec.codec.files import Progress
from audiocodec.errors import TokenFileError, UsageError
from audiocodec.tokens.export import write_jsonl, write_kaldi_text, write_npy
from audiocodec.tokens.streams import open_target
from audiocodec.tokens.token_file import EXTENSION, TokenFile

EXAMPLE = "audiocodec export-tokens tokens --format jsonl -o tokens.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    inputs = "token file, folder of token files, list (.scp) of them, or - for stdin (npy only: it has no id)"
    parser.add_argument("inputs", nargs="+", metavar="IN", help=inputs)
    parser.add_argument(
        "--format",
        choices=("npy", "jsonl", "kaldi", *token_sets.FORMATS),
        required=True,
        help="npy: one int32 array [codebooks, frames] a file; jsonl: one object a line; kaldi: a text archive of "
        "integers; parquet, webdataset: a data set as tokenize makes it; bin: flat ids for numpy.memmap and an index; "
        "megatron: .bin and .idx",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-o", "--output", metavar="OUT", help="output file, - for stdout (jsonl and kaldi: the default)")
    where.add_argument("-d", "--output-dir", metavar="DIR", help="npy: folder for outputs; the input's tree is kept")
    parser.add_argument("--force", action="store_true", help="overwrite existing outputs")
    parser.add_argument(
        "--num-codebooks", type=arguments.positive, metavar="N", help="export only the first N codebooks"
    )
    parser.add_argument("--quiet", action="store_true", help="only errors on stderr")
    parser.add_argument("--allow-pipes", action="store_true", help="run commands found in a list")
    parser.set_defaults(json=False, jobs=1, threads=None)  # stdout is for the tokens, not for reports in JSON


def run(args: argparse.Namespace) -> int:
    """Export all inputs; returns the exit status."""
    if args.format == "npy":
        return _arrays(args)
    return _data_set(args) if args.format in token_sets.FORMATS else _archive(args)


def _arrays(args: argparse.Namespace) -> int:
    plan = make_plan(args.inputs, args.output, args.output_dir, (EXTENSION,), ".npy", args.allow_pipes)
    _check_targets([job.target for job in plan.jobs], args.force)
    refuse_overwritten_inputs(plan.jobs)

    def work(job: Job, progress: Progress) -> Report:
        tokens = _read(job, args)
        if job.target != STREAM:
            batch.make_folder_of(job.target)
        write_npy(tokens, job.target)
        return _report(tokens)

    return batch.run_plan(plan, args, work)


def _data_set(args: argparse.Namespace) -> int:
    if args.output is None or args.output == STREAM:
        raise UsageError(f"--format {args.format} writes a file: name it with -o")
    plan = _with_ids(make_plan(args.inputs, None, os.curdir, (EXTENSION,), "", args.allow_pipes))
    _check_targets([args.output], args.force)
    refuse_overwritten_inputs([Job(job.source, args.output) for job in plan.jobs])

    def work(job: Job, progress: Progress) -> Report:
        tokens = _read(job, args)
        token_set.add(job.target, tokens)
        return _report(tokens)

    with token_sets.TokenSet(args.format, Path(args.output)) as token_set:
        status = batch.run_plan(plan, args, work)
        if not token_set.count:
            raise TokenFileError("nothing to export: none of the inputs could be used")
    return status


def _archive(args: argparse.Namespace) -> int:
    if args.output_dir is not None:
        raise UsageError(f"--format {args.format} makes one file of all inputs: name it with -o")
    if STREAM in args.inputs:
        raise UsageError(f"stdin has no id, which every line of --format {args.format} begins with; name a file")
    target = args.output or STREAM
    plan = _with_ids(make_plan(args.inputs, None, os.curdir, (EXTENSION,), "", args.allow_pipes))
    _check_targets([target], args.force)
    refuse_overwritten_inputs([Job(job.source, target) for job in plan.jobs])
    with open_target(target) as stream:
        return _write_archive(plan, args, stream)


def _write_archive(plan: Plan, args: argparse.Namespace, stream: BinaryIO) -> int:
    write = write_jsonl if args.format == "jsonl" else write_kaldi_text
    written = 0

    def work(job: Job, progress: Progress) -> Report:
        nonlocal written
        tokens = _read(job, args)
        written += write([(job.target, tokens)], stream)
        return _report(tokens)

    status = batch.run_plan(plan, args, work)
    if not written:
        raise TokenFileError("nothing to export: none of the inputs could be used")
    return status


def _with_ids(plan: Plan) -> Plan:
    """The plan with ids for targets: an input's id is its name in a list, or the path that `encode` gave it in a folder."""
    jobs: list[Job] = []
    failed = list(plan.failed)
    for job in plan.jobs:
        name = os.path.relpath(job.target)
        if name.split() == [name] and name.isprintable():
            jobs.append(Job(job.source, name))
        else:
            failed.append((job.source, f"its id {name!r} is not one printable word, as a line of the archive needs it"))
    return Plan(jobs, failed)


def _read(job: Job, args: argparse.Namespace) -> TokenFile:
    with local_file(job.source, args.allow_pipes) as path:
        tokens = TokenFile.read(path)
    return tokens if args.num_codebooks is None else tokens.truncate(args.num_codebooks)


def _report(tokens: TokenFile) -> Report:
    described = tokens.describe()
    return {key: described[key] for key in ("seconds", "frames", "num_codebooks", "kbps_payload", "kbps_file")}


def _check_targets(targets: list[str], force: bool) -> None:
    arguments.refuse_existing([target for target in targets if target != STREAM], force)
