"""The interfaces of two benchmarks, as they document them: Codec-SUPERB's `BaseCodec` and DASB's `Codec`.

Neither is in a package index. Only what they call and what a codec must define is here, in words of our own.
"""

from __future__ import annotations

import sys
import types
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass
class ExtractedUnit:
    unit: torch.Tensor
    stuff_for_synth: object


@dataclass
class BatchExtractedUnit:
    units: list[torch.Tensor]
    stuff_for_synth: list[Any]
    batch_size: int


class BaseCodec(ABC):
    """Codec-SUPERB: the constructor sets the device, then `config` is called once."""

    def __init__(self) -> None:
        self.device = "cpu"
        self.sampling_rate: Any = None
        self.setting: Any = None
        if not hasattr(self, "supports_decode"):
            self.supports_decode = True
        self.config()

    @abstractmethod
    def config(self) -> None: ...

    @abstractmethod
    def extract_unit(self, data: Any) -> Any: ...

    @abstractmethod
    def decode_unit(self, stuff_for_synth: Any) -> Any: ...

    def synth(self, data: dict[str, Any]) -> dict[str, Any]:
        """At the codec's rate; the suite resamples before and after."""
        found = self.extract_unit(data)
        wav = self.decode_unit(found.stuff_for_synth)
        return {"unit": found.unit, "audio": {"array": wav, "sampling_rate": self.sampling_rate}}

    def is_1d(self) -> bool:
        unit = self.extract_unit({"audio": {"array": np.zeros(16000), "sampling_rate": 16000}}).unit
        return len([size for size in unit.squeeze().shape if size > 1]) <= 1

    def batch_extract_unit(self, data_list: list[Any]) -> Any:
        raise NotImplementedError

    def batch_decode_unit(self, batch_extracted_unit: Any) -> Any:
        raise NotImplementedError


class DasbInterface(torch.nn.Module, ABC):
    """DASB: public methods fill in `length`, then call those with an underscore. Resampling is left out: equal rates."""

    def __init__(self, sample_rate: int, orig_sample_rate: int, mode: str = "reconstruct") -> None:
        super().__init__()
        if mode not in ("encode", "decode", "reconstruct"):
            raise ValueError(mode)
        self.sample_rate, self.orig_sample_rate, self.mode = sample_rate, orig_sample_rate, mode

    def forward(self, given: torch.Tensor, length: torch.Tensor | None = None) -> torch.Tensor:
        length = torch.ones(len(given)) if length is None else length
        if self.mode == "decode":
            return self._toks_to_sig(given, length)
        toks = self._sig_to_toks(given, length)
        return toks if self.mode == "encode" else self._toks_to_sig(toks, length)

    @abstractmethod
    def embs(self) -> torch.Tensor: ...

    @abstractmethod
    def _sig_to_toks(self, sig: torch.Tensor, length: torch.Tensor) -> torch.Tensor: ...

    @abstractmethod
    def _sig_to_feats(self, sig: torch.Tensor, length: torch.Tensor) -> torch.Tensor: ...

    @abstractmethod
    def _sig_to_qfeats(self, sig: torch.Tensor, length: torch.Tensor) -> torch.Tensor: ...

    @abstractmethod
    def _toks_to_sig(self, toks: torch.Tensor, length: torch.Tensor) -> torch.Tensor: ...


@contextmanager
def installed() -> Iterator[None]:
    """`SoundCodec.base_codec.general` and `audiocodecs.codec`, as if the suites were installed."""
    modules = {name: types.ModuleType(name) for name in ("SoundCodec", "SoundCodec.base_codec", "audiocodecs")}
    general, codec = types.ModuleType("SoundCodec.base_codec.general"), types.ModuleType("audiocodecs.codec")
    general.__dict__.update(BaseCodec=BaseCodec, ExtractedUnit=ExtractedUnit, BatchExtractedUnit=BatchExtractedUnit)
    codec.__dict__["Codec"] = DasbInterface
    modules |= {general.__name__: general, codec.__name__: codec}
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
