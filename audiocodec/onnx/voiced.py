"""The head of `nn.voiced_decoder` as ONNX operators, `nn.pitch` and `dsp.noise` with it: features to spectra.

Values of frames are `[T, 1]`, so that they meet the samples of a frame `[1, hop_length]` and its bins `[1, bins]`. The phase
of a voice goes through the whole signal: a chunk is given that of one of its frames, and says that of all.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from audiocodec.dsp import noise
from audiocodec.dsp.voice import BASE_HZ, CYCLE, FADE, NEAR, ONSET, log_f0_range
from audiocodec.onnx import writer
from audiocodec.onnx.layers import Layers
from audiocodec.onnx.stft import Sizes, spectra

PHASE, ANCHOR, FRAME, PHASES = (
    "phase",
    "anchor",
    "frame",
    "phases",
)  # names of inputs and the output, see `docs/guide/onnx.md`


class Voice(NamedTuple):
    """What a voiced head gives: real and imaginary parts `[T, bins]` of the output's spectra, and `[T]` phases."""

    real: str
    imaginary: str
    phases: str


def voice(graph: Layers, features: str, sizes: Sizes, sample_rate: int, free_hz: float) -> Voice:
    """Build the head on `features [1, 1, T, D]` and on the inputs `phase`, `anchor` and `frame`."""
    said = graph.linear(graph.op("Squeeze", features, graph.ints(0, 1)), "decoder.head.linear", exact=True)
    magnitude = graph.op("Split", said, graph.ints(*[sizes.bins] * 5, 1, 1), outputs=7, axis=1)
    angle, gain, phase, noise_gain, log_f0, voicing = (f"{magnitude}_{i}" for i in range(1, 7))
    voiced = graph.op("Cast", graph.op("Greater", voicing, graph.number(0)), to=writer.ELEMENTS["int64"])
    places = _places(graph, said)
    start, end = _contour(graph, _whole_frequency(graph, log_f0, sample_rate), voiced)
    phases = _phases(graph, start, end, voiced, places, sizes.hop_length)
    source = _harmonics(graph, start, end, voiced, phases, sizes.hop_length)
    sung = _product(graph, graph.polar(graph.exponential(gain), phase), spectra(graph, source, sizes))
    rows = graph.op("Mod", graph.op("Add", places, FRAME), graph.ints(noise.ROWS))
    magnitude = _limited(graph, magnitude, voiced, sizes, sample_rate, free_hz)
    free = graph.polar(graph.exponential(magnitude), _scattered(graph, angle, voiced, rows, sizes))
    hiss = _noise(graph, rows, graph.exponential(noise_gain), sizes.bins)
    real, imaginary = (graph.op("Sum", *parts) for parts in zip(sung, free, hiss))
    return Voice(real, imaginary, graph.op("Reshape", phases, graph.ints(-1)))


def _places(graph: Layers, said: str) -> str:
    """0, 1, and so on, `[T]`."""
    zero, one = (graph.constant(np.array(i, np.int64)) for i in (0, 1))
    count = graph.op("Squeeze", graph.op("Shape", said, start=0, end=1), graph.ints(0))
    return graph.op("Range", zero, count, one)


def _real(graph: Layers, x: str) -> str:
    return graph.op("Cast", x, to=writer.ELEMENTS["float32"])


def _product(graph: Layers, a: tuple[str, str], b: tuple[str, str]) -> tuple[str, str]:
    """Complex numbers `a` times `b`."""
    real = graph.op("Sub", graph.op("Mul", a[0], b[0]), graph.op("Mul", a[1], b[1]))
    return real, graph.op("Add", graph.op("Mul", a[0], b[1]), graph.op("Mul", a[1], b[0]))


def _limited(graph: Layers, magnitude: str, voiced: str, sizes: Sizes, sample_rate: int, free_hz: float) -> str:
    """The free spectrum up to `free_hz` in voiced frames, as `nn.voiced_decoder.VoicedHead.with_free_part`."""
    hertz = np.arange(sizes.bins, dtype=np.float32) * np.float32(sample_rate / sizes.n_fft)
    fade = graph.constant(np.float32(FADE) * np.maximum(hertz - np.float32(free_hz), 0))
    return graph.op("Sub", magnitude, graph.op("Mul", _real(graph, voiced), fade))


def _scattered(graph: Layers, angle: str, voiced: str, rows: str, sizes: Sizes) -> str:
    """The phases of the free spectrum, scattered in unvoiced frames."""
    table = noise.scatter(sizes.bins, sizes.overlap)
    scatter = graph.op("Gather", graph.constant(table), rows, axis=0)
    unvoiced = _real(graph, graph.op("Sub", graph.ints(1), voiced))
    return graph.op("Add", angle, graph.op("Mul", unvoiced, scatter))


