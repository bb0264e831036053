"""Recorded gradients are autograd's own: bit for bit, but for the last bit of a tanh."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from nplm import gradients, training
from nplm.building import build_model
from nplm.config import AdamW, Bigram, Config, Model, Sgd
from nplm.data import load_splits
from nplm.gradients import by_autograd, recorded
from nplm.model import MLP, LanguageModel
from nplm.recording import Recorder, tanh
from sweepmore.errors import RunError

SHAPES = {
    "relu": Model(emb=4, hidden=16, activation="relu"),
    "deep": Model(emb=4, hidden=16, layers=3, activation="gelu", direct=True),
    "linear": Model(emb=4, layers=0),
    "bigram": Bigram(by="net"),
    "dropout": Model(emb=4, hidden=16, activation="gelu", dropout=0.3, emb_dropout=0.1),
    "tanh": Model(emb=4, hidden=16),
}


def fresh(shape: Any = SHAPES["tanh"]) -> LanguageModel:
    model: LanguageModel = build_model(shape, 27, torch.Generator().manual_seed(1))
    return model


def same(mine: Tensor, theirs: Tensor, shape: str) -> bool:
    """Equal bits; with tanh, equal to float32's rounding."""
    return torch.allclose(mine, theirs, 1e-5, 1e-7) if shape == "tanh" else mine.equal(theirs)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_recorded_gradients_are_autograds(shape: str, soft: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    model = fresh(SHAPES[shape])
    block = model.shape.block_size
    noises = [torch.Generator().manual_seed(3) for _ in range(2)]
    of_recorded, of_autograd = recorded(model, noises[0]), by_autograd(model, noises[1])
    for _ in range(3):
        contexts = torch.randint(27, (32, block), generator=generator)
        shares = torch.rand((32, 27), generator=generator).softmax(1)
        targets = shares if soft else shares.argmax(1)
        mine, theirs = of_recorded(contexts, targets), of_autograd(contexts, targets)
        assert same(mine[0], theirs[0], shape)
        assert len(mine[1]) == len(theirs[1]) == len(list(model.parameters()))
        assert all(same(a, b, shape) for a, b in zip(mine[1], theirs[1]))
        assert not mine[0].requires_grad
        with torch.no_grad():  # the recording sees the parameters as they are now
            for parameter in model.parameters():
                parameter.mul_(0.9)


def test_the_step_that_is_recorded_has_the_bits_of_the_others() -> None:
    """A resumed run records its first step, which an unkilled run does not."""
    model, contexts, targets = fresh(), torch.arange(96).view(32, 3) % 27, torch.arange(32) % 27
    step = recorded(model, torch.Generator())
    (loss, recording), (again, replayed) = step(contexts, targets), step(contexts, targets)
    assert loss.equal(again)
    assert all(map(torch.equal, recording, replayed))


def test_recording_changes_no_parameter_and_leaves_them_trainable() -> None:
    model, same = fresh(), fresh()
    step = recorded(model, torch.Generator())
    for _ in range(2):
        step(torch.zeros((2, 3), dtype=torch.int64), torch.tensor([1, 2]))
    assert all(map(torch.equal, model.parameters(), same.parameters()))
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_in_place_operations_and_lists_of_tensors_are_recorded() -> None:
    def compute(x: Tensor, noise: torch.Generator) -> Tensor:
        draws = torch.empty(4).uniform_(generator=noise)
        halves = torch.cat([x, draws]).chunk(2)
        halves[0].mul_(2)  # changes what the other names see, and nothing is done with its result
        return torch.stack(halves).cumsum(0)

    mine, theirs = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    with Recorder([x := torch.rand(4)], []) as recorder:
        result = compute(x, mine)
    run = recorder.function([result])
    assert result.equal(compute(x, theirs))
    for _ in range(2):
        x = torch.rand(4)
        assert run(x)[0].equal(compute(x, theirs))


def test_ones_that_are_changed_are_ones_again() -> None:
    def compute(x: Tensor) -> Tensor:
        return torch.ones_like(x).mul_(2).sub_(x)

    with Recorder([x := torch.rand(4)], []) as recorder:
        result = compute(x)
    run = recorder.function([result])
    for _ in range(2):
        assert run(x)[0].equal(compute(x))


@pytest.mark.parametrize("shape", [(), (1,), (3, 2)])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_tanh_keeps_shape_and_kind(shape: tuple[int, ...], kind: torch.dtype) -> None:
    units = torch.full(shape, 0.5, dtype=kind)
    assert (found := tanh(units)).dtype is kind
    assert torch.allclose(found, torch.tanh(units), 1e-6, 0)
    assert found.shape == shape


@pytest.mark.parametrize("of", ["a number", "another tensor", "a replaced buffer"])
def test_a_model_that_cannot_be_recorded_says_so(of: str) -> None:
    class Other(MLP):
        table = torch.ones(27)
        steps: Tensor

        def training_logits(self, contexts: Tensor, noise: torch.Generator) -> Tensor:
            if of == "a replaced buffer":
                self.steps = self.steps + 1
                return super().training_logits(contexts, noise) / self.steps
            scale = float(self.b1.sum()) if of == "a number" else self.table
            return super().training_logits(contexts, noise) * scale

    model = Other(Model(emb=4, hidden=16), 27)
    model.register_buffer("steps", torch.zeros(()))
    model.init(torch.Generator())
    with pytest.raises(RunError, match="cannot be recorded"):
        recorded(model, torch.Generator())(
            torch.zeros((2, 3), dtype=torch.int64), torch.ones(2).long()
        )


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("optim", [Sgd(steps=30), AdamW(steps=30, draw="contexts")])
def test_a_run_is_the_same_either_way(optim: Sgd | AdamW, activation: Any) -> None:
    shape = Model(emb=4, hidden=16, activation=activation)
    config = Config(model=shape, optim=optim, device="cpu")
    splits = load_splits(config.data, config.model.block_size)
    quick = training.fit(config, splits)
    with mock.patch.object(gradients, "recorded", by_autograd):
        plain = training.fit(config, splits)
    assert quick.dev_loss is not None
    assert quick.dev_loss == pytest.approx(plain.dev_loss, rel=0 if activation == "relu" else 1e-5)
    for mine, theirs in zip(quick.model.parameters(), plain.model.parameters(), strict=True):
        if activation == "relu":
            assert mine.equal(theirs)
        assert torch.allclose(mine, theirs, 1e-3, 1e-5)
