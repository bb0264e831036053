"""How many workers a parent starts on its machine, and what each of them gets."""

from __future__ import annotations

from dataclasses import replace

from sweepmore.compose.hydra_internals import BASIC_LAUNCHER
from sweepmore.compose.settings import Sweep
from sweepmore.errors import ConfigError
from sweepmore.process.machine import size, this_machine
from sweepmore.process.placement import Machine, Placement, most_workers, share_of
from sweepmore.sweep.launchers import own_keys
from sweepmore.sweep.processes import starts_again
from sweepmore.wording import plural


def placed(asked: Sweep, launcher: str) -> Sweep:
    """The sweep with what each worker gets, where workers are processes of this machine.

    Raises ConfigError where the machine is too small for what is asked, and where a ``launcher``
    decides. A single worker without a placement is the parent itself, and gets what that has.
    """
    settings = asked.settings
    if launcher != BASIC_LAUNCHER:
        _check_nothing_is_placed(asked, launcher)
        return asked
    is_one = settings.placement is None and settings.n_jobs == 1
    if is_one or not starts_again(asked.command["words"]):
        return asked
    machine, placement = this_machine(), settings.placement or Placement()
    most = most_workers(machine, placement)
    n_jobs = most if settings.n_jobs == "auto" else settings.n_jobs
    if settings.placement is not None:
        _check_room(machine, placement, n_jobs)
    if settings.placement is None and n_jobs == 1:
        return asked
    shares = (share_of(machine, placement, seat, n_jobs) for seat in range(n_jobs))
    return replace(asked, n_jobs=n_jobs, shares=tuple(shares))


def _check_nothing_is_placed(asked: Sweep, launcher: str) -> None:
    settings, name = asked.settings, launcher.rpartition(".")[2]
    if settings.placement is None and settings.n_jobs != "auto":
        return
    is_placed = settings.placement is not None
    asks = f"placement={settings.placement}" if is_placed else "n_jobs=auto"
    raise ConfigError(
        f"hydra.sweeper.{asks} is for processes of this machine, and {name} starts the workers.",
        value=asks,
        cure=f"Say with its own keys, such as {own_keys(launcher)}, what a worker gets, and give "
        "hydra.sweeper.n_jobs a number.",
    )


def _check_room(machine: Machine, placement: Placement, n_jobs: int) -> None:
    most = most_workers(machine, placement)
    problem = f"hydra.sweeper.placement={placement} leaves room for {plural(most, 'worker')} here "
    problem += f"({size(machine)})"
    cure = "Give smaller shares; sweepmore doctor shows what this machine has."
    if most == 0:
        raise ConfigError(f"{problem}.", value=str(placement), cure=cure)
    if (placement.gpu or 0) > 1 and any(gpu.startswith("MIG-") for gpu in machine.gpus):
        problem = f"hydra.sweeper.placement={placement}: CUDA uses one MIG instance in a process."
        raise ConfigError(problem, value=str(placement), cure="Give gpu: 1, or a share of one.")
    if n_jobs > most:
        problem += f", and hydra.sweeper.n_jobs={n_jobs} asks for more."
        cure = f"Give n_jobs=auto, a number up to {most}, or smaller shares."
        raise ConfigError(problem, value=n_jobs, cure=cure)
