"""The loop "n = 1 … until a run passes untouched", each run in a fork of this process."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.fault_shim.shim import Faults, Kind, install

# More points than any run here has.
EACH = range(1, 10_000)


@dataclass(frozen=True)
class Ended:
    """How a fork ended: exit code (negative: by that signal), what it printed, and what was about
    to happen where its fault came (None: it passed untouched)."""

    code: int
    out: str
    err: str
    struck: str | None = None

    @property
    def refused(self) -> bool:
        """One message, no traceback, and an exit code that says so."""
        return (
            self.code in (2, 3)
            and sum(line.startswith("error: ") for line in self.err.splitlines()) == 1
            and "Traceback" not in self.err + self.out
        )


def forked(action: Callable[[], object], faults: Faults | None = None) -> Ended:
    """Do it in a fork that has imported all already, with the shim if there are ``faults``."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        sys.stdout.flush()
        if (child := os.fork()) == 0:
            gc.disable()  # its garbage goes with it
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os._exit(_exit_code(action, faults))
        _, status = os.waitpid(child, 0)
        for file in (out, err):
            file.seek(0)
        struck = None if faults is None else faults.struck
        return Ended(os.waitstatus_to_exitcode(status), out.read(), err.read(), struck)


def _exit_code(action: Callable[[], object], faults: Faults | None) -> int:
    """As the interpreter would end; what is printed goes to the descriptors 1 and 2."""
    with open(1, "w", closefd=False) as sys.stdout, open(2, "w", closefd=False) as sys.stderr:
        try:
            if faults is not None:
                install(faults)
            action()
        except SystemExit as ended:
            if not isinstance(ended.code, str):
                return int(ended.code or 0)
            print(ended.code, file=sys.stderr)
            return 1
        except BaseException:
            traceback.print_exc()
            return 1
        return 0


def each_point(
    kind: Kind,
    place: Path,
    run: Callable[[Path], object],
    *,
    prepare: Callable[[Path], object] = lambda folder: None,
    lasting: bool = False,
    points: range = EACH,
    under: Sequence[str] = ("",),
) -> Iterator[tuple[Path, Ended]]:
    """``run(folder)`` once for each point where it writes below ``folder``, with the fault there;
    until a run passes untouched. ``prepare(folder)`` comes before each, without faults; ``points``
    may be a sample of them; ``under`` names the folders within ``folder`` that are meant, beside
    which every commit counts."""
    for n in points:
        folder = place / f"{kind}{'+' * lasting}-{n}"
        folder.mkdir(parents=True)
        prepare(folder)
        faults = Faults(
            n, kind, tuple(folder / name for name in under), place / f"{folder.name}.log", lasting
        )
        ended = forked(lambda folder=folder: run(folder), faults)  # type: ignore[misc]  # binds
        if ended.struck is None:
            assert ended.code == 0, ended
            return
        yield folder, ended
        shutil.rmtree(folder, ignore_errors=True)  # a refused run leaves none
    assert points != EACH, f"still struck at point {n}"
