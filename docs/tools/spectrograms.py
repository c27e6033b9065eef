"""The picture of the README: spectrograms of a recording and of what codecs make of it.

    python -m tools.spectrograms OUT.png      in docs/, with matplotlib and opus-tools or ffmpeg

The recording is one of the repository's; none of the codecs has heard it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import audiocodec
from audiocodec.audio import io
from audiocodec.evaluation.systems.opus import Opus
from audiocodec.reporting.plots.spectrogram import power

RECORDING = Path(__file__).parents[2] / "egs/mini/codec/local/audio/ru-nsh/ru_0003.flac"
SECONDS = 3.0
RATE = 16_000
FLOOR = -80.0  # dB under the loudest value of the recording


def decoded(model: str, num_codebooks: int | None = None) -> np.ndarray:
    """The recording `[S]` as a model gives it back."""
    codec = audiocodec.load(model, runtime="onnx")
    tokens = audiocodec.encode_file(codec, RECORDING, num_codebooks)
    return audiocodec.decompress(codec, tokens.to_bytes(), RATE)[0]


def shown(wav: np.ndarray) -> np.ndarray:
    """Power `[F, T]` of what is shown."""
    return power(wav[: round(SECONDS * RATE)], RATE)


def draw(path: str) -> None:
    """Write the picture."""
    (original,), rate = io.read(RECORDING)
    assert rate == RATE
    rows = {
        "recording, 256 kbps": original,
        "speech_24k, 1.2 kbps": decoded("speech_24k"),
        "speech_24k_residual, 3 kbps": decoded("speech_24k_residual", 4),
        "Opus, 6 kbps": Opus(6).code(original, RATE).wav,
    }
    loudest = shown(original).max()
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    for axes, (name, wav) in zip(figure.subplots(2, 2, sharex=True, sharey=True).flat, rows.items()):
        axes.imshow(
            10 * np.log10(np.maximum(shown(wav) / loudest, 10 ** (FLOOR / 10))),
            origin="lower",
            aspect="auto",
            extent=(0, SECONDS, 0, RATE / 2000),
            vmin=FLOOR,
            vmax=0,
            cmap="magma",
        )
        axes.set_title(name, fontsize=11, loc="left")
    figure.supxlabel("seconds", fontsize=10)
    figure.supylabel("kHz", fontsize=10)
    figure.savefig(path, dpi=90)
    Image.open(path).quantize(96).save(path, optimize=True)  # a third of the bytes


if __name__ == "__main__":
    draw(sys.argv[1])
