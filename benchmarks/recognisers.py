"""How well the recognisers of `wer` and `wer_whisper` hear speech whose words are known, and what codecs change of that.

For each recogniser and each form of the speech (the original, with white noise, through a model): word errors against the
transcript, word errors against what the same recogniser hears in the original, which is what the metrics count, and CPU
seconds per second of audio. Errors and words are added up over the utterances.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

import audiocodec
from audiocodec.audio import io
from audiocodec.codec.files import compress, decode_tokens
from audiocodec.data.manifest import list_scp
from audiocodec.markdown import table
from audiocodec.metrics import wer, whisper
from audiocodec.metrics.words import count_errors, words_of
from audiocodec.tokens.token_file import TokenFile

RATE, SNR_DB = 16_000, 10
ORIGINAL = "original"
HEADER = ("recogniser", "speech", "errors per word, transcript", "errors per word, original", "words", "CPU s per s")

Wav = npt.NDArray[np.float32]
RECOGNISERS: dict[str, Callable[[Wav], str]] = {
    "wer": wer.recognise,
    "wer_whisper": lambda wav: whisper.recognise(wav, None)[0],
}


def main() -> None:
    """Recognise, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recognisers", description=__doc__)
    parser.add_argument("data", type=Path, metavar="DIR", help="data folder with wav.scp and text")
    parser.add_argument("-m", "--model", nargs="+", default=[], help="models that code the speech")
    parser.add_argument("--recogniser", nargs="+", choices=RECOGNISERS, default=list(RECOGNISERS))
    args = parser.parse_args()
    texts = dict(line.partition(" ")[::2] for line in (args.data / "text").read_text(encoding="utf-8").splitlines())
    codecs = {name: audiocodec.load(name, threads=1) for name in args.model}
    found: dict[tuple[str, str], npt.NDArray[np.float64]] = {}
    for key, paths in sorted(list_scp(args.data / "wav.scp").items()):
        said = words_of(texts[key])
        for name in args.recogniser:
            for form, wav in _forms(paths[0], codecs):
                started = time.process_time()
                heard = words_of(RECOGNISERS[name](wav))
                seconds = time.process_time() - started
                if form == ORIGINAL:  # which comes first
                    own = heard
                counts = [
                    count_errors(said, heard),
                    len(said),
                    count_errors(own, heard),
                    len(own),
                    seconds,
                    len(wav) / RATE,
                ]
                found[name, form] = found.get((name, form), np.zeros(6)) + counts
    rows = [
        [name, form, f"{a / b:.3f}", f"{c / d:.3f}", f"{b:.0f}", f"{e / f:.2f}"]
        for (name, form), (a, b, c, d, e, f) in found.items()
    ]
    print(table(HEADER, rows))


def _forms(path: str, codecs: dict[str, audiocodec.Codec]) -> Iterator[tuple[str, Wav]]:
    """The speech at 16 kHz: as it is, with noise, through each model."""
    channels, rate = io.read(path)
    wav = channels.mean(0, dtype=np.float32)
    original = io.resample(wav, rate, RATE)
    yield ORIGINAL, original
    noise = np.random.default_rng(7).normal(size=len(original))
    noise *= np.sqrt(np.mean(original**2) / np.mean(noise**2)) * 10 ** (-SNR_DB / 20)
    yield f"white noise, {SNR_DB} dB SNR", (original + noise).astype(np.float32)
    for name, codec in codecs.items():
        decoded, _ = decode_tokens(codec, TokenFile.from_bytes(compress(codec, wav, rate)), RATE)
        yield name, decoded


if __name__ == "__main__":
    main()
