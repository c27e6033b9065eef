"""A model for the light runtime: from a model file, whose weights become ONNX graphs as it is loaded, or from the folder
that `audiocodec export --onnx` wrote. Neither needs torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from audiocodec import model_file, model_places
from audiocodec.codec.interface import fingerprint_of
from audiocodec.onnx import folder, networks
from audiocodec.onnx.codec import OnnxCodec
from audiocodec.onnx.model import OnnxModel, fitting
from audiocodec.onnx.quantizers import Quantizer

Part = TypeVar("Part")


def load(model: str | Path | None = None, device: str = "cpu", threads: int | None = None) -> OnnxCodec:
    """Load a codec for inference without torch.

    Args:
        model: an exported folder, or see `model_places.resolve`; None is the model inside the package.
        device: `cpu` or `cuda`.
        threads: CPU threads of the networks; None: onnxruntime's choice.

    Raises:
        CheckpointError: missing, damaged, or weights that do not fit their configuration.
    """
    found = folder.read(model) if model is not None and folder.is_folder(model) else read(model)
    return OnnxCodec(found, device, threads)


def read(model: str | Path | None = None, precision: str = "float32") -> OnnxModel:
    """Make graphs and quantizer from the weights of a model file.

    Args:
        model: see `model_places.resolve`.
        precision: `float32`, or `int8` for networks that compute in 8 bits where that pays.

    Raises:
        CheckpointError: missing, damaged, or weights that do not fit their configuration.
    """
    path = model_places.resolve(model)
    header = model_file.describe(path)
    header.check_matrices()
    config = header.config
    weights = model_file.read_weights(path)
    sizes = (config.quantizer.codebook_size,) * config.quantizer.num_codebooks
    found = fingerprint_of(config.sample_rate, config.hop_length, sizes, sorted(weights.items()), config.channels)
    model_file.check_weights(path, found, header.fingerprint)

    def part(make: Callable[[], Part]) -> Callable[[], Part]:
        def made() -> Part:
            with fitting(str(path)):
                return make()

        return made

    return OnnxModel(
        config,
        found,
        part(lambda: networks.encoder(config, weights, precision)),
        part(lambda: networks.decoder(config, weights, precision)),
        part(lambda: Quantizer(config, weights)),
        precision,
        weights,
        header.latent_error,
    )
