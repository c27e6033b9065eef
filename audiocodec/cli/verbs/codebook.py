"""`audiocodec codebook`: how the codebooks of a model lie, and how they are used; as text and as one picture."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocodec.cli import arguments
from audiocodec.cli.align import align
from audiocodec.cli.console import show
from audiocodec.errors import UsageError
from audiocodec.installing import advice

if TYPE_CHECKING:
    import numpy as np

    from audiocodec.analysis.codebook_shape import CodebookShape
    from audiocodec.codec.torch import Codec

PERCENTILES = (0, 10, 50, 90, 100)


EXAMPLE = "audiocodec codebook speech_24k --tokens tokens"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", metavar="MODEL", help=arguments.models_text())
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--tokens", metavar="DIR", help="count the codes of the token files below this folder")
    source.add_argument("--audio", metavar="PATH", help="count those of this folder of audio, data folder or wav.scp")
    parser.add_argument("-o", "--output", metavar="PNG", help="write a picture, too (needs audiocodec[train])")
    parser.add_argument("--force", action="store_true", help="overwrite PNG")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--allow-pipes", action="store_true", help="run commands found in wav.scp")


def run(args: argparse.Namespace) -> int:
    """Measure every codebook; one input that cannot be used ends it, since a share of the codes would be missing."""
    _check_usage(args)
    from audiocodec import model_file, model_places
    from audiocodec.analysis.codebook_shape import codebook_shape
    from audiocodec.quantization.base import Stage

    codec = model_file.load(args.model)
    counts = _counts(args, codec)
    stages = [stage for stage in codec.quantizer.stages if isinstance(stage, Stage)]
    shapes = [codebook_shape(stage, counts[k] if k < len(counts) else None) for k, stage in enumerate(stages)]
    if args.output is not None:
        from audiocodec.analysis.codebook_picture import draw

        draw(shapes, Path(args.output))
    model = str(model_places.resolve(args.model))
    if args.json:
        print(json.dumps({"model": model, "codebooks": [_described(shape) for shape in shapes]}))
    else:
        show("\n".join([model, *(_text(k, shape) for k, shape in enumerate(shapes))]))
    return 0


def _check_usage(args: argparse.Namespace) -> None:
    """Everything that can be refused before any work."""
    for path in (args.tokens, args.audio):
        if path is not None and not os.path.exists(path):
            raise UsageError(f"{path}: No such file or directory")
    if args.output is None:
        return
    if not args.output.lower().endswith(".png"):
        raise UsageError(f"{args.output}: the picture is a PNG; give it a name that ends in .png")
    arguments.refuse_existing([args.output], args.force)
    if not os.path.isdir(os.path.dirname(args.output) or os.curdir):
        raise UsageError(f"{args.output}: its folder does not exist")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError(f"-o needs matplotlib; {advice('train')}, or leave -o out for text")


def _counts(args: argparse.Namespace, codec: Codec) -> list[np.ndarray]:
    """How often each code occurs `[V]`, for as many codebooks as the tokens have; empty when none were asked for."""
    from audiocodec.analysis.token_source import codes_of_audio, codes_of_tokens
    from audiocodec.metrics.codebook import CodeCounter

    found: Iterable[np.ndarray] = ()
    if args.tokens is not None:
        found = codes_of_tokens(args.tokens, codec)
    elif args.audio is not None:
        found = codes_of_audio(args.audio, codec, args.allow_pipes)
    counter = CodeCounter()
    for codes in found:
        counter.add(codes, codec.codebook_sizes[: len(codes)])
    return list(counter.counts)


def _described(shape: CodebookShape) -> dict[str, Any]:
    """A codebook ready for JSON; of the distances, percentiles."""
    return {
        "codebook_size": shape.codebook_size,
        "codebook_dim": shape.codebook_dim,
        "use": None if shape.use is None else asdict(shape.use),
        "codes_by_uses": _histogram(shape),
        "neighbour_sample": shape.neighbour_sample,
        "nearest_distance_percentiles": _percentiles(shape),
        "spread": [float(s) for s in shape.spread],
        "effective_dimension": shape.effective_dimension,
        "used_effective_dimension": shape.used_effective_dimension,
        "map_singular_values": [float(s) for s in shape.map_singular_values],
    }


def _histogram(shape: CodebookShape) -> dict[str, int]:
    """Codes by how often they occur: 0, 1, 2-3, 4-7, ..."""
    from audiocodec.metrics.codebook import octave_names

    return dict(zip(octave_names(len(shape.octaves)), shape.octaves)) if shape.octaves else {}


def _percentiles(shape: CodebookShape) -> dict[str, float]:
    import numpy as np

    return {str(p): float(v) for p, v in zip(PERCENTILES, np.percentile(shape.nearest, PERCENTILES))}


def _text(index: int, shape: CodebookShape) -> str:
    size, use = shape.codebook_size, shape.use
    rows = [["codes", f"{size:,} of {shape.codebook_dim} dimensions"]]
    if use is None:
        rows.append(["use", "not measured; --tokens DIR or --audio PATH does"])
    else:
        used = f"{100 * use.usage:.1f} % used, {use.dead_codes:,} dead, perplexity {use.perplexity:.0f}"
        rows.append(["use", f"{used}, {use.entropy:.2f} bits, in {use.frames:,} frames"])
        rows.append(["codes by uses", ", ".join(f"{name}: {n:,}" for name, n in _histogram(shape).items())])
    of = "all codes" if shape.neighbour_sample == size else f"a sample of {shape.neighbour_sample:,} codes"
    found = ", ".join(f"{p} %: {value:.4g}" for p, value in _percentiles(shape).items())
    rows.append([f"nearest code, {of}", f"distance {found}"])
    rows.append(["spread of the codes", _extremes(shape.spread)])
    rows.append(["effective dimension", _dimensions(shape)])
    if len(shape.map_singular_values):
        rows.append(["singular values of W", _extremes(shape.map_singular_values)])
    return f"codebook {index}\n" + "\n".join(f"  {line}" for line in align(rows).splitlines())


def _extremes(values: np.ndarray) -> str:
    middle = values[len(values) // 2]
    return f"largest {values[0]:.4g}, middle {middle:.4g}, smallest {values[-1]:.4g} of {len(values)}"


def _dimensions(shape: CodebookShape) -> str:
    used = shape.used_effective_dimension
    return f"{shape.effective_dimension:.2f} of the codes" + ("" if used is None else f", {used:.2f} as they are used")
