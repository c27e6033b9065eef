"""The matrices that a configuration describes are those of the modules that are built from it."""

from __future__ import annotations

import pytest
from support import tiny_models

from audiocodec.build import build_codec
from audiocodec.config.schema import Config
from audiocodec.nn.matrices import codebooks, matrices


def built(config: Config) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in build_codec(config, norm=False).state_dict().items()}


@pytest.mark.parametrize("network", tiny_models.NETWORKS)
def test_matrices_are_those_that_are_built(network: str) -> None:
    made = tiny_models.config(tiny_models.NETWORKS[network])
    networks = {name: shape for name, shape in built(made).items() if name.startswith(("encoder.", "decoder."))}
    assert matrices(made) == {name: shape for name, shape in networks.items() if len(shape) > 1}


@pytest.mark.parametrize("quantizer", tiny_models.QUANTIZERS)
def test_codebooks_are_those_that_are_built(quantizer: str) -> None:
    made = tiny_models.config(tiny_models.NETWORKS["istft"], tiny_models.QUANTIZERS[quantizer])
    assert codebooks(made) == {name: shape for name, shape in built(made).items() if name.endswith(".codebook")}
