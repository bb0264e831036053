"""The loss and the gradients of a step: by autograd, or by what autograd did, recorded once."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from nplm.model import LanguageModel
from nplm.recording import Recorder, unrecordable

# Contexts (n, b) and targets of a minibatch → its loss and the gradient of each parameter.
Gradients = Callable[[Tensor, Tensor], tuple[Tensor, tuple[Tensor, ...]]]


def gradients_of(model: LanguageModel, noise: torch.Generator) -> Gradients:
    """Return the quickest way to take steps of minibatches of one shape; ``noise`` is on the
    model's device. The choice does not depend on the step, so a resumed run makes the same."""
    if model.recordable and noise.device.type == "cpu":
        return recorded(model, noise)
    return by_autograd(model, noise)


def by_autograd(model: LanguageModel, noise: torch.Generator) -> Gradients:
    """Return gradients by autograd, which builds a graph for each minibatch; dropout's masks are
    drawn from ``noise``. The loss is the mean cross-entropy in nats, and targets are tokens (n,) or
    distributions (n, V)."""
    parameters = list(model.parameters())

    def gradients(contexts: Tensor, targets: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        loss = F.cross_entropy(model.training_logits(contexts, noise), targets)
        return loss.detach(), torch.autograd.grad(loss, parameters)

    return gradients


def recorded(model: LanguageModel, noise: torch.Generator) -> Gradients:
    """Return gradients without autograd's own work: the same bits but for tanh, whose last bit may
    differ.

    Autograd takes the first minibatch, and its operations, forward and backward, are recorded as a
    Python function that takes the others. Nothing is compiled. All minibatches must have the shapes
    of the first, and the model must be ``recordable``.
    """
    first, run = by_autograd(model, noise), None

    def gradients(contexts: Tensor, targets: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        nonlocal run
        if run is not None:
            loss, *by_parameter = run(contexts, targets)
            return loss, tuple(by_parameter)
        buffers = [*model.buffers()]
        with Recorder([contexts, targets], [*model.parameters(), *buffers]) as recorder:
            result = first(contexts, targets)
        if [*map(id, model.buffers())] != [*map(id, buffers)]:
            raise unrecordable("a buffer that it replaces, instead of changing its numbers")
        run = recorder.function([result[0], *result[1]])
        return result

    return gradients
