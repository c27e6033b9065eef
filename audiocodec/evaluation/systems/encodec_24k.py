"""EnCodec at 24 kHz (Defossez et al. 2022) through the package `encodec`, with weights from a file.

The package would fetch its weights; here the file `encodec_24khz-d7cc33bc.th` that it fetches, or the same state dict
as `.safetensors`, is given. Non-causal entropy coding with its language model is left out (it needs a second model), so a
code of 1024 entries is 10 bits. The file is what `encodec.compress` writes: header, packed codes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from audiocodec.audio import io
from audiocodec.errors import AudioCodecError, CheckpointError
from audiocodec.evaluation.systems.baseline import Coded, fit
from audiocodec.installing import advice
from audiocodec.metrics.pairs import FloatArray

_SHOWN = 3  # names in a message about weights that do not fit


@dataclass(frozen=True)
class EnCodec24k:
    """EnCodec at 1.5, 3, 6, 12 or 24 kbps, with the weights in a file."""

    kbps: float
    weights: str

    @property
    def name(self) -> str:
        """As in `encodec-1.5`."""
        return f"encodec-{self.kbps:g}"

    @property
    def extension(self) -> str:
        """The package's own."""
        return ".ecdc"

    def describe(self) -> str:
        """Version of the package, bandwidth, and the file of weights with its size."""
        size = Path(self.weights).stat().st_size
        return f"encodec {version('encodec')} at {self.kbps:g} kbps, {self.weights} ({size} bytes)"

    def problems(self) -> list[str]:
        """The package is missing, or the weights are not those of this model."""
        try:
            _model(self.weights)
        except ImportError as error:
            return [f"{self.name} needs the package encodec ({error}); {advice('baselines')}"]
        except AudioCodecError as error:
            return [str(error)]
        return []

    def code(self, wav: FloatArray, sample_rate: int) -> Coded:
        """See `Baseline.code`."""
        import torch
        from encodec.compress import compress

        model = _model(self.weights)
        model.set_target_bandwidth(self.kbps)
        signal = torch.from_numpy(io.resample(wav, sample_rate, model.sample_rate))[None]
        with torch.inference_mode():
            frames = model.encode(signal[None])
            decoded = model.decode(frames)[0, 0].numpy()
            data = compress(model, signal, use_lm=False)
        bits = math.ceil(math.log2(model.quantizer.bins))
        payload_bits = sum(codes.numel() * bits for codes, _ in frames)
        return Coded(data, payload_bits, fit(np.clip(decoded, -1, 1), model.sample_rate, sample_rate, len(wav)))


@lru_cache(maxsize=1)
def _model(path: str) -> Any:
    """The model with the weights of a file, ready to use."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*weight_norm.* is deprecated", category=FutureWarning)
        from encodec import EncodecModel

        model = EncodecModel.encodec_model_24khz(pretrained=False)
    weights = _read(path)
    if problems := _mismatches(model.state_dict(), weights):
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise CheckpointError(f"{path}: not the weights of EnCodec 24 kHz: {'; '.join(problems[:_SHOWN])}{more}")
    model.load_state_dict(weights)
    model.name = "encodec_24khz"  # without its own download the package leaves "unset", which `compress` refuses
    return model.eval()


def _read(path: str) -> Mapping[str, Any]:
    """A state dict; nothing but tensors is unpickled."""
    import torch
    from safetensors.torch import load_file

    try:
        if path.endswith(".safetensors"):
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for a file that is not one of its own
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: cannot read weights: {reason}") from None
    if not isinstance(found, Mapping) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise CheckpointError(f"{path}: cannot read weights: expected a state dict, names with tensors")
    return found


def _mismatches(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    missing = [f"{name} is missing" for name in expected if name not in found]
    foreign = [f"{name} is unknown" for name in found if name not in expected]
    shapes = [
        f"{name} is {list(found[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    return [*missing, *shapes, *foreign]
