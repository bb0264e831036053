"""However an application is started: its workers start, and what a sweep prints can be typed."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sweepmore.process.invocation import python, split_flags, start_words, sweepmore
from sweepmore.sweep.command_lines import command_line
from tests.support.helpers import ROOT, call_command, environment
from tests.support.sweep_apps import PATIENCE, errors

# What was composed is a line of seen.jsonl, in the folder where the command was typed.
APP = """
import argparse
import json
import sys

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
parser.add_argument("--own", type=int)
own, sys.argv[1:] = parser.parse_known_args()
nodes = {"defaults": ["_self_", {"override hydra/sweeper": "sweepmore"}], "x": 0, "seed": 0}
ConfigStore.instance().store(name="in_code", node=nodes)

@hydra.main(version_base="1.3", config_path=PATH, config_name=NAME)
def main(cfg):
    with open("seen.jsonl", "a") as file:
        print(json.dumps({**OmegaConf.to_container(cfg), "own": own.own}), file=file)
    return cfg.x**2

if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults:
  - _self_
  - override hydra/sweeper: sweepmore
x: 0
seed: 0
"""
AWKWARD_CONFIG = """
defaults:
  - db: one
  - override hydra/sweeper: sweepmore
x: 0
seed: 0
title: null
depth: null
name: null
"""
HOOKS = """
def space(config, trial):
    if config.db.kind == "one":
        trial.suggest_float("depth", 0, 1)
    else:
        trial.suggest_categorical("name", ["it's $HOME", "a  b"])
