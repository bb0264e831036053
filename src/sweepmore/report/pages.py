"""Pages and tables about studies and runs, from what they left behind; nothing is trained."""

from __future__ import annotations

import json
import math
import shlex
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.trial import TrialState

from sweepmore.compose.cli import script_beside
from sweepmore.confirm.rounds import next_round, told_unconfirmed, unconfirmed
from sweepmore.errors import RunError, StudyError, UserError
from sweepmore.report import figures
from sweepmore.report.document import Page, Picture, Section, Table, cell, markdown
from sweepmore.runs.files import read_json
from sweepmore.runs.finding import began
from sweepmore.runs.names import ending, name_of, searched_name
from sweepmore.runs.record import read_config, read_metrics, read_overrides
from sweepmore.statistics.importance import shares
from sweepmore.statistics.intervals import HOLDS, gain
from sweepmore.study.application import Application, Command, Curves, Describe
from sweepmore.study.attempts import Attempt, key_of, run_of, runs_each, words
from sweepmore.study.attributes import StudyAttributes, Winner, WinnerRow
from sweepmore.study.edges import at_edge
from sweepmore.study.noise import noise
from sweepmore.study.parts import application_of, confirmation_of
from sweepmore.study.view import SHOWN, StudyView, best_of, view
from sweepmore.study.winners import TESTED_BEFORE, reported, seeds_of, tested
from sweepmore.sweep.command_lines import command_line
from sweepmore.typed import dotted
from sweepmore.wording import decimals, plural, plus_minus, shown_path

# A study of more trials than this is shown by its best; csv=true writes them all.
MOST_ROWS, MOST_COMMITTED = 200, 20
# The card that names the run of the winner, else of the best.
FOLDER = "folder"
TRIALS = "The trials"


# Of a run by its name: what its result.json holds.
Results = Sequence[tuple[str, Mapping[str, Any]]]


def _nothing(of: Any) -> list[Any]:
    return []


@dataclass(frozen=True)
class Additions:
    """What is known where an application is imported, beside what its studies keep of it.

    ``describe`` is what it registers: for studies of older versions, which keep no record, and for
    single runs. ``numbers`` says more of a run by its ``result.json``, ``note`` how to read the
    curves of runs; ``facts``, ``warnings`` and ``sections`` open the run in a folder. ``scripts``
    is the folder of the scripts that pages may name.
    """

    describe: Describe = lambda config: Application()
    numbers: Callable[[Mapping[str, Any]], Sequence[tuple[str, str]]] = _nothing
    note: Callable[[Results], str] = lambda results: ""
    facts: Callable[[Path], Sequence[tuple[str, str]]] = _nothing
    warnings: Callable[[Path], Sequence[str]] = _nothing
    sections: Callable[[Path], Sequence[Section]] = _nothing
    scripts: Path | None = None

    def of(self, application: Application) -> Additions:
        """These, where they are this application's; of another one's studies nothing is known."""
        own = self.describe({}).name == application.name
        return self if own else Additions(scripts=self.scripts)

    def script(self, label: str, script: str, words: str) -> list[tuple[str, str]]:
        """A command by a script of sweepmore's, where that script is there."""
        start = None if self.scripts is None else script_beside(self.scripts, script)
        return [] if start is None else [(label, f"{start} {words}")]

    def own(
        self, application: Application, command: Command | None, **words: str
    ) -> list[tuple[str, str]]:
        """A command of the application's own, where it can be typed."""
        if command is None:
            return []
        typed = command.typed(*application.folders(self.scripts), **words)
        return [] if typed is None else [typed]


NOTHING_ADDED, NOTHING_KNOWN = Additions(), Application()


@dataclass(frozen=True)
class Told:
    """What an application told of one run."""

    facts: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()
    sections: Sequence[Section] = ()


def tell(additions: Additions, run: Path) -> Told:
    """A run that is gone or cannot be opened (its data are elsewhere) is a warning, no failure:
    the study itself lies in the database. Of an application that keeps no such record, nothing."""
    if run.exists() and not (run / "config.yaml").exists():
        return Told()
    if not (run / "result.json").exists():
        return Told(warnings=[f"the run of the best is gone: {shown_path(run)}"])
    try:
        return Told(additions.facts(run), additions.warnings(run), additions.sections(run))
    except UserError as error:
        return Told(warnings=[f"of {name_of(run)} nothing more is known: {error.problem}"])


