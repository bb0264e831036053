"""Which study a command means: the one that its name or its question finds, or a new one.

======================  =======================================================================
the command             and a study of that name that asks something else, or nothing new
======================  =======================================================================
gives a name            is refused, with the list of what changed (``on_change`` says otherwise)
its config gives one    is left alone: ``name-2`` is the next version, ``name-3`` …
neither does            the name is made of the question; a full study is left alone, too
======================  =======================================================================
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage

from sweepmore.compose import question as questions
from sweepmore.compose.question import Question
from sweepmore.compose.samplers import build_pruner
from sweepmore.compose.settings import Sweep, check_name
from sweepmore.errors import StudyError
from sweepmore.study import slots
from sweepmore.study.application import Application
from sweepmore.study.attributes import VERSION, StudyAttributes, SweepDir
from sweepmore.study.view import directions_of, view
from sweepmore.sweep.context import is_done
from sweepmore.sweep.note import write_note
from sweepmore.wording import plural

# How long another process may take between a study's name and what it asks (guess: some commits).
CREATION_SECONDS = 5.0
VERSIONS = 1000
NAME_KEY = "hydra.sweeper.study_name"


@dataclass(frozen=True)
class Version:
    """What a command means: a study of this name, which is there or not yet.

    ``passed`` says why it is not the one that bears the name itself; empty where it is.
    """

    name: str
    study: optuna.Study | None
    passed: str = ""

    @property
    def named(self) -> str:
        return f"{self.name} ({self.passed})" if self.passed else self.name


@dataclass(frozen=True)
class Versions:
    """The studies that a command may mean, and how it chooses among them."""

    asked: Sweep
    question: Question
    sweep_dir: SweepDir | None  # of a new study, where its trials lie in Hydra's
    application: Application  # what it is one of

    @property
    def is_unnamed(self) -> bool:
        return not self.asked.settings.study_name

    @property
    def on_change(self) -> str:
        """``auto`` refuses where the command itself names the study: whoever typed the name means
        that one; a name in a file is that of the application's next study, too."""
        given = self.asked.settings.on_change
        if given != "auto":
            return given
        words = [word.lstrip("+") for word in self.asked.hydra_overrides]
        typed = any(word.startswith(f"{NAME_KEY}=") for word in words)
        return "refuse" if typed else "new"

    @property
    def first(self) -> str:
        job = self.asked.job.lower().replace("_", "-")
        name = self.asked.settings.study_name or f"{job}-{questions.digest(self.question)}"
        check_name(name)
        return name

    def choose(self, storage: BaseStorage | None) -> Version:
        """What ``open`` would do or refuse; changes nothing."""
        known = set() if storage is None else set(optuna.get_all_study_names(storage))
        passed = ""
        for name in (self.first, *(f"{self.first}-{k}" for k in range(2, VERSIONS + 1))):
            if storage is None or name not in known:
                return Version(name, None, passed)
            pruner = build_pruner(self.asked.settings.pruner)
            study = optuna.load_study(study_name=name, storage=storage, pruner=pruner)
            if not (reason := self.against(study)):
                return Version(name, study, passed)
            passed = passed or f"{name} {reason}"
        problem = f"{self.first} has {VERSIONS:,} versions."
        raise StudyError(problem, value=self.first, cure="Choose another name.")

    def open(self, storage: BaseStorage) -> Version:
        """The same with the study made, where it is not there yet."""
        while True:
            version = self.choose(storage)
            study = version.study
            try:
                study = study or optuna.create_study(
                    study_name=version.name,
                    storage=storage,
                    directions=self.asked.settings.directions,
                    pruner=build_pruner(self.asked.settings.pruner),
                )
            except DuplicatedStudyError:
                continue  # another process was first: it may ask the same
            before = StudyAttributes.of(study)
            if before.is_introduced:
                kept = {key: before.command[key] for key in ("fixed", "hydra")}  # trials share it
                now = {**self.asked.command, **kept}  # a study of an older version keeps no record
                StudyAttributes(command=now, application=self.application).write(study)
            else:
                self.introduce(study)
            return replace(version, study=study)

    def introduce(self, study: optuna.Study) -> None:
        """What a new study says of itself."""
        seed = self.asked.settings.seed
        StudyAttributes(
            version=VERSION,
            uid=secrets.token_hex(3),
            seed=secrets.randbelow(2**32) if seed is None else seed,
            command=self.asked.command,
            as_text=tuple(one.name for one in self.asked.space.parameters if one.as_text),
            sweep_dir=self.sweep_dir,
            application=self.application,
            question=self.question,
        ).write(study)
        write_note(study)

    def against(self, study: optuna.Study) -> str:
        """Why the command does not go on with an existing study, the next name is tried, and the
        preview says so; nothing where it does go on. StudyError where it is to be refused."""
        if not asks_something(study):
            return self.against_foreign(study)
        before = StudyAttributes.of(study).question
        changed = questions.changes(before, self.question)
        barred = questions.barred(before, self.question)
        if not changed:
            over = self.is_unnamed and is_done(view(study), self.asked)
            return "is full" if over and slots.leader(study) is None else ""
        if self.on_change == "new":
            return "asks another question"
        if self.on_change == "continue" and not barred:
            for line in changed:
                print(f"warning: the question has changed: {line}", file=sys.stderr)
            return ""
        raise self.changed(study.study_name, changed, barred)

    def changed(self, name: str, changed: list[str], barred: list[str]) -> StudyError:
        go_on = (
            f"One study cannot hold both: Optuna allows neither other choices nor another kind of "
            f"range for {', '.join(barred)}."
            if barred
            else "To continue anyway, with trials of both questions in one study: "
            "hydra.sweeper.on_change=continue."
        )
        return StudyError(
            f"The study {name} asks another question; it was → it is now:\n    "
            + "\n    ".join(changed),
            value=changed,
            cure=f"Undo the change, or start a new study under another {NAME_KEY} "
            f"(hydra.sweeper.on_change=new picks a name). {go_on}",
        )

    def against_foreign(self, study: optuna.Study) -> str:
        """Of a study that asks nothing. Empty, it is what a parent left that died before it had
        introduced it; else another program's, whose trials the sampler learns from."""
        theirs = list(directions_of(study))
        trials = study.get_trials(deepcopy=False)
        if not trials and theirs == self.asked.settings.directions:
            return ""
        if self.asked.settings.on_change == "new":
            return "is another program's"
        misfits = self.misfits(study)
        if theirs != self.asked.settings.directions:
            misfits = [f"its direction is {', '.join(theirs)}", *misfits]
        if self.on_change == "continue" and not misfits:
            print(
                f"warning: {study.study_name} was not made by sweepmore: the sampler learns from "
                f"its {plural(len(trials), 'trial')}; n_trials and ranks count only those to come",
                file=sys.stderr,
            )
            return ""
        problem = f"The study {study.study_name} was not made by sweepmore"
        cure = f"Choose another {NAME_KEY}."
        if misfits:
            problem += f", and it cannot be continued: {'; '.join(misfits)}"
        else:
            cure += (
                " Or continue it, so that the sampler learns from its trials: "
                "hydra.sweeper.on_change=continue."
            )
        raise StudyError(f"{problem}.", value=study.study_name, cure=cure)

    def misfits(self, study: optuna.Study) -> list[str]:
        """What Optuna would refuse: a parameter that another kind of range or other choices had."""
        found = dict[str, str]()
        for trial in study.get_trials(deepcopy=False):
            for name, theirs in trial.distributions.items():
                mine = self.asked.space.searched.get(name)
                if mine is not None and not questions.fits(*map(_plain, (theirs, mine))):
                    found.setdefault(name, f"{name} was searched in {theirs}, now in {mine}")
        return list(found.values())


def asks_something(study: optuna.Study) -> bool:
    """Whether it was introduced, by now or within a while: another process may be creating it."""
    deadline = time.monotonic() + CREATION_SECONDS
    while not StudyAttributes.of(study).is_introduced and time.monotonic() < deadline:
        if study.get_trials(deepcopy=False):
            break  # what sweepmore makes is introduced before its first trial
        time.sleep(0.1)
    return StudyAttributes.of(study).is_introduced


def _plain(distribution: optuna.distributions.BaseDistribution) -> Mapping[str, Any]:
    return dict(json.loads(distribution_to_json(distribution)))
