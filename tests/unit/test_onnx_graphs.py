"""Every graph that the writer makes is valid ONNX, by the checker of the package `onnx`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from support.tiny_models import NETWORKS, config, save

import audiocodec
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


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_batches_and_any_length(network: str, tmp_path: Path) -> None:
    """Another program may give several signals at once, and lengths that are no multiple of the hop."""
    path = save(config(network), tmp_path / "m.safetensors")
    assert main(["export", str(path), "--onnx", str(tmp_path / "out")]) == 0
    encoder, decoder = (
        onnxruntime.InferenceSession(str(tmp_path / "out" / name), providers=["CPUExecutionProvider"])
        for name in ("encoder.onnx", "decoder.onnx")
    )
    hop = audiocodec.load(path, runtime="onnx").hop_length
    wav = np.random.default_rng(0).normal(0, 0.1, (2, 1, 9 * hop - 1)).astype(np.float32)
    padded = np.pad(wav, ((0, 0), (0, 0), (0, 1)))  # what the length would be filled up with by hand
    (latents,) = encoder.run(None, {"wav": wav})
    assert latents.shape[::2] == (2, 9)
    for item in range(2):
        (alone,) = encoder.run(None, {"wav": padded[item : item + 1]})
        np.testing.assert_allclose(latents[item], alone[0], atol=1e-5)
    if len(decoder.get_inputs()) > 1:
        return  # a voiced decoder has a phase, and takes one signal at a time
    (audio,) = decoder.run(None, {"latents": latents})
    assert audio.shape == (2, 1, 9 * hop)
    for item in range(2):
        (alone,) = decoder.run(None, {"latents": latents[item : item + 1]})
        np.testing.assert_allclose(audio[item], alone[0], atol=1e-5)
