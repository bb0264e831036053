"""What a confirmation consists of, and what the search has found since.

A search has one confirmation, in several parts. The first round is an ordinary study,
``STUDY.confirm``. Better trials that the search finds later, or a larger ``top``, make another
round with the same seeds (``STUDY.confirm-2``). Each winner is trained with final seeds, which did
not choose it (``STUDY.confirm-final``). These parts are studies of their own because Optuna accepts
no new choices in a study that has begun. The plan of each part is kept with the search; the winner
of all rounds is kept with ``STUDY.confirm``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import optuna

from sweepmore.confirm.retrain import Plan
from sweepmore.confirm.winner import Candidate, distinct_best, fresh_seeds, without_seed
from sweepmore.errors import StudyError
from sweepmore.runs.names import CONFIRM, FINAL, NOISE, run_stem, searched_name
from sweepmore.runs.places import Place
from sweepmore.storage.optuna_internals import storage_of
from sweepmore.study.attempts import Attempt, key_of
from sweepmore.study.attributes import StudyAttributes, Winner
from sweepmore.study.parts import confirmation_of
from sweepmore.study.view import view

# Why two confirmations can be paired only where each has one configuration.
ONLY_SINGLE = "among several, the winner is reported over final seeds, which are not shared"


def check_repeats(searched: optuna.Study, seed_key: str) -> None:
    """Raise StudyError when the search repeats a setting other than the seed.

    Its trials are then means over that setting, and runs that vary the seed alone measure
    something else.
    """
    others = sorted({*(StudyAttributes.of(searched).question.get("repeats") or {})} - {seed_key})
    if others:
        problem = f"{searched.study_name} repeats {', '.join(others)}, not only {seed_key}."
        cure = "A confirmation varies the seed alone: --seed-key names another setting for it."
        raise StudyError(problem, value=others, cure=cure)


def round_suffix(number: int) -> str:
    """What the name of a round's study ends with; ``number`` counts from 1."""
    return CONFIRM if number == 1 else f"{CONFIRM}-{number}"


def final_suffix(number: int) -> str:
    """What the name of a study of final seeds ends with; ``number`` counts winners from 1."""
    return FINAL if number == 1 else f"{FINAL}-{number}"


def begun(searched: optuna.Study, suffix: str) -> Plan | None:
    """Return the plan of a part once its study exists, otherwise None.

    A plan without a study has trained nothing yet, so another plan may replace it.
    """
    exists = searched.study_name + suffix in optuna.get_all_study_names(storage_of(searched))
    return Plan.kept(searched, suffix) if exists else None


def begun_rounds(searched: optuna.Study) -> list[Plan]:
    """Return the plans of all rounds that have begun, the first round first."""
    return list(_begun(searched))


def _begun(searched: optuna.Study) -> Iterator[Plan]:
    for number in itertools.count(1):
        plan = begun(searched, round_suffix(number))
        if plan is None:
            return
        yield plan


def rounds(
    searched: optuna.Study, top: int, seeds: int, seed_key: str, shared: tuple[int, ...] = ()
) -> list[Plan]:
    """Return the plans of all rounds, with a new round for what the earlier ones lack.

    The new round holds those of the best ``top`` configurations that no round has, with the seeds
    of the first round, so that all rounds can be compared in one table. The first round has the
    ``shared`` seeds, if there are any. Raises StudyError when the confirmation has begun with
    other seeds, another number of them or another ``seed_key``, and for a second round with
    ``shared`` seeds.
    """
    # What has begun stays as it is.
    plans = begun_rounds(searched)
    if plans:
        refuse_other_seeds(searched.study_name + CONFIRM, plans[0], seeds, seed_key, shared)
    # Configurations count as equal by their values, because a search may try the same ones twice.
    planned = {key_of(attempt.params) for plan in plans for attempt in plan.chosen(searched)}
    best = distinct_best(view(searched), top, seed_key)
    new = [attempt for attempt in best if key_of(attempt.params) not in planned]
    if not new:
        return plans
    if plans and shared:
        problem = f"{searched.study_name} has a better trial since: {ONLY_SINGLE}."
        cure = "Omit --seeds-of to confirm it; the result is then not paired with another study."
        raise StudyError(problem, value=[attempt.root for attempt in new], cure=cure)
    # Write the plan before anything is trained, so that an interrupted round continues by it.
    fresh = plans[0].seeds if plans else shared or unused_seeds(searched, seeds, seed_key)
    plan = Plan(top, tuple(attempt.root for attempt in new), fresh, seed_key)
    plan.write(searched, round_suffix(len(plans) + 1))
    return [*plans, plan]


