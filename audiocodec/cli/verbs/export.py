"""`audiocodec export`: a model to give away, from a training run or another model file; as ONNX for programs without torch."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from audiocodec import model_file
from audiocodec.cli import arguments
from audiocodec.cli.console import say
from audiocodec.cli.jobs import make_plan
from audiocodec.codec.files import read_at_level
from audiocodec.config.schema import Config
from audiocodec.data.corpus import AUDIO_EXTENSIONS
from audiocodec.errors import AudioError, UsageError

if TYPE_CHECKING:
    from audiocodec.codec.latent_error import LatentError
    from audiocodec.onnx.folder import TokenAgreement
    from audiocodec.onnx.model import OnnxModel

MEASURED_FILES = 300


EXAMPLE = "audiocodec export exp/first -o my_codec.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", metavar="MODEL", help="experiment folder (its newest checkpoint), checkpoint or model")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("-o", "--output", metavar="FILE", help="the model file, .safetensors")
    where.add_argument("--onnx", metavar="DIR", help="a folder of ONNX files, for onnxruntime in any language")
    parser.add_argument(
        "--half", action="store_true", help="with -o: 16-bit weights, half the size, another fingerprint"
    )
    parser.add_argument(
        "--int8",
        metavar="AUDIO",
        help="with --onnx: linear layers in 8 bits; how many tokens stay is measured on AUDIO (file, folder, wav.scp)",
    )
    parser.add_argument(
        "--measure-error",
        metavar="AUDIO",
        help="measure the float32 error of the latents on AUDIO (file, folder, wav.scp) and store it in the model, so that "
        "fewer frames are decided in float64 (docs/guide/determinism.md); needs torch",
    )
    parser.add_argument("--force", action="store_true", help="overwrite FILE or DIR")


def run(args: argparse.Namespace) -> int:
    """Write the averaged weights for inference; where the training data lay is not written down."""
    for option, belongs, other in (("half", args.output, "-o FILE"), ("int8", args.onnx, "--onnx DIR")):
        if getattr(args, option) and not belongs:
            raise UsageError(f"--{option} goes with {other}")
    target = args.output or args.onnx
    arguments.refuse_existing([target], args.force)
    header = model_file.describe(args.model)
    (_write_model if args.output else _write_onnx)(args, model_file.public(header.config), dict(header.notes))
    return 0


def _write_model(args: argparse.Namespace, config: Config, notes: dict[str, Any]) -> None:
    codec = model_file.load(args.model)
    model_file.save(codec, config, args.output, half=args.half, notes=notes)
    if args.measure_error:
        model_file.state_latent_error(args.output, _measured(args.output, args.measure_error))
    made = model_file.describe(args.output)
    say(f"audiocodec: {args.output}: {made.bytes:,} bytes, fingerprint {made.fingerprint}")


def _write_onnx(args: argparse.Namespace, config: Config, notes: dict[str, Any]) -> None:
    from audiocodec.onnx import folder
    from audiocodec.onnx.load import read

    made = read(args.model, "int8" if args.int8 else "float32")
    if args.int8 and not made.encoder.int8_layers + made.decoder.int8_layers:
        raise UsageError(f"{args.model} has no linear layers, which is what --int8 computes in 8 bits; leave it out")
    agreement = _agreement_on(args.int8, args.model, made) if args.int8 else None
    if args.measure_error:
        made.latent_error = _measured(args.model, args.measure_error)
    folder.write(made, config, args.onnx, notes, agreement)
    size = sum(entry.stat().st_size for entry in os.scandir(args.onnx))
    said = f", {100 * agreement.equal:.2f} % of {agreement.codes:,} tokens as in float32" if agreement else ""
    say(f"audiocodec: {args.onnx}: {size:,} bytes, fingerprint {made.fingerprint.hex()}{said}")


def _agreement_on(audio: str, model: str, int8: OnnxModel) -> TokenAgreement:
    """How many tokens of `audio` are those of float32."""
    from audiocodec.onnx.agreement import measure_agreement

    return measure_agreement(model, int8, _sources(audio, model))


def _measured(path: str, audio: str) -> LatentError:
    """The error of float32 latents on at most `MEASURED_FILES` of the files that `audio` names, evenly chosen."""
    from audiocodec.codec.measure import measure
    from audiocodec.onnx.load import load

    codec = model_file.load(path)
    if codec.has_lstm:
        raise UsageError(
            f"{path} has an LSTM: nothing is decided in float64, and no error is of use; leave --measure-error out"
        )
    sources = _sources(audio, path)
    chosen = sources[:: -(-len(sources) // MEASURED_FILES)]
    signals = (read_at_level(source, codec) for source in chosen)
    return measure([codec, load(path, threads=1)], codec.near_ties.exact(), signals)


def _sources(audio: str, path: str) -> list[str]:
    """The audio files that `audio` names.

    Raises:
        AudioError: none, or one that cannot be.
    """
    plan = make_plan([audio], None, path, AUDIO_EXTENSIONS, "")
    if plan.failed or not plan.jobs:
        raise AudioError("; ".join(reason for _, reason in plan.failed) or f"{audio}: names no audio")
    return [job.source for job in plan.jobs]
