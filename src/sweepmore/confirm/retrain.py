"""Train configurations of a study again: the same command, sources and values, but other seeds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml

from sweepmore.compose.frozen import FrozenConfig
from sweepmore.compose.keys import RETIRED
from sweepmore.compose.overrides import override_text, read_overrides
from sweepmore.compose.question import call
from sweepmore.compose.script_storage import typed_url
from sweepmore.confirm.snapshot import Snapshot
from sweepmore.confirm.winner import without_seed
from sweepmore.storage.optuna_internals import fix, storage_of
from sweepmore.study.attempts import Attempt
from sweepmore.study.attributes import StudyAttributes, TrialAttributes, store, stored
from sweepmore.study.view import directions_of, view
from sweepmore.sweep.context import study_folder
from sweepmore.sweep.processes import frozen_command

# The path of ``as_found``.
AS_FOUND = f"{__name__}.as_found"


@dataclass(frozen=True)
class Plan:
    """Which trials of a search run again, and with which seeds.

    The plan is kept with the search before its runs begin, so that a search which continues does
    not change a confirmation that is under way.
    """

    top: int  # how many of the best were asked for
    roots: tuple[int, ...]  # numbers of the trials in the search
    seeds: tuple[int, ...]
    seed_key: str  # the application's setting that holds the seed

    @classmethod
    def kept(cls, study: optuna.Study, suffix: str) -> Plan | None:
        """Read the plan of a part, such as ``.confirm``; None when the search has none."""
        plan = stored(study).get(f"plan{suffix}")
        if plan is None:
            return None
        return cls(**{**plan, "roots": tuple(plan["roots"]), "seeds": tuple(plan["seeds"])})

    def write(self, study: optuna.Study, suffix: str) -> None:
        """Keep the plan of a part with the search."""
        store(study, **{f"plan{suffix}": vars(self)})

    def chosen(self, study: optuna.Study) -> list[Attempt]:
        """Return the trials of the search that run again, in the plan's order."""
        best = {attempt.root: attempt for attempt in without_seed(view(study), self.seed_key)}
        return [best[root] for root in self.roots]


@dataclass(frozen=True)
class Workers:
    """How many workers train the configurations, and where their study is kept."""

    n_jobs: int
    storage: str | None  # the database's URL as it was written; None is that of `outputs`
    outputs: Path


