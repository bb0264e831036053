"""Words as tokens: small corpora by hand, the limits, and a run from its words to its test."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch

import evaluate_test
import sample as sample_script
from nplm import config, console, losses, sealed
from nplm.app import report, tested_run
from nplm.app.earlier_looks import may_look
from nplm.baselines import NgramModel
from nplm.building import build_model
from nplm.config import Data, Model, Sgd
from nplm.data import Split, count, encode, load_splits
from nplm.kneser_ney import KneserNey, best_kneser_ney, kneser_ney
from nplm.lines import fingerprint, read_lines
from nplm.losses import split_loss, token_losses
from nplm.minibatches import distributions
from nplm.mixture import Mixture, mixed
from nplm.model import MLP, LanguageModel
from nplm.optim import learning_rate
from nplm.sampling import explain, load_trained, sample
from nplm.state import begin, check_size
from nplm.vocabulary import WORDS, Vocabulary, vocabulary_of
from sweepmore.errors import ConfigError, DataError
from sweepmore.runs.files import read_json
from sweepmore.seal.ledger import Ledger
from sweepmore.seal.refusals import Refused
from sweepmore.storage.urls import storage_url
from tests.support.helpers import ROOT, TEN, call_script, rows_of, shown, train_here

TRAIN = ("the cat sat", "the dog sat", "A cat ran", "the cat ran", "a dog ran", "the bird sat")
DEV, TEST = ("the cat flew", "the bird ran"), ("the dog swam", "a zebra sat")
# Of the words that stay with min_count=2, <unk> 3 times: A, a, bird.
KEPT = ("<s>", "the", "<unk>", "cat", "ran", "sat", "dog")
# A word's share in train is count / 24, and dev has the 4, cat 3, <unk> 3, <s> 6, the 4, <unk> 3,
# ran 3, <s> 6: the eighth root of 24^8 / 6^6.
BY_HAND = 24 / 6**0.75

Written = Callable[..., Data]


@pytest.fixture
def ten(tmp_path: Path) -> Written:
    """``ten(**settings)``: the ten lines, cut as they stand."""
    path = tmp_path / "ten.txt"
    path.write_text("\n".join((*TRAIN, *DEV, *TEST)) + "\n")

    def data(**settings: object) -> Data:
        known: dict[str, object] = {"name": "text", "path": str(path), "unit": "word",
                                    "order": "contiguous", "split": (0.6, 0.2, 0.2)}  # fmt: skip
        return Data(**{**known, **settings})  # type: ignore[arg-type]

    return data


# tokens


def test_first_next_last(ten: Written) -> None:
    splits = load_splits(ten(), 2)
    assert (splits.train.lines, splits.dev.lines, splits.test_lines) == (TRAIN, DEV, 2)


def test_rare_words_are_one_token_and_train_alone_says_which(ten: Written) -> None:
    splits = load_splits(ten(min_count=2), 2)
    assert splits.vocabulary.tokens == KEPT
    examples = [
        "<s> <s> → the", "<s> the → cat", "the cat → <unk>", "cat <unk> → <s>",
        "<s> <s> → the", "<s> the → <unk>", "the <unk> → ran", "<unk> ran → <s>",
    ]  # fmt: skip
    assert shown(splits.dev, splits.vocabulary) == examples


def test_min_count_1_merges_none_of_train_s_words(ten: Written) -> None:
    splits = load_splits(ten(min_count=1), 2)
    assert splits.vocabulary.tokens == (
        "<s>", "the", "cat", "ran", "sat", "dog", "A", "a", "bird", "<unk>")  # fmt: skip
    unknown = splits.vocabulary.tokens.index("<unk>")
    assert unknown not in splits.train.targets
    assert (splits.dev.targets == unknown).sum() == 1  # flew
    assert math.isfinite(best_kneser_ney(splits)[0].loss(splits.dev))


def test_small_letters(ten: Written) -> None:
    splits = load_splits(ten(min_count=2, lower=True), 2)
    assert splits.vocabulary.tokens == ("<s>", "the", "cat", "ran", "sat", "a", "dog", "<unk>")
    assert splits.train.lines[2] == "a cat ran"
    assert splits.vocabulary.encode("A  Dog flew") == [5, 6, 7]


def test_any_blanks_are_between_words(tmp_path: Path) -> None:
    path = tmp_path / "blanks.txt"
    path.write_text("  a\tb   c \r\nd e\n\n f\n")
    assert read_lines(Data(name="text", path=str(path), unit="word")) == ["a b c", "d e", "f"]


def test_every_line_ends_and_contexts_do_not_reach_beyond(ten: Written) -> None:
    splits = load_splits(ten(), 5)
    starts = [0, *(1 + (splits.train.targets == 0).nonzero()[:-1, 0]).tolist()]
    assert (splits.train.contexts[starts] == 0).all()
    assert len(splits.train) == sum(len(line.split()) + 1 for line in TRAIN)


def test_no_word_that_is_frequent_enough(ten: Written) -> None:
    with pytest.raises(DataError, match="No word appears 5 times in the train lines"):
        load_splits(ten(min_count=5), 2)


def written(data: Data, *lines: str) -> Data:
    """``data`` with other lines in its file."""
    Path(str(data.path)).write_text("\n".join(lines) + "\n")
    return data


def test_the_boundary_is_refused_where_it_is_a_token(ten: Written) -> None:
    with pytest.raises(DataError, match=r"line 2: contains the boundary token '<s>'"):
        load_splits(written(ten(), "a b", "a <s> b", *["a"] * 8), 2)
    assert "<s>a" in load_splits(written(ten(), *["<s>a b<s>"] * 10), 2).vocabulary.tokens
    vocabulary = Vocabulary(KEPT, WORDS)
    with pytest.raises(DataError, match="'<s>' in 'the <s> cat' is the boundary between lines"):
        vocabulary.encode("the <s> cat")
    with pytest.raises(DataError, match="is the boundary"):
        Vocabulary((".", "a")).encode("a.a")


def test_unk_in_the_text_is_counted_once(ten: Written) -> None:
    """It and the rare word are 2 of train's tokens: fewer than a's 3."""
    data = written(ten(min_count=2), "<unk> a", "b a a", "c c c c", *["c"] * 7)
    assert load_splits(data, 2).vocabulary.tokens == ("<s>", "c", "a", "<unk>")
    with pytest.raises(DataError, match="contain no word but <unk>"):
        load_splits(written(ten(), *["<unk>"] * 10), 2)


def test_a_blank_that_does_not_break_is_a_blank_and_one_without_width_is_none(
    ten: Written,
) -> None:
    data = written(ten(), *["a\u00a0b c\u200bd"] * 10)
    assert load_splits(data, 2).vocabulary.tokens == ("<s>", "a", "b", "c\u200bd", "<unk>")


def test_characters_have_no_rare_words() -> None:
    with pytest.raises(ConfigError, match=r"data\.min_count=2 has no effect with data\.unit=char"):
        Data(min_count=2)


# the fingerprint


def test_the_fingerprint_names_unit_words_and_order(ten: Written) -> None:
    lines = [*TRAIN, *DEV, *TEST]
    rules = [
        ten(), ten(unit="char"), ten(order="shuffled"), ten(lower=True), ten(min_count=2),
        ten(min_count=3), ten(split=(0.5, 0.3, 0.2)),
    ]  # fmt: skip
    assert len({fingerprint(lines, data) for data in rules}) == len(rules)


def test_another_seed_is_no_other_contiguous_split(ten: Written) -> None:
    """Else the same test lines could be looked at twice."""
    lines = [*TRAIN, *DEV, *TEST]
    assert fingerprint(lines, ten(seed=1)) == fingerprint(lines, ten())
    assert fingerprint(lines, ten(seed=1, order="shuffled")) != fingerprint(
        lines, ten(order="shuffled")
    )


def test_settings_at_their_defaults_leave_recorded_fingerprints_as_they_are() -> None:
    assert fingerprint(read_lines(Data()), Data()).startswith("a56ad5cd")


# losses in bounded memory


def counted(data: Data, order: int) -> tuple[KneserNey, NgramModel]:
    splits = load_splits(data, max(1, order - 1))
    model = build_model(config.Ngram(order=order), len(splits.vocabulary), torch.Generator())
    model.count(splits)
    assert isinstance(model, NgramModel)
    assert model.counted is not None
    return model.counted, model


@pytest.mark.parametrize("order", range(1, 5))
def test_given_targets_have_the_probability_that_all_tokens_show(ten: Written, order: int) -> None:
    found, _ = counted(ten(), order)
    generator = np.random.default_rng(0)
    contexts = generator.integers(0, found.size, (200, 3))  # most of them never seen
    contexts[::2, :2] = 0
    targets = generator.integers(0, found.size, 200)
    wanted = -np.log(found.probabilities(contexts)[np.arange(200), targets])
    assert found.losses(contexts, targets) == pytest.approx(wanted, abs=1e-12)


def test_counting_is_evaluated_without_a_row_of_all_words(
    ten: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 17,000 words such rows would be 27 GB for the train lines of the paper's size."""

    def refuse(self: KneserNey, contexts: object) -> None:
        raise AssertionError("rows of all words")

    monkeypatch.setattr(KneserNey, "probabilities", refuse)
    splits = load_splits(ten(), 3)
    net = build_model(Model(emb=2, hidden=4), len(splits.vocabulary), torch.Generator())
    mixture = mixed(net, splits)
    assert math.isfinite(split_loss(mixture, splits.dev))
    assert torch.isfinite(token_losses(mixture, splits.dev.contexts, splits.dev.targets)).all()


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_mixture_s_limits_are_its_parts(ten: Written, weight: float) -> None:
    splits = load_splits(ten(), 3)
    net: LanguageModel = build_model(
        Model(emb=2, hidden=4), len(splits.vocabulary), torch.Generator()
    )
    _, ngram = counted(ten(), 3)
    part = split_loss((net, ngram)[int(weight)], splits.dev)
    assert split_loss(Mixture(net, ngram, weight), splits.dev) == part