def final_plan(searched: optuna.Study, winner: Candidate, plan: Plan) -> tuple[str, Plan]:
    """Return the suffix and the plan of the study that trains this winner with final seeds.

    That is the plan which has begun for this winner; otherwise a new one is written, with as many
    seeds as chose the winner, none of which the search or a round has used.
    """
    seeds = unused_seeds(searched, len(plan.seeds), plan.seed_key, plan.seeds)
    wanted = Plan(1, (winner.searched_root,), seeds, plan.seed_key)
    number = 1
    while (earlier := begun(searched, final_suffix(number))) is not None:
        if earlier.roots == wanted.roots:
            return final_suffix(number), earlier
        number += 1
    wanted.write(searched, final_suffix(number))
    return final_suffix(number), wanted


def noise_plan(searched: optuna.Study, seeds: int, seed_key: str) -> Plan:
    """Return the plan that measures the noise with the best configuration alone.

    Raises StudyError when that plan has begun with another number of seeds or ``seed_key``.
    """
    plan = begun(searched, NOISE)
    if plan is not None:
        refuse_other_seeds(searched.study_name + NOISE, plan, seeds, seed_key)
        return plan
    roots = tuple(attempt.root for attempt in distinct_best(view(searched), 1, seed_key))
    plan = Plan(1, roots, unused_seeds(searched, seeds, seed_key), seed_key)
    plan.write(searched, NOISE)
    return plan


def shared_seeds(other: optuna.Study, searched: optuna.Study, seed_key: str) -> tuple[int, ...]:
    """Return the fresh seeds of another search's confirmation: both are then compared seed by seed.

    Raises StudyError when that confirmation has not begun, when it has several configurations, or
    when ``searched`` ran with one of its seeds.
    """
    plan = begun(other, CONFIRM)
    if plan is None:
        cure = f"Confirm {other.study_name} first: its seeds are then taken."
        problem = f"{other.study_name} has no confirmation."
        raise StudyError(problem, value=other.study_name, cure=cure)
    if sum(len(each.roots) for each in begun_rounds(other)) > 1:
        problem = f"{other.study_name}{CONFIRM} has several configurations: {ONLY_SINGLE}."
        cure = f"Omit --seeds-of, or confirm {other.study_name} with --top 1 in other outputs."
        raise StudyError(problem, value=other.study_name, cure=cure)
    used = sorted({*plan.seeds} & {*searched_seeds(searched, seed_key)})
    if used:
        problem = f"{searched.study_name} ran with seed {used[0]} of {other.study_name}{CONFIRM}."
        cure = "Omit --seeds-of: a seed that chose a configuration flatters it."
        raise StudyError(problem, value=used, cure=cure)
    return plan.seeds


def refuse_other_seeds(
    name: str, plan: Plan, seeds: int, seed_key: str, shared: tuple[int, ...] = ()
) -> None:
    """Raise StudyError when a part has begun with other seeds than are asked for now.

    Choosing the number of seeds after seeing values would make the intervals too narrow.
    """
    other = bool(shared) and plan.seeds != shared
    if other or (len(plan.seeds), plan.seed_key) != (seeds, seed_key):
        problem = f"{name} has begun with seeds={len(plan.seeds)} seed_key={plan.seed_key}."
        cure = "Continue with these: choosing again after a look is what it guards against."
        raise StudyError(problem, value=name, cure=cure)


