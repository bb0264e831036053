"""The study ``bengio`` beside the table of Bengio et al. (2003), into sweeps/bengio/RESULTS.md.

``python train.py -m sweeps=bengio wandb.mode=disabled`` and ``sweepmore report bengio
--keep`` come before ``python tools/bengio.py``. Symbols as in the paper: n is the
context and one, m is emb, h is hidden.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from nplm.app.report import neighbours
from nplm.config import Config, Model, from_hydra
from nplm.data import Splits, load_splits
from nplm.kneser_ney import kneser_ney, tuned
from nplm.losses import split_loss
from nplm.mixture import Mixture
from nplm.run_figures import draw_embeddings, prepare_embeddings
from nplm.sampling import load_trained
from nplm.vocabulary import perplexity
from sweepmore.runs.files import read_json, write_atomic
from sweepmore.runs.record import read_config, read_metrics

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- tools/bengio.py -->\n", "<!-- end -->\n"
ORDERS = range(2, 7)
# Neighbours are shown of every third of the 150 most frequent words, punctuation apart.
EACH, NEAREST = 3, 5

Shape = tuple[int, int, int, bool]  # n, h, m, direct
Seeds = Mapping[int, float]  # perplexity on dev, by the run's seed


@dataclass(frozen=True)
class Paper:
    """A row of the paper's table 1 (Brown): perplexity on its validation part."""

    names: str
    alone: float
    mixed: float  # half and half with an interpolated trigram


PAPER: dict[Shape, Paper] = {
    (5, 50, 60, True): Paper("MLP1, 2", 284, 275),
    (5, 0, 60, True): Paper("MLP3, 4", 327, 286),
    (5, 50, 30, True): Paper("MLP5, 6", 296, 273),
    (3, 50, 30, True): Paper("MLP7, 8", 309, 284),
    (5, 100, 30, False): Paper("MLP9, 10", 280, 265),
}
# The same column: modified Kneser-Ney by order, and its best n-gram, of classes of words.
KNESER_NEY = {3: 334.0, 4: 332.0, 5: 332.0}
CLASSES = 326.0
# Of 4.2, where the table has no pair.
DIRECT = "its text: undecided; slightly lower without, after twice as many passes"


@dataclass(frozen=True)
class Ours:
    """The runs of one shape: alone, mixed with counting half and half as in the paper, and mixed
    with the weight that is best on dev, whose mean is ``weight``. ``run`` is the first one.
    ``train`` is the net's, alone: counting remembers train."""

    train: Seeds
    alone: Seeds
    half: Seeds
    mixed: Seeds
    weight: float
    run: Path


@dataclass(frozen=True)
class Trend:
    """From → to, in the direction in which the paper's perplexity falls. ``paper`` is what it
    reports, if anything; ``why`` is for whoever has looked at the result."""

    what: str
    before: Seeds
    after: Seeds
    paper: str = ""
    why: str = ""

    @property
    def changes(self) -> list[float]:
        """In percent, of each seed that both have."""
        both = sorted(self.before.keys() & self.after.keys())
        return [change(self.before[seed], self.after[seed]) for seed in both]

    @property
    def noise(self) -> float:
        """Half the range of the seeds in percent of their mean: the larger of the two."""
        return max(100 * half_range(side) / mean(side.values())
                   for side in (self.before, self.after))  # fmt: skip


def shape_of(config: Config) -> Shape:
    """The paper's h = 0 has direct connections alone: no hidden layer, the same function."""
    model = config.model
    assert isinstance(model, Model)
    nothing_hidden = model.layers == 0
    return (model.block_size + 1, 0 if nothing_hidden else model.hidden, model.emb,
            model.direct or nothing_hidden)  # fmt: skip


def finished(study: Path) -> tuple[dict[Path, dict[str, Any]], list[str]]:
    """The result of each run that ended well, by its folder; the others with how they ended."""
    paths = sorted(study.glob("[0-9]*/[0-9]*/result.json"))
    results = {path.parent: read_json(path) for path in paths}
    ended = {run: result for run, result in results.items() if result["status"] == "ok"}
    apart = [
        f"`{run.relative_to(study)}` ({result['status']})"
        for run, result in results.items()
        if run not in ended
    ]
    return ended, apart


