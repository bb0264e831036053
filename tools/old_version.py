"""tests/data/old: a study, a look and two runs as an older version of this project left them.

    git worktree add --detach /tmp/tree COMMIT
    python tools/old_version.py /tmp/tree tests/data/old/COMMIT

Made by that version's own scripts in processes of their own. Of the files stay those that something
reads later; folders are /OLD/tree and /OLD/data, and what names this machine is replaced.
"""

from __future__ import annotations

import os
import platform
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINES = 200
# Where the old version and its outputs lie, in the data; whoever reads them puts real folders here.
TREE, DATA = "/OLD/tree", "/OLD/data"
# Of runs that nothing continues or samples from; figures and their copies are drawn anew.
HEAVY = ("figures", "checkpoints", "samples.txt")
# Sources of a config from which no trial of this study is composed.
UNUSED = (
    "2/examples", "2/benchmarks", "2/conf", "2/sweeps/[!m]*", "1/experiment/[!s]*", "1/data/[!t]*",
    "1/model/[!m]*",
)  # fmt: skip
SWEEP = (
    "optim.lr=tag(log, interval(0.00001, 1))",
    "model.hidden=choice(4, 8)",
    "device=choice(cpu, cuda)",
    "hydra.sweeper.study_name=old",
    "hydra.sweeper.on_change=refuse",
    "hydra.sweeper.seed=1",
    "+hydra.sweeper.repeats={seed: [0, 1]}",
    "+hydra.sweeper.pruner={_target_: optuna.pruners.MedianPruner, n_startup_trials: 1}",
    # Two complete, one is pruned, one fails.
    "+hydra.sweeper.enqueue=["
    "{optim.lr: 0.1, model.hidden: 8, device: cpu}, {optim.lr: 0.3, model.hidden: 4, device: cpu}, "
    "{optim.lr: 0.00001, model.hidden: 4, device: cpu}, "
    "{optim.lr: 0.1, model.hidden: 8, device: cuda}]",
)

INTERRUPTED = ("model.hidden=4", "optim.steps=400", "eval_every=0.1")


def common(place: Path | str) -> list[str]:
    """What every run and the study have in common."""
    return [
        "data=text", f"data.path={place}/few.txt", "experiment=smoke", "model.emb=2",
        "wandb.mode=disabled",
    ]  # fmt: skip


def sweep(place: Path | str, n_trials: int) -> list[str]:
    """The words after ``train.py -m``."""
    own = (f"hydra.sweeper.n_trials={n_trials}", f"hydra.sweeper.outputs={place}/outputs")
    return [*common(place), *SWEEP, *own]


def make(tree: Path, place: Path) -> None:
    """A study of four trials, its confirmation and look, a finished and an interrupted run."""
    names = (ROOT / "src" / "nplm" / "given_names.txt").read_text().splitlines()
    few = sorted(random.Random(0).sample(names, LINES))
    (place / "few.txt").write_text("\n".join(few) + "\n")
    outputs = place / "outputs"
    where = ("study=old", f"outputs={outputs}")

    def start(*words: str, **more: str) -> subprocess.Popen[bytes]:
        env = {**os.environ, "PYTHONPATH": str(tree / "src"), **more}
        return subprocess.Popen([sys.executable, *words], cwd=tree, env=env)

    for words in (
        ["train.py", "-m", *sweep(place, 4)],
        ["confirm.py", *where, "top=2", "seeds=2"],
        ["evaluate_test.py", *where, f"looks={place / 'looks'}"],
        ["train.py", *common(place), f"hydra.run.dir={outputs / 'runs' / 'done'}"],
    ):
        assert start(*words).wait() == 0, words
    words = [*common(place), *INTERRUPTED]
    gate = place / "gate"
    held = start(
        "tests/held_train.py", *words, f"hydra.run.dir={outputs / 'runs' / 'interrupted'}",
        HELD_AT="200", HELD_UNTIL=str(gate),
    )  # fmt: skip
    while not gate.with_suffix(".waiting").exists():
        assert held.poll() is None
        time.sleep(0.05)
    held.send_signal(signal.SIGKILL)
    held.wait()


def pack(tree: Path, place: Path, target: Path) -> None:
    """What opens need of it, without what names this machine."""
    shutil.copytree(place / "looks", target / "looks")
    shutil.copy(place / "few.txt", target)
    outputs = target / "outputs"
    shutil.copytree(place / "outputs" / "runs", outputs / "runs")
    shutil.copytree(
        place / "outputs" / "studies", outputs / "studies", ignore=shutil.ignore_patterns(*HEAVY)
    )
    for unused in UNUSED:
        for path in outputs.glob(f"studies/*/conf/{unused}"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for metrics in (*outputs.glob("studies/**/metrics.jsonl"), *outputs.glob("runs/done/*.jsonl")):
        rows = metrics.read_text().splitlines(keepends=True)
        metrics.write_text("".join([*rows[:-1:10], *rows[-1:]]))
    shutil.rmtree(outputs / "runs" / "done" / "checkpoints")
    for figures in outputs.glob("runs/*/figures"):
        shutil.rmtree(figures)
    with (
        closing(sqlite3.connect(place / "outputs" / "studies.db")) as made,
        closing(sqlite3.connect(outputs / "studies.db")) as kept,
    ):
        made.backup(kept)
        for table, column in texts(kept):
            cells = kept.execute(f'SELECT rowid, "{column}" FROM "{table}"').fetchall()
            for row, text in cells:
                if isinstance(text, str):
                    new = neutral(text, tree, place)
                    kept.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', (new, row))
        kept.commit()
        kept.execute("PRAGMA journal_mode = DELETE")
        kept.execute("PRAGMA page_size = 512")  # small tables: less than half the size
        kept.execute("VACUUM")
    for path in target.rglob("*"):
        if path.suffix in (".yaml", ".json", ".jsonl", ".csv", ".txt"):
            path.write_text(neutral(path.read_text(), tree, place))


def neutral(text: str, tree: Path, place: Path) -> str:
    """Without the folders, the host, its boot and its kernel."""
    text = text.replace(str(place), DATA).replace(str(tree), TREE)
    text = re.sub(r'(\\*"host\\*": \\*")[^"\\]*', r"\1elsewhere", text)
    text = re.sub(r'(\\*"boot\\*": \\*")[^"\\]*', r"\g<1>00000000", text)
    return text.replace(platform.platform(), "Linux")


def texts(database: sqlite3.Connection) -> list[tuple[str, str]]:
    """The columns that hold text, as (table, column)."""
    tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return [
        (str(table), str(column[1]))
        for (table,) in tables
        for column in database.execute(f'PRAGMA table_info("{table}")')
        if column[2].startswith(("TEXT", "VARCHAR"))
    ]


def main(tree: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve()
        make(tree.resolve(), place)
        pack(tree.resolve(), place, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
