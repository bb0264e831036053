"""No-ops and real gains challenge the champion of ``experiment=fast``: what is kept?

``python -m benchmarks.challenges``. The truth is known: seven edits leave the bits alone, thirteen
draw other random numbers of the same distribution, and gains were measured beforehand. Each edit is
made in a clone of this checkout, challenged as a person would, and taken back unless it is kept.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MODEL, STATE, BATCHES = (f"src/nplm/{name}.py" for name in ("model", "state", "minibatches"))
BASE = ("experiment=fast", "optim.lr=0.0539", "wandb.mode=disabled")


@dataclass(frozen=True)
class Proposal:
    """What an agent might propose: edits (file, old, new), settings, and whether it is a gain."""

    title: str
    edits: tuple[tuple[str, str, str], ...] = ()
    settings: tuple[str, ...] = ()
    gain: bool = False


def no_ops() -> Iterator[Proposal]:
    """Twenty proposals that change nothing: seven leave the bits alone, thirteen do not."""
    # the same bits
    yield Proposal("a comment", ((MODEL, "import torch\n", "import torch  # tensors\n"),))
    yield Proposal("a variable renamed", ((MODEL, "units", "activations"),))
    yield Proposal("another docstring", ((STATE, "minibatches must not", "batches must never"),))
    yield Proposal("a default given again", settings=("optim.beta1=0.9",))
    yield Proposal("an equal expression", ((MODEL, "len(contexts), -1", "contexts.shape[0], -1"),))
    yield Proposal("a file renamed", (("src/nplm/gradients.py", "", "src/nplm/slopes.py"),))
    # other minibatches, other first weights
    old = 'derived_seed(config.seed, "minibatches")'
    for purpose in ("batches", "draws", "order", "sgd", "rows"):
        new = f'derived_seed(config.seed, "{purpose}")'
        yield Proposal(f"minibatches from seed {purpose!r}", ((STATE, old, new),))
    old = "torch.Generator().manual_seed(config.seed)"
    for purpose in ("init", "weights", "start", "C"):
        new = f'torch.Generator().manual_seed(derived_seed(config.seed, "{purpose}"))'
        yield Proposal(f"first weights from seed {purpose!r}", ((STATE, old, new),))
    loop = "for parameter in self.parameters():\n            parameter.copy_("
    turned = loop.replace("self.parameters()", "reversed([*self.parameters()])")
    yield Proposal("parameters drawn in another order", ((MODEL, loop, turned),))
    yield Proposal("first weights negated", ((MODEL, "(torch.randn(", "(-torch.randn("),))
    old = "uniform = torch.rand((steps, batch), generator=generator, dtype=torch.float64)"
    for title, new in (
        ("uniform numbers from above", old.replace("torch.rand(", "1 - torch.rand(")),
        # with so few steps a block holds one of them, and the bits are the same
        ("a block drawn by columns", old.replace("(steps, batch)", "(batch, steps)") + ".T"),
        ("one number thrown away", f"torch.rand(1, generator=generator)\n    {old}"),
    ):
        yield Proposal(title, ((BATCHES, old, new),))


def gains() -> Iterator[Proposal]:
    """Three proposals that are better, and one that people expect to be."""
    yield Proposal("weight decay 0.01", settings=("optim.weight_decay=0.01",))
    yield Proposal("a longer context", settings=("model.block_size=4",), gain=True)
    yield Proposal("more hidden units", settings=("model.hidden=300",), gain=True)
    yield Proposal("a shorter memory", settings=("optim.beta2=0.98",), gain=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
        prepare(clone)
        print(HEAD, flush=True)
        kept: tuple[str, ...] = ()
        for proposal in (*no_ops(), *gains()):
            apply(proposal, clone)
            answer = challenge(clone, (*BASE, *kept, *proposal.settings))
            print(row(proposal, answer), flush=True)
            if answer["challenges"][0]["verdict"] == "keep":
                kept += proposal.settings
                subprocess.run([*GIT, "commit", "-qam", proposal.title, "--allow-empty"],
                               cwd=clone, check=True)  # fmt: skip
            else:
                subprocess.run(["git", "checkout", "-q", "."], cwd=clone, check=True)
                subprocess.run(["git", "clean", "-qfd", "src"], cwd=clone, check=True)
        campaign = answer["campaign"]
        print(f"\n{campaign['challenges']} challenges, {campaign['runs']} runs, "
              f"{campaign['seconds']:.0f} s of training.")  # fmt: skip


GIT = ("git", "-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")
HEAD = "| proposal | truth | verdict | gain | seeds | reason |\n|---|---|---|---|---|---|"


def prepare(clone: Path) -> None:
    """Search nothing, confirm the one configuration, and begin the campaign."""
    study = ["hydra.sweeper.study_name=base", "optim.lr=choice(0.0539)"]
    command(
        clone, sys.executable, "train.py", "-m", "experiment=fast", "wandb.mode=disabled", *study
    )
    command(clone, *SWEEPMORE, "confirm", "base", "--top", "1", "--seeds", "8")
    command(clone, *SWEEPMORE, "challenge", "base")


def apply(proposal: Proposal, clone: Path) -> None:
    """Make the edits; without an old text the file moves, and its imports follow."""
    for name, old, new in proposal.edits:
        path = clone / name
        if old:
            assert old in path.read_text(), (name, old)
            path.write_text(path.read_text().replace(old, new))
            continue
        path.rename(clone / new)
        module, moved = (f"nplm.{Path(each).stem} " for each in (name, new))
        for source in (clone / "src" / "nplm").rglob("*.py"):
            source.write_text(source.read_text().replace(module, moved))


def challenge(clone: Path, words: tuple[str, ...]) -> dict[str, Any]:
    """The answer of the command, as JSON."""
    line = [*SWEEPMORE, "challenge", "base", "--json", "--", "python", "train.py", *words]
    done = subprocess.run(line, cwd=clone, env=environment(clone), capture_output=True, text=True)
    if done.returncode not in (0, 10, 11):
        raise SystemExit(f"{shlex.join(line)}\n{done.stdout}{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def row(proposal: Proposal, answer: Mapping[str, Any]) -> str:
    """A line of the table."""
    found = answer["challenges"][0]
    gain = "" if found["gain"] is None else f"{found['gain']:+.4f} ± {found['half_width']:.2g}"
    cells = (
        proposal.title,
        "better" if proposal.gain else "no gain",
        found["verdict"],
        gain,
        str(len(found["seeds"])),
        found["reason"],
    )
    return f"| {' | '.join(cells)} |"


SWEEPMORE = (sys.executable, "-m", "sweepmore")


def command(clone: Path, *words: str) -> None:
    """Run a command in the clone; raises where it fails."""
    subprocess.run(words, cwd=clone, env=environment(clone), check=True, stdout=subprocess.DEVNULL)


def environment(clone: Path) -> dict[str, str]:
    """The clone's code, and this Python as ``python``."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PYTHONPATH": str(clone / "src"), "PATH": path}


if __name__ == "__main__":
    main()
