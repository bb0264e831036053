"""The figures of a run: prepared as plain numbers, then drawn."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nplm.model import LanguageModel
from nplm.vocabulary import Vocabulary
from sweepmore.colours import BLUE, GREEN, GREY, ORANGE
from sweepmore.runs.record import read_metrics

# The most tokens of a map: more would be illegible.
MOST_DRAWN = 150


@dataclass(frozen=True)
class LossCurves:
    """The log10 of losses in nats per token, by step."""

    steps: Sequence[int]
    minibatch: Sequence[float]
    smoothed: Sequence[float]
    dev_steps: Sequence[int]
    dev: Sequence[float]
    title: str
    train: Sequence[float] = ()  # the whole split, at the steps of dev


@dataclass(frozen=True)
class EmbeddingMap:
    """A point (x, y) for each token; the axes' labels say what x and y are.

    ``explained`` is the share of the embeddings' variance that both axes show.
    """

    tokens: Sequence[str]
    points: Sequence[tuple[float, float]]
    axes: tuple[str, str]
    title: str
    explained: float = 1.0


def draw_run(
    folder: Path, model: LanguageModel, vocabulary: Vocabulary, title: str
) -> dict[str, Path]:
    """Draw the figures of the run in ``folder`` into ``figures/``. Returns their paths by name."""
    paths: dict[str, Path] = {}
    curves = prepare_loss(read_metrics(folder), title)
    if curves.steps:  # a counting model takes no steps
        paths["loss"] = folder / "figures" / "loss.png"
        draw_loss(curves, paths["loss"])
    if model.embeddings is not None:
        paths["embeddings"] = folder / "figures" / "embeddings.png"
        chart = prepare_embeddings(model.embeddings, vocabulary, title)
        draw_embeddings(chart, paths["embeddings"])
    return paths


def prepare_loss(rows: Sequence[Mapping[str, Any]], title: str) -> LossCurves:
    """Return the loss curves in the rows of ``metrics.jsonl``."""
    trained = [row for row in rows if row.get("minibatch_loss") is not None]
    evaluated = [row for row in rows if row.get("dev_loss") is not None]
    return LossCurves(
        [row["step"] for row in trained],
        [_log10(row["minibatch_loss"]) for row in trained],
        [_log10(row["smoothed_loss"]) for row in trained],
        [row["step"] for row in evaluated],
        [_log10(row["dev_loss"]) for row in evaluated],
        title,
        [_log10(row["train_loss"]) for row in evaluated if "train_loss" in row],
    )


def _log10(loss: float) -> float:
    """Return log10 of ``loss``, or of 1e-8 if it is lower: float32 rounds such losses to 0."""
    return math.log10(max(loss, 1e-8))


def prepare_embeddings(embeddings: Tensor, vocabulary: Vocabulary, title: str) -> EmbeddingMap:
    """Return the first ``MOST_DRAWN`` rows of ``embeddings`` (V, m) as points; for words, these are
    the most frequent. With more than two dimensions, the points are the first two principal
    components."""
    table = embeddings[:MOST_DRAWN].detach().cpu().double()
    axes, explained = ("embedding, first number", "embedding, second number"), 1.0
    if table.shape[1] == 1:
        table = torch.cat([table, torch.zeros_like(table)], dim=1)
        axes = ("embedding, its only number", "")
    if table.shape[1] > 2:
        centred = table - table.mean(0)
        _, spread, directions = torch.linalg.svd(centred, full_matrices=False)
        shares = (spread**2 / (spread**2).sum()).tolist()
        table = centred @ directions[:2].T
        first, second = (
            f"principal component {i + 1} of {embeddings.shape[1]} ({shares[i]:.0%} of variance)"
            for i in range(2)
        )
        axes, explained = (first, second), sum(shares[:2])
    points = [(float(x), float(y)) for x, y in table.tolist()]
    return EmbeddingMap(vocabulary.tokens[:MOST_DRAWN], points, axes, title, explained)


def is_vowel(token: str) -> bool:
    """Whether a token is one of the vowels, which the lecture finds apart from other letters."""
    return token in {*"aeiouy"}


def draw_loss(curves: LossCurves, path: Path) -> None:
    """Draw loss curves into ``path``."""
    figure, axes = _figure()
    axes.plot(curves.steps, curves.minibatch, color=BLUE, alpha=0.25, linewidth=0.8,
              label="train minibatches, mean between reports")  # fmt: skip
    axes.plot(curves.steps, curves.smoothed, color=BLUE, label="train minibatches, smoothed")
    axes.plot(curves.dev_steps, curves.dev, "o-", color=ORANGE, markersize=3,
              label="dev, whole split")  # fmt: skip
    if len(curves.train) == len(curves.dev):
        axes.plot(curves.dev_steps, curves.train, "s-", color=GREEN, markersize=3, linewidth=1,
                  label="train, whole split")  # fmt: skip
    shown = [*curves.dev[1:], *curves.smoothed]
    if len(curves.dev_steps) > 3 and shown:  # the first losses would dwarf the others
        low, high = min([*shown, *curves.minibatch]), sorted(shown)[int(0.94 * (len(shown) - 1))]
        axes.set_ylim(low - 0.01, high + 0.2 * (high - low) + 0.02)
    ends = [f"{value:.2f}" for value in (10**tick for tick in axes.get_yticks())]
    right = axes.secondary_yaxis("right")
    right.set_yticks(axes.get_yticks(), ends)
    right.set_ylabel("train and dev loss (nats/token)")
    axes.set_xlabel("step")
    axes.set_ylabel("log10 of train and dev loss (nats/token)")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.legend(frameon=False, loc="upper right")
    _finish(figure, axes, curves.title, path)


def draw_embeddings(chart: EmbeddingMap, path: Path) -> None:
    """Draw a map of the tokens into ``path``."""
    figure, axes = _figure(square=True)
    x, y = zip(*chart.points, strict=True)
    colours = [_colour(token) for token in chart.tokens]
    letters = max(map(len, chart.tokens)) == 1
    if letters:  # a letter fits into its disc
        axes.scatter(x, y, s=110, color=colours, alpha=0.8, edgecolors="white", linewidths=0.8)
        text = {"color": "white", "fontsize": 9, "fontweight": "bold"}
    else:
        dots = axes.scatter(x, y, color=GREY)
        text = {"color": BLUE, "fontsize": 7}
    labels = [
        axes.annotate(token, point, ha="center", va="center", parse_math=False, **text)
        for token, point in zip(chart.tokens, chart.points, strict=True)
    ]
    if not letters:
        hidden = _hide_overlaps(axes, labels)
        dots.set_sizes([4.0 if label in hidden else 0.0 for label in labels])
    axes.set_xlabel(chart.axes[0])
    axes.set_ylabel(chart.axes[1])
    axes.set_axisbelow(True)
    axes.grid(alpha=0.3)
    _finish(figure, axes, chart.title, path)


def _hide_overlaps(axes: Any, labels: Sequence[Any]) -> set[Any]:
    """Hide labels that overlap an earlier one, of a more frequent word, and return them."""
    axes.get_xlim()  # reading the limits sets them
    shown: list[Any] = []
    hidden = set()
    for label in labels:
        box = label.get_window_extent()
        if any(box.overlaps(other) for other in shown):
            label.set_visible(False)
            hidden.add(label)
        else:
            shown.append(box)
    return hidden


def _colour(token: str) -> str:
    """Return a token's colour: vowels differ from other letters, as the lecture finds them to, and
    the boundary is grey."""
    if token == ".":
        return GREY
    return ORANGE if is_vowel(token) else BLUE


def _figure(square: bool = False) -> tuple[Any, Any]:
    """Return a figure with its own canvas: pyplot would keep every figure of a sweep in memory."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 6.0) if square else (7.2, 4.2), dpi=110)
    # fixed margins: fitting them to the text takes half as long again as all the drawing
    figure.subplots_adjust(left=0.11, right=0.97 if square else 0.89, top=0.92, bottom=0.12)
    return figure, figure.add_subplot()


def _finish(figure: Any, axes: Any, title: str, path: Path) -> None:
    axes.set_title(title, fontsize=10, loc="left", parse_math=False)  # a file may be named $
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():  # a letter that is not in the font is drawn as a box
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(path)
