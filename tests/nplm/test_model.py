"""Every knob of the model at its limits, against torch, by finite differences, by hand."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nplm import baselines, console
from nplm.building import build_model, empty_model, restored, size_of
from nplm.config import AdamW, Bigram, Config, Data, Model, Ngram, Sgd, from_hydra, to_plain
from nplm.data import Split, Splits, encode, load_splits
from nplm.kneser_ney import best_kneser_ney, kneser_ney, tuned
from nplm.losses import least_loss, split_loss
from nplm.minibatches import first_batch
from nplm.mixture import Mixture, best_weight, mixed
from nplm.model import ACTIVATIONS, LanguageModel, dropped
from nplm.optim import Average, clip
from nplm.result import Progress
from nplm.sampling import load_trained, sample
from nplm.state import begin
from nplm.training import fit
from nplm.vocabulary import Vocabulary
from nplm.weights import save_weights
from sweepmore.errors import RunError
from sweepmore.runs.files import read_json
from sweepmore.runs.record import read_config
from tests.support.helpers import ROOT, TrainHere, run_script

V = 7
UNITS: list[Literal["tanh", "relu", "gelu"]] = ["tanh", "relu", "gelu"]
SHAPES = [
    Model(emb=4, hidden=5, layers=layers, activation=activation, direct=direct, init="scaled")
    for layers, activation, direct in itertools.product((1, 2, 3), UNITS, (False, True))
]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_contexts(n: int = 9, block: int = 3) -> Tensor:
    return torch.randint(V, (n, block), generator=seeded(1))


# the perceptron


def test_weights_of_another_model_are_refused_by_name() -> None:
    """As when the model's code has got another parameter since."""
    plain, direct = (build_model(Model(direct=own), V, seeded(0)) for own in (False, True))
    with pytest.raises(RunError, match="it has C, D, W1, W2, b1, b2; they are C, W1, W2, b1, b2"):
        direct.load(dict(plain.named_parameters()))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_logits_are_those_of_torchs_own_layers(shape: Model) -> None:
    model, contexts = build_model(shape, V, seeded(0)), some_contexts()
    units = flat = F.embedding(contexts, model.C).flatten(1)
    of_torch = {"tanh": torch.nn.Tanh(), "relu": torch.nn.ReLU(), "gelu": torch.nn.GELU()}
    numbered, last = dict(model.named_parameters()), shape.layers + 1
    for k in range(1, last):
        units = F.linear(units, numbered[f"W{k}"].T, numbered[f"b{k}"])
        units = of_torch[shape.activation](units)
    wanted = F.linear(units, numbered[f"W{last}"].T, numbered[f"b{last}"])
    if shape.direct:
        wanted = wanted + flat @ model.D
    torch.testing.assert_close(model.logits(contexts), wanted)


def _before(model: Any, flat: Tensor, k: int) -> Tensor:
    """What goes into layer k."""
    units = flat
    for number in range(1, k):
        weights, biases = getattr(model, f"W{number}"), getattr(model, f"b{number}")
        units = ACTIVATIONS[model.shape.activation](units @ weights + biases)
    return units


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_parameters_are_counted_by_hand(shape: Model) -> None:
    b, m, h = shape.block_size, shape.emb, shape.hidden
    wanted = V * m + b * m * h + h + (shape.layers - 1) * (h * h + h) + h * V + V
    wanted += b * m * V if shape.direct else 0
    assert build_model(shape, V, seeded(0)).size == size_of(shape, V) == wanted


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_scaled_first_loss_is_about_that_of_a_uniform_guess(shape: Model) -> None:
    wide = dataclasses.replace(shape, hidden=200, emb=16)
    contexts = some_contexts(500)
    logits = build_model(wide, V, seeded(0)).logits(contexts)
    loss = F.cross_entropy(logits, torch.randint(V, (500,), generator=seeded(2)))
    assert loss.item() == pytest.approx(math.log(V), abs=0.05)


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
def test_scaled_units_keep_their_size_through_three_layers(activation: Any) -> None:
    """Root mean square of the last layer's inputs: between a half and two of the first's."""
    shape = Model(emb=50, hidden=400, layers=3, activation=activation, init="scaled")
    model = build_model(shape, V, seeded(0))
    flat = F.embedding(some_contexts(200), model.C).flatten(1)
    sizes = [_before(model, flat, k).square().mean().sqrt().item() for k in (1, 2, 3, 4)]
    assert all(0.5 < size < 2 for size in sizes)


