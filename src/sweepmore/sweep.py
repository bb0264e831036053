"""The parent of a sweep: asks the question, opens the study, launches workers, follows them."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import DuplicatedStudyError

from sweepmore import question as questions
from sweepmore import show, slots
from sweepmore.cli import script_words
from sweepmore.composing import composing
from sweepmore.errors import Interrupted, StudyError
from sweepmore.follow import Follower
from sweepmore.frozen import Composer
from sweepmore.hydra_internals import BASIC_LAUNCHER
from sweepmore.jobs import Jobs
from sweepmore.join import freeze, search_of, work
from sweepmore.launch import WORKER_VARIABLE, Processes, resources
from sweepmore.note import write_note
from sweepmore.optuna_internals import storage_of
from sweepmore.overrides import override_text
from sweepmore.owner import this_process
from sweepmore.patience import heed
from sweepmore.question import Question
from sweepmore.record import ending
from sweepmore.results import write_results
from sweepmore.search import build_pruner, build_sampler
from sweepmore.settings import Sweep, check_name, read
from sweepmore.space import Space
from sweepmore.storage import existing_storage, open_storage, storage_errors
from sweepmore.studies import view
from sweepmore.worker import Search, too_many_failures

# How long another process may take between a study's name and what it asks (guess: some commits).
CREATION_SECONDS = 5.0


def sweep(
    arguments: Sequence[str], config: DictConfig, context: HydraContext, task: TaskFunction
) -> None:
    """Run a study as ``hydra.sweeper`` says, or a worker's part of one."""
    asked = read(arguments, config, context)
    with storage_errors(asked.url):
        if WORKER_VARIABLE in os.environ:
            part = json.loads(os.environ[WORKER_VARIABLE])
            stopped = work(asked, part, context, task)
            if stopped is not None:
                sys.exit(128 + stopped)
            return
        launcher = config.hydra.launcher.get("_target_", BASIC_LAUNCHER)
        Parent(asked, config, context, task, launcher).run()


