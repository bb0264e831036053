"""The interface of a language model, and the multilayer perceptron (Bengio et al. 2003, eq. 1).

Symbols: n contexts, b = block_size, V tokens, m = emb, h = hidden, k = layers.
    C (V, m)   W1 (b·m, h)   b1 (h,)   W2 … Wk (h, h)   b2 … bk (h,)   then the output layer
    W(k+1) (h, V)   b(k+1) (V,)   and, with direct connections, D (b·m, V)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nplm import config
from sweepmore.errors import RunError

if TYPE_CHECKING:
    from nplm.data import Splits

# Gains that keep the variance of a layer's units near one: torch.nn.init.calculate_gain for tanh
# and relu; gelu takes the gain of relu, which it approaches.
GAINS = {"tanh": 5 / 3, "relu": math.sqrt(2), "gelu": math.sqrt(2)}
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh, "relu": F.relu, "gelu": F.gelu,
}  # fmt: skip
# Scale of output weights near zero: the lecture's next part uses 0.01 for the same purpose.
SMALL = 0.01
# A share of dropout is rounded to one of this many levels, to 1/65,536.
LEVELS = 2**16


class LanguageModel(nn.Module):
    """Next-token logits from the last ``shape.block_size`` tokens.

    To add a model, write a subclass with ``init`` and ``logits`` that takes ``(shape,
    vocabulary_size)``, and name it by ``model=own model.target=module.Class`` (see examples/gru).
    The other methods have defaults.
    """

    # Whether gradient steps train the model; otherwise ``count`` does, which reads the splits once.
    takes_steps = True
    # Whether all steps do the operations of the first, so that recording one suffices
    # (``gradients.recorded``).
    recordable = False
    # Whether ``training_logits`` may draw from its noise, which is seeded at each step then.
    noisy = True

    def __init__(self, shape: config.AnyModel, vocabulary_size: int) -> None:
        super().__init__()
        self.shape = shape
        self.vocabulary_size = vocabulary_size

    def init(self, generator: torch.Generator) -> None:
        """Draw the parameters from a generator on the CPU, in place."""
        raise NotImplementedError

    def logits(self, contexts: Tensor) -> Tensor:
        """Return (n, V) unnormalised log-probabilities of the next token after contexts (n, b)."""
        raise NotImplementedError

    def training_logits(self, contexts: Tensor, noise: torch.Generator) -> Tensor:
        """Return the logits (n, V) of a training step; masks of dropout are drawn from
        ``noise``."""
        return self.logits(contexts)

    def log_probabilities(self, contexts: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
        """Return (k,) the log-probability of each of the ``targets`` (k,) after its context, which
        is ``contexts[rows]`` with ``contexts`` (n, b) and ``rows`` (k,)."""
        return torch.log_softmax(self.logits(contexts), 1)[rows, targets]

    def count(self, splits: Splits) -> None:
        """Learn from the counts of train, and tune on dev; only where it takes no steps."""
        raise NotImplementedError

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that a checkpoint holds, by name: they restore the model."""
        return dict(self.state_dict())

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy the ``tensors`` of a model of the same shape. Raises RunError where they differ."""
        try:
            self.load_state_dict(dict(tensors))
        except RuntimeError as error:
            own, given = sorted(self.state_dict()), sorted(tensors)
            raise RunError(
                f"The weights do not fit the model: it has {', '.join(own)}; they are "
                f"{', '.join(given)}.",
                value=given,
                cure="The model's code has changed since: go back to the commit in the run's "
                "provenance.json, or train anew.",
            ) from error

    @property
    def embeddings(self) -> Tensor | None:
        """The embeddings (V, m): the matrix ``C``, as the lecture calls it. None without it."""
        table = getattr(self, "C", None)
        fits = isinstance(table, Tensor) and table.ndim == 2 and len(table) == self.vocabulary_size
        return table if fits else None

    @property
    def size(self) -> int:
        """The number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def widest(self) -> int:
        """How many numbers a context occupies in the widest layer, which bounds the memory of an
        evaluation."""
        widths = [parameter.shape[-1] for parameter in self.parameters()]
        return self.shape.block_size * max([self.vocabulary_size, *widths])


