"""`audiocodec tokenize`: a corpus of any size to a data set of tokens."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

from audiocodec import hub, model_places
from audiocodec.cli import arguments, batch, runtime, token_model
from audiocodec.cli.console import say
from audiocodec.errors import CorpusError, UsageError
from audiocodec.loading import choose_runtime
from audiocodec.tokenize import finishing, planning
from audiocodec.tokenize.engines import array
from audiocodec.tokenize.engines.scheduling import Lost
from audiocodec.tokenize.engines.scheduling import run as schedule
from audiocodec.tokenize.plan import FAILURES, Plan
from audiocodec.tokenize.sources.detect import source_of
from audiocodec.tokenize.worker import Done, Job
from audiocodec.workers import threads_of

_SHOWN = 10  # failures named at the end


EXAMPLE = "audiocodec tokenize recordings -d corpus --jobs 4"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    what = "folder of audio or with wav.scp, .jsonl manifest, or tars or Parquet files (globs, {000..099}, s3://...)"
    parser.add_argument("source", nargs="+", metavar="SOURCE", help=what)
    parser.add_argument("-d", "--output-dir", required=True, metavar="OUT", help="folder of the data set")
    arguments.add_model(parser, "the model that encodes")
    parser.add_argument("--num-codebooks", type=arguments.positive, metavar="N", help="use only the first N codebooks")
    parser.add_argument("--format", choices=("parquet", "webdataset"), default="parquet", help="default: %(default)s")
    parser.add_argument("--licence", metavar="NOTE", default=planning.Request.licence, help="of the data, for its card")
    seconds = "audio of a shard, estimated where the source states no lengths (default: %(default)g)"
    parser.add_argument("--shard-seconds", type=_positive, default=planning.SHARD_SECONDS, metavar="S", help=seconds)
    _add_engine(parser)
    parser.add_argument("--device", type=arguments.device, default="auto", metavar="DEVICE", help=arguments.DEVICES)
    parser.add_argument("--threads", type=arguments.positive, metavar="N", help="CPU threads of each worker's network")
    parser.add_argument(
        "--batch-seconds",
        type=_seconds,
        metavar="S",
        help="audio encoded at once, 0: one utterance at a time (default: 240 on a GPU, else 0)",
    )
    parser.add_argument("--retry-failures", action="store_true", help="do shards with failures again")
    parser.add_argument("--allow-pipes", action="store_true", help="run commands found in wav.scp")
    parser.add_argument("--quiet", action="store_true", help="only errors on stderr")
    runtime.add_arguments(parser)


def _add_engine(parser: argparse.ArgumentParser) -> None:
    where = "processes of this machine, this task of a Slurm array, this rank, or actors on Ray (default: %(default)s)"
    parser.add_argument("--engine", choices=("local", "slurm", "torchrun", "ray"), default="local", help=where)
    parser.add_argument("--jobs", type=arguments.positive, metavar="N", help="workers of local and ray (default: 1)")
    alone = parser.add_mutually_exclusive_group()
    alone.add_argument("--shard", type=int, metavar="I", help="do this shard alone, in this process")
    alone.add_argument("--plan-only", action="store_true", help="make the plan, print how many shards it has, and stop")
    parser.add_argument("--address", help="ray: of the cluster (default: a cluster of this command alone)")
    parser.add_argument("--cpus", type=_seconds, default=1.0, metavar="C", help="ray: CPUs of a worker (%(default)g)")
    parser.add_argument("--gpus", type=_seconds, metavar="G", help="ray: GPUs of a worker, such as 0.5 (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Make or resume the data set; returns 1 when utterances or shards failed."""
    if args.engine != "ray" and (args.address or args.gpus):
        raise UsageError("--address and --gpus are for --engine ray")
    try:
        plan = _plan(args)
        if args.shard is not None:
            plan.check_shard(args.shard)
    except CorpusError as error:
        raise UsageError(str(error)) from None
    if args.plan_only:
        print(len(plan.shards))
        return 0
    if args.retry_failures:
        finishing.forget_failed(plan, args.output_dir)
    lost, done = _work(args, plan)
    for given_up in lost:
        _say(f"error: shard {given_up.shard} was given up: its worker died every time ({given_up.cause})")
    totals = finishing.finish(plan, args.output_dir)
    if totals is not None and not args.quiet:
        hours = totals.seconds / 3600
        _say(f"{args.output_dir}: {totals.rows} utterances, {hours:.2f} h, {totals.failures} failed; complete")
    failed = totals.failures if totals is not None else sum(one.failures for one in done)
    if failed:
        _say(f"error: {failed} utterances have no tokens; see {_where(args, totals is not None)}")
    return 1 if failed or lost else 0


