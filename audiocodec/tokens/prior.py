"""A prior: a small network of integers that says how probable each next code is. Its sizes, weights and file.

A causal stack of dilated, gated convolutions reads the code vectors of the frames so far. Each codebook of the next frame is
predicted digit by digit of its codes' addresses (`tokens.address`), given the codebooks and digits before it. `predictor`
computes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from audiocodec.errors import PriorError
from audiocodec.files import replacing
from audiocodec.nn.exact.integers import FloatArray, check_sums
from audiocodec.records import parse
from audiocodec.tokens.address import digit_sizes, digits_of

FORMAT = "audiocodec-prior-1"
WEIGHT_BITS = 8  # a weight of 1 is 2**8
GATED_BITS = 10  # of a product with gated activations, which are in 1/128
LOGIT_BITS = 9  # to units of 1/16
MAX_BYTES = 64 << 20

IntArray = npt.NDArray[np.integer]


@dataclass(frozen=True)
class PriorConfig:
    """Sizes of a prior.

    Attributes:
        codec: fingerprint of the codec that makes its tokens, hexadecimal.
        codebook_sizes: of that codec [K].
        segment_frames: frames of a segment of a file; each begins without a past.
        channels: of the convolutions.
        hidden: width of what predicts a codebook.
        vector_dim: of the code vectors.
        dilations: of the convolutions of two taps, in order.
    """

    codec: str
    codebook_sizes: tuple[int, ...]
    segment_frames: int
    channels: int
    hidden: int
    vector_dim: int
    dilations: tuple[int, ...]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor's name and shape."""
        c, h, d = self.channels, self.hidden, self.vector_dim
        found: dict[str, tuple[int, ...]] = {"enter.weight": (len(self.codebook_sizes) * d, c), "enter.bias": (c,)}
        for i in range(len(self.dilations)):
            found |= {f"blocks.{i}.inner.weight": (2 * c, 2 * c), f"blocks.{i}.inner.bias": (2 * c,)}
            found |= {f"blocks.{i}.outer.weight": (c, c), f"blocks.{i}.outer.bias": (c,)}
        for k, size in enumerate(self.codebook_sizes):
            stage, digits = f"stages.{k}", digit_sizes(size)
            found |= {f"{stage}.address": (size,), f"{stage}.vectors": (size, d)}
            found |= {f"{stage}.body.weight": (c + k * d, h), f"{stage}.body.bias": (h,)}
            for j, values in enumerate(digits):
                found |= {f"{stage}.digits.{j}.weight": (h, values)}
                found |= {f"{stage}.digits.{j}.bias": (digits[j - 1] if j else 1, values)}
                found |= {f"{stage}.digits.{j}.given.{i}": (digits[i], h) for i in range(j)}
        return found


class Prior:
    """A prior, read and checked.

    Attributes:
        config: its sizes.
        fingerprint: 8 bytes of all that it computes with.
    """

    def __init__(self, config: PriorConfig, tensors: Mapping[str, IntArray]) -> None:
        """Take integers.

        Raises:
            PriorError: tensors that are missing, of other shapes or ranges; or sums that would not be exact.
        """
        self.config, self.tensors = config, {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
        _check(config, self.tensors)
        digest = hashlib.sha256(_config_text(config).encode())
        for name, tensor in self.tensors.items():
            digest.update(name.encode() + tensor.astype("<i4").tobytes())
        self.fingerprint = digest.digest()[:8]

    @classmethod
    def load(cls, path: Path | str) -> Prior:
        """Read a file.

        Raises:
            PriorError: it is none, or damaged; the message names it.
        """
        try:
            if Path(path).stat().st_size > MAX_BYTES:
                raise PriorError(f"larger than {MAX_BYTES >> 20} MiB")
            with safe_open(path, "numpy") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise PriorError(f"not a prior: its format is {metadata.get('format')!r}, not {FORMAT!r}")
                config = parse(PriorConfig, json.loads(metadata["config"]))
                prior = cls(config, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - it cannot be iterated
                if metadata.get("fingerprint") != prior.fingerprint.hex():
                    raise PriorError("damaged: its fingerprint is another")
                return prior
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, RecursionError, PriorError) as error:
            raise PriorError(f"{path}: {error}") from None

    def save(self, path: Path | str) -> None:
        """Write a file; it appears whole or not at all."""
        metadata = {"format": FORMAT, "config": _config_text(self.config), "fingerprint": self.fingerprint.hex()}
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(save(self.tensors, metadata))

    @cached_property
    def weights(self) -> dict[str, FloatArray]:
        """The tensors as float32, for products."""
        return {name: tensor.astype(np.float32) for name, tensor in self.tensors.items() if "address" not in name}

    @cached_property
    def digits(self) -> list[npt.NDArray[np.int64]]:
        """Digits `[V, N]` of the codes of each codebook."""
        return [
            digits_of(self.tensors[f"stages.{k}.address"], digit_sizes(size))
            for k, size in enumerate(self.config.codebook_sizes)
        ]

    @cached_property
    def codes(self) -> list[npt.NDArray[np.int64]]:
        """Code at each address of each codebook, -1 where there is none."""
        found = []
        for k, size in enumerate(self.config.codebook_sizes):
            inverse = np.full(1 << (size - 1).bit_length(), -1)
            inverse[self.tensors[f"stages.{k}.address"]] = np.arange(size)
            found.append(inverse)
        return found


def _check(config: PriorConfig, tensors: Mapping[str, IntArray]) -> None:
    if min(config.segment_frames, config.channels, config.hidden, config.vector_dim, *config.dilations, 1) < 1:
        raise PriorError("sizes must be 1 or more")
    if (
        not config.dilations
        or not config.codebook_sizes
        or not all(2 <= size <= 1 << 16 for size in config.codebook_sizes)
    ):
        raise PriorError("needs dilations, and codebooks of 2 to 65,536 entries")
    shapes = config.shapes()
    if {name: tensor.shape for name, tensor in tensors.items()} != shapes:
        raise PriorError("its tensors are not those of its configuration")
    for name, tensor in tensors.items():
        kind = {"address": np.uint16, "bias": np.int32}.get(name.rsplit(".", 1)[-1], np.int8)
        if tensor.dtype != kind or (kind is np.int8 and tensor.min(initial=0) < -127):
            raise PriorError(f"{name} is {tensor.dtype}, must be {np.dtype(kind)} of -127 and above")
        if name.endswith(".weight") and not check_sums(tensor, tensors[name.removesuffix("weight") + "bias"]):
            raise PriorError(f"{name}: sums could be too large to be exact")
    for k, size in enumerate(config.codebook_sizes):
        if (
            len(np.unique(tensors[f"stages.{k}.address"])) != size
            or tensors[f"stages.{k}.address"].max() >> (size - 1).bit_length()
        ):
            raise PriorError(f"codebook {k}: two codes have one address, or an address is too large")


def _config_text(config: PriorConfig) -> str:
    values: dict[str, Any] = dict(vars(config))
    return json.dumps(values, sort_keys=True)