class Counting(LanguageModel):
    """Remembers the most contexts that it was asked about at once."""

    most = 0

    def logits(self, contexts: torch.Tensor) -> torch.Tensor:
        self.most = max(self.most, len(contexts))
        return (contexts[:, -1:] + torch.arange(17_000)) % 7.0

    @property
    def widest(self) -> int:
        return 17_000


def test_logits_of_17_000_words_are_made_for_few_contexts_at_once() -> None:
    model = Counting(config.Bigram(), 17_000)
    contexts, targets = torch.arange(600)[:, None], torch.arange(600)
    found = token_losses(model, contexts, targets)
    assert model.most * 17_000 <= losses.CHUNK_NUMBERS
    wanted = torch.nn.functional.cross_entropy(model.logits(contexts), targets, reduction="none")
    torch.testing.assert_close(found, wanted)


def test_a_split_of_17_000_words_goes_through_in_parts() -> None:
    model = Counting(config.Bigram(), 17_000)
    contexts, targets = np.arange(1200)[:, None] % 600, np.arange(1200)
    counts = count(contexts, targets, 17_000)
    split = Split((), torch.from_numpy(contexts), torch.from_numpy(targets), counts)
    each = token_losses(model, split.contexts, split.targets)
    model.most = 0
    assert split_loss(model, split) == pytest.approx(float(each.double().mean()), rel=1e-6)
    assert model.most * 17_000 <= losses.CHUNK_NUMBERS
    with torch.device("meta"):
        assert MLP(Model(), 17_000).widest == 17_000


