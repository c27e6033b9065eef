"""`audiocodec compare`: score models, classical codecs and other people's systems on the same utterances."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocodec.cli import batch, scoring, tables
from audiocodec.cli.systems import AnchorSystem, FolderSystem, ModelSystem, ReferenceSystem, System, is_label
from audiocodec.cli.usage import UsageError

if TYPE_CHECKING:
    from audiocodec.evaluation.rows import Row
    from audiocodec.evaluation.run import Options

RESULTS = "RESULTS.md"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--reference", required=True, metavar="PATH", help="originals: folder of audio, data folder or wav.scp"
    )
    parser.add_argument(
        "-d", "--output-dir", required=True, metavar="OUT", help="gets a folder for each system, and RESULTS.md"
    )
    parser.add_argument(
        "-m",
        "--model",
        action="append",
        default=[],
        metavar="[LABEL=]MODEL[@N]",
        help="to compare, with its first N codebooks; as often as you like",
    )
    parser.add_argument(
        "--anchor", nargs="+", action="extend", metavar="NAME", help=f"{_anchor_names()} (default: all but -cbr)"
    )
    parser.add_argument(
        "--system",
        nargs="+",
        action="extend",
        default=[],
        metavar="LABEL=FOLDER[,CODED]",
        help="reconstructions of another; CODED: folder of its coded files, or sizes.jsonl, for the bitrate",
    )
    parser.add_argument("--baseline", choices=("encodec",), help="a neural codec, with --weights")
    parser.add_argument("--weights", metavar="FILE", help="encodec: its 24 kHz state dict (.th or .safetensors)")
    parser.add_argument("--against", metavar="LABEL", help="add paired differences of all the others from this system")
    parser.add_argument(
        "--resample-rate", type=batch.positive, default=24_000, metavar="HZ", help="of resample (default: %(default)s)"
    )
    scoring.add_arguments(parser, "comparison")


def run(args: argparse.Namespace) -> int:
    """Compare; returns 1 when something has no score."""
    from audiocodec.evaluation.catalogue import DEFAULT, missing_libraries
    from audiocodec.evaluation.pairing import list_audio
    from audiocodec.evaluation.rows import reopen
    from audiocodec.evaluation.run import Options

    args.metrics = args.metrics or DEFAULT
    args.jobs = args.jobs or scoring.cpus()
    if problems := missing_libraries(args.metrics):
        raise UsageError(f"{'; '.join(problems)}, or leave it out of --metrics")
    _check_paths(args)
    systems = _systems(args)
    _refuse_existing(args, systems)
    options = Options(
        metrics=args.metrics,
        jobs=args.jobs,
        resume=args.resume,
        allow_pipes=args.allow_pipes,
        command=_command(args),
        groups=scoring.groups_of(args),
    )
    references = list_audio(args.reference, args.allow_pipes)
    for folder in (Path(args.output_dir) / system.label for system in systems):
        reopen(folder, keep=args.resume)
    (Path(args.output_dir) / RESULTS).unlink(missing_ok=True)
    scored = {system.label: _score(args, system, references, options) for system in systems}
    summaries = {label: summary for label, (_, summary) in scored.items()}
    _write_results(args, summaries, {label: rows for label, (rows, _) in scored.items()})
    return 1 if any(summary["n_rows_with_failures"] for summary in summaries.values()) else 0


def _anchor_names() -> str:
    from audiocodec.evaluation.systems.catalogue import names

    return ", ".join(names())


def _check_paths(args: argparse.Namespace) -> None:
    if (args.baseline is None) != (args.weights is None):
        raise UsageError("--baseline encodec and --weights FILE go together")
    if args.table is not None and not args.by:
        raise UsageError("--table needs --by LIST: the columns to break scores down by")
    for path in (args.reference, args.table, args.weights):
        if path is not None and not os.path.exists(path):
            raise UsageError(f"{path}: No such file or directory")
    inside = os.path.join(os.path.realpath(args.reference), "")
    if (os.path.realpath(args.output_dir) + os.sep).startswith(inside):
        raise UsageError(f"{args.output_dir} is inside {args.reference}: its audio would count as references")


def _systems(args: argparse.Namespace) -> list[System]:
    """Everything to score, in the order of the table; refuses what cannot run here, before any work."""
    from audiocodec.evaluation.systems import catalogue

    words = args.anchor if args.anchor is not None else catalogue.DEFAULT
    try:
        anchors = catalogue.select([word for word in words if word != catalogue.REFERENCE], args.resample_rate)
    except ValueError as error:
        raise UsageError(f"{error.args[0]!r} is no anchor; there are {_anchor_names()}") from None
    anchors += catalogue.encodec(args.weights) if args.baseline is not None else ()
    if problems := catalogue.problems(anchors):
        raise UsageError("; ".join(problems))
    systems: list[System] = [ReferenceSystem(catalogue.REFERENCE)] if catalogue.REFERENCE in words else []
    systems += [AnchorSystem(anchor.name, anchor) for anchor in anchors]
    systems += [ModelSystem.of(args, *_labelled(text)) for text in args.model]
    systems += [FolderSystem.of(text) for text in args.system]
    labels = [system.label for system in systems]
    if twice := [label for label in dict.fromkeys(labels) if labels.count(label) > 1]:
        raise UsageError(f"two systems are called {twice[0]!r}; LABEL=... chooses another name")
    if args.against is not None and args.against not in labels:
        raise UsageError(f"--against {args.against}: no such system; there are {', '.join(labels)}")
    return systems


def _labelled(text: str) -> tuple[str, str]:
    """`LABEL=PLACE` as (label, place); the label is empty where there is none that can name a folder."""
    label, equals, place = text.partition("=")
    return (label, place) if equals and is_label(label) else ("", text)


def _refuse_existing(args: argparse.Namespace, systems: list[System]) -> None:
    from audiocodec.evaluation.rows import FINISHED, GROWING, SUMMARY

    folders = [Path(args.output_dir) / system.label for system in systems]
    names = [folder / name for folder in folders for name in (FINISHED, GROWING, SUMMARY)]
    there = [name for name in [Path(args.output_dir) / RESULTS, *names] if name.exists()]
    if there and not args.force and not args.resume:
        raise UsageError(f"{there[0]} already exists; --force overwrites, --resume keeps what is finished")


def _score(
    args: argparse.Namespace, system: System, references: dict[str, list[str]], options: Options
) -> tuple[list[Row], dict[str, Any]]:
    from audiocodec.evaluation.run import evaluate

    folder = Path(args.output_dir) / system.label
    with scoring.progress_bar(len(references), f"{system.label}: coding", args.quiet) as advance:
        entries, options = system.prepare(args, references, folder, options, advance)
    with scoring.progress_bar(len(entries), f"{system.label}: scoring", args.quiet) as advance:
        rows, summary = evaluate(entries, folder, options, advance)
    scoring.say_failures(rows, summary, f"{system.label}: ")
    return rows, summary


def _write_results(args: argparse.Namespace, summaries: dict[str, dict[str, Any]], rows: dict[str, list[Row]]) -> None:
    """Print the table, or the summaries, and write the page."""
    from audiocodec.evaluation.catalogue import measures_of
    from audiocodec.evaluation.results import differences_md, results_md
    from audiocodec.evaluation.rows import write_atomically

    page = Path(args.output_dir) / RESULTS
    coded_by = {label: summary["tokens"].get("coded_by") for label, summary in summaries.items()}
    made = [f"- {label}: {how}\n" for label, how in coded_by.items() if how]
    text = results_md(list(summaries), list(summaries.values()), "")
    differences = ["\n", differences_md(rows, args.against, measures_of(args.metrics))] if args.against else []
    write_atomically(page, "".join([text, *differences, *(["\nCoded by\n\n", *made] if made else [])]))
    if args.json:
        print(json.dumps(_with_differences(args, summaries, rows), allow_nan=False))
    else:
        print(tables.side_by_side(summaries))
    if not args.quiet:
        print(f"audiocodec: wrote {page}", file=sys.stderr)


def _with_differences(
    args: argparse.Namespace, summaries: dict[str, dict[str, Any]], rows: dict[str, list[Row]]
) -> dict[str, dict[str, Any]]:
    """The summaries; with --against each of the others has its paired differences."""
    from audiocodec.evaluation.catalogue import measures_of
    from audiocodec.evaluation.paired import differences

    found = differences(rows, args.against, measures_of(args.metrics)) if args.against else {}
    described = {
        label: {"against": args.against, "measures": {name: asdict(one) for name, one in by_name.items()}}
        for label, by_name in found.items()
    }
    return {
        label: summary | ({"differences": described[label]} if label in described else {})
        for label, summary in summaries.items()
    }


def _command(args: argparse.Namespace) -> str:
    """The command as one would type it, without what does not change the numbers."""
    words = ["audiocodec", "compare", "--reference", args.reference, "-d", args.output_dir]
    for model in args.model:
        words += ["-m", model]
    for name in ("anchor", "system"):
        words += [f"--{name}", *getattr(args, name)] if getattr(args, name) else []
    for name in ("baseline", "weights", "against", "threads"):
        words += [f"--{name}", str(getattr(args, name))] if getattr(args, name) is not None else []
    if args.resample_rate != 24_000:
        words += ["--resample-rate", str(args.resample_rate)]
    if args.by:
        words += ["--by", ",".join(args.by), *(["--table", args.table] if args.table else [])]
    if not all(metric.default for metric in args.metrics):
        words += ["--metrics", ",".join(metric.word for metric in args.metrics)]
    return shlex.join(words)
