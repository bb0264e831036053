"""The facts of the lecture, in its order, on its own names.txt."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nplm import config
from nplm.building import build_model
from nplm.config import Data
from nplm.console import LECTURE_FINGERPRINT
from nplm.data import Split, Splits, encode
from nplm.lines import read_lines, split_lines
from nplm.model import MLP
from nplm.vocabulary import Vocabulary
from tests.support.helpers import result_of, run_script, shown

SEED = 2147483647


def lecture_model(emb: int = 2, hidden: int = 100) -> MLP:
    shape = config.Model(emb=emb, hidden=hidden, init="lecture")
    return build_model(shape, 27, torch.Generator().manual_seed(SEED))


@pytest.fixture(scope="module")
def lines(names_dir: Path) -> list[str]:
    return read_lines(Data(name="names"))


@pytest.fixture(scope="module")
def first_five(names: Splits, lines: list[str]) -> Split:
    """The 32 examples of emma, olivia, ava, isabella, sophia."""
    return encode(lines[:5], names.vocabulary, block_size=3)


# reading the file and cutting it into examples


def test_file_has_32033_lines_of_29494_distinct_names(lines: list[str]) -> None:
    assert lines[:5] == ["emma", "olivia", "ava", "isabella", "sophia"]
    assert (len(lines), len(set(lines))) == (32_033, 29_494)


def test_vocabulary_is_the_boundary_and_26_letters(names: Splits) -> None:
    assert names.vocabulary.tokens == tuple(".abcdefghijklmnopqrstuvwxyz")


def test_emma_is_cut_into_five_examples(names: Splits) -> None:
    examples = shown(encode(["emma"], names.vocabulary, 3), names.vocabulary)
    assert examples == ["... → e", "..e → m", ".em → m", "emm → a", "mma → ."]


def test_first_five_lines_are_32_examples(first_five: Split) -> None:
    assert first_five.contexts.shape == (32, 3)
    assert first_five.targets.tolist()[:5] == [5, 13, 13, 1, 0]


# the embedding table


def test_one_hot_times_C_is_the_row_of_C() -> None:
    C = lecture_model().C.detach()
    rows = F.one_hot(torch.arange(27), 27).float() @ C
    assert torch.equal(rows, C)


def test_logits_look_up_C_at_each_token_of_the_context(first_five: Split) -> None:
    model = lecture_model()
    embedded = model.C[first_five.contexts]  # (32, 3, 2)
    assert torch.equal(embedded[13, 2], model.C[first_five.contexts[13, 2]])
    hidden = torch.tanh(embedded.view(32, 6) @ model.W1 + model.b1)
    torch.testing.assert_close(model.logits(first_five.contexts), hidden @ model.W2 + model.b2)


# the hidden layer


def test_concatenated_columns_equal_the_view(first_five: Split) -> None:
    embedded = lecture_model().C.detach()[first_five.contexts]
    assert torch.equal(torch.cat(embedded.unbind(1), 1), embedded.view(32, 6))


def test_view_copies_nothing_and_cat_does(first_five: Split) -> None:
    embedded = lecture_model().C.detach()[first_five.contexts]
    assert embedded.view(32, 6).data_ptr() == embedded.data_ptr()
    assert torch.cat(embedded.unbind(1), 1).data_ptr() != embedded.data_ptr()


# the loss


def test_3481_parameters_at_first_and_11897_at_the_end() -> None:
    assert lecture_model(emb=2, hidden=100).size == 3_481
    assert lecture_model(emb=10, hidden=200).size == 11_897


def test_parameters_are_shaped_as_in_the_lecture() -> None:
    shapes = {name: tuple(p.shape) for name, p in lecture_model(10, 200).named_parameters()}
    assert shapes == {"C": (27, 10), "W1": (30, 200), "b1": (200,), "W2": (200, 27), "b2": (27,)}
    assert list(shapes) == ["C", "W1", "b1", "W2", "b2"]


def test_first_loss_is_17_7697(first_five: Split) -> None:
    loss = F.cross_entropy(lecture_model().logits(first_five.contexts), first_five.targets)
    assert loss.item() == pytest.approx(17.7697, abs=5e-5)


def test_softmax_by_hand_gives_the_cross_entropy(first_five: Split) -> None:
    logits = lecture_model().logits(first_five.contexts)
    counts = logits.exp()
    probabilities = counts / counts.sum(1, keepdim=True)
    by_hand = -probabilities[torch.arange(32), first_five.targets].log().mean()
    torch.testing.assert_close(by_hand, F.cross_entropy(logits, first_five.targets))


def test_a_constant_added_to_the_logits_changes_nothing(first_five: Split) -> None:
    logits, targets = lecture_model().logits(first_five.contexts).double(), first_five.targets
    moved = F.cross_entropy(logits + 1000.0, targets)
    torch.testing.assert_close(moved, F.cross_entropy(logits, targets))


def test_softmax_by_hand_overflows_where_cross_entropy_does_not() -> None:
    logits = torch.tensor([[-5.0, -3.0, 0.0, 100.0]])
    by_hand = logits.exp() / logits.exp().sum(1, keepdim=True)
    assert by_hand.isnan().any()
    assert math.isfinite(F.cross_entropy(logits, torch.tensor([3])).item())


# training


def test_gradient_of_C_is_summed_over_the_three_positions(first_five: Split) -> None:
    model = lecture_model()
    embedded = model.C[first_five.contexts]
    embedded.retain_grad()
    hidden = torch.tanh(embedded.view(32, 6) @ model.W1 + model.b1)
    F.cross_entropy(hidden @ model.W2 + model.b2, first_five.targets).backward()  # type: ignore[no-untyped-call]  # torch ships it so
    assert embedded.grad is not None
    summed = torch.zeros(27, 2)
    for position in range(3):
        summed.index_add_(0, first_five.contexts[:, position], embedded.grad[:, position])
    loss = F.cross_entropy(model.logits(first_five.contexts), first_five.targets)
    (ours,) = torch.autograd.grad(loss, [model.C])
    torch.testing.assert_close(ours, summed)


def descend(model: MLP, split: Split, steps: int) -> float:
    """Full-batch gradient descent at 0.1, as the lecture overfits; the last loss."""
    parameters = list(model.parameters())
    for _ in range(steps):
        loss = F.cross_entropy(model.logits(split.contexts), split.targets)
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(loss, parameters), strict=True
        ):
            parameter.data -= 0.1 * gradient
    return F.cross_entropy(model.logits(split.contexts), split.targets).item()


def conditional_entropy(split: Split) -> float:
    """Nats per token that no model can go below: contexts followed by several tokens."""
    followers: dict[tuple[int, ...], list[int]] = {}
    for context, target in zip(split.contexts.tolist(), split.targets.tolist(), strict=True):
        followers.setdefault(tuple(context), []).append(target)
    nats = [-math.log(t.count(one) / len(t)) for t in followers.values() for one in t]
    return sum(nats) / len(nats)


def targets_of_the_start(split: Split, vocabulary: Vocabulary) -> set[str]:
    starts = split.targets[(split.contexts == 0).all(1)]
    return {vocabulary.tokens[i] for i in starts.tolist()}


def test_32_examples_are_overfitted_down_to_what_several_targets_allow(
    names: Splits, first_five: Split
) -> None:
    assert targets_of_the_start(first_five, names.vocabulary) == {"e", "o", "a", "i", "s"}
    floor = conditional_entropy(first_five)
    assert floor == pytest.approx(5 * math.log(5) / 32)  # only the start is ambiguous
    loss = descend(lecture_model(), first_five, 1000)
    assert floor < loss < floor + 0.02


def test_overfitted_examples_are_all_guessed_but_for_the_ambiguous_start(
    first_five: Split,
) -> None:
    model = lecture_model()
    descend(model, first_five, 1000)
    right = model.logits(first_five.contexts).argmax(1) == first_five.targets
    start = (first_five.contexts == 0).all(1)
    assert bool(right[~start].all())
    assert int(right[start].sum()) == 1


# the splits


def examples_of(lines: list[str]) -> int:
    return sum(len(line) + 1 for line in lines)


def test_examples_are_182625_22655_22866(names: Splits, lines: list[str]) -> None:
    assert len(names.train) == 182_625
    assert len(names.dev) == 22_655
    assert examples_of(split_lines(lines, Data(name="names"))[2]) == 22_866


def test_lecture_video_shuffled_four_times(lines: list[str]) -> None:
    """Its 182,441 / 22,902 / 22,803 are another split: the seed and the shuffle, four times."""
    words = list(lines)
    for _ in range(4):
        random.Random(42).shuffle(words)
    cuts = int(0.8 * len(words)), int(0.9 * len(words))
    parts = words[: cuts[0]], words[cuts[0] : cuts[1]], words[cuts[1] :]
    assert [examples_of(part) for part in parts] == [182_441, 22_902, 22_803]


def test_overlap_is_13_2_percent_of_dev_and_11_8_of_test(names: Splits, lines: list[str]) -> None:
    train, _, test = split_lines(lines, Data(name="names"))
    assert names.dev_in_train / len(names.dev.lines) == pytest.approx(0.132, abs=5e-4)
    seen = set(train)
    assert sum(line in seen for line in test) / len(test) == pytest.approx(0.118, abs=5e-4)


def test_fingerprint_is_the_one_that_the_console_compares_with(names: Splits) -> None:
    assert names.fingerprint == LECTURE_FINGERPRINT


def test_uniform_guess_is_ln_27_far_below_the_first_loss(names: Splits, first_five: Split) -> None:
    uniform: Tensor = F.cross_entropy(torch.zeros(32, 27), first_five.targets)
    assert uniform.item() == pytest.approx(math.log(27)) == pytest.approx(3.2958, abs=5e-5)
    assert F.cross_entropy(lecture_model().logits(first_five.contexts), first_five.targets) > 17


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_experiment_lecture_ends_at_dev_loss_2_17(names_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lecture"
    words = ("experiment=lecture", f"hydra.run.dir={folder}", "wandb.mode=disabled")
    done = run_script("train.py", *words, timeout=900, env={"SWEEPMORE_DATA_DIR": str(names_dir)})
    assert done.returncode == 0, done.stderr
    result = result_of(folder)
    assert (result["status"], result["steps"], result["parameters"]) == ("ok", 200_000, 11_897)
    assert 2.14 <= result["dev_loss"] <= 2.20


@pytest.mark.slow
def test_experiment_quick_reaches_2_18_in_seconds(names_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "quick"
    words = ("experiment=quick", "data=names", f"hydra.run.dir={folder}", "wandb.mode=disabled")
    assert (
        run_script("train.py", *words, env={"SWEEPMORE_DATA_DIR": str(names_dir)}).returncode == 0
    )
    assert result_of(folder)["dev_loss"] <= 2.18
