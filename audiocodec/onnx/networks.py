"""Encoder and decoder as ONNX files: `wav [B, 1, S]` to `latents [B, D, T]`, T = ceil(S / hop_length), and back.

A voiced decoder takes one signal at a time: B = 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from audiocodec.config.schema import Config
from audiocodec.nn.plan import decoder_layers, encoder_layers
from audiocodec.onnx.layers import Layers
from audiocodec.onnx.stft import Sizes, waveform, windowed_frames
from audiocodec.onnx.voiced import ANCHOR, FRAME, PHASE, PHASES, voice
from audiocodec.onnx.writer import FloatArray, Value

Weights = Mapping[str, FloatArray]


class Network(NamedTuple):
    """An ONNX file and what coding in chunks takes.

    Attributes:
        file: its bytes.
        context: frames (before, after) that a frame of its output depends on.
        int8_layers: linear layers that became 8 bits.
        lookback: of a voiced decoder, frames before the first wanted one whose harmonics it hears: there the phase is given.
            None: there is no phase.
    """

    file: bytes
    context: tuple[int, int]
    int8_layers: int = 0
    lookback: int | None = None


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
    last = scaled_latents(config, graph, _whole_frames(graph, config.hop_length))
    return _network(config, graph, [_wav()], {last: _latents(config)})


def scaled_latents(config: Config, graph: Layers, wav: str = "wav") -> str:
    """Build the encoder on the value `wav [B, 1, T * hop_length]`; returns the value `[B, D, T]`."""
    e = config.model.encoder
    x = graph.op("Unsqueeze", wav, graph.ints(2))
    for i, layer in enumerate(encoder_layers(e, config.quantizer.codebook_dim)):
        x = graph.layer(x, f"encoder.layers.{i}", layer, e, e.lstm_layers)
    x = graph.op("Squeeze", x, graph.ints(2))
    x = graph.op("Sub", x, graph.constant(graph.weights["scale.mean"][:, None], "scale.mean"))
    return graph.op("Div", x, graph.weight("scale.rms"))


def context_of(config: Config, graph: Layers) -> tuple[int, int]:
    """Frames (before, after) that a frame depends on through the layers of a graph."""
    return -(-graph.left // config.hop_length), -(-graph.right // config.hop_length)


def decoder(config: Config, weights: Weights, precision: str = "float32") -> Network:
    """The decoders of `nn.istft_decoder`, `nn.voiced_decoder` and `nn.seanet`, see `encoder`."""
    kind = config.model.decoder.kind
    graph = Layers(weights, causal=config.model.causal, int8=precision == "int8")
    x = graph.op("Unsqueeze", "latents", graph.ints(2))
    if kind == "voiced":
        return _voiced(config, graph, x)
    last = _istft(config, graph, x) if kind == "istft" else _seanet(config, graph, x)
    return _network(config, graph, [_latents(config)], {last: _wav()})


def _network(
    config: Config, graph: Layers, inputs: Sequence[Value], outputs: Mapping[str, Value], lookback: int | None = None
) -> Network:
    file = graph.file(f"{config.name} {inputs[0].name}", inputs, outputs)
    return Network(file, context_of(config, graph), graph.int8_layers, lookback)


def _wav(batch: int | str = "batch") -> Value:
    return Value("wav", (batch, 1, "samples"))


def _latents(config: Config, batch: int | str = "batch") -> Value:
    return Value("latents", (batch, config.quantizer.codebook_dim, "frames"))


def _whole_frames(graph: Layers, hop_length: int) -> str:
    """The input `wav`, with zeros behind it up to a multiple of the hop length."""
    length = graph.op("Shape", "wav", start=2, end=3)
    missing = graph.op("Mod", graph.op("Neg", length), graph.ints(hop_length))  # 0 or more, as in Python
    return graph.op("Pad", "wav", graph.op("Concat", graph.ints(0, 0, 0, 0, 0), missing, axis=0))


def _seanet(config: Config, graph: Layers, x: str) -> str:
    e, d = config.model.encoder, config.model.decoder
    plan = decoder_layers(e, d.base_channels, d.lstm_layers, config.quantizer.codebook_dim)
    for i, layer in enumerate(plan):
        x = graph.layer(x, f"decoder.layers.{i}", layer, e, d.lstm_layers)
    return graph.op("Squeeze", x, graph.ints(2))


def _istft(config: Config, graph: Layers, x: str) -> str:
    sizes = Sizes(config.hop_length, config.model.decoder.overlap)
    said = graph.linear(_features(config, graph, x), "decoder.head.linear", exact=True)
    said = graph.op("Squeeze", said, graph.ints(1))
    log_magnitude = graph.op("Split", said, graph.ints(sizes.bins, sizes.bins), outputs=2, axis=2)
    magnitude = graph.exponential(log_magnitude)
    frames = windowed_frames(graph, *graph.polar(magnitude, f"{log_magnitude}_1"), sizes.n_fft)
    _reach(graph, sizes, 0, 0)
    return waveform(graph, frames, sizes)


def _voiced(config: Config, graph: Layers, x: str) -> Network:
    sizes = Sizes(config.hop_length, config.model.decoder.overlap)
    said = voice(graph, _features(config, graph, x), sizes, config.sample_rate, config.model.decoder.free_hz)
    real, imaginary = (graph.op("Unsqueeze", part, graph.ints(0)) for part in (said.real, said.imaginary))
    wav = waveform(graph, windowed_frames(graph, real, imaginary, sizes.n_fft), sizes)
    heard = -(-sizes.before // sizes.hop_length)  # frames whose harmonics a window hears before its own
    _reach(graph, sizes, heard + 1, -(-sizes.after // sizes.hop_length) + 1)  # a glide begins and ends beside its frame
    inputs = [_latents(config, 1), *(Value(name, (1,), "int64") for name in (PHASE, ANCHOR, FRAME))]
    outputs = {wav: _wav(1), said.phases: Value(PHASES, ("frames",), "int64")}
    return _network(config, graph, inputs, outputs, lookback=-(-sizes.after // sizes.hop_length) + heard)


def _features(config: Config, graph: Layers, x: str) -> str:
    """`nn.istft_decoder.Backbone`: `[B, D, 1, T]` to `[B, 1, T, C]`."""
    x = graph.columns(graph.layer_norm(graph.rows(graph.conv(x, "decoder.embed")), "decoder.norm_in"))
    for i in range(config.model.decoder.layers):
        x = graph.convnext(x, f"decoder.blocks.{i}")
    return graph.layer_norm(graph.rows(x), "decoder.norm_out")


def _reach(graph: Layers, sizes: Sizes, frames_before: int, frames_after: int) -> None:
    """Context of an output sample: layers at the frame rate, frames beside each window, windows that are summed."""
    graph.left = (graph.left + frames_before) * sizes.hop_length + sizes.after
    graph.right = (graph.right + frames_after) * sizes.hop_length + sizes.before
