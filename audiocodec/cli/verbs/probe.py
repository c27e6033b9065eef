"""`audiocodec probe`: how stable a model's tokens are, and how predictable."""

from __future__ import annotations

import argparse
import json
import math
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from audiocodec.cli import arguments
from audiocodec.cli.align import align
from audiocodec.errors import UsageError

if TYPE_CHECKING:
    from audiocodec.analysis.predictability import Predictability
    from audiocodec.analysis.stability import Stability

STEPS = 300


EXAMPLE = "audiocodec probe speech_24k --audio recordings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", metavar="MODEL", help=arguments.models_text())
    audio = "folder of audio, data folder or wav.scp: tokens that change with a shift, a gain, noise"
    parser.add_argument("--audio", metavar="PATH", help=audio)
    parser.add_argument(
        "--train-tokens", metavar="DIR", help="token files that an n-gram and a small language model learn from"
    )
    parser.add_argument("--test-tokens", metavar="DIR", help="other token files, whose bits per token are counted")
    parser.add_argument(
        "--steps",
        type=arguments.count,
        default=STEPS,
        metavar="N",
        help="of the transformer; 0: none (default: %(default)s)",
    )
    parser.add_argument("--threads", type=arguments.positive, metavar="N", help="CPU threads (default: torch's choice)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--allow-pipes", action="store_true", help="run commands found in wav.scp")


def run(args: argparse.Namespace) -> int:
    """Probe; one input that cannot be used ends it."""
    _check_usage(args)
    import torch

    from audiocodec import model_file, model_places

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    found: dict[str, Any] = {"model": str(model_places.resolve(args.model))}
    texts = [found["model"]]
    codec = model_file.load(args.model)
    if args.audio is not None:
        from audiocodec.analysis.stability import stability
        from audiocodec.analysis.token_source import local_audio

        rows, left_out = stability(codec, local_audio(args.audio, args.allow_pipes))
        found |= {"stability": [asdict(row) for row in rows], "files_left_out": left_out}
        texts.append(_stability_text(rows, left_out))
    if args.train_tokens is not None:
        from audiocodec.analysis.predictability import predictability
        from audiocodec.analysis.token_source import codes_of_tokens

        tables = [table.numpy(force=True) for table in codec.quantizer.tables()]
        folders = (args.train_tokens, args.test_tokens)
        train, test = (list(codes_of_tokens(f, codec)) for f in folders)
        bits = predictability(train, test, tables, args.steps)
        found["predictability"] = asdict(bits)
        texts.append(_bits_text(bits))
    print(json.dumps(found) if args.json else "\n\n".join(texts))
    return 0


def _check_usage(args: argparse.Namespace) -> None:
    """Everything that can be refused before any work."""
    if (args.train_tokens is None) != (args.test_tokens is None):
        raise UsageError("--train-tokens and --test-tokens go together")
    if args.audio is None and args.train_tokens is None:
        raise UsageError("say --audio PATH for stability, --train-tokens DIR --test-tokens DIR for bits per token")
    for path in (args.audio, args.train_tokens, args.test_tokens):
        if path is not None and not os.path.exists(path):
            raise UsageError(f"{path}: No such file or directory")
    if args.train_tokens is not None and os.path.samefile(args.train_tokens, args.test_tokens):
        raise UsageError("--train-tokens and --test-tokens are one folder: known tokens are easy to guess")


def _stability_text(rows: list[Stability], left_out: int) -> str:
    books = range(len(rows[0].changed))
    lines = [["tokens changed by", *(f"codebook {k}" for k in books), "frames"]]
    lines += [[row.name, *(f"{100 * share:.2f} %" for share in row.changed), f"{row.frames:,}"] for row in rows]
    note = f"\n{left_out} files left out: silent or shorter than a frame" if left_out else ""
    return align(lines, right=range(1, len(books) + 2)) + note


def _bits_text(bits: Predictability) -> str:
    orders = range(1, len(bits.ngram[0]) + 1)
    lines = [["bits per token", *(f"{n}-gram" for n in orders), "transformer"]]
    for k, values in enumerate(bits.ngram):
        last = "-" if bits.transformer is None else f"{bits.transformer[k]:.3f}"
        lines.append([f"codebook {k}", *(f"{value:.3f}" for value in values), last])
    facts = f"{bits.codebook_size:,} codes: {math.log2(bits.codebook_size):.3f} bits if nothing is known; "
    facts += f"learned from {bits.train_frames:,} frames, measured on {bits.test_frames:,}"
    return f"{align(lines, right=range(1, len(lines[0])))}\n{facts}"
