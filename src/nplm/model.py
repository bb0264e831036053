"""What a model of this package is, and the multilayer perceptron (Bengio et al. 2003, eq. 1).

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

if TYPE_CHECKING:
    from nplm.data import Splits

# Keep the variance of a layer's units near one: torch.nn.init.calculate_gain for tanh and relu;
# gelu takes relu's, to which it tends.
GAINS = {"tanh": 5 / 3, "relu": math.sqrt(2), "gelu": math.sqrt(2)}
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh, "relu": F.relu, "gelu": F.gelu,
}  # fmt: skip
# "output near zero": the lecture's next part uses 0.01 for the same purpose
SMALL = 0.01
# A share of dropout is one of these many: to 1/65,536.
LEVELS = 2**16


class LanguageModel(nn.Module):
    """Next-token logits from the last ``shape.block_size`` tokens.

    A model of one's own is a subclass with ``init`` and ``logits``, made from ``(shape,
    vocabulary_size)`` and named by ``model=own model.target=module.Class`` (examples/gru). The
    rest has defaults.
    """

    # Trained by ``count``, which looks at the splits once, instead of by gradient steps.
    is_counted = False
    # Whether one step's operations, recorded, are every step's (``gradients.recorded``).
    recordable = False

    def __init__(self, shape: config.AnyModel, vocabulary_size: int) -> None:
        super().__init__()
        self.shape = shape
        self.vocabulary_size = vocabulary_size

    def init(self, generator: torch.Generator) -> None:
        """Draw the parameters from a CPU generator, in place."""
        raise NotImplementedError

    def logits(self, contexts: Tensor) -> Tensor:
        """(n, b) tokens → (n, V) unnormalised log-probabilities of the next token."""
        raise NotImplementedError

    def training_logits(self, contexts: Tensor, noise: torch.Generator) -> Tensor:
        """What a training step sees: with dropout, masks are drawn from ``noise``."""
        return self.logits(contexts)

    def log_probabilities(self, contexts: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
        """(k,) log-probability of each of the ``targets`` (k,) after the context in its row."""
        return torch.log_softmax(self.logits(contexts), 1)[rows, targets]

    def count(self, splits: Splits) -> None:
        """Learn from the counts of train (and tune on dev), where ``is_counted``."""
        raise NotImplementedError

    def tensors(self) -> dict[str, Tensor]:
        """All that makes the model what it is, by name: what a checkpoint holds."""
        return dict(self.state_dict())

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take ``tensors`` of a model of the same shape."""
        self.load_state_dict(dict(tensors))

    @property
    def embeddings(self) -> Tensor | None:
        """(V, m), where the model embeds tokens."""
        return None

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def widest(self) -> int:
        """Numbers a context occupies in the widest layer: what bounds an evaluation's memory."""
        widths = [parameter.shape[-1] for parameter in self.parameters()]
        return self.shape.block_size * max([self.vocabulary_size, *widths])


class MLP(LanguageModel):
    """The embeddings of the last b tokens through ``layers`` hidden layers; a single one of tanh
    units without direct connections is the lecture's model. With none the output layer is linear
    in the embeddings: the paper's model of no hidden units, and the same function with direct
    connections, which are then there twice."""

    shape: config.Model
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
        """(W, b) of each layer, the output's last."""
        numbers = range(1, self.shape.layers + 2)
        return [(getattr(self, f"W{k}"), getattr(self, f"b{k}")) for k in numbers]

    @torch.no_grad()
    def init(self, generator: torch.Generator) -> None:
        """Draw C, W1, b1, W2, b2 … in this order, then D.

        ``lecture``: standard normal. ``scaled``: a hidden layer's weights by the gain of its units
        over the root of its fan-in, biases zero, output and direct weights small, so that the
        first loss is about ln V.
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
        """(n, b) tokens → (n, V) unnormalised log-probabilities of the next token."""
        return self._forward(contexts, None)

    def training_logits(self, contexts: Tensor, noise: torch.Generator) -> Tensor:
        """With ``dropout`` on hidden units and ``emb_dropout`` on the numbers of embeddings."""
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
    def recordable(self) -> bool:  # type: ignore[override]  # a constant elsewhere
        """Masks are drawn anew at each step."""
        return self.shape.dropout == self.shape.emb_dropout == 0

    @property
    def embeddings(self) -> Tensor:
        return self.C

    @property
    def widest(self) -> int:
        return max(max(weights.shape) for weights, _ in self.layers)


def dropped(units: Tensor, share: float, noise: torch.Generator | None) -> Tensor:
    """Each number is zero with probability ``share``, the others grow by 1/(1 - share): the
    expected value stays (Srivastava et al. 2014, 10). Without ``noise``, at evaluation, as is."""
    if noise is None or share == 0:
        return units
    # four numbers of 16 bits from each draw: a third of what bernoulli_ takes (measured, CPU)
    draws = torch.empty(-(-units.numel() // 4), dtype=torch.int64, device=units.device)
    bits = draws.random_(-(2**63), None, generator=noise).view(torch.int16)[: units.numel()]
    limit = min(round(share * LEVELS), LEVELS - 1)
    kept = bits.to(units.dtype).ge_(limit - LEVELS // 2).mul_(LEVELS / (LEVELS - limit))
    return units * kept.view(units.shape)