@dataclass(frozen=True)
class Study:
    """A study, read once. ``winner`` is what confirm.py left, its trials numbered as in the study;
    ``tested`` whether it, or an earlier winner, has had a look at test; ``since`` says what the
    search has found after the winner was named, with the command that confirms it."""

    seen: StudyView
    application: Application
    attrs: StudyAttributes
    reports: Mapping[int, Mapping[int, float]]
    metrics: Sequence[str]
    winner: Winner | None
    tested: Literal["winner", "another"] | None
    shares: Mapping[str, float]
    since: tuple[str, str] | None = None

    @property
    def question(self) -> Mapping[str, Any]:
        return self.attrs.question

    @property
    def best(self) -> Attempt:
        return best_of(self.seen)

    @property
    def answer(self) -> Attempt:
        """The confirmed winner's trial, else the best."""
        roots = {attempt.root: attempt for attempt in self.seen.ranked}
        return self.best if self.winner is None else roots.get(self.winner.trial, self.best)

    @property
    def sign(self) -> float:
        """Of the first objective: 1 where lower is better."""
        return self.seen.sign()

    @property
    def total(self) -> int | None:
        """How many trials it was last asked for; None where an older version asked."""
        return None if self.attrs.budget is None else self.attrs.budget.n_trials

    @property
    def runs_each(self) -> int:
        return runs_each(self.question.get("repeats"))

    @property
    def is_search(self) -> bool:
        """Whether it is no confirmation of another, nor a measure of its noise."""
        return searched_name(self.seen.name) == self.seen.name

    @property
    def may_be_luck(self) -> bool:
        """Whether the best is the best of many single seeds, and not yet confirmed."""
        seeds = "seed" in (self.question.get("repeats") or {})
        one = len(self.seen.directions) == 1
        return self.winner is None and not seeds and one and self.is_search

    @property
    def winning_run(self) -> Path:
        """The confirmed winner's run, else the best trial's (its first, of several repeats)."""
        return self.winner.run if self.winner else run_of(self.best)


def read_study(study: optuna.Study, additions: Additions) -> Study:
    """With its confirmation, where there is one."""
    seen, attrs = view(study), StudyAttributes.of(study)
    application = application_of(study) or additions.describe(attrs.question["config"])
    metrics = names_of(study, application)
    confirmed = confirmation_of(study)
    known = StudyAttributes() if confirmed is None else StudyAttributes.of(confirmed)
    winner = None if known.winner is None else as_searched(known.winner, seen)
    reports = {t.number: t.intermediate_values for t in study.get_trials(deepcopy=False)}
    found = shares(
        [attempt.params for attempt in seen.ranked],
        [(attempt.values or (math.nan,))[0] for attempt in seen.ranked],
        seen.directions[0],
        attrs.question["space"],
    )
    told = told_unconfirmed(unconfirmed(study))
    since = (told, next_round(study)) if told else None
    return Study(seen, application, attrs, reports, metrics, winner, tested(known), found, since)


def names_of(study: optuna.Study, application: Application) -> list[str]:
    """Of each value: the application's name, else the one that its trials gave, else its place."""
    number = len(study.directions)
    for names in (application.objectives, study.metric_names or ()):
        if len(names) == number:
            return list(names)
    return [f"value {k}" for k in range(number)]


def as_searched(winner: Winner, seen: StudyView) -> Winner:
    """A winner's record with the trials' numbers in the search instead of the confirmation's."""
    numbers = {key_of(attempt.params): attempt.root for attempt in reversed(seen.ranked)}

    def renumbered(row: WinnerRow) -> WinnerRow:
        return replace(row, trial=numbers.get(key_of(row.params), row.trial))

    trial = numbers.get(key_of(winner.params), winner.trial)
    return replace(winner, trial=trial, rows=tuple(map(renumbered, winner.rows)))


def study_page(study: Study, additions: Additions, where: str = "") -> Page:
    """``where`` are the words of outputs and storage that its commands need, " outputs=…"."""
    seen, metric, additions = study.seen, study.metrics[0], additions.of(study.application)
    told, run = tell(additions, study.winning_run), study.winning_run / "result.json"
    numbers = additions.numbers(read_json(run)) if run.exists() else ()
    evidence = [
        Section("How the search went", pictures=[Picture([figures.history(seen, metric)])]),
        _trials(study),
    ]
    if len(seen.directions) > 1:
        evidence.insert(0, _front(study))
    if study.winner is not None:
        evidence.insert(0, _confirmed(study))
    curves = figures.learning_curves(seen, study.reports, metric)
    if curves is not None and not study.question.get("repeats"):  # whose reports are no steps
        evidence.append(Section("How the trials learnt", pictures=[Picture([curves])]))
    evidence += _parameters(study)
    fit = figures.overfitting(seen, study.application.curves)
    if fit is not None:
        evidence.append(Section("Underfitting and overfitting", pictures=[Picture([fit])]))
    return Page(
        title=seen.name,
        subtitle=_subtitle(study),
        facts=[*_facts(study), *((f"its run's {k}", v) for k, v in numbers), *told.facts],
        warnings=[*_warnings(study), *told.warnings],
        sections=[*evidence, *told.sections],
        commands=_commands(study, where, additions),
    )


