"""Carry weights from EnCodec's modules over to ours, layer by layer in the order of definition."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv1d, nn.ConvTranspose1d, nn.Conv2d)


def shake(module: nn.Module) -> None:
    """Random gains for weight normalisation; as it starts, gain and direction agree and a lost gain would not show.

    They are 2 in the mean, so that signals neither die nor explode on their way through the layers.
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("weight_g"):
                parameter.mul_(1 + 2 * torch.rand_like(parameter))


def carry_over(theirs: nn.Module, ours: nn.Module) -> None:
    """Copy all convolutions and LSTMs; every parameter of both sides must be used exactly once."""
    for kinds in (CONVOLUTIONS, (nn.LSTM,)):
        pairs = zip(_layers(theirs, kinds), _layers(ours, kinds), strict=True)
        for source, target in pairs:
            target.load_state_dict(_renamed(source.state_dict(), target))
    handled = [*_layers(ours, CONVOLUTIONS), *_layers(ours, (nn.LSTM,))]
    assert sum(len(list(layer.parameters())) for layer in handled) == len(list(ours.parameters()))


def _layers(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> list[nn.Module]:
    return [layer for layer in module.modules() if isinstance(layer, kinds)]


def _renamed(state: dict[str, Tensor], target: nn.Module) -> dict[str, Tensor]:
    """Their names (`weight_g`, `weight_v`) to those of torch's parametrization (`original0`, `original1`)."""
    if isinstance(target, nn.LSTM):
        return state
    if "weight" in state:  # not normalised: the gain is the norm over all but the first dimension
        direction = state["weight"]
        gain = direction.flatten(1).norm(dim=1).reshape(-1, *[1] * (direction.dim() - 1))
    else:
        gain, direction = state["weight_g"], state["weight_v"]
    return {
        "bias": state["bias"],
        "parametrizations.weight.original0": gain,
        "parametrizations.weight.original1": direction,
    }
