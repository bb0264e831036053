"""What a confirmation consists of, and what the search has found since.

It is one, whatever it consists of. Its first round is an ordinary study, ``STUDY.confirm``. What
the search finds later, or a larger ``top``, makes another round with the same seeds, and each
winner has final seeds, which did not choose it: studies of their own (``STUDY.confirm-2``,
``STUDY.confirm-final``), because Optuna takes no new choices in a study that has begun. The plan of
each is kept with the search, the winner of all rounds with ``STUDY.confirm``.
"""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import optuna

from sweepmore.confirm.retrain import Plan
from sweepmore.confirm.winner import Candidate, distinct_best, fresh_seeds
from sweepmore.errors import StudyError
from sweepmore.runs.names import CONFIRM, FINAL, NOISE, run_stem, searched_name
from sweepmore.storage.optuna_internals import storage_of
from sweepmore.study.attempts import Attempt, key_of
from sweepmore.study.attributes import StudyAttributes, Winner
from sweepmore.study.parts import confirmation_of
from sweepmore.study.view import view


def check_repeats(searched: optuna.Study, seed_key: str) -> None:
    """StudyError where the search repeats another setting than the seed."""
    others = sorted({*(StudyAttributes.of(searched).question.get("repeats") or {})} - {seed_key})
    if others:
        problem = f"{searched.study_name} repeats {', '.join(others)}, not only {seed_key}."
        cure = "A confirmation varies the seed alone: seed_key=… names another setting for it."
        raise StudyError(problem, value=others, cure=cure)


def round_suffix(number: int) -> str:
    return CONFIRM if number == 1 else f"{CONFIRM}-{number}"


def final_suffix(number: int) -> str:
    return FINAL if number == 1 else f"{FINAL}-{number}"


def begun(searched: optuna.Study, suffix: str) -> Plan | None:
    """The plan of a part, once its study exists: until then another plan may take its place."""
    there = searched.study_name + suffix in optuna.get_all_study_names(storage_of(searched))
    return Plan.kept(searched, suffix) if there else None


def begun_rounds(searched: optuna.Study) -> list[Plan]:
    return list(_begun(searched))


def _begun(searched: optuna.Study) -> Iterator[Plan]:
    for number in itertools.count(1):
        plan = begun(searched, round_suffix(number))
        if plan is None:
            return
        yield plan


def rounds(searched: optuna.Study, top: int, seeds: int, seed_key: str) -> list[Plan]:
    """The rounds that have begun, and another one for those of the best ``top`` that are in none;
    StudyError where they have begun with other seeds."""
    plans = begun_rounds(searched)
    if plans:
        refuse_other_seeds(searched.study_name + CONFIRM, plans[0], seeds, seed_key)
    known = {key_of(attempt.params) for plan in plans for attempt in plan.chosen(searched)}
    new = [a for a in distinct_best(view(searched), top) if key_of(a.params) not in known]
    if not new:
        return plans
    fresh = plans[0].seeds if plans else unused_seeds(searched, seeds, seed_key)
    plan = Plan(top, tuple(attempt.root for attempt in new), fresh, seed_key)
    plan.write(searched, round_suffix(len(plans) + 1))
    return [*plans, plan]


def final_plan(searched: optuna.Study, winner: Candidate, plan: Plan) -> tuple[str, Plan]:
    """What its study's name ends with, and the plan: the one that has begun for this winner, else
    one of as many seeds as chose it, which are none of these."""
    seeds = unused_seeds(searched, len(plan.seeds), plan.seed_key, plan.seeds)
    wanted = Plan(1, (winner.searched_root,), seeds, plan.seed_key)
    number = 1
    while (known := begun(searched, final_suffix(number))) is not None:
        if known.roots == wanted.roots:
            return final_suffix(number), known
        number += 1
    wanted.write(searched, final_suffix(number))
    return final_suffix(number), wanted


def noise_plan(searched: optuna.Study, seeds: int, seed_key: str) -> Plan:
    """Of the best alone: the plan that has begun, or a new one."""
    plan = begun(searched, NOISE)
    if plan is not None:
        refuse_other_seeds(searched.study_name + NOISE, plan, seeds, seed_key)
        return plan
    roots = tuple(attempt.root for attempt in distinct_best(view(searched), 1))
    plan = Plan(1, roots, unused_seeds(searched, seeds, seed_key), seed_key)
    plan.write(searched, NOISE)
    return plan


