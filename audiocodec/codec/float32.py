"""Inference in float32, whatever the caller has set: autocast, gradients, or lower precision for oneDNN's kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def float32_inference() -> Iterator[None]:
    """Without gradient and autocast, and with float32 products on the CPU computed as such; also a decorator."""
    mkldnn: Any = torch.backends.mkldnn
    settings = [mkldnn.matmul, mkldnn.conv] if hasattr(mkldnn, "matmul") else []  # torch before 2.9 has one for both
    before = [setting.fp32_precision for setting in settings] or [torch.get_float32_matmul_precision()]
    _set(settings, ["ieee"] * len(settings) or ["highest"])
    try:
        with torch.inference_mode(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        _set(settings, before)


def _set(settings: list[Any], values: list[str]) -> None:
    if not settings:
        torch.set_float32_matmul_precision(values[0])
    for setting, value in zip(settings, values):
        setting.fp32_precision = value