def test_counting_bigrams_of_words_on_paper() -> None:
    """The ten lines of test_baselines, a word for each letter: after a (10 times) stand b 6 times,
    the end 3 times, c once, and the discounts are those derived there. <unk> is a fifth token."""
    lines = [" ".join(line) for line in TEN]
    vocabulary = vocabulary_of(lines, Path("ten"), WORDS)
    split = encode(lines, vocabulary, 1)
    found = kneser_ney(split.contexts.numpy(), split.targets.numpy(), len(vocabulary), 2)
    d1, d3, left = 0.6, 1.8, 4 * 0.5 / 14
    unigram = {t: (n - 0.5) / 14 + left / 5 for t, n in zip("ebac", (3, 4, 3, 4))} | {"?": left / 5}
    back = (d3 + d3 + d1) / 10
    seen = {"e": (3 - d3) / 10, "b": (6 - d3) / 10, "c": (1 - d1) / 10}
    by_hand = [-math.log(seen.get(token, 0) + back * unigram[token]) for token in "ebac?"]
    targets = np.array([0, *vocabulary.encode("b a c zebra")])
    contexts = np.full((5, 1), vocabulary.encode("a")[0])
    assert found.losses(contexts, targets) == pytest.approx(by_hand, abs=1e-14)


def test_counted_words_are_the_examples(ten: Written) -> None:
    splits = load_splits(ten(min_count=2), 2)
    train, size = splits.train, len(splits.vocabulary)
    plain = Counter(zip(map(tuple, train.contexts.tolist()), train.targets.tolist()))
    after = Counter(map(tuple, train.contexts.tolist()))
    table = distributions(train, size)
    for context, row in zip(map(tuple, train.counts.contexts.tolist()), table.tolist()):
        wanted = [plain[context, token] / after[context] for token in range(size)]
        assert row == pytest.approx(wanted)
    assert len(table) == len(after)