def train_again(
    study: optuna.Study, chosen: Sequence[Attempt], plan: Plan, name: str, workers: Workers
) -> None:
    """Run the application's own command once more, as a study called ``name``.

    That study tries the ``chosen`` configurations and nothing else, each with all seeds of the
    plan. Running the command, and not the task, gives them the same flags, launcher and resources
    as the search. Raises SystemExit with the command's exit code when it fails.
    """
    # Choose the settings of the new study. They replace those that the search was started with:
    # nothing is proposed, pruned or forgiven here.
    attributes = StudyAttributes.of(study)
    command, question = attributes.command, attributes.question
    searched, points = choices(chosen, [k for k in question["space"] if k != plan.seed_key])
    ours = {
        **of_again(name, points, directions_of(study)[0], workers),
        "n_trials": len(points),
        "n_jobs": min(workers.n_jobs, len(points)),  # a worker takes whole configurations
        "repeats": {plan.seed_key: list(plan.seeds)},
        "custom_search_space": question["custom_search_space"] and AS_FOUND,
        "max_failure_rate": 0.0,
        "keep": "all",  # the winner's run may be that of any seed
    }
    # Run it from where it was typed.
    words = again(study, own_start(command), searched, ours, workers)
    folder = own_folder(command)
    done = subprocess.run(words, cwd=folder, env=environment_in(folder), check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def of_again(
    name: str, points: Sequence[Mapping[str, Any]], direction: str, workers: Workers
) -> dict[str, Any]:
    """The settings of a study that only trains ``points``: nothing is proposed or pruned."""
    return {
        "study_name": name,
        "enqueue": list(points),
        "pruner": "none",
        "sampler": "random",
        "storage": from_anywhere(workers.storage, workers.outputs),
        "outputs": str(workers.outputs),
        "direction": direction,  # of the first objective, by which winners are confirmed
        "layout": "study",  # its trials lie in its own folder, not among the search's
    }


def sweeper_words(settings: Mapping[str, Any]) -> list[str]:
    """The overrides that set these keys of ``hydra.sweeper``."""
    return [f"hydra.sweeper.{key}={override_text(value)}" for key, value in settings.items()]


def again(
    study: optuna.Study,
    start: Sequence[str],
    searched: Sequence[str],
    settings: Mapping[str, Any],
    workers: Workers,
) -> list[str]:
    """A study's own command, with other ``searched`` words and ``settings`` of the sweeper.

    It composes the config files as the search froze them: an edit since then would make this
    another experiment.
    """
    command, kept = StudyAttributes.of(study).command, own_hydra_words(study, settings)
    words = [*command.get("flags", ()), "-m", *command["fixed"], *kept, *searched]
    words += sweeper_words(settings)
    frozen = FrozenConfig(study_folder(workers.outputs, study) / "conf", "", ())
    return frozen_command(start, words, frozen) if frozen.exists else [*start, *words]


def own_hydra_words(study: optuna.Study, settings: Iterable[str]) -> list[str]:
    """A study's own overrides of Hydra's keys, without those of the sweeper that are replaced."""
    replaced = tuple(
        f"hydra{mark}sweeper{mark}{key}"
        for key in (*settings, *RETIRED, "n_trials", "n_jobs", "params", "on_change", "dry")
        for mark in "./"
    )
    words: list[str] = StudyAttributes.of(study).command["hydra"]
    return [word for word in words if not word.lstrip("+").startswith(replaced)]


def own_start(command: Mapping[str, Any]) -> list[str]:
    """The words that start the application: this Python, and its script or module."""
    return [sys.executable, *command["script"]]


def own_folder(command: Mapping[str, Any]) -> str | None:
    """The folder where the command was typed, to which modules and relative paths refer.

    None when that folder does not exist on this machine, or when an older version did not keep it.
    """
    folder = command.get("folder")
    return folder if folder is not None and Path(folder).is_dir() else None


def environment_in(folder: str | None) -> dict[str, str]:
    """The environment of a command that runs in ``folder``: the copy's, in a challenge's code."""
    copy = None if folder is None else Snapshot.around(Path(folder))
    return dict(os.environ) if copy is None else copy.environment()


def from_anywhere(storage: str | None, outputs: Path) -> str | None:
    """Write a database's URL so that it is valid in any working directory.

    The path of an SQLite file becomes absolute. Other URLs stay as they were written, so that a
    reference such as ``${oc.env:…}`` puts no secret on a command line.
    """
    url = typed_url(storage, outputs)
    is_file = storage is not None and url.get_backend_name() == "sqlite"
    return url.render_as_string() if is_file else storage


def choices(
    chosen: Sequence[Attempt], searched: Sequence[str]
) -> tuple[list[str], list[dict[str, Any]]]:
    """Return one override for each searched key, and the point of each ``chosen`` trial.

    An override is a choice among the values that the key has in these trials, so that the points
    lie in the new study's space.
    """
    words: list[str] = []
    points: list[dict[str, Any]] = [{} for _ in chosen]
    for name, *texts in zip(searched, *(values_of(attempt, searched) for attempt in chosen)):
        key = texts[0].partition("=")[0]
        values = list(dict.fromkeys(text.partition("=")[2] for text in texts))
        words.append(_choice_of(key, values))
        for point, text in zip(points, texts, strict=True):
            point[name] = read_overrides([text], {})[0].value()
    return words, points


def values_of(attempt: Attempt, searched: Sequence[str]) -> list[str]:
    """Return one override for each searched key, with the value that a trial has."""
    written = as_written(attempt)
    return [
        written.get(name) or f"{name}={override_text(attempt.params[name])}" for name in searched
    ]


def _choice_of(key: str, values: Sequence[str]) -> str:
    """An override that searches among these. Hydra's grammar has no null within ``choice()``, and
    no way but a list of ``params`` to choose among null alone."""
    if list(values) == ["null"]:
        return f"hydra.sweeper.params={override_text({key: [None]})}"
    return f"{key}={','.join(values)}" if len(values) > 1 else f"{key}=choice({values[0]})"


def as_written(attempt: Attempt) -> dict[str, str]:
    """Read the overrides of a trial from its folder, by the names of their keys.

    Unlike the parameters in the storage, the record distinguishes ``+x`` from ``x``, and a list
    from a text that looks like a list. Empty when neither Hydra nor the application kept a record.
    """
    assert attempt.attrs.folder is not None  # it is complete
    for path in sorted(attempt.attrs.folder.rglob("overrides.yaml")):
        lines = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {line.partition("=")[0].lstrip("+"): line for line in lines}
    return {}


def as_found(config: Any, trial: optuna.Trial) -> None:
    """Serve as the ``custom_search_space`` of a confirmation.

    It calls the function of the search, but every value that this suggests is fixed to the one
    that the confirmed configuration had.
    """
    name, _, suffix = trial.study.study_name.rpartition(".")
    searched = optuna.load_study(study_name=name, storage=storage_of(trial.study))
    plan = Plan.kept(searched, f".{suffix}")
    assert plan is not None
    attempt = plan.chosen(searched)[TrialAttributes.read(trial.user_attrs).slot or 0]
    fix(trial, attempt.params)
    call(StudyAttributes.of(searched).question["custom_search_space"], config, trial)


def folder_of(study: optuna.Study) -> Path:
    """The folder of one of the study's trials, no matter which; StopIteration when it has none."""
    return next(a.attrs.folder for a in view(study).attempts if a.attrs.folder is not None)