def _front(study: Study) -> Section:
    """The first two objectives drawn; the trials of all."""
    labels = study.metrics[:2]
    text = f"{labels[0]} against {labels[1]}; the lines are the best known."
    table = _table(study, study.seen.front)
    return Section("What no trial beats", text, [Picture([front_of(study)])], [table])


def front_of(study: Study) -> figures.Chart:
    """Of two objectives; with a line for each value of the first parameter that is a choice."""
    space = study.question["space"]
    choices = [name for name, one in space.items() if "choices" in one.get("attributes", {})]
    group = next((name for name in choices if 2 <= len(_values(study.seen, name)) <= 6), None)
    return figures.front(study.seen, study.metrics[:2], group)


def _values(seen: StudyView, name: str) -> set[Any]:
    return {a.params.get(name) for a in seen.ranked}


def _subtitle(study: Study) -> str:
    times = [a.started for a in study.seen.attempts if a.started is not None]
    seconds = sum(study.seen.seconds_of(a) or 0.0 for a in study.seen.counted)
    start = f"{min(times):%Y-%m-%d %H:%M}" if times else "not begun"
    trials = plural(len(study.seen.counted), "trial")
    return f"{start} · {trials} · {seconds:,.0f} s of trials, added up"


def _facts(study: Study) -> list[tuple[str, str]]:
    """The answer first: the winner, and beside it what the search alone had found."""
    seen, best, answer = study.seen, study.best, study.answer
    facts = []
    if study.winner is not None:
        mean, half = study.winner.mean, study.winner.half_width
        facts.append(("winner", f"trial {answer.root}: {words(answer.params)}"))
        facts.append(("confirmed", reported(study.winner)))
    for k, metric in enumerate(study.metrics[: len(seen.directions)]):
        one = seen.best_in(k)
        value = cell((one.values or ())[k])
        label = f"best {metric}" if study.winner is None else f"in the search alone: best {metric}"
        facts.append((label, f"{value} (trial {one.root})"))
    if len(seen.directions) > 1:
        facts.append(
            ("no trial beats", f"{len(seen.front)} of {plural(len(seen.ranked), 'trial')}")
        )
    elif study.winner is None:
        facts.append(("its settings", words(best.params)))
    first = next((a for a in seen.ranked if a.root == min(x.root for x in seen.ranked)), best)
    start = (first.values or (math.nan,))[0]
    if first.root == (best if study.winner is None else answer).root:
        pass  # nothing was gained over itself
    elif study.winner is not None:
        over = gain(study.sign * start, study.sign * mean, half, study.winner.seeds,
                    study.runs_each)  # fmt: skip
        told = f"{plus_minus(over.mean, over.half, sign='+')} "
        told += f"(95 %; trial {first.root} is taken for as noisy as the winner)"
        facts.append((f"gain over trial {first.root}", told))
    elif best.values and len(seen.directions) == 1:
        better = study.sign * (start - best.values[0])
        gained = decimals(better, start, sign="+")
        each = "one run" if study.runs_each == 1 else plural(study.runs_each, "run")
        facts.append((f"gain over trial {first.root}", f"{gained} ({each} each, not confirmed)"))
    if len(seen.directions) == 1:
        facts.append((FOLDER, shown_path(study.winning_run)))
    counts = ", ".join(
        f"{number} {word}"
        for number, word in (
            (seen.count(TrialState.COMPLETE), "complete"),
            (seen.count(TrialState.PRUNED), "pruned"),
            (len(seen.failed), "failed"),
        )
        if number
    )
    missing = 0 if study.total is None else study.total - len(seen.counted) - len(seen.given_up)
    left = f"; {missing} of {study.total} to come" if missing > 0 else ""
    return [*facts, ("trials", counts + left)]


