"""Nearest-code search against the codebook of EnCodec's quantizer."""

from __future__ import annotations

import pytest
import torch
from encodec.quantization.core_vq import EuclideanCodebook

from audiocodec.constants import CODE_TILE, FRAME_TILE
from audiocodec.quantization.search import nearest_codes

pytestmark = pytest.mark.baselines


@pytest.mark.parametrize("size", [2, 1000, CODE_TILE, CODE_TILE + 1, 2 * CODE_TILE + 3])
@pytest.mark.parametrize("frames", [1, FRAME_TILE + 1])
def test_nearest_codes(size: int, frames: int) -> None:
    """Codes may differ only where two are equally near to within float32: checked in float64."""
    torch.manual_seed(1)
    latents, table = torch.randn(frames, 32), torch.randn(size, 32)
    theirs = EuclideanCodebook(dim=32, codebook_size=size)
    theirs.embed.copy_(table)
    expected = theirs.quantize(latents)
    actual = nearest_codes(latents, table, table.square().sum(1) / 2)
    assert actual.shape == expected.shape
    assert (actual != expected).sum() <= 1
    distances = [(latents.double() - table[codes].double()).square().sum(1) for codes in (actual, expected)]
    torch.testing.assert_close(distances[0], distances[1], rtol=0, atol=1e-4)  # of distances of 10 to 60
