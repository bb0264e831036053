"""The nets of examples/: against torch's own layers, by finite differences, saved and resumed."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from examples.gru.gru import GRU
from examples.gru.gru import Settings as OfGRU
from examples.transformer.transformer import Settings as OfTransformer
from examples.transformer.transformer import Transformer
from examples.wavenet.wavenet import Settings as OfWaveNet
from examples.wavenet.wavenet import WaveNet
from nplm import checkpoint
from nplm.building import build_model, restored
from nplm.config import AdamW, Config, Data, Own
from nplm.data import Splits, load_splits
from nplm.losses import split_loss
from nplm.model import LanguageModel
from nplm.sampling import load_trained, sample
from nplm.state import begin, resume
from nplm.training import fit
from nplm.weights import save_weights
from sweepmore.errors import ConfigError
from sweepmore.runs.files import read_json
from tests.support.helpers import ROOT, train_here

V, B = 7, 8
GRU_AT = "examples.gru.gru.GRU"
WAVENET_AT = "examples.wavenet.wavenet.WaveNet"
TRANSFORMER_AT = "examples.transformer.transformer.Transformer"


MASK = [0.0, float("-inf"), 0.125]


class Masked(GRU):
    """It has constants, one of which is not finite, and counts its steps."""

    steps: Tensor

    def __init__(self, shape: Own, vocabulary_size: int) -> None:
        super().__init__(shape, vocabulary_size)
        self.register_buffer("mask", torch.tensor(MASK))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def training_logits(self, contexts: Tensor, noise: torch.Generator) -> Tensor:
        self.steps += 1
        return super().training_logits(contexts, noise)


MASKED = Own(target=f"{__name__}.Masked", block_size=3, settings={"emb": 3, "hidden": 4})


def small(dropout: float = 0.0) -> list[Own]:
    common = {"dropout": dropout}
    return [
        Own(target=GRU_AT, block_size=3, settings={"emb": 3, "hidden": 4, **common}),
        Own(target=WAVENET_AT, block_size=4, settings={"emb": 3, "hidden": 4, **common}),
        Own(target=TRANSFORMER_AT, block_size=3,
            settings={"width": 4, "heads": 2, "layers": 2, **common}),
    ]  # fmt: skip


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_contexts(b: int, n: int = 9) -> Tensor:
    return torch.randint(V, (n, b), generator=seeded(1))


def whole_of(shape: Own) -> Any:
    """A model whose parts the tests look at, which have no types in torch's lists."""
    return build_model(shape, V, seeded(0))


def copied(pairs: dict[Any, Tensor]) -> None:
    with torch.no_grad():
        for theirs, ours in pairs.items():
            theirs.copy_(ours)


@pytest.mark.parametrize("name", ["gru", "wavenet", "transformer"])
def test_each_is_at_most_80_lines(name: str) -> None:
    assert len((ROOT / "examples" / name / f"{name}.py").read_text().splitlines()) <= 80


# against torch's own layers


def test_the_gru_is_torchs() -> None:
    shape = Own(target=GRU_AT, block_size=B, settings={"emb": 5, "hidden": 6})
    model, contexts = whole_of(shape), some_contexts(B)
    with torch.no_grad():
        model.b.normal_(generator=seeded(2))
        model.c.normal_(generator=seeded(3))
        model.bias.normal_(generator=seeded(4))
    theirs = nn.GRU(5, 6, batch_first=True)
    copied({theirs.weight_ih_l0: model.W.T, theirs.weight_hh_l0: model.U.T,
            theirs.bias_ih_l0: model.b, theirs.bias_hh_l0: model.c})  # fmt: skip
    _, last = theirs(model.C[contexts])
    torch.testing.assert_close(model.logits(contexts), last[0] @ model.out + model.bias)


