"""What a launcher asks of a run through the environment: it is obeyed, or refused by name before anything is built."""

from __future__ import annotations

import os

import torch

from audiocodec.config.schema import Config
from audiocodec.errors import UsageError

_NO = ("", "0", "no", "n", "off", "f", "false")
_UNSUPPORTED = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed is not supported",
    "ACCELERATE_USE_FSDP": "FSDP is not supported",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM is not supported",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "parallelism other than that of the data is not supported",
    "ACCELERATE_USE_SAGEMAKER": "SageMaker's launcher is not supported",
    "ACCELERATE_DYNAMO_BACKEND": "it is train.compile=true that compiles",
}


def check(config: Config, device: str) -> None:
    """Refuse what contradicts the configuration and `--device`.

    Args:
        config: of the run.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        UsageError: naming the variable and what to say instead, or that there is no CUDA device.
    """
    for name, why in _UNSUPPORTED.items():
        if _is_set(name):
            raise UsageError(f"train: {name}={os.environ[name]}: {why}")
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION", "").lower()
    if precision not in _NO and precision != config.train.precision:
        _contradicts("ACCELERATE_MIXED_PRECISION", f"train.precision={config.train.precision}")
    ours = str(config.train.gradient_accumulation)
    if os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", ours) != ours:
        _contradicts("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", f"train.gradient_accumulation={ours}")
    wanted = os.environ.get("ACCELERATE_TORCH_DEVICE", "")
    if device != "auto" and wanted and wanted.partition(":")[0] != device:
        _contradicts("ACCELERATE_TORCH_DEVICE", f"--device {device}")
    if device == "cuda" and _is_set("ACCELERATE_USE_CPU"):
        _contradicts("ACCELERATE_USE_CPU", "--device cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: no CUDA device is available")
    if _stated_processes() > 1 and not {"RANK", "LOCAL_RANK"} <= os.environ.keys() and not _is_mpi():
        raise UsageError(
            f"train: WORLD_SIZE={os.environ['WORLD_SIZE']}, but RANK and LOCAL_RANK are not set; start it with "
            "`accelerate launch` or torchrun, or unset WORLD_SIZE"
        )


def check_processes(found: int) -> None:
    """Refuse to be one of several trainers that do not know of each other.

    Args:
        found: processes that train together.

    Raises:
        UsageError: the launcher has started another number.
    """
    if not _is_mpi() and _stated_processes() not in (1, found):
        raise UsageError(f"train: WORLD_SIZE={os.environ['WORLD_SIZE']}, but {found} process(es) train together here")


def on_cpu(device: str) -> bool:
    """Whether to train on the CPU."""
    launched = "LOCAL_RANK" in os.environ and not torch.cuda.is_available()  # Accelerate would see single processes
    return device == "cpu" or (device == "auto" and (launched or _is_set("ACCELERATE_USE_CPU")))


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").lower() not in _NO


def _is_mpi() -> bool:
    return any(name in os.environ for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"))


def _stated_processes() -> int:
    text = os.environ.get("WORLD_SIZE", "1")
    return int(text) if text.isdecimal() else 1


def _contradicts(name: str, setting: str) -> None:
    raise UsageError(f"train: {name}={os.environ[name]} contradicts {setting}; change one of them")
