"""Without torch, too, codes are those of float64 where float32 cannot tell: the parts beside torch's, and the whole."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_models import HOP, NETWORKS, QUANTIZERS, config, noise, save

from audiocodec import model_file
from audiocodec.codec.exact import MAX_WINDOW, Window, windows
from audiocodec.codec.torch import Codec
from audiocodec.constants import LATENT_ERROR
from audiocodec.onnx import folder, search
from audiocodec.onnx.codec import OnnxCodec
from audiocodec.onnx.load import load, read
from audiocodec.onnx.program import Program
from audiocodec.onnx.special import erf
from audiocodec.onnx.table import Table
from audiocodec.quantization.search import half_squares, nearest_with_margins

FINITE = {name: network for name, network in NETWORKS.items() if name != "lstm"}
TABLES = {name: words for name, words in QUANTIZERS.items() if not name.startswith(("vq_fc", "fsq", "lfq"))}
FRAMES = 1500


def make(path: Path, quantizer: str = QUANTIZERS["simvq"], network: str = "istft", causal: bool = False) -> Path:
    return save(config(NETWORKS[network], quantizer, causal), path / "m.safetensors")


def double(codec: Codec) -> Codec:
    return copy.deepcopy(codec).double()


def wrong_by(codec: OnnxCodec, share: float) -> OnnxCodec:
    """Makes latents wrong by so much of the bound, each call and frame in another direction."""
    right, rng = codec._run, np.random.default_rng(0)

    def run(part: str, *arrays: np.ndarray) -> list[np.ndarray]:
        results = list(right(part, *arrays))
        if part == "encoder":
            error = rng.normal(size=results[0].shape)
            error *= share * LATENT_ERROR / np.linalg.norm(error, axis=1, keepdims=True)
            results[0] = (results[0] + error).astype(np.float32)
        return results

    codec._run = run  # type: ignore[method-assign]
    return codec


# --- parts


def test_the_error_function_is_exact() -> None:
    x = np.concatenate([np.linspace(-8, 8, 100_003), 10.0 ** np.arange(-30, 1), [0.0, -0.0]])
    expected = np.array([math.erf(value) for value in x])
    np.testing.assert_allclose(erf(x), expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("causal", [False, True], ids=["whole", "causal"])
@pytest.mark.parametrize("network", FINITE)
def test_the_encoder_is_that_of_torch_in_float64(network: str, causal: bool, tmp_path: Path) -> None:
    path = make(tmp_path, network=network, causal=causal)
    theirs, ours = double(model_file.load(path)), load(path)
    hop = theirs.hop_length
    wav = noise(40 * hop)
    with torch.no_grad():
        latents = theirs.encoder(torch.from_numpy(wav).double()[None, None])[0]
        expected = ((latents - theirs.scale.mean[:, None]) / theirs.scale.rms).T.numpy()
    assert ours.near_ties is not None
    found = ours.near_ties.exact().latents(wav, Window(0, 40, list(range(40))))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * abs(expected).max())
    left, right = theirs.encoder_context
    (window,) = windows([left + 3], ours.encoder_context, 40)
    assert window == (3, left + right + 4, [left + 3])
    one = ours.near_ties.exact().latents(wav, window)
    np.testing.assert_allclose(one[0], expected[left + 3], rtol=0, atol=1e-12 * abs(expected).max())


def test_what_is_run_is_what_is_written(tmp_path: Path) -> None:
    """The operators of the graph for onnxruntime, run in float64, give what onnxruntime gives in float32."""
    ours, wav = load(make(tmp_path), threads=1), noise(40 * HOP)
    assert ours.near_ties is not None
    exact = ours.near_ties.exact().latents(wav, Window(0, 40, list(range(40))))
    np.testing.assert_allclose(ours._run("encoder", wav[None, None])[0][0].T, exact, rtol=0, atol=LATENT_ERROR / 20)


def test_a_program_is_run_as_it_was_recorded() -> None:
    program = Program({}, causal=False, hop_length=HOP)
    x = program.op("Add", "x", "x")
    y = program.op("Mul", x, program.number(1 / 3))
    last = program.op("Sub", y, x)
    for value in (1.5, -2.0):
        assert program.run("x", np.array([value]), last).tolist() == [2 * value / 3 - 2 * value]


def test_margins_are_those_of_torch() -> None:
    rng = np.random.default_rng(1)
    latents, table = (rng.normal(size=(n, 8)).astype(np.float32) for n in (1300, 2500))
    table[2400] = table[7]
    latents[5] = table[7]
    rows = torch.from_numpy(table)
    expected = [part.numpy() for part in nearest_with_margins(torch.from_numpy(latents), rows, half_squares(rows))]
    index, margins = search.nearest_with_margins(latents, table, search.half_squares(table))
    np.testing.assert_array_equal(index, expected[0])
    assert margins[5] < 0 and expected[1][5] < 0 and margins.dtype == np.float32
    np.testing.assert_allclose(np.delete(margins, 5), np.delete(expected[1], 5), rtol=0, atol=2e-5)


@pytest.mark.parametrize("quantizer", TABLES.values(), ids=TABLES)
def test_rows_are_compared_in_float64(quantizer: str, tmp_path: Path) -> None:
    """Halfway between two rows, and beside it by less than a float32 row is off."""
    path = make(tmp_path, quantizer)
    stage, ours = double(model_file.load(path)).quantizer.stages[0], load(path)._model.quantizer.stages[0]
    assert isinstance(ours, Table)
    with torch.no_grad():
        rows = stage.effective().numpy()  # type: ignore[operator]
    compared = 0
    for code, row in enumerate(rows):
        distances = np.linalg.norm(rows - row, axis=1)
        other = int(distances.argsort()[1])
        middle, step = (row + rows[other]) / 2, 1e-10 * (row - rows[other])
        if np.sort(np.linalg.norm(rows - middle, axis=1))[2] < 0.51 * distances[other] or distances[other] < 1e-6:
            continue  # a third is as near, or the two are one
        for side, expected in ((step, code), (-step, other)):
            chosen, found, margin = ours.settle((middle + side)[None], np.full(1, 0.1, np.float32))
            assert chosen == [expected]
            np.testing.assert_allclose(found[0], rows[expected], rtol=0, atol=1e-13)
            np.testing.assert_allclose(margin, 1e-10 * distances[other], rtol=0.01)
            compared += 1
    assert compared > 10


def test_frames_close_together_share_a_window() -> None:
    assert list(windows([], (3, 2), 50)) == []
    assert list(windows([1, 6, 12, 40], (3, 2), 41)) == [
        (0, 9, [1, 6]),
        (9, 15, [12]),
        (37, 41, [40]),
    ]
    assert next(windows([40], (3, 2), None)) == (37, 43, [40])
    many = list(windows(range(1000), (3, 2), 1000))
    assert [frame for window in many for frame in window.frames] == list(range(1000))
    assert max(window.high - window.low for window in many) <= MAX_WINDOW * 6


# --- the whole


@pytest.mark.parametrize("quantizer", TABLES.values(), ids=TABLES)
def test_errors_within_the_bound_change_no_code(quantizer: str, tmp_path: Path) -> None:
    path, wav = make(tmp_path, quantizer), noise(FRAMES * HOP - 5)
    expected = model_file.load(path).encode(wav)[0].numpy()
    ours = wrong_by(load(path, threads=1), 0.9)
    for chunk in (10.0, 0.41):
        np.testing.assert_array_equal(np.concatenate(list(ours.encode_blocks([wav], None, chunk)), 1), expected)
    assert ours.near_ties is not None and 0 < ours.near_ties.settled < ours.near_ties.frames
    fewer = ours.encode(wav, num_codebooks=1)[0]
    np.testing.assert_array_equal(fewer, expected[:1])


def test_without_the_second_decision_they_would(tmp_path: Path) -> None:
    path, wav = make(tmp_path), noise(FRAMES * HOP)
    ours = wrong_by(load(path, threads=1), 0.9)
    ours._model.near_ties = None
    assert (ours.encode(wav)[0] != model_file.load(path).encode(wav)[0].numpy()).any()


def test_of_equal_codes_the_lowest_is_taken(tmp_path: Path) -> None:
    path = make(tmp_path, QUANTIZERS["vq"])
    ours = load(path, threads=1)
    stage = ours._model.quantizer.stages[0]
    assert isinstance(stage, Table) and ours.near_ties is not None
    stage.table[40:] = stage.table[:24]
    stage.halves[:] = search.half_squares(stage.table)
    assert ours.encode(noise(HOP * 60)).max() < 40
    assert ours.near_ties.settled > 0


# --- exported folders


@pytest.mark.parametrize("quantizer", TABLES.values(), ids=TABLES)
def test_an_exported_folder_decides_alike(quantizer: str, tmp_path: Path) -> None:
    path, wav, made = make(tmp_path, quantizer), noise(FRAMES * HOP), tmp_path / "exported"
    folder.write(read(path), config(NETWORKS["istft"], quantizer), made, {})
    ours = wrong_by(load(made, threads=1), 0.9)
    np.testing.assert_array_equal(ours.encode(wav)[0], model_file.load(path).encode(wav)[0].numpy())
    assert ours.near_ties is not None and ours.near_ties.frames == FRAMES
    assert ours.near_ties.settled > 0 or quantizer == QUANTIZERS["simvq_mlp"]  # whose few codes lie far apart


def test_weights_of_16_bits_are_stored_in_16(tmp_path: Path) -> None:
    path, half, made = make(tmp_path), tmp_path / "half.safetensors", tmp_path / "exported"
    for source, kinds in ((path, {"float32", "float16"}), (half, {"float16"})):  # the drawn codebook is of 16 bits
        model_file.save(model_file.load(path), config(NETWORKS["istft"]), half, half=True)
        folder.write(read(source), config(NETWORKS["istft"]), made, {})
        with np.load(made / folder.EXACT) as arrays:
            assert {array.dtype.name for array in arrays.values()} == kinds
        theirs, ours = model_file.load(source), load(made)
        np.testing.assert_array_equal(ours.encode(noise(60 * HOP)), theirs.encode(noise(60 * HOP)).numpy())


UNDECIDED = {
    "8 bits": ("istft", "simvq", "int8"),
    "LSTM": ("lstm", "simvq", "float32"),
    "FSQ": ("istft", "fsq", "float32"),
}


@pytest.mark.parametrize(("network", "quantizer", "precision"), UNDECIDED.values(), ids=UNDECIDED)
def test_what_decides_nothing_holds_nothing_to_decide_with(
    network: str, quantizer: str, precision: str, tmp_path: Path
) -> None:
    path, made = make(tmp_path, QUANTIZERS[quantizer], network), tmp_path / "exported"
    described = config(NETWORKS[network], QUANTIZERS[quantizer])
    made.mkdir()
    (made / folder.EXACT).write_bytes(b"of an export that was here before")
    folder.write(read(path, precision), described, made, {})
    assert not (made / folder.EXACT).exists()
    assert folder.EXACT not in folder.describe(made).files
    assert load(made).near_ties is None
