"""What a sweep says of its result: ends of ranges, noise, and how a machine is shared."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from sweepmore.compose.frozen import FrozenConfig
from sweepmore.process.machine import this_machine
from sweepmore.process.placement import Placement, share_of
from sweepmore.study.attempts import Attempt
from sweepmore.study.attributes import TrialAttributes
from sweepmore.study.edges import at_edge
from sweepmore.study.view import StudyView
from sweepmore.sweep.preview import short
from sweepmore.sweep.processes import frozen_command
from sweepmore.wording import duration

SPACE = {
    "lr": FloatDistribution(1e-3, 1.0, log=True),
    "hidden": IntDistribution(10, 100),
    "emb": CategoricalDistribution([2, 5, 10]),
    "two": CategoricalDistribution([1, 2]),
    "kind": CategoricalDistribution(["a", "b", "c"]),
}


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"lr": 0.00101}, "lr=0.00101 is near 0.001, the lowest of its range: look beyond it"),
        ({"lr": 0.97}, "lr=0.97 is near 1, the highest of its range: look beyond it"),
        ({"lr": 0.03}, ""),
        ({"hidden": 100}, "hidden=100 is the highest of its range: look beyond it"),
        ({"hidden": 13}, ""),
        ({"emb": 2}, "emb=2 is the lowest of its range: look beyond it"),
        (
            {"emb": 10, "hidden": 99},
            "emb=10 is the highest of its range and hidden=99 is near 100, the highest of its range"
            ": look beyond them",
        ),
        (
            {"emb": 10, "hidden": 100},
            "emb=10 and hidden=100 are the highest of their range: look beyond them",
        ),
        ({"emb": 5}, ""),
        ({"two": 2, "kind": "a"}, ""),  # of two numbers each is an end; words have none
    ],
)
def test_the_ends_of_a_range_are_pointed_out(params: dict[str, object], found: str) -> None:
    assert at_edge(params, SPACE) == found


def given(seat: int, n_jobs: int) -> Mapping[str, str]:
    """The environment of a worker by default."""
    return share_of(this_machine(), Placement(), seat, n_jobs).variables


def test_workers_share_the_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert [given(k, 3)["CUDA_VISIBLE_DEVICES"] for k in range(3)] == ["4", "7", "4"]


def test_one_gpu_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert "CUDA_VISIBLE_DEVICES" not in given(0, 2)


def test_workers_times_threads_do_not_exceed_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert given(0, 10_000)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "OMP_NUM_THREADS" not in given(0, 2)  # the user has said


@pytest.mark.parametrize(
    ("words", "flags", "command"),
    [
        ("-m x=1 y=2", {"config-path": "C"}, "py a.py --config-path=C -m S x=1 y=2 MORE"),
        ("x=1 -m", {}, "py a.py S x=1 MORE -m"),
        ("-m", {"config-path": "C"}, "py a.py --config-path=C -m S MORE"),
        ("~db -m -cp x=1", {"config-path": "C"}, "py a.py --config-path=C S ~db MORE -m"),
        ("-cn other --config-dir a -m x=1", {"config-path": "C", "config-dir": "D"},
         "py a.py --config-name=other --config-dir=D --config-path=C -m S x=1 MORE"),
        ("--own=1 -cn=other x=1 -m", {}, "py a.py --config-name=other --own=1 S x=1 MORE -m"),
    ],
)  # fmt: skip
def test_a_worker_is_the_same_command_on_frozen_sources(
    words: str, flags: dict[str, str], command: str
) -> None:
    frozen = cast(FrozenConfig, SimpleNamespace(flags=flags, search_path_override="S"))
    assert " ".join(frozen_command(["py", "a.py"], words.split(), frozen, "MORE")) == command


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (92, "1:32 min"), (3725, "1:02 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def study(*attempts: tuple[int, float | None, TrialState, str | None]) -> StudyView:
    """Attempts by slot, seconds, state and reason."""
    found = [
        Attempt(
            k,
            slot,
            slot,
            k,
            0,
            state,
            cast(Any, reason),
            None,
            None,
            {},
            None,
            None,
            s,
            TrialAttributes(),
        )
        for k, (slot, s, state, reason) in enumerate(attempts)
    ]
    return StudyView("s", ("minimize",), tuple(found))


def test_a_trial_took_what_all_its_attempts_took_and_goes_on_where_it_stopped() -> None:
    """But for one that died: nobody knows when."""
    complete, fail, waits = TrialState.COMPLETE, TrialState.FAIL, TrialState.WAITING
    seen = study(
        (0, 10.0, complete, None),
        (1, 6.0, fail, "handed_back"), (1, 90.0, fail, "died"), (1, 4.0, complete, None),
        (2, 3.0, fail, "handed_back"), (2, None, waits, None),
        (3, 70.0, fail, "handed_back"), (3, None, waits, None),
    )  # fmt: skip
    assert [seen.seconds_of(attempt) for attempt in seen.counted] == [10.0, 10.0]
    # two of five are done; of the third seven seconds are left, the fourth is at its end
    assert seen.seconds_left(5) == 3 * 10.0 - 3.0 - 10.0
    assert seen.seconds_left(2) == 0.0
    assert study((0, None, waits, None)).seconds_left(5) is None


def test_short_names_of_samplers_and_pruners() -> None:
    nodes = ("optuna.samplers.TPESampler", "optuna.pruners.NopPruner")
    assert [short({"_target_": node}) for node in nodes] == ["tpe", "none"]
    assert short("grid") == "grid"
