"""What ``sweepmore show`` prints of a study and of a trial."""

from __future__ import annotations

import math
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna

from sweepmore.compose.overrides import override_text
from sweepmore.confirm.rounds import told_unconfirmed, unconfirmed
from sweepmore.consoles import stdout_console
from sweepmore.process.machine import told as told_place
from sweepmore.report.lists import state_of
from sweepmore.runs.names import ending
from sweepmore.runs.offline import is_synced, offline_runs
from sweepmore.runs.places import Place
from sweepmore.statistics.intervals import told_apart_from
from sweepmore.study.attempts import runs_each, words
from sweepmore.study.attributes import StudyAttributes
from sweepmore.study.campaigns import Campaign
from sweepmore.study.championship import champion_of, settings_of, standing
from sweepmore.study.edges import at_edge, searched
from sweepmore.study.parts import confirmation_of
from sweepmore.study.records import StudyRecord, TrialRecord
from sweepmore.study.seeds import seed_key
from sweepmore.study.verdict import Found, found_in, verdict
from sweepmore.study.view import StudyView
from sweepmore.study.winners import TESTED_BEFORE, reported, tested
from sweepmore.sweep.best_trials import print_best
from sweepmore.sweep.command_lines import command_line, single_run
from sweepmore.sweep.failures import print_failures
from sweepmore.sweep.sparkline import drawn, history, told
from sweepmore.wording import bounds, decimals, fitted, plural, short, shown_path


def print_summary(record: StudyRecord, study: optuna.Study, place: Place) -> None:
    """Print a study's state, its best trials, its winner, its failures and the next command."""
    found, attrs = found_in(study), StudyAttributes.of(study)
    seen = found.seen
    print_state(record, study, seen)
    if seen.ranked and not ending(record.name):
        print(fitted(f"verdict  {verdict(found, edges=False)}"))  # a note below tells of them
    print_failures(seen)
    print_history(seen)
    if seen.ranked:
        print_ranked(found)
    if (champion := champion_of(found.challenges)) is not None:
        print(f"champion {settings_of(champion)}")
    if record.winner is not None:
        print(f"winner   {words(record.winner.params)}")
        print(f"report   {reported(record.winner)}")
    if record.test is not None:
        confirmed = confirmation_of(study)
        whose = None if confirmed is None else tested(StudyAttributes.of(confirmed))
        earlier = f"; {TESTED_BEFORE}" if whose == "another" else ""
        print(fitted(f"test     {tested_of(record.test)}{earlier}"))
    if (campaign := Campaign.of(study)) is not None:
        print(fitted(f"campaign {standing(campaign, found.challenges)}"))
    ways = [place.verb("report", record.name)]
    if news := told_unconfirmed(unconfirmed(study)):
        print(f"since    {news}")
        ways.insert(0, place.verb("confirm", record.name))
    print(f"command  {command_line(attrs.command, here=True)}")
    can_confirm = seed_key(attrs.question) is not None and not ending(record.name)
    if seen.ranked and record.winner is None and len(record.directions) == 1 and can_confirm:
        ways.insert(0, place.verb("confirm", record.name))
    print(f"next     {' · '.join(ways)}")


def tested_of(test: Mapping[str, Any]) -> str:
    """Say what the look at the test split gave, as the application kept it with the study."""
    loss = test.get("loss")
    if isinstance(loss, Mapping) and {"mean", "low", "high"} <= loss.keys():
        loss = bounds(loss["mean"], loss["low"], loss["high"])
    number = test.get("look")
    return f"look{'' if number is None else f' {number}'}{'' if loss is None else f': {loss}'}"


