"""`audiocodec decode`: token files to audio."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from audiocodec.audio import io
from audiocodec.cli import arguments, batch, runtime
from audiocodec.cli.jobs import STREAM, Job, local_file, make_plan
from audiocodec.cli.outcomes import Report
from audiocodec.cli.verbs.import_tokens import import_into
from audiocodec.codec.files import Progress, decode_file, decoded_length
from audiocodec.codec.finished import finished_audio
from audiocodec.codec.interface import BlockCodec
from audiocodec.decoding import Models
from audiocodec.errors import TokenFileError, UsageError
from audiocodec.tokenize import reading
from audiocodec.tokens.token_file import EXTENSION, TokenFile

EXAMPLE = "audiocodec decode tokens -d decoded"
SUBTYPES = {"pcm16": "PCM_16", "pcm24": "PCM_24", "float": "FLOAT"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-m",
        "--model",
        action="append",
        default=[],
        help="a model to look for the one that made the tokens, before those of `audiocodec models`; repeatable",
    )
    inputs = (
        "token file, folder of token files, list (.scp) of them, or - for stdin; also codes as import-tokens takes them"
    )
    batch.add_arguments(parser, inputs)
    runtime.add_arguments(parser)
    parser.add_argument(
        "--sample-rate", type=arguments.positive, metavar="HZ", help="of the audio (default: the original's)"
    )
    parser.add_argument(
        "--salvage", action="store_true", help="put silence in place of damaged segments of compressed token files"
    )
    parser.add_argument(
        "--subtype",
        choices=SUBTYPES,
        help="of the samples (default: pcm16); float, in .wav files, keeps what passes full scale",
    )


def run(args: argparse.Namespace) -> int:
    """Decode all inputs; returns the exit status."""
    with contextlib.ExitStack() as stack:
        inputs, failed = _with_imported(args, stack)
        return max(_decode_all(args, inputs), 1 if failed else 0)


def _decode_all(args: argparse.Namespace, inputs: list[str]) -> int:
    plan = make_plan(inputs, args.output, args.output_dir, (EXTENSION,), ".wav", args.allow_pipes)
    batch.check_outputs(plan, args)
    batch.share_processors(plan, args)
    Models(args.model, **batch.model_options(args))  # a name that is none is refused before any work
    return batch.run_plan(plan, args, _Decoding(args))


def _with_imported(args: argparse.Namespace, stack: contextlib.ExitStack) -> tuple[list[str], int]:
    """The inputs, with token files in place of files of codes, and how many of those could not be made."""
    rows = [name for name in args.inputs if name.endswith(reading.EXTENSIONS) and os.path.isfile(name)]
    if not rows:
        return args.inputs, 0
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="audiocodec-codes-"))
    done, failed = import_into(folder, rows, args.model[0] if args.model else None)
    if not done:
        raise TokenFileError(f"{', '.join(rows)}: no codes that can be decoded")
    if args.output is not None:
        found = sorted(str(path) for path in Path(folder).rglob(f"*{EXTENSION}"))
        if len(found) > 1:
            raise UsageError(f"{', '.join(rows)}: {len(found)} utterances; -d DIR takes them all")
        return [*(name for name in args.inputs if name not in rows), *found], failed
    if args.output_dir is None:
        raise UsageError(f"{', '.join(rows)}: say where the audio goes: -d DIR, or -o OUT for one utterance")
    return [*(name for name in args.inputs if name not in rows), folder], failed


@dataclass
class _Decoding:
    """Decodes a token file; each process has its own, with its own models."""

    args: argparse.Namespace

    @cached_property
    def models(self) -> Models:
        """Its models."""
        return Models(self.args.model, **batch.model_options(self.args))

    def __call__(self, job: Job, progress: Progress) -> Report | None:
        """Decode; None: the output was finished before."""
        args = self.args
        with local_file(job.source, args.allow_pipes) as path:
            tokens, lost = TokenFile.salvage(path) if args.salvage else (TokenFile.read(path), [])
        model = self.models.of(tokens)
        if args.num_codebooks is not None:
            tokens = tokens.truncate(args.num_codebooks)
        rate = args.sample_rate or tokens.original_sample_rate
        length = decoded_length(tokens, rate)
        subtype = SUBTYPES.get(args.subtype)
        if args.resume and finished_audio(
            job.target, job.source, io.AudioInfo(rate, tokens.coded_channels, length), subtype
        ):
            return None
        codec, started = model.coder, time.perf_counter()
        clipped = _decode(codec, tokens, job.target, rate, progress, subtype, [(one.first, one.last) for one in lost])
        wall = time.perf_counter() - started
        described = tokens.describe()
        report = {
            key: described[key] for key in ("seconds", "coded_channels", "num_codebooks", "kbps_payload", "kbps_file")
        }
        if lost:
            report["warning"] = f"silence in place of {', '.join(one.reason for one in lost)}"
        return {**report, "sample_rate": rate, "num_samples": length, "clipped": clipped, "wall_seconds": wall}


def _decode(
    codec: BlockCodec,
    tokens: TokenFile,
    target: str,
    rate: int,
    progress: Progress,
    subtype: str | None,
    silent: Sequence[tuple[int, int]],
) -> int:
    if target != STREAM:
        batch.make_folder_of(target)
        return decode_file(codec, tokens, target, rate, progress, subtype, silent)
    with tempfile.TemporaryDirectory(prefix="audiocodec-") as folder:  # a WAV header needs the length first
        path = os.path.join(folder, "stdout.wav")
        clipped = decode_file(codec, tokens, path, rate, progress, subtype, silent)
        with open(path, "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    return clipped
