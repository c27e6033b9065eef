"""What is kept of a bad step, to look into it later."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor, nn

from audiocodec.data.dataset import SegmentDataset
from audiocodec.files import replacing, write_text
from audiocodec.model_file import write_tensors

log = logging.getLogger("audiocodec.train")


def write_bundle(
    path: Path,
    dataset: SegmentDataset,
    items: Sequence[tuple[int, int]],
    values: Mapping[str, Tensor],
    modules: Mapping[str, nn.Module],
    **facts: Any,
) -> None:
    """Write a JSON file that names the segments of a step, and the weights it was taken with.

    A bundle that cannot be written is a line in the log and no more: what went wrong before it matters more.

    Args:
        path: of the JSON file; the weights lie beside it, with the suffix `.safetensors`.
        dataset: where the segments came from.
        items: (epoch, index) of each.
        values: losses and gradient norms.
        modules: by name; their weights are kept. Empty where they are those of an earlier bundle.
        facts: JSON-able rest.
    """
    segments = [
        {"epoch": epoch, "index": index, "utterance": where[0], "start": where[1]}
        for epoch, index in items
        for where in [dataset.locate(epoch, index)]
    ]
    try:
        losses = {name: repr(float(value)) for name, value in values.items()}  # JSON knows no NaN
        text = json.dumps({**facts, "values": losses, "segments": segments}, indent=1)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
        if modules:
            with replacing(path.with_suffix(".safetensors")) as temporary:
                write_tensors(temporary, _weights(modules))
    except (OSError, SafetensorError, RuntimeError) as error:  # RuntimeError: of a broken GPU
        log.error("%s: cannot write the crash bundle: %s", path, error)


def _weights(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    return {
        f"{module}.{name}": tensor.detach().cpu().contiguous()
        for module, weights in modules.items()
        for name, tensor in weights.state_dict().items()
    }
