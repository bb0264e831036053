"""The loss and the gradients of a step: by autograd, or by what autograd did, recorded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from nplm.model import LanguageModel

# Contexts (n, b) and targets of a minibatch → its loss and the gradient of each parameter.
Gradients = Callable[[Tensor, Tensor], tuple[Tensor, tuple[Tensor, ...]]]

# To import what records takes 0.5 to 1 s, once a process; a step of 32 is 50 to 70 µs shorter.
RECORD_FROM = 20_000


class MinibatchLoss(nn.Module):
    """Mean cross-entropy in nats; targets are tokens (n,) or distributions (n, V)."""

    def __init__(self, model: LanguageModel, noise: torch.Generator) -> None:
        super().__init__()
        self.model = model
        self.noise = noise

    def forward(self, contexts: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(self.model.training_logits(contexts, self.noise), targets)


def gradients_of(model: LanguageModel, noise: torch.Generator, steps: int) -> Gradients:
    """Return the quicker way to take ``steps`` steps of minibatches of one shape; both ways give
    the same bits. Where recording pays, the first minibatch is recorded. ``noise`` lies on the
    model's device."""
    if steps < RECORD_FROM or noise.device.type != "cpu" or not model.recordable:
        return by_autograd(model, noise)
    recording: Gradients | None = None

    def gradients(contexts: Tensor, targets: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        nonlocal recording
        if recording is None:
            recording = recorded(model, contexts, targets)
        return recording(contexts, targets)

    return gradients


def by_autograd(model: LanguageModel, noise: torch.Generator) -> Gradients:
    """Builds and walks a graph for each minibatch; dropout's masks are drawn from ``noise``."""
    minibatch_loss, parameters = MinibatchLoss(model, noise), list(model.parameters())

    def gradients(contexts: Tensor, targets: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        loss = minibatch_loss.forward(contexts, targets)
        return loss.detach(), torch.autograd.grad(loss, parameters)

    return gradients


def recorded(model: LanguageModel, contexts: Tensor, targets: Tensor) -> Gradients:
    """The same bits without autograd's own work.

    torch.fx records the operations of one step, forward and backward, and writes them down as a
    Python function; at batch 32 a third of a step is autograd's bookkeeping
    (benchmarks/RESULTS.md). Nothing is compiled. For minibatches of the shapes of ``contexts``
    and ``targets``, and for models that are ``recordable``: their operations depend neither on
    the numbers nor on noise.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    minibatch_loss = MinibatchLoss(model, torch.Generator())  # which draws nothing
    # the same storage without requires_grad, so that nothing is recorded while it runs
    parameters = {name: p.detach() for name, p in minibatch_loss.named_parameters()}
    values = list(parameters.values())

    def step(*tensors: Tensor) -> list[Tensor]:
        given = [tensor.requires_grad_() for tensor in tensors[:-2]]
        named = dict(zip(parameters, given, strict=True))
        loss = torch.func.functional_call(minibatch_loss, named, tensors[-2:])
        return [loss.detach(), *torch.autograd.grad(loss, given)]

    example = [*(value.clone() for value in values), contexts, targets]
    graph = make_fx(step)(*example).graph
    _simplify(graph)
    same = _kept(graph, values)
    graph.set_codegen(fx.graph.CodeGen())  # plain arguments and a plain list, no pytree
    run = fx.GraphModule({}, graph).forward

    def gradients(contexts: Tensor, targets: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        loss, *found = run(*values, contexts, targets, *same)
        return loss, tuple(found)

    return gradients


def _simplify(graph: fx.Graph) -> None:
    """Drop what only autograd needs: ``detach``, to transpose twice, to sum into a row and then
    flatten it."""
    aten = torch.ops.aten
    for node in graph.nodes:
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node):
            continue
        if node.target is aten.detach.default:
            node.replace_all_uses_with(source)
        elif node.target is aten.t.default and source.target is aten.t.default:
            (original,) = source.args
            assert isinstance(original, fx.Node)
            node.replace_all_uses_with(original)
        elif node.target is aten.view.default and source.target is aten.sum.dim_IntList:
            node.target, node.args = source.target, (*source.args[:2], False)
    graph.eliminate_dead_code()


def _kept(graph: fx.Graph, parameters: Sequence[Tensor]) -> list[Tensor]:
    """What is the same tensor at every step, a transposed parameter or the 1 that the backward
    pass begins with, becomes a further argument of the graph; returns these arguments."""
    aten = torch.ops.aten
    arguments = [node for node in graph.nodes if node.op == "placeholder"]
    known = dict(zip(arguments, parameters, strict=False))
    found: list[Tensor] = []
    for node in graph.nodes:
        if node.target is aten.t.default and node.args[0] in known:
            found.append(known[node.args[0]].t())
        elif node.target is aten.ones_like.default:
            found.append(torch.ones(()))
        else:
            continue
        with graph.inserting_after(arguments[-1]):
            arguments.append(graph.placeholder(f"kept_{len(found)}"))
        node.replace_all_uses_with(arguments[-1])
    graph.eliminate_dead_code()
    return found
