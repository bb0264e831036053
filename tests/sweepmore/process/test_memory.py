"""Out of memory is told from other errors, and the kernel's kill from other deaths."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sweepmore.process import memory
from sweepmore.process.memory import MemoryKills, is_out_of_memory, oom_kills


def raised_from(cause: BaseException) -> BaseException:
    try:
        raise ValueError("the batch failed") from cause
    except ValueError as error:
        return error


class ResourceExhaustedError(Exception):
    """TensorFlow's."""


class Silent(RuntimeError):
    def __str__(self) -> str:
        raise SystemExit("no words")


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be …"), True),
        (RuntimeError("HIP out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"), True),  # XLA
        (ResourceExhaustedError("OOM when allocating tensor"), True),
        (raised_from(torch.OutOfMemoryError("CUDA out of memory")), True),
        (RuntimeError("we ran out of memory slots"), False),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("CUDA out of memory"), False),  # says who is no accelerator
        (MemoryError(), False),  # Python's own: one allocation that was too large
        (Silent(), False),
    ],
)
def test_who_says_so(error: BaseException, is_it: bool) -> None:
    assert is_out_of_memory(error) is is_it


def test_errors_that_cause_each_other_are_looked_at_once() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert not is_out_of_memory(first)


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of control groups, as a container sees its own."""
    monkeypatch.setattr(memory, "CGROUPS", str(tmp_path))
    (tmp_path / "memory").mkdir()
    return tmp_path


def count(root: Path, kills: int) -> None:
    """As versions 1 and 2 count."""
    (root / "memory" / "memory.oom_control").write_text(
        f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n"
    )
    (root / "memory.events").write_text(
        f"low 0\nhigh 7\nmax 9\noom 9\noom_kill {kills}\noom_group_kill 0\n"
    )


def test_the_counter_of_either_version(cgroups: Path) -> None:
    assert oom_kills() == 0  # none is there
    count(cgroups, 4)
    assert oom_kills() == 4


def test_a_kill_explains_one_death(cgroups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count(cgroups, 4)
    kills = MemoryKills()
    assert not kills.explain()  # they were before
    count(cgroups, 6)
    kills.look()
    assert [kills.explain() for _ in range(3)] == [True, True, False]
    count(cgroups, 7)
    kills.look()
    monkeypatch.setattr(memory, "RECENT_SECONDS", 0.0)  # it was long ago, and of somebody else
    assert not kills.explain()
