"""The picture of the README: spectrograms of a recording and of what codecs make of it.

    python -m tools.spectrograms OUT.png      in docs/, with matplotlib and opus-tools

The recording is one of the repository's; none of the codecs has heard it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr
from matplotlib.figure import Figure
from PIL import Image

import audiocodec

RECORDING = Path(__file__).parents[2] / "egs/mini/codec/local/audio/ru-nsh/ru_0003.flac"
SECONDS = 3.0
RATE = 16_000
WINDOW, HOP = 512, 64
FLOOR = -80.0  # dB under the loudest value of the recording


def decoded(model: str, num_codebooks: int | None = None) -> np.ndarray:
    """The recording `[S]` as a model gives it back."""
    codec = audiocodec.load(model, runtime="onnx")
    tokens = audiocodec.encode_file(codec, RECORDING, num_codebooks)
    return audiocodec.decompress(codec, tokens.to_bytes(), RATE)[0]


def through_opus(kbps: int) -> np.ndarray:
    """The recording `[S]` as Opus gives it back, encoded as `audiocodec compare` does."""
    with tempfile.TemporaryDirectory() as folder:
        names = [Path(folder) / name for name in ("in.wav", "coded.opus", "out.wav")]
        soundfile.write(names[0], *soundfile.read(RECORDING))
        options = f"--quiet --bitrate {kbps} --vbr --speech --comp 10 --framesize 20 --padding 0".split()
        subprocess.run(["opusenc", *options, *names[:2]], check=True)
        subprocess.run(["opusdec", "--quiet", "--force-wav", *names[1:]], check=True)
        wav, rate = soundfile.read(names[2], dtype="float32")
    return soxr.resample(wav, rate, RATE)


def decibels(wav: np.ndarray) -> np.ndarray:
    """Power in dB `[F, T]`."""
    frames = np.lib.stride_tricks.sliding_window_view(wav[: round(SECONDS * RATE)], WINDOW)[::HOP]
    return 20 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(WINDOW))).T + 1e-9)


def draw(path: str) -> None:
    """Write the picture."""
    original, rate = soundfile.read(RECORDING, dtype="float32")
    assert rate == RATE
    rows = {
        "recording, 256 kbps": original,
        "speech_24k, 1.2 kbps": decoded("speech_24k"),
        "speech_24k_residual, 3 kbps": decoded("speech_24k_residual", 4),
        "Opus, 6 kbps": through_opus(6),
    }
    top = decibels(original).max()
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    for axes, (name, wav) in zip(figure.subplots(2, 2, sharex=True, sharey=True).flat, rows.items()):
        axes.imshow(
            decibels(wav) - top,
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
