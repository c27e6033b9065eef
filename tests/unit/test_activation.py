"""Snake against its equation in float64: values, gradients, and an encoder that trains with it."""

from __future__ import annotations

import numpy as np
import torch
from support.tiny_models import NETWORKS, config

from audiocodec.build import build_codec
from audiocodec.nn.activation import Snake, activate, activation


def test_snake_is_its_equation() -> None:
    x, alpha = np.random.default_rng(0).normal(0, 2, (2, 3, 50)), np.array([0.3, 1.0, 4.0])
    layer = Snake(3).double()
    layer.alpha.data = torch.from_numpy(alpha)
    wave = torch.from_numpy(x).requires_grad_()
    y = layer(wave)
    a = alpha[:, None]
    np.testing.assert_allclose(y.detach().numpy(), x + np.sin(a * x) ** 2 / a, rtol=0, atol=1e-7)
    y.sum().backward()
    assert wave.grad is not None and layer.alpha.grad is not None
    np.testing.assert_allclose(wave.grad.numpy(), 1 + np.sin(2 * a * x), rtol=0, atol=1e-7)
    slope = x * np.sin(2 * a * x) / a - np.sin(a * x) ** 2 / a**2
    np.testing.assert_allclose(layer.alpha.grad.numpy(), slope.sum((0, 2)), rtol=0, atol=1e-6)


def test_activations_give_the_same_over_their_input() -> None:
    for name in ("elu", "leaky_relu", "snake"):
        layer, x = activation(name, 4), torch.randn(2, 4, 30)
        expected = layer(x)
        with torch.no_grad():
            torch.testing.assert_close(activate(layer, x.clone()), expected, rtol=0, atol=1e-6)


def test_an_encoder_with_snake_learns_all_its_factors() -> None:
    codec = build_codec(config(NETWORKS["snake"]))
    out = codec(torch.randn(2, 1, 24 * 40), quantize=False)
    out.estimate.square().mean().backward()
    factors = {name: p for name, p in codec.named_parameters() if name.endswith("alpha")}
    assert len(factors) == 2 * (3 * (1 + 2 * 2) + 1)  # encoder and decoder: each stride's and two units', and the last
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in factors.values())
