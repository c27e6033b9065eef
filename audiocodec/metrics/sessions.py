"""Networks of metrics on onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def one_thread(path: Path) -> Any:
    """A session of onnxruntime on one thread of the CPU: by itself it takes all cores, whatever OMP_NUM_THREADS says."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