def read(results: Mapping[Path, dict[str, Any]]) -> dict[Shape, Ours]:
    """The runs by shape."""
    configs = {run: from_hydra(read_config(run)) for run in results}
    found: dict[Shape, Ours] = {}
    for shape in dict.fromkeys(map(shape_of, configs.values())):
        runs = {
            results[run]["seed"]: run
            for run, config in configs.items()
            if shape_of(config) == shape
        }
        mixes = {seed: results[run]["mix"] for seed, run in runs.items()}
        found[shape] = Ours(
            {seed: perplexity(read_metrics(run)[-1]["train_loss"]) for seed, run in runs.items()},
            {seed: perplexity(mix["net_dev_loss"]) for seed, mix in mixes.items()},
            {seed: mixed_half(run, configs[run]) for seed, run in runs.items()},
            {seed: results[run]["dev_perplexity"] for seed, run in runs.items()},
            mean(mix["weight"] for mix in mixes.values()),
            next(iter(runs.values())),
        )
    return found


def mixed_half(run: Path, config: Config) -> float:
    """The run's net and its counting, half and half."""
    model = load_trained(run).model
    assert isinstance(model, Mixture)
    half = Mixture(model.net, model.ngram, 0.5)
    return perplexity(split_loss(half, load_splits(config.data, config.model.block_size).dev))


def counting(splits: Splits) -> dict[int, tuple[float, float]]:
    """Order → dev perplexity of Kneser–Ney with the discounts of the closed form, and on dev."""
    train, size = splits.train, len(splits.vocabulary)
    found = {}
    for order in ORDERS:
        model = kneser_ney(train.contexts.numpy(), train.targets.numpy(), size, order)
        losses = model.loss(splits.dev), tuned(model, splits.dev).loss(splits.dev)
        found[order] = perplexity(losses[0]), perplexity(losses[1])
    return found


def trends(found: Mapping[Shape, Ours], counted: float) -> list[Trend]:
    """The paper's; ``counted`` is the perplexity of counting, which saw dev as the choice of the
    best net did."""
    alone = min((ours.alone for ours in found.values()), key=lambda seeds: mean(seeds.values()))
    half = min((ours.half for ours in found.values()), key=lambda seeds: mean(seeds.values()))
    theirs, best = list(PAPER.values()), min(KNESER_NEY.values())

    def nets(what: str, before: Shape, after: Shape, paper: str = "", why: str = "") -> Trend:
        if before in PAPER and after in PAPER:
            paper = percent(PAPER[before].alone, PAPER[after].alone)
        first, second = (found[shape].alone if shape in found else {} for shape in (before, after))
        return Trend(what, first, second, paper, why)

    def train(before: Shape, after: Shape) -> str:
        if before not in found or after not in found:
            return ""
        first, second = (mean(found[shape].train.values()) for shape in (before, after))
        return f"train {first:.0f} → {second:.0f}"

    none, m60, m30 = (5, 0, 60, True), (5, 50, 60, True), (5, 50, 30, True)
    short, bare50 = (3, 50, 30, True), (5, 50, 30, False)
    h100, bare = (5, 100, 30, True), (5, 100, 30, False)
    return [
        Trend("counting → the best net alone", dict.fromkeys(alone, counted), alone,
              percent(best, min(row.alone for row in theirs)),
              "less, and why was not measured: a third of the paper's tokens, one author"),
        Trend("counting → the best net, mixed ½", dict.fromkeys(half, counted), half,
              percent(best, min(row.mixed for row in theirs))),
        nets("no hidden units → 50 (m 60)", none, m60, why=train(none, m60)),
        nets("50 hidden units, direct → 100, not direct", m30, bare, why=train(m30, bare)),
        nets("50 hidden units → 100 (direct)", m30, h100, why=train(m30, h100)),
        nets("50 hidden units → 100 (not direct)", bare50, bare, why=train(bare50, bare)),
        nets("context 2 → 4 (h 50, direct)", short, m30,
             why=f"{train(short, m30)}: the longer direct connections overfit"),
        nets("context 2 → 4 (h 100, not direct)", (3, 100, 30, False), bare,
             why=train((3, 100, 30, False), bare)),
        nets("30 features → 60 (h 50, direct)", m30, m60, why=train(m30, m60)),
        nets("direct connections → none (h 50)", m30, bare50, DIRECT,
             f"{train(m30, bare50)}: 50 units alone underfit"),
        nets("direct connections → none (h 100)", h100, bare, DIRECT,
             f"{train(h100, bare)}: with 100 units they overfit"),
        Trend("alone → mixed ½, mean of all nets", average([ours.alone for ours in found.values()]),
              average([ours.half for ours in found.values()]),
              percent(mean(row.alone for row in theirs), mean(row.mixed for row in theirs))),
    ]  # fmt: skip


