"""Optimisers, and learning rates as pure functions of the step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from nplm import config

# torch.optim.lr_scheduler.OneCycleLR's defaults (Smith & Topin 2018): the rate starts at peak/25
# and ends at peak/25/10,000.
START_DIVISOR, END_DIVISOR = 25.0, 1e4
# Keeps AdamW's step finite where a gradient is always zero (torch.optim.AdamW's default).
EPSILON = 1e-8


def learning_rate(optim: config.Sgd | config.AdamW, step: int) -> float:
    """Return the learning rate of ``step``, which counts from 0 to ``optim.steps`` - 1."""
    if isinstance(optim, config.Sgd):
        return _inverse(optim, step) if optim.schedule == "inverse" else _drop(optim, step)
    return _one_cycle(optim, step) if optim.schedule == "one_cycle" else _cosine(optim, step)


def _drop(optim: config.Sgd, step: int) -> float:
    return optim.lr if step < decay_step(optim) else optim.lr * optim.decay_factor


def _inverse(optim: config.Sgd, step: int) -> float:
    """Decay by 1/step: Bengio et al. (2003), section 3.1, use a decay rate of 1e-8 per example."""
    return optim.lr / (1 + optim.decay_rate * step)


def decay_step(optim: config.Sgd) -> int:
    """Return the first step at the lower rate: half of the steps unless it is given."""
    return optim.steps // 2 if optim.decay_step is None else optim.decay_step


def _one_cycle(optim: config.AdamW, step: int) -> float:
    """Rise by a cosine from peak/25 over the warm-up, then fall by a cosine to nearly zero."""
    start, end = optim.lr / START_DIVISOR, optim.lr / START_DIVISOR / END_DIVISOR
    peak_at = optim.warmup * optim.steps - 1
    last = optim.steps - 1
    if step <= peak_at:
        return _between(start, optim.lr, step / peak_at if peak_at > 0 else 1.0)
    return _between(optim.lr, end, (step - peak_at) / (last - peak_at) if last > peak_at else 1.0)


def _cosine(optim: config.AdamW, step: int) -> float:
    """Rise linearly over the warm-up, then fall by a cosine to zero."""
    warm = optim.warmup * optim.steps
    if step < warm:
        return optim.lr * (step + 1) / math.ceil(warm)
    return _between(optim.lr, 0.0, (step - warm) / (optim.steps - warm))


def _between(first: float, last: float, share: float) -> float:
    """Return half a cosine wave's value, from ``first`` at share 0 to ``last`` at share 1."""
    return last + (first - last) / 2 * (1 + math.cos(math.pi * share))


class Optimiser(Protocol):
    """What the loop needs: it changes the parameters in place, and has its state as tensors."""

    def step(self, gradients: tuple[Tensor, ...], rate: float) -> None:
        """Update the parameters with one gradient each, at the learning rate ``rate``."""

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint holds, by name."""
        ...

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state`` returned."""


def decays(parameters: Sequence[Tensor], weight_decay: float) -> list[float]:
    """Return the decay of each parameter: biases, the vectors here, do not decay (Bengio et al.
    2003, section 3.1)."""
    return [weight_decay if parameter.ndim > 1 else 0.0 for parameter in parameters]


def clip(gradients: tuple[Tensor, ...], most: float) -> tuple[Tensor, ...]:
    """Return the gradients, scaled so that their common norm is at most ``most`` (Pascanu et al.
    2013), as in torch.nn.utils.clip_grad_norm_."""
    norm = torch.stack(torch._foreach_norm(gradients)).norm()
    scale = torch.clamp(most / (norm + 1e-6), max=1.0)
    return tuple(torch._foreach_mul(gradients, scale))


