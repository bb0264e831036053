"""``confirm.py``: an ordinary study of the best configurations, then a table and a winner."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna

from sweepmore.cli import shown_path
from sweepmore.errors import StudyError, did_you_mean
from sweepmore.note import write_note
from sweepmore.optuna_internals import storage_of
from sweepmore.record import CONFIRM, NOISE, listed, searched_name, write_json
from sweepmore.retrain import Plan, folder_of, train_again
from sweepmore.studies import view, words
from sweepmore.winner import (
    Candidate,
    Confirmation,
    Interval,
    Row,
    candidates,
    confirm,
    distinct_best,
    fresh_seeds,
    smallest_difference,
)
from sweepmore.wording import decimals, plural, plus_minus


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
    seeds as the study ``STUDY.confirm`` (``STUDY.noise``), then print what that says; returns
    the study's name. ``storage`` is the URL of ``database`` as it was written."""
    searched = load(database, searched_name(study))
    suffix = NOISE if noise else CONFIRM
    plan = planned(searched, suffix, 1 if noise else top, seeds, seed_key)
    chosen = plan.chosen(searched)
    name = searched.study_name + suffix
    print(f"{name}: {plural(len(chosen), 'configuration')} × {plural(seeds, 'fresh seed')}, "
          f"{plural(len(chosen) * seeds, 'run')}", flush=True)  # fmt: skip
    train_again(searched, chosen, plan, name, n_jobs, storage, outputs)
    confirmed = load(database, name)
    found = candidates(chosen, view(confirmed))
    if noise:
        report_noise(searched, found[0], seeds)
        return searched.study_name
    confirmation = confirm(found, maximize=confirmed.directions[0].name == "MAXIMIZE")
    winner = winner_record(confirmation, confirmed, plan.seeds)
    confirmed.set_user_attr("winner", winner)
    write_note(searched, winner)
    write_json(folder_of(confirmed).parent / "winner.json", winner)
    print_table(confirmation, winner)
    for attempt in chosen:
        if attempt.params not in [candidate.params for candidate in found]:
            print(f"left out {words(attempt.params)}: it failed or diverged under a fresh seed")
    return searched.study_name


def planned(searched: optuna.Study, suffix: str, top: int, seeds: int, seed_key: str) -> Plan:
    """The plan that has begun, or a new one; StudyError where another one has begun."""
    question, name = searched.user_attrs["question"], searched.study_name + suffix
    others = sorted({*(question.get("repeats") or {})} - {seed_key})
    if others:
        problem = f"{searched.study_name} repeats {', '.join(others)}, not only {seed_key}."
        cure = "A confirmation varies the seed alone: seed_key=… names another setting for it."
        raise StudyError(problem, value=others, cure=cure)
    kept = Plan.kept(searched, suffix)
    if kept is not None and name in optuna.get_all_study_names(storage_of(searched)):
        if (kept.top, len(kept.seeds), kept.seed_key) != (top, seeds, seed_key):
            problem = f"{name} has begun with top={kept.top} seeds={len(kept.seeds)} "
            problem += f"seed_key={kept.seed_key}."
            cure = "Go on with these: to choose anew after a look is what it guards against."
            raise StudyError(problem, value=name, cure=cure)
        return kept
    roots = tuple(attempt.root for attempt in distinct_best(view(searched), top))
    used = used_seeds(searched, seed_key)
    fresh = fresh_seeds(searched.user_attrs["uid"], seeds, used)
    plan = Plan(top, roots, tuple(fresh), seed_key)
    plan.keep(searched, suffix)
    return plan


def load(database: optuna.storages.BaseStorage, name: str, cure: str | None = None) -> optuna.Study:
    """A study of sweepmore's by name, or the one that began last (confirmations left out)."""
    names = optuna.get_all_study_names(database)
    if name == "last":
        name = last(database, names) or name
    if name not in names:
        known = f"{listed('Known', sorted(names))}{did_you_mean(name, names)}"
        raise StudyError(f"There is no study {name}.", value=name, cure=cure or known)
    study = optuna.load_study(study_name=name, storage=database)
    if "command" not in study.user_attrs:
        cure = "Only studies that sweepmore ran can be confirmed."
        raise StudyError(f"{name} was not made by sweepmore.", value=name, cure=cure)
    return study