def _plan(args: argparse.Namespace) -> Plan:
    request = planning.Request(
        token_model.facts(args.model, args.num_codebooks), args.format, args.shard_seconds, args.licence
    )
    plan = None
    if args.shard is not None or args.engine in ("slurm", "torchrun"):  # one of many: the source is listed once for all
        plan = planning.made(args.source, request, args.output_dir)
    if plan is None:
        source = source_of(args.source, args.allow_pipes)
        plan = planning.make(source, args.source, request, args.output_dir)
    if not args.quiet:
        rows = f"{plan.rows} utterances" if plan.rows is not None else plan.kind
        missing = len(plan.missing(args.output_dir))
        _say(f"{args.output_dir}: {rows} in {len(plan.shards)} shards, {len(plan.shards) - missing} finished before")
    return plan


def _job(args: argparse.Namespace) -> Job:
    header = batch.model_of(args).header
    found = Path(header.path).resolve()
    name = found.parent.name if model_places.PRETRAINED.resolve() in found.parents else str(found)
    if args.model is not None and (repository := hub.parse(args.model)) is not None:  # other machines fetch the same
        name = f"{repository.name}@{Path(header.path).parent.name}#{header.fingerprint}"
    device = args.device
    if args.engine == "torchrun" and device in ("auto", "cuda") and _has_cuda():
        device = f"cuda:{array.rank_share()[2]}"
    threads = args.threads
    if threads is None and (args.jobs or 1) > 1:
        threads = threads_of(args.jobs)
    if threads is not None:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads))  # of workers, which inherit it
    return Job(
        folder=os.path.abspath(args.output_dir),
        model=name,
        runtime=choose_runtime(args.runtime, args.model),
        device=device,
        threads=threads,
        batch_seconds=args.batch_seconds,
        allow_pipes=args.allow_pipes,
    )


def _work(args: argparse.Namespace, plan: Plan) -> tuple[list[Lost], list[Done]]:
    """Do this process's shards; (given up, finished now)."""
    done: list[Done] = []

    def report(one: Done) -> None:
        done.append(one)
        if not args.quiet:
            _say(f"shard {one.shard} of {len(plan.shards)}: {one.rows} utterances, {one.seconds / 3600:.2f} h")

    missing = plan.missing(args.output_dir)
    if args.shard is not None or args.engine in ("slurm", "torchrun"):
        array.run(_job(args), _share(args, missing), report)
        return [], done
    if not missing:
        return [], done
    workers = args.jobs or 1
    if args.engine == "ray":
        from audiocodec.tokenize.engines.cluster import RayPool, Resources

        pool = RayPool(_job(args), Resources(args.cpus, args.gpus or 0.0, args.address))
        return schedule(pool, missing, workers, report), done
    from audiocodec.tokenize.engines.local import LocalPool

    return schedule(LocalPool(_job(args)), missing, workers, report), done


def _share(args: argparse.Namespace, missing: list[int]) -> list[int]:
    if args.shard is not None:
        return [args.shard]
    try:
        which, of = array.slurm_share() if args.engine == "slurm" else array.rank_share()[:2]
    except CorpusError as error:
        raise UsageError(str(error)) from None
    return [shard for shard in missing if shard % of == which]


def _has_cuda() -> bool:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def _where(args: argparse.Namespace, complete: bool) -> str:
    return os.path.join(args.output_dir, FAILURES) if complete else "the shards' footers"


def _say(text: str) -> None:
    say(f"audiocodec: {text}")


def _positive(text: str) -> float:
    value = _seconds(text)
    if not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return value
