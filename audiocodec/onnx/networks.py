"""Encoder and decoder as ONNX files: `wav [1, 1, S]` to `latents [1, D, T]` and back, S = T * hop_length."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import count
from typing import NamedTuple

import numpy as np

from audiocodec.config.schema import Config
from audiocodec.onnx.graph import FloatArray, Graph
from audiocodec.onnx.layers import Layers

MAX_LOG_MAGNITUDE = 5.0  # that of `nn.istft_decoder`
MIN_ENVELOPE = 1e-8

Weights = Mapping[str, FloatArray]


class Network(NamedTuple):
    """An ONNX file and the frames (before, after) that a frame of its output depends on."""

    file: bytes
    halo: tuple[int, int]
    int8_layers: int = 0  # linear layers that became 8 bits


def encoder(config: Config, weights: Weights, precision: str = "float32") -> Network:
    """`nn.seanet.SEANetEncoder` and the scale of the latents.

    Args:
        config: of the model.
        weights: folded, by the names of the torch modules.
        precision: `float32`, or `int8` for what pays in 8 bits.

    Raises:
        KeyError: a weight is missing.
    """
    graph = Layers(weights, causal=config.model.causal, int8=precision == "int8")
    last = scaled_latents(config, graph)
    latents = ("latents", (1, config.quantizer.codebook_dim, "frames"))
    return _network(config, graph, ("wav", (1, 1, "samples")), latents, last)


def scaled_latents(config: Config, graph: Layers) -> str:
    """Build the encoder on the value `wav [1, 1, S]`; returns the value `[1, D, T]`."""
    e, layers = config.model.encoder, count()
    x = graph.op("Unsqueeze", "wav", graph.ints(2))
    x = graph.conv(x, f"encoder.layers.{next(layers)}")
    for stride in e.strides:
        for i in range(e.residual_layers):
            x = graph.residual_unit(x, f"encoder.layers.{next(layers)}", e.dilation_base**i, e)
        next(layers)  # the activation's place
        x = graph.conv(graph.activation(x, e.activation), f"encoder.layers.{next(layers)}", stride=stride)
    if e.lstm_layers:
        x = graph.lstm(x, f"encoder.layers.{next(layers)}", e.lstm_layers)
    for _ in range(e.convnext_layers):
        x = graph.convnext(x, f"encoder.layers.{next(layers)}")
    next(layers)
    x = graph.conv(graph.activation(x, e.activation), f"encoder.layers.{next(layers)}")
    x = graph.op("Squeeze", x, graph.ints(2))
    x = graph.op("Sub", x, graph.constant(graph.weights["scale.mean"][:, None], "scale.mean"))
    return graph.op("Div", x, graph.weight("scale.rms"))


def halo_of(config: Config, graph: Layers) -> tuple[int, int]:
    """Frames (before, after) that a frame depends on through the layers of a graph."""
    return -(-graph.left // config.hop_length), -(-graph.right // config.hop_length)


def decoder(config: Config, weights: Weights, precision: str = "float32") -> Network:
    """`nn.istft_decoder.ISTFTDecoder` or `nn.seanet.SEANetDecoder`, see `encoder`."""
    graph = Layers(weights, causal=config.model.causal, int8=precision == "int8")
    x = graph.op("Unsqueeze", "latents", graph.ints(2))
    x = _istft(config, graph, x) if config.model.decoder.kind == "istft" else _seanet(config, graph, x)
    latents = ("latents", (1, config.quantizer.codebook_dim, "frames"))
    return _network(config, graph, latents, ("wav", (1, 1, "samples")), x)


def _network(
    config: Config, graph: Layers, source: tuple[str, tuple[int | str, ...]], result: tuple[str, tuple[int | str, ...]], x: str
) -> Network:  # fmt: skip
    file = graph.file(f"{config.name} {source[0]}", source, result, x)
    return Network(file, halo_of(config, graph), graph.int8_layers)


def _seanet(config: Config, graph: Layers, x: str) -> str:
    e, d, layers = config.model.encoder, config.model.decoder, count()
    x = graph.conv(x, f"decoder.layers.{next(layers)}")
    if d.lstm_layers:
        x = graph.lstm(x, f"decoder.layers.{next(layers)}", d.lstm_layers)
    for stride in reversed(e.strides):
        next(layers)
        x = graph.conv_transpose(graph.activation(x, e.activation), f"decoder.layers.{next(layers)}", stride)
        for i in range(e.residual_layers):
            x = graph.residual_unit(x, f"decoder.layers.{next(layers)}", e.dilation_base**i, e)
    next(layers)
    x = graph.conv(graph.activation(x, e.activation), f"decoder.layers.{next(layers)}")
    return graph.op("Squeeze", x, graph.ints(2))


def _istft(config: Config, graph: Layers, x: str) -> str:
    d, hop = config.model.decoder, config.hop_length
    n_fft = d.overlap * hop
    x = graph.columns(graph.layer_norm(graph.rows(graph.conv(x, "decoder.embed")), "decoder.norm_in"))
    for i in range(d.layers):
        x = graph.convnext(x, f"decoder.blocks.{i}")
    x = graph.linear(graph.layer_norm(graph.rows(x), "decoder.norm_out"), "decoder.head.linear", exact=True)
    frames = _windowed_frames(graph, graph.op("Squeeze", x, graph.ints(0, 1)), n_fft)
    trim_left = (n_fft - hop) // 2
    trim_right = n_fft - hop - trim_left
    graph.left = graph.left * hop + n_fft - hop - trim_left  # the convolutions run at the frame rate
    graph.right = graph.right * hop + trim_left
    # The squared window of a frame that is there: zero times its samples, plus a constant.
    window = _hann(n_fft)
    there = graph.op("Mul", graph.op("ReduceMax", frames, axes=(1,), keepdims=1), graph.number(0))
    squares = graph.op("Add", there, graph.constant((window**2)[None]))
    envelope = graph.op("Max", _overlap_add(graph, squares, d.overlap, hop), graph.number(MIN_ENVELOPE))
    wav = graph.op("Div", _overlap_add(graph, frames, d.overlap, hop), envelope)
    wav = graph.op("Slice", wav, graph.ints(trim_left), graph.ints(-trim_right), graph.ints(0))
    return graph.op("Reshape", wav, graph.ints(1, 1, -1))


def _windowed_frames(graph: Layers, x: str, n_fft: int) -> str:
    """Log magnitudes and phases `[T, 2 * bins]` to `[T, n_fft]`: the inverse real Fourier transform as two products.

    The cosines are even in time and the sines odd, so half of each is computed and the other half mirrored.
    """
    bins, half = n_fft // 2 + 1, n_fft // 2
    log_magnitude = graph.op("Slice", x, graph.ints(0), graph.ints(bins), graph.ints(1))
    phase = graph.op("Slice", x, graph.ints(bins), graph.ints(2 * bins), graph.ints(1))
    magnitude = graph.op("Exp", graph.op("Min", log_magnitude, graph.number(MAX_LOG_MAGNITUDE)))
    angles = 2 * np.pi / n_fft * (np.outer(np.arange(bins), np.arange(half + 1)) % n_fft)
    both = np.full(bins, 2.0)  # each bin stands for itself and its mirror, but for these
    both[0] = 1
    if n_fft % 2 == 0:
        both[-1] = 1
    weight = both[:, None] / math.sqrt(n_fft)  # 1 / n_fft of the transform, sqrt(n_fft) of the head
    cosines = graph.constant((weight * np.cos(angles)).astype(np.float32))
    sines = graph.constant((weight * np.sin(angles)).astype(np.float32))
    even = graph.op("MatMul", graph.op("Mul", magnitude, graph.op("Cos", phase)), cosines)
    odd = graph.op("MatMul", graph.op("Mul", magnitude, graph.op("Sin", phase)), sines)
    mirrored = graph.op("Add", even, odd)  # sample n_fft - i, for i = 0 to half
    last = half - 1 if n_fft % 2 == 0 else half  # of an even number of samples, the middle one is in the first half
    tail = graph.op("Slice", mirrored, graph.ints(last), graph.ints(0), graph.ints(1), graph.ints(-1))
    frames = graph.op("Concat", graph.op("Sub", even, odd), tail, axis=1)
    return graph.op("Mul", frames, graph.constant(_hann(n_fft)))


def _hann(n_fft: int) -> FloatArray:
    """The periodic Hann window, as `torch.hann_window` gives it."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)


def _overlap_add(graph: Graph, frames: str, overlap: int, hop: int) -> str:
    """Sum `frames [T, n_fft]` at distance `hop` to `[(T + overlap - 1) * hop]`."""
    parts = []
    for i in range(overlap):
        part = graph.op("Slice", frames, graph.ints(i * hop), graph.ints((i + 1) * hop), graph.ints(1))
        parts.append(graph.op("Pad", part, graph.ints(i, 0, overlap - 1 - i, 0)))
    return graph.op("Reshape", graph.op("Sum", *parts), graph.ints(-1))
