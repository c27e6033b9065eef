"""torch.compile in training: encoder, decoder and every discriminator, for the one shape that segments have.

They are compiled in place (`nn.Module.compile`): the names of the weights, checkpoints and the average are those of a run
that is not compiled. The latents' scale and the quantizer between them are not compiled: searching a codebook is a loop
of matrix products, which would be unrolled into hundreds of kernels, and so switching quantization on compiles nothing.
Losses, augmentation and optimizers run as they are, too. What is compiled rounds differently.
"""

from __future__ import annotations

import torch
import torch._inductor.config
from torch import Tensor, nn

from audiocodec.codec.torch import Codec
from audiocodec.errors import TrainingError

BACKEND = "inductor"


def compile_modules(codec: Codec, discriminators: nn.ModuleDict) -> None:
    """Compile in place, each when it is first called; the weights stay where they are.

    Args:
        codec: on its device.
        discriminators: of the run.

    Raises:
        TrainingError: torch.compile does not work on this machine.
    """
    try:
        torch.compile(_doubled, backend=BACKEND)(torch.ones(8, device=codec.device))
    except Exception as error:  # a missing compiler, Triton or header: each has an exception of its own
        cause = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        need = "it needs a C++ compiler and Python's headers, on a GPU Triton; or set train.compile=false"
        raise TrainingError(f"train.compile: torch.compile fails on {codec.device}; {need}: {cause}") from error
    # A step goes backward through a discriminator more than once. torch sees that when it compiles, but its cache on disk does
    # not tell such a backward pass from that of a single one, which writes over what the second one needs: the gradients
    # were wrong, or torch refused.
    if discriminators:
        torch._inductor.config.fx_graph_cache = False
    for module in (codec.encoder, codec.decoder, *discriminators.values()):
        module.compile(dynamic=False, backend=BACKEND)


def _doubled(x: Tensor) -> Tensor:
    return 2 * x