FEW_KNOBS = [
    Model(emb=3, hidden=4, layers=3, activation="gelu", direct=True, dropout=0.3, emb_dropout=0.2),
    Model(emb=3, hidden=4, layers=2, activation="tanh", dropout=0.5),
    Model(emb=3, hidden=4, layers=1, activation="gelu", direct=True),
    Bigram(by="net"),
]


@pytest.mark.parametrize("shape", FEW_KNOBS, ids=str)
def test_gradients_by_finite_differences(shape: Any) -> None:
    """relu has a corner, so the smooth ones; the same masks at each evaluation."""
    model, contexts = build_model(shape, V, seeded(0)).double(), some_contexts()
    names, values = zip(*model.named_parameters(), strict=True)

    def loss(*parameters: Tensor) -> Tensor:
        named = {f"model.{name}": one for name, one in zip(names, parameters, strict=True)}
        logits: Tensor = torch.func.functional_call(_Training(model), named, (contexts,))
        return logits

    assert torch.autograd.gradcheck(loss, values, eps=1e-6, atol=1e-6)


class _Training(torch.nn.Module):
    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, contexts: Tensor) -> Tensor:
        return self.model.training_logits(contexts, seeded(5))


def test_direct_connections_of_zero_are_none() -> None:
    shape = Model(emb=4, hidden=5)
    plain = build_model(shape, V, seeded(0))
    direct = build_model(dataclasses.replace(shape, direct=True), V, seeded(0))
    direct.D.data.zero_()
    contexts = some_contexts()
    assert torch.equal(plain.logits(contexts), direct.logits(contexts))


