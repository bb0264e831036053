"""A round trip on the real W&B service: ``make test-wandb``, where ``WANDB_API_KEY`` is set.

What the stub cannot show: that the service takes what we send, and that the filters, the grouping
and the accessors of a report find it again. The runs and the report are deleted afterwards.
"""

from __future__ import annotations

import os
import secrets
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.helpers import run_command, run_script

PROJECT = "sweepmore-test"
pytestmark = [
    pytest.mark.wandb,
    pytest.mark.skipif(
        not os.environ.get("WANDB_API_KEY"),
        reason="NOT TESTED: WANDB_API_KEY is not set, so nothing was sent to the real service",
    ),
    # of wandb-workspaces about itself
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


@dataclass(frozen=True)
class Sent:
    """A study on the service, with the runs that it shows of it, by id."""

    name: str
    url: str
    again: str  # the URL that a second call printed
    runs: Mapping[str, Any]
    path: str  # ENTITY/PROJECT
    api: Any
    report: Any


@pytest.fixture(scope="module")
def sent(few_names: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    """Two configurations with two seeds each, uploaded and reported twice."""
    import wandb

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from wandb_workspaces.reports.v2 import interface as wr

    outputs, name = tmp_path_factory.mktemp("outputs"), f"round-trip-{secrets.token_hex(4)}"
    key = {"WANDB_API_KEY": os.environ["WANDB_API_KEY"]}
    words = ("data=text", f"data.path={few_names}", "experiment=smoke", "optim.steps=20",
             f"wandb.project={PROJECT}", "optim.lr=0.1,0.2", "hydra.sweeper.repeats={seed: [1, 2]}",
             f"hydra.sweeper.study_name={name}", f"hydra.sweeper.outputs={outputs}")  # fmt: skip
    swept = run_script("train.py", "-m", *words)
    assert swept.returncode == 0, swept.stderr
    urls = []
    for _ in range(2):
        done = run_command("wandb", name, f"--outputs={outputs}", env=key)
        assert done.returncode == 0, done.stderr
        urls.append(done.stdout.splitlines()[-1].removeprefix("report   "))
    api, report = wandb.Api(), wr.Report.from_url(urls[0])
    path = f"{report.entity}/{report.project}"
    runs = {run.id: run for run in api.runs(path, filters={"group": name})}
    yield Sent(name, urls[0], urls[1], runs, path, api, report)
    for run in runs.values():
        run.delete(delete_artifacts=True)
    report.delete()


def test_a_second_call_updated_the_same_report(sent: Sent) -> None:
    assert sent.again == sent.url


def test_runs_have_names_nested_settings_tags_and_results(sent: Sent) -> None:
    assert len(sent.runs) == 4
    titles = {run.display_name for run in sent.runs.values()}
    assert titles == {
        f"{sent.name}-{k} lr={lr} · s{seed}" for k, lr in ((0, 0.1), (1, 0.2)) for seed in (1, 2)
    }
    for run in sent.runs.values():
        assert run.config["study"]["name"] == sent.name
        assert run.config["optim"]["lr"] in (0.1, 0.2)
        assert set(run.tags) == {sent.name, "ok"}
        assert run.summary["result"]["dev_loss"] > 0
        assert run.summary["dev_loss"]["min"] > 0
        assert [row["step"] for row in run.scan_history(keys=["step", "dev_loss"])] == [
            0, 5, 10, 15, 20
        ]  # fmt: skip


def test_the_filters_of_the_report_find_these_runs(sent: Sent) -> None:
    grid = next(block for block in sent.report.blocks if hasattr(block, "runsets"))
    (runs,) = grid.runsets
    chosen = {"group": {"$in": [sent.name]}, "tags": {"$nin": ["superseded"]}}
    assert sent.name in runs.filters
    assert {run.id for run in sent.api.runs(sent.path, filters=chosen)} == sent.runs.keys()


@pytest.mark.parametrize(
    "stored", ["config.optim.value.lr", "config.study.value.settings"], ids=["column", "group"]
)
def test_settings_are_where_columns_and_groups_look(sent: Sent, stored: str) -> None:
    values = (0.1, 0.2) if stored.endswith("lr") else ("lr=0.1", "lr=0.2")
    for value in values:
        chosen = {"group": sent.name, stored: value}
        assert len(sent.api.runs(sent.path, filters=chosen)) == 2


def test_runs_are_ordered_by_what_the_report_orders_by(sent: Sent) -> None:
    order = "+summary_metrics.result.dev_loss"
    found = sent.api.runs(sent.path, filters={"group": sent.name}, order=order)
    values = [run.summary["result"]["dev_loss"] for run in found]
    assert values == sorted(values)
    assert len(values) == 4
