"""Left and right against mid and side: the same mono model codes two signals either way, at the same bitrate.

For each stereo file: levels of left, right, mid and side; bits that a prior of the model spends on each; and how far the decoded
sound is from the original in time (21 ms) and frequency (20 bands): difference of level between the channels, coherence of the
channels, level of each channel, level of their mean. Mid and side have one gain, as left and right have.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import audiocodec
from audiocodec.audio import io
from audiocodec.codec.interface import BlockCodec
from audiocodec.tokens import priors
from audiocodec.tokens.token_file import TokenFile
from benchmarks.cells import publish, report

WINDOW, HOP, BANDS = 512, 256, 20
AUDIBLE, FLOOR = 1e-5, 1e-6  # of the loudest place: what is compared, and what is added to every power
HEADER = (
    "file",
    "levels L R M S, dB",
    "kbps L R M S",
    "coded as",
    "level difference, dB",
    "coherence",
    "channel, dB",
    "mean, dB",
)
NOTES = ["Mean absolute errors over places within 50 dB of the loudest. kbps: compressed by the model's prior."]


def main() -> None:
    """Code every file both ways, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.channels", description=__doc__)
    parser.add_argument("files", nargs="+", metavar="AUDIO", help="stereo files")
    parser.add_argument("-m", "--model", help="a model of one channel (default: that of the package)")
    parser.add_argument("--start", type=float, default=0.0, metavar="S", help="where to begin (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="of each (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the table to FILE as well")
    args = parser.parse_args()
    codec = audiocodec.load(args.model)
    rows = [row for path in args.files for row in _rows(codec, path, args.start, args.seconds)]
    publish(report("Left and right, mid and side", NOTES, HEADER, rows), args.output)


def _rows(codec: BlockCodec, path: str, start: float, seconds: float) -> list[list[str]]:
    wav, rate = io.read(path)
    first = round(start * rate)
    wav = io.resample(wav[:, first : first + round(seconds * rate)], rate, codec.sample_rate)
    if len(wav) != 2:
        raise SystemExit(f"{path}: has {len(wav)} channels, need 2")
    sides = np.stack([wav.mean(0), (wav[0] - wav[1]) / 2])
    (left_right, one), (mid_side, two) = (_coded(codec, pair) for pair in (wav, sides))
    again = np.stack([mid_side.sum(0), mid_side[0] - mid_side[1]])
    levels = " ".join(f"{20 * np.log10(np.sqrt(np.mean(x**2)) + 1e-9):.1f}" for x in (*wav, *sides))
    read = wav.shape[1] / codec.sample_rate  # a file may end before
    kbps = " ".join("-" if bits is None else f"{bits / 1000 / read:.2f}" for bits in (*one, *two))
    found = (("left, right", _errors(wav, left_right)), ("mid, side", _errors(wav, again)))
    return [[Path(path).name, levels, kbps, how, *(f"{error:.2f}" for error in errors)] for how, errors in found]


def _coded(codec: BlockCodec, pair: np.ndarray) -> tuple[np.ndarray, list[float | None]]:
    """A pair of signals after coding with one gain, and the bits of each."""
    stats = [io.level_of([signal], codec.sample_rate, codec.sample_rate) for signal in pair]
    gain = np.float32(io.level_gain(io.together(stats), codec.level_db))
    made: list[np.ndarray] = []
    bits: list[float | None] = []
    for signal in pair * gain:
        codes = np.concatenate(list(codec.encode_blocks([signal])), 1)
        made.append(np.concatenate(list(codec.decode_blocks(codes, len(signal)))) / gain)
        bits.append(_bits(codec, codes, len(signal)))
    return np.stack(made), bits


def _bits(codec: BlockCodec, codes: np.ndarray, samples: int) -> float | None:
    """Of the compressed file; None: the model has no prior here."""
    rate = codec.sample_rate
    facts = rate, codec.hop_length, samples, rate, 1, samples, 1.0, codec.fingerprint
    tokens = TokenFile(codes, codec.codebook_sizes[: len(codes)], *facts)
    prior = priors.at_hand(codec.fingerprint)
    return None if prior is None else 8 * len(tokens.to_bytes(prior))


def _errors(reference: np.ndarray, estimate: np.ndarray) -> Sequence[float]:
    """Of level difference, coherence, level of each channel and of their mean."""
    (wanted, across), (found, across_found) = _spectra(reference), _spectra(estimate)
    total = wanted.sum(0)
    heard, floor = total > AUDIBLE * total.max(), FLOOR * total.max()
    level = [10 * np.log10(power + floor) for power in (wanted, found)]
    pairs = ((across, wanted), (across_found, found))
    coherence = [np.abs(cross) / np.sqrt(power[0] * power[1] + (1e-3 * floor) ** 2) for cross, power in pairs]
    means = [10 * np.log10(_spectra(np.stack([x.mean(0)] * 2))[0][0] + floor) for x in (reference, estimate)]
    return (
        float(np.abs((level[0][0] - level[0][1]) - (level[1][0] - level[1][1]))[heard].mean()),
        float(np.abs(coherence[0] - coherence[1])[heard].mean()),
        float(np.abs(level[0] - level[1])[:, heard].mean()),
        float(np.abs(means[0] - means[1])[heard].mean()),
    )


def _spectra(wav: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Power `[2, places, bands]` of two channels, and what they have in common `[places, bands]`."""
    places = np.lib.stride_tricks.sliding_window_view(wav, WINDOW, -1)[:, ::HOP]
    spectrum = np.fft.rfft(places * np.hanning(WINDOW), axis=-1)
    edges = np.unique(np.round(np.geomspace(2, WINDOW // 2, BANDS + 1)).astype(int))
    power = np.add.reduceat(np.abs(spectrum) ** 2, edges[:-1], axis=-1)
    return power, np.add.reduceat(spectrum[0] * spectrum[1].conj(), edges[:-1], axis=-1)


if __name__ == "__main__":
    main()