class SgdOptimiser:
    """``p -= rate · v`` with ``v = momentum · v + g + weight_decay · p``, as in torch.optim.SGD.

    We have our own because torch.optim's bookkeeping costs 30 of 160 µs a step at batch 32
    (measured); the arithmetic is torch's.
    """

    def __init__(self, parameters: Sequence[Tensor], optim: config.Sgd) -> None:
        # the same storage without requires_grad: no step has to switch autograd off
        self.parameters = [parameter.detach() for parameter in parameters]
        self.momentum = optim.momentum
        self.decays = decays(self.parameters, optim.weight_decay)
        self.velocity: tuple[Tensor, ...] = ()

    def step(self, gradients: tuple[Tensor, ...], rate: float) -> None:
        if any(self.decays):
            pulls = torch._foreach_mul(self.parameters, self.decays)
            gradients = tuple(torch._foreach_add(gradients, pulls))
        if self.momentum:
            if self.velocity:
                torch._foreach_mul_(self.velocity, self.momentum)
                torch._foreach_add_(self.velocity, gradients)
            else:
                self.velocity = tuple(gradient.clone() for gradient in gradients)
            gradients = self.velocity
        torch._foreach_add_(self.parameters, gradients, alpha=-rate)

    def state(self) -> dict[str, Tensor]:
        return {f"velocity.{i}": tensor for i, tensor in enumerate(self.velocity)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        names = [f"velocity.{i}" for i in range(len(state))]
        self.velocity = tuple(
            state[name].to(parameter.device)
            for name, parameter in zip(names, self.parameters, strict=False)
        )


class AdamWOptimiser:
    """AdamW (Loshchilov & Hutter 2019, algorithm 2), by torch's fused operation.

    torch.optim.AdamW around the same operation imports torch's compiler, 0.7 s of a start-up
    (measured), and adds its bookkeeping to each step.
    """

    def __init__(self, parameters: Sequence[Tensor], optim: config.AdamW) -> None:
        self.parameters = [parameter.detach() for parameter in parameters]
        self.betas = optim.beta1, optim.beta2
        self.decays = decays(self.parameters, optim.weight_decay)
        self.means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.steps = [torch.zeros((), device=parameter.device) for parameter in self.parameters]

    def step(self, gradients: tuple[Tensor, ...], rate: float) -> None:
        torch._foreach_add_(self.steps, 1)
        if any(self.decays):
            torch._foreach_mul_(self.parameters, [1 - rate * decay for decay in self.decays])
        torch._fused_adamw_(
            self.parameters,
            list(gradients),
            self.means,
            self.squares,
            [],
            self.steps,
            lr=rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,  # taken above, where it spares the biases
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def state(self) -> dict[str, Tensor]:
        named = {"mean": self.means, "square": self.squares, "step": self.steps}
        return {
            f"{k}.{i}": tensor for k, tensors in named.items() for i, tensor in enumerate(tensors)
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        for name, tensor in self.state().items():
            tensor.copy_(state[name])


class Average:
    """An exponential moving average of the parameters, or of any tensors, over the steps.

    Its bias towards zero, where it begins, is corrected (Kingma & Ba 2015, section 7.2). With a
    ``decay`` of 0 it is the parameters themselves.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self.parameters = [parameter.detach() for parameter in parameters]
        self.decay = decay
        self.sums = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.count = torch.zeros((), dtype=torch.int64)

    def update(self) -> None:
        """Take the parameters after a step into the average."""
        torch._foreach_lerp_(self.sums, self.parameters, 1 - self.decay)
        self.count += 1

    def values(self) -> list[Tensor]:
        """Return the average of each parameter so far; before the first step, the parameters."""
        weight = 1 - self.decay ** int(self.count)
        return [tensor / weight for tensor in self.sums] if weight else self.parameters

    def state(self) -> dict[str, Tensor]:
        return {"count": self.count, **{f"sum.{i}": tensor for i, tensor in enumerate(self.sums)}}

    def load(self, state: Mapping[str, Tensor]) -> None:
        for name, tensor in self.state().items():
            tensor.copy_(state[name])


def build_optimiser(optim: config.Sgd | config.AdamW, parameters: Sequence[Tensor]) -> Optimiser:
    """Return the optimiser that ``optim`` describes; it changes ``parameters`` in place."""
    if isinstance(optim, config.Sgd):
        return SgdOptimiser(parameters, optim)
    return AdamWOptimiser(parameters, optim)