def unused_seeds(
    searched: optuna.Study, count: int, seed_key: str, more: Sequence[int] = ()
) -> tuple[int, ...]:
    """Return ``count`` seeds that neither the search nor ``more`` contains."""
    used = [*searched_seeds(searched, seed_key), *more]
    return tuple(fresh_seeds(StudyAttributes.of(searched).uid, count, used))


def searched_seeds(study: optuna.Study, seed_key: str) -> list[int]:
    """Return the seeds that the search ran with: searched, repeated, or the fixed one."""
    question = StudyAttributes.of(study).question
    if seed_key in question.get("space", {}):
        tried = [{**attempt.fixed, **attempt.params} for attempt in view(study).attempts]
        return sorted({params[seed_key] for params in tried if seed_key in params})
    repeated = (question.get("repeats") or {}).get(seed_key)
    return list(repeated or [question["config"].get(seed_key, -1)])


def unconfirmed(searched: optuna.Study) -> list[Attempt]:
    """Return promising trials that the search has finished since the winner was named.

    They are among the best ``top``, look better in the search than the winner did, and were in no
    round. Empty when no winner has been named.
    """
    winner, plan = _named(searched)
    if winner is None or plan is None:
        return []
    snapshot = view(searched)
    trials = without_seed(snapshot, plan.seed_key)
    key_of_root = {attempt.root: key_of(attempt.params) for attempt in trials}
    # Records of versions that knew no rounds have neither roots nor top: the plan says both.
    confirmed_keys = {key_of_root.get(root) for root in winner.roots or plan.roots}
    promised = snapshot.sign() * winner.searched
    return [
        attempt
        for attempt in distinct_best(snapshot, winner.top or plan.top, plan.seed_key)
        if key_of_root[attempt.root] not in confirmed_keys
        and snapshot.sign() * (attempt.values or (math.nan,))[0] < promised
    ]


def told_unconfirmed(attempts: Sequence[Attempt]) -> str:
    """Say how many trials are ``unconfirmed``; empty when there are none."""
    if len(attempts) == 1:
        return "1 trial looks better and is not confirmed"
    return f"{len(attempts)} trials look better and are not confirmed" if attempts else ""


@dataclass(frozen=True)
class Confirmed:
    """A confirmation that has named its winner.

    ``since`` says how many better trials the search has finished after that, and ``next_round``
    is the command that confirms them. Both are empty when there are none.
    """

    study: optuna.Study
    winner: Winner
    since: str = ""
    next_round: str = ""


def confirmed(searched: optuna.Study, place: Place) -> Confirmed | None:
    """Return the confirmation of a search in ``place``; None when it has not named a winner."""
    study = confirmation_of(searched)
    winner = None if study is None else StudyAttributes.of(study).winner
    if study is None or winner is None:
        return None
    since = told_unconfirmed(unconfirmed(searched))
    command = place.verb("confirm", searched.study_name) if since else ""
    return Confirmed(study, winner, since, command)


def search_of(database: optuna.storages.BaseStorage, run_id: str) -> optuna.Study | None:
    """Return the search that a run belongs to, as one of its trials or in its confirmation.

    None when the database has no such study. The id decides, not the path, because a copy of a
    run's folder keeps its id.
    """
    names = optuna.get_all_study_names(database)
    for name in names:
        if searched_name(name) in names and run_id.startswith(run_stem(name, "")):
            uid = StudyAttributes.of(optuna.load_study(study_name=name, storage=database)).uid
            if run_id.startswith(f"{run_stem(name, uid)}-"):
                return optuna.load_study(study_name=searched_name(name), storage=database)
    return None


def _named(searched: optuna.Study) -> tuple[Winner | None, Plan | None]:
    """Return the winner's record and the plan of the first round; None for what is missing."""
    confirmed = confirmation_of(searched)
    winner = None if confirmed is None else StudyAttributes.of(confirmed).winner
    return winner, begun(searched, CONFIRM)