"""


def app(path: str | None = "conf", name: str | None = "config") -> str:
    return APP.replace("PATH", repr(path)).replace("NAME", repr(name))


@dataclass(frozen=True)
class Way:
    """``start`` is what is typed after ``python``, ``words`` what is searched; FOLDER in them is
    the folder of ``files``, where all of it is typed."""

    files: dict[str, str]
    start: str
    words: tuple[str, ...] = ()
    again: str = ""  # what the command that runs the best begins with
    x: str = "x=interval(0,4)"
    seen: dict[str, Any] = field(default_factory=dict)  # beside x, of each trial


WAYS = {
    "a file, awkward values": Way(
        {"app.py": app(), "conf/config.yaml": AWKWARD_CONFIG, "hooks.py": HOOKS,
         "conf/db/one.yaml": "kind: one", "conf/db/zwei.yaml": "kind: zwei"},
        "app.py -m",
        ("db=one,zwei", "+new.key='it\\'s $HOME \"ü\"','a = {b: c}, [d]  e'",
         "title='$(date) `id` \\\\ ü; *'", "hydra.sweeper.custom_search_space=hooks.space"),
        again="python app.py 'title=",
    ),
    "its config in code, its own flags, hydra.searchpath": Way(
        {"app.py": app(None, "in_code"), "more/db/deep.yaml": "kind: deep"},
        "app.py --own 3 -m",
        ("+db=deep", "hydra.searchpath=[file://FOLDER/more]"),
        again="python app.py --own 3 'hydra.searchpath=[file://FOLDER/more]' +db=deep x=",
        seen={"own": 3, "db": {"kind": "deep"}},
    ),
    "no config": Way(
        {"app.py": app(None, None)},
        "app.py --multirun",
        ("+seed=0", "hydra/sweeper=sweepmore"),
        again="python app.py +seed=0 +x=",
        x="+x=interval(0,4)",
    ),
    "a module, unbuffered": Way(
        {"pkg/__init__.py": "", "pkg/app.py": app(), "pkg/conf/config.yaml": CONFIG},
        "-u -m pkg.app -m",
        again="python -u -m pkg.app x=",
    ),
    "another config from other folders": Way(
        {"app.py": app(), "conf/config.yaml": "x: wrong", "of all/other.yaml": CONFIG,
         "typed/db/deep.yaml": "kind: deep"},
        "-X dev app.py -cn other -m --config-dir typed -cp 'of all'",
        ("+db=deep",),
        again="python -X dev app.py --config-name=other --config-dir=typed '--config-path=of all' ",
        seen={"db": {"kind": "deep"}},
    ),
    "from the folder above, a search by its config": Way(
        {"example/sphere.py": app(),
         "example/conf/config.yaml": f"{CONFIG}\nhydra: {{mode: MULTIRUN}}"},
        "example/sphere.py",
        again="python example/sphere.py hydra.mode=RUN x=",
    ),
}  # fmt: skip


def typed(line: str, folder: Path, jobs: int = 1) -> str:
    """What it prints: through a shell, in this folder."""
    done = subprocess.run(
        line,
        shell=True,
        cwd=folder,
        env=environment({"JOBS": str(jobs)}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, errors(done)
    return done.stdout


def printed(out: str, label: str) -> str:
    (line,) = (line for line in out.splitlines() if line.startswith(label))
    return line.removeprefix(label).strip()


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "seen.jsonl").read_text().splitlines()]


@pytest.mark.system
@pytest.mark.parametrize("name", WAYS)
def test_every_way(name: str, tmp_path: Path) -> None:
    """Two workers; the best once more and twice the trials, as printed; by one worker; confirmed
    from another folder."""
    way = WAYS[name]
    for path, text in way.files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    sweeper = ("study_name=s", "n_trials=2", "n_jobs='${oc.decode:${oc.env:JOBS}}'")
    words = [way.x, *way.words, *(f"hydra.sweeper.{word}" for word in sweeper)]
    words = [word.replace("FOLDER", str(tmp_path)) for word in words]
    out = typed(f"python {way.start} {shlex.join(words)}", tmp_path, jobs=2)
    trials = rows(tmp_path)
    assert len(trials) == 2
    assert all(row.items() >= way.seen.items() for row in trials)
    best = min(trials, key=lambda row: float(row["x"]))

    again = printed(out, "again:")
    assert again.startswith(way.again.replace("FOLDER", str(tmp_path)))
    typed(again, tmp_path)
    assert rows(tmp_path)[2:] == [best]

    out = typed(printed(out, "more:"), tmp_path)
    assert "4 of 4 trials done, 2 more in" in out
    assert len(rows(tmp_path)) == 5

    best = min(rows(tmp_path), key=lambda row: float(row["x"]))
    place = f"--outputs={tmp_path / 'outputs'}"
    done = call_command("confirm", place, "s", "--top=1", "--seeds=2")
    assert done.returncode == 0, errors(done)
    again_with = [{**row, "seed": best["seed"]} for row in rows(tmp_path)[5:]]
    assert again_with == [best] * 2


@pytest.mark.system
def test_the_command_is_named_as_it_runs(tmp_path: Path) -> None:
    """In the folder of an application that has none of our scripts."""
    (tmp_path / "app.py").write_text(app(None, "in_code"))
    line = "python app.py -m 'x=choice(1)' hydra.sweeper.study_name='a b'"
    out = typed(line, tmp_path)
    confirming = printed(out, "next:")
    assert confirming == f"{shlex.join(sweepmore())} confirm 'a b'"
    noise = printed(out, "noise: unknown from one run each;")
    assert noise == f"{confirming} --noise tells which are tied"
    assert "standard deviation" in typed(noise.removesuffix(" tells which are tied"), tmp_path)
    out = typed(confirming, tmp_path)
    assert "winner   x=1" in out
    assert typed(printed(out, "next  "), tmp_path).startswith("page     outputs/reports/")


# What a shell, or a careless quoting of words for one, would change.
AWKWARD = [
    "x=1", "+new.key=a b", "~gone", "a='it''s'", 'b="$HOME"', "c=$(id)`id`", "d={a: [1, 'ü']}",
    "e=*.py", "f=a\\b\\\\c", "g=#h", "h=!!", "i=a;b&c|d>e", "j=", "k=line\nline", "~l=€ 語",
]  # fmt: skip


def through_a_shell(line: str) -> list[str]:
    """The words that ``python`` is given."""
    echo = "python() { for word; do printf '%s\\0' \"$word\"; done; }\n"
    done = subprocess.run(["sh", "-c", echo + line], capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]


def test_a_printed_command_is_read_as_it_was_typed() -> None:
    command = {"script": ["my app.py"], "flags": ["--config-dir=a b"], "words": AWKWARD}
    words = ["my app.py", "--config-dir=a b", "-m", *AWKWARD]
    assert through_a_shell(command_line(command, here=True)) == words
    assert through_a_shell(command_line(command)) == words
    longer = [*words, "hydra.sweeper.n_trials=4"]
    assert through_a_shell(command_line(command, 4, here=True)) == longer


def test_a_command_runs_in_the_folder_where_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report of it may be made in another; a record for people has no path of this machine."""
    folder = tmp_path / "a b"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    command = {"folder": str(folder), "script": ["-m", "pkg.app"], "words": ["x=1"]}
    assert command_line(command, here=True) == "cd 'a b' && python -m pkg.app -m x=1"
    assert command_line(command) == "python -m pkg.app -m x=1"
    own = {**command, "script": [str(folder / "app.py")]}
    assert command_line(own) == "python app.py -m x=1"
    monkeypatch.chdir(folder)
    words = ["python", str(folder / "app.py"), "-m", "x=1"]
    assert command_line(own, here=True) == shlex.join(words)
    gone = {**command, "folder": str(tmp_path / "gone")}
    assert command_line(gone, here=True) == "python -m pkg.app -m x=1"


