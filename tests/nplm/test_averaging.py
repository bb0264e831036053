"""An ensemble: the mean of its members' probabilities, by hand and to the bit; its references."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path

import pytest
import torch

import nplm
from nplm import checkpoint
from nplm.averaging import Ensemble, sizes
from nplm.baselines import BigramModel
from nplm.building import ensemble_of, opened_ensemble
from nplm.checkpoint import LAST
from nplm.config import AdamW, Bigram, Config, Data, Member, Model
from nplm.config import Ensemble as Shape
from nplm.data import Splits, load_splits
from nplm.losses import split_loss
from nplm.mixture import Mixture, best_weight, counting_of
from nplm.model import LanguageModel
from nplm.run_files import WEIGHTS
from nplm.sampling import Trained, load_trained, sample
from nplm.state import begin, resume
from nplm.training import fit
from nplm.weights import save_weights
from sweepmore.errors import ConfigError, RunError
from tests.support.helpers import bits

# Different in size and context, so that nothing is right by symmetry.
SHAPES = (
    Model(emb=4, hidden=8, init="scaled"),
    Model(emb=3, hidden=12, block_size=2, init="scaled"),
    Model(emb=5, hidden=9, activation="relu", init="scaled"),
)
OPTIM = AdamW(steps=60, lr=0.03, batch_size=128, draw="contexts")


def trained(folder: Path, shape: Model, data: Data, seed: int = 1) -> Path:
    """A run's weights in ``folder``."""
    splits = load_splits(data, shape.block_size)
    result = fit(Config(model=shape, optim=OPTIM, data=data, seed=seed), splits)
    folder.mkdir(parents=True)
    save_weights(folder, result.model, splits, result.dev_loss)
    return folder


@pytest.fixture(scope="module")
def data(few_names: Path) -> Data:
    return Data(name="text", path=str(few_names))


