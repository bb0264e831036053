"""Train configurations of a study again: its own command, sources and values, other seeds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml

from sweepmore.compose.frozen import FrozenConfig
from sweepmore.compose.overrides import override_text, read_overrides
from sweepmore.compose.question import call
from sweepmore.compose.script_storage import typed_url
from sweepmore.storage.optuna_internals import fix, storage_of
from sweepmore.study.attempts import Attempt
from sweepmore.study.attributes import StudyAttributes, TrialAttributes
from sweepmore.study.view import directions_of, view
from sweepmore.sweep.context import study_folder
from sweepmore.sweep.processes import frozen_command


@dataclass(frozen=True)
class Plan:
    """Which of the study's trials (by root) run again with which seeds. It is kept with the study
    once the runs have begun: a search that goes on does not change a confirmation that goes on."""

    top: int
    roots: tuple[int, ...]
    seeds: tuple[int, ...]
    seed_key: str

    @classmethod
    def kept(cls, study: optuna.Study, suffix: str) -> Plan | None:
        plan = study.user_attrs.get(f"plan{suffix}")
        if plan is None:
            return None
        return cls(**{**plan, "roots": tuple(plan["roots"]), "seeds": tuple(plan["seeds"])})

    def write(self, study: optuna.Study, suffix: str) -> None:
        study.set_user_attr(f"plan{suffix}", vars(self))

    def chosen(self, study: optuna.Study) -> list[Attempt]:
        best = {attempt.root: attempt for attempt in view(study).ranked}
        return [best[root] for root in self.roots]


@dataclass(frozen=True)
class Workers:
    """How many workers train again, and where their study is kept."""

    n_jobs: int
    storage: str | None  # the database's URL as it was written; None is that of `outputs`
    outputs: Path


def train_again(
    study: optuna.Study, chosen: Sequence[Attempt], plan: Plan, name: str, workers: Workers
) -> None:
    """Run the application's own command once more, as a study ``name`` of the ``chosen`` points
    alone. Raises SystemExit with the command's exit code where it fails."""
    # Settings of the new study, which go before those that the search was started with.
    attributes = StudyAttributes.of(study)
    command, question = attributes.command, attributes.question
    searched, points = choices(chosen, list(question["space"]))
    ours = {
        "study_name": name,
        "n_trials": len(points),
        "n_jobs": workers.n_jobs,
        "enqueue": points,
        "repeats": {plan.seed_key: list(plan.seeds)},
        "custom_search_space": question["custom_search_space"] and f"{__name__}.as_found",
        "pruner": "none",
        "sampler": "random",
        "storage": from_anywhere(workers.storage, workers.outputs),
        "outputs": str(workers.outputs),
        "direction": directions_of(study)[0],  # winners are confirmed by the first
        "max_failure_rate": 0.0,
        "layout": "study",  # its own trials, beside none of the search's
        "keep": "all",  # the winner's run is one of any of its seeds
    }
    replaced = tuple(
        f"hydra{mark}sweeper{mark}{key}"
        for key in (*ours, "params", "seed", "on_change", "dry")
        for mark in "./"
    )
    # The search's own command, but for these.
    kept = [word for word in command["hydra"] if not word.lstrip("+").startswith(replaced)]
    words = [*command.get("flags", ()), "-m", *command["fixed"], *kept, *searched]
    words += [f"hydra.sweeper.{key}={override_text(value)}" for key, value in ours.items()]
    frozen = FrozenConfig(study_folder(workers.outputs, study) / "conf", "", ())
    start = own_start(command)
    # the study's own sources, whatever the files say by now
    words = frozen_command(start, words, frozen) if frozen.exists else [*start, *words]
    done = subprocess.run(words, cwd=own_folder(command), env=os.environ, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def own_start(command: Mapping[str, Any]) -> list[str]:
    """Python and what starts the application."""
    return [sys.executable, *command["script"]]


def own_folder(command: Mapping[str, Any]) -> str | None:
    """Where the command was typed, from which a module and relative paths are found; None where
    that is not there, on another machine or of an older study."""
    folder = command.get("folder")
    return folder if folder is not None and Path(folder).is_dir() else None


def from_anywhere(storage: str | None, outputs: Path) -> str | None:
    """A database's URL as it was written; a file's by its whole path."""
    url = typed_url(storage, outputs)
    is_file = storage is not None and url.get_backend_name() == "sqlite"
    return url.render_as_string() if is_file else storage


def choices(
    chosen: Sequence[Attempt], searched: Sequence[str]
) -> tuple[list[str], list[dict[str, Any]]]:
    """One override for each searched key, a choice among the values of ``chosen``; and for each
    of these its point."""
    written = [as_written(attempt) for attempt in chosen]
    words: list[str] = []
    points: list[dict[str, Any]] = [{} for _ in chosen]
    for name in searched:
        texts = [
            known.get(name) or f"{name}={override_text(attempt.params[name])}"
            for known, attempt in zip(written, chosen, strict=True)
        ]
        key = texts[0].partition("=")[0]
        values = list(dict.fromkeys(text.partition("=")[2] for text in texts))
        words.append(_choice_of(key, values))
        for point, text in zip(points, texts, strict=True):
            point[name] = read_overrides([text], {})[0].value()
    return words, points


def _choice_of(key: str, values: Sequence[str]) -> str:
    """An override that searches among these. Hydra's grammar has no null within ``choice()``, and
    no way but a list of ``params`` to choose among null alone."""
    if list(values) == ["null"]:
        return f"hydra.sweeper.params={override_text({key: [None]})}"
    return f"{key}={','.join(values)}" if len(values) > 1 else f"{key}=choice({values[0]})"


def as_written(attempt: Attempt) -> dict[str, str]:
    """Name → override of a trial, from its folder: Hydra's record or the application's own tells
    ``+x`` from ``x`` and a list from the text of one. Empty where neither kept it."""
    assert attempt.attrs.folder is not None  # it is complete
    for path in sorted(attempt.attrs.folder.rglob("overrides.yaml")):
        lines = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {line.partition("=")[0].lstrip("+"): line for line in lines}
    return {}


def as_found(config: Any, trial: optuna.Trial) -> None:
    """The ``custom_search_space`` of a confirmation: the search's own, but each value that it
    suggests is the one that this trial's configuration had."""
    name, _, suffix = trial.study.study_name.rpartition(".")
    searched = optuna.load_study(study_name=name, storage=storage_of(trial.study))
    plan = Plan.kept(searched, f".{suffix}")
    assert plan is not None
    found = plan.chosen(searched)[TrialAttributes.read(trial.user_attrs).slot or 0]
    fix(trial, found.params)
    call(StudyAttributes.of(searched).question["custom_search_space"], config, trial)


def folder_of(study: optuna.Study) -> Path:
    """Where one of the study's trials lies."""
    return next(a.attrs.folder for a in view(study).attempts if a.attrs.folder is not None)
