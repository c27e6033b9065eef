"""STFT discriminators against EnCodec's, with the same weights: scores and every hidden feature, whole.

The spectra are float32 on both sides and so is everything after them: values reach 2.5, six layers leave an error of
some 5e-7, and 5e-6 is ten times that.
EnCodec leaves its first convolution without weight normalisation, ours has it: same function, another coordinate.
"""

from __future__ import annotations

import pytest
import torch
from encodec.msstftd import DiscriminatorSTFT
from encodec.msstftd import MultiScaleSTFTDiscriminator as TheirDiscriminator
from their_weights import carry_over, shake

from audiocodec.nn.discriminator import MultiScaleSTFTDiscriminator, STFTDiscriminator

pytestmark = [
    pytest.mark.baselines,
    pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning"),  # EnCodec uses torch's old one
]
TOLERANCE = 5e-6
CHANNELS = 8


@pytest.mark.parametrize("n_fft", [256, 1024])
@pytest.mark.parametrize("extra", [0, 1, 777])
def test_one_scale(n_fft: int, extra: int) -> None:
    """Lengths from one single window on; a hop that is not complete is dropped by both."""
    torch.manual_seed(1)
    theirs = DiscriminatorSTFT(CHANNELS, n_fft=n_fft, hop_length=n_fft // 4, win_length=n_fft)
    ours = STFTDiscriminator(n_fft, CHANNELS)
    shake(theirs)
    carry_over(theirs, ours)
    wav = torch.randn(2, 1, n_fft + extra)
    with torch.no_grad():
        scores, features = ours(wav)
        expected_scores, expected_features = theirs(wav)
    _assert_same(scores, features, expected_scores, expected_features)


def test_three_scales() -> None:
    """EnCodec's own windows."""
    windows = [1024, 2048, 512]
    torch.manual_seed(2)
    theirs = TheirDiscriminator(
        CHANNELS, n_ffts=windows, win_lengths=windows, hop_lengths=[window // 4 for window in windows]
    )
    ours = MultiScaleSTFTDiscriminator(windows, CHANNELS)
    shake(theirs)
    carry_over(theirs, ours)
    wav = 0.3 * torch.randn(2, 1, 8000)
    with torch.no_grad():
        judged = ours(wav)
        expected_scores, expected_features = theirs(wav)
    assert len(judged) == len(expected_scores) == 3
    for (scores, features), their_scores, their_features in zip(judged, expected_scores, expected_features):
        _assert_same(scores, features, their_scores, their_features)


def test_gradient_at_the_waveform() -> None:
    """What the generator learns from."""
    torch.manual_seed(3)
    theirs = DiscriminatorSTFT(CHANNELS)
    ours = STFTDiscriminator(1024, CHANNELS)
    shake(theirs)
    carry_over(theirs, ours)
    wav = torch.randn(1, 1, 4000, requires_grad=True)
    gradients = [torch.autograd.grad(judge(wav)[0].square().sum(), wav)[0] for judge in (ours, theirs)]
    scale = gradients[1].abs().max()
    assert scale > 0
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=TOLERANCE * scale.item())


def _assert_same(
    scores: torch.Tensor,
    features: list[torch.Tensor],
    expected_scores: torch.Tensor,
    expected_features: list[torch.Tensor],
) -> None:
    assert len(features) == len(expected_features) == 5
    for actual, expected in zip([*features, scores], [*expected_features, expected_scores]):
        assert expected.std() > 1e-3
        torch.testing.assert_close(actual, expected, rtol=0, atol=TOLERANCE)