@pytest.fixture(scope="module")
def made(data: Data, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place = tmp_path_factory.mktemp("members")
    return [trained(place / str(at), shape, data, at) for at, shape in enumerate(SHAPES)]


@pytest.fixture
def runs(made: list[Path], tmp_path: Path) -> list[Path]:
    """The same in a place of the test's own, which it may change."""
    return [Path(shutil.copytree(run, tmp_path / "nets" / run.name)) for run in made]


def two_tokens(probability: float) -> LanguageModel:
    """A model of the tokens . and a: a follows either with this probability."""
    model = BigramModel(Bigram(), 2)
    with torch.no_grad():
        model.W[:] = torch.tensor([1 - probability, probability]).log() + 5  # not normalised
    return model


def averaged(*models: LanguageModel) -> Ensemble:
    members = tuple(Member(str(at)) for at in range(len(models)))
    return Ensemble(Shape(members=members, block_size=1), models, [0.0] * len(models))


def test_two_by_hand() -> None:
    model = averaged(two_tokens(0.2), two_tokens(0.9))
    contexts = torch.tensor([[0], [1]])
    wanted = torch.tensor([[0.45, 0.55], [0.45, 0.55]])
    assert torch.allclose(model.logits(contexts).exp(), wanted, atol=1e-6)
    asked = model.log_probabilities(contexts, torch.tensor([1, 0]), torch.tensor([1, 0]))
    assert asked.tolist() == pytest.approx([math.log(0.55), math.log(0.45)], abs=1e-6)
    assert model.size == 2 * 4


def test_a_certain_member_does_not_make_the_other_impossible() -> None:
    """The mean is of probabilities: the mean of logs would be minus infinity."""
    model = averaged(two_tokens(0.0), two_tokens(0.5))
    assert model.logits(torch.tensor([[0]])).exp().tolist() == [pytest.approx([0.75, 0.25])]


def test_an_ensemble_of_one_is_the_net_to_the_bit(runs: list[Path], few: Splits) -> None:
    net, one = load_trained(runs[0]), nplm.ensemble(runs[0])
    counts = few.dev.counts
    asked = counts.contexts, counts.rows, counts.targets
    assert bits(one.model.log_probabilities(*asked)) == bits(net.model.log_probabilities(*asked))
    assert split_loss(one.model, few.dev) == split_loss(net.model, few.dev)
    assert sample(one, 50, seed=3) == sample(net, 50, seed=3)


def test_probabilities_are_the_mean_and_sum_to_one(runs: list[Path], few: Splits) -> None:
    model = nplm.ensemble(*runs).model
    contexts = few.dev.counts.contexts
    each = [
        load_trained(run).model.logits(contexts[:, -shape.block_size :]).softmax(1)
        for run, shape in zip(runs, SHAPES, strict=True)
    ]
    assert torch.allclose(model.logits(contexts).exp(), torch.stack(each).mean(0), atol=1e-6)
    assert torch.allclose(model.logits(contexts).exp().sum(1), torch.tensor(1.0), atol=1e-5)
    assert model.shape.block_size == 3  # the longest
    assert model.size == sum(load_trained(run).model.size for run in runs)


def test_lines_are_sampled_and_explained(runs: list[Path]) -> None:
    several = nplm.ensemble(*map(str, runs))
    drawn = nplm.sample(several, 30, seed=0, prompt="a")
    assert all(line.startswith("a") for line in drawn)
    assert len(set(drawn)) > 10
    each = [nplm.explain(load_trained(run), "ann") for run in runs]
    for at, position in enumerate(nplm.explain(several, "ann")):
        p = sum(math.exp(-positions[at].nats) for positions in each) / len(each)
        assert position.nats == pytest.approx(-math.log(p), abs=1e-5)


def test_a_run_of_it_evaluates_mixes_and_is_restored(
    runs: list[Path], few: Splits, data: Data, tmp_path: Path
) -> None:
    shape = ensemble_of(runs, tmp_path / "run")
    assert [member.run for member in shape.members] == ["../nets/0", "../nets/1", "../nets/2"]
    config = Config(model=shape, optim=OPTIM, data=data)
    alone = fit(config, few, folder=tmp_path / "run")
    assert (alone.status, alone.steps) == ("ok", 0)
    loss = split_loss(nplm.ensemble(*runs).model, few.dev)
    assert alone.dev_loss == loss < min(load(run).about["dev_loss"] for run in runs)
    both = fit(dataclasses.replace(config, mix=True), few, folder=tmp_path / "run")
    assert isinstance(both.model, Mixture)
    assert both.net_dev_loss == loss
    assert both.dev_loss is not None
    assert both.dev_loss <= loss
    # what is written refers to the members, by names that hold where the whole is moved
    for result in (alone, both):
        save_weights(tmp_path / "run", result.model, few, result.dev_loss)
        assert not [name for name in load(tmp_path / "run").tensors if "W1" in name]
        moved = Path(shutil.copytree(tmp_path, tmp_path.with_name(f"moved-{result.steps}")))
        again = load_trained(moved / "run").model
        assert split_loss(again, few.dev) == result.dev_loss
        shutil.rmtree(moved)


def load(run: Path) -> checkpoint.Checkpoint:
    return checkpoint.load(run / WEIGHTS)


def test_it_resumes_to_the_same_result(
    runs: list[Path], few: Splits, data: Data, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    config = Config(model=ensemble_of(runs, folder), optim=OPTIM, data=data)
    first = fit(config, few, folder=folder)
    state = resume(config, few, checkpoint.load(folder / LAST), folder)
    again = fit(config, few, state=state, folder=folder)
    assert (again.dev_loss, again.train_loss) == (first.dev_loss, first.train_loss)
    assert checkpoint.load(folder / LAST).part("model") == {}  # no copy of the weights


def test_a_missing_member_is_refused_by_name(runs: list[Path]) -> None:
    shape = ensemble_of(runs)
    shutil.rmtree(runs[1])
    with pytest.raises(RunError, match=r"nets/1/model\.safetensors, a member .* is missing"):
        opened_ensemble(shape, Path())
    with pytest.raises(RunError, match=r"nets/1/model\.safetensors"):
        nplm.ensemble(*runs)


def test_a_changed_member_is_refused_by_name(runs: list[Path], data: Data) -> None:
    """Also where the change is a whole file, trained with another seed."""
    shape = ensemble_of(runs)
    shutil.rmtree(runs[2])
    trained(runs[2], SHAPES[2], data, seed=9)
    with pytest.raises(RunError, match=r"nets/2/model\.safetensors, a member .* has changed"):
        opened_ensemble(shape, Path())


@pytest.mark.parametrize(("other", "differing"), [
    ({"seed": 3}, "splits"), ({"lower": True}, "splits and units"),
    ({"path": "capitals.txt"}, "splits and vocabularies"),
])  # fmt: skip
def test_members_of_different_splits_are_refused(
    runs: list[Path],
    data: Data,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    other: dict[str, object],
    differing: str,
) -> None:
    capitals = tmp_path / "capitals.txt"
    capitals.write_text(Path(str(data.path)).read_text().upper())
    monkeypatch.chdir(tmp_path)
    of_another = dataclasses.replace(data, **other)  # type: ignore[arg-type]
    foreign = trained(tmp_path / "foreign", SHAPES[0], of_another)
    with pytest.raises(RunError, match=f"foreign and .*nets/0 cannot be averaged: .*{differing}"):
        nplm.ensemble(runs[0], foreign)


def test_data_that_changed_since_are_refused(runs: list[Path], data: Data) -> None:
    other = dataclasses.replace(data, seed=3)
    config = Config(model=ensemble_of(runs), data=other)
    with pytest.raises(RunError, match="learned from another split"):
        fit(config, load_splits(other, 3))


def test_an_ensemble_has_no_weights_to_begin_with(
    runs: list[Path], few: Splits, data: Data, tmp_path: Path
) -> None:
    config = Config(model=ensemble_of(runs, tmp_path), optim=OPTIM, data=data)
    save_weights(tmp_path, fit(config, few, folder=tmp_path).model, few, None)
    with pytest.raises(RunError, match=r"An ensemble of 3: .* has no weights of its own"):
        begin(Config(model=SHAPES[0], optim=OPTIM, data=data), few, load(tmp_path))


def test_nothing_to_average_is_refused() -> None:
    with pytest.raises(RunError, match="needs a run"):
        nplm.ensemble()
    with pytest.raises(ConfigError, match="no members") as refused:
        Config(model=Shape())
    assert "ensemble=STUDY" in str(refused.value.cure)


def test_what_each_more_member_buys(runs: list[Path], few: Splits) -> None:
    several = nplm.ensemble(*runs)
    model = several.model
    assert isinstance(model, Ensemble)
    one, two, three = sizes(model, few)
    each = [load(run).about["dev_loss"] for run in runs]
    assert one.loss == pytest.approx(sum(each) / 3, abs=1e-5)
    assert three.loss == pytest.approx(split_loss(model, few.dev), abs=1e-5)
    pairs = [split_loss(model.part(which), few.dev) for which in ([0, 1], [1, 2], [2, 0])]
    assert two.loss == pytest.approx(sum(pairs) / 3, abs=1e-5)
    assert three.loss < two.loss < one.loss
    ngram = counting_of(few, len(few.vocabulary))
    weight = best_weight(model, ngram, few.dev)
    assert three.weight == pytest.approx(weight, abs=1e-5)
    assert three.mixed == pytest.approx(
        split_loss(Mixture(model, ngram, weight), few.dev), abs=1e-5
    )
    assert sample(Trained(model.part([1]), several.vocabulary), 9, seed=0) == sample(
        load_trained(runs[1]), 9, seed=0
    )