def test_the_wavenet_is_the_lectures_in_torchs_layers() -> None:
    """FlattenConsecutive(2), Linear without bias, BatchNorm1d, Tanh, three times; then Linear."""
    shape = Own(target=WAVENET_AT, block_size=B, settings={"emb": 5, "hidden": 6})
    model, contexts = whole_of(shape), some_contexts(B)
    norms = [nn.BatchNorm1d(6) for _ in range(3)]
    with torch.no_grad():
        for own, norm in zip(model.norms, norms):
            for ours, theirs in ((own.gain, norm.weight), (own.bias, norm.bias)):
                ours.normal_(generator=seeded(2))
                theirs.copy_(ours)

    def of_torch() -> Tensor:
        units = model.C[contexts]  # (n, 8, 5)
        for weights, norm in zip(model.W, norms):
            n, b, width = units.shape
            units = nn.functional.linear(units.reshape(n, b // 2, 2 * width), weights.T)
            units = norm(units.transpose(1, 2)).transpose(1, 2).tanh()  # BatchNorm1d of (n, h, b)
        return nn.functional.linear(units.squeeze(1), model.out.weight, model.out.bias)

    for _ in range(3):  # training: by the minibatch, and the running statistics move
        torch.testing.assert_close(model.training_logits(contexts, seeded(5)), of_torch())
    for own, norm in zip(model.norms, norms):
        torch.testing.assert_close(own.mean, norm.running_mean)
        torch.testing.assert_close(own.variance, norm.running_var)
        norm.eval()
    torch.testing.assert_close(model.logits(contexts), of_torch())


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_transformer_is_torchs(layers: int) -> None:
    shape = Own(target=TRANSFORMER_AT, block_size=B,
                settings={"width": 8, "heads": 2, "layers": layers})  # fmt: skip
    model, contexts = whole_of(shape), some_contexts(B)
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=seeded(number)) / 2)
    units = model.C[contexts] + model.places
    mask = nn.Transformer.generate_square_subsequent_mask(B)
    for block in model.blocks:
        theirs = nn.TransformerEncoderLayer(
            8, 2, 32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        attention = theirs.self_attn
        copied({
            attention.in_proj_weight: block.qkv.weight, attention.in_proj_bias: block.qkv.bias,
            attention.out_proj.weight: block.joined.weight,
            attention.out_proj.bias: block.joined.bias,
            theirs.norm1.weight: block.norm1.weight, theirs.norm1.bias: block.norm1.bias,
            theirs.norm2.weight: block.norm2.weight, theirs.norm2.bias: block.norm2.bias,
            theirs.linear1.weight: block.hidden.weight, theirs.linear1.bias: block.hidden.bias,
            theirs.linear2.weight: block.back.weight, theirs.linear2.bias: block.back.bias,
        })  # fmt: skip
        units = theirs(units, src_mask=mask)
    wanted = model.out(model.norm(units[:, -1]))
    torch.testing.assert_close(model.logits(contexts), wanted, rtol=1e-4, atol=1e-4)


# gradients


class _Training(nn.Module):
    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, contexts: Tensor) -> Tensor:
        return self.model.training_logits(contexts, seeded(5))


