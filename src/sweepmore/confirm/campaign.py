"""How a campaign begins, who is its champion, and with which seeds that one runs.

A champion's runs are fresh: neither its search, nor its confirmation, nor the challenge that made
it has used their seeds, because what has chosen a configuration flatters it.
"""

from __future__ import annotations

import contextlib
import fcntl
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import optuna

from sweepmore.compose import question as questions
from sweepmore.confirm.retrain import Plan, Workers, of_again, own_folder, values_of
from sweepmore.confirm.rounds import begun, begun_rounds, searched_seeds
from sweepmore.confirm.seeded import Seeded, of_typed, of_winner
from sweepmore.confirm.snapshot import CODE, Snapshot, hashes, root_of
from sweepmore.confirm.winner import fresh_seeds
from sweepmore.errors import StudyError
from sweepmore.runs.names import CHALLENGE, CHAMPION, CONFIRM, FINAL
from sweepmore.runs.places import Place
from sweepmore.statistics.sequential import Rules, Skewness
from sweepmore.storage.optuna_internals import storage_of
from sweepmore.study.application import Application
from sweepmore.study.attributes import StudyAttributes, Winner
from sweepmore.study.campaigns import (
    Campaign,
    Challenge,
    campaign_folder,
    challenges_of,
    champions_of,
)
from sweepmore.study.parts import application_of, confirmation_of, parts_of
from sweepmore.study.terms import Terms
from sweepmore.study.view import directions_of, view
from sweepmore.sweep.command_lines import single_run
from sweepmore.sweep.context import study_folder


@dataclass(frozen=True)
class Ground:
    """Where the challenges of a study happen: its database, its code, its workers."""

    searched: optuna.Study
    place: Place
    root: Path  # of the application's code
    workers: Workers

    @property
    def folder(self) -> Path:
        """The campaign's folder in the study's."""
        return campaign_folder(study_folder(self.place.outputs, self.searched))

    @property
    def sign(self) -> float:
        """1 where a lower value is better, else -1."""
        return view(self.searched).sign()

    def snapshot(self, number: int) -> Snapshot:
        """The code of a challenge, or of champion 0."""
        outputs = self.place.outputs.resolve()
        return Snapshot(self.root, self.folder / f"{number:03d}" / CODE, outputs)

    def challenger(self, challenge: Challenge, campaign: Campaign) -> Seeded:
        """The runs of a challenge, by the seeds of the champion that it meets."""
        name = f"{self.searched.study_name}{CHALLENGE}{challenge.number}"
        return self._typed(challenge, campaign, name, self.seeds(challenge.champion, campaign))

    def champion(self, number: int, campaign: Campaign) -> Seeded:
        """The fresh runs of a champion: of the winner, or of the challenge that made it."""
        name, seeds = f"{self.searched.study_name}{CHAMPION}{number}", self.seeds(number, campaign)
        if number:
            made_it = next(c for c in challenges_of(self.searched) if c.number == number)
            return self._typed(made_it, campaign, name, seeds)
        # The winner's command, with the config files of its search and the code of the beginning.
        # The plan is what `as_found` reads in each trial of a study with a custom_search_space.
        plan = Plan.kept(self.searched, f"{CHAMPION}{number}")
        if plan is None:  # kept from now on: a later confirmation may have another winner
            roots = (winner_of(self.searched).trial,) * campaign.cap
            plan = Plan(1, roots, seeds, campaign.seed_key)
            plan.write(self.searched, f"{CHAMPION}{number}")
        snapshot = self.snapshot(number)
        typed_in = Path(own_folder(StudyAttributes.of(self.searched).command) or self.root)
        words = of_winner(self.searched, plan, snapshot, self.workers, name)
        return self._seeded(name, words, seeds, snapshot.place(typed_in), number, campaign)

    def seeds(self, champion: int, campaign: Campaign) -> tuple[int, ...]:
        """The seeds of a champion, as many as the cap: they are the campaign's, nobody's choice."""
        at = champions_of(challenges_of(self.searched)).index(champion) * campaign.cap
        uid = StudyAttributes.of(self.searched).uid
        return tuple(fresh_seeds(uid, at + campaign.cap, campaign.used)[at:])

    def _typed(
        self, challenge: Challenge, campaign: Campaign, name: str, seeds: Sequence[int]
    ) -> Seeded:
        snapshot = self.snapshot(challenge.number)
        direction = directions_of(self.searched)[0]
        settings = of_again(name, [], direction, self.workers)
        typed = of_typed(
            self.searched, snapshot.words(challenge.words), campaign.seed_key, settings, seeds
        )
        folder = snapshot.folder / challenge.folder
        return self._seeded(name, typed, tuple(seeds), folder, challenge.number, campaign)

    def _seeded(
        self,
        name: str,
        words: tuple[str, ...],
        seeds: tuple[int, ...],
        folder: Path,
        number: int,
        campaign: Campaign,
    ) -> Seeded:
        end = name.removeprefix(self.searched.study_name).strip(".")
        log = self.folder / f"{number:03d}" / f"{end}.log"
        return Seeded(name, words, seeds, folder, self.snapshot(number), campaign, log)