def print_state(record: StudyRecord, study: optuna.Study, seen: StudyView) -> None:
    """Print the name, the state, and how many trials ended in which way."""
    confirmed = confirmation_of(study)
    outcome = StudyAttributes() if confirmed is None else StudyAttributes.of(confirmed)
    state, total = state_of(seen, record.n_trials, outcome), record.n_trials
    of = "" if total is None else f" of {total:,}"
    ended = ", ".join(
        f"{len(trials):,} {word}"
        for word in ("complete", "pruned", "fail", "running", "waiting")
        if (trials := [trial for trial in record.trials if trial.state == word.upper()])
    )
    goals = " and ".join(f"{way} {name}" for way, name in zip(record.directions, record.objectives))
    print(f"study    {record.name}: {state}; {goals}")
    print(f"trials   {len(seen.counted):,}{of} done{f': {ended}' if ended else ''}")


def print_history(seen: StudyView) -> None:
    """Print the values of the trials as a sparkline, as wide as the terminal."""
    label = "history  "
    if (shown := history(seen, shutil.get_terminal_size().columns - len(label))) is None:
        return
    stdout_console().print(label, drawn(shown), sep="", soft_wrap=True)
    print(fitted(f"{' ' * len(label)}{told(shown)}"))


def print_ranked(found: Found) -> None:
    """Print the best trials, or the front of several objectives, and what makes them doubtful."""
    seen, question, winner = found.seen, found.question, found.winner
    least, many = None, len(seen.directions) > 1
    if found.noise is not None and winner is None and not many:
        runs = runs_each(question.get("repeats"))
        least = told_apart_from(found.noise, len(seen.counted), runs)
    print_best(seen, least, winner)
    if least is not None:
        print(f"noise    differences under {least:.2g} may be chance: (tied)")
    # a champion may have other settings than the winner that it beat
    edges = at_edge((seen.front[0] if many else found.answer).params, searched(question))
    if edges and champion_of(found.challenges) is None:
        print(fitted(f"note     {edges}"))


def print_trial(trial: TrialRecord, record: StudyRecord, study: optuna.Study, place: Place) -> None:
    """Print all that is known of a trial, and the command that runs its settings again."""
    values = ", ".join(f"{name} {decimals(v)}" for name, v in zip(record.objectives, trial.values))
    spread = "" if trial.std is None else f" (sd {decimals(trial.std, trial.values[0])})"
    ended = trial.state.lower() + (f": {trial.reason}" if trial.reason else "")
    print(f"trial    {trial.number} of {record.name}")
    print(f"state    {ended}; {plural(trial.attempts, 'attempt')}")
    if values:
        rank = record.ranking.index(trial.number) + 1 if trial.number in record.ranking else None
        print(f"value    {values}{spread}{'' if rank is None else f'; rank {rank}'}")
    if trial.repeats:
        each = (decimals(math.nan if one is None else one) for one in trial.repeats)
        print(f"repeats  {', '.join(each)}")
    if trial.seconds is not None:
        print(f"time     {trial.seconds:,.2f} s")
    if trial.placed is not None:
        print(f"place    {told_place(trial.placed)}")
    for name, value in trial.params.items():
        print(f"param    {name}={override_text(value)}")
    for name, value in trial.result.items():
        print(f"result   {name}={short(value)}")
    if trial.folder is not None:
        print_folder(trial.folder)
    print(f"again    {again(trial, study)}")
    files = ("config.yaml", "result.json")  # without them there is no page of a single run
    if trial.folder is not None and all((trial.folder / name).exists() for name in files):
        print(f"next     {place.verb('report', record.name, '--trial', str(trial.number))}")


def print_folder(folder: Path) -> None:
    """Print where a trial's files are, its error, and the command that uploads it to W&B."""
    print(f"folder   {shown_path(folder)}")
    error = folder / "error.txt"
    if error.exists():
        print(f"error    {shown_path(error)}")
    if offline := [run for run in offline_runs(folder) if not is_synced(run)]:
        shows = shlex.join(["wandb", "leet", shown_path(offline[-1].parent)])
        print(f"W&B      offline; to see it here: {shows}")


def again(trial: TrialRecord, study: optuna.Study) -> str:
    """Write the command that runs a trial's settings as a single run."""
    attrs = StudyAttributes.of(study)
    searched = [
        f"{name}={value if name in attrs.as_text else override_text(value)}"
        for name, value in trial.params.items()
    ]
    return single_run(attrs.command, searched)
