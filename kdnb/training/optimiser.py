"""How a network takes its steps: the optimiser of a spec, and what of it a checkpoint keeps."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kdnb.training.spec import TrainSpec

BETA2 = 0.999
"""of AdamW: how much of the mean square of past gradients goes into the next; torch's default and that of Kingma & Ba 2015"""

_KEPT = {
    torch.optim.SGD: {"momentum": "momentum_buffer"},
    torch.optim.AdamW: {"first": "exp_avg", "second": "exp_avg_sq", "steps": "step"},
}
"""name in a checkpoint → name in torch, of what an optimiser holds for each weight"""


def build(network: nn.Module, settings: TrainSpec) -> torch.optim.Optimizer:
    """A fresh optimiser for a network, which is on its device already."""
    device = next(network.parameters()).device
    fused = device.type in ("cpu", "cuda")
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(
            network.parameters(),
            lr=settings.learning_rate,
            betas=(settings.momentum, BETA2),
            weight_decay=settings.weight_decay,
            fused=fused,
        )
    return torch.optim.SGD(
        network.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
        fused=fused,
    )


def step(optimiser: torch.optim.Optimizer) -> None:
    """Takes a step, also where it is being recorded (`kdnb.scale.graphs`), which torch wants to know of AdamW's."""
    for group in optimiser.param_groups:
        if "capturable" in group:
            group["capturable"] = group["params"][0].is_cuda and torch.cuda.is_current_stream_capturing()
    optimiser.step()


def state(optimiser: torch.optim.Optimizer, network: nn.Module) -> dict[str, Tensor]:
    """What it holds, as ``momentum.<weight>``; nothing before its first step."""
    return {
        f"{kept}.{name}": optimiser.state[parameter][held]
        for name, parameter in network.named_parameters()
        for kept, held in _KEPT[type(optimiser)].items()
        if optimiser.state[parameter].get(held) is not None
    }


def restore(optimiser: torch.optim.Optimizer, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Gives it back what `state` took from one; other tensors are passed over."""
    for name, parameter in network.named_parameters():
        for kept, held in _KEPT[type(optimiser)].items():
            saved = tensors.get(f"{kept}.{name}")
            if saved is not None:
                like = parameter if saved.shape == parameter.shape else saved
                # in the weight's memory format, on its device
                buffer = torch.empty_like(like, device=parameter.device, dtype=saved.dtype)
                optimiser.state[parameter][held] = buffer.copy_(saved)
