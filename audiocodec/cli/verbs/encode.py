"""`audiocodec encode`: audio to token files."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from audiocodec.audio import io
from audiocodec.cli import arguments, batch, batched, runtime
from audiocodec.cli.jobs import STREAM, Job, local_file, make_plan
from audiocodec.cli.outcomes import Outcome, Report
from audiocodec.codec.files import FAST, Progress, encode_file
from audiocodec.codec.finished import is_stale, valid_tokens
from audiocodec.data.corpus import AUDIO_EXTENSIONS
from audiocodec.errors import AudioError, UsageError
from audiocodec.loading import choose_runtime
from audiocodec.tokens import priors
from audiocodec.tokens.token_file import EXTENSION, TokenFile

if TYPE_CHECKING:
    from audiocodec.codec.interface import BlockCodec
    from audiocodec.loading import Model

LOSSY_PEAK = 2.0  # decoders of loud music give a little more than full scale
VERIFY_CHUNK_SECONDS = 3.7  # not a divisor of the usual chunk: no edge but the first falls on an edge


EXAMPLE = "audiocodec encode recordings -d tokens -m speech_24k_residual --num-codebooks 4 --jobs 2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    arguments.add_model(parser, "the model that encodes")
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
        help="encode only this channel, 1 the first (default: all channels are mixed; a stereo model codes both of a stereo file)",
    )
    parser.add_argument(
        "--fast",
        action="store_true",
        help="do not decide near-ties in float64: faster, but chunks, threads or the runtime can then change a few frames in "
        "ten thousand; the token file records it",
    )
    parser.add_argument(
        "--compress",
        action="store_true",
        help="store the codes near their entropy, by a prior of the model (slower; see audiocodec recode)",
    )
    parser.add_argument(
        "--batch-size",
        type=arguments.positive,
        default=1,
        metavar="N",
        help="on a GPU: up to N clips of like length at once; the tokens stay the same (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Encode all inputs; returns the exit status."""
    if args.fast and args.verify:
        raise UsageError("--verify checks what --fast leaves out; give one of them")
    if args.batch_size > 1:
        _check_batches(args)
    plan = make_plan(args.inputs, args.output, args.output_dir, AUDIO_EXTENSIONS, EXTENSION, args.allow_pipes)
    batch.check_outputs(plan, args)
    batch.share_processors(plan, args)
    model = batch.model_of(args)  # a name that is none is refused before any work
    _check_one_channel(args, model)
    if args.compress:
        priors.of_codec(model.fingerprint)
    encoding = _Encoding(args)
    if args.batch_size == 1:
        return batch.run_plan(plan, args, encoding)
    if any(STREAM in (job.source, job.target) for job in plan.jobs):
        raise UsageError("--batch-size is for files; leave it out with - for stdin or stdout")
    early = {n: found for n, job in enumerate(plan.jobs) if (found := encoding.before(job)) is not None}
    coded = batched.outcomes(plan.jobs, early, lambda: encoding.model.codec, args, encoding.finish)
    return batch.run_plan(plan, args, encoding, coded)


def _check_one_channel(args: argparse.Namespace, model: Model) -> None:
    """Raise UsageError for what a model of several channels cannot do."""
    if model.channels == 1:
        return
    said = f"{model.header.path} codes {model.channels}; leave it out"
    if args.batch_size > 1:
        raise UsageError(f"--batch-size mixes channels, {said}")
    if args.compress:
        raise UsageError(f"--compress is for the codes of one channel, {said}")


def _check_batches(args: argparse.Namespace) -> None:
    """Raise UsageError for what a batch cannot do."""
    others = (("--verify", args.verify), ("--fast", args.fast), ("--jobs", args.jobs > 1), ("--channel", args.channel))
    for option, given in others:
        if given:
            raise UsageError(f"--batch-size codes many clips at once, in one process; leave {option} out")
    if choose_runtime(args.runtime, args.model) != "torch":
        raise UsageError("--batch-size needs torch, which is not installed or not chosen; leave it out")


@dataclass
class _Encoding:
    """Encodes a file; each process has its own, with its own model."""

    args: argparse.Namespace

    @cached_property
    def model(self) -> Model:
        """Its model."""
        return batch.model_of(self.args)

    def __call__(self, job: Job, progress: Progress) -> Report | None:
        """Encode; None: the output was finished before."""
        args = self.args
        if args.resume and _is_finished(job, self.model, args):
            return None
        with local_file(job.source, args.allow_pipes) as path, io.AudioFile(path, args.channel) as file:
            io.info(file)  # bad files are refused before the weights are loaded
            codec, started = self.model.coder, time.perf_counter()
            tokens = encode_file(codec, file, args.num_codebooks, progress=progress, exact=not args.fast)
            if args.verify:
                _verify(codec, file, tokens, job.source)
        report = self.finish(job, tokens)
        if args.verify:
            report["verified"] = True
        if warning := _beyond_full_scale(file):
            report["warning"] = warning
        return {**report, "wall_seconds": time.perf_counter() - started}

    def before(self, job: Job) -> Outcome | None:
        """What is known of a job before any work; None: it is to be done."""
        try:
            return Outcome() if self.args.resume and _is_finished(job, self.model, self.args) else None
        except AudioError as error:
            return Outcome(error=error)

    def finish(self, job: Job, tokens: TokenFile) -> Report:
        """Write the tokens."""
        if job.target != STREAM:
            batch.make_folder_of(job.target)
        written = tokens.write(job.target, priors.of_codec(tokens.fingerprint) if self.args.compress else None)
        described = tokens.describe()
        report = {
            key: described[key] for key in ("seconds", "frames", "coded_channels", "num_codebooks", "kbps_payload")
        }
        report["kbps_file"] = 8 * written / described["seconds"] / 1000
        if tokens.original_channels > tokens.coded_channels == 1 and self.args.channel is None:
            report["mixed"] = True
        return report


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
        again = encode_file(codec, file, tokens.num_codebooks, chunk_seconds=VERIFY_CHUNK_SECONDS)
    different = int((again.codes != tokens.codes).any(0).sum())
    if different:
        raise AudioError(f"{source}: {different} of {tokens.codes.shape[1]} frames got other codes when encoded again")


def _is_finished(job: Job, model: Model, args: argparse.Namespace) -> bool:
    """Whether an output is there, valid and not older than its input; one of another model is an error."""
    tokens = valid_tokens(job.target)
    if tokens is None:
        return False
    wanted = args.num_codebooks or model.config.quantizer.num_codebooks
    if tokens.fingerprint != model.fingerprint or tokens.num_codebooks != wanted:
        raise AudioError(f"{job.target}: was made by another model or with other codebooks; --force overwrites it")
    if tokens.notes.get("channel") != args.channel:
        raise AudioError(f"{job.target}: was made with another --channel; --force overwrites it")
    decided = args.fast or tokens.notes.get("near_ties") != FAST["near_ties"]
    return decided and not is_stale(job.target, job.source)
