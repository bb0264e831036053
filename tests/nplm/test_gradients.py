"""Recorded gradients are autograd's own, bit for bit."""

from __future__ import annotations

from unittest import mock

import pytest
import torch

from nplm import gradients, training
from nplm.building import build_model
from nplm.config import AdamW, Config, Model, Sgd
from nplm.data import load_splits
from nplm.gradients import by_autograd, recorded
from nplm.model import MLP


def fresh() -> MLP:
    return build_model(Model(emb=4, hidden=16), 27, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("soft", [False, True])
def test_recorded_gradients_are_autograds(soft: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    batches = []
    for _ in range(3):
        contexts = torch.randint(27, (32, 3), generator=generator)
        targets = torch.rand((32, 27), generator=generator).softmax(1)
        batches.append((contexts, targets if soft else targets.argmax(1)))
    model = fresh()
    of_recorded, of_autograd = recorded(model, *batches[0]), by_autograd(model, torch.Generator())
    for contexts, targets in batches:
        mine, theirs = of_recorded(contexts, targets), of_autograd(contexts, targets)
        assert torch.equal(mine[0], theirs[0])
        assert len(mine[1]) == len(theirs[1]) == 5
        assert all(map(torch.equal, mine[1], theirs[1]))
        assert not mine[0].requires_grad
        with torch.no_grad():  # the recording sees the parameters as they are now
            for parameter in model.parameters():
                parameter.mul_(0.9)


def test_recording_changes_no_parameter_and_leaves_them_trainable() -> None:
    model, same = fresh(), fresh()
    recorded(model, torch.zeros((2, 3), dtype=torch.int64), torch.tensor([1, 2]))
    assert all(map(torch.equal, model.parameters(), same.parameters()))
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("optim", [Sgd(steps=30), AdamW(steps=30, draw="contexts")])
def test_a_run_has_the_same_bits_either_way(optim: Sgd | AdamW) -> None:
    config = Config(model=Model(emb=4, hidden=16), optim=optim, device="cpu")
    splits = load_splits(config.data, config.model.block_size)
    plain = training.fit(config, splits)
    with mock.patch.object(gradients, "RECORD_FROM", 1):
        quick = training.fit(config, splits)
    assert quick.dev_loss == plain.dev_loss
    assert all(map(torch.equal, quick.model.parameters(), plain.model.parameters()))