def _warnings(study: Study) -> list[str]:
    seen, space = study.seen, study.question["space"]
    found = [] if study.since is None else [study.since[0]]
    if study.tested == "another":
        found.append(TESTED_BEFORE)
    found += [f"{line}: look beyond it" for line in _edges(study.answer, space)]
    if seen.infeasible:
        share = len(seen.infeasible) / max(1, len(seen.counted))
        found.append(f"{share:.0%} of the trials have no finite value (diverged, or never there)")
    if seen.failed:
        failed = plural(len(seen.failed), "trial")
        found.append(f"{failed} failed: error.txt in the folder of each says why")
    if again := len(seen.repeated):
        counted = plural(len(seen.counted), "trial")
        found.append(
            f"{again} of {counted} have the parameters of an earlier one: with the same seed they "
            "tell nothing new"
        )
    if study.may_be_luck:
        found.append(
            "one seed a trial, and the best of many is partly luck: confirm.py tells how much"
        )
    return found


def _edges(best: Attempt, space: Mapping[str, Any]) -> list[str]:
    distributions = {
        name: optuna.distributions.json_to_distribution(json.dumps(one))
        for name, one in space.items()
    }
    return at_edge(best.params, distributions)


def _confirmed(study: Study) -> Section:
    assert study.winner is not None
    winner = study.winner
    picture = Picture(
        [figures.confirmed(winner, study.metrics[0])],
        "On the line the search told the truth; bars are 95 % intervals.",
    )
    pictures = [picture] if len(winner.rows) > 1 else []  # a single point says nothing
    text = _what_seeds_say(winner, study.sign)
    return Section(seeds_title(winner), text, pictures, [winner_table(winner)])


def _what_seeds_say(winner: Winner, sign: float) -> str:
    """Which seeds chose, which gave the number to report, and what the search had promised."""
    fresh, is_final = plural(winner.seeds, "fresh seed"), winner.final is not None
    if len(winner.rows) == 1 and not is_final:
        said = [f"The best was trained again with {fresh}; nothing was chosen by them."]
    else:
        said = [
            f"The best were trained again with the same {fresh}, which chose the winner.",
            "A configuration is tied where its paired difference to the best may be zero; the "
            "simplest of the tied wins.",
        ]
    if is_final:
        said += [
            f"The winner was then trained with {seeds_of(winner)}, which did not choose it.",
            f"Their mean is the number to report: {reported(winner)}.",
        ]
    bias = winner.selection_bias
    than = "better" if sign * bias < 0 else "worse"
    said += [
        f"The search had shown {decimals(winner.searched)} for the winner, "
        f"{decimals(abs(bias), winner.searched)} {than} than the {seeds_of(winner)} give.",
        *([HOLDS] if is_final else []),
    ]
    return " ".join(said)


def seeds_title(winner: Winner) -> str:
    """Of the section about a confirmation."""
    return f"What fresh {'' if winner.final is None else 'and final '}seeds say"


def winner_table(winner: Winner) -> Table:
    """The confirmed configurations, by the seeds that chose; the winner's row is marked."""
    mean = f"mean of {plural(winner.seeds, 'fresh seed')}"
    return Table(
        ["trial", "in the search", mean, "± (95 %)", "tied", "parameters"],
        [[row.trial, row.searched, row.mean, row.half_width, row.tied,
          words(row.params)] for row in winner.rows],
        marked=[k for k, row in enumerate(winner.rows) if row.trial == winner.trial],
        typed=[0],
    )  # fmt: skip


def _trials(study: Study) -> Section:
    ranked = study.seen.ranked
    text = f"The best {MOST_ROWS} of {len(ranked)}; csv=true writes all to {study.seen.name}.csv."
    return Section(TRIALS, text if len(ranked) > MOST_ROWS else "", tables=[_table(study, ranked)])


def _table(study: Study, shown: Sequence[Attempt]) -> Table:
    """A row each; marked is the best, or of several objectives what no trial beats."""
    seen, names = study.seen, list(study.question["space"])
    error = noise(seen.ranked[:SHOWN])
    kept = {
        key: head
        for key, head in study.application.columns.items()
        if any(_kept(attempt, key) is not None for attempt in shown)
    }
    head = [
        "trial",
        *study.metrics[: len(seen.directions)],
        *(["± s.e."] if error else []),
        *kept.values(),
        "seconds",
        *names,
    ]
    rows = []
    for a in shown[:MOST_ROWS]:
        std = [None if a.attrs.std is None else a.attrs.std / len(a.attrs.repeats or ()) ** 0.5]
        rows.append([a.root, *(a.values or ()), *(std if error else []),
                     *(_kept(a, key) for key in kept), seen.seconds_of(a),
                     *(a.params.get(name) for name in names)])  # fmt: skip
    best = study.seen.front if len(study.seen.directions) > 1 else shown[:1]
    roots = {attempt.root for attempt in best} if len(shown) > len(best) else set()
    marked = [k for k, row in enumerate(rows) if row[0] in roots]
    params = range(len(head) - len(names), len(head))
    return Table(head, rows, marked=marked, typed=[0, *params])


