"""``python tests/support/forks.py``: a script with one command line after another, in forks.

stdin: JSON, a list of command lines without Python; stdout: of each the exit code, what it printed
and its errors.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
from pathlib import Path

import sweepmore.sweep.parent  # noqa: F401  # what each of them would import anew


def in_a_fork(argv: list[str]) -> tuple[int, str, str]:
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        if (child := os.fork()) == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.argv[:], sys.path[0] = argv, str(Path(argv[0]).parent)
            sys.orig_argv[1:] = argv
            runpy.run_path(argv[0], run_name="__main__")
            sys.exit()
        _, status = os.waitpid(child, 0)
        for file in (out, err):
            file.seek(0)
        return os.waitstatus_to_exitcode(status), out.read(), err.read()


if __name__ == "__main__":
    json.dump([in_a_fork(argv) for argv in json.load(sys.stdin)], sys.stdout)
