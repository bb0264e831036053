"""``confirm.py``: the best configurations with fresh seeds, a winner, and what final seeds say."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from sweepmore.confirm.retrain import Plan, folder_of, train_again
from sweepmore.confirm.rounds import (
    check_repeats,
    final_plan,
    noise_plan,
    round_suffix,
    rounds,
    told_unconfirmed,
    unconfirmed,
)
from sweepmore.confirm.winner import Candidate, Confirmation, Row, candidates, confirm
from sweepmore.errors import StudyError, did_you_mean
from sweepmore.runs.files import write_json
from sweepmore.runs.finding import last_begun, listed
from sweepmore.runs.names import CONFIRM, FINAL, NOISE, searched_name
from sweepmore.statistics.intervals import (
    Interval,
    smallest_difference,
    smallest_single,
    t_interval,
)
from sweepmore.study.attempts import Attempt, words
from sweepmore.study.attributes import FinalSeeds, StudyAttributes, Winner, WinnerRow
from sweepmore.study.view import view
from sweepmore.study.winners import TESTED_BEFORE, keep_tested_run, seeds_of, tested
from sweepmore.sweep.note import write_note
from sweepmore.wording import decimals, plural, plus_minus, shown_path


@dataclass(frozen=True)
class Trainer:
    """Trains the configurations of a plan as a study of their own; one that is done is only read.

    ``storage`` is the URL of ``database`` as it was written.
    """

    database: optuna.storages.BaseStorage
    searched: optuna.Study
    n_jobs: int
    storage: str | None
    outputs: Path

    def train(self, plan: Plan, suffix: str) -> list[Candidate]:
        """Those that neither failed nor diverged under one of the seeds."""
        name, chosen = self.searched.study_name + suffix, plan.chosen(self.searched)
        if not self._is_done(name, len(chosen)):
            what = (
                "the winner" if suffix.startswith(FINAL) else plural(len(chosen), "configuration")
            )
            kind = "final" if suffix.startswith(FINAL) else "fresh"
            seeds, runs = len(plan.seeds), len(chosen) * len(plan.seeds)
            print(f"{name}: {what} × {plural(seeds, f'{kind} seed')}, {plural(runs, 'run')}",
                  flush=True)  # fmt: skip
            train_again(self.searched, chosen, plan, name, self.n_jobs, self.storage, self.outputs)
        return candidates(chosen, view(load(self.database, name)))

    def _is_done(self, name: str, trials: int) -> bool:
        names = optuna.get_all_study_names(self.database)
        return name in names and len(view(load(self.database, name)).counted) == trials


@dataclass(frozen=True)
class Outcome:
    """A confirmation, and its winner with the values to report, of ``seeds``: final ones, or of a
    single configuration, among which none was chosen, its fresh ones."""

    confirmation: Confirmation
    final: Candidate
    seeds: tuple[int, ...]

    @property
    def has_final_seeds(self) -> bool:
        return self.final is not self.confirmation.winner


def run(
    database: optuna.storages.BaseStorage,
    *,
    study: str,
    top: int,
    seeds: int,
    noise: bool,
    seed_key: str,
    n_jobs: int,
    storage: str | None,
    outputs: Path,
) -> str:
    """Train the best ``top`` of the study (with ``noise``: the best one) with ``seeds`` fresh
    seeds and the winner with as many final ones, then print what that says; returns the study's
    name. Where that has been done, what is missing of it alone is trained."""
    searched = load(database, searched_name(study))
    trainer = Trainer(database, searched, n_jobs, storage, outputs)
    check_repeats(searched, seed_key)
    if noise:
        measured = trainer.train(noise_plan(searched, seeds, seed_key), NOISE)
        if not measured:
            raise nothing_left(searched.study_name + NOISE)
        report_noise(searched, measured[0], seeds)
        return searched.study_name
    if told := told_unconfirmed(unconfirmed(searched)):
        print(f"since    {told}: another round, with the same seeds", flush=True)
    plans = rounds(searched, top, seeds, seed_key)
    chosen = [attempt for plan in plans for attempt in plan.chosen(searched)]
    trained = [
        candidate
        for number, plan in enumerate(plans, 1)
        for candidate in trainer.train(plan, round_suffix(number))
    ]
    outcome = settle(trainer, plans[0], trained, among=len(chosen))
    confirmed = load(database, searched.study_name + CONFIRM)
    winner = winner_of(outcome, confirmed.study_name, chosen, plans)
    keep_tested_run(confirmed)
    StudyAttributes(winner=winner).keep(confirmed)
    write_note(searched, winner)
    write_json(folder_of(confirmed).parent / "winner.json", winner.written())
    print_table(outcome, winner)
    if tested(StudyAttributes.of(confirmed)) == "another":
        print(f"test     {TESTED_BEFORE}")
    kept = [row.candidate.searched_root for row in outcome.confirmation.rows]
    for attempt in chosen:
        if attempt.root not in kept:
            print(f"left out {words(attempt.params)}: it failed or diverged under a fresh seed")
    return searched.study_name


def settle(trainer: Trainer, plan: Plan, trained: Sequence[Candidate], among: int) -> Outcome:
    """The winner of ``trained``, which ``among`` configurations were; one that fails under a final
    seed is left out, and the next one wins."""
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
    cure = "Look at its failures, then run confirm.py again: it goes on."
    return StudyError(f"{name} confirmed nothing.", value=name, cure=cure)


def load(database: optuna.storages.BaseStorage, name: str, cure: str | None = None) -> optuna.Study:
    """A study of sweepmore's by name, or the one that began last (confirmations left out)."""
    names = optuna.get_all_study_names(database)
    if name == "last":
        name = last(database, names) or name
    if name not in names:
        known = f"{listed('Known', sorted(names))}{did_you_mean(name, names)}"
        raise StudyError(f"There is no study {name}.", value=name, cure=cure or known)
    study = optuna.load_study(study_name=name, storage=database)
    if not StudyAttributes.of(study).command:
        cure = "Only studies that sweepmore ran can be confirmed."
        raise StudyError(f"{name} was not made by sweepmore.", value=name, cure=cure)
    return study