def last(database: optuna.storages.BaseStorage, names: Sequence[str]) -> str | None:
    """The study of sweepmore's, no confirmation, whose last trial began last."""
    found = [
        optuna.load_study(study_name=name, storage=database)
        for name in names
        if not name.endswith((CONFIRM, NOISE))
    ]
    own = [study for study in found if "command" in study.user_attrs]
    return max(own, key=began).study_name if own else None


def began(study: optuna.Study) -> float:
    starts = [t.datetime_start for t in study.get_trials(deepcopy=False) if t.datetime_start]
    return max(start.timestamp() for start in starts) if starts else 0.0


def used_seeds(study: optuna.Study, seed_key: str) -> list[int]:
    """Seeds that the search ran with: repeated ones, else the fixed one."""
    question = study.user_attrs["question"]
    repeated = (question.get("repeats") or {}).get(seed_key)
    return list(repeated or [question["config"].get(seed_key, -1)])


def winner_record(
    confirmation: Confirmation, study: optuna.Study, seeds: Sequence[int]
) -> dict[str, Any]:
    """What opens the seal: parameters, fresh values, and the run of the lower-median seed with the
    sha256 of each of its files."""
    winner = confirmation.winner
    row = next(row for row in confirmation.rows if row.candidate is winner)
    trial = next(a for a in view(study).attempts if a.root == winner.root and a.counts)
    run = Path(trial.attrs["folder"]) / str(winner.median_seed)
    return {
        "study": study.study_name,
        "trial": winner.root,
        "params": dict(winner.params),
        "searched": winner.searched,
        "mean": winner.mean,
        "half_width": row.interval.half,
        "selection_bias": winner.bias,
        "tied": len(confirmation.tied),
        "rows": [
            {
                "trial": row.candidate.root,
                "params": dict(row.candidate.params),
                "searched": row.candidate.searched,
                "mean": row.candidate.mean,
                "half_width": row.interval.half,
                "tied": row.tied,
            }
            for row in confirmation.rows
        ],
        "seeds": len(seeds),
        "seed": seeds[winner.median_seed],
        "run": str(run),
        "files": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(run.glob("*"))
            if path.is_file()
        },
    }


def report_noise(study: optuna.Study, candidate: Candidate, seeds: int) -> None:
    deviation = statistics.stdev(candidate.values)
    study.set_user_attr("noise", deviation)
    told, smallest, single = (
        decimals(one, candidate.mean)
        for one in (deviation, smallest_difference(deviation, seeds), smallest_single(deviation))
    )
    print(
        f"noise    one run's standard deviation is {told} over {plural(seeds, 'fresh seed')}\n"
        f"         {plural(seeds, 'seed')} each can tell apart differences from {smallest}; "
        f"one run each, from {single}"
    )


def smallest_single(deviation: float) -> float:
    """Of two single runs with a known deviation: 1.96 standard errors of their difference."""
    return 1.96 * math.sqrt(2) * deviation


def print_table(confirmation: Confirmation, record: Mapping[str, Any]) -> None:
    """In 80 columns; the settings, which may be long, stand below."""
    print(
        f"\nconfirmed: each mean is of the same {record['seeds']} fresh seeds, ± its 95 % interval"
    )
    print("tied: by their differences seed by seed it may be as good as the best")
    print(" trial    search      fresh mean   behind the best         parameters  seconds")
    for row in confirmation.rows:
        print(_line(row, confirmation))
    for row in confirmation.rows:
        print(f"  trial {row.candidate.searched_root:>4}  {words(row.candidate.params)}")
    winner = confirmation.winner
    print(f"winner   {words(winner.params)} ({standing(confirmation)})")
    if winner.bias:
        than = "better" if (winner.bias < 0) != confirmation.maximize else "worse"
        bias = decimals(abs(winner.bias), winner.searched)
        print(f"         the search had shown {decimals(winner.searched)}, {bias} {than} "
              "than fresh seeds give")  # fmt: skip
    print(f"folder   {shown_path(Path(record['run']))}")
    print(f"         of its {record['seeds']} runs the one in the middle, with seed "
          f"{record['seed']}: typical, not the luckiest")  # fmt: skip


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