def refuse_other_seeds(name: str, plan: Plan, seeds: int, seed_key: str) -> None:
    if (len(plan.seeds), plan.seed_key) != (seeds, seed_key):
        problem = f"{name} has begun with seeds={len(plan.seeds)} seed_key={plan.seed_key}."
        cure = "Go on with these: to choose anew after a look is what it guards against."
        raise StudyError(problem, value=name, cure=cure)


def unused_seeds(
    searched: optuna.Study, count: int, seed_key: str, more: Sequence[int] = ()
) -> tuple[int, ...]:
    """Seeds that neither the search nor ``more`` has used."""
    used = [*searched_seeds(searched, seed_key), *more]
    return tuple(fresh_seeds(StudyAttributes.of(searched).uid, count, used))


def searched_seeds(study: optuna.Study, seed_key: str) -> list[int]:
    """Seeds that the search ran with: repeated ones, else the fixed one."""
    question = StudyAttributes.of(study).question
    repeated = (question.get("repeats") or {}).get(seed_key)
    return list(repeated or [question["config"].get(seed_key, -1)])


def unconfirmed(searched: optuna.Study) -> list[Attempt]:
    """What the search has found since the winner was named: those of the best ``top`` that no round
    before it had, and that look better in the search than the winner does. Without a winner none.
    """
    winner, plan = _named(searched)
    if winner is None or plan is None:
        return []
    seen = view(searched)
    of = {attempt.root: key_of(attempt.params) for attempt in seen.ranked}
    # a record from before there were rounds has neither roots nor top
    known = {of.get(root) for root in winner.roots or plan.roots}
    promised = seen.sign() * winner.searched
    return [
        attempt
        for attempt in distinct_best(seen, winner.top or plan.top)
        if of[attempt.root] not in known
        and seen.sign() * (attempt.values or (math.nan,))[0] < promised
    ]


def told_unconfirmed(found: Sequence[Attempt]) -> str:
    """Empty where there are none."""
    if len(found) == 1:
        return "1 trial looks better and is not confirmed"
    return f"{len(found)} trials look better and are not confirmed" if found else ""


def next_round(searched: optuna.Study, where: str = "") -> str:
    """The words for confirm.py that confirm what was found since; its seeds must be those of the
    first round. ``where`` are the words of outputs and storage that it needs."""
    winner, plan = _named(searched)
    assert winner is not None
    assert plan is not None
    top, key = winner.top or plan.top, f" seed_key={plan.seed_key}"
    return (
        f"study={shlex.quote(searched.study_name)} top={top} "
        f"seeds={len(plan.seeds)}{'' if plan.seed_key == 'seed' else key}{where}"
    )


@dataclass(frozen=True)
class Confirmed:
    """A confirmation that has named its ``winner``. ``since`` says what the search has found after
    that, and ``next_round`` are the words for confirm.py that confirm it; both are empty where
    nothing was found."""

    study: optuna.Study
    winner: Winner
    since: str = ""
    next_round: str = ""


def confirmed(searched: optuna.Study, where: str = "") -> Confirmed | None:
    """The confirmation of a search; None where it has not named a winner. ``where`` are the words
    of outputs and storage that its commands need."""
    study = confirmation_of(searched)
    winner = None if study is None else StudyAttributes.of(study).winner
    if study is None or winner is None:
        return None
    since = told_unconfirmed(unconfirmed(searched))
    words = next_round(searched, where) if since else ""
    return Confirmed(study, winner, since, words)


def search_of(database: optuna.storages.BaseStorage, run_id: str) -> optuna.Study | None:
    """The search to which the run with this id belongs, as a trial or in its confirmation; None
    where the database has no such study. A copy of a run's folder keeps its id."""
    names = optuna.get_all_study_names(database)
    for name in names:
        if searched_name(name) in names and run_id.startswith(run_stem(name, "")):
            uid = StudyAttributes.of(optuna.load_study(study_name=name, storage=database)).uid
            if run_id.startswith(f"{run_stem(name, uid)}-"):
                return optuna.load_study(study_name=searched_name(name), storage=database)
    return None


def _named(searched: optuna.Study) -> tuple[Winner | None, Plan | None]:
    """The winner's record and the plan of the first round, where they are."""
    confirmed = confirmation_of(searched)
    winner = None if confirmed is None else StudyAttributes.of(confirmed).winner
    return winner, begun(searched, CONFIRM)
