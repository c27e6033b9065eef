"""The matrices of the networks that a configuration describes: what is held against a file before anything is built.

They are nearly all of the memory; what they agree with is built in memory that the file itself takes. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator

from audiocodec.config.quantizers import low_dimensions
from audiocodec.config.schema import Config, EncoderConfig
from audiocodec.nn.plan import Layer, decoder_layers, encoder_layers

Shape = tuple[int, ...]
CONVNEXT_KERNEL = 7  # of blocks in an encoder


def matrices(config: Config) -> dict[str, Shape]:
    """Name -> shape of all folded weights of encoder and decoder that have more than one dimension."""
    e, d, latent_dim = config.model.encoder, config.model.decoder, config.quantizer.codebook_dim
    found = dict(_plan("encoder", encoder_layers(e, latent_dim), e, e.lstm_layers))
    if d.kind == "seanet":
        layers = decoder_layers(e, d.base_channels, d.lstm_layers, latent_dim)
        return found | dict(_plan("decoder", layers, e, d.lstm_layers))
    found["decoder.embed.conv.weight"] = (d.dim, latent_dim, d.kernel_size)
    for i in range(d.layers):
        found |= _convnext(f"decoder.blocks.{i}", d.dim, d.kernel_size, d.expansion)
    bins = d.overlap * config.hop_length // 2 + 1
    found["decoder.head.linear.weight"] = (2 * bins if d.kind == "istft" else 5 * bins + 2, d.dim)
    return found


def codebooks(config: Config) -> dict[str, Shape]:
    """Name -> shape of the codebooks; empty where a quantizer has no table."""
    q = config.quantizer
    if q.kind in ("fsq", "lfq"):
        return {}
    return {f"quantizer.stages.{i}.codebook": (q.codebook_size, low_dimensions(q)) for i in range(q.num_codebooks)}


def _plan(part: str, layers: list[Layer], e: EncoderConfig, lstm_layers: int) -> Iterator[tuple[str, Shape]]:
    for i, layer in enumerate(layers):
        name, channels, out = f"{part}.layers.{i}", layer.channels, layer.out
        if layer.kind in ("conv", "down"):
            yield f"{name}.conv.weight", (out, channels, layer.kernel_size)
        elif layer.kind == "up":
            yield f"{name}.conv.weight", (channels, out, layer.kernel_size)
        elif layer.kind == "residual":
            hidden = max(1, channels // e.compress)
            yield f"{name}.block.1.conv.weight", (hidden, channels, e.residual_kernel_size)
            yield f"{name}.block.3.conv.weight", (channels, hidden, 1)
            if not e.true_skip:
                yield f"{name}.shortcut.conv.weight", (channels, channels, 1)
        elif layer.kind == "lstm":
            for k in range(lstm_layers):
                yield f"{name}.lstm.weight_ih_l{k}", (4 * channels, channels)
                yield f"{name}.lstm.weight_hh_l{k}", (4 * channels, channels)
        elif layer.kind == "convnext":
            yield from _convnext(name, channels, CONVNEXT_KERNEL, e.convnext_expansion).items()


def _convnext(name: str, dim: int, kernel_size: int, expansion: int) -> dict[str, Shape]:
    return {
        f"{name}.depthwise.conv.weight": (dim, 1, kernel_size),
        f"{name}.expand.weight": (expansion * dim, dim),
        f"{name}.project.weight": (dim, expansion * dim),
    }
