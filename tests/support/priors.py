"""Small priors with random weights, for codecs that need not exist."""

from __future__ import annotations

import numpy as np
import torch

from audiocodec.prior.network import PriorNetwork
from audiocodec.tokens.prior import PriorConfig

CODEC = "0011223344556677"


def random_network(sizes: tuple[int, ...], seed: int = 0, segment_frames: int = 40, channels: int = 24) -> PriorNetwork:
    """A network whose counts are far from equal, of codebooks of these sizes."""
    config = PriorConfig(CODEC, sizes, segment_frames, channels, 32, 8, (1, 2, 4))
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    network = PriorNetwork(config, [random.normal(size=(size, 12)) * np.linspace(1, 0.1, 12) for size in sizes])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.7) if parameter.abs().max() else parameter.normal_(0, 0.3)
    return network
