"""The loss and the gradients of a step: by autograd, or by what autograd did, recorded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from nplm.model import LanguageModel
from nplm.recording import record

# Contexts (n, b) and targets of a minibatch → its loss and the gradient of each parameter.
Gradients = Callable[[Tensor, Tensor], tuple[Tensor, tuple[Tensor, ...]]]

# Recording takes 6 ms, and saves 90 µs a step at batch 32 (one thread, 2026-11): by here, 18 ms.
RECORD_FROM = 200


class MinibatchLoss(nn.Module):
    """The mean cross-entropy of a minibatch in nats; contexts are (n, b), targets are tokens (n,)
    or distributions (n, V)."""

    def __init__(self, model: LanguageModel, noise: torch.Generator) -> None:
        super().__init__()
        self.model = model
        self.noise = noise

    def forward(self, contexts: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(self.model.training_logits(contexts, self.noise), targets)


def gradients_of(model: LanguageModel, noise: torch.Generator, steps: int) -> Gradients:
    """Return the quicker way to take ``steps`` steps of minibatches of one shape; both ways give
    the same bits. Where recording pays, the first minibatch is recorded. ``noise`` is on the
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
    """Return gradients by autograd, which builds a graph for each minibatch; dropout's masks are
    drawn from ``noise``."""
    minibatch_loss, parameters = MinibatchLoss(model, noise), list(model.parameters())

    def gradients(contexts: Tensor, targets: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        loss = minibatch_loss.forward(contexts, targets)
        return loss.detach(), torch.autograd.grad(loss, parameters)

    return gradients


def recorded(model: LanguageModel, contexts: Tensor, targets: Tensor) -> Gradients:
    """Return gradients with the same bits, without autograd's own work.

    torch.fx records the operations of one step, forward and backward, and writes them down as a
    Python function; at batch 32 a third of a step is autograd's bookkeeping
    (benchmarks/RESULTS.md). Nothing is compiled. All minibatches must have the shapes of
    ``contexts`` and ``targets``, and the model must be ``recordable``: its operations depend
    neither on the numbers nor on noise.
    """
    minibatch_loss = MinibatchLoss(model, torch.Generator())  # a recordable model draws nothing
    # the parameters' own memory without requires_grad, so that nothing is recorded while it runs
    parameters = {name: p.detach() for name, p in minibatch_loss.named_parameters()}
    values = list(parameters.values())

    def step(*tensors: Tensor) -> list[Tensor]:
        leaves = [tensor.requires_grad_() for tensor in tensors[:-2]]
        named = dict(zip(parameters, leaves, strict=True))
        loss = torch.func.functional_call(minibatch_loss, named, tensors[-2:])
        return [loss.detach(), *torch.autograd.grad(loss, leaves)]

    # record one step
    example = [*(value.clone() for value in values), contexts, targets]
    graph = record(step, example)
    # rewrite it: drop what only autograd needs, pass what never changes as an argument
    _simplify(graph)
    same = _kept(graph, values)
    graph.set_codegen(fx.graph.CodeGen())  # plain arguments and a plain list, no pytree
    run = fx.GraphModule({}, graph).forward

    def gradients(contexts: Tensor, targets: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        loss, *by_parameter = run(*values, contexts, targets, *same)
        return loss, tuple(by_parameter)

    return gradients


def _simplify(graph: fx.Graph) -> None:
    """Drop operations that only autograd needs: ``detach``, a double transpose, and flattening a
    row that is a sum."""
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
    """Turn tensors that are the same at every step into further arguments of the graph, and return
    them: transposed parameters, and the 1 that the backward pass begins with."""
    aten = torch.ops.aten
    arguments = [node for node in graph.nodes if node.op == "placeholder"]
    tensor_of = dict(zip(arguments, parameters, strict=False))
    kept: list[Tensor] = []
    for node in graph.nodes:
        if node.target is aten.t.default and node.args[0] in tensor_of:
            kept.append(tensor_of[node.args[0]].t())
        elif node.target is aten.ones_like.default:
            kept.append(torch.ones(()))
        else:
            continue
        with graph.inserting_after(arguments[-1]):
            arguments.append(graph.placeholder(f"kept_{len(kept)}"))
        node.replace_all_uses_with(arguments[-1])
    graph.eliminate_dead_code()
    return kept
