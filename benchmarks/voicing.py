"""What a voiced decoder makes of voicing: with and without the scatter of its free spectrum, and with the true pitch.

Every utterance is encoded once and decoded four times: as it is; with unvoiced frames rotated, but not shifted in time; with
unvoiced frames as the network says them; and with a source that the recording's own pitch drives. Scores are means over the
utterances. Frames that are voiced in the decoded audio alone are counted, and among them those within 2 Hz of the frame rate,
which a spectrum that repeats with each frame sounds like.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import audiocodec
from audiocodec.audio import f0, io
from audiocodec.codec.torch import Codec
from audiocodec.data.manifest import list_scp
from audiocodec.dsp import noise
from audiocodec.errors import MetricUndefined
from audiocodec.metrics.dnsmos import dnsmos
from audiocodec.metrics.pesq import pesq
from audiocodec.metrics.pitch import pitch
from audiocodec.nn.pitch import Pitch, of_hertz
from audiocodec.nn.voiced_decoder import VoicedDecoder
from benchmarks.cells import publish, report

HEADER = ("decoded", "PESQ", "DNSMOS", "V/UV F1", "F0 median, cents", "voiced wrongly, frames", "at the frame rate")
NEAR_HZ = 2.0

Wav = npt.NDArray[np.float32]


def main() -> None:
    """Decode, score, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.voicing", description=__doc__)
    parser.add_argument("model", metavar="MODEL", help="with a voiced decoder")
    parser.add_argument("scp", type=Path, metavar="WAV_SCP", help="list of recordings")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth recording")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the table to FILE as well")
    args = parser.parse_args()
    codec = audiocodec.load(args.model, runtime="torch", threads=1)
    if not isinstance(codec.decoder, VoicedDecoder):
        raise SystemExit(f"{args.model}: has no voiced decoder")
    found: dict[str, list[list[float]]] = {}
    clips = [paths[0] for _, paths in sorted(list_scp(args.scp).items())][:: args.every]
    for path in clips:
        channels, rate = io.read(path)
        wav = io.resample(channels.mean(0), rate, codec.sample_rate)
        for name, decoded in _forms(codec, codec.decoder, wav):
            found.setdefault(name, []).append(_scores(codec, wav, decoded[: len(wav)]))
    rows = [[name, *_cells(np.array(scores))] for name, scores in found.items()]
    undefined = sum(int(np.isnan(scores).sum()) for scores in found.values())
    notes = [f"{len(clips)} recordings; {undefined} scores are undefined and in no mean."]
    publish(report("Voicing", notes, HEADER, rows), args.output)


def _forms(codec: Codec, decoder: VoicedDecoder, wav: Wav) -> Iterator[tuple[str, Wav]]:
    """A recording decoded in each way, at its own level."""
    codes = codec.encode(wav, normalize=True)
    level = np.sqrt(np.mean(np.square(wav)))
    head = decoder.head
    scatter = head.scatter.clone()
    rotated = torch.from_numpy(noise.scatter(head.bins, head.n_fft // head.hop_length, 0))
    none = torch.zeros_like(scatter)
    tables = {"as it is": scatter, "rotated only": rotated, "not scattered": none, "true pitch": scatter}
    for name, table in tables.items():
        head.scatter.copy_(table)
        given = _pitch(codec, wav, codes.shape[-1]) if name == "true pitch" else None
        with torch.inference_mode():
            decoded = decoder.voice(codec.embed(codes), given)[0][0, 0].numpy()
        yield name, decoded * (level / np.sqrt(np.mean(np.square(decoded))))
    head.scatter.copy_(scatter)


def _pitch(codec: Codec, wav: Wav, frames: int) -> Pitch:
    """That of a recording, at the middle of each frame."""
    hertz, voiced = f0.track(wav, codec.sample_rate)
    middle = (np.arange(frames) + 0.5) * codec.hop_length / codec.sample_rate / f0.STEP_SECONDS
    place = np.rint(middle).astype(int).clip(0, len(hertz) - 1)
    return of_hertz(torch.from_numpy(np.where(voiced, hertz, 0)[place]).float()[None])


def _scores(codec: Codec, wav: Wav, decoded: Wav) -> list[float]:
    pair: dict[str, Any] = {"reference": wav, "estimate": decoded, "sample_rate": codec.sample_rate}
    voicing = pitch(**pair)
    values = [pesq(**pair), dnsmos(**pair)["dnsmos_ovrl"], voicing["vuv_f1"], voicing["f0_median_cents"]]
    (_, wanted), (hertz, voiced) = (f0.track(one, codec.sample_rate) for one in (wav, decoded))
    wrong = voiced & ~wanted
    humming = wrong & (np.abs(hertz - codec.sample_rate / codec.hop_length) < NEAR_HZ)
    return [*(np.nan if isinstance(v, MetricUndefined) else float(v) for v in values), wrong.sum(), humming.sum()]


def _cells(scores: npt.NDArray[np.float64]) -> list[str]:
    forms = (".3f", ".3f", ".3f", ".1f")
    means = [format(value, form) for value, form in zip(np.nanmean(scores[:, :4], 0), forms)]
    return [*means, *(f"{count:.0f}" for count in scores[:, 4:].sum(0))]


if __name__ == "__main__":
    main()