def test_a_header_names_the_characters_that_train_never_has(
    ten: Written, capsys: pytest.CaptureFixture[str]
) -> None:
    run = config.Config(data=ten(unit="char"))
    splits = load_splits(run.data, 3)
    console.header(run, splits, begin(run, splits), looks="0 looks")
    assert "unknown  train never contains f l m w z\n" in capsys.readouterr().out


@pytest.mark.parametrize(("min_count", "says"), [(1, "data.min_count=2 to give it"), (2, "")])
def test_a_header_warns_where_train_never_has_the_unknown(
    ten: Written, min_count: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = config.Config(data=ten(min_count=min_count))
    splits = load_splits(run.data, 3)
    console.header(run, splits, begin(run, splits), looks="0 looks")
    warning = (
        f"warning: train contains no <unk>, so the model cannot learn it: set {says} examples\n"
        if says
        else ""
    )
    assert capsys.readouterr().err == warning


def test_a_line_is_cut_between_words() -> None:
    assert console._short("the cat sat on a mat", 20) == "the cat sat on a mat"
    assert console._short("the cat sat on a mat", 12) == "the cat sat…"
    assert console._short("the cat sat on a mat", 10) == "the cat…"
    assert console._short("abcdefgh", 5) == "abcd…"


def test_no_hidden_layer_is_linear_in_the_embeddings() -> None:
    model = build_model(Model(layers=0, emb=3), 7, torch.Generator().manual_seed(0))
    contexts = torch.tensor([[0, 3, 6], [1, 2, 2]])
    named = dict(model.named_parameters())
    assert set(named) == {"C", "W1", "b1"}
    wanted = named["C"][contexts].flatten(1) @ named["W1"] + named["b1"]
    torch.testing.assert_close(model.logits(contexts), wanted)


def test_the_paper_s_learning_rate() -> None:
    optim = Sgd(lr=1e-3, schedule="inverse", decay_rate=1e-8)
    assert learning_rate(optim, 0) == 1e-3
    assert learning_rate(optim, 10**8) == pytest.approx(5e-4)
    with pytest.raises(ConfigError, match="schedule=inverse"):
        Sgd(schedule="inverse", decay_step=10)


def test_a_bigram_of_17_000_words_is_refused_before_its_table_is_made() -> None:
    words = Vocabulary(tuple(map(str, range(17_000))), WORDS)
    splits = dataclasses.replace(load_splits(Data(), 1), vocabulary=words)
    with pytest.raises(ConfigError, match="289,000,000 pairs") as refused:
        check_size(config.Config(model=config.Bigram()), splits)
    assert "model=ngram model.order=2" in str(refused.value)


def test_samples_are_compared_with_train_as_they_are_spelt() -> None:
    """What train had once is <unk> in a sample, and in train's line."""
    assert Vocabulary(KEPT, WORDS).spelt(["the  zebra sat"]) == {"the <unk> sat"}
    assert Vocabulary((".", "a")).spelt(["ab"]) == {"ab"}


def test_three_tokens_have_two_neighbours() -> None:
    table = torch.tensor([[0.0], [1.0], [3.0]])
    found = report.neighbours(table, Vocabulary(("<s>", "<unk>", "a"), WORDS), number=3)
    assert found == [("<s>", ["<unk>", "a"]), ("<unk>", ["<s>", "a"]), ("a", ["<unk>", "<s>"])]


def test_neighbours_by_hand() -> None:
    table = torch.tensor([[0.0], [1.0], [3.0], [3.5]])
    found = report.neighbours(table, Vocabulary(("<s>", "a", "b", "c"), WORDS), number=2)
    assert found == [("<s>", ["a", "b"]), ("a", ["<s>", "b"]), ("b", ["c", "a"]), ("c", ["b", "a"])]


# a run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net on the first 300 sentences of austen.txt, mixed with counting."""
    folder = tmp_path_factory.mktemp("words")
    lines = (ROOT / "src" / "nplm" / "austen.txt").read_text().splitlines()[:300]
    (folder / "few.txt").write_text("\n".join(lines) + "\n")
    argv, formatter = sys.argv, warnings.formatwarning
    try:
        sys.argv = []
        return train_here(
            folder / "run", "data=austen", "data.name=text", f"data.path={folder / 'few.txt'}",
            "model.emb=8", "optim.steps=60", "optim.lr=0.3", "model.init=scaled", "mix=true",
            "eval_every=0.5", "wandb.mode=disabled",
        )  # fmt: skip
    finally:
        sys.argv, warnings.formatwarning = argv, formatter


def test_a_run_s_perplexity_is_the_one_by_hand(
    ten: Written,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    data = ten(min_count=2)
    folder = train_here(
        tmp_path / "run", "data=text", f"data.path={data.path}", "data.unit=word",
        "data.min_count=2", "data.order=contiguous", "data.split=[0.6,0.2,0.2]", "model=ngram",
        "model.order=1", "wandb.mode=disabled",
    )  # fmt: skip
    result = read_json(folder / "result.json")
    assert result["dev_perplexity"] == pytest.approx(BY_HAND)
    assert result["dev_loss"] == pytest.approx(math.log(BY_HAND))
    out = capsys.readouterr().out
    assert "ten.txt: 10 lines, 7 tokens" in out
    assert "unknown  12.5% of train's and 25.0% of dev's tokens are <unk>" in out
    assert f"dev loss {result['dev_loss']:.3f} nats/token (perplexity {BY_HAND:.1f}) · train" in out
    pairs = counted(data, 2)[0].loss(load_splits(data, 1).dev)
    told = f"{pairs:.3f} (perplexity {math.exp(pairs):.1f})"
    assert f"compare  Kneser-Ney of order 2 {told} on this split\n" in out
    assert out.endswith(f"\nnext     python sample.py · sweepmore report {folder}\n")
    assert out.count("(perplexity ") == 3  # of train and counting, too
    assert "lecture" not in out
    assert rows_of(folder)[-1]["dev_perplexity"] == pytest.approx(BY_HAND)


def test_a_net_on_words_from_training_to_figures(run: Path) -> None:
    result = read_json(run / "result.json")
    jsonschema.validate(result, json.loads((ROOT / "docs" / "result.schema.json").read_text()))
    assert result["status"] == "ok"
    assert result["dev_loss"] < result["mix"]["net_dev_loss"] < math.log(500)
    assert (run / "figures" / "embeddings.png").stat().st_size > 10_000
    found = {section.title: section for section in report.sections(run)}
    nearest = found["Embeddings"].tables[0].rows
    assert [row[0] for row in nearest[:2]] == ["<s>", "<unk>"]
    assert dict(report.facts(run))["dev perplexity"] == f"{result['dev_perplexity']:.2f}"


def test_new_sentences_begin_as_asked_and_are_words(run: Path) -> None:
    trained = load_trained(run)
    assert trained.vocabulary.unit == WORDS
    lines = sample(trained, 20, seed=0, prompt="It is a")
    assert len(lines) == 20
    assert all(line.startswith("It is a ") for line in lines if line != "It is a")
    assert {word for line in lines for word in line.split()} <= set(trained.vocabulary.tokens)
    assert "<unk>" in sample(trained, 1, seed=0, prompt="zebras")[0]
    unknown = call_script(sample_script, f"run={run}", "n=1", "prompt=zebras It Ah zebras")
    assert unknown.stderr == "warning: not in the vocabulary and read as <unk>: zebras Ah\n"
    done = call_script(sample_script, f"run={run}", "n=3", "prompt=It is")
    assert done.stderr == ""
    assert [line[:5] for line in done.stdout.splitlines()[:3]] == ["It is"] * 3


def test_a_sentence_is_explained_in_parts(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained, line = load_trained(run), "It is a truth universally acknowledged"
    whole = explain(trained, line)
    monkeypatch.setattr(losses, "CHUNK_NUMBERS", 1)
    parts = explain(trained, line)
    assert [at.guess for at in parts] == [at.guess for at in whole]
    assert [at.nats for at in parts] == pytest.approx([at.nats for at in whole], rel=1e-5)


def test_an_explained_sentence_sums_to_its_loss(run: Path) -> None:
    trained = load_trained(run)
    positions = explain(trained, "It is  a zebra")
    assert [at.token for at in positions] == ["It", "is", "a", "<unk>", "<s>"]
    assert positions[2].context == "<s> It is"
    assert all(at.nats > 0 for at in positions)
    done = call_script(sample_script, f"run={run}", "explain=It is a zebra")
    mean = sum(at.nats for at in positions) / 5
    told = f"mean {mean:.3f} nats/token over 5 tokens (perplexity {math.exp(mean):.1f})"
    assert told in done.stdout
    assert done.stderr == "warning: not in the vocabulary and read as <unk>: zebra\n"
    assert done.stdout.endswith(f" · {run.name}\n")  # sweeps=minute would search other data


def test_the_last_lines_are_sealed(ten: Written) -> None:
    data = ten(min_count=2)
    splits = load_splits(data, 2)
    test = sealed.load_test(data, splits.vocabulary, 2, splits.fingerprint)
    assert test.lines == TEST
    counting, ngram = counted(data, 1)
    told = sealed.evaluate(ngram, counting, 1, test, {*TRAIN, *DEV}, seed=0)
    # the 4, dog 2, <unk> 3, <s> 6; <unk> 3, <unk> 3, sat 3, <s> 6
    by_hand = 24 / (4 * 2 * 3 * 6 * 3 * 3 * 3 * 6) ** 0.125
    assert (told.tokens, told.unseen_lines) == (8, 2)
    assert told.perplexity == pytest.approx(by_hand)


def test_a_run_s_test_lines_are_seen_once(run: Path, tmp_path: Path) -> None:
    own = shutil.copytree(run, tmp_path / "run")
    words = f"run={own}", f"outputs={tmp_path}", f"looks={tmp_path / 'looks'}"
    first = call_script(evaluate_test, *words)
    assert first.returncode == 0, first.stderr
    told = dict(line.split(maxsplit=1) for line in first.stdout.splitlines())
    assert all("perplexity" in told[key] for key in ("dev", "test", "unseen", "counting"))
    again = call_script(evaluate_test, *words)
    assert "nothing was read now" in again.stderr
    assert "test" in read_json(own / "result.json")
    other = dataclasses.replace(tested_run.named(own), checkpoint="0" * 64)
    ledger = Ledger(storage_url(None, None, tmp_path), tmp_path / "looks")
    with pytest.raises(Refused) as refused:
        may_look(ledger, other, None)
    assert "search and confirm with data.order=shuffled" in str(refused.value)


def test_the_text_that_is_shipped() -> None:
    data = Data(name="austen", unit="word", min_count=4, order="contiguous")
    lines = read_lines(data)
    assert (len(lines), sum(len(line.split()) for line in lines)) == (12_997, 335_398)
    assert lines[0].startswith("It is a truth universally acknowledged , that a single man")
    assert not [word for line in lines for word in line.split() if word.strip("_") != word]
    known = dataclasses.replace(data, order="shuffled")
    assert load_splits(known, 1).fingerprint != load_splits(data, 1).fingerprint