def test_direct_connections_beside_no_hidden_layer_are_there_twice(
    few: Splits, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same function with more parameters; whoever asks for it is told."""
    shape = Model(emb=4, layers=0)
    twice = build_model(dataclasses.replace(shape, direct=True), V, seeded(0))
    once = build_model(shape, V, seeded(0))
    once.W1.data.copy_(twice.W1 + twice.D)
    contexts = some_contexts()
    torch.testing.assert_close(once.logits(contexts), twice.logits(contexts))
    assert twice.size == once.size + once.W1.numel()
    for layers, direct in itertools.product((0, 1), (False, True)):
        run = Config(model=Model(layers=layers, direct=direct))
        console.header(run, few, begin(run, few), "0 looks")
        told = "model.direct=true adds nothing to model.layers=0" in capsys.readouterr().err
        assert told is (layers == 0 and direct)


def test_direct_connections_alone_are_a_linear_model() -> None:
    model = build_model(Model(emb=4, hidden=5, direct=True), V, seeded(0))
    model.W2.data.zero_()
    contexts = some_contexts()
    wanted = F.embedding(contexts, model.C).flatten(1) @ model.D + model.b2
    torch.testing.assert_close(model.logits(contexts), wanted)


# dropout


def test_dropout_of_zero_is_none() -> None:
    model, contexts = build_model(Model(emb=4, hidden=5), V, seeded(0)), some_contexts()
    assert torch.equal(model.training_logits(contexts, seeded(1)), model.logits(contexts))


@pytest.mark.parametrize(
    "shape",
    [Model(emb=4, hidden=5, dropout=0.5), Model(emb=4, hidden=5, emb_dropout=0.5)],
    ids=repr,
)
def test_dropout_acts_in_training_alone(shape: Model) -> None:
    plain = build_model(Model(emb=4, hidden=5), V, seeded(0))
    noisy = build_model(shape, V, seeded(0))
    contexts = some_contexts()
    assert torch.equal(noisy.logits(contexts), plain.logits(contexts))
    first = noisy.training_logits(contexts, seeded(1))
    assert not torch.equal(first, plain.logits(contexts))
    assert torch.equal(first, noisy.training_logits(contexts, seeded(1)))
    assert not torch.equal(first, noisy.training_logits(contexts, seeded(2)))


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    """100,000 ones: the share to 4 standard errors, and what is left is 1/(1 - share)."""
    share, n = 0.3, 100_000
    found = dropped(torch.ones(n), share, seeded(0))
    assert sorted(set(found.tolist())) == pytest.approx([0.0, 1 / 0.7], rel=1e-4)
    zeros = (found == 0).double().mean().item()
    assert zeros == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / n))
    assert torch.equal(dropped(torch.ones(n), share, None), torch.ones(n))


def test_a_run_with_dropout_is_the_same_twice_and_no_other_seeds(few: Splits) -> None:
    config = Config(
        model=Model(emb=4, hidden=8, dropout=0.2), optim=Sgd(steps=40), eval_every=1, seed=3
    )
    losses = [
        fit(one, few).dev_loss for one in (config, config, dataclasses.replace(config, seed=4))
    ]
    assert losses[0] == losses[1] != losses[2]


# averaged weights, clipped gradients


def test_averaged_weights_by_hand() -> None:
    """Of 1, 2, 3 with decay 1/2: sums 1/2, 5/4, 17/8 of weight 1/2, 3/4, 7/8."""
    parameter = torch.zeros(1)
    average = Average([parameter], 0.5)
    assert average.values()[0].item() == 0
    found = []
    for value in (1.0, 2.0, 3.0):
        parameter.fill_(value)
        average.update()
        found.append(average.values()[0].item())
    assert found == pytest.approx([1, 5 / 3, 17 / 7])


def test_averages_are_evaluated_and_kept_and_training_goes_on_without_them(
    few: Splits, tmp_path: Path
) -> None:
    optim = AdamW(steps=60, lr=0.05, ema=0.9)
    config = Config(model=Model(emb=4, hidden=8), optim=optim, eval_every=0.5)
    plain = dataclasses.replace(config, optim=dataclasses.replace(optim, ema=0.0))
    seen: dict[str, list[float | None]] = {"ema": [], "plain": []}
    state = begin(config, few)
    parameters: list[list[Tensor]] = []

    def keep(at: Progress) -> None:
        seen["ema"].append(at.minibatch_loss)
        parameters.append([p.detach().clone() for p in state.model.parameters()])

    averaged = fit(config, few, keep, state=state)
    last = fit(plain, few, lambda at: seen["plain"].append(at.minibatch_loss))
    assert seen["ema"] == seen["plain"]  # the same steps
    by_hand = [torch.zeros_like(p) for p in parameters[0]]
    for now in parameters[1:]:
        by_hand = [0.9 * mean + 0.1 * p for mean, p in zip(by_hand, now)]
    wanted = [mean / (1 - 0.9**60) for mean in by_hand]
    for mine, theirs in zip(averaged.model.parameters(), wanted, strict=True):
        torch.testing.assert_close(mine.detach(), theirs)
    assert averaged.dev_loss == split_loss(averaged.model, few.dev) != last.dev_loss
    save_weights(tmp_path, averaged.model, few, averaged.dev_loss)
    assert split_loss(load_trained(tmp_path).model, few.dev) == averaged.dev_loss


@pytest.mark.parametrize("most", [0.1, 1.0, 1e6])
def test_clipping_is_torchs(most: float) -> None:
    gradients = tuple(
        torch.randn(size, generator=seeded(k)) for k, size in enumerate([(4, 3), (5,)])
    )
    theirs = [torch.zeros_like(gradient).requires_grad_() for gradient in gradients]
    for parameter, gradient in zip(theirs, gradients):
        parameter.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_(theirs, most)
    for mine, parameter in zip(clip(gradients, most), theirs, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(mine, parameter.grad)


def test_a_clipped_run_takes_steps_of_at_most_the_rate(few: Splits) -> None:
    optim = Sgd(steps=1, lr=1.0, decay_factor=1.0, clip=0.01)
    state = begin(Config(model=Model(emb=4, hidden=8), optim=optim), few)
    before = [p.detach().clone() for p in state.model.parameters()]
    fit(Config(model=Model(emb=4, hidden=8), optim=optim), few, state=state)
    now = [p.detach() for p in state.model.parameters()]
    moved = sum(float((p - q).square().sum()) for p, q in zip(now, before))
    assert moved**0.5 == pytest.approx(0.01, rel=1e-3)


# counting as a model


def test_bigram_by_counts_is_the_frequencies() -> None:
    split = encode(("ab", "b"), Vocabulary((".", "a", "b")), 1)
    splits = Splits("x", Vocabulary((".", "a", "b")), split, split, 0, "", 0)
    model = build_model(Bigram(smoothing=1.0), 3, seeded(0))
    model.count(splits)
    # after the boundary: a once, b once; after a: b once; after b: the boundary twice
    wanted = torch.tensor([[1, 2, 2], [1, 1, 2], [3, 1, 1]]) / torch.tensor([[5], [4], [5]])
    found = model.logits(torch.tensor([[0], [1], [2]])).exp()
    torch.testing.assert_close(found.detach(), wanted)


def test_bigram_as_a_net_reaches_what_counting_has(names: Splits) -> None:
    """The lecture's 2.45 by both; a net without smoothing ends just below the smoothed counts on
    train."""
    splits = load_splits(Data(name="names"), 1)
    counted = fit(Config(model=Bigram()), splits)
    optim = AdamW(steps=500, lr=0.3, draw="full")
    net = fit(Config(model=Bigram(by="net"), optim=optim, eval_every=1), splits)
    assert counted.train_loss == pytest.approx(2.4546, abs=5e-4)
    assert net.train_loss == pytest.approx(2.454, abs=2e-3)
    assert net.dev_loss == pytest.approx(counted.dev_loss, abs=3e-3)
    assert (counted.steps, counted.status) == (0, "ok")


@pytest.mark.parametrize(("order", "loss"), [(4, 2.0560), (6, 1.9740)])
def test_ngram_has_the_known_losses(names: Splits, order: int, loss: float) -> None:
    shape = Ngram(order=order)
    result = fit(Config(model=shape), load_splits(Data(name="names"), shape.block_size))
    assert result.dev_loss == pytest.approx(loss, abs=6e-5)
    assert result.seconds > 0


@pytest.fixture(scope="module")
def few_long(few_names: Path) -> Splits:
    return load_splits(Data(name="text", path=str(few_names)), 4)


@pytest.mark.parametrize("discounts", ["closed", "tuned"])
def test_ngram_is_the_same_after_a_checkpoint(
    few_long: Splits, tmp_path: Path, discounts: Any
) -> None:
    result = fit(Config(model=Ngram(order=5, discounts=discounts)), few_long)
    save_weights(tmp_path, result.model, few_long, result.dev_loss)
    trained = load_trained(tmp_path)
    contexts = few_long.dev.contexts
    assert torch.equal(trained.model.logits(contexts), result.model.logits(contexts))
    assert trained.model.size == result.model.size > 1000
    total = trained.model.logits(contexts).double().exp().sum(1)
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-5, rtol=0)


def test_tuned_discounts_are_a_minimum_of_dev(few_long: Splits) -> None:
    train, dev = few_long.train, few_long.dev
    size = len(few_long.vocabulary)
    closed = kneser_ney(train.contexts.numpy(), train.targets.numpy(), size, 4)
    best = tuned(closed, dev)
    assert best.loss(dev) < closed.loss(dev)
    for level, knob, change in itertools.product(range(4), range(3), (-0.02, 0.02)):
        levels = list(best.levels)
        discounts = levels[level].discounts.copy()
        discounts[knob] += change
        if not 0 < discounts[knob] < knob + 1:
            continue
        levels[level] = dataclasses.replace(levels[level], discounts=discounts)
        other = dataclasses.replace(best, levels=tuple(levels))
        assert other.loss(dev) > best.loss(dev) - 1e-6


@pytest.mark.system
def test_counting_sweeps_like_a_net(here: TrainHere, few_names: Path, tmp_path: Path) -> None:
    words = ["-m", "data=text", f"data.path={few_names}", "model=ngram", "model.order=1,2,3,4",
             "wandb.mode=disabled", "hydra.sweeper.study_name=orders",
             f"hydra.sweeper.outputs={tmp_path}"]  # fmt: skip
    done = run_script("train.py", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    for trial in (tmp_path / "studies").glob("*/*/result.json"):
        order = from_hydra(read_config(trial.parent)).model
        assert isinstance(order, Ngram)
        splits = load_splits(Data(name="text", path=str(few_names)), order.block_size)
        counted = kneser_ney(splits.train.contexts.numpy(), splits.train.targets.numpy(),
                             len(splits.vocabulary), order.order)  # fmt: skip
        assert read_json(trial)["dev_loss"] == pytest.approx(counted.loss(splits.dev), abs=1e-6)
    assert len(list((tmp_path / "studies").glob("*/*/result.json"))) == 4


# the mixture


@pytest.fixture(scope="module")
def net(few_long: Splits) -> LanguageModel:
    optim = AdamW(steps=300, lr=0.02, draw="contexts")
    shape = Model(block_size=4, emb=8, hidden=16, init="scaled")
    return fit(Config(model=shape, optim=optim, eval_every=1), few_long).model


def test_mixture_at_its_limits(net: LanguageModel, few_long: Splits) -> None:
    ngram = mixed(net, few_long).ngram
    contexts = few_long.dev.contexts
    none, all_of_it = Mixture(net, ngram, 0.0), Mixture(net, ngram, 1.0)
    torch.testing.assert_close(none.logits(contexts), torch.log_softmax(net.logits(contexts), 1))
    torch.testing.assert_close(all_of_it.logits(contexts), ngram.logits(contexts))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_a_mixture_sums_to_one_in_every_context(order: int, tmp_path: Path) -> None:
    """Seen, unseen, and such as no line can have; by all tokens at once and one by one."""
    (tmp_path / "few").write_text("ab\nabc\nca\nbb\ncab\na\nbca\ncc\nba\nabab\n" * 2)
    splits = load_splits(Data(name="text", path=str(tmp_path / "few")), 3)
    size = len(splits.vocabulary)
    contexts = torch.cartesian_prod(*[torch.arange(size)] * 3)
    rows = torch.arange(len(contexts)).repeat_interleave(size)
    targets = torch.arange(size).repeat(len(contexts))
    net = build_model(Model(emb=2, hidden=4), size, seeded(0))
    ngram = build_model(Ngram(order=order), size, seeded(0))
    assert isinstance(ngram, baselines.NgramModel)
    ngram.count(splits)
    for weight in (0.0, 0.3, 1.0):
        mixture = Mixture(net, ngram, weight)
        ones = torch.ones(len(contexts), dtype=torch.float64)
        whole = mixture.logits(contexts).double().exp()
        torch.testing.assert_close(whole.sum(1), ones, atol=1e-6, rtol=0)
        single = mixture.log_probabilities(contexts, rows, targets).double().exp()
        torch.testing.assert_close(single.view(-1, size), whole, atol=1e-6, rtol=0)


def test_mixture_mixes_probabilities(net: LanguageModel, few_long: Splits) -> None:
    mixture = mixed(net, few_long)
    contexts = few_long.dev.contexts
    wanted = mixture.weight * mixture.ngram.logits(contexts).exp()
    wanted += (1 - mixture.weight) * torch.softmax(net.logits(contexts), 1)
    torch.testing.assert_close(mixture.logits(contexts).exp(), wanted)


def test_the_weight_is_the_best_of_a_fine_grid(net: LanguageModel, few_long: Splits) -> None:
    ngram = mixed(net, few_long).ngram
    weight = best_weight(net, ngram, few_long.dev)
    losses = {w: split_loss(Mixture(net, ngram, w), few_long.dev) for w in
              [k / 100 for k in range(101)]}  # fmt: skip
    assert weight == pytest.approx(min(losses, key=losses.__getitem__), abs=0.011)
    assert split_loss(Mixture(net, ngram, weight), few_long.dev) <= min(losses.values()) + 1e-6
    assert 0 < weight < 1


def test_a_net_that_knows_all_is_not_mixed_with_anything(few_long: Splits) -> None:
    """The n-gram against itself counted on dev: weight 0; the other way round 1."""
    dev, size = few_long.dev, len(few_long.vocabulary)
    knows = build_model(Ngram(order=5), size, seeded(0))
    knows.count(dataclasses.replace(few_long, train=dev))
    guesses = build_model(Bigram(), size, seeded(0))
    guesses.count(few_long)
    assert best_weight(knows, guesses, dev) < 0.02
    assert best_weight(guesses, knows, dev) > 0.98


def test_mixed_run_from_training_to_samples(
    here: TrainHere, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = here(tmp_path / "run", "mix=true", "optim.steps=300")
    out = capsys.readouterr().out
    result = read_json(folder / "result.json")
    jsonschema.validate(result, json.loads((ROOT / "docs" / "result.schema.json").read_text()))
    assert result["status"] == "ok"
    assert result["dev_loss"] < result["mix"]["net_dev_loss"]
    trained = load_trained(folder)
    assert isinstance(trained.model, Mixture)
    assert trained.model.weight == result["mix"]["weight"]
    config = from_hydra(read_config(folder))
    splits = load_splits(config.data, config.model.block_size)
    assert split_loss(trained.model, splits.dev) == result["dev_loss"]
    counted, order = best_kneser_ney(splits)
    assert (result["mix"]["order"], trained.model.size) == (order, result["parameters"])
    net = trained.model.net
    dev, train = (split_loss(net, part) for part in (splits.dev, splits.train))
    assert result["mix"]["net_dev_loss"] == pytest.approx(dev, rel=1e-6)
    assert result["mix"]["net_train_loss"] == pytest.approx(train, rel=1e-6)
    assert f"dev loss {result['dev_loss']:.3f} nats/token · {result['seconds']:.1f} s\n" in out
    sizes = f"({counted.parameters:,} numbers), the rest the net ({net.size:,} parameters)\n"
    assert f" Kneser-Ney of order {order} {sizes}" in out
    gap = f"{result['mix']['net_dev_loss'] - result['mix']['net_train_loss']:.3f}"
    alone = f"dev {result['mix']['net_dev_loss']:.3f} nats/token · train {train:.3f} · gap {gap}"
    assert f"net      alone {alone}\n" in out
    assert len(sample(trained, 5, seed=0)) == 5
    # its net can be trained on
    again = here(tmp_path / "again", f"start_from={folder}", "optim.steps=20")
    assert read_json(again / "result.json")["status"] == "ok"


# the sanity check on one batch


def test_the_first_batch_is_whole_in_every_step(few: Splits) -> None:
    config = Config(optim=Sgd(batch_size=16))
    small, splits = first_batch(config, few)
    assert small.optim.draw == "full"
    assert len(splits.train) == int(splits.train.counts.numbers.sum()) == 16
    assert torch.equal(splits.train.contexts, few.train.contexts[:16])
    spelled = "".join(f"{line}." for line in splits.train.lines)
    assert spelled.startswith(
        "".join(few.vocabulary.tokens[t] for t in splits.train.targets.tolist())
    )
    assert len(splits.train.lines[-1]) + 1 + 16 > len(spelled)  # no line too many
    assert splits.dev is few.dev


def test_least_loss_by_hand() -> None:
    """After ``..`` come a, a, b: entropy of (2/3, 1/3); everything else is certain."""
    split = encode(("ab", "aa", "b"), Vocabulary((".", "a", "b")), 2)
    # contexts: .. → a a b; .a → b a; ab → .; aa → .; .b → .
    entropy = 3 * -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)) + 2 * math.log(2)
    assert least_loss(split) == pytest.approx(entropy / len(split), abs=1e-12)


def test_overfit_batch_reaches_what_several_targets_allow(
    here: TrainHere, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lecture's 1,000 steps on 32 examples; the same as its own loop on them."""
    words = ("overfit_batch=true", "optim=sgd", "optim.steps=1000", "optim.batch_size=32",
             "optim.draw=examples", "optim.decay_factor=1", "model.emb=2", "model.hidden=100",
             "model.init=lecture", "seed=2147483647", "eval_every=1")  # fmt: skip
    folder = here(tmp_path / "run", *words)
    result = read_json(folder / "result.json")
    config = from_hydra(read_config(folder))
    splits = load_splits(config.data, 3)
    contexts, targets = splits.train.contexts[:32], splits.train.targets[:32]
    model = build_model(Model(), len(splits.vocabulary), seeded(2147483647))
    for _ in range(1000):
        loss = F.cross_entropy(model.logits(contexts), targets)
        for parameter, gradient in zip(
            model.parameters(), torch.autograd.grad(loss, list(model.parameters()))
        ):
            parameter.data -= 0.1 * gradient
    wanted = F.cross_entropy(model.logits(contexts), targets).item()
    assert result["train_loss"] == pytest.approx(wanted, abs=1e-3)
    floor = least_loss(_first(splits, 32))
    assert floor < result["train_loss"] < floor + 0.05
    assert result["data"]["train_examples"] == 32
    assert f"no model with these contexts can go below {floor:.4f}" in capsys.readouterr().out


def _first(splits: Splits, n: int) -> Split:
    return first_batch(Config(optim=Sgd(batch_size=n)), splits)[1].train


# what a config names


@pytest.mark.parametrize(
    "shape",
    [
        *FEW_KNOBS,
        Bigram(smoothing=0.5),
        Ngram(order=3, discounts="tuned"),
    ],
    ids=str,
)
def test_config_and_checkpoint_bring_the_same_model_back(
    shape: Any, few: Splits, tmp_path: Path
) -> None:
    config = Config(model=shape, optim=Sgd(steps=3), eval_every=1)
    assert from_hydra(to_plain(config)) == config
    splits = dataclasses.replace(few)
    if shape.block_size != 3:
        splits = _with_block(few, shape.block_size)
    result = fit(config, splits)
    save_weights(tmp_path, result.model, splits, result.dev_loss)
    model = load_trained(tmp_path).model
    assert model.shape == shape
    contexts = splits.dev.contexts
    assert torch.equal(model.logits(contexts), result.model.logits(contexts))
    assert type(model) is type(empty_model(shape, len(splits.vocabulary)))


def _with_block(splits: Splits, block: int) -> Splits:
    train, dev = (
        encode(split.lines, splits.vocabulary, block) for split in (splits.train, splits.dev)
    )
    return dataclasses.replace(splits, train=train, dev=dev)


def test_weights_of_before_the_knobs_are_the_lectures_model() -> None:
    from nplm.checkpoint import Checkpoint

    model = build_model(Model(emb=4, hidden=5), V, seeded(0))
    old = {"name": "mlp", "block_size": 3, "emb": 4, "hidden": 5, "init": "lecture"}
    about = {"model": old, "vocabulary": list("abcdefg")}
    again = restored(Checkpoint(model.tensors(), about))
    assert again.shape == Model(emb=4, hidden=5)
    contexts = some_contexts()
    assert torch.equal(again.logits(contexts), model.logits(contexts))