def _kept(attempt: Attempt, key: str) -> Any:
    """What the application keeps with a trial under a key; None where it has nothing there."""
    return (attempt.attrs.result or {}).get(key)


def _parameters(study: Study) -> list[Section]:
    seen, metric = study.seen, study.metrics[0]
    charts = figures.slices(seen, study.question["space"], metric)
    caption = f"Each point is one of n = {plural(len(seen.ranked), 'trial')}."
    found = []
    if charts:
        found.append(
            Section(
                "Each parameter",
                pictures=[Picture(charts, caption, columns=min(3, len(charts)))],
                tables=_lists(study),
            )
        )
    bars = figures.importance(study.shares, seen)
    if bars is not None:
        left = 1 - sum(study.shares.values())
        text = (
            f"How much of the variance of {metric} each parameter explains by itself, corrected "
            "for chance; two that the sampler moved together share it. The other "
            f"{max(0.0, left):.0%} is interactions and noise. It is about these trials, the bad "
            "ones too (far outliers are drawn in), not about the best alone: a parameter whose "
            "range is narrow, or that the sampler soon settled, looks unimportant."
        )
        found.append(Section("What mattered", text, [Picture([bars])]))
    return found


def _lists(study: Study) -> list[Table]:
    """For each list that was searched a row a member: how many trials, their best and mean."""
    found = []
    for name, one in study.question["space"].items():
        rows = []
        for choice in one.get("attributes", {}).get("choices", ()):
            of_it = [a for a in study.seen.ranked if repr(a.params.get(name)) == repr(choice)]
            values = [(a.values or (math.nan,))[0] for a in of_it]
            if values:
                best = min(values, key=lambda value: study.sign * value)
                rows.append([choice, len(values), best, statistics.fmean(values)])
        if len(rows) > 1:
            head = [name, "trials", f"best {study.metrics[0]}", "mean"]
            found.append(Table(head, rows, typed=[0]))
    return found


def _commands(study: Study, where: str, additions: Additions) -> list[tuple[str, str]]:
    """What to do next comes first. A confirmation is not confirmed once more, nor asked for more
    trials: confirm.py goes on with it, from the study that it confirms."""
    if not study.is_search:
        about = f"study={shlex.quote(searched_name(study.seen.name))}{where}"
        return additions.script("The study that it is about:", "report.py", about)
    application, own = study.application, study.application.commands
    name, found = shlex.quote(study.seen.name), list[tuple[str, str]]()
    if study.since is not None:
        what = "What was found since, into the same confirmation:"
        found += additions.script(what, "confirm.py", study.since[1] + where)
    elif study.winner is not None and not study.tested:
        found += additions.own(application, own.number, study=name, which="winner", where=where)
    elif study.winner is None and len(study.seen.directions) == 1:
        what = "Is the best better than the next ones?"
        found += additions.script(what, "confirm.py", f"study={name}{where}")
    if len(study.seen.directions) == 1:
        which = "best" if study.winner is None else "winner"
        found += additions.own(application, own.study, study=name, which=which, where=where)
    found.append(_going_on(study))
    root = additions.scripts
    if root is not None and (root / "Makefile").exists() and not where:  # it knows no other place
        there = "" if shown_path(root) == "." else f" -C {shlex.quote(shown_path(root))}"
        found.append(("Contours, parallel coordinates, every trial:", f"make{there} dashboard"))
    return found


def _going_on(study: Study) -> tuple[str, str]:
    """The study's command, with more trials where all are done."""
    command, done, total = study.attrs.command, len(study.seen.counted), study.total
    same = command_line(command, here=True)
    if total is None:
        return "The study's command; it goes on where it stopped:", same
    if done + len(study.seen.given_up) < total:
        return f"{done} of {plural(total, 'trial')} done; the same command goes on:", same
    if study.attrs.budget is not None and study.attrs.budget.grid:
        return f"The study's command; all of its grid is done ({plural(total, 'point')}):", same
    more = command_line(command, 2 * total, here=True)
    return (
        f"{plural(total, 'trial is', 'trials are')} done; for more, n_trials is the new total:",
        more,
    )


