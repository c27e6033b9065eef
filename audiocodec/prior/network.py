"""A prior in training: the same integers as `tokens.prior` computes, with gradients that pass straight through the rounding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiocodec.errors import PriorError
from audiocodec.nn.exact.integers import LIMIT, NATS, ONE
from audiocodec.nn.exact.layers import ExactEmbedding, ExactLinear, gate, rescale, rounded
from audiocodec.tokens.address import addresses_of, digit_sizes, digits_of
from audiocodec.tokens.prior import GATED_BITS, LOGIT_BITS, WEIGHT_BITS, Prior, PriorConfig

FloatArray = npt.NDArray[np.floating]


class PriorNetwork(nn.Module):
    """Codes `[B, T, K]` to the nats that each takes."""

    def __init__(self, config: PriorConfig, tables: Sequence[FloatArray]) -> None:
        """Draw weights.

        Args:
            config: sizes.
            tables: the code vectors `[V, D]` of each codebook of the codec.
        """
        super().__init__()
        self.config = config
        c = config.channels
        self.enter = ExactLinear(len(tables) * config.vector_dim, c, WEIGHT_BITS)
        self.blocks = nn.ModuleList(_Block(c, dilation) for dilation in config.dilations)
        self.stages = nn.ModuleList(_Stage(config, k, table) for k, table in enumerate(tables))

    def forward(self, codes: Tensor) -> Tensor:
        """Nats `[B, T, K]` of codes `[B, T, K]`, K or fewer codebooks of the codec; each row is a segment from its beginning."""
        used = codes.shape[-1]
        vectors = codes.new_zeros((*codes.shape[:2], self.enter.weight.shape[0]), dtype=torch.float32)
        d = self.config.vector_dim
        stages = [stage for stage in self.stages if isinstance(stage, _Stage)][:used]
        for k, stage in enumerate(stages):
            vectors[..., k * d : (k + 1) * d] = stage.vectors[codes[..., k]]
        hidden = rescale(self.enter(_later(vectors, 1)), WEIGHT_BITS)
        for block in self.blocks:
            hidden = block(hidden)
        nats = [stage(hidden, vectors[..., : k * d], codes[..., k]) for k, stage in enumerate(stages)]
        return torch.stack(nats, -1)

    def load(self, prior: Prior) -> None:
        """Take over `prior`: weights, addresses and code vectors, which go on meaning what its weights have learned.

        Raises:
            PriorError: its network or its codebooks have other sizes.
        """
        for name in ("codebook_sizes", "channels", "hidden", "vector_dim", "dilations"):
            ours, theirs = getattr(self.config, name), getattr(prior.config, name)
            if ours != theirs:
                raise PriorError(f"a prior of other sizes: its {name} is {theirs}, not {ours}")
        tensors = {name: torch.from_numpy(tensor.astype(np.float32)) for name, tensor in prior.tensors.items()}
        with torch.no_grad():
            for name, module in self.named_modules():
                if isinstance(module, ExactLinear):
                    module.weight.copy_(tensors[f"{name}.weight"] / module.scale)
                    module.bias.copy_(tensors[f"{name}.bias"] / (module.scale * ONE))
                elif isinstance(module, ExactEmbedding):
                    module.weight.copy_(tensors[name] / ONE)
                elif isinstance(module, _Stage):
                    module.take_addresses(prior.tensors[f"{name}.address"].astype(np.int64))
                    module.vectors.copy_(tensors[f"{name}.vectors"])

    def export(self) -> Prior:
        """The integers, as they are used by token files."""
        found: dict[str, npt.NDArray[np.integer]] = {}
        for name, module in self.named_modules():
            if isinstance(module, ExactLinear):
                weight, bias = module.integers()
                found[f"{name}.weight"] = _integers(weight, np.int8)
                found[f"{name}.bias"] = _integers(bias if ".digits." in name else bias[0], np.int32)
            elif isinstance(module, ExactEmbedding):
                found[name] = _integers(module.integers(), np.int8)
            elif isinstance(module, _Stage):
                found[f"{name}.address"] = module.address.numpy(force=True).astype(np.uint16)
                found[f"{name}.vectors"] = _integers(module.vectors, np.int8)
        return Prior(self.config, found)


class _Block(nn.Module):
    """A gated convolution of two taps, added to its input."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.inner = ExactLinear(2 * channels, 2 * channels, WEIGHT_BITS)
        self.outer = ExactLinear(channels, channels, WEIGHT_BITS)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.inner(torch.cat([_later(x, self.dilation), x], -1))
        return rescale(x + rescale(self.outer(gate(inner, WEIGHT_BITS)), GATED_BITS), 0)


