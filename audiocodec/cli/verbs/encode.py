"""`audiocodec encode`: audio to token files."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from audiocodec.audio import io
from audiocodec.cli import arguments, batch, runtime
from audiocodec.cli.console import say
from audiocodec.cli.jobs import STREAM, Job, local_file, make_plan
from audiocodec.codec.files import FAST, Progress, encode_file
from audiocodec.codec.finished import is_stale, valid_tokens
from audiocodec.data.corpus import AUDIO_EXTENSIONS
from audiocodec.errors import AudioError, UsageError
from audiocodec.tokens.token_file import EXTENSION, TokenFile

if TYPE_CHECKING:
    from audiocodec.codec.interface import BlockCodec
    from audiocodec.loading import Model

LOSSY_PEAK = 2.0  # decoders of loud music give a little more than full scale
VERIFY_CHUNK_SECONDS = 3.7  # not a divisor of the usual chunk: no edge but the first falls on an edge


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    batch.add_arguments(parser, "audio file, folder of audio (searched recursively), wav.scp, or - for stdin")
    runtime.add_arguments(parser)
    parser.add_argument(
        "--verify",
        action="store_true",
        help="encode again in other chunks on another number of threads; tokens that differ are an error",
    )
    parser.add_argument(
        "--channel",
        type=arguments.positive,
        metavar="N",
        help="encode only this channel, 1 the first (default: all channels are mixed)",
    )
    parser.add_argument(
        "--fast",
        action="store_true",
        help="do not decide near-ties in float64: faster, but chunks, threads or the runtime can then change a few frames in "
        "ten thousand; the token file records it",
    )


def run(args: argparse.Namespace) -> int:
    """Encode all inputs; returns the exit status."""
    if args.fast and args.verify:
        raise UsageError("--verify checks what --fast leaves out; give one of them")
    plan = make_plan(args.inputs, args.output, args.output_dir, AUDIO_EXTENSIONS, EXTENSION, args.allow_pipes)
    batch.check_outputs(plan, args)
    model = batch.model_of(args)
    mixed: list[str] = []

    def work(job: Job, progress: Progress) -> batch.Report | None:
        if args.resume and _is_finished(job, model, args):
            return None
        with local_file(job.source, args.allow_pipes) as path, io.AudioFile(path, args.channel) as file:
            channels = io.info(file).channels  # bad files are refused before the weights are loaded
            codec, started = model.coder, time.perf_counter()
            tokens = encode_file(codec, file, args.num_codebooks, progress=progress, exact=not args.fast)
            if args.verify:
                _verify(codec, file, tokens, job.source)
        if channels > 1 and args.channel is None:
            mixed.append(job.source)
        if job.target != STREAM:
            batch.make_folder_of(job.target)
        tokens.write(job.target)
        described = tokens.describe()
        report = {key: described[key] for key in ("seconds", "frames", "num_codebooks", "kbps_payload", "kbps_file")}
        if args.verify:
            report["verified"] = True
            if not args.quiet:
                say(f"audiocodec: {job.source}: verified, {report['frames']} frames twice the same")
        if warning := _beyond_full_scale(file):
            report["warning"] = warning
        return {**report, "wall_seconds": time.perf_counter() - started}

    status = batch.run_plan(plan, args, work)
    if mixed and not args.quiet:
        which = mixed[0] if len(mixed) == 1 else f"{len(mixed)} files"
        say(f"audiocodec: {which}: several channels were mixed to one; --channel N encodes one of them")
    return status


def _beyond_full_scale(file: io.AudioFile) -> str:
    """What to say of samples outside [-1, 1]; empty where there are none, or just what decoders of lossy formats add."""
    if file.peak <= (LOSSY_PEAK if file.lossy else 1.0):
        return ""
    return f"samples up to {file.peak:.4g} times full scale; decode --subtype float writes them without clipping"


def _verify(codec: BlockCodec, file: io.AudioFile, tokens: TokenFile, source: str) -> None:
    """Encode once more, another way.

    Raises:
        AudioError: other tokens came out.
    """
    with codec.other_threads():
        again = encode_file(codec, file, len(tokens.codes), chunk_seconds=VERIFY_CHUNK_SECONDS)
    different = int((again.codes != tokens.codes).any(0).sum())
    if different:
        raise AudioError(f"{source}: {different} of {tokens.codes.shape[1]} frames got other codes when encoded again")


def _is_finished(job: Job, model: Model, args: argparse.Namespace) -> bool:
    """Whether an output is there, valid and not older than its input; one of another model is an error."""
    tokens = valid_tokens(job.target)
    if tokens is None:
        return False
    wanted = args.num_codebooks or model.config.quantizer.num_codebooks
    if tokens.fingerprint != model.fingerprint or len(tokens.codes) != wanted:
        raise AudioError(f"{job.target}: was made by another model or with other codebooks; --force overwrites it")
    if tokens.notes.get("channel") != args.channel:
        raise AudioError(f"{job.target}: was made with another --channel; --force overwrites it")
    decided = args.fast or tokens.notes.get("near_ties") != FAST["near_ties"]
    return decided and not is_stale(job.target, job.source)
