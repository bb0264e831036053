"""Counting models and the sealed estimates against hand counts, loops and closed forms."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from nplm import estimates, sealed
from nplm.baselines import bigram_loss
from nplm.config import Data, Model
from nplm.data import Split, Splits, encode, load_splits
from nplm.kneser_ney import KneserNey, _discounts, best_kneser_ney, kneser_ney
from nplm.losses import split_loss
from nplm.model import MLP
from nplm.result import Estimate, TestResult
from nplm.vocabulary import Vocabulary
from sweepmore.errors import DataError
from tests.support.helpers import TEN

LETTERS = Vocabulary((".", "a", "b", "c"))


def grams(lines: tuple[str, ...], order: int) -> list[str]:
    """All n-grams that end in a token or the end of a line; dots pad the beginning."""
    padded = [("." * (order - 1) + line + ".", order - 1) for line in lines]
    return [text[i - order + 1 : i + 1] for text, at in padded for i in range(at, len(text))]


def by_hand(lines: tuple[str, ...], order: int, size: int) -> dict[str, dict[str, float]]:
    """Chen & Goodman's interpolated modified Kneser-Ney in dictionaries: context → token → p."""
    tokens = ".abc"[:size]
    below: dict[str, dict[str, float]] = {"": dict.fromkeys(tokens, 1 / size)}
    for n in range(1, order + 1):
        counts: Counter[str]
        if n == order:
            counts = Counter(grams(lines, n))
        else:  # in how many different contexts of the next order
            counts = Counter(gram[1:] for gram in set(grams(lines, n + 1)))
        how_many = Counter(counts.values())
        n1, n2, n3, n4 = (how_many[k] for k in (1, 2, 3, 4))
        d = [0.0, 0.5, 0.5, 0.5]
        if min(n1, n2, n3, n4) > 0:
            y = n1 / (n1 + 2 * n2)
            closed = [0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
            d = closed if min(closed[1:]) > 0 else d
        of: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for gram, times in counts.items():
            of[gram[:-1]][gram[-1]] = times
        here: dict[str, dict[str, float]] = {}
        for context, followers in of.items():
            total = sum(followers.values())
            left = sum(d[min(times, 3)] for times in followers.values()) / total
            lower = below.get(context[1:], below[""]) if n > 1 else below[""]
            here[context] = {
                t: max(0.0, followers.get(t, 0) - d[min(followers.get(t, 0), 3)]) / total
                + left * lower[t]
                for t in tokens
            }
        below = below | here if n > 1 else here
    return below


def model_of(lines: tuple[str, ...], order: int, width: int = 4) -> tuple[KneserNey, Split]:
    split = encode(lines, LETTERS, width)
    counted = kneser_ney(split.contexts.numpy(), split.targets.numpy(), len(LETTERS), order)
    return counted, split


def contexts_of(*texts: str, width: int = 4) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    return np.array([[".abc".index(c) for c in text.rjust(width, ".")] for text in texts])


class TestKneserNey:
    def test_bigrams_of_ten_lines_on_paper(self) -> None:
        counts = Counter(grams(TEN, 2))
        assert dict(counts) == {
            ".a": 5, ".b": 3, ".c": 2, "ab": 6, "ba": 4, "b.": 5, "a.": 3,
            "bb": 1, "bc": 1, "c.": 2, "ca": 1, "cc": 1, "ac": 1, "cb": 1,
        }  # fmt: skip
        # ones: bb bc ca cc ac cb = 6; twos: .c c. = 2; threes: .b a. = 2; fours: ba = 1
        y = 6 / (6 + 2 * 2)
        d1, d2, d3 = 1 - 2 * y * 2 / 6, 2 - 3 * y * 2 / 2, 3 - 4 * y * 1 / 2
        assert (d1, d2, d3) == pytest.approx((0.6, 0.2, 1.8))
        # unigrams count distinct left neighbours: '.' of b a c = 3; a of . b c = 3; b of . a b c
        # = 4; c of . b c a = 4: no ones, so a half each; of 14 bigram types
        left = 4 * 0.5 / 14
        unigram = {t: (n - 0.5) / 14 + left / 4 for t, n in zip(".abc", (3, 3, 4, 4))}
        assert sum(unigram.values()) == pytest.approx(1)
        # after a (10 times): b 6, '.' 3, c 1
        back = (d3 + d3 + d1) / 10
        expected = {
            ".": (3 - d3) / 10 + back * unigram["."],
            "a": back * unigram["a"],
            "b": (6 - d3) / 10 + back * unigram["b"],
            "c": (1 - d1) / 10 + back * unigram["c"],
        }
        counted, _ = model_of(TEN, 2)
        found = counted.probabilities(contexts_of("a"))[0]
        assert found == pytest.approx(list(expected.values()), abs=1e-15)

    @pytest.mark.parametrize("order", range(1, 6))
    def test_equals_dictionaries_at_every_order(self, order: int) -> None:
        expected = by_hand(TEN, order, 4)
        counted, split = model_of(TEN, order)
        for row, p in zip(split.contexts.tolist(), counted.probabilities(split.contexts.numpy())):
            context = "".join(".abc"[i] for i in row)[4 - order + 1 :]
            assert p == pytest.approx([expected[context][t] for t in ".abc"], abs=1e-14)

    @pytest.mark.parametrize("order", range(1, 6))
    def test_sums_to_one_for_seen_and_unseen_contexts(self, order: int) -> None:
        counted, _ = model_of(TEN, order)
        p = counted.probabilities(contexts_of("aaaa", "cccc", "cbca", "", "a", "abba"))
        assert p.sum(1) == pytest.approx(np.ones(6), abs=1e-12)
        assert (p > 0).all()

    def test_unseen_context_backs_off_to_what_it_ends_in(self) -> None:
        counted, _ = model_of(TEN, 3)
        p = counted.probabilities(contexts_of("aa", "ca", "a"))
        known = by_hand(TEN, 3, 4)
        assert "aa" not in known
        assert p[0] == pytest.approx([known["a"][t] for t in ".abc"], abs=1e-14)
        assert p[1] == pytest.approx([known["ca"][t] for t in ".abc"], abs=1e-14)

    def test_a_token_that_train_never_has(self) -> None:
        counted, _ = model_of(("a", "ab", "ba"), 3)
        p = counted.probabilities(contexts_of("", "a", "c", "cc"))
        assert (p[:, 3] > 0).all()
        assert p.sum(1) == pytest.approx(np.ones(4))

    @pytest.mark.parametrize("lines", [("a",), ("aa",), ("a", "a", "a", "a"), ("abc", "cba")])
    def test_tiny_corpora(self, lines: tuple[str, ...]) -> None:
        for order in range(1, 6):
            counted, split = model_of(lines, order)
            assert math.isfinite(counted.loss(split))
            p = counted.probabilities(contexts_of("", "a", "ccc"))
            assert p.sum(1) == pytest.approx(np.ones(3))

    @pytest.mark.parametrize(
        "numbers",
        [[1] * 2 + [2] * 1 + [3] * 9 + [4] * 1, [1] * 9 + [2] * 1 + [3] * 1 + [4] * 9],
    )
    def test_discounts_that_are_not_positive_are_not_used(self, numbers: list[int]) -> None:
        """D2 ≤ 0 or D3 ≤ 0 would give unseen tokens nothing, and a test line an infinite loss."""
        assert _discounts(np.array(numbers)).tolist() == [0.5, 0.5, 0.5]

    def test_losses_of_tokens_and_of_the_split_agree(self) -> None:
        counted, split = model_of(TEN, 3)
        nats = counted.losses(split.contexts.numpy(), split.targets.numpy())
        assert nats.mean() == pytest.approx(counted.loss(split))
        expected = by_hand(TEN, 3, 4)
        chain = -math.log(expected[".."]["a"] * expected[".a"]["b"] * expected["ab"]["."])
        (line,) = [i for i, text in enumerate(TEN) if text == "ab"][:1]
        assert estimates.line_sums(nats, split)[line] == pytest.approx(chain)

    def test_best_order_is_chosen_on_dev(self, few: Splits) -> None:
        counted, order = best_kneser_ney(few)
        losses = [
            kneser_ney(
                few.train.contexts.numpy(), few.train.targets.numpy(), len(few.vocabulary), k
            ).loss(few.dev)
            for k in range(1, 5)
        ]  # block size 3 holds order 4
        assert counted.loss(few.dev) == min(losses) == losses[order - 1]


def test_orders_4_and_6_on_the_lectures_names(names_dir: Path) -> None:
    """DESIGN.md: 2.0560 and 1.9740, and beyond 7 it only gets worse."""
    splits = load_splits(Data(name="names"), block_size=7)
    contexts, targets = splits.train.contexts.numpy(), splits.train.targets.numpy()

    def loss(order: int) -> float:
        return kneser_ney(contexts, targets, len(splits.vocabulary), order).loss(splits.dev)

    assert loss(4) == pytest.approx(2.0560, abs=0.002)
    assert loss(6) == pytest.approx(1.9740, abs=0.002)
    assert loss(8) > loss(7)


def test_bigram_loss_by_hand(tmp_path: Path) -> None:
    """Counts plus one, over the train lines; the mean over the dev tokens."""
    path = tmp_path / "data.txt"
    path.write_text("\n".join(TEN) + "\n")
    splits = load_splits(Data(name="text", path=str(path)), block_size=3)
    counts = Counter(grams(splits.train.lines, 2))
    tokens = splits.vocabulary.tokens
    nats = []
    for gram in grams(splits.dev.lines, 2):
        total = sum(counts[gram[0] + token] + 1 for token in tokens)
        nats.append(-math.log((counts[gram] + 1) / total))
    assert bigram_loss(splits) == pytest.approx(sum(nats) / len(nats), abs=1e-12)


def test_bigram_loss_on_the_lectures_names(names: Splits) -> None:
    assert bigram_loss(names) == pytest.approx(2.45, abs=0.01)


class TestLineSums:
    def test_equal_a_loop(self) -> None:
        split = encode(TEN, LETTERS, 3)
        nats = np.random.default_rng(0).random(len(split))
        expected, total = [], 0.0
        for value, target in zip(nats, split.targets.tolist()):
            total += value
            if target == 0:
                expected.append(total)
                total = 0.0
        assert estimates.line_sums(nats, split) == pytest.approx(expected)
        assert len(expected) == len(TEN)


class TestBootstrap:
    def test_standard_error_of_a_mean(self) -> None:
        """Lines of one length: the interval is the mean ± 1.96 sd/√n of the lines' means."""
        n, length = 2_000, 7.0
        sums = np.random.default_rng(1).normal(14.0, 3.0, n)
        found = estimates.bootstrap(sums, np.full(n, length), seed=0)
        error = sums.std() / length / math.sqrt(n)
        assert found.mean == pytest.approx(sums.mean() / length, abs=1e-12)
        # an end is a quantile of 10,000 draws: uncertain by about 3 % of the standard error
        assert found.high - found.mean == pytest.approx(1.96 * error, rel=0.06)
        assert found.mean - found.low == pytest.approx(1.96 * error, rel=0.06)

    def test_ratio_of_sums_not_mean_of_ratios(self) -> None:
        """Long lines weigh more; linearised, the error is that of (sum - mean · length)."""
        random = np.random.default_rng(2)
        tokens = random.integers(2, 12, 3_000).astype(float)
        sums = tokens * random.normal(2.0, 0.5, 3_000)
        found = estimates.bootstrap(sums, tokens, seed=0)
        ratio = sums.sum() / tokens.sum()
        error = (sums - ratio * tokens).std() / tokens.mean() / math.sqrt(3_000)
        assert found.mean == pytest.approx(ratio)
        assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.06)

    def test_agrees_with_scipys_paired_bootstrap(self) -> None:
        """Lines of different lengths, skewed: the same two quantiles of the same distribution."""
        random = np.random.default_rng(4)
        tokens = random.integers(2, 12, 400).astype(float)
        sums = tokens * random.exponential(2.0, 400)
        ours = estimates.bootstrap(sums, tokens, seed=0)
        theirs = stats.bootstrap(
            (sums, tokens),
            lambda s, t, axis: s.sum(axis) / t.sum(axis),
            paired=True,
            vectorized=True,
            n_resamples=20_000,
            batch=1_000,
            method="percentile",
            rng=np.random.default_rng(5),
        ).confidence_interval
        width = theirs.high - theirs.low
        # an end is a quantile of 10,000 draws: uncertain by about 3 % of a standard error, which
        # is a quarter of the width; of the other by 2 %
        assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
        assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)

    def test_covers_the_truth_about_95_times_in_100(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(estimates, "RESAMPLES", 400)  # here the coverage counts, not the digits
        random, hits = np.random.default_rng(3), 0
        for seed in range(200):
            tokens = random.integers(2, 12, 150).astype(float)
            sums = tokens * 2.0 + random.normal(0.0, 1.0, 150)
            found = estimates.bootstrap(sums, tokens, seed)
            hits += found.low <= 2.0 <= found.high
        assert 180 <= hits <= 199  # 190 expected; binomial sd 3.1

    def test_the_same_seed_resamples_the_same_lines(self) -> None:
        sums, tokens = np.arange(50.0), np.full(50, 2.0)
        assert estimates.bootstrap(sums, tokens, 5) == estimates.bootstrap(sums, tokens, 5)
        assert estimates.bootstrap(sums, tokens, 5) != estimates.bootstrap(sums, tokens, 6)

    def test_one_line_has_no_width(self) -> None:
        assert estimates.bootstrap(np.array([6.0]), np.array([3.0]), 0) == Estimate(2, 2, 2)


class TestEvaluate:
    def test_against_plain_sums(self, few: Splits) -> None:
        """The net at block 3 beside counting at order 6 on the same tokens."""
        test = encode(few.dev.lines, few.vocabulary, 5)
        model = MLP(Model(emb=2, hidden=8), len(few.vocabulary))
        model.init(torch.Generator().manual_seed(1))
        train = encode(few.train.lines, few.vocabulary, 5)
        counted = kneser_ney(train.contexts.numpy(), train.targets.numpy(), len(few.vocabulary), 6)
        seen = set(few.dev.lines[:10])
        found = sealed.evaluate(model, counted, 6, test, seen, seed=0)
        net = split_loss(model, few.dev)
        assert found.loss.mean == pytest.approx(net, abs=1e-5)
        assert found.counting.mean == pytest.approx(counted.loss(test))
        assert found.difference.mean == pytest.approx(found.loss.mean - found.counting.mean)
        assert found.difference.high - found.difference.low < sum(
            e.high - e.low for e in (found.loss, found.counting)
        )  # paired
        assert found.bits_per_token == pytest.approx(net / math.log(2), abs=1e-5)
        assert found.perplexity == pytest.approx(math.exp(net), rel=1e-5)
        assert (found.lines, found.tokens) == (len(few.dev.lines), len(few.dev))
        assert found.unseen_lines == sum(line not in seen for line in few.dev.lines)
        rest = encode([x for x in few.dev.lines if x not in seen], few.vocabulary, 3)
        assert found.unseen is not None
        assert found.unseen.mean == pytest.approx(split_loss(model, rest), abs=1e-5)

    def test_beside_and_fresh_against_plain_sums(self, few: Splits) -> None:
        """Another net with a longer context, and lines on which somebody chose."""
        test = encode(few.dev.lines, few.vocabulary, 5)
        models = [MLP(Model(emb=2, hidden=8, block_size=n), len(few.vocabulary)) for n in (3, 4)]
        for seed, model in enumerate(models):
            model.init(torch.Generator().manual_seed(seed))
        counted, order = best_kneser_ney(few)
        seen, chosen = set(few.dev.lines[:10]), frozenset(few.dev.lines[5:20])
        beside = {"other": models[1]}
        found = sealed.evaluate(models[0], counted, order, test, seen, 0, beside, chosen)
        (other,) = found.beside
        assert (other.run, other.parameters) == ("other", models[1].size)
        rest = [line for line in few.dev.lines if line not in seen | chosen]
        assert found.fresh_lines == len(rest)
        for estimate, of_fresh, model in (
            (found.loss, found.fresh, models[0]),
            (other.loss, other.fresh, models[1]),
        ):
            block = model.shape.block_size
            whole = split_loss(model, encode(few.dev.lines, few.vocabulary, block))
            assert estimate.mean == pytest.approx(whole, abs=1e-5)
            fresh = split_loss(model, encode(rest, few.vocabulary, block))
            assert of_fresh is not None
            assert of_fresh.mean == pytest.approx(fresh, abs=1e-5)
        difference = found.loss.mean - other.loss.mean
        assert other.difference.mean == pytest.approx(difference, abs=1e-9)
        assert TestResult.of(found.as_json()) == found
        # what was not asked for leaves no trace, as in older looks
        plain = sealed.evaluate(models[0], counted, order, test, seen, 0)
        assert not {"fresh", "fresh_lines", "beside"} & plain.as_json().keys()

    def test_no_unseen_line(self, few: Splits) -> None:
        model = MLP(Model(emb=2, hidden=8), len(few.vocabulary))
        model.init(torch.Generator().manual_seed(1))
        counted, order = best_kneser_ney(few)
        found = sealed.evaluate(model, counted, order, few.dev, set(few.dev.lines), seed=0)
        assert (found.unseen_lines, found.unseen) == (0, None)


class TestLoadTest:
    def test_is_the_third_part(self, few_names: Path, few: Splits) -> None:
        data = Data(name="text", path=str(few_names))
        test = sealed.load_test(data, few.vocabulary, 3, few.fingerprint)
        lines = few_names.read_text().splitlines()
        others = Counter(lines) - Counter(few.train.lines) - Counter(few.dev.lines)
        assert Counter(test.lines) == others
        assert len(test.lines) == few.test_lines

    def test_refuses_another_file_than_was_claimed(self, few_names: Path, few: Splits) -> None:
        data = Data(name="text", path=str(few_names), seed=1)
        with pytest.raises(DataError, match="changed after the claim"):
            sealed.load_test(data, few.vocabulary, 3, few.fingerprint)
