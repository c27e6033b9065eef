"""A recording and its versions as the page shows them: sound, spectrogram, strip of tokens, sizes; ready for JSON."""

from __future__ import annotations

import base64
import colorsys
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.codec.interface import CodeArray, FloatArray
from audiocodec.demo.recording import Recording
from audiocodec.demo.versions import Coded
from audiocodec.reporting.listening.clips import flac
from audiocodec.reporting.plots.png import data_uri, palette_png
from audiocodec.reporting.plots.spectrogram import level_picture, power
from audiocodec.tokens.token_file import TokenFile

WRITTEN = 8  # codes that are shown as numbers
_HUES = 252  # colours of the strip of tokens
_STEP = 97  # prime to it: codes that are neighbours get colours that are not


def recording(given: Recording) -> dict[str, Any]:
    """The original."""
    return {
        "seconds": given.seconds,
        "sample_rate": given.sample_rate,
        "channels": given.channels,
        "goes_on": given.goes_on,
        "bytes": 2 * len(given.wav),
        "kbps": 16 * given.sample_rate / 1000,
        **_sound(given.heard, given.spectrogram, given),
    }


def coded(made: Coded, given: Recording) -> dict[str, Any]:
    """One version of it."""
    return {
        "bytes": len(made.data),
        "kbps": rate(len(made.data), given),
        "kbps_payload": made.payload_bits / given.seconds / 1000,
        "file": base64.b64encode(made.data).decode("ascii"),
        "extension": made.extension,
        "tokens": None if made.tokens is None else _tokens(made.tokens),
        **_sound(made.wav, power(made.wav, given.heard_rate), given),
    }


def rate(size: int, given: Recording) -> float:
    """Bitrate in kbps of so many bytes."""
    return 8 * size / given.seconds / 1000


def strip(codes: CodeArray) -> bytes:
    """Codes [K, T] as a picture, a row for each codebook: equal codes have equal colours, neighbours different ones."""
    hues = [colorsys.hls_to_rgb(n / _HUES, 0.5 + 0.16 * (n % 3 - 1), 0.65) for n in range(_HUES)]
    palette = [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in hues]
    return palette_png((codes.astype(np.int64) * _STEP % _HUES).astype(np.uint8), palette)


def _tokens(tokens: TokenFile) -> dict[str, Any]:
    codes = tokens.codes
    return {
        "codebooks": len(codes),
        "frames": codes.shape[1],
        "frame_rate": tokens.sample_rate / tokens.hop_length,
        "codebook_size": tokens.codebook_sizes[0],
        "distinct": [len(np.unique(row)) for row in codes],
        "first": codes.T.flatten()[:WRITTEN].tolist(),
        "strip": data_uri(strip(codes)),
    }


def _sound(wav: FloatArray, spectrogram: npt.NDArray[np.floating], given: Recording) -> dict[str, Any]:
    """What is played, and its spectrogram in the scale of the original's.

    16 bits hold nothing past full scale, so that a gain brings it back.
    """
    peak = max(1.0, float(np.abs(wav).max()))
    loudest = max(float(given.spectrogram.max()), 1e-12)
    return {
        "clip": {"gain": peak, "flac": flac(wav / np.float32(peak), given.heard_rate)},
        "spectrogram": level_picture(spectrogram, loudest),
    }
