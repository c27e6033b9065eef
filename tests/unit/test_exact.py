"""Networks of integers: every product is what int64 says, whoever computes it; torch in training computes what numpy does."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from audiocodec.nn.exact import integers, layers


@pytest.mark.parametrize("width", [256, 1000, 1024])
def test_products_are_exact_everywhere(width: int) -> None:
    random = np.random.default_rng(width)
    x, weight = random.integers(-127, 128, (33, width)), random.integers(-127, 128, (width, 65))
    x[0], weight[:, 0] = 127, 127  # the largest sum there can be
    expected = x @ weight  # int64
    zero = np.zeros(65, np.float32)
    assert np.abs(expected).max() < integers.MAX_SUM
    floats = x.astype(np.float32), weight.astype(np.float32)
    assert np.array_equal(integers.product(*floats, zero), expected)
    order = random.permutation(width)
    assert np.array_equal(integers.product(floats[0][:, order], floats[1][order], zero), expected)
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        assert np.array_equal((torch.from_numpy(floats[0]) @ torch.from_numpy(floats[1])).numpy(), expected)
        torch.set_num_threads(before)
    halves = [
        torch.from_numpy(part).bfloat16().float().numpy() for part in floats
    ]  # what bfloat16 and TF32 keep of the inputs
    assert np.array_equal(halves[0] @ halves[1], expected)
    assert np.array_equal(_by_onnxruntime(*floats), expected)


def _by_onnxruntime(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    values = [
        onnx.helper.make_tensor_value_info(name, 1, shape)
        for name, shape in (("x", x.shape), ("w", weight.shape), ("y", (len(x), weight.shape[1])))
    ]
    graph = onnx.helper.make_graph([node], "g", values[:2], values[2:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x, "w": weight})[0])


def test_rescaling_rounds_halves_up_and_clips() -> None:
    sums = np.array([[0, 127, 128, 129, -128, -129, 384, 1 << 20, -(1 << 20)]], np.float32)
    assert integers.rescale(sums, 8).tolist() == [[0, 0, 1, 1, 0, -1, 2, 127, -127]]


def test_tables_round_their_functions_and_no_value_is_near_a_half() -> None:
    x = np.arange(-127, 128) / 32
    exact = (127 * np.tanh(x), 127 / (1 + np.exp(-x)), 65_535 * np.exp(-np.arange(180) / 16))
    for table, values in zip((integers.TANH, integers.SIGMOID, integers.EXP), exact):
        assert np.abs(np.maximum(np.rint(values), 1 if values.max() > 128 else -128) - table).max() == 0
        inexact = values[(values != 63.5) & (values < 65_535)]  # that one is exact in any libm
        assert np.abs(np.abs(inexact - np.floor(inexact)) - 0.5).min() > 1e-5  # so another libm rounds alike
    assert integers.EXP.max() * 256 < integers.MAX_SUM


def test_sums_that_float32_cannot_hold_are_found() -> None:
    bias = np.zeros(2, np.int32)
    assert integers.check_sums(np.full((1024, 2), 127, np.int8), bias)
    assert not integers.check_sums(np.full((1041, 2), 127, np.int8), bias)
    assert not integers.check_sums(np.full((1024, 2), 127, np.int8), np.array([0, 1 << 20], np.int32))


def test_layers_compute_what_numpy_computes() -> None:
    torch.manual_seed(0)
    layer = layers.ExactLinear(64, 96, 8, bias_rows=3)
    with torch.no_grad():
        layer.bias.normal_()
    x, row = np.random.default_rng(0).integers(-127, 128, (40, 64)).astype(np.float32), np.arange(40) % 3
    weight, bias = (part.detach().numpy() for part in layer.integers())
    assert np.array_equal(weight, np.round(weight)) and np.abs(weight).max() <= 127
    sums = layer(torch.from_numpy(x), torch.from_numpy(row)).detach()
    expected = x.astype(np.int64) @ weight.astype(np.int64) + bias.astype(np.int64)[row]
    assert np.array_equal(sums.numpy(), expected)
    assert np.array_equal(layers.rescale(sums, 8).numpy(), integers.rescale(sums.numpy(), 8))
    assert np.array_equal(layers.gate(sums, 8).numpy(), integers.gate(sums.numpy(), 8))


def test_gradients_are_those_of_the_smooth_functions() -> None:
    sums = torch.linspace(-20_000, 20_000, 64).round().reshape(1, 64).requires_grad_()
    layers.gate(sums, 8).sum().backward()
    smooth = (sums.detach() / (256 * 32)).requires_grad_()
    (torch.tanh(smooth[:, :32]) * torch.sigmoid(smooth[:, 32:]) * 127 * 127 / 128).sum().backward()
    assert sums.grad is not None and smooth.grad is not None
    torch.testing.assert_close(sums.grad * 256 * 32, smooth.grad, rtol=0.1, atol=1.5)
