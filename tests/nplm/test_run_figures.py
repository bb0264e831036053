"""The numbers that the figures show, and that they are drawn."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nplm.building import build_model
from nplm.config import Model
from nplm.run_figures import (
    EmbeddingMap,
    draw_embeddings,
    draw_loss,
    prepare_embeddings,
    prepare_loss,
)
from nplm.vocabulary import Vocabulary
from tests.support.helpers import rows_of

TOKENS = Vocabulary((".", "a", "b", "c", "d"))
PNG = b"\x89PNG\r\n\x1a\n"


def as_array(chart: EmbeddingMap) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.array(chart.points)


# prepared


def test_loss_is_log10_of_what_was_recorded() -> None:
    rows = [
        {"step": 0, "lr": 0.1, "dev_loss": 100.0},
        {"step": 5, "lr": 0.1, "minibatch_loss": 10.0, "smoothed_loss": 1000.0},
        {"step": 10, "lr": 0.1, "minibatch_loss": 1.0, "smoothed_loss": 10.0, "dev_loss": 0.1},
    ]
    curves = prepare_loss(rows, "a title")
    assert (curves.steps, curves.minibatch, curves.smoothed) == ([5, 10], [1.0, 0.0], [3.0, 1.0])
    assert (curves.dev_steps, curves.dev, curves.title) == ([0, 10], [2.0, -1.0], "a title")


def test_loss_of_a_run_agrees_with_its_metrics(finished: Path) -> None:
    lines = (finished / "metrics.jsonl").read_text().splitlines()
    curves = prepare_loss([json.loads(line) for line in lines], "")
    logged = [row["log10_loss"] for row in rows_of(finished) if "log10_loss" in row]
    assert list(curves.minibatch) == logged


def test_two_dimensions_are_shown_as_they_are() -> None:
    C = [[1.0, 2.0], [3.0, 5.0], [-1.0, 0.5], [0.0, 0.0], [7.0, -7.0]]
    chart = prepare_embeddings(torch.tensor(C), TOKENS, "")
    assert as_array(chart).tolist() == C
    assert chart.axes == ("embedding, first number", "embedding, second number")
    assert tuple(chart.tokens) == TOKENS.tokens


def test_one_dimension_is_shown_on_a_line() -> None:
    chart = prepare_embeddings(torch.tensor([[1.0], [2.0], [4.0], [8.0], [3.0]]), TOKENS, "")
    assert as_array(chart).tolist() == [[1.0, 0.0], [2.0, 0.0], [4.0, 0.0], [8.0, 0.0], [3.0, 0.0]]


def test_more_dimensions_are_shown_by_their_first_two_principal_components() -> None:
    """Against the eigenvectors of the covariance; a component's sign is free."""
    C = torch.randn((5, 4), generator=torch.Generator().manual_seed(3)) * torch.tensor(
        [3.0, 0.1, 1.0, 0.3]
    )
    chart = prepare_embeddings(C, TOKENS, "")
    values, vectors = np.linalg.eigh(np.cov(C.double().numpy().T))
    centred = C.double().numpy() - C.double().numpy().mean(0)
    for i in range(2):
        wanted = centred @ vectors[:, -1 - i]
        shown = as_array(chart)[:, i]
        assert np.allclose(shown, wanted) or np.allclose(shown, -wanted)
        share = values[-1 - i] / values.sum()
        assert chart.axes[i] == f"principal component {i + 1} of 4 ({share:.0%} of variance)"


# drawn


def test_figures_of_a_run_are_drawn(finished: Path) -> None:
    for name in ("loss", "embeddings"):
        content = (finished / "figures" / f"{name}.png").read_bytes()
        assert content.startswith(PNG)
        assert len(content) > 10_000


@pytest.mark.parametrize("emb", [1, 2, 5])
def test_embeddings_of_any_width_are_drawn(tmp_path: Path, emb: int) -> None:
    model = build_model(Model(emb=emb), 5, torch.Generator().manual_seed(0))
    draw_embeddings(prepare_embeddings(model.C, TOKENS, "title"), tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(PNG)


def test_the_shortest_run_is_drawn(tmp_path: Path) -> None:
    row = {"step": 1, "minibatch_loss": 3.0, "smoothed_loss": 3.0, "dev_loss": 3.0}
    draw_loss(prepare_loss([row], "title"), tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(PNG)


def test_same_curves_give_the_same_picture(finished: Path, tmp_path: Path) -> None:
    lines = (finished / "metrics.jsonl").read_text().splitlines()
    curves = prepare_loss([json.loads(line) for line in lines], "t")
    for name in ("one", "two"):
        draw_loss(dataclasses.replace(curves), tmp_path / f"{name}.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
