"""The loss and the gradients of a step: by autograd, or by the operations that autograd did once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nplm.model import MLP

# Contexts (n, b) and targets of a minibatch → its loss and the gradient of each parameter.
Gradients = Callable[[Tensor, Tensor], tuple[Tensor, tuple[Tensor, ...]]]


class MinibatchLoss(nn.Module):
    """Mean cross-entropy in nats; targets are tokens (n,) or distributions (n, V)."""

    def __init__(self, model: MLP) -> None:
        super().__init__()
        self.model = model

    def forward(self, contexts: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(self.model.logits(contexts), targets)


def by_autograd(model: MLP) -> Gradients:
    """Walks the graph anew for each minibatch."""
    minibatch_loss, parameters = MinibatchLoss(model), list(model.parameters())

    def gradients(contexts: Tensor, targets: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        loss = minibatch_loss(contexts, targets)
        return loss.detach(), torch.autograd.grad(loss, parameters)

    return gradients


def recorded(model: MLP, contexts: Tensor, targets: Tensor) -> Gradients:
    """The same numbers, bit for bit, without autograd's own work.

    torch.fx records the operations of one step of ``by_autograd``, forward and backward, and
    writes them as a plain Python function: at batch 32 half of a step is autograd's bookkeeping
    (benchmarks/RESULTS.md). Nothing is compiled. Valid for minibatches of the shape of
    ``contexts`` and ``targets``, which are not otherwise used.
    """
    from torch.fx.experimental.proxy_tensor import make_fx  # 0.5 s, for long runs only

    minibatch_loss = MinibatchLoss(model)
    # the same storage without requires_grad: what the graph computes is not recorded again
    parameters = {name: p.detach() for name, p in minibatch_loss.named_parameters()}

    def step(*tensors: Tensor) -> list[Tensor]:
        given = {name: p.requires_grad_() for name, p in zip(parameters, tensors[:-2])}
        loss = torch.func.functional_call(minibatch_loss, given, tensors[-2:])
        return [loss.detach(), *torch.autograd.grad(loss, list(given.values()))]

    values = tuple(parameters.values())
    example = [*(p.clone() for p in values), contexts, targets]
    graph = make_fx(step)(*example).graph
    _simplify(graph)
    graph.set_codegen(torch.fx.graph.CodeGen())  # type: ignore[no-untyped-call]  # lists as they are
    run = torch.fx.GraphModule({}, graph).forward

    def gradients(contexts: Tensor, targets: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        loss, *found = run(*values, contexts, targets)
        return loss, tuple(found)

    return gradients


def _simplify(graph: Any) -> None:
    """Drop what only autograd needs: ``detach``, and transposing twice."""
    aten = torch.ops.aten
    for node in graph.nodes:
        source = node.args[0] if node.args else None
        if node.target is aten.detach.default:
            node.replace_all_uses_with(source)
        elif node.target is aten.t.default and source.target is aten.t.default:
            node.replace_all_uses_with(source.args[0])
    graph.eliminate_dead_code()
