"""What workers get of a machine: GPUs by whatever name, shares of one, threads; never too much."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from sweepmore.process.machine import this_machine, told
from sweepmore.process.placement import (
    THREADS,
    Machine,
    Placement,
    Share,
    most_workers,
    share_of,
)
from tests.support.tools import SMI, simulated

QUARTER = Placement(gpu=0.25)


def shares(machine: Machine, placement: Placement, n_jobs: int) -> list[Share]:
    return [share_of(machine, placement, seat, n_jobs) for seat in range(n_jobs)]


@pytest.mark.parametrize(
    ("gpus", "cores", "placement", "most"),
    [
        (0, 8, Placement(), 8),  # a core each
        (1, 8, Placement(), 1),  # a GPU each
        (4, 8, Placement(), 4),
        (2, 8, QUARTER, 8),
        (2, 8, Placement(gpu=0.3), 6),
        (1, 8, Placement(gpu=0.1), 10),
        (4, 8, Placement(gpu=2), 2),
        (3, 8, Placement(gpu=2), 1),
        (1, 8, Placement(gpu=2), 0),
        (0, 8, QUARTER, 0),
        (0, 8, Placement(cpu=4), 2),
        (0, 2, Placement(cpu=4), 0),
        (2, 8, Placement(cpu=1), 2),  # still a GPU each
        (2, 8, Placement(gpu=0.25, cpu=2), 4),
    ],
)
def test_how_many_fill_a_machine(gpus: int, cores: int, placement: Placement, most: int) -> None:
    assert most_workers(Machine(cores, tuple(map(str, range(gpus)))), placement) == most


@pytest.mark.parametrize("gpu", [0.05, 0.1, 0.125, 0.2, 0.25, 0.3, 0.5, 0.7, 1, 2, 3])
@pytest.mark.parametrize("gpus", [1, 2, 3, 8])
def test_shares_of_a_full_machine_never_exceed_it(gpu: float, gpus: int) -> None:
    machine, placement = Machine(64, tuple(map(str, range(gpus)))), Placement(gpu=gpu, cpu=2)
    most = most_workers(machine, placement)
    load = Counter[str]()
    for share in shares(machine, placement, most):
        assert len(share.gpus) == max(1, gpu)
        load.update(dict.fromkeys(share.gpus, min(1.0, gpu)))
        assert share.workers <= 1 / min(1.0, gpu) + 1e-9
    assert all(taken <= 1 + 1e-9 for taken in load.values())
    assert sum(share.threads for share in shares(machine, placement, most)) <= machine.cores
    # one more would not have fitted: in GPUs or in cores
    room = gpus // gpu if gpu >= 1 else gpus * int(1 / gpu + 1e-9)
    assert most == min(room, machine.cores // 2)


def test_four_on_each_gpu_in_turn() -> None:
    machine = Machine(16, ("GPU-a", "GPU-b"))
    given = shares(machine, QUARTER, 8)
    assert [share.gpus[0] for share in given] == ["GPU-a", "GPU-b"] * 4
    assert {share.workers for share in given} == {4}
    assert {share.threads for share in given} == {2}
    assert given[1].variables == {"CUDA_VISIBLE_DEVICES": "GPU-b", **dict.fromkeys(THREADS, "2")}
    assert told(given[1].as_json()) == "GPU GPU-b, shared by 4 workers; 2 threads"


def test_two_gpus_each() -> None:
    given = shares(Machine(8, ("0", "1", "2", "3", "4")), Placement(gpu=2), 2)
    assert [share.variables["CUDA_VISIBLE_DEVICES"] for share in given] == ["0,1", "2,3"]
    assert {share.workers for share in given} == {1}
    assert told(given[1].as_json()) == "GPUs 2, 3; 4 threads"


def test_threads_of_a_placement_replace_the_users_and_equal_parts_do_not() -> None:
    machine = Machine(8, threads={"OMP_NUM_THREADS": "3"})
    placed, by_default = (share_of(machine, p, 0, 2) for p in (Placement(cpu=2), Placement()))
    assert (placed.threads, placed.variables) == (2, dict.fromkeys(THREADS, "2"))
    assert by_default.threads == 3
    assert by_default.variables == {"MKL_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "4"}


DIVIDED = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d8d)
  MIG 3g.20gb     Device  0: (UUID: MIG-c7f1)
  MIG 3g.20gb     Device  1: (UUID: MIG-c7f2)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-9e21)
"""
CARDS = '{"card0": {"Device ID": "0x74a1"}, "card1": {"Device ID": "0x74a1"}, "system": {}}'


@pytest.mark.parametrize(
    ("said", "environment", "variable", "gpus"),
    [
        ({"nvidia-smi": SMI}, {}, "CUDA_VISIBLE_DEVICES", ("0", "1")),
        ({"nvidia-smi": DIVIDED}, {}, "CUDA_VISIBLE_DEVICES", ("MIG-c7f1", "MIG-c7f2", "GPU-9e21")),
        ({"nvidia-smi": "No devices found.\n"}, {}, "CUDA_VISIBLE_DEVICES", ()),
        ({"rocm-smi": CARDS}, {}, "HIP_VISIBLE_DEVICES", ("0", "1")),
        ({"rocm-smi": CARDS}, {"ROCR_VISIBLE_DEVICES": "5"}, "HIP_VISIBLE_DEVICES", ("0",)),
        ({"rocm-smi": "no JSON"}, {}, "CUDA_VISIBLE_DEVICES", ()),
        ({}, {}, "CUDA_VISIBLE_DEVICES", ()),
    ],
)
def test_what_the_drivers_tools_list(
    said: dict[str, str],
    environment: dict[str, str],
    variable: str,
    gpus: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {**simulated(tmp_path, **said), **environment}.items():
        monkeypatch.setenv(name, value)
    machine = this_machine()
    assert (machine.gpu_variable, machine.gpus) == (variable, gpus)


@pytest.mark.parametrize(
    ("variable", "value", "gpus"),
    [
        ("CUDA_VISIBLE_DEVICES", "1", ("1",)),
        ("CUDA_VISIBLE_DEVICES", "3, 1", ("3", "1")),
        ("CUDA_VISIBLE_DEVICES", "GPU-5d8d,MIG-c7f1", ("GPU-5d8d", "MIG-c7f1")),
        ("CUDA_VISIBLE_DEVICES", "", ()),
        ("CUDA_VISIBLE_DEVICES", "NoDevFiles", ()),
        ("CUDA_VISIBLE_DEVICES", "0,-1,1", ("0",)),  # as CUDA reads it
        ("HIP_VISIBLE_DEVICES", "1,2", ("1", "2")),
    ],
)
def test_what_the_parent_may_use_restricts_what_is_given(
    variable: str,
    value: str,
    gpus: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in simulated(tmp_path, **{"nvidia-smi": SMI}).items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv(variable, value)
    machine = this_machine()
    assert (machine.gpu_variable, machine.gpus) == (variable, gpus)
    given = shares(machine, QUARTER, max(1, most_workers(machine, QUARTER)))
    assert {gpu for share in given for gpu in share.gpus} == set(gpus)
    if len(gpus) > 1:
        assert {share.variables[variable] for share in given} == set(gpus)


def test_a_tool_that_fails_lists_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in simulated(tmp_path, **{"nvidia-smi": SMI}).items():
        monkeypatch.setenv(name, value)
    tool = Path(os.environ["PATH"].split(os.pathsep)[0]) / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n")
    assert this_machine().gpus == ()