def last(database: optuna.storages.BaseStorage, names: Sequence[str]) -> str | None:
    """The study of sweepmore's that ``last`` means among those of a database."""
    studies = [optuna.load_study(study_name=name, storage=database) for name in names]
    own = [study for study in studies if StudyAttributes.of(study).command]
    return last_begun({study.study_name: began(study) for study in own})


def began(study: optuna.Study) -> float:
    starts = [t.datetime_start for t in study.get_trials(deepcopy=False) if t.datetime_start]
    return max(start.timestamp() for start in starts) if starts else 0.0


def winner_of(
    outcome: Outcome, study: str, chosen: Sequence[Attempt], plans: Sequence[Plan]
) -> Winner:
    """What opens the seal: parameters, the values to report, and the run of their lower-median seed
    with the sha256 of each of its files. Trials are numbered as in the search."""
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


def report_noise(study: optuna.Study, candidate: Candidate, seeds: int) -> None:
    deviation = statistics.stdev(candidate.values)
    StudyAttributes(noise=deviation, noise_freedom=seeds - 1).keep(study)
    told, smallest, single = (
        decimals(one, candidate.mean)
        for one in (deviation, smallest_difference(deviation, seeds), smallest_single(deviation))
    )
    print(
        f"noise    one run's standard deviation is {told} over {plural(seeds, 'fresh seed')}\n"
        f"         with {plural(seeds, 'seed')} each, differences of {smallest} or more can be "
        f"told apart; with one run each, of {single} or more"
    )


def print_table(outcome: Outcome, record: Winner) -> None:
    """In 80 columns; the settings, which may be long, stand below."""
    confirmation, final = outcome.confirmation, outcome.final
    seeds = len(confirmation.winner.values)
    print(f"\nconfirmed: each mean is of the same {seeds} fresh seeds, ± its own 95 % interval")
    print("tied: the paired difference to the best may be zero")
    print(" trial    search      fresh mean   behind the best         parameters  seconds")
    for row in confirmation.rows:
        print(_line(row, confirmation))
    for row in confirmation.rows:
        print(f"  trial {row.candidate.searched_root:>4}  {words(row.candidate.params)}")
    print(f"winner   {words(final.params)} ({standing(confirmation)})")
    apart = ", which did not choose it" if outcome.has_final_seeds else ""
    interval = plus_minus(record.mean, record.half_width)
    print(f"report   {interval} (95 %), over {seeds_of(record)}{apart}")
    if final.bias:
        than = "better" if confirmation.sign * final.bias < 0 else "worse"
        bias = decimals(abs(final.bias), final.searched)
        print(f"         the search had shown {decimals(final.searched)}, {bias} {than} "
              f"than the {seeds_of(record)} give")  # fmt: skip
    print(f"folder   {shown_path(record.run)}")
    print(f"         of its {record.seeds} runs the one in the middle, with seed "
          f"{record.seed}: typical, not the luckiest")  # fmt: skip


def standing(confirmation: Confirmation) -> str:
    """Why the winner is it."""
    tied, winner = confirmation.tied, confirmation.winner
    if len(tied) == 1:
        return "alone at the top"
    if len({candidate.cost for candidate in tied}) == 1:
        return f"the best of {len(tied)} tied{', equally large' if winner.cost[0] else ''}"
    return f"the simplest of {len(tied)} tied"


def _line(row: Row, confirmation: Confirmation) -> str:
    candidate = row.candidate
    mark = "→" if candidate is confirmation.winner else " "
    size = f"{candidate.cost[0]:,.0f}" if candidate.cost[0] else "-"
    seconds = f"{candidate.seconds:.1f}" if candidate.seconds is not None else "-"
    gap, verdict = "", "best"
    if row is not confirmation.rows[0]:
        gap, verdict = told_apart(row.difference), "tied" if row.tied else "worse"
    return (
        f"{mark} {candidate.searched_root:>4}  {decimals(candidate.searched):>8}  "
        f"{plus_minus(candidate.mean, row.interval.half)}  {gap:<16}  {verdict:<5}  "
        f"{size:>10}  {seconds:>7}"
    )


def told_apart(difference: Interval) -> str:
    """With as many digits as show on which side of zero its interval ends."""
    if not 1e-3 <= max(abs(difference.mean), difference.half) < 1e5:
        return plus_minus(difference.mean, difference.half, sign="+")
    for digits in range(4, 9):
        mean, half = f"{difference.mean:+.{digits}f}", f"{difference.half:.{digits}f}"
        if (abs(float(mean)) <= float(half)) == difference.includes_zero:
            break
    return f"{mean} ± {half}"
