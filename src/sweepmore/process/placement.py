"""What each worker of a machine gets: GPUs, or a share of one, and threads.

``compose.keys`` needs the record at every start of Hydra, so this module imports almost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweepmore.typed import setting

# The variables by which numerical libraries learn how many threads to use.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# 1 / 0.1 must not be 9.999…: shares are compared with this tolerance.
_TINY = 1e-9


@dataclass(frozen=True)
class Machine:
    """What this process may use of its machine."""

    cores: int
    gpus: tuple[str, ...] = ()  # as `gpu_variable` names them: indices, UUIDs, MIG instances
    gpu_variable: str = "CUDA_VISIBLE_DEVICES"  # which says what a process may use of them
    threads: Mapping[str, str] = field(default_factory=dict)  # variables that the user has set


@dataclass(frozen=True)
class Placement:
    """``hydra.sweeper.placement``: what one worker takes of its machine; None as by default.

    By default a worker gets one GPU where there are several, and an equal share of the cores.
    """

    gpu: float | None = setting(None, "0.25: a quarter of a GPU; 2: two whole ones", above=0)
    cpu: int | None = setting(None, "threads", at_least=1)

    def __str__(self) -> str:
        given = {"gpu": self.gpu, "cpu": self.cpu}
        words = [f"{key}: {value:g}" for key, value in given.items() if value is not None]
        return f"{{{', '.join(words)}}}"


@dataclass(frozen=True)
class Share:
    """What one worker gets.

    ``workers`` is how many share its GPUs, itself included; where it has no GPU, how many share
    the machine. ``variables`` of its environment say what it may use.
    """

    gpus: tuple[str, ...]  # as CUDA_VISIBLE_DEVICES names them
    threads: int
    workers: int
    variables: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """What a trial's attributes keep of it."""
        return {"gpus": list(self.gpus), "workers": self.workers, "threads": self.threads}


def share_of(machine: Machine, placement: Placement, seat: int, n_jobs: int) -> Share:
    """What the worker in this seat gets, where seats are numbered from 0 to ``n_jobs`` - 1.

    With ``n_jobs`` up to ``most_workers`` the shares of all seats together are at most the
    machine. Where they cannot be, as by default with more workers than GPUs, seats take turns.
    """
    gpus = _gpus(machine, placement, seat)
    # Numbers of threads that the user has set stay, unless the placement names one.
    equal, stay = max(1, machine.cores // n_jobs), machine.threads
    threads, stay = (equal, stay) if placement.cpu is None else (placement.cpu, {})
    variables = {name: str(threads) for name in THREADS if name not in stay}
    threads = int(said) if (said := stay.get(THREADS[0], "")).isdecimal() else threads
    # A worker that may use all GPUs needs no restriction.
    if len(gpus) < len(machine.gpus):
        variables[machine.gpu_variable] = ",".join(gpus)
    workers = sum(_gpus(machine, placement, other) == gpus for other in range(n_jobs))
    return Share(gpus, threads, workers, variables)


def _gpus(machine: Machine, placement: Placement, seat: int) -> tuple[str, ...]:
    """The GPUs of a seat: seats are dealt to one GPU, or one group of GPUs, after the other."""
    size = max(1, round(placement.gpu or 1))
    groups = len(machine.gpus) // size
    first = size * (seat % groups) if groups else 0
    return machine.gpus[first : first + size]


def most_workers(machine: Machine, placement: Placement) -> int:
    """How many workers fill the machine; 0 where it is too small for one.

    By default that is one for each GPU, and one for each core where there is no GPU.
    """
    most = []
    if machine.gpus or placement.gpu is not None:
        share = placement.gpu or 1
        each = math.floor(1 / share + _TINY) if share < 1 else 1
        most.append(len(machine.gpus) // max(1, round(share)) * each)
    if placement.cpu is not None:
        most.append(machine.cores // placement.cpu)
    return min(most, default=machine.cores)