def _noise(graph: Layers, rows: str, gain: str, bins: int) -> tuple[str, str]:
    """Noise of a gain, of these rows of the table."""
    random = noise.phases(bins).astype(np.float64)
    tables = (graph.constant(table.astype(np.float32)) for table in (np.cos(random), np.sin(random)))
    real, imaginary = (graph.op("Mul", gain, graph.op("Gather", table, rows, axis=0)) for table in tables)
    return real, imaginary


def _whole_frequency(graph: Layers, log_f0: str, sample_rate: int) -> str:
    """`nn.pitch.whole_frequency`."""
    low, high, base, unit = (
        graph.constant(np.array(value)) for value in (*log_f0_range(sample_rate), BASE_HZ, CYCLE / sample_rate)
    )
    exact = graph.op("Clip", graph.op("Cast", log_f0, to=writer.ELEMENTS["float64"]), low, high)
    units = graph.op("Mul", graph.op("Mul", graph.op("Exp", exact), base), unit)
    return graph.op("Cast", graph.op("Round", units), to=writer.ELEMENTS["int64"])


def _contour(graph: Layers, frequency: str, voiced: str) -> tuple[str, str]:
    """`nn.pitch.contour`: frequencies `[T, 1]` with which the frames begin and end; nothing precedes or follows them."""

    def both(x: str) -> tuple[str, str]:
        padded = graph.op("Pad", x, graph.ints(1, 0, 1, 0))
        return (
            graph.op("Slice", padded, graph.ints(0), graph.ints(-1), graph.ints(0)),
            graph.op("Slice", padded, graph.ints(1), graph.ints(2**31), graph.ints(0)),
        )

    left, right = both(frequency)
    glides = graph.op("Cast", graph.op("Mul", *both(voiced)), to=writer.ELEMENTS["bool"])
    middle = graph.op("Div", graph.op("Add", left, right), graph.ints(2))
    start = graph.op("Where", glides, middle, right)
    end = graph.op("Where", glides, middle, left)
    return (
        graph.op("Slice", start, graph.ints(0), graph.ints(-1), graph.ints(0)),
        graph.op("Slice", end, graph.ints(1), graph.ints(2**31), graph.ints(0)),
    )


def _phases(graph: Layers, start: str, end: str, voiced: str, places: str, hop: int) -> str:
    """`nn.pitch.phases` `[T, 1]` from the frame `anchor` on, which begins with the phase that is given."""
    sounding = graph.op("Mul", voiced, graph.ints(hop))
    advance = graph.op("Div", graph.op("Mul", graph.op("Add", start, end), sounding), graph.ints(2))
    axis = graph.constant(np.array(0, np.int64))
    total = graph.op("CumSum", advance, axis, exclusive=1)
    quiet = graph.op("Less", graph.op("Squeeze", voiced, graph.ints(1)), graph.ints(1))
    quiet = graph.op("And", quiet, graph.op("GreaterOrEqual", places, ANCHOR))
    passed = graph.op("CumSum", graph.op("Cast", quiet, to=writer.ELEMENTS["int64"]), axis, exclusive=1)
    # What a phase counts from: the last quiet frame between the anchor and its own, or else the anchor.
    at_anchor = graph.op("Sub", graph.op("Gather", total, ANCHOR, axis=0), PHASE)
    at_quiet = graph.op("Sub", graph.op("Compress", total, quiet, axis=0), graph.ints(ONSET))
    bases = graph.op("Gather", graph.op("Concat", at_anchor, at_quiet, axis=0), passed, axis=0)
    return graph.op("Mod", graph.op("Sub", total, bases), graph.ints(CYCLE))


def _harmonics(graph: Layers, start: str, end: str, voiced: str, phases: str, hop: int) -> str:
    """`nn.pitch.harmonics`, in its order of operations."""

    n = np.arange(hop, dtype=np.float32)
    first, last, turn = (graph.op("Mul", _real(graph, x), graph.number(1 / CYCLE)) for x in (start, end, phases))
    glide = graph.op("Mul", graph.op("Sub", last, first), graph.constant(n / np.float32(2 * hop)))
    turns = graph.op("Add", turn, graph.op("Mul", graph.op("Add", first, glide), graph.constant(n)))
    x = graph.op("Mul", graph.op("Sub", turns, graph.op("Round", turns)), graph.number(math.pi))
    count = _real(graph, graph.op("Div", graph.ints(CYCLE // 2 - 1), graph.op("Max", start, end)))
    sine = graph.op("Sin", x)
    near = graph.op("Less", graph.op("Abs", sine), graph.number(NEAR))
    twice = graph.op("Mul", graph.op("Where", near, graph.number(1), sine), graph.number(2))
    order = graph.op("Add", graph.op("Mul", count, graph.number(2)), graph.number(1))
    kernel = graph.op("Sub", graph.op("Div", graph.op("Sin", graph.op("Mul", order, x)), twice), graph.number(0.5))
    pulses = graph.op("Where", near, count, kernel)
    loud = graph.op("Mul", graph.op("Sqrt", graph.op("Div", graph.number(2), count)), _real(graph, voiced))
    return graph.op("Mul", pulses, loud)
