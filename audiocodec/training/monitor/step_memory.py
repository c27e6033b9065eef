"""The memory of a training step beside its weights: tensors alive at once, of steps on one and on two segments.

Both halves of a step are run with their backward passes, every storage is counted while it is alive, and what two
segments take more than one is scaled to the batch. So whatever lives beside what autograd keeps is in it: features of
the real audio, gradients of activations. What a kernel allocates inside one operation is not, nor what an allocator
keeps of what was freed.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from audiocodec.codec.torch import Codec
from audiocodec.config.schema import Config
from audiocodec.training.losses import DiscriminatorBundle, Steps


def activation_bytes(codec: Codec, discriminators: nn.ModuleDict, config: Config) -> tuple[int, int]:
    """Bytes of one batch: what the codec's forward pass leaves, and the most that the rest of a step holds beside it."""
    one, two = (_phases(codec, discriminators, config, items) for items in (1, 2))
    more = config.train.batch_size - 1  # what one and two have in common, such as normalised weights, is there once
    of_codec, *peaks = (a + more * (b - a) for a, b in zip(one, two, strict=True))  # another phase may be the largest
    return of_codec, max(peaks) - of_codec


def _phases(codec: Codec, discriminators: nn.ModuleDict, config: Config, items: int) -> list[int]:
    """Bytes held after the codec's forward pass, and the most in each phase of a step on so many segments."""
    steps = Steps(config, torch.device("cpu"))
    adversarial = bool(discriminators) and config.discriminator.start_step < config.train.steps
    bundle = DiscriminatorBundle(discriminators, config.discriminator_samples)
    live, peaks = LiveTensors(_standing(codec, discriminators)), []

    def backward(loss: Tensor, **how: Any) -> None:
        peaks.append(live.take_peak())
        loss.backward(**how)
        peaks.append(live.take_peak())

    with live:
        wav = torch.randn(items, 1, config.segment_samples) * 0.1
        with torch.autocast("cpu", torch.bfloat16, enabled=config.train.precision == "bf16"):
            output = codec(wav)
            of_codec = live.bytes
            peaks.append(live.take_peak())
            pairs = bundle(wav, output.estimate) if adversarial else ()
        if adversarial:
            steps.discriminator(bundle, pairs, backward)
        steps.generator(output, pairs, wav, backward)
    return [of_codec, *peaks]


def _standing(*modules: nn.Module) -> list[Tensor]:
    """Weights, buffers and gradients: there all the time. Gradients are made, so that a backward pass adds to them."""
    tensors: list[Tensor] = []
    for module in modules:
        tensors += [*module.parameters(), *module.buffers()]
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
                tensors.append(parameter.grad)
    return tensors


class LiveTensors(TorchDispatchMode):
    """Counts the storages that operations make, as long as they live.

    Attributes:
        bytes: that are held now.
    """

    def __init__(self, others: Iterable[Tensor]) -> None:
        """Start at nothing; the storages of `others` never count."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0
        self._peak = 0
        self._sizes: dict[int, int] = {}
        for tensor in others:
            self._watch(tensor.untyped_storage(), 0)

    def take_peak(self) -> int:
        """The most that was held since the last call."""
        peak, self._peak = self._peak, self.bytes
        return peak

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one operation and count what it made."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                self._watch(storage, storage.nbytes())
        self._peak = max(self._peak, self.bytes)
        return result

    def _watch(self, storage: torch.UntypedStorage, size: int) -> None:
        key = id(storage)  # torch keeps the Python object as long as the storage lives
        if key not in self._sizes:
            self._sizes[key] = size
            self.bytes += size
            weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.bytes -= self._sizes.pop(key)