def compare_studies(
    studies: Sequence[Study], additions: Additions = NOTHING_ADDED, where: str = ""
) -> Page:
    """Side by side at equal trials and equal time; StudyError where their data differ. ``where``
    is as of ``study_page``."""
    first = studies[0]
    for other in studies[1:]:
        for what, mine, theirs in (
            ("data", first.question["identity"], other.question["identity"]),
            ("objectives", first.metrics, other.metrics),
            ("directions", first.seen.directions, other.seen.directions),
        ):
            if mine != theirs:
                raise StudyError(
                    f"{first.seen.name} and {other.seen.name} have other {what}: {mine} and "
                    f"{theirs}.",
                    value=[mine, theirs],
                    cure="Only values of the same question on the same data can be compared.",
                )
    views, metric = [study.seen for study in studies], first.metrics[0]
    pictures = [
        Picture([figures.anytime(views, metric, "trials")], "At equal numbers of trials."),
        Picture([figures.anytime(views, metric, "time")], "At equal work: seconds of all trials."),
    ]
    facts, table = _side_by_side(studies)
    left = [study.seen.name for study in studies if study.winner is None and study.is_search]
    return Page(
        title=" and ".join(seen.name for seen in views),
        subtitle=f"{len(views)} studies of the same data and objective",
        facts=facts,
        warnings=[
            f"{name} is not confirmed: the best of many is partly luck, the more so the more "
            "trials there are"
            for name in left
        ],
        sections=[
            Section("Side by side", tables=[table]),
            Section("Best so far", pictures=pictures),
        ],
        commands=additions.script(
            "One of them:", "report.py", f"study={shlex.quote(views[0].name)}{where}"
        ),
    )


def _side_by_side(studies: Sequence[Study]) -> tuple[list[tuple[str, str]], Table]:
    """The headline and a row a study. Where all are confirmed their means are the headline, else
    the best at equal budgets: more trials find a better one by luck alone."""
    ways = [figures.so_far(study.seen) for study in studies]
    trials = min(len(way) for way in ways)
    seconds = min(way[-1].seconds if way else 0.0 for way in ways)
    early = [_last_best(one for one in way if one.trials <= trials) for way in ways]
    quick = [_last_best(one for one in way if one.seconds <= seconds) for way in ways]
    number = plural(trials, "trial")
    equal = [(f"best after {number}", early), (f"best after {seconds:,.1f} s", quick)]
    rows = [
        [s.seen.name, len(way), way[-1].seconds if way else 0.0, early[k], quick[k],
         (s.best.values or (math.nan,))[0], s.winner.mean if s.winner else None,
         s.winner.half_width if s.winner else None, words(s.answer.params)]
        for k, (s, way) in enumerate(zip(studies, ways))
    ]  # fmt: skip
    head = ["study", "trials", "seconds", *(label for label, _ in equal),
            f"best {studies[0].metrics[0]}", "confirmed", "± (95 %)",
            "settings of the winner, else of the best"]  # fmt: skip
    means = [None if study.winner is None else study.winner.mean for study in studies]
    facts = []
    if None not in means:
        for k in _best_first(means, studies[0].sign):
            winner = studies[k].winner
            assert winner is not None  # it has a mean
            facts.append((f"{rows[k][0]}, confirmed", reported(winner)))
        equal = [("", means)]
    leading = [(label, values, _best_first(values, studies[0].sign)) for label, values in equal]
    if not facts:
        facts = [(label, f"{decimals(values[order[0]] or 0.0)} ({rows[order[0]][0]})")
                 for label, values, order in leading if order]  # fmt: skip
    marked = sorted({order[0] for *_, order in leading if order})
    return facts, Table(head, rows, marked=marked)


def _last_best(known: Iterable[figures.SoFar]) -> float | None:
    """The best at the end; None where no trial was complete by then."""
    best = [one.best for one in known if math.isfinite(one.best)]
    return best[-1] if best else None


def _best_first(values: Sequence[float | None], sign: float) -> list[int]:
    """Places of the values that there are; ``sign`` is 1 where lower is better."""
    known = [(sign * value, k) for k, value in enumerate(values) if value is not None]
    return [k for _, k in sorted(known)]