@dataclass
class Parent:
    """Opens the study, launches workers, and until they are done plans, reaps and shows."""

    asked: Sweep
    config: DictConfig
    context: HydraContext
    task: TaskFunction
    launcher: str
    since: float = field(default_factory=time.time)

    @property
    def is_local(self) -> bool:
        """More workers than one under Hydra's basic launcher are processes of this machine."""
        return self.launcher == BASIC_LAUNCHER and self.asked.settings.n_jobs > 1

    def run(self) -> None:
        asked, sweep_dir = self.asked, self.sweep_dir()
        check_named(asked)
        base = self.compose_base()
        question = self.question(base)
        self.check_points()
        if asked.settings.dry:
            name, known = self.judge(question)
            show.preview(asked, name, known, self.workers_shown())
            print("dry run: nothing was started")
            return
        study = self.open(question)
        budget = {"n_trials": asked.n_trials, "grid": asked.gridded}
        study.set_user_attr("budget", budget)  # the last one that was asked for, for reports
        frozen = freeze(asked, study)
        search = search_of(asked, study, frozen, self.since)
        show.preview(asked, study.study_name, study, self.workers_shown())
        self.warn_of_new_code(study, search)
        follower = Follower(asked, study)
        stopped: int | None = None
        with follower:
            try:
                stopped = self.launch(study, search, follower)
            except Interrupted as interrupted:
                stopped = interrupted.signum
            heed(storage_of(study), lambda: stopped)
        if not ending(study.study_name):
            write_results(view(study), asked.space, search.folder, sweep_dir)
        show.closing(asked, study, search, follower.elapsed, stopped is not None)
        if stopped is not None:
            back = sum(a.attempt > 0 and a.reason is None for a in view(study).waiting)
            again = f"{back} unfinished {'trial' if back == 1 else 'trials'} will begin again"
            print(f"stopped: {again if back else 'no trial was lost'}; the same command goes on:")
            print(f"         {show.command_line(study.user_attrs)}")
            raise Interrupted(stopped)
        if (attempt := slots.without_objective(study, self.since)) is not None:
            raise show.no_objective(attempt)
        failed, finished = slots.failure_share(study, self.since)
        if too_many_failures(failed, finished, asked.n_trials, search):
            raise show.failures(view(study), failed, finished, asked)

    def sweep_dir(self) -> Path:
        """Hydra's, where other programs look for results: as the command was given, whatever the
        time and the working directory are at its end."""
        with composing():
            written = str(self.config.hydra.sweep.dir)
        return Path(written).absolute()

    def compose_base(self) -> DictConfig:
        """The config without the searched overrides, from the sources as they are now."""
        loader = self.context.config_loader
        with composing():
            return loader.load_sweep_config(self.config, list(self.asked.space.fixed))

    def question(self, base: DictConfig) -> Question:
        settings = self.asked.settings
        search = {
            "direction": settings.directions,
            "sampler": self.asked.sampler,
            "pruner": settings.pruner,
            "repeats": settings.repeats,
            "custom_search_space": settings.custom_search_space,
        }
        plain = without_hydra(base)
        ignore = [*settings.question_ignore, *(settings.repeats or {})]
        return questions.ask(self.asked.space.searched, plain, search, settings.identity, ignore)

    def derived_name(self, question: Question) -> str:
        """Of an unnamed study: the same question finds it again, another one makes another."""
        return f"{self.asked.job.lower().replace('_', '-')}-{questions.digest(question)}"

    def candidates(self, question: Question) -> list[str]:
        """The study's name, and what follows where it is taken by another question."""
        name = self.asked.settings.study_name or self.derived_name(question)
        check_name(name)
        return [name, *(f"{name}-{k}" for k in range(2, 1000))]

    def judge(self, question: Question) -> tuple[str, optuna.Study | None]:
        """What ``open`` would do or refuse, of a dry run, which creates nothing: the study's name,
        and the study itself where it exists."""
        names = self.candidates(question)
        storage = existing_storage(self.asked.url, self.asked.engine)
        if storage is None:
            return names[0], None
        known = set(optuna.get_all_study_names(storage))
        for name in names:
            if name not in known:
                return name, None
            study = optuna.load_study(study_name=name, storage=storage)
            if self.is_left_behind(study):
                return name, None
            if self.may_go_on(study, question):
                return name, study
        raise self.too_many_versions(names[0])

    def open(self, question: Question) -> optuna.Study:
        """Create the study, or go on with the one that asks the same."""
        settings, names = self.asked.settings, self.candidates(question)
        storage = open_storage(self.asked.url, self.asked.engine)
        pruner = build_pruner(settings.pruner)
        for candidate in names:
            try:
                study = optuna.create_study(
                    study_name=candidate,
                    storage=storage,
                    directions=settings.directions,
                    pruner=pruner,
                )
            except DuplicatedStudyError:
                study = optuna.load_study(study_name=candidate, storage=storage, pruner=pruner)
                if not self.is_left_behind(study):
                    if not self.may_go_on(study, question):
                        continue
                    words = self.command()["words"]
                    study.set_user_attr("command", {**study.user_attrs["command"], "words": words})
                    return study
            self.introduce(study, question)
            return study
        raise self.too_many_versions(names[0])

    def too_many_versions(self, name: str) -> StudyError:
        problem = f"{name} has 1,000 versions."
        return StudyError(problem, value=name, cure="Choose another name.")

    def introduce(self, study: optuna.Study, question: Question) -> None:
        """What a new study says of itself."""
        seed = self.asked.settings.seed
        study.set_user_attr("uid", secrets.token_hex(3))
        study.set_user_attr("seed", secrets.randbelow(2**32) if seed is None else seed)
        study.set_user_attr("command", self.command())
        as_text = [parameter.name for parameter in self.asked.space.parameters if parameter.as_text]
        study.set_user_attr("as_text", as_text)  # for readers that know Optuna's choices alone
        study.set_user_attr("question", question)  # last: whoever finds it finds all
        write_note(study)

    def is_left_behind(self, study: optuna.Study) -> bool:
        """Whether the process that created the study died before it had introduced it: it is
        empty and asks nothing, even after a while. StudyError where another program's is not."""
        name, deadline = study.study_name, time.monotonic() + CREATION_SECONDS
        while "question" not in study.user_attrs and time.monotonic() < deadline:
            time.sleep(0.1)  # another process is creating it
        if "question" in study.user_attrs:
            return False
        directions = [direction.name.lower() for direction in study.directions]
        if study.get_trials(deepcopy=False) or directions != self.asked.settings.directions:
            cure = "Choose another hydra.sweeper.study_name."
            problem = f"The study {name} was not made by sweepmore."
            raise StudyError(problem, value=name, cure=cure)
        return True

    def command(self) -> dict[str, list[str]]:
        """What confirm.py needs to run the study's configurations again: the application as it
        was called, and the overrides that all trials share; ``words`` are all, for people."""
        script = script_words()
        return {
            "script": script if script[0] == "-m" else [str(Path(script[0]).resolve())],
            "fixed": list(self.asked.space.fixed),
            "hydra": list(self.asked.hydra_overrides),
            "words": [
                word
                for word in (*self.asked.arguments, *self.asked.hydra_overrides)
                if not word.startswith("hydra.mode=")  # which is -m
            ],
        }

    def may_go_on(self, study: optuna.Study, question: Question) -> bool:
        """Whether an existing study asks the same; False sends on to the next name."""
        name = study.study_name
        changed = questions.changes(study.user_attrs["question"], question)
        barred = questions.barred(study.user_attrs["question"], question)
        if not changed or (self.asked.settings.on_change == "continue" and not barred):
            for line in changed:
                print(f"warning: the question has changed: {line}", file=sys.stderr)
            return True
        if self.asked.settings.on_change == "new":
            return False
        go_on = (
            f"It cannot go on with both: Optuna takes no other choices and no other kind of range "
            f"for {', '.join(barred)}."
            if barred
            else "To go on all the same, with trials of both questions in one study: "
            "hydra.sweeper.on_change=continue."
        )
        raise StudyError(
            f"The study {name} asks another question; it was → it is now:\n    "
            + "\n    ".join(changed),
            value=changed,
            cure="Take that back, or begin another study by another hydra.sweeper.study_name "
            f"(hydra.sweeper.on_change=new finds one). {go_on}",
        )

    def warn_of_new_code(self, study: optuna.Study, search: Search) -> None:
        codes = {str(a.attrs["code"]) for a in view(study).attempts if "code" in a.attrs}
        earlier = codes - {search.code}
        if earlier:
            print(
                f"warning: the code has changed since earlier trials ({', '.join(sorted(earlier))}"
                f" → {search.code}); each trial records its own",
                file=sys.stderr,
            )

    def workers_shown(self) -> str:
        count = self.asked.settings.n_jobs
        if self.is_local:
            threads = resources(0, count).get("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS"))
            each = f"{threads} {'thread' if threads == '1' else 'threads'} each"
            return f"{count} local processes, {each}"
        if self.launcher == BASIC_LAUNCHER:
            return "1, this process; more with hydra.sweeper.n_jobs"
        return f"{count} by {self.launcher.rpartition('.')[2]}"

    def check_points(self) -> None:
        """Compose the bounds, every choice that is a text, whose group's option may not exist, and
        what is repeated; the function that tells a config's identity refuses one that cannot be."""
        loader = self.context.config_loader
        composer = Composer(loader, self.asked.config_name, self.asked.hydra_overrides)
        for values in sample_points(self.asked.space):
            overrides = [*self.asked.space.fixed, *self.asked.space.overrides(values)]
            config = composer.compose(overrides)
            if self.asked.settings.identity is not None:
                questions.identify(self.asked.settings.identity, without_hydra(config))
        for key, repeated in (self.asked.settings.repeats or {}).items():
            for value in repeated:
                composer.compose([*overrides, f"{key}={override_text(value)}"])

    def launch(self, study: optuna.Study, search: Search, follower: Follower) -> int | None:
        """Block until no trial is left to take; returns the signal that ended it, or None."""
        crew = (self.asked, study, search, follower.stopping)
        if self.is_local:
            return Processes(*crew).run()
        if self.launcher != BASIC_LAUNCHER:
            return Jobs(*crew, self.config, self.context, self.task).run()
        part = {
            "study": study.study_name,
            "index": 0,
            "parent": this_process(),
            "since": self.since,
        }
        return work(self.asked, part, self.context, self.task)


