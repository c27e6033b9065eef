"""Short-time Fourier transforms as matrix products, with the scale and the periodic Hann window of the inverse-STFT heads.

Cosines are even in time and sines odd, so that half of each is enough: what is mirrored is added before a forward product
or put in place after an inverse one. Both transforms are unitary but for the window.
"""

from __future__ import annotations

import math

import numpy as np

from audiocodec.constants import MIN_ENVELOPE
from audiocodec.onnx.writer import FloatArray, Graph


class Sizes:
    """Sizes of the transform of a decoder.

    Attributes:
        hop_length: samples per frame.
        overlap: frames that each output sample is summed from.
        n_fft: samples of a window.
        bins: frequencies.
        before, after: samples of a window before its frame and after it.
    """

    def __init__(self, hop_length: int, overlap: int) -> None:
        self.hop_length, self.overlap, self.n_fft = hop_length, overlap, overlap * hop_length
        self.bins = self.n_fft // 2 + 1
        self.before = (self.n_fft - hop_length) // 2
        self.after = self.n_fft - hop_length - self.before


def hann(n_fft: int) -> FloatArray:
    """The periodic Hann window, as `torch.hann_window` gives it."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)


def spectra(graph: Graph, source: str, sizes: Sizes) -> tuple[str, str]:
    """Real and imaginary parts `[T, bins]` of the windows around the frames `source [T, hop_length]`, 0 beyond its ends."""
    hop, n_fft = sizes.hop_length, sizes.n_fft
    samples = graph.op("Pad", graph.op("Reshape", source, graph.ints(-1)), graph.ints(sizes.before, sizes.after))
    blocks = graph.op("Reshape", samples, graph.ints(-1, hop))  # T + overlap - 1
    ends = [i - sizes.overlap + 1 or 2**31 for i in range(sizes.overlap)]
    shifted = [
        graph.op("Slice", blocks, graph.ints(i), graph.ints(ends[i]), graph.ints(0)) for i in range(sizes.overlap)
    ]
    windows = graph.op("Concat", *shifted, axis=1)
    # The window's first sample is 0. After it come `mirrored` samples that have a partner, and for an even size the middle.
    mirrored = (n_fft - 1) // 2
    left = graph.op("Slice", windows, graph.ints(1), graph.ints(1 + mirrored), graph.ints(1))
    right = graph.op(
        "Slice", windows, graph.ints(n_fft - 1), graph.ints(n_fft - 1 - mirrored), graph.ints(1), graph.ints(-1)
    )
    even, odd, n = graph.op("Add", left, right), graph.op("Sub", left, right), np.arange(1, n_fft // 2 + 1)
    if n_fft % 2 == 0:
        middle = graph.op("Slice", windows, graph.ints(n_fft // 2), graph.ints(n_fft // 2 + 1), graph.ints(1))
        even = graph.op("Concat", even, middle, axis=1)
    angles = 2 * np.pi / n_fft * (np.outer(n, np.arange(sizes.bins)) % n_fft)
    weight = (0.5 - 0.5 * np.cos(2 * np.pi * n / n_fft))[:, None] / math.sqrt(n_fft)
    cosines = graph.constant((weight * np.cos(angles)).astype(np.float32))
    sines = graph.constant((-weight * np.sin(angles))[:mirrored].astype(np.float32))
    return graph.op("MatMul", even, cosines), graph.op("MatMul", odd, sines)


def windowed_frames(graph: Graph, real: str, imaginary: str, n_fft: int) -> str:
    """Windowed samples `[B, T, n_fft]` of spectra whose parts are `[B, T, bins]`."""
    bins, half = n_fft // 2 + 1, n_fft // 2
    angles = 2 * np.pi / n_fft * (np.outer(np.arange(bins), np.arange(half + 1)) % n_fft)
    both = np.full(bins, 2.0)  # each bin stands for itself and its mirror, but for these
    both[0] = 1
    if n_fft % 2 == 0:
        both[-1] = 1
    weight = both[:, None] / math.sqrt(n_fft)
    cosines = graph.constant((weight * np.cos(angles)).astype(np.float32))
    sines = graph.constant((weight * np.sin(angles)).astype(np.float32))
    even, odd = graph.op("MatMul", real, cosines), graph.op("MatMul", imaginary, sines)
    mirrored = graph.op("Add", even, odd)  # sample n_fft - i, for i = 0 to half
    last = half - 1 if n_fft % 2 == 0 else half  # of an even number of samples, the middle one is in the first half
    tail = graph.op("Slice", mirrored, graph.ints(last), graph.ints(0), graph.ints(2), graph.ints(-1))
    frames = graph.op("Concat", graph.op("Sub", even, odd), tail, axis=2)
    return graph.op("Mul", frames, graph.constant(hann(n_fft)))


def waveform(graph: Graph, frames: str, sizes: Sizes) -> str:
    """`[B, 1, T * hop_length]` of windowed `frames [B, T, n_fft]`: their sum over that of the squared windows."""
    # The squared window of a frame that is there: zero times its samples, plus a constant.
    there = graph.op("Mul", graph.op("ReduceMax", frames, axes=(2,), keepdims=1), graph.number(0))
    squares = graph.op("Add", there, graph.constant((hann(sizes.n_fft) ** 2)[None]))
    envelope = graph.op("Max", _overlap_add(graph, squares, sizes), graph.number(MIN_ENVELOPE))
    wav = graph.op("Div", _overlap_add(graph, frames, sizes), envelope)
    wav = graph.op("Slice", wav, graph.ints(sizes.before), graph.ints(-sizes.after), graph.ints(1))
    return graph.op("Unsqueeze", wav, graph.ints(1))


def _overlap_add(graph: Graph, frames: str, sizes: Sizes) -> str:
    """Sum `frames [B, T, n_fft]` at distance `hop_length` to `[B, (T + overlap - 1) * hop_length]`."""
    hop, overlap, parts = sizes.hop_length, sizes.overlap, []
    for i in range(overlap):
        part = graph.op("Slice", frames, graph.ints(i * hop), graph.ints((i + 1) * hop), graph.ints(2))
        parts.append(graph.op("Pad", part, graph.ints(0, i, 0, 0, overlap - 1 - i, 0)))
    return graph.op("Reshape", graph.op("Sum", *parts), graph.ints(0, -1))