class MLP(LanguageModel):
    """A multilayer perceptron: the embeddings of the last b tokens go through ``layers`` hidden
    layers.

    One layer of tanh units without direct connections is the lecture's model. Without a hidden
    layer, the output is linear in the embeddings: this is the paper's model with no hidden units,
    and direct connections would only repeat the output layer.
    """

    shape: config.Model
    recordable = True
    W1: nn.Parameter  # and so on
    b1: nn.Parameter
    W2: nn.Parameter
    b2: nn.Parameter

    def __init__(self, shape: config.Model, vocabulary_size: int) -> None:
        super().__init__(shape, vocabulary_size)
        width, layers = shape.block_size * shape.emb, shape.layers
        self.C = nn.Parameter(torch.empty(vocabulary_size, shape.emb))
        widths = [width, *[shape.hidden] * layers, vocabulary_size]
        for number, (ins, outs) in enumerate(itertools.pairwise(widths), start=1):
            self.register_parameter(f"W{number}", nn.Parameter(torch.empty(ins, outs)))
            self.register_parameter(f"b{number}", nn.Parameter(torch.empty(outs)))
        if shape.direct:
            self.D = nn.Parameter(torch.empty(width, vocabulary_size))

    @property
    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weights and biases (W, b) of each layer; the output layer comes last."""
        numbers = range(1, self.shape.layers + 2)
        return [(getattr(self, f"W{k}"), getattr(self, f"b{k}")) for k in numbers]

    @torch.no_grad()
    def init(self, generator: torch.Generator) -> None:
        """Draw C, W1, b1, W2, b2 … in this order, then D.

        ``lecture``: all are standard normal. ``scaled``: the weights of a hidden layer are scaled
        by the gain of its units over the root of its fan-in, biases are zero, and output and direct
        weights are small, so that the first loss is about ln V.
        """
        for parameter in self.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        if self.shape.init == "scaled":
            *hidden, (last, _) = self.layers
            for weights, _ in hidden:
                weights.mul_(GAINS[self.shape.activation] / math.sqrt(weights.shape[0]))
            for _, biases in self.layers:
                biases.zero_()
            last.mul_(SMALL)
            if self.shape.direct:
                self.D.mul_(SMALL)

    def logits(self, contexts: Tensor) -> Tensor:
        """Return (n, V) unnormalised log-probabilities of the next token after contexts (n, b)."""
        return self._forward(contexts, None)

    def training_logits(self, contexts: Tensor, noise: torch.Generator) -> Tensor:
        """Return the logits with ``dropout`` on hidden units and ``emb_dropout`` on the embeddings'
        numbers."""
        return self._forward(contexts, noise)

    def _forward(self, contexts: Tensor, noise: torch.Generator | None) -> Tensor:
        activation = ACTIVATIONS[self.shape.activation]
        *hidden, (last, bias) = self.layers
        embedded = F.embedding(contexts, self.C)  # (n, b, m), the same as C[contexts]
        flat = embedded.view(len(contexts), -1)  # (n, b·m): no copy
        flat = dropped(flat, self.shape.emb_dropout, noise)
        units = flat
        for weights, biases in hidden:
            units = activation(torch.addmm(biases, units, weights))  # (n, h)
            units = dropped(units, self.shape.dropout, noise)
        logits = torch.addmm(bias, units, last)
        return torch.addmm(logits, flat, self.D) if self.shape.direct else logits

    @property
    def noisy(self) -> bool:  # type: ignore[override]  # a constant elsewhere
        """Whether it drops anything."""
        return not self.shape.dropout == self.shape.emb_dropout == 0

    @property
    def widest(self) -> int:
        return max(max(weights.shape) for weights, _ in self.layers)


def dropped(units: Tensor, share: float, noise: torch.Generator | None) -> Tensor:
    """Return ``units`` with each number zero with probability ``share`` and the others multiplied
    by 1/(1 - share), so that the expected value stays (Srivastava et al. 2014, section 10). Without
    ``noise``, as at evaluation, they are returned unchanged."""
    if noise is None or share == 0:
        return units
    # four numbers of 16 bits from each draw: a third of the time of bernoulli_ (measured, CPU)
    draws = torch.empty(-(-units.numel() // 4), dtype=torch.int64, device=units.device)
    bits = draws.random_(-(2**63), None, generator=noise).view(torch.int16)[: units.numel()]
    limit = min(round(share * LEVELS), LEVELS - 1)
    kept = bits.to(units.dtype).ge_(limit - LEVELS // 2).mul_(LEVELS / (LEVELS - limit))
    return units * kept.view(units.shape)
