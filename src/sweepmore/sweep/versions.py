"""Which study a command means: the one with its name or its question, or a new one.

======================  =======================================================================
the study's name is     what happens when a study of that name asks another question
======================  =======================================================================
in the command          the command is refused, with the list of changes (see ``on_change``)
in a config file        that study is left alone; ``name-2`` is the next version, then ``name-3`` …
in neither              the name is made from the question; a full study is left alone, too
======================  =======================================================================

The file is longer than 250 lines because the rules of this table, and the errors that explain them,
have to be read together.
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

# How long another process may take between creating a study and introducing it (a guess: the time
# of some commits).
CREATION_SECONDS = 5.0
# How many studies of one name are tried before the search for a free name is given up (a guess).
VERSIONS = 1000
NAME_KEY = "hydra.sweeper.study_name"


@dataclass(frozen=True)
class Version:
    """The study that a command means, whether it exists or not.

    ``passed`` says why it is not the study with the plain name; it is empty when it is that one.
    """

    name: str
    study: optuna.Study | None  # None when it does not exist yet
    passed: str = ""

    @property
    def named(self) -> str:
        """The name for the preview, with the reason for its number."""
        return f"{self.name} ({self.passed})" if self.passed else self.name


@dataclass(frozen=True)
class Versions:
    """The studies that a command may mean, and how it chooses among them."""

    asked: Sweep
    question: Question
    sweep_dir: SweepDir | None  # for a new study whose trials lie in Hydra's sweep dir
    application: Application  # to which the study belongs

    @property
    def is_unnamed(self) -> bool:
        """Whether neither the command nor its config names the study."""
        return not self.asked.settings.study_name

    @property
    def on_change(self) -> str:
        """What to do when the question has changed: ``refuse``, ``new`` or ``continue``.

        ``auto`` refuses when the command itself names the study, because whoever typed the name
        means that study. A name in a config file serves every study of the application, so a
        changed question makes a new version.
        """
        given = self.asked.settings.on_change
        if given != "auto":
            return given
        words = [word.lstrip("+") for word in self.asked.hydra_overrides]
        typed = any(word.startswith(f"{NAME_KEY}=") for word in words)
        return "refuse" if typed else "new"

    @property
    def first(self) -> str:
        """The name that is tried first; ConfigError when the given one is not valid."""
        job = self.asked.job.lower().replace("_", "-")
        name = self.asked.settings.study_name or f"{job}-{questions.digest(self.question)}"
        check_name(name)
        return name

    def choose(self, storage: BaseStorage | None) -> Version:
        """Return what ``open`` would open or create, without changing anything.

        Raises StudyError when the study of that name asks another question and ``on_change``
        refuses that, or when all ``VERSIONS`` of the name are taken.
        """
        names = set() if storage is None else set(optuna.get_all_study_names(storage))
        passed = ""
        for name in (self.first, *(f"{self.first}-{k}" for k in range(2, VERSIONS + 1))):
            # A free name is a new study; the first study that the command can continue is the one.
            if storage is None or name not in names:
                return Version(name, None, passed)
            pruner = build_pruner(self.asked.settings.pruner)
            study = optuna.load_study(study_name=name, storage=storage, pruner=pruner)
            if not (reason := self.against(study)):
                return Version(name, study, passed)
            passed = passed or f"{name} {reason}"
        problem = f"{self.first} has {VERSIONS:,} versions."
        raise StudyError(problem, value=self.first, cure="Choose another name.")

    def open(self, storage: BaseStorage) -> Version:
        """Choose a study as ``choose`` does, and create it when it does not exist yet.

        Raises as ``choose`` does.
        """
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
            # Record the command that continues the study; what its trials share stays as it was. A
            # study of an older version lacks some of these records, and gets them now.
            before = StudyAttributes.of(study)
            if before.is_introduced:
                kept = {key: before.command[key] for key in ("fixed", "hydra")}
                now = {**self.asked.command, **kept}
                StudyAttributes(command=now, application=self.application).write(study)
            else:
                self.introduce(study)
            return replace(version, study=study)

    def introduce(self, study: optuna.Study) -> None:
        """Write what a new study says about itself, its question last of all its records."""
        seed = self.asked.seed
        StudyAttributes(
            version=VERSION,
            uid=secrets.token_hex(3),
            seed=secrets.randbelow(2**32) if seed is None else seed,
            command=self.asked.command,
            as_text=tuple(
                parameter.name for parameter in self.asked.space.parameters if parameter.as_text
            ),
            sweep_dir=self.sweep_dir,
            application=self.application,
            question=self.question,
        ).write(study)
        write_note(study)

    def against(self, study: optuna.Study) -> str:
        """Say why the command does not continue an existing study; empty when it does.

        With a reason, the next name is tried, and the preview shows the reason. Raises StudyError
        when the command has to be refused.
        """
        if not asks_something(study):
            return self.against_foreign(study)
        before = StudyAttributes.of(study).question
        changed = questions.changes(before, self.question)
        barred = questions.barred(before, self.question)
        # The same question: continue. Only a full study without a given name makes room for the
        # next, unless a parent still works on it: whoever repeats that command wants new trials.
        if not changed:
            over = self.is_unnamed and is_done(view(study), self.asked)
            return "is full" if over and slots.leader(study) is None else ""
        # Another question: the next version, a mixture that the user has asked for, or an error.
        if self.on_change == "new":
            return "asks another question"
        if self.on_change == "continue" and not barred:
            for line in changed:
                print(f"warning: the question has changed: {line}", file=sys.stderr)
            return ""
        raise self.changed(study.study_name, changed, barred)

    def changed(self, name: str, changed: list[str], barred: list[str]) -> StudyError:
        """The error for a study that asks another question.

        ``changed`` lists the differences, and ``barred`` the parameters for which Optuna would
        refuse to continue.
        """
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
        """Say why the command does not continue a study without a question; empty when it does.

        An empty study was left by a parent that died before it had introduced it. Any other is
        another program's; the sampler can learn from its trials when the user asks for that.
        Raises StudyError when the command has to be refused.
        """
        theirs = list(directions_of(study))
        trials = study.get_trials(deepcopy=False)
        if not trials and theirs == self.asked.settings.directions:
            return ""
        if self.asked.settings.on_change == "new":
            return "is another program's"
        # It has trials of another program: is there anything that Optuna could not continue?
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
        """List what Optuna would refuse: parameters with other choices or another kind of range."""
        reasons = dict[str, str]()
        for trial in study.get_trials(deepcopy=False):
            for name, theirs in trial.distributions.items():
                mine = self.asked.space.searched.get(name)
                if mine is not None and not questions.fits(*map(_plain, (theirs, mine))):
                    reasons.setdefault(name, f"{name} was searched in {theirs}, now in {mine}")
        return list(reasons.values())


def asks_something(study: optuna.Study) -> bool:
    """Whether a study has been introduced, now or within ``CREATION_SECONDS``.

    Another process may be creating it at this moment.
    """
    deadline = time.monotonic() + CREATION_SECONDS
    while not StudyAttributes.of(study).is_introduced and time.monotonic() < deadline:
        if study.get_trials(deepcopy=False):
            break  # sweepmore introduces a study before its first trial, so this is another's
        time.sleep(0.1)
    return StudyAttributes.of(study).is_introduced


def _plain(distribution: optuna.distributions.BaseDistribution) -> Mapping[str, Any]:
    return dict(json.loads(distribution_to_json(distribution)))