def runs_page(folders: Sequence[Path], additions: Additions) -> Page:
    """A run, or two of them: what differs in their settings, their curves together, and what the
    application tells of each side by side."""
    results = [read_json(folder / "result.json") for folder in folders]
    for result in results[1:]:
        if result["data"]["fingerprint"] != results[0]["data"]["fingerprint"]:
            names = [one["data"]["name"] for one in results]
            raise RunError("The runs have other data: their losses cannot be compared.",
                           value=names, cure="Compare runs of equal fingerprints.")  # fmt: skip
    names = [name_of(folder) for folder in folders]
    application = additions.describe(dotted(read_config(folders[0])))
    additions = additions.of(application)
    told, sections = [tell(additions, folder) for folder in folders], list[Section]()
    known = list(zip(names, results))
    if len(folders) > 1:
        sections.append(Section("What differs", tables=[differing(folders)]))
    if application.curves.drawn:
        chart = figures.logged(application.curves, _logged(names, folders), results[0]["data"])
        pictures = [Picture([chart], additions.note(known))]
        sections.append(Section(application.curves.title, pictures=pictures))
    sections += side_by_side(names, told) if len(folders) > 1 else told[0].sections
    facts = [
        fact
        for name, result in known
        for fact in (
            (name, _ended(application.curves, result)),
            *((f"{name}: the {label}", text) for label, text in additions.numbers(result)),
        )
    ]
    return Page(
        title=" and ".join(names),
        subtitle=" · ".join(
            f"{plural(r['steps'], 'step')} in {r['seconds']:.1f} s" for r in results
        ),
        facts=[*facts, *(told[0].facts if len(folders) == 1 else ())],
        warnings=_warnings_of_runs(names, told),
        sections=sections,
        commands=[
            command
            for name, folder in zip(names, folders)
            for command in additions.own(
                application,
                application.commands.run,
                which="it" if len(names) == 1 else name,
                run=shlex.quote(shown_path(folder)),
                where="",
            )
        ],
    )


def _logged(
    names: Sequence[str], folders: Sequence[Path]
) -> list[tuple[str, Sequence[Mapping[str, Any]]]]:
    """The rows of each run's journal, by its name, which a single run does not need."""
    return [
        (name if len(folders) > 1 else "", read_metrics(folder))
        for name, folder in zip(names, folders)
    ]


def _ended(curves: Curves, result: Mapping[str, Any]) -> str:
    """How a run ended: its status, or what it was measured by."""
    if result["status"] != "ok":
        return f"{result['status']}: {result['reason']}"
    known = [curve for curve in curves.drawn if result.get(curve.key) is not None]
    values = (f"{curve.name} {decimals(result[curve.key])}" for curve in known)
    return ", ".join(values) or "ok"


def _warnings_of_runs(names: Sequence[str], told: Sequence[Told]) -> list[str]:
    """Of several runs each warning says whose it is."""
    if len(told) == 1:
        return list(told[0].warnings)
    return [f"{name}: {warning}" for name, one in zip(names, told) for warning in one.warnings]


def side_by_side(names: Sequence[str], told: Sequence[Told]) -> list[Section]:
    """Of the sections that all runs have, by title, the tables beside each other."""
    found = []
    titled = [{section.title: section for section in one.sections} for one in told]
    for title in titled[0]:
        same = [sections[title] for sections in titled if title in sections]
        if len(same) == len(names):
            tables = [
                replace(table, caption=f"{name}. {section.text}".strip())
                for name, section in zip(names, same)
                for table in section.tables
            ]
            found += [Section(title, tables=tables)] if tables else []
    return found


def differing(folders: Sequence[Path]) -> Table:
    """The settings that are not the same in all runs, as they are typed; – where a run's version
    did not have one."""
    flat = [dotted(read_config(folder)) for folder in folders]
    typed = [{key: as_typed(value) for key, value in one.items()} for one in flat]
    keys = sorted({key for one in typed for key in one})
    rows = [[key, *(one.get(key) for one in typed)] for key in keys]
    return Table(
        ["setting", *map(name_of, folders)], [row for row in rows if len(set(row[1:])) > 1]
    )


