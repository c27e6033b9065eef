"""How much of what the encoder says the quantizer keeps: scores with more and more codebooks, and with latents as they are.

Where all codebooks score like unquantized latents, more bits bring nothing: encoder and decoder are the limit. Below the
table: how many dimensions hold 99 % of the variance of the latents, and how many of them the quantizer reproduces to at least half.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import audiocodec
from audiocodec.audio import io
from audiocodec.codec.torch import Codec
from audiocodec.data.manifest import list_scp
from audiocodec.errors import MetricUndefined
from audiocodec.metrics.pesq import pesq
from audiocodec.metrics.stoi import stoi
from benchmarks.cells import publish, report

HEADER = ("latents", "kbps", "PESQ", "STOI")
VARIANCE = 0.99

Wav = npt.NDArray[np.float32]


def main() -> None:
    """Code, score, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latents", description=__doc__)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("scp", type=Path, metavar="WAV_SCP", help="list of recordings")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth recording")
    parser.add_argument(
        "--unquantized", action="store_true", help="nothing else: of a run whose quantization is not on"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the table to FILE as well")
    args = parser.parse_args()
    codec = audiocodec.load(args.model, runtime="torch", threads=1)
    found: dict[tuple[str, str], list[list[float]]] = {}
    latents: list[Tensor] = []
    errors: list[Tensor] = []
    clips = [paths[0] for _, paths in sorted(list_scp(args.scp).items())][:: args.every]
    for path in clips:
        channels, rate = io.read(path)
        wav = io.resample(channels.mean(0), rate, codec.sample_rate)
        with torch.inference_mode():
            said = codec.latents(wav, normalize=True)
            for name, kept in _forms(codec, said, args.unquantized):
                found.setdefault(name, []).append(_scores(codec, wav, kept))
            latents.append(said[0].T)
            errors.append((kept - said)[0].T)  # the last form has all codebooks
    rows = [[*name, *(f"{value:.3f}" for value in np.nanmean(scores, 0))] for name, scores in found.items()]
    undefined = sum(int(np.isnan(scores).sum()) for scores in found.values())
    notes = [f"{len(clips)} recordings; {undefined} scores are undefined and in no mean."]
    notes += [_dimensions(torch.cat(latents).double(), torch.cat(errors).double())]
    publish(report("Latents", notes, HEADER, rows), args.output)


def _forms(codec: Codec, said: Tensor, unquantized: bool) -> Iterator[tuple[tuple[str, str], Tensor]]:
    """Latents `[1, D, T]` as the decoder gets them, with a name and kbps; the last with all codebooks."""
    yield ("unquantized", "-"), said
    sizes = [] if unquantized else codec.codebook_sizes
    for count in sorted({1, len(sizes) // 2, len(sizes)} - {0}) if sizes else ():
        bits = sum(np.log2(size) for size in sizes[:count])
        kbps = bits * codec.sample_rate / codec.hop_length / 1000
        yield (f"{count} of {len(sizes)} codebooks", f"{kbps:.2f}"), codec.quantize(said, count).quantized


def _scores(codec: Codec, wav: Wav, kept: Tensor) -> list[float]:
    decoded = codec.decoder(kept)[0, 0].numpy()[: len(wav)]
    decoded = decoded * np.sqrt(np.mean(np.square(wav)) / np.mean(np.square(decoded)))
    values = [metric(reference=wav, estimate=decoded, sample_rate=codec.sample_rate) for metric in (pesq, stoi)]
    return [np.nan if isinstance(value, MetricUndefined) else float(value) for value in values]


def _dimensions(latents: Tensor, errors: Tensor) -> str:
    """Along the principal directions of `latents [N, D]`: variance, and the share of it that `errors [N, D]` leave."""
    variances, directions = torch.linalg.eigh(latents.T.cov())
    variances, directions = variances.flip(0), directions.flip(1)
    needed = int((variances.cumsum(0) / variances.sum() < VARIANCE).sum()) + 1
    left = (errors @ directions).square().mean(0) / variances
    text = f"{needed} of {len(variances)} dimensions hold {100 * VARIANCE:.0f} % of the variance of the latents"
    return f"{text}; {int((left < 0.5).sum())} are reproduced to at least half." if bool(errors.any()) else f"{text}."


if __name__ == "__main__":
    main()
