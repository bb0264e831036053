"""What ``sweepmore confirm`` does: retrain the best with fresh seeds, and name a winner."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from sweepmore.confirm.printing import print_left_out, print_noise, print_outcome
from sweepmore.confirm.retrain import Plan, Workers, folder_of, train_again
from sweepmore.confirm.rounds import (
    check_repeats,
    final_plan,
    noise_plan,
    round_suffix,
    rounds,
    told_unconfirmed,
    unconfirmed,
)
from sweepmore.confirm.winner import Candidate, Outcome, candidates, confirm
from sweepmore.errors import StudyError
from sweepmore.runs.files import write_json
from sweepmore.runs.names import CONFIRM, FINAL, NOISE, searched_name
from sweepmore.statistics.intervals import t_interval
from sweepmore.study.attempts import Attempt
from sweepmore.study.attributes import FinalSeeds, StudyAttributes, Winner, WinnerRow
from sweepmore.study.loading import load
from sweepmore.study.view import view
from sweepmore.study.winners import TESTED_BEFORE, keep_tested_run, tested
from sweepmore.sweep.note import write_note
from sweepmore.wording import fitted, plural


@dataclass(frozen=True)
class Trainer:
    """Trains the configurations of a plan as a study of their own.

    A study that is already complete is only read, so rerunning the command repeats no work.
    """

    database: optuna.storages.BaseStorage
    searched: optuna.Study
    workers: Workers  # which keep what they train in `database`

    def train(self, plan: Plan, suffix: str) -> list[Candidate]:
        """Return the plan's configurations with their values, best first.

        Configurations that failed or diverged under any seed are left out, because their mean
        cannot be compared. The study's name is that of the search followed by ``suffix``. Raises
        SystemExit with the exit code of the application's command when that command fails.
        """
        name, chosen = self.searched.study_name + suffix, plan.chosen(self.searched)
        if not self._is_done(name, len(chosen)):
            what = (
                "the winner" if suffix.startswith(FINAL) else plural(len(chosen), "configuration")
            )
            kind = "final" if suffix.startswith(FINAL) else "fresh"
            seeds, runs = len(plan.seeds), len(chosen) * len(plan.seeds)
            print(f"{name}: {what} × {plural(seeds, f'{kind} seed')}, {plural(runs, 'run')}",
                  flush=True)  # fmt: skip
            train_again(self.searched, chosen, plan, name, self.workers)
        return candidates(chosen, view(load(self.database, name)))

    def _is_done(self, name: str, trials: int) -> bool:
        names = optuna.get_all_study_names(self.database)
        return name in names and len(view(load(self.database, name)).counted) == trials


@dataclass(frozen=True)
class Request:
    """What the user of ``sweepmore confirm`` asks for."""

    study: str  # the search, or any part of its confirmation
    top: int  # how many of the best configurations are confirmed
    seeds: int  # how many seeds each gets that the search has not used
    noise: bool  # train the best one alone, to measure the noise
    seed_key: str  # the application's setting that holds the seed
    shared: tuple[int, ...] = ()  # the seeds, where they are those of another confirmation


def run(database: optuna.storages.BaseStorage, request: Request, workers: Workers) -> str:
    """Train the requested configurations with fresh seeds, and the winner with as many final ones.

    Prints the outcome, keeps the winner with its study, and returns the name of the search. Only
    missing runs are trained, so an interrupted confirmation continues where it stopped. Raises
    StudyError when the search has no complete trial, when the confirmation has begun with other
    seeds, or when every configuration fails.
    """
    searched = load(database, searched_name(request.study))
    trainer = Trainer(database, searched, workers)
    seeds, seed_key = request.seeds, request.seed_key
    check_repeats(searched, seed_key)
    # To measure noise, one configuration suffices, because only the spread over seeds is wanted.
    if request.noise:
        measured = trainer.train(noise_plan(searched, seeds, seed_key), NOISE)
        if not measured:
            raise nothing_left(searched.study_name + NOISE)
        deviation = statistics.stdev(measured[0].values)
        StudyAttributes(noise=deviation, noise_freedom=seeds - 1).write(searched)
        write_note(searched)  # its verdict can now tell which trials are tied
        trials = len(view(searched).counted)
        print_noise(deviation, seeds, trials=trials, beside=measured[0].mean)
        return searched.study_name
    if news := told_unconfirmed(unconfirmed(searched)):
        print(fitted(f"since    {news}: another round, with the same seeds"), flush=True)
    # Train every round with the same fresh seeds, so that differences between configurations are
    # paired. Then train the winner with final seeds: those that chose it flatter it.
    plans = rounds(searched, request.top, seeds, seed_key, request.shared)
    chosen = [attempt for plan in plans for attempt in plan.chosen(searched)]
    trained = [
        candidate
        for number, plan in enumerate(plans, 1)
        for candidate in trainer.train(plan, round_suffix(number))
    ]
    outcome = settle(trainer, plans[0], trained, among=len(chosen))
    # Keep the winner in three places: its study is what opens the seal, the note is for the
    # dashboard, and winner.json is for other programs. Which run was tested is stored before, so
    # that the test result of an earlier winner is not taken for that of the new one.
    confirmed = load(database, searched.study_name + CONFIRM)
    winner = winner_of(outcome, confirmed.study_name, chosen, plans)
    keep_tested_run(confirmed)
    StudyAttributes(winner=winner).write(confirmed)
    write_note(searched)
    write_json(folder_of(confirmed).parent / "winner.json", winner.written())
    # Say what came of it, and of which configurations nothing did.
    print_outcome(outcome, winner)
    if tested(StudyAttributes.of(confirmed)) == "another":
        print(f"test     {TESTED_BEFORE}")
    print_left_out(chosen, outcome)
    return searched.study_name


def settle(trainer: Trainer, plan: Plan, trained: Sequence[Candidate], among: int) -> Outcome:
    """Choose the winner of the ``trained`` candidates, and train it with final seeds.

    ``among`` is how many configurations were to be trained. A single one was not chosen by its
    fresh seeds, so these are reported and no final ones are needed. When a winner fails under a
    final seed, it is left out and the next best wins. Raises StudyError when no candidate is left.
    """
    searched, left = trainer.searched, list(trained)
    while left:
        confirmation = confirm(left, view(searched).sign())
        winner = confirmation.winner
        if among == 1:
            return Outcome(confirmation, winner, plan.seeds)
        suffix, last = final_plan(searched, winner, plan)
        if final := trainer.train(last, suffix):
            return Outcome(confirmation, final[0], last.seeds)
        left.remove(winner)
    raise nothing_left(searched.study_name + CONFIRM)


def nothing_left(name: str) -> StudyError:
    """The error for a confirmation whose configurations all failed."""
    cure = "Look at its failures, then rerun the same command to continue."
    return StudyError(f"{name} confirmed nothing.", value=name, cure=cure)


def winner_of(
    outcome: Outcome, study: str, chosen: Sequence[Attempt], plans: Sequence[Plan]
) -> Winner:
    """Make the record that opens the seal: the winner's parameters and the values to report.

    It names one run, that of the seed with the lower median value, because that checkpoint is
    typical and not the luckiest. The sha256 of each of its files shows later that the tested
    checkpoint is the confirmed one. Trials have the numbers that they had in the search.
    """
    confirmation, final = outcome.confirmation, outcome.final
    run = Path(final.folder) / str(final.median_seed)
    return Winner(
        study=study,
        trial=final.searched_root,
        params=final.params,
        searched=final.searched,
        mean=final.mean,
        half_width=t_interval(final.values).half,
        selection_bias=final.bias,
        tied=len(confirmation.tied),
        rows=tuple(
            WinnerRow(
                trial=row.candidate.searched_root,
                params=row.candidate.params,
                searched=row.candidate.searched,
                mean=row.candidate.mean,
                half_width=row.interval.half,
                tied=row.tied,
            )
            for row in confirmation.rows
        ),
        seeds=len(outcome.seeds),
        seed=outcome.seeds[final.median_seed],
        run=run,
        files={
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(run.glob("*"))
            if path.is_file()
        },
        final=FinalSeeds(outcome.seeds, final.values) if outcome.has_final_seeds else None,
        roots=tuple(attempt.root for attempt in chosen),
        top=max(plan.top for plan in plans),  # a smaller top later takes nothing back
        rounds=len(plans),
    )