@pytest.mark.parametrize(
    ("line", "argv", "start"),
    [
        ("app.py -m x=1", "app.py -m x=1", "app.py"),
        ("-u -m pkg.app -m x=1", "/p/pkg/app.py -m x=1", "-u -m pkg.app"),
        ("-m pkg.app", "/p/pkg/app.py", "-m pkg.app"),
        ("-c main() -m x=1", "-c -m x=1", "-c main()"),
        ("-m coverage run app.py -m x=1", "app.py -m x=1", "-m coverage run app.py"),
        ("app.py --own 3 x=1 -m", "app.py x=1 -m", "app.py --own 3"),
        # of an application that changes the words behind its flags, or adds some
        ("app.py -m x=1 --own", "app.py -m x=1", "app.py"),
        ("-X utf8=1 a=b/app.py -m", "a=b/app.py -m y=1", "-X utf8=1 a=b/app.py"),
        ("-Xdev -W error -um pkg.app -m", "/p/pkg/app.py y=1", "-Xdev -W error -um pkg.app"),
        ("-mpkg.app -m", "/p/pkg/app.py y=1", "-mpkg.app"),
        ("-Bc main() -m", "-c y=1", "-Bc main()"),
        ("--check-hash-based-pycs never -E app.py -m", "app.py y=1",
         "--check-hash-based-pycs never -E app.py"),
    ],
)  # fmt: skip
def test_what_starts_the_application(
    line: str, argv: str, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", *line.split()])
    monkeypatch.setattr(sys, "argv", argv.split())
    assert " ".join(start_words()) == start


def test_a_script_is_found_though_its_folder_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "example" / "sphere.py"
    script.parent.mkdir()
    script.touch()
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    monkeypatch.setattr(sys, "orig_argv", ["python", "example/sphere.py", "-m"])
    monkeypatch.setattr(sys, "argv", ["example/sphere.py", "-m"])
    monkeypatch.chdir(tmp_path)
    assert start_words() == ["example/sphere.py"]
    monkeypatch.chdir(script.parent)
    assert start_words() == [str(script)]


def test_flags_that_say_which_config() -> None:
    line = "-cn a x=-cn -m --config-dir=b=c -cp d --config-n e -c job ~y"
    flags, others = split_flags(shlex.split(line))
    assert flags == {"config-name": "e", "config-dir": "b=c", "config-path": "d"}
    assert shlex.join(others) == "x=-cn -m -c job '~y'"


def test_python_is_called_by_a_name_that_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert python() == "python"  # of this environment, which is on the path
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "orig_argv", ["python3", "app.py"])
    assert python() == "python3"
    monkeypatch.setattr(sys, "orig_argv", [".venv/bin/python", "app.py"])
    assert python() == sys.executable


def test_the_command_is_called_by_a_name_that_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    beside = Path(sys.executable).with_name("sweepmore").exists()  # not under the other Hydra
    assert sweepmore() == (["sweepmore"] if beside else ["python", "-m", "sweepmore"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert sweepmore()[1:] == ["-m", "sweepmore"]


def test_no_message_of_the_framework_names_a_script_of_an_application() -> None:
    """It does not know what lies beside it."""
    named = re.compile(r"\bpython \S*\.py")
    for path in (ROOT / "src" / "sweepmore").rglob("*.py"):
        if not named.search(path.read_text()):
            continue
        tree = ast.parse(path.read_text())
        docstrings = {
            ast.get_docstring(node, clean=False)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        }
        texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        told = [text for text in texts if isinstance(text, str) and text not in docstrings]
        assert not [text for text in told if named.search(text)], path