def ground_of(searched: optuna.Study, place: Place, jobs: int) -> Ground:
    """The ground of a study's challenges: the code is that of the folder where it was started."""
    root = root_of(Path(own_folder(StudyAttributes.of(searched).command) or Path.cwd()).resolve())
    return Ground(searched, place, root, Workers(jobs, place.storage, place.outputs))


@contextlib.contextmanager
def turn(folder: Path, waiting: str) -> Iterator[None]:
    """Hold the campaign for the block; print ``waiting`` where another command has it.

    The system releases the lock when the process that holds it dies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(waiting, file=sys.stderr, flush=True)  # stdout may be JSON
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def begin(ground: Ground, rules: Rules) -> Campaign:
    """Begin a campaign against the study's confirmed winner, whose code is kept.

    Raises StudyError where no winner is confirmed, or where the code has changed since.
    """
    searched = ground.searched
    winner, plan = winner_of(searched), begun(searched, CONFIRM)
    assert plan is not None  # the winner was confirmed by it
    refuse_other_code(ground)
    application = application_of(searched) or Application()
    question = StudyAttributes.of(searched).question
    parts = [*begun_rounds(searched), *filter(None, [Plan.kept(searched, FINAL)])]
    used = {*searched_seeds(searched, plan.seed_key), *(s for part in parts for s in part.seeds)}
    snapshot = ground.snapshot(0)
    if not snapshot.exists:
        shutil.rmtree(snapshot.folder.parent, ignore_errors=True)  # of a command that was killed
        snapshot.take()
    campaign = Campaign(
        horizon=rules.horizon,
        cap=rules.cap,
        alpha=rules.alpha,
        seed_key=plan.seed_key,
        used=tuple(sorted(used)),
        terms=Terms.of(question, application, winner.params),
        evaluators=evaluators_in(snapshot, application),
        begun=now(),
    )
    campaign.write(searched)
    return campaign


def evaluators_in(snapshot: Snapshot, application: Application) -> Mapping[str, str]:
    """The files that decide what a value means → their sha256, in a copy of the code."""
    root = snapshot.root if application.root is None else Path(application.root)
    return hashes(snapshot.place(root), application.evaluators)


def winner_of(searched: optuna.Study) -> Winner:
    """The confirmed winner of a study. Raises StudyError where there is none."""
    confirmed = confirmation_of(searched)
    winner = None if confirmed is None else StudyAttributes.of(confirmed).winner
    if winner is None:
        name = searched.study_name
        cure = f"A champion is a confirmed winner: sweepmore confirm {name}"
        raise StudyError(f"{name} has no champion yet.", value=name, cure=cure)
    return winner


def champion_command(searched: optuna.Study) -> str:
    """The command of the present champion, as a single run that can be typed here."""
    challenges = challenges_of(searched)
    if number := champions_of(challenges)[-1]:
        return shlex.join(next(c.words for c in challenges if c.number == number))
    winner = winner_of(searched)
    trial = next(each for each in view(searched).ranked if each.root == winner.trial)
    words = values_of(trial, [*winner.params])
    return single_run(StudyAttributes.of(searched).command, words)


def refuse_other_code(ground: Ground) -> None:
    """Raise StudyError where the code is not what the winner was confirmed with.

    Studies of older versions do not say which code they ran.
    """
    searched = ground.searched
    ran = {a.attrs.code for part in parts_of(searched) for a in view(part).counted} - {None}
    attributes = StudyAttributes.of(searched)
    application = application_of(searched) or Application()
    folders = filter(None, [attributes.command.get("folder"), application.root])
    present = {questions.code_hash(Path(folder)) for folder in folders}
    if ran and not ran & present:
        name = searched.study_name
        raise StudyError(
            f"The code has changed since {name} was confirmed, so its winner cannot run again.",
            value=name,
            cure=f"Undo the changes (git stash), begin with sweepmore challenge {name}, which "
            "keeps the champion's code, and make them again (git stash pop).",
        )


def noise_before(ground: Ground, challenges: Sequence[Challenge], champion: int) -> Skewness:
    """The skewness of noise as earlier runs show it, without those of the present champion."""
    groups: list[Sequence[float]] = [
        [value for value in attempt.attrs.repeats or () if value is not None]
        for part in parts_of(ground.searched)
        for attempt in view(part).counted
    ]
    groups += [challenge.values for challenge in challenges]
    for number in champions_of(challenges):
        met = [c.champion_values for c in challenges if c.champion == number != champion]
        groups.append(max(met, key=len, default=()))
    return Skewness.of(groups)


def forget(ground: Ground, challenge: Challenge) -> None:
    """Remove what a challenge has left that was refused before any of its runs began."""
    name = f"{ground.searched.study_name}{CHALLENGE}{challenge.number}"
    if name not in optuna.get_all_study_names(storage_of(ground.searched)):
        challenge.erase(ground.searched)
        shutil.rmtree(ground.snapshot(challenge.number).folder.parent, ignore_errors=True)


def now() -> str:
    """The time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
