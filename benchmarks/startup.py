"""What the framework adds to starts: the plugin to any Hydra application's, the import to Python's.

``python -m benchmarks.startup``
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.common import ROOT, measure, spread

PAIRS = 30
# Milliseconds that each may add: targets.
MOST = {"the plugin, to a Hydra application": 20, "import sweepmore, to Python": 30}
APP = """import sys
sys.path[:] = [path for path in sys.path if path != {src!r}] + {more!r}
import hydra

@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    pass

main()
"""


def milliseconds(words: list[str], folder: Path) -> float:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    began = time.perf_counter()
    subprocess.run(words, cwd=folder, env=environment, capture_output=True, check=True)
    return (time.perf_counter() - began) * 1e3


def added(ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[float, ...]:
    """The least, the median and the greatest of what each pair differs by, in milliseconds."""
    times = measure(ours, theirs, PAIRS)
    return spread([mine - other for mine, other in zip(*times, strict=True)])


def table() -> str:
    """Markdown: what each adds, beside what it may add."""
    src = str(ROOT / "src")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, more in (("with.py", [src]), ("without.py", [])):
            (place / name).write_text(APP.format(src=src, more=more))

        def app(name: str) -> Callable[[], float]:
            return lambda: milliseconds([sys.executable, name, "hydra.run.dir=."], place)

        def code(text: str) -> Callable[[], float]:
            return lambda: milliseconds([sys.executable, "-c", text], place)

        rows = {
            "the plugin, to a Hydra application": added(app("with.py"), app("without.py")),
            "import sweepmore, to Python": added(code("import sweepmore"), code("pass")),
        }
        whole = median([app("without.py")() for _ in range(5)])
    lines = ["| adds to a start | median of pairs | wanted |", "|---|---|---|"]
    lines += [f"| {name} | {row[1]:.1f} ms | ≤ {MOST[name]} ms |" for name, row in rows.items()]
    return "\n".join(lines) + (
        f"\n\nWhole processes in turn, {PAIRS} pairs. That application alone, which does nothing, "
        f"takes {whole:,.0f} ms."
    )


if __name__ == "__main__":
    print(table())
