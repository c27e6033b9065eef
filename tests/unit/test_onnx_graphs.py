"""Every graph that the writer makes is valid ONNX, by the checker of the package `onnx`."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from support.tiny_models import NETWORKS, config, save

from audiocodec import model_places
from audiocodec.cli.main import main


@pytest.mark.parametrize("causal", [False, True], ids=["whole", "causal"])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_the_graphs_of_every_network_are_valid(network: str, causal: bool, tmp_path: Path) -> None:
    path = save(config(network, causal=causal), tmp_path / "m.safetensors")
    _check(path, tmp_path / "out")


@pytest.mark.parametrize("name", model_places.available())
def test_the_graphs_of_the_packaged_models_are_valid(name: str, tmp_path: Path) -> None:
    _check(Path(name), tmp_path / "out")


def test_the_checker_sees(tmp_path: Path) -> None:
    path = save(config(NETWORKS["istft"]), tmp_path / "m.safetensors")
    _check(path, tmp_path / "out")
    graph = onnx.load(tmp_path / "out" / "encoder.onnx")
    graph.graph.node[0].input[0] = "nothing"
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(graph, full_check=True)


def _check(path: Path, out: Path) -> None:
    assert main(["export", str(path), "--onnx", str(out)]) == 0
    for name in ("encoder.onnx", "decoder.onnx"):
        graph = onnx.load(out / name)
        onnx.checker.check_model(graph, full_check=True)
        assert len(graph.graph.node) > 10
