"""What ``sweepmore challenge`` does: champion and challenger run with the same seeds, one after the
other, until the difference is decided.

Check → record → train and decide, seed by seed → record the verdict. Each step is kept before the
next begins, so the same command continues what a kill has interrupted.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sweepmore.confirm.campaign import (
    Ground,
    begin,
    forget,
    noise_before,
    now,
    turn,
    winner_of,
)
from sweepmore.confirm.challenge_checks import (
    Request,
    check_champion,
    check_seed,
    check_words,
    lost,
    missing,
    refuse_linked,
    refuse_other_evaluators,
    refuse_other_rules,
    spent,
)
from sweepmore.confirm.seeded import Runs
from sweepmore.errors import UserError
from sweepmore.runs.files import write_atomic
from sweepmore.statistics.sequential import Decision, Rules, decide
from sweepmore.storage.optuna_internals import storage_of
from sweepmore.study.campaigns import Campaign, Challenge, challenges_of, champions_of
from sweepmore.sweep.note import write_note

# What starting a command costs before its first run: Python, Hydra and torch (two cores, 1.5 to 3).
START_SECONDS = 2.0
# Not more at once than this, beside the number of workers: most challenges end early (a guess).
MOST_AT_ONCE = 4


@dataclass(frozen=True)
class Teller:
    """What hears of a challenge while it runs."""

    begins: Callable[[Campaign, Challenge], None]
    trains: Callable[[str, int], None]  # who is trained, up to how many seeds
    goes_on: Callable[[Sequence[tuple[float, float]]], None]  # champion's and challenger's values


def run(ground: Ground, request: Request, tell: Teller) -> tuple[Campaign, Challenge | None]:
    """Decide a challenge; the campaign begins with the first one. None where no command is given.

    A challenge that was decided before is answered from its record. Raises StudyError and
    ConfigError, before anything is trained or recorded, for what cannot be compared.
    """
    searched = ground.searched
    waiting = f"waiting  for another challenge of {searched.study_name} to end"
    check_words(request, ground.root)
    winner_of(searched)  # raises where there is none
    with turn(ground.folder, waiting):
        campaign = Campaign.of(searched)
        if campaign is None:
            defaults = Rules()
            rules = Rules(request.horizon or defaults.horizon, request.cap or defaults.cap)
            campaign = begin(ground, rules)
        refuse_other_rules(campaign, request)
        check_champion(searched, request.champion)
        if not request.words:
            return campaign, None
        check_seed(request.words, campaign.seed_key)
        before = challenges_of(searched)
        challenge = entered(ground, campaign, request)
        if challenge.verdict is not None:
            return campaign, challenge
        tell.begins(campaign, challenge)
        try:
            return campaign, settled(ground, campaign, challenge, tell)
        except UserError:
            if challenge.number not in {each.number for each in before}:
                forget(ground, challenge)
            raise


def entered(ground: Ground, campaign: Campaign, request: Request) -> Challenge:
    """The record of this challenge: what an earlier command has begun or decided, or a new one.

    The code is copied before the record is written. Raises StudyError where an evaluator differs,
    and where the campaign's horizon is reached.
    """
    searched, earlier = ground.searched, challenges_of(ground.searched)
    champion = champions_of(earlier)[-1]
    number = max((challenge.number for challenge in earlier), default=0) + 1
    # Copy the code as it is now, and compare it with the champion's.
    snapshot, of_champion = ground.snapshot(number), ground.snapshot(champion)
    if not of_champion.exists:
        raise lost(searched, champion)
    shutil.rmtree(snapshot.folder.parent, ignore_errors=True)  # of a command that was killed here
    snapshot.take()
    challenge = Challenge(
        number=number,
        champion=champion,
        words=request.words,
        folder=str(request.folder.relative_to(ground.root)),
        code=snapshot.digest(),
        changed=snapshot.changed(of_champion),
        begun=now(),
    )
    # the command that made the champion is no challenge to it
    same = next((c for c in earlier if c.is_same(challenge, champion)), None)
    try:
        if same is not None:
            if same.verdict is None and not ground.snapshot(same.number).exists:
                ground.snapshot(same.number).take()
            return same
        refuse_linked(snapshot, request.folder)
        refuse_other_evaluators(ground, campaign, number)
        if len(earlier) >= campaign.horizon:
            raise spent(searched, campaign)
        write_atomic(snapshot.folder.parent / "diff.patch", snapshot.diff(of_champion))
        challenge.write(searched)
    finally:
        if number not in (each.number for each in challenges_of(searched)):
            shutil.rmtree(snapshot.folder.parent, ignore_errors=True)
    return challenge


def settled(ground: Ground, campaign: Campaign, challenge: Challenge, tell: Teller) -> Challenge:
    """Train seed by seed until the challenge is decided, and keep its verdict."""
    database, jobs = storage_of(ground.searched), ground.workers.n_jobs
    mine = ground.challenger(challenge, campaign)
    theirs = ground.champion(challenge.champion, campaign)
    earlier = [c for c in challenges_of(ground.searched) if c.number != challenge.number]
    before = noise_before(ground, earlier, challenge.champion)
    had = sum(c.champion_runs for c in earlier if c.champion == challenge.champion)
    count = min(campaign.cap, max(2, jobs))
    while True:
        tell.trains("challenger", count)
        own = mine.train(database, count, jobs)
        tell.trains("champion", count)
        other = Runs((), ()) if own.failure and len(own.values) < 2 else theirs.train(
            database, count, jobs)  # fmt: skip
        decision = decide(other.values, own.values, ground.sign, campaign.rules, before)
        seeds = count if decision is None else decision.seeds
        tell.goes_on([*zip(other.values, own.values)][:seeds])
        if decision is not None or own.failure or other.failure:
            break
        if min(len(own.values), len(other.values)) < count:
            raise missing(mine if len(own.values) < count else theirs, count)
        count = min(campaign.cap, count + more(own.seconds, jobs))
    decided = ended(challenge, decision, own, other, had)
    decided = replace(
        decided, seeds=ground.seeds(challenge.champion, campaign)[: len(decided.values)]
    )
    if decided.verdict == "keep":  # before it is on record: the next command would not do it
        mine.hand_over(database)
    decided.write(ground.searched)
    write_note(ground.searched)  # its first sentence names the champion
    if decided.verdict != "keep":  # its diff says what it was
        shutil.rmtree(mine.snapshot.folder, ignore_errors=True)
    return decided


def ended(
    challenge: Challenge, decision: Decision | None, own: Runs, other: Runs, had: int
) -> Challenge:
    """The record of a decided challenge. Earlier ones count ``had`` runs of the champion.

    A run that fails or diverges decides where the values before it do not.
    """
    if decision is not None:
        verdict, reason, seeds = decision.verdict, decision.reason, decision.seeds
    elif own.failure:
        verdict, reason, seeds = "discard", own.failure, min(len(own.values), len(other.values))
    else:
        verdict, seeds = "undecided", min(len(own.values), len(other.values))
        reason = f"the champion cannot be compared: {other.failure}"
    return replace(
        challenge,
        verdict=verdict,
        reason=reason,
        values=own.values[:seeds],
        champion_values=other.values[:seeds],
        gain=None if decision is None else decision.gain.mean,
        half=None if decision is None else decision.gain.half,
        seconds=own.usual,
        champion_seconds=other.usual,
        runs=len(own.seconds) + len(other.seconds[had:]),
        champion_runs=len(other.seconds[had:]),
        spent=sum(own.seconds) + sum(other.seconds[had:]),
        ended=now(),
    )


def more(seconds: Sequence[float], jobs: int) -> int:
    """How many seeds are trained before the next decision.

    A command takes about ``START_SECONDS`` to start, so short runs are trained several at once.
    What is decided earlier is unchanged by them.
    """
    at_once = math.ceil(START_SECONDS / max(mean(seconds) or 0.0, START_SECONDS / MOST_AT_ONCE))
    return max(jobs, at_once)


def mean(seconds: Sequence[float]) -> float | None:
    """The mean, None of nothing."""
    return sum(seconds) / len(seconds) if seconds else None