def average(nets: Sequence[Seeds]) -> Seeds:
    """Of the nets' perplexities with each seed that all have."""
    seeds = set(nets[0]).intersection(*nets)
    return {seed: mean(net[seed] for net in nets) for seed in sorted(seeds)}


def change(before: float, after: float) -> float:
    """In percent."""
    return 100 * (after / before - 1)


def percent(before: float, after: float) -> str:
    return f"{change(before, after):+.0f} %"


def half_range(seeds: Seeds) -> float:
    return (max(seeds.values()) - min(seeds.values())) / 2


def told(seeds: Seeds) -> str:
    return f"{mean(seeds.values()):.1f} ± {half_range(seeds):.1f}"


def verdict(trend: Trend) -> str:
    """Whether ours falls, too, and by more than a net's two seeds lie from their mean."""
    changes = trend.changes
    if len(changes) < 2:
        return "one seed only" if changes else "not run"
    if min(changes) <= 0 <= max(changes) or abs(mean(changes)) < trend.noise:
        return f"none: a net's seeds differ by ± {trend.noise:.1f} %"
    if not trend.paper:
        return "not in the paper"
    if trend.paper == DIRECT:
        return "undecided there"
    return "the same" if mean(changes) < 0 else "differs"


def page(study: Path, figures: Path) -> Iterator[str]:
    """Markdown lines."""
    results, apart = finished(study)
    if not results:
        raise SystemExit(f"{study} has no finished run: python train.py -m sweeps=bengio")
    found = read(results)
    data = from_hydra(read_config(next(iter(results)))).data
    splits = load_splits(data, max(ORDERS) - 1)
    yield from ["## Beside the paper", "", *introduction(splits)]
    if apart:
        yield f"Left out, not finished: {', '.join(apart)}."
    yield from ["", *nets_table(found), "", *counting_table(orders := counting(splits)), ""]
    yield from [*trends_table(trends(found, min(best for _, best in orders.values()))), ""]
    yield from embeddings(found, splits, figures)


def introduction(splits: Splits) -> Iterator[str]:
    dev, unknown = splits.dev.targets, splits.vocabulary.encode(splits.vocabulary.unit.unknown)[0]
    yield (
        f"Perplexity on dev, {splits.name}: {len(splits.train):,} train and {len(dev):,} dev "
        f"tokens, {len(splits.vocabulary):,} words; {(dev == unknown).float().mean():.1%} of dev's "
        "tokens are `<unk>`. Train is the beginning of the text, dev and test its end. Mean of the "
        "seeds ± half their range. The paper's is of its table 1, on the validation part of the "
        "Brown corpus: 800,000 train tokens, 16,383 words. Only the directions can be compared."
    )
    yield ""
    yield (
        "The paper mixes half and half with an interpolated trigram, here it is Kneser–Ney that "
        "sees as many words as the net; beside that stands the weight that is best on dev, with "
        "which a mixture cannot be worse there than either part. The paper's 24 % are on test: 312 "
        "of its best n-gram over 252 of MLP10."
    )
    yield ""
    yield (
        "Further below train losses and trials are those of the mixtures, in which counting "
        "remembers train: what they show of overfitting is counting's. The net without hidden "
        "units stands there as `layers` 0, whatever its `hidden` and `direct`."
    )


