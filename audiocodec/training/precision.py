"""What the networks of a run compute in: float32, or bfloat16 where it is asked for and the processor has it.

Weights, optimizers, the average, latents and their scale, quantizer, Fourier transforms and losses are float32 either
way; bfloat16 is for convolutions and matrix products (torch's autocast). A processor without instructions for it
converts every number back and forth, which takes longer than float32; such a run goes on in float32, which loses
nothing, and says so. Cards are taken at their word.
"""

from __future__ import annotations

from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")
INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")  # of x86, as the kernel names them, and of Arm


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
    flags = _flags()
    if flags is None:
        return "float32", f"train.precision: bf16, but {CPUINFO} does not tell whether this processor has it: float32"
    if not flags.intersection(INSTRUCTIONS):
        lacking = ", ".join(INSTRUCTIONS[:2])
        return "float32", f"train.precision: bf16, but this processor has no instructions for it ({lacking}): float32"
    return precision, ""


def _flags() -> set[str] | None:
    """Instruction sets of the first processor; None where the system does not list them."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    named = (line.split(":", 1) for line in lines if ":" in line)
    found = next((value for name, value in named if name.strip() in ("flags", "Features")), None)
    return None if found is None else set(found.split())