@pytest.mark.parametrize("shape", [*small(), *small(0.3)], ids=str)
def test_gradients_by_finite_differences(shape: Own) -> None:
    """With the same masks at each evaluation; through the statistics of the minibatch, too."""
    model, contexts = build_model(shape, V, seeded(0)).double(), some_contexts(shape.block_size)
    names, values = zip(*model.named_parameters(), strict=True)

    def logits(*parameters: Tensor) -> Tensor:
        named = {f"model.{name}": one for name, one in zip(names, parameters, strict=True)}
        found: Tensor = torch.func.functional_call(_Training(model), named, (contexts,))
        return found

    assert torch.autograd.gradcheck(logits, values, eps=1e-6, atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("shape", small(), ids=str)
def test_the_initialisation_is_the_generators_and_the_first_loss_that_of_a_guess(
    shape: Own,
) -> None:
    torch.manual_seed(1)
    model = build_model(shape, V, seeded(0))
    torch.manual_seed(2)
    again = build_model(shape, V, seeded(0))
    assert all(map(torch.equal, model.tensors().values(), again.tensors().values()))
    assert model.logits(some_contexts(shape.block_size)).abs().max() < 0.2


# training, saving, resuming


def fitting(shape: Own, **optim: float) -> Config:
    steps = AdamW(steps=40, batch_size=64, lr=0.01, draw="contexts", **optim)  # type: ignore[arg-type]
    return Config(model=shape, optim=steps, eval_every=0.25)


@pytest.fixture(scope="module")
def few_at(few_names: Path) -> dict[int, Splits]:
    data = Data(name="text", path=str(few_names))
    return {b: load_splits(data, b) for b in (3, 4)}


@pytest.mark.parametrize(
    ("shape", "ema"),
    [*((shape, 0.9) for shape in [*small(0.1), MASKED]), (small()[1], 0.0)],
    ids=str,
)
def test_a_run_that_was_interrupted_ends_with_the_same_bits(
    shape: Own, ema: float, few_at: dict[int, Splits], tmp_path: Path
) -> None:
    """Parameters, running statistics and losses; the weights on disk are those evaluated."""
    config, splits = fitting(shape, ema=ema), few_at[shape.block_size]
    whole = fit(config, splits, folder=tmp_path / "whole")
    calls = iter(range(1000))
    stopped = fit(config, splits, folder=tmp_path / "cut",
                  stop=lambda: signal.SIGTERM if next(calls) == 17 else None)  # fmt: skip
    assert stopped.status == "interrupted"
    state = resume(config, splits, checkpoint.load_last(tmp_path / "cut"))
    ended = fit(config, splits, state=state, folder=tmp_path / "cut")
    assert whole.dev_loss == ended.dev_loss
    ours, theirs = whole.model.tensors(), ended.model.tensors()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    start = split_loss(begin(config, splits).model, splits.dev)
    assert whole.dev_loss is not None
    assert whole.dev_loss < start - 0.1

    save_weights(tmp_path, whole.model, splits, whole.dev_loss)
    read = restored(checkpoint.load(tmp_path / "model.safetensors"))
    assert split_loss(read, splits.dev) == whole.dev_loss


def test_running_statistics_are_averaged_as_the_weights_are(few_at: dict[int, Splits]) -> None:
    """The average of all steps, each weighted by its age, is what is evaluated."""
    config = fitting(small()[1], ema=0.9)
    state = begin(config, few_at[4])
    steps: list[dict[str, Tensor]] = []

    def after_a_step() -> None:
        steps.append({name: t.clone() for name, t in state.model.tensors().items()})

    fit(config, few_at[4], state=state, stop=after_a_step)
    weights = torch.tensor([0.9**age for age in reversed(range(len(steps)))])
    found = state.evaluated().tensors()
    assert {name for name in found if "norms.0" in name} > {"norms.0.mean", "norms.0.variance"}
    for name, tensor in found.items():
        stacked = torch.stack([step[name] for step in steps])
        wanted = torch.tensordot(weights / weights.sum(), stacked, 1)
        torch.testing.assert_close(tensor, wanted, rtol=1e-4, atol=1e-5)


def test_what_training_does_not_change_is_not_averaged(few_at: dict[int, Splits]) -> None:
    state = begin(fitting(MASKED, ema=0.9), few_at[3])
    trained = fit(fitting(MASKED, ema=0.9), few_at[3], state=state).model.tensors()
    assert trained["mask"].tolist() == MASK
    assert int(trained["steps"]) == 40


def test_an_evaluation_does_not_depend_on_the_rest_of_its_batch() -> None:
    model, contexts = build_model(small(0.2)[1], V, seeded(0)), some_contexts(4)
    model.training_logits(contexts, seeded(1))
    torch.testing.assert_close(model.logits(contexts)[:1], model.logits(contexts[:1]))
    assert model.training_logits(contexts[:1], seeded(1)).isfinite().all()


# from the command line


@pytest.mark.parametrize(
    ("name", "cls", "settings"),
    [("gru", GRU, OfGRU), ("wavenet", WaveNet, OfWaveNet),
     ("transformer", Transformer, OfTransformer)],
)  # fmt: skip
@pytest.mark.usefixtures("here")  # restores argv
def test_from_training_to_samples(
    few_names: Path, tmp_path: Path, name: str, cls: type[LanguageModel], settings: type
) -> None:
    folder = train_here(
        tmp_path / "run", "data=text", f"data.path={few_names}", "wandb.mode=disabled",
        f"model={name}", "model.block_size=4", "optim.steps=8",
    )  # fmt: skip
    result, trained = read_json(folder / "result.json"), load_trained(folder)
    model = trained.model
    assert isinstance(model, cls)
    assert isinstance(model.shape, Own)
    assert (model.shape.block_size, model.shape.settings) == (4, dataclasses.asdict(settings()))
    assert result["parameters"] == model.size
    assert len(sample(trained, 3, seed=0)) == 3
    assert model.embeddings is model.C
    assert (folder / "figures" / "embeddings.png").exists()


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        (Own(target=WAVENET_AT, block_size=6), "model.block_size=6 cannot be halved"),
        (Own(target=WAVENET_AT, block_size=1), "model.block_size=1 cannot be halved"),
        (Own(target=TRANSFORMER_AT, settings={"width": 6}), "4 heads cannot share"),
        (Own(target=GRU_AT, settings={"hiden": 5}), "Unknown key model.settings.hiden=5"),
        (Own(target=GRU_AT, settings={"dropout": 1.0}), "model.settings.dropout=1.0 is out of"),
    ],
)
def test_what_cannot_be_built_is_refused(shape: Own, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        build_model(shape, V, seeded(0))
