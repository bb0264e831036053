"""The study ``bengio`` beside the table of Bengio et al. (2003), into sweeps/bengio/RESULTS.md.

``python train.py -m sweeps=bengio wandb.mode=disabled`` and ``python report.py study=bengio
keep=true`` come before ``python docs/bengio.py``. Symbols as in the paper: n is the
context and one, m is emb, h is hidden.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from nplm.config import Config, Model, from_hydra
from nplm.data import Splits, load_splits
from nplm.insights import neighbours
from nplm.kneser_ney import kneser_ney, tuned
from nplm.mixture import Mixture
from nplm.pictures import draw_embeddings, prepare_embeddings
from nplm.sampling import load_trained
from sweepmore.record import read_config, read_json, write_atomic

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- docs/bengio.py -->\n", "<!-- end -->\n"
ORDERS = range(2, 7)
# Neighbours are shown of every third of the 150 most frequent words, punctuation apart.
EACH, NEAREST = 3, 5

Shape = tuple[int, int, int, bool]  # n, h, m, direct


@dataclass(frozen=True)
class Paper:
    """A row of the paper's table 1 (Brown): perplexity on its validation set."""

    names: str
    alone: float
    mixed: float


PAPER: dict[Shape, Paper] = {
    (5, 50, 60, True): Paper("MLP1, 2", 284, 275),
    (5, 0, 60, True): Paper("MLP3, 4", 327, 286),
    (5, 50, 30, True): Paper("MLP5, 6", 296, 273),
    (3, 50, 30, True): Paper("MLP7, 8", 309, 284),
    (5, 100, 30, False): Paper("MLP9, 10", 280, 265),
}
PAPER_COUNTING = 332.0  # Kneser-Ney back-off of order 4 and 5; of order 3: 334


@dataclass(frozen=True)
class Ours:
    """The runs of one shape, a seed each: perplexities on dev."""

    alone: Sequence[float]
    mixed: Sequence[float]
    weight: float
    runs: Sequence[Path]


@dataclass(frozen=True)
class Trend:
    """What the paper found: from → to, and what became of the perplexity there and here."""

    what: str
    pairs: Sequence[tuple[Sequence[float], Sequence[float]]]
    paper: float | None  # change in percent; None where its table has no pair

    @property
    def changes(self) -> list[float]:
        """In percent, of each pair, seed by seed."""
        return [
            100 * (after / before - 1)
            for first, second in self.pairs
            for before, after in zip(first, second, strict=True)
        ]


def shape_of(config: Config) -> Shape:
    """The paper's h = 0 has direct connections alone: no hidden layer, the same function."""
    model = config.model
    assert isinstance(model, Model)
    nothing_hidden = model.layers == 0
    return (model.block_size + 1, 0 if nothing_hidden else model.hidden, model.emb,
            model.direct or nothing_hidden)  # fmt: skip


def read(study: Path) -> tuple[Config, dict[Shape, Ours]]:
    """A study's finished runs by shape, seeds in order."""
    runs = sorted(path.parent for path in study.glob("[0-9]*/[0-9]*/result.json"))
    configs = {run: from_hydra(read_config(run)) for run in runs}
    found: dict[Shape, Ours] = {}
    for shape in dict.fromkeys(map(shape_of, configs.values())):
        those = [run for run in runs if shape_of(configs[run]) == shape]
        results = [read_json(run / "result.json") for run in those]
        found[shape] = Ours(
            [math.exp(result["mix"]["net_dev_loss"]) for result in results],
            [result["dev_perplexity"] for result in results],
            mean(result["mix"]["weight"] for result in results),
            those,
        )
    return configs[runs[0]], found


def counting(splits: Splits) -> dict[int, tuple[float, float]]:
    """Order → dev perplexity of Kneser–Ney with the discounts of the closed form, and on dev."""
    train, size = splits.train, len(splits.vocabulary)
    found = {}
    for order in ORDERS:
        model = kneser_ney(train.contexts.numpy(), train.targets.numpy(), size, order)
        losses = model.loss(splits.dev), tuned(model, splits.dev).loss(splits.dev)
        found[order] = math.exp(losses[0]), math.exp(losses[1])
    return found


