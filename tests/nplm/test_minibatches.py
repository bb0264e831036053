"""Minibatches of all three kinds have the gradient of the split's loss; counted ones vary less."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nplm import config
from nplm.config import Config, Data, Model
from nplm.data import Split, load_splits
from nplm.losses import split_loss
from nplm.minibatches import distributions, drawing
from nplm.model import MLP
from nplm.training import fit


@pytest.fixture(params=[2, 3, 5], ids="block_size={}".format)
def split(request: pytest.FixtureRequest) -> Split:
    return load_splits(Data(), request.param).dev  # dev: a tenth of train, the same in kind


def model_for(split: Split) -> MLP:
    shape = Model(block_size=split.contexts.shape[1], emb=4, hidden=16, init="scaled")
    model = MLP(shape, 27)
    model.init(torch.Generator().manual_seed(1))
    return model


def exact_gradient(model: MLP, split: Split) -> Tensor:
    """Over every example, without counts."""
    loss = F.cross_entropy(model.logits(split.contexts), split.targets)
    return flat(torch.autograd.grad(loss, list(model.parameters())))


def gradients(model: MLP, split: Split, draw: str, batch: int, steps: int, seed: int) -> Tensor:
    """(steps, parameters) of independent minibatches."""
    optim = config.Sgd(batch_size=batch, draw=draw)  # type: ignore[arg-type]  # parametrised
    block = drawing(optim, split, 27)(steps, torch.Generator().manual_seed(seed))
    found = []
    for k in range(steps):
        contexts, targets = block(k)
        loss = F.cross_entropy(model.logits(contexts), targets)
        found.append(flat(torch.autograd.grad(loss, list(model.parameters()))))
    return torch.stack(found)


def flat(tensors: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def test_counts_are_the_examples(split: Split) -> None:
    counts = split.counts
    counted = {
        (*counts.contexts[row].tolist(), target): int(number)
        for row, target, number in zip(
            counts.rows.tolist(), counts.targets.tolist(), counts.numbers.tolist(), strict=True
        )
    }
    plain: dict[tuple[int, ...], int] = {}
    for context, target in zip(split.contexts.tolist(), split.targets.tolist(), strict=True):
        plain[(*context, target)] = plain.get((*context, target), 0) + 1
    assert counted == plain


def test_distributions_sum_to_one(split: Split) -> None:
    table = distributions(split, 27)
    assert torch.allclose(table.sum(1), torch.ones(len(table)))


def test_the_full_gradient_is_exact(split: Split) -> None:
    model = model_for(split)
    full = gradients(model, split, "full", 32, 1, 0)[0]
    assert torch.allclose(full, exact_gradient(model, split), atol=1e-6)


def test_the_full_loss_is_the_splits(split: Split) -> None:
    model = model_for(split)
    contexts, targets = drawing(config.Sgd(draw="full"), split, 27)(1, torch.Generator())(0)
    loss = F.cross_entropy(model.logits(contexts), targets).item()
    assert loss == pytest.approx(split_loss(model, split), rel=1e-6)


@pytest.mark.parametrize("draw", ["examples", "contexts"])
def test_the_expected_gradient_is_the_splits(split: Split, draw: str) -> None:
    """The mean of 2,000 minibatches lies within five standard errors in each coordinate: of some
    900 coordinates, one beyond has a chance of about 1 in 2,000."""
    model = model_for(split)
    drawn = gradients(model, split, draw, 16, 2000, seed=3).double()
    error = drawn.std(0) / len(drawn) ** 0.5
    distance = (drawn.mean(0) - exact_gradient(model, split).double()).abs()
    assert bool((distance <= 5 * error + 1e-7).all())


def test_counted_contexts_vary_less(split: Split) -> None:
    model = model_for(split)
    examples = gradients(model, split, "examples", 16, 1000, seed=4).var(0).sum()
    contexts = gradients(model, split, "contexts", 16, 1000, seed=5).var(0).sum()
    assert contexts < 0.95 * examples


def test_a_small_vocabulary_learns_faster_on_contexts(few_names: Path) -> None:
    splits = load_splits(Data(name="text", path=str(few_names)), 2)
    shape = Model(block_size=2, emb=4, hidden=16, init="scaled")
    losses = {}
    for draw in ("examples", "contexts", "full"):
        optim = config.AdamW(steps=60, batch_size=32, lr=0.03, draw=draw)
        losses[draw] = fit(Config(model=shape, optim=optim), splits).train_loss
    assert losses["contexts"] is not None
    assert losses["examples"] is not None
    assert losses["full"] is not None
    assert losses["full"] <= losses["contexts"] <= losses["examples"]
