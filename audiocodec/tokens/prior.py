"""A prior: a small network of integers that says how probable each next code is. This module computes it, on numpy.

A causal stack of dilated, gated convolutions reads the code vectors of the frames so far. Each codebook of the next frame is
predicted digit by digit of its codes' addresses (`tokens.address`), given the codebooks and digits before it. All arithmetic is
that of `nn.exact.integers`: the same counts on every machine, which is what makes it fit to drive an entropy coder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
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
from audiocodec.nn.exact.integers import FloatArray, check_sums, counts, gate, product, rescale
from audiocodec.records import parse
from audiocodec.tokens.address import address_of_digits, digit_sizes, digits_of

FORMAT = "audiocodec-prior-1"
WEIGHT_BITS = 8  # a weight of 1 is 2**8
GATED_BITS = 10  # of a product with gated activations, which are in 1/128
LOGIT_BITS = 9  # to units of 1/16
MAX_BYTES = 64 << 20

IntArray = npt.NDArray[np.integer]
Choose = Callable[[int, int, FloatArray], IntArray]


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


class Predictor:
    """Several independent sequences of frames, predicted in step."""

    def __init__(self, prior: Prior, count: int, num_codebooks: int) -> None:
        """Begin without a past.

        Args:
            prior: what predicts.
            count: sequences.
            num_codebooks: of the tokens, counted from the first; K or fewer.
        """
        self._prior, self._weights, self._num_codebooks = prior, prior.weights, num_codebooks
        config = prior.config
        shape = count, config.channels
        self._past = [np.zeros((dilation, *shape), np.float32) for dilation in config.dilations]
        self._vectors = np.zeros((count, len(config.codebook_sizes) * config.vector_dim), np.float32)
        self._step = 0

    def frame(self, choose: Choose) -> npt.NDArray[np.int64]:
        """Predict the next frame and take it.

        Args:
            choose: of (codebook, digit, counts `[count, values]`) the digits `[count]`.

        Returns:
            The codes chosen `[count, num_codebooks]`; -1 where digits are of no code.
        """
        config, d = self._prior.config, self._prior.config.vector_dim
        hidden, found = self._hidden(), []
        self._vectors[:] = 0
        for k in range(self._num_codebooks):
            digits: list[IntArray] = []
            body = self._linear(f"stages.{k}.body", np.hstack([hidden, self._vectors[:, : k * d]]), WEIGHT_BITS)
            for j in range(len(digit_sizes(config.codebook_sizes[k]))):
                digits.append(choose(k, j, self._counts(k, j, body, digits)))
            address = address_of_digits(np.stack(digits, -1), digit_sizes(config.codebook_sizes[k]))
            found.append(self._prior.codes[k][address])
            self._vectors[:, k * d : (k + 1) * d] = self._weights[f"stages.{k}.vectors"][found[-1]]
        self._step += 1
        return np.stack(found, -1)

    def _hidden(self) -> FloatArray:
        """What the frames so far say of the next `[count, channels]`."""
        x = self._linear("enter", self._vectors, WEIGHT_BITS)
        for i, past in enumerate(self._past):
            place = self._step % len(past)
            inner = self._sums(f"blocks.{i}.inner", np.hstack([past[place], x]))
            past[place] = x
            outer = self._linear(f"blocks.{i}.outer", gate(inner, WEIGHT_BITS), GATED_BITS)
            x = rescale(x + outer, 0)
        return x

    def _counts(self, k: int, j: int, body: FloatArray, digits: list[IntArray]) -> FloatArray:
        name = f"stages.{k}.digits.{j}"
        state = body
        for i, digit in enumerate(digits):
            state = state + self._weights[f"{name}.given.{i}"][digit]
        bias = self._weights[f"{name}.bias"][digits[-1] if digits else np.zeros(len(body), np.intp)]
        return counts(product(rescale(np.maximum(state, 0), 0), self._weights[f"{name}.weight"], bias), LOGIT_BITS)

    def _sums(self, name: str, x: FloatArray) -> FloatArray:
        return product(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _linear(self, name: str, x: FloatArray, shift: int) -> FloatArray:
        return rescale(self._sums(name, x), shift)


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
