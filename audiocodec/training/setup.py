"""What a run trains: the models, wrapped for the processes at work, their optimizers and the codec's average."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from accelerate.utils import broadcast, gather_object
from torch import nn

from audiocodec.build import build_codec, build_discriminators, refuse_too_large
from audiocodec.config.schema import Config
from audiocodec.training import launcher
from audiocodec.training.compilation import compile_modules
from audiocodec.training.ema import EMA
from audiocodec.training.losses import DiscriminatorBundle
from audiocodec.training.precision import distrust_wrong_kernels, usable

log = logging.getLogger("audiocodec.train")
FUSED = ("cpu", "cuda")  # devices with one kernel for all of AdamW; its step count lies there, and no step waits for it


def processes(device: str) -> PartialState:
    """The processes that train together, as their launcher started them; waits for them the first time.

    Args:
        device: `cpu`, `cuda`, or `auto` for what Accelerate finds.

    Raises:
        UsageError: they are not as many as the launcher says.
    """
    state = PartialState(cpu=launcher.on_cpu(device))
    launcher.check_processes(state.num_processes)
    return state


class Parts:
    """Everything of a run that has weights.

    Attributes:
        accelerator: of Hugging Face Accelerate.
        precision: what the networks compute in; `train.precision`, unless the processor has no bfloat16.
        raw_codec, raw_discriminators: the modules themselves.
        codec: wrapped; what a training step calls.
        discriminators: wrapped; None where the configuration has none.
        optimizers: `codec` and, with discriminators, `discriminators`.
        ema: average of the codec.
    """

    def __init__(self, config: Config, device: str) -> None:
        """Build everything from `config`, seeded.

        Args:
            config: the run.
            device: `cpu`, `cuda`, or `auto` for what Accelerate finds.

        Raises:
            TrainingError: `train.compile`, and nothing can be compiled here.
        """
        self.config = config
        self.precision, why = usable(config.train.precision, processes(device).device)
        self.accelerator = Accelerator(
            cpu=launcher.on_cpu(device),
            mixed_precision="bf16" if self.precision == "bf16" else "no",
            gradient_accumulation_steps=config.train.gradient_accumulation,
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)],
        )
        if why and self.accelerator.is_main_process:
            log.warning("%s", why)
        refuse_too_large(config.quantizer, True, self.accelerator.device)
        if self.accelerator.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # all segments have one length
        torch.manual_seed(config.seed)
        self.raw_codec = build_codec(config)
        self.ema = EMA(self.raw_codec, config.train.ema_decay)  # before `forward` is wrapped: validated in float32
        self.ema.average.to(self.accelerator.device)
        self.raw_discriminators = DiscriminatorBundle(build_discriminators(config), config.discriminator_samples)
        self.optimizers = {"codec": self._adamw(self.raw_codec, config.train.learning_rate)}
        self.codec = self._prepare(self.raw_codec)
        self.discriminators = None
        if self.raw_discriminators.discriminators:
            rate = config.train.discriminator_learning_rate
            self.optimizers["discriminators"] = self._adamw(self.raw_discriminators, rate)
            self.discriminators = self._prepare(self.raw_discriminators)
        if self.precision == "bf16" and (wrong := distrust_wrong_kernels(self.raw_codec, self.accelerator.device)):
            log.warning("float32 where this machine's bfloat16 kernel is wrong: %s", ", ".join(wrong))
        if config.train.compile:
            compile_modules(self.raw_codec, self.raw_discriminators.discriminators)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Modules of the training state, by name."""
        modules: dict[str, nn.Module] = {"codec": self.raw_codec, "ema": self.ema.average}
        return modules | ({"discriminators": self.raw_discriminators} if self.discriminators is not None else {})

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Set the rate of each optimizer, by name."""
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = rates[name]

    def clip(self, with_discriminators: bool) -> dict[str, torch.Tensor]:
        """Clip the gradients; returns their norms before that."""
        t = self.config.train
        norms = {"gradient/codec": _clip(self.raw_codec, t.clip_norm)}
        if with_discriminators:
            norms["gradient/discriminators"] = _clip(self.raw_discriminators, t.discriminator_clip_norm)
        return norms

    def update(self, with_discriminators: bool) -> None:
        """Apply the gradients."""
        for name, optimizer in self.optimizers.items():
            if name == "codec" or with_discriminators:
                optimizer.step()
                # The fused kernel writes past autograd, which counts changes; what is kept until a weight changes counts on it.
                for group in optimizer.param_groups:
                    for parameter in group["params"]:
                        torch.autograd.graph.increment_version(parameter)
        self.ema.update(self.raw_codec)

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()

    @contextlib.contextmanager
    def synchronised(self, last: bool) -> Iterator[None]:
        """Exchange gradients between processes only where this is the `last` micro-batch of a step."""
        with contextlib.ExitStack() as stack:
            if not last:
                stack.enter_context(self.accelerator.no_sync(self.codec))
                if self.discriminators is not None:
                    stack.enter_context(self.accelerator.no_sync(self.discriminators))
            yield

    def finite(self, values: Iterable[torch.Tensor]) -> bool:
        """Whether all of these scalars are finite, on every process: the one time that a step waits for the device."""
        bad = torch.stack(list(values)).isfinite().logical_not().any().float()
        return float(self.accelerator.reduce(bad) if self.accelerator.num_processes > 1 else bad) == 0

    def agree(self, stop: bool, seconds: float) -> tuple[bool, float]:
        """Whether any process wants to stop, and the first one's `seconds`: the same answer on all of them."""
        if self.accelerator.num_processes == 1:
            return stop, seconds
        ours = [float(stop), seconds if self.accelerator.is_main_process else 0.0]
        wanted, first = self.accelerator.reduce(torch.tensor(ours, device=self.accelerator.device)).tolist()
        return wanted > 0, first

    def gather(self, value: Any) -> list[Any]:
        """`value` of every process, in their order."""
        gathered: list[Any] = gather_object([value])
        return gathered

    def concatenated(self, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor [N, ...]` of every process, in their order, as one `[P N, ...]`; N must be the same everywhere."""
        together: torch.Tensor = self.accelerator.gather(tensor)
        return together

    def share_quantizer(self) -> None:
        """Give every process the first one's quantizer: starts may draw, and sum in an order of their own."""
        if self.accelerator.num_processes > 1:
            for tensor in self.raw_codec.quantizer.state_dict().values():
                tensor.copy_(broadcast(tensor))

    def _adamw(self, module: nn.Module, rate: float) -> torch.optim.AdamW:
        t = self.config.train
        trained = [p for p in module.parameters() if p.requires_grad]
        fused = self.accelerator.device.type in FUSED
        return torch.optim.AdamW(trained, rate, betas=t.betas, weight_decay=t.weight_decay, fused=fused)

    def _prepare(self, module: nn.Module) -> Any:
        return self.accelerator.prepare(module)


def _clip(module: nn.Module, largest: float) -> torch.Tensor:
    """Scale the gradients of a module down to a norm of `largest`; returns what it was, without waiting for the device."""
    return torch.nn.utils.clip_grad_norm_(module.parameters(), largest, foreach=True)