def as_typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def results_page(
    study: Study, about: Sequence[tuple[str, str]], additions: Additions = NOTHING_ADDED
) -> str:
    """RESULTS.md of a study that is committed with its trials and figures: what was asked, what
    was found, what failed. ``about`` says when, where and from which commit."""
    page = study_page(study, additions)
    facts = [(label, told) for label, told in page.facts if label != FOLDER]  # not committed
    lines = [f"# {page.title}", "", page.subtitle, ""]
    lines += [f"- {label}: {text}" for label, text in (*about, *facts)]
    lines += [f"- data: {json.dumps(study.question['identity'])}", ""]
    lines += ["```", command_line(study.attrs.command), "```", ""]
    if page.warnings:
        lines += ["Check these:", "", *(f"- {warning}" for warning in page.warnings), ""]
    for section in page.sections:
        lines += [f"## {section.title}", ""]
        lines += [section.text, ""] if section.text and section.title != TRIALS else []
        for picture in section.pictures:
            lines += [f"![{section.title}]({picture.name}.png)", ""]
        for table in section.tables:
            few = replace(table, rows=table.rows[:MOST_COMMITTED])
            lines += [markdown(few), ""]
            if len(few.rows) < len(table.rows):
                lines += [f"The first {len(few.rows)} rows; trials.csv has every trial.", ""]
    return "\n".join(lines)


def list_runs(outputs: Path, application: Application = NOTHING_KNOWN, most: int = 15) -> Table:
    """Newest first: status, the first of the application's curves, data, and what was set."""
    measured, rows = application.curves.drawn[:1], []
    folders = [path.parent for path in (outputs / "runs").glob("*/config.yaml")]
    for folder in sorted(folders, key=began, reverse=True)[:most]:
        done = folder / "result.json"
        result = read_json(done) if done.exists() else {}
        words_set = " ".join(read_overrides(folder))
        values = [result.get(curve.key) for curve in measured]
        rows.append([folder.name, result.get("status", "not ended"), *values,
                     result.get("data", {}).get("name"), words_set])  # fmt: skip
    names = [f"{curve.name} {application.curves.quantity}" for curve in measured]
    return Table(["run", "status", *names, "data", "set"], rows)


def list_studies(database: optuna.storages.BaseStorage, most: int = 15) -> Table:
    """Newest first: its state, how many trials, the confirmed mean of the winner, else the best
    value; data, and what was set."""
    names = optuna.get_all_study_names(database)
    found: list[tuple[datetime, list[Any]]] = []
    for name in names:
        if ending(name):
            continue
        study = optuna.load_study(study_name=name, storage=database)
        attrs = StudyAttributes.of(study)
        if not attrs.command:
            continue
        seen = view(study)
        times = [a.started for a in seen.attempts if a.started is not None]
        confirmed, best = confirmation_of(study), seen.ranked[0] if seen.ranked else None
        known = StudyAttributes() if confirmed is None else StudyAttributes.of(confirmed)
        value: float | str | None = None if best is None else (best.values or (None,))[0]
        if known.winner is not None:  # a confirmed mean, no best of many
            value = plus_minus(known.winner.mean, known.winner.half_width)
        data = None if best is None else data_of(run_of(best))
        total = None if attrs.budget is None else attrs.budget.n_trials
        state = state_of(seen, total, known)
        whole = state != "stopped" or total is None
        trials = len(seen.counted) if whole else f"{len(seen.counted)} of {total}"
        row = [name, state, trials, value, data,
               " ".join(set_words(attrs.command["words"]))]  # fmt: skip
        found.append((max(times, default=datetime.min), row))
    found.sort(key=lambda one: one[0], reverse=True)
    head = ["study", "state", "trials", "best (±: confirmed)", "data", "set"]
    return Table(head, [row for _, row in found[:most]])


def state_of(seen: StudyView, total: int | None, confirmed: StudyAttributes) -> str:
    """``confirmed`` is what is known of a confirmation; ``total`` is None where no version that
    kept it ran the study."""
    if seen.running:
        return "running"
    if (whose := tested(confirmed)) is not None:
        return "tested" if whose == "winner" else "confirmed anew"
    if confirmed.winner is not None:
        return "confirmed"
    short = total is not None and len(seen.counted) + len(seen.given_up) < total
    if seen.waiting or short:
        return "stopped"
    return "done"


def data_of(run: Path) -> str | None:
    """The name of a run's data, as ``result.json`` has it; None where that is gone."""
    path = run / "result.json"
    name = read_json(path).get("data", {}).get("name") if path.exists() else None
    return None if name is None else str(name)


def set_words(words: Sequence[str]) -> list[str]:
    """Of a study's command: the application's settings, then the sweeper's, its name left out."""
    where = tuple(f"hydra.sweeper.{key}=" for key in ("study_name", "outputs", "storage"))
    return sorted(
        (word for word in words if not word.startswith(where)),
        key=lambda word: word.startswith("hydra"),
    )