def trends(found: dict[Shape, Ours], best_counting: float) -> list[Trend]:
    """The paper's, as far as the study has the shapes."""

    def alone(*pairs: tuple[Shape, Shape]) -> list[tuple[Sequence[float], Sequence[float]]]:
        return [(found[a].alone, found[b].alone) for a, b in pairs if a in found and b in found]

    best = min(found.values(), key=lambda ours: mean(ours.alone))
    mixed = min(found.values(), key=lambda ours: mean(ours.mixed))
    counted = [best_counting] * len(best.alone)
    none, h50, h100 = (5, 0, 60, True), (5, 50, 30, True), (5, 100, 30, True)
    h50_without, h100_without = (5, 50, 30, False), (5, 100, 30, False)
    return [
        Trend("counting → the best net alone", [(counted, best.alone)], change(332, 280)),
        Trend("counting → the best net, mixed", [(counted, mixed.mixed)], change(332, 265)),
        Trend("no hidden units → 50 (m 60)", alone((none, (5, 50, 60, True))), change(327, 284)),
        Trend("50 hidden units → 100", alone((h50, h100), (h50_without, h100_without)), None),
        Trend("context 2 → 4 (h 50, direct)", alone(((3, 50, 30, True), h50)), change(309, 296)),
        Trend("context 2 → 4 (h 100)", alone(((3, 100, 30, False), h100_without)), None),
        Trend("30 features → 60 (h 50)", alone((h50, (5, 50, 60, True))), change(296, 284)),
        Trend("direct connections → none", alone((h50, h50_without), (h100, h100_without)), None),
        Trend("alone → mixed, all nets", [(ours.alone, ours.mixed) for ours in found.values()],
              mean(change(row.alone, row.mixed) for row in PAPER.values())),
    ]  # fmt: skip


def change(before: float, after: float) -> float:
    return 100 * (after / before - 1)


def page(study: Path, figures: Path) -> Iterator[str]:
    """Markdown lines."""
    config, found = read(study)
    splits = load_splits(config.data, max(ORDERS) - 1)
    orders = counting(splits)
    best_counting = min(closed for closed, _ in orders.values())
    yield from [
        "## Beside the paper",
        "",
        f"Perplexity on dev, {splits.name}: {len(splits.train):,} train and {len(splits.dev):,} "
        f"dev tokens, {len(splits.vocabulary):,} words; mean of the seeds ± half their range. The "
        "paper's is on the validation part of the Brown corpus: 800,000 train tokens, 16,383 "
        "words. Only the directions can be compared.",
        "",
        "| paper | n | h | m | direct | ours alone | ours mixed | counting's weight "
        "| the paper's alone | mixed |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    place = {shape: at for at, shape in enumerate(PAPER)}
    for shape, ours in sorted(found.items(), key=lambda item: place.get(item[0], len(place))):
        n, h, m, direct = shape
        paper = PAPER.get(shape)
        theirs = f"{paper.alone:.0f} | {paper.mixed:.0f}" if paper else "|"
        yield (
            f"| {paper.names if paper else ''} | {n} | {h} | {m} | {'yes' if direct else 'no'} | "
            f"{told(ours.alone)} | {told(ours.mixed)} | {ours.weight:.2f} | {theirs} |"
        )
    yield from ["", "| counting: modified Kneser–Ney | n | closed discounts | tuned on dev | the "
                "paper's back-off |", "|---|---|---|---|---|"]  # fmt: skip
    theirs_of = {3: "334", 4: "332", 5: "332"}
    for order, (closed, best) in orders.items():
        yield f"| | {order} | {closed:.1f} | {best:.1f} | {theirs_of.get(order, '')} |"
    yield from ["", "| trend | ours, change in perplexity | the paper's | |", "|---|---|---|---|"]
    for trend in trends(found, best_counting):
        if changes := trend.changes:
            low, high = min(changes), max(changes)
            wanted = "" if trend.paper is None else f"{trend.paper:+.0f} %"
            yield f"| {trend.what} | {mean(changes):+.1f} % ({low:+.1f} to {high:+.1f}) | " \
                f"{wanted} | {verdict(changes, trend.paper)} |"  # fmt: skip
    yield ""
    yield from embeddings(found, splits, figures)


def told(values: Sequence[float]) -> str:
    return f"{mean(values):.1f} ± {(max(values) - min(values)) / 2:.1f}"


def verdict(changes: Sequence[float], paper: float | None) -> str:
    """Whether all seeds go where the paper's table goes."""
    if paper is None:
        return "no such pair in the table"
    same = [value * paper > 0 for value in changes]
    return "the same" if all(same) else "differs" if not any(same) else "depends on the seed"


def embeddings(found: dict[Shape, Ours], splits: Splits, figures: Path) -> Iterator[str]:
    """The features of the best net alone: a map, and who is near whom."""
    shape, ours = min(found.items(), key=lambda item: mean(item[1].alone))
    model = load_trained(ours.runs[0]).model
    assert isinstance(model, Mixture)
    assert model.embeddings is not None
    table = model.embeddings.detach()
    title = f"{splits.name} · the most frequent words · n {shape[0]}, h {shape[1]}, m {shape[2]}"
    draw_embeddings(prepare_embeddings(table, splits.vocabulary, title), figures / "words.png")
    yield from ["## Nearest neighbours", "",
                f"In the {shape[2]} features of the best net alone (h {shape[1]}), among the 1,000 "
                "most frequent tokens, nearest first.", "", "![The most frequent words](words.png)",
                "", "| word | | word | |", "|---|---|---|---|"]  # fmt: skip
    rows = [
        f"| {word} | {' '.join(near)} "
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