class _Digit(ExactLinear):
    """Logits of a digit, with a bias for each value of the digit before it, and what the digits before it add to the state."""

    def __init__(self, hidden: int, sizes: tuple[int, ...], j: int) -> None:
        super().__init__(hidden, sizes[j], WEIGHT_BITS, bias_rows=sizes[j - 1] if j else 1)
        self.given = nn.ModuleList(ExactEmbedding(size, hidden) for size in sizes[:j])


class _Stage(nn.Module):
    """Predicts the code of one codebook."""

    address: Tensor
    vectors: Tensor
    code_digits: Tensor

    def __init__(self, config: PriorConfig, k: int, table: FloatArray) -> None:
        super().__init__()
        sizes = digit_sizes(len(table))
        self.register_buffer("vectors", torch.from_numpy(code_vectors(table, config.vector_dim)))
        self.take_addresses(addresses_of(table))
        self.body = ExactLinear(config.channels + k * config.vector_dim, config.hidden, WEIGHT_BITS)
        self.digits = nn.ModuleList(_Digit(config.hidden, sizes, j) for j in range(len(sizes)))

    def take_addresses(self, address: npt.NDArray[np.int64]) -> None:
        """Predict codes by these addresses `[V]`."""
        self.register_buffer("address", torch.from_numpy(address))
        self.register_buffer("code_digits", torch.from_numpy(digits_of(address, digit_sizes(len(address)))))

    def forward(self, hidden: Tensor, before: Tensor, codes: Tensor) -> Tensor:
        """Nats `[B, T]` of codes `[B, T]`, given the vectors of the codebooks before."""
        body = rescale(self.body(torch.cat([hidden, before], -1)), WEIGHT_BITS)
        digits = self.code_digits[codes]
        total = torch.zeros_like(body[..., 0])
        for j, layer in enumerate(self.digits):
            state = body
            for i, given in enumerate(layer.given):  # type: ignore[arg-type, unused-ignore]
                state = state + given(digits[..., i])
            sums = layer(rescale(state.relu(), 0), digits[..., j - 1] if j else None)
            logits = rounded(sums * 2.0**-LOGIT_BITS) / NATS
            total = total + F.cross_entropy(logits.flatten(0, 1), digits[..., j].flatten(), reduction="none").view_as(
                total
            )
        return total


def code_vectors(table: FloatArray, dim: int) -> npt.NDArray[np.float32]:
    """Code vectors as small integers: the first `dim` principal components, in units in which all of them together have a
    root mean square of 1, which is `integers.ONE`.

    Args:
        table: `[V, D]`.
        dim: components; zeros where D is less.
    """
    centred = np.asarray(table, np.float64) - np.mean(table, 0, np.float64)
    directions = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :dim]
    components = centred @ directions
    scale = np.sqrt(np.square(components[:, : min(dim, 4)]).mean()) or 1.0
    integers = np.clip(np.round(components / scale * ONE), -LIMIT, LIMIT)
    return np.pad(integers, ((0, 0), (0, dim - integers.shape[1]))).astype(np.float32)


def _later(x: Tensor, steps: int) -> Tensor:
    """`x [B, T, C]` later by so many steps, after zeros."""
    return F.pad(x, (0, 0, steps, 0))[:, : x.shape[1]]


def _integers(tensor: Tensor, kind: type[np.integer]) -> npt.NDArray[np.integer]:
    return tensor.numpy(force=True).astype(kind)
