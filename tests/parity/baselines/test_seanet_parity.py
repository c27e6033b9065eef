"""SEANet encoder and decoder against EnCodec's own modules with the same weights.

Both run in float64, where rounding is some 1e-15 a layer: 1e-10 leaves room for any order of summation and for
nothing else. Only EnCodec's zero padding is compared; its default, reflection, is not ours.
"""

from __future__ import annotations

from typing import Any, TypeVar

import pytest
import torch
from encodec.modules import SEANetDecoder as TheirDecoder
from encodec.modules import SEANetEncoder as TheirEncoder
from their_weights import carry_over, shake

from audiocodec.config.schema import EncoderConfig
from audiocodec.nn.conv import fold_weight_norm
from audiocodec.nn.seanet import SEANetDecoder, SEANetEncoder

pytestmark = [
    pytest.mark.baselines,
    pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning"),  # EnCodec uses torch's old one
]
Ours = TypeVar("Ours", SEANetEncoder, SEANetDecoder)
TOLERANCE = 1e-10
LATENT_DIM = 24
PLANS: dict[str, dict[str, Any]] = {
    "encodec_24k": {"strides": (2, 4, 5, 8), "base": 8, "residual": 1, "true_skip": False, "compress": 2},
    "odd_and_deep": {"strides": (3, 5), "base": 6, "residual": 3, "true_skip": True, "compress": 3},
}


@pytest.fixture(params=PLANS.values(), ids=list(PLANS))
def plan(request: pytest.FixtureRequest) -> dict[str, Any]:
    """One layer plan; its names are neutral."""
    return request.param


@pytest.mark.parametrize("act", ["elu", "leaky_relu"])
@pytest.mark.parametrize("lstm", [0, 2])
@pytest.mark.parametrize("causal", [False, True])
def test_encoder(plan: dict[str, Any], causal: bool, lstm: int, act: str) -> None:
    torch.manual_seed(1)
    theirs = TheirEncoder(**_their_arguments(plan, causal, lstm, act)).double()
    ours = _ours(SEANetEncoder, plan, causal, lstm, act)
    shake(theirs)
    carry_over(theirs, ours)
    wav = torch.randn(2, 1, 13 * _hop(plan), dtype=torch.float64)
    with torch.no_grad():
        actual, expected = ours(wav), theirs(wav)
    assert expected.shape == (2, LATENT_DIM, 13)
    assert expected.std() > 1e-3
    torch.testing.assert_close(actual, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("act", ["elu", "leaky_relu"])
@pytest.mark.parametrize("lstm", [0, 2])
@pytest.mark.parametrize("causal", [False, True])
def test_decoder(plan: dict[str, Any], causal: bool, lstm: int, act: str) -> None:
    torch.manual_seed(2)
    theirs = TheirDecoder(**_their_arguments(plan, causal, lstm, act)).double()
    ours = _ours(SEANetDecoder, plan, causal, lstm, act)
    shake(theirs)
    carry_over(theirs, ours)
    latents = torch.randn(2, LATENT_DIM, 13, dtype=torch.float64)
    with torch.no_grad():
        actual, expected = ours(latents), theirs(latents)
    assert expected.shape == (2, 1, 13 * _hop(plan))
    assert expected.std() > 1e-3
    torch.testing.assert_close(actual, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("frames", [1, 2])
def test_shortest_inputs(frames: int) -> None:
    """Where the padding is longer than the signal."""
    plan = PLANS["encodec_24k"]
    torch.manual_seed(3)
    their_encoder = TheirEncoder(**_their_arguments(plan, False, 0, "elu")).double()
    their_decoder = TheirDecoder(**_their_arguments(plan, False, 0, "elu")).double()
    encoder = _ours(SEANetEncoder, plan, False, 0, "elu")
    decoder = _ours(SEANetDecoder, plan, False, 0, "elu")
    carry_over(their_encoder, encoder)
    carry_over(their_decoder, decoder)
    wav = torch.randn(1, 1, frames * _hop(plan), dtype=torch.float64)
    with torch.no_grad():
        latents = their_encoder(wav)
        torch.testing.assert_close(encoder(wav), latents, rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(decoder(latents), their_decoder(latents), rtol=0, atol=TOLERANCE)


def test_gradients_and_folded_weights() -> None:
    """Weight normalisation itself: the same gradient of gain and direction, and the same result once folded."""
    plan = PLANS["encodec_24k"]
    torch.manual_seed(4)
    theirs = TheirEncoder(**_their_arguments(plan, False, 0, "elu")).double()
    ours = _ours(SEANetEncoder, plan, False, 0, "elu")
    shake(theirs)
    carry_over(theirs, ours)
    wav = torch.randn(1, 1, 4 * _hop(plan), dtype=torch.float64)
    expected = theirs(wav)
    expected.square().sum().backward()
    ours(wav).square().sum().backward()
    gradients = [{tuple(p.shape): p.grad for p in layer.parameters()} for layer in (theirs.model[0], ours.layers[0])]
    assert gradients[0].keys() == gradients[1].keys()
    for shape, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][shape], gradient, rtol=1e-9, atol=TOLERANCE)
    fold_weight_norm(ours)
    torch.testing.assert_close(ours(wav), expected, rtol=0, atol=TOLERANCE)


def _hop(plan: dict[str, Any]) -> int:
    return int(torch.tensor(plan["strides"]).prod())


def _their_arguments(plan: dict[str, Any], causal: bool, lstm: int, act: str) -> dict[str, Any]:
    return {
        "dimension": LATENT_DIM,
        "n_filters": plan["base"],
        "n_residual_layers": plan["residual"],
        "ratios": list(reversed(plan["strides"])),  # EnCodec names them in the decoder's order
        "activation": "ELU" if act == "elu" else "LeakyReLU",
        "activation_params": {"alpha": 1.0} if act == "elu" else {"negative_slope": 0.1},
        "norm": "weight_norm",
        "pad_mode": "constant",
        "true_skip": plan["true_skip"],
        "compress": plan["compress"],
        "causal": causal,
        "lstm": lstm,
    }


def _ours(kind: type[Ours], plan: dict[str, Any], causal: bool, lstm: int, act: str) -> Ours:
    e = EncoderConfig(
        strides=plan["strides"],
        base_channels=plan["base"],
        residual_layers=plan["residual"],
        residual_kernel_size=3,
        compress=plan["compress"],
        true_skip=plan["true_skip"],
        activation=act,
        lstm_layers=lstm,
    )
    if kind is SEANetEncoder:
        return kind(e, LATENT_DIM, causal=causal, norm=True).double()
    return kind(e, plan["base"], LATENT_DIM, lstm_layers=lstm, causal=causal, norm=True).double()
