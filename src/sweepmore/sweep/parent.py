"""The parent of a sweep: asks the question, opens the study, launches workers, follows them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf, read_write
from optuna.distributions import BaseDistribution, CategoricalDistribution

from sweepmore.compose import question as questions
from sweepmore.compose.composing import as_typed, composing
from sweepmore.compose.frozen import Composer
from sweepmore.compose.hydra_internals import BASIC_LAUNCHER
from sweepmore.compose.overrides import override_text
from sweepmore.compose.question import Question
from sweepmore.compose.samplers import build_pruner, build_sampler
from sweepmore.compose.settings import Sweep, read
from sweepmore.compose.space import Space
from sweepmore.errors import Interrupted
from sweepmore.process.identity import on_this_host, this_process
from sweepmore.process.signals import Stop
from sweepmore.runs.names import ending
from sweepmore.storage.opening import existing_storage, open_storage, storage_errors
from sweepmore.storage.patience import Outage
from sweepmore.study import slots
from sweepmore.study.attributes import Budget, StudyAttributes, SweepDir
from sweepmore.study.view import view
from sweepmore.sweep import terminal
from sweepmore.sweep.context import StudyContext, context_of, freeze, too_many_failures
from sweepmore.sweep.folders import check_subdir
from sweepmore.sweep.follow import Follower
from sweepmore.sweep.jobs import Jobs
from sweepmore.sweep.processes import WORKER_VARIABLE, Processes, resources, starts_again
from sweepmore.sweep.results import write_results
from sweepmore.sweep.versions import Versions
from sweepmore.sweep.worker import ParentHere, work
from sweepmore.wording import plural, shown_path


def sweep(
    arguments: Sequence[str], config: DictConfig, context: HydraContext, task: TaskFunction
) -> None:
    """Run a study as ``hydra.sweeper`` says, or a worker's part of one."""
    asked = read(arguments, config, context)
    with storage_errors(asked.url):
        if WORKER_VARIABLE in os.environ:
            part = json.loads(os.environ[WORKER_VARIABLE])
            words = [word for word in asked.hydra_overrides if word not in part["quiet"]]
            asked = replace(asked, hydra_overrides=tuple(words))
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
        many = self.launcher == BASIC_LAUNCHER and self.asked.settings.n_jobs > 1
        return many and starts_again(self.asked.command["words"])

    def run(self) -> None:
        asked, resolved = self.asked, self.sweep_dir()
        check_named(asked)
        base = self.compose_base()
        question = self.question(base)
        versions = Versions(asked, question, self.placed(resolved))
        if asked.settings.dry:
            version = versions.choose(existing_storage(asked.url, asked.engine))
            terminal.preview(asked, version.named, version.study, self.workers_shown())
            print("dry run: nothing was started")
            return
        stop, outage = Stop(), Outage()
        storage = open_storage(asked.url, asked.engine, stop=stop, outage=outage)
        version = versions.open(storage)
        study = version.study
        assert study is not None
        StudyAttributes(budget=Budget(asked.n_trials, asked.gridded)).keep(study)
        self.warn_of_lost_folders(study)
        frozen = freeze(asked, study)
        shared = context_of(asked, study, frozen, self.since)
        terminal.preview(asked, version.named, study, self.workers_shown())
        self.warn_of_new_code(study, shared)
        sweep_dir = self.make_sweep_dir(shared, study, asked.cwd / resolved)
        follower = Follower(asked, study)
        with follower:
            try:
                stopped = self.launch(study, shared, follower, outage)
            except Interrupted as interrupted:
                stopped = interrupted.signum
            stop.signum = stopped
        if not ending(study.study_name):
            write_results(view(study), asked.space, shared.folder, sweep_dir)
        terminal.closing(asked, study, shared, follower.elapsed, stopped is not None)
        if stopped is not None:
            back = sum(a.attempt > 0 and a.reason is None for a in view(study).waiting)
            again = f"{plural(back, 'unfinished trial')} will begin again"
            print(f"stopped: {again if back else 'no trial was lost'}; the same command goes on:")
            print(f"         {terminal.command_line(asked.command, here=True)}")
            raise Interrupted(stopped)
        if (attempt := slots.without_objective(study, self.since)) is not None:
            raise terminal.no_objective(attempt)
        failed, finished = slots.failure_share(study, self.since)
        if too_many_failures(failed, finished, asked.n_trials, shared):
            raise terminal.failures(view(study), failed, finished, asked)

    def sweep_dir(self) -> str:
        """Hydra's, where other programs look for results, as it is when the command is given."""
        with composing():
            return str(self.config.hydra.sweep.dir)

    def make_sweep_dir(self, shared: StudyContext, study: optuna.Study, resolved: Path) -> Path:
        """Where the study's results are left, and its trials where they lie in Hydra's sweep dir;
        the launcher and callbacks find it in the config, and on the disk."""
        kept = StudyAttributes.of(study).sweep_dir
        if (kept and kept.written) != self.asked.sweep_dir:
            print(
                f"warning: hydra.sweep.dir has changed; the trials of {study.study_name} stay in "
                f"{shared.sweep_dir or shared.folder}",
                file=sys.stderr,
            )
        sweep_dir = shared.sweep_dir or resolved
        if shared.sweep_dir is not None:
            with read_write(self.config.hydra):  # since 1.4 it is closed in a sweeper
                self.config.hydra.sweep.dir = str(sweep_dir)
        if shared.sweep_dir is not None or self.config.hydra.get("callbacks"):
            sweep_dir.mkdir(parents=True, exist_ok=True)
        return sweep_dir

    def compose_base(self) -> DictConfig:
        """The config without the searched overrides, from the sources as they are now."""
        loader = self.context.config_loader
        words = [*as_typed(self.config.hydra.overrides.hydra), *self.asked.space.fixed]
        with composing():
            # as for a multirun, where a group that is searched may have no option yet
            base = loader.load_configuration(self.asked.config_name, words, RunMode.MULTIRUN)
            OmegaConf.copy_cache(from_config=self.config, to_config=base)
            return base

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
        return questions.ask(self.asked.space.searched, plain, search, self.check_points, ignore)

    def placed(self, resolved: str) -> SweepDir | None:
        """Where a new study's trials lie in Hydra's sweep dir; None where they do not."""
        written = self.asked.sweep_dir
        return None if written is None else SweepDir(written, resolved)

    def warn_of_lost_folders(self, study: optuna.Study) -> None:
        """What a study's trials left is gone with its folder, their values are not. Of other hosts
        and places nothing is known here."""
        folders = Counter(
            a.attrs.folder.parent
            for a in view(study).attempts
            if a.attrs.folder is not None and a.owner is not None and on_this_host(a.owner)
        )
        for folder, trials in folders.items():
            if folder.parent == self.asked.outputs / "studies" and not folder.exists():
                print(
                    f"warning: {shown_path(folder)} was removed, with the files of "
                    f"{plural(trials, 'trial')}. Their values still count; new trials use the "
                    "config files as they are now",
                    file=sys.stderr,
                )

    def warn_of_new_code(self, study: optuna.Study, shared: StudyContext) -> None:
        codes = {a.attrs.code for a in view(study).attempts if a.attrs.code is not None}
        earlier = codes - {shared.code}
        if earlier:
            print(
                f"warning: the code has changed since earlier trials ({', '.join(sorted(earlier))}"
                f" → {shared.code}); each trial records its own",
                file=sys.stderr,
            )

    def workers_shown(self) -> str:
        count = self.asked.settings.n_jobs
        if self.is_local:
            threads = resources(0, count).get("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS"))
            each = f"{threads} {'thread' if threads == '1' else 'threads'} each"
            return f"{count} local processes, {each}"
        if self.launcher == BASIC_LAUNCHER and count > 1:
            return "1, this process: its command line is that of another program"
        if self.launcher == BASIC_LAUNCHER:
            return "1, this process; more with hydra.sweeper.n_jobs"
        return f"{count} by {self.launcher.rpartition('.')[2]}"

    def check_points(self) -> Any:
        """Compose the bounds, every choice that is a text, whose group's option may not exist, and
        what is repeated. Returns the identity: what the application's function says of these
        configs, which are those of trials. Without the searched values there is none to ask of,
        and one that a searched value decides differs from point to point."""
        loader, repeats = self.context.config_loader, self.asked.settings.repeats or {}
        composer = Composer(loader, self.asked.config_name, self.asked.hydra_overrides)
        first = [f"{key}={override_text(repeated[0])}" for key, repeated in repeats.items()]
        answers = []
        for number, values in enumerate(sample_points(self.asked.space)):
            overrides = [*self.asked.space.fixed, *self.asked.space.overrides(values)]
            config = composer.compose([*overrides, *first])
            if self.asked.sweep_dir is not None and number == 0:
                check_subdir(config)
            if (path := self.asked.settings.identity) is not None:
                answers.append(questions.identify(path, without_hydra(config)))
        for key, repeated in repeats.items():
            for value in repeated:
                composer.compose([*overrides, f"{key}={override_text(value)}"])
        return questions.agreed(answers)

    def launch(
        self, study: optuna.Study, shared: StudyContext, follower: Follower, outage: Outage
    ) -> int | None:
        """Block until no trial is left to take; returns the signal that ended it, or None."""
        crew = (self.asked, study, shared, follower.stopping, lambda: follower.gone)
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
        here = ParentHere(lambda: follower.gone, outage)
        return work(self.asked, part, self.context, self.task, here)


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
    """The low ends and first choices, the high and last ones, and each text between these in a
    first point."""
    first = {name: _end(one, "low") for name, one in space.searched.items()}
    points = [first, {name: _end(one, "high") for name, one in space.searched.items()}]
    for name, one in space.searched.items():
        if isinstance(one, CategoricalDistribution):
            texts = [choice for choice in one.choices[1:-1] if isinstance(choice, str)]
            points += [{**first, name: choice} for choice in texts]
    return points


def _end(one: BaseDistribution, end: str) -> Any:
    if isinstance(one, CategoricalDistribution):
        return one.choices[0 if end == "low" else -1]
    return getattr(one, end)