def check_named(asked: Sweep) -> None:
    """What the settings name is there, and takes the arguments that it is given."""
    for key in ("identity", "custom_search_space"):
        if (path := getattr(asked.settings, key)) is not None:
            questions.function_at(path, f"hydra.sweeper.{key}")
    build_sampler(asked.sampler, asked.space, worker=0, trials_so_far=0, base_seed=0)
    build_pruner(asked.settings.pruner)


def without_hydra(config: DictConfig) -> DictConfig:
    """The application's own part of a composed config."""
    plain = config.copy()
    OmegaConf.set_struct(plain, False)
    del plain["hydra"]
    return plain


def sample_points(space: Space) -> list[dict[str, Any]]:
    """The low ends and first choices, the high ends, and each other text in a first point."""
    first = {name: _end(one, "low") for name, one in space.searched.items()}
    points = [first, {name: _end(one, "high") for name, one in space.searched.items()}]
    for name, one in space.searched.items():
        if isinstance(one, CategoricalDistribution):
            texts = [choice for choice in one.choices[1:] if isinstance(choice, str)]
            points += [{**first, name: choice} for choice in texts]
    return points


def _end(one: BaseDistribution, end: str) -> Any:
    return one.choices[0] if isinstance(one, CategoricalDistribution) else getattr(one, end)
