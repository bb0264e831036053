"""The loop, its optimisers and schedules, against references and bit for bit."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nplm import blocks, checkpoint, config, losses, training
from nplm.building import build_model, restored
from nplm.checkpoint import BEST, Checkpoint
from nplm.config import Config, Data, Model
from nplm.data import Splits, load_splits
from nplm.losses import split_loss
from nplm.model import MLP
from nplm.optim import AdamWOptimiser, SgdOptimiser, learning_rate
from nplm.result import Progress
from nplm.state import State, begin, derived_seed
from nplm.training import fit
from nplm.weights import about_model
from sweepmore.errors import RunError
from tests.support.helpers import KEEP_OBJECTIVE, Objective, TrainHere, bits, result_of, run_script

SMALL = Config(model=Model(emb=2, hidden=8), optim=config.Sgd(steps=60), eval_every=0.25)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained_bits(run: Config, splits: Splits) -> list[bytes]:
    return [bits(parameter) for parameter in fit(run, splits).model.parameters()]


# the same bits


@pytest.mark.parametrize("optim", [config.Sgd(steps=60, momentum=0.9), config.AdamW(steps=60)])
def test_same_config_and_seed_give_the_same_bits(few: Splits, optim: Any) -> None:
    run = dataclasses.replace(SMALL, optim=optim)
    assert trained_bits(run, few) == trained_bits(run, few)


def test_evaluations_take_no_part_in_the_training(few: Splits) -> None:
    """Though they end blocks of minibatches that are drawn at once, here of two steps each."""
    run = dataclasses.replace(SMALL, optim=config.Sgd(steps=2 * blocks.REPORTS))
    often = dataclasses.replace(run, eval_every=0.333)
    assert trained_bits(run, few) == trained_bits(often, few)


def test_every_seed_is_a_seed_of_its_own_and_0_is_one(few: Splits) -> None:
    runs = [trained_bits(dataclasses.replace(SMALL, seed=seed), few) for seed in (0, 0, 1, 2)]
    assert runs[0] == runs[1]
    assert len({tuple(run) for run in runs}) == 3


def test_global_generator_is_neither_read_nor_advanced(few: Splits) -> None:
    torch.manual_seed(1)
    before, first = torch.get_rng_state(), trained_bits(SMALL, few)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert trained_bits(SMALL, few) == first


def test_minibatches_come_from_another_stream_than_the_initialisation(few: Splits) -> None:
    for seed in (0, 42, 2**63 - 1):
        run = dataclasses.replace(SMALL, seed=seed)
        drawn = begin(run, few).generator.initial_seed()
        assert drawn == derived_seed(seed, "minibatches") != seed
    assert derived_seed(0, "minibatches") != derived_seed(1, "minibatches")


# the loss of a split


@pytest.mark.parametrize("numbers", [27, 1_000, 27 * 77, 2**22])
def test_split_loss_is_the_mean_over_examples_whatever_the_chunk(
    few: Splits, monkeypatch: pytest.MonkeyPatch, numbers: int
) -> None:
    model = build_model(Model(), len(few.vocabulary), seeded(3))
    each = F.cross_entropy(model.logits(few.dev.contexts), few.dev.targets, reduction="none")
    naive = sum(each.double().tolist()) / len(few.dev)
    monkeypatch.setattr(losses, "CHUNK_NUMBERS", numbers)
    assert split_loss(model, few.dev) == pytest.approx(naive, rel=1e-6)


@pytest.mark.parametrize("block_size", [1, 3, 5])
@pytest.mark.parametrize("data", ["given_names", "names"])
def test_on_counts_the_loss_of_a_whole_file_is_that_on_its_examples(
    data: Literal["given_names", "names"], block_size: int, request: pytest.FixtureRequest
) -> None:
    if data == "names":
        request.getfixturevalue("names_dir")
    splits = load_splits(Data(name=data), block_size)
    model = build_model(Model(block_size=block_size), len(splits.vocabulary), seeded(3))
    for split in (splits.train, splits.dev):
        logits = model.logits(split.contexts).detach()
        on_examples = F.cross_entropy(logits.double(), split.targets).item()
        assert split_loss(model, split) == pytest.approx(on_examples, rel=1e-6)


# optimisers


def two_parameters() -> list[Tensor]:
    return [torch.randn(4, 3, generator=seeded(0)), torch.randn(5, generator=seeded(1))]


def gradients_at(step: int) -> tuple[Tensor, ...]:
    return torch.randn(4, 3, generator=seeded(10 + step)), torch.randn(
        5, generator=seeded(50 + step)
    )


def torchs(optimiser: torch.optim.Optimizer, parameters: list[Tensor], rates: list[float]) -> None:
    for step, rate in enumerate(rates):
        for parameter, gradient in zip(parameters, gradients_at(step), strict=True):
            parameter.grad = gradient
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()


def groups(parameters: list[Tensor], weight_decay: float) -> list[dict[str, Any]]:
    """The matrix decays, the vector, a bias, does not."""
    matrix, vector = parameters
    return [
        {"params": [matrix], "weight_decay": weight_decay},
        {"params": [vector], "weight_decay": 0.0},
    ]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_sgd_is_torchs(momentum: float, weight_decay: float) -> None:
    rates = [0.1, 0.1, 0.01, 0.01]
    ours, theirs = two_parameters(), two_parameters()
    optimiser = SgdOptimiser(ours, config.Sgd(momentum=momentum, weight_decay=weight_decay))
    for step, rate in enumerate(rates):
        optimiser.step(gradients_at(step), rate)
    reference = torch.optim.SGD(groups(theirs, weight_decay), lr=0.1, momentum=momentum)
    torchs(reference, theirs, rates)
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their)


def test_adamw_is_torchs_with_all_its_settings() -> None:
    rates = [0.01, 0.02, 0.005]
    settings = config.AdamW(beta1=0.8, beta2=0.95, weight_decay=0.1)
    ours, theirs = two_parameters(), two_parameters()
    optimiser = AdamWOptimiser(ours, settings)
    for step, rate in enumerate(rates):
        optimiser.step(gradients_at(step), rate)
    torchs(torch.optim.AdamW(groups(theirs, 0.1), betas=(0.8, 0.95)), theirs, rates)
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(SgdOptimiser, config.Sgd(momentum=0.9)), (AdamWOptimiser, config.AdamW())],
)
def test_state_carries_an_optimiser_over_bit_for_bit(kind: Any, settings: Any) -> None:
    whole, parts = two_parameters(), two_parameters()
    first, second, never_stopped = (kind(p, settings) for p in (parts, parts, whole))
    for step in range(6):
        never_stopped.step(gradients_at(step), 0.05)
        if step == 3:
            second.load({name: tensor.clone() for name, tensor in first.state().items()})
        (first if step < 3 else second).step(gradients_at(step), 0.05)
    assert [bits(p) for p in whole] == [bits(p) for p in parts]


# schedules


@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.3), (37, 0.1), (1000, 0.5), (10, 0.25)])
def test_one_cycle_is_torchs_at_every_step(steps: int, warmup: float) -> None:
    optim = config.AdamW(lr=0.04, steps=steps, warmup=warmup)
    inner = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        inner, max_lr=0.04, total_steps=steps, pct_start=warmup, cycle_momentum=False
    )
    for step in range(steps):
        assert learning_rate(optim, step) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        if step + 1 < steps:
            inner.step()
            theirs.step()


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
def test_shortest_schedules_stay_between_zero_and_the_peak(
    steps: int, warmup: float, schedule: Any
) -> None:
    optim = config.AdamW(lr=0.04, steps=steps, warmup=warmup, schedule=schedule)
    assert all(0 <= learning_rate(optim, step) <= 0.04 for step in range(steps))


def test_cosine_is_its_closed_form() -> None:
    optim = config.AdamW(lr=0.5, steps=200, warmup=0.1, schedule="cosine")
    for step in range(20):
        assert learning_rate(optim, step) == pytest.approx(0.5 * (step + 1) / 20)
    for step in range(20, 200):
        closed = 0.25 * (1 + math.cos(math.pi * (step - 20) / 180))
        assert learning_rate(optim, step) == pytest.approx(closed)


def test_lecture_rate_drops_once_at_half_of_the_steps() -> None:
    optim = config.Sgd(steps=200_000)
    rates = [learning_rate(optim, step) for step in (0, 99_999, 100_000, 199_999)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01])


def test_decay_step_is_the_first_at_the_lower_rate() -> None:
    optim = config.Sgd(steps=10, lr=1.0, decay_step=7, decay_factor=0.5)
    assert [learning_rate(optim, step) for step in range(10)] == [1.0] * 7 + [0.5] * 3


# initialisation


@pytest.mark.parametrize("hidden", [50, 400])
@pytest.mark.parametrize("emb", [2, 30])
def test_scaled_first_loss_is_about_ln_V(few: Splits, emb: int, hidden: int) -> None:
    shape = Model(emb=emb, hidden=hidden, init="scaled")
    model = build_model(shape, len(few.vocabulary), seeded(0))
    assert split_loss(model, few.dev) == pytest.approx(math.log(len(few.vocabulary)), rel=0.02)


def test_lecture_first_loss_is_far_above_ln_V(few: Splits) -> None:
    model = build_model(Model(hidden=200), len(few.vocabulary), seeded(0))
    assert split_loss(model, few.dev) > 4 * math.log(len(few.vocabulary))


# how a run ends


def test_the_loop_is_gradient_descent_on_its_minibatches(few: Splits) -> None:
    """Against the lecture's cell, on the minibatches that the seed stands for."""
    run = dataclasses.replace(SMALL, optim=config.Sgd(steps=20, lr=0.2, decay_step=12))
    by_hand = build_model(run.model, len(few.vocabulary), seeded(run.seed))
    generator = seeded(derived_seed(run.seed, "minibatches"))
    for step in range(20):
        rows = torch.randint(len(few.train), (32,), generator=generator)
        logits = by_hand.logits(few.train.contexts[rows])
        F.cross_entropy(logits, few.train.targets[rows]).backward()  # type: ignore[no-untyped-call]  # torch ships it so
        for parameter in by_hand.parameters():
            assert parameter.grad is not None
            parameter.data -= (0.2 if step < 12 else 0.02) * parameter.grad
            parameter.grad = None
    trained = fit(run, few).model
    for ours, theirs in zip(trained.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_dev_is_evaluated_at_step_0_at_every_share_and_at_the_end(few: Splits) -> None:
    seen: list[Progress] = []
    run = dataclasses.replace(SMALL, eval_every=0.3)
    result = fit(run, few, seen.append)
    assert [at.step for at in seen if at.dev_loss is not None] == [0, 18, 36, 54, 60]
    assert result.dev_loss == seen[-1].dev_loss == split_loss(result.model, few.dev)
    assert result.train_loss == split_loss(result.model, few.train)


def test_counting_has_no_average_of_steps(few: Splits, tmp_path: Path) -> None:
    """With optim.ema, too, the model that a run returns and keeps is the one that has counted."""
    run = Config(model=config.Ngram(order=2), optim=config.Sgd(steps=60, ema=0.9))
    result = fit(run, few, folder=tmp_path)
    assert split_loss(result.model, few.dev) == result.dev_loss
    best = checkpoint.load(tmp_path / BEST)
    kept = restored(Checkpoint(best.part("model"), best.about))
    assert split_loss(kept, few.dev) == result.dev_loss


def test_a_run_is_pruned_when_report_says_so(few: Splits) -> None:
    result = fit(SMALL, few, lambda at: at.step >= 30)
    assert (result.status, result.steps) == ("pruned", 30)
    assert result.train_loss is None
    assert result.dev_loss is not None


def test_a_run_that_is_done_is_not_pruned_any_more(few: Splits) -> None:
    assert fit(SMALL, few, lambda at: at.step == 60).status == "ok"


def poisoned(value: float, few: Splits) -> State:
    """A fresh state with one weight replaced."""
    state = begin(SMALL, few)
    mlp_of(state).b2.data[0] = value
    return state


def mlp_of(state: State) -> MLP:
    assert isinstance(state.model, MLP)
    return state.model


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_bad_weights_are_found_at_step_0(few: Splits, value: float) -> None:
    result = fit(SMALL, few, state=poisoned(value, few))
    assert (result.status, result.steps, result.dev_loss) == ("diverged", 0, None)
    assert str(result.reason).startswith("dev loss")


def test_nan_midway_is_found_at_the_next_report(few: Splits) -> None:
    state = begin(SMALL, few)

    def spoil(at: Progress) -> None:
        if at.step == 31:
            mlp_of(state).C.data.fill_(math.nan)

    result = fit(SMALL, few, spoil, state=state)
    assert (result.status, result.steps) == ("diverged", 32)
    assert result.reason == "minibatch loss nan at step 32 is not finite"


def test_nan_on_dev_only_is_found(few: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    def nan_after_the_first(model: MLP, split: Any, calls: list[int] = []) -> float:  # noqa: B006  # counts
        calls.append(1)
        return 3.0 if len(calls) == 1 else math.nan

    monkeypatch.setattr(training, "split_loss", nan_after_the_first)
    result = fit(SMALL, few)
    assert (result.status, result.steps) == ("diverged", 15)
    assert result.reason == "dev loss nan at step 15 is not finite"


def test_a_huge_but_finite_loss_is_a_divergence(few: Splits) -> None:
    state = begin(SMALL, few)

    def spoil(at: Progress) -> None:
        if at.step == 10:
            mlp_of(state).W2.data.fill_(0.0)
            mlp_of(state).b2.data.copy_(torch.linspace(0, 1e6, len(few.vocabulary)))

    result = fit(SMALL, few, spoil, state=state)
    assert (result.status, result.steps) == ("diverged", 11)
    assert str(result.reason).endswith("at step 11 is above 10000")


def test_a_diverged_run_is_recorded_as_such_and_its_objective_is_inf(
    here: TrainHere, tmp_path: Path
) -> None:
    folder = here(tmp_path / "run", "optim.lr=1e20", KEEP_OBJECTIVE)
    result = result_of(folder)
    assert (result["status"], result["dev_loss"], result["train_loss"]) == ("diverged", None, None)
    assert result["reason"].startswith("minibatch loss")
    assert not (folder / "model.safetensors").exists()
    assert Objective.returned == math.inf


def test_the_objective_of_a_good_run_is_its_dev_loss(here: TrainHere, tmp_path: Path) -> None:
    folder = here(tmp_path / "run", KEEP_OBJECTIVE)
    assert Objective.returned == result_of(folder)["dev_loss"]


@pytest.mark.system
def test_train_py_exits_0_on_a_diverged_run_and_says_why(few_names: Path, tmp_path: Path) -> None:
    done = run_script(
        "train.py", "data=text", f"data.path={few_names}", "experiment=smoke", "optim.lr=1e20",
        "wandb.mode=disabled", f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert done.returncode == 0
    assert "diverged: minibatch loss" in done.stdout


def test_a_loss_of_exactly_zero_is_recorded_and_drawn(here: TrainHere, tmp_path: Path) -> None:
    """float32 becomes certain of every token of a file that repeats one line."""
    path = tmp_path / "same.txt"
    path.write_text("a\n" * 50)
    words = (f"data.path={path}", "optim.steps=200", "optim.lr=100")
    folder = here(tmp_path / "run", *words)
    assert result_of(folder)["status"] == "ok"
    assert result_of(folder)["dev_loss"] == 0
    assert (folder / "figures" / "loss.png").exists()


def test_weights_of_another_shape_are_refused(few: Splits) -> None:
    source = begin(dataclasses.replace(SMALL, model=Model(emb=3, hidden=8)), few).model
    about = about_model(source, few)
    with pytest.raises(RunError, match=r"model\.emb=3 there, 2 here"):
        begin(SMALL, few, Checkpoint(source.state_dict(), about))