def nets_table(found: Mapping[Shape, Ours]) -> Iterator[str]:
    yield (
        "| paper | n | h | m | direct | train, alone | ours alone | mixed ½ | mixed on dev "
        "| counting's weight | the paper's alone | mixed ½ |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
    place = {shape: at for at, shape in enumerate(PAPER)}
    for shape, ours in sorted(found.items(), key=lambda item: place.get(item[0], len(place))):
        n, h, m, direct = shape
        paper = PAPER.get(shape)
        theirs = f"{paper.alone:.0f} | {paper.mixed:.0f}" if paper else "|"
        yield (
            f"| {paper.names if paper else ''} | {n} | {h} | {m} | {'yes' if direct else 'no'} | "
            f"{mean(ours.train.values()):.1f} | {told(ours.alone)} | {told(ours.half)} | "
            f"{told(ours.mixed)} | {ours.weight:.2f} | {theirs} |"
        )


def counting_table(orders: Mapping[int, tuple[float, float]]) -> Iterator[str]:
    yield "| counting | n | closed discounts | tuned on dev | the paper's |"
    yield "|---|---|---|---|---|"
    for order, (closed, best) in orders.items():
        theirs = f"{KNESER_NEY[order]:.0f}" if order in KNESER_NEY else ""
        yield f"| modified Kneser–Ney | {order} | {closed:.1f} | {best:.1f} | {theirs} |"
    yield f"| the paper's best, of 500 classes of words | 3 | | | {CLASSES:.0f} |"


def trends_table(found: Sequence[Trend]) -> Iterator[str]:
    """Counting is the tuned one: the nets beside it were chosen on dev, too."""
    yield "| trend | ours, change in perplexity | the paper's | | why |"
    yield "|---|---|---|---|---|"
    for trend in found:
        changes, ours = trend.changes, ""
        if changes:
            ours = f"{mean(changes):+.1f} % ({min(changes):+.1f} to {max(changes):+.1f})"
        yield f"| {trend.what} | {ours} | {trend.paper} | {verdict(trend)} | {trend.why} |"


def code(token: str) -> str:
    """A token as Markdown shows it, whatever it means there."""
    return f"`{token}`"


def embeddings(found: Mapping[Shape, Ours], splits: Splits, figures: Path) -> Iterator[str]:
    """The features of the best net alone: a map, and who is near whom."""
    shape, ours = min(found.items(), key=lambda item: mean(item[1].alone.values()))
    model = load_trained(ours.run).model
    assert isinstance(model, Mixture)
    assert model.embeddings is not None
    table = model.embeddings.detach()
    title = f"{splits.name} · the most frequent words · n {shape[0]}, h {shape[1]}, m {shape[2]}"
    draw_embeddings(prepare_embeddings(table, splits.vocabulary, title), figures / "words.png")
    yield from [
        "## Nearest neighbours",
        "",
        f"In the {shape[2]} features of the best net alone (h {shape[1]}), among the 1,000 most "
        "frequent tokens, nearest first; of every third of the 150 most frequent words. Some rows "
        "are words of the same kind, most are noise.",
        "",
        "![The most frequent words](words.png)",
        "",
        "| word | | word | |",
        "|---|---|---|---|",
    ]
    rows = [
        f"| {code(word)} | {' '.join(map(code, near))} "
        for word, near in neighbours(table, splits.vocabulary, NEAREST)
        if word.isalpha()
    ][::EACH]
    half = -(-len(rows) // 2)
    for left, right in zip(rows[:half], [*rows[half:], "| | "]):
        yield f"{left}{right}|"
    yield ""


def main(name: str = "bengio", outputs: str = "outputs") -> None:
    figures = ROOT / "sweeps" / name
    results = figures / "RESULTS.md"
    section = "\n".join(page(ROOT / outputs / "studies" / name, figures))
    kept = re.sub(f"{BEGIN}.*?{END}\n", "", results.read_text(encoding="utf-8"), flags=re.DOTALL)
    head, mark, rest = kept.partition("\n## ")  # behind the facts, before the figures
    write_atomic(results, f"{head}\n{BEGIN}{section}{END}{mark}{rest}")
    print(results)


if __name__ == "__main__":
    main(*sys.argv[1:])
