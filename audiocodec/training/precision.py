"""What the networks of a run compute in: float32, or bfloat16 where it is asked for and the processor has it.

Weights, optimizers, the average, latents and their scale, quantizer, Fourier transforms and losses are float32 either
way; bfloat16 is for convolutions and matrix products (torch's autocast). A processor without instructions for it
converts every number back and forth, which takes longer than float32; such a run goes on in float32, which loses
nothing, and says so. Cards are taken at their word.
"""

from __future__ import annotations

import torch
from torch import nn

from audiocodec import machine
from audiocodec.nn.conv import Conv1d

INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")  # of x86, as the kernel names them, and of Arm
LARGEST_ERROR = 0.05  # of a right kernel's result, relative; 0.003 is usual
TRIED_STEPS = 200  # outputs that a kernel is tried on


def usable(precision: str, device: torch.device) -> tuple[str, str]:
    """What a run on `device` computes in.

    Args:
        precision: `train.precision`.
        device: where it runs.

    Returns:
        The precision, and why it is not the one that was asked for; empty where it is.
    """
    if precision != "bf16" or device.type != "cpu":
        return precision, ""
    flags = machine.cpu_flags()
    if flags is None:
        return (
            "float32",
            f"train.precision: bf16, but {machine.CPUINFO} does not tell whether this processor has it: float32",
        )
    if not flags.intersection(INSTRUCTIONS):
        lacking = ", ".join(INSTRUCTIONS[:2])
        return "float32", f"train.precision: bf16, but this processor has no instructions for it ({lacking}): float32"
    return precision, ""


@torch.no_grad()
def distrust_wrong_kernels(module: nn.Module, device: torch.device) -> list[str]:
    """Have the convolutions below `module` whose bfloat16 kernel is wrong on this machine computed in float32.

    oneDNN's kernel for AMX (of torch 2.13; seen on a Xeon with `amx_bf16`) gives another result for convolutions of 16 or 24
    channels with a stride of half their taps or more, off by as much as the result is large. A run in bfloat16 then
    learns what no other machine computes. `nn.conv` asks it for none with such strides; whatever else may be wrong is
    found here: each layer is tried on noise, once.

    Returns:
        Names of these layers, with the relative error.
    """
    found = []
    for name, layer in module.named_modules():
        if isinstance(layer, Conv1d) and (error := _error(layer, device)) > LARGEST_ERROR:
            layer.in_float32 = True
            found.append(f"{name} ({error:.0%})")
    return found


def _error(layer: Conv1d, device: torch.device) -> float:
    """Relative difference between bfloat16 and float32."""
    conv, generator = layer.conv, torch.Generator().manual_seed(0)
    span = (conv.kernel_size[0] - 1) * conv.dilation[0] + 1 + TRIED_STEPS * layer.stride
    x = torch.randn(2, conv.in_channels, span, generator=generator).to(device)
    with torch.enable_grad():  # without, the kernels of inference would be tried
        expected = layer.convolve(x)
        with torch.autocast(device.type, torch.bfloat16):
            found = layer.convolve(x).float()
    return float((found - expected).norm() / expected.norm().clamp(min=1e-12))
