"""What is kept of a bad step, to look into it later."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from audiocodec.data.dataset import SegmentDataset


def write_bundle(
    path: Path,
    dataset: SegmentDataset,
    items: Sequence[tuple[int, int]],
    values: Mapping[str, Tensor],
    codec: torch.nn.Module | None,
    **facts: Any,
) -> None:
    """Write a JSON file that names the segments of a step, and the weights it was taken with.

    Args:
        path: of the JSON file; the weights lie beside it, with the suffix `.safetensors`.
        dataset: where the segments came from.
        items: (epoch, index) of each.
        values: losses and gradient norms.
        codec: its weights are kept; None where they are those of an earlier bundle.
        facts: JSON-able rest.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    segments = [
        {"epoch": epoch, "index": index, "utterance": where[0], "start": where[1]}
        for epoch, index in items
        for where in [dataset.locate(epoch, index)]
    ]
    losses = {name: repr(float(value)) for name, value in values.items()}  # JSON knows no NaN
    path.write_text(json.dumps({**facts, "values": losses, "segments": segments}, indent=1))
    if codec is not None:
        weights = {f"codec.{name}": tensor.cpu().contiguous() for name, tensor in codec.state_dict().items()}
        save_file(weights, path.with_suffix(".safetensors"))
