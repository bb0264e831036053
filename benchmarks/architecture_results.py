"""What the searches of sweeps/architectures found: a table, two figures, and the data of both,
which can be read back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.architecture_answers import Answer, Missing, Trial, by_size, compared, verdict
from benchmarks.architecture_figures import (
    COUNTING,
    LECTURE,
    LECTURE_PARAMETERS,
    draw_parameters,
    draw_search,
)
from sweepmore.runs.files import write_atomic
from sweepmore.wording import plus_minus

TRIALS = ("trials.csv", ("search", "trial", "state", "seconds", "dev_loss", "settings"))
SEEDS = (
    "seeds.csv",
    ("search", "parameters", "seed", "dev_loss", "training_seconds", "settings", "measured"),
)
# What is written anew; the words around it stay.
BEGIN, END = "<!-- benchmarks.architectures -->\n", "<!-- end -->\n"
# What sweeps/architectures/*.yaml say of the searches, and how these nets are usually trained.
HIDDEN = (
    "**What the budget hides.** The searches had equal seconds, not equal preparation. The MLP's "
    "activation and ranges come from [an earlier search](../open.yaml) of it alone. Steps and "
    "batch sizes were chosen by hand, from the cost of a step: at 300k the MLP is trained on 3.07 "
    "million contexts, WaveNet on 1.02, the GRU on 0.33, the transformer on 0.31. Their block size "
    "reaches 10, 16, 8 and 8. The GRU and the transformer learn only from each context's last "
    "position; usually they learn from all at once. The searches are short: {fewest} to {most} "
    "trials, the first five of them random. Intervals cover seeds, not another search."
)


def table(answers: Sequence[Answer]) -> Iterator[str]:
    """Yield the rows of one size."""
    yield "| architecture | dev loss | worse than the best by | | parameters | one training (s) "\
          "| trials | search (s) | settings |"  # fmt: skip
    yield "|---|---|---|---|---|---|---|---|---|"
    for rank, (answer, row) in enumerate(compared(answers)):
        apart = plus_minus(row.difference.mean, row.difference.half)
        yield (
            f"| {answer.architecture} | {plus_minus(row.interval.mean, row.interval.half)} "
            f"| {apart if rank else ''} | {('tied' if row.tied else 'worse') if rank else 'best'} "
            f"| {answer.parameters:,} "
            f"| {answer.training:,.0f} | {len(answer.trials)} | {answer.searched:,.0f} "
            f"| {answer.settings} |"
        )


def page(answers: Sequence[Answer], missing: Sequence[Missing]) -> Iterator[str]:
    """Yield the lines of RESULTS.md between its marks."""
    seeds = max((len(answer.seeds) for answer in answers), default=0)
    yield (
        f"{len(answers)} of {len(answers) + len(missing)} searches, one thread each, two at a time "
        f"· {seeds} fresh seeds, the same for all of a size\n"
    )
    yield "```\npython -m benchmarks.architectures\n```\n"
    every: list[Answer | Missing] = [*answers, *missing]
    for size, own in by_size(every).items():
        yield from section(size, own)
    if trials := [len(answer.trials) for answer in answers]:
        yield f"{HIDDEN.format(fewest=min(trials), most=max(trials))}\n"
    yield (
        f"A search ends with the trial in which its seconds are spent. Intervals are 95 %: "
        f"Student's of each mean over {seeds} seeds, and Tukey's of the differences, paired by "
        f"seed, within a size. Beside them: the lecture's net {LECTURE} ({LECTURE_PARAMETERS:,} "
        f"parameters), counting of order 6 {COUNTING:.4f}.\n"
    )
    if answers:
        yield "![Loss by parameters](parameters.png)\n\n![Loss by seconds of search](search.png)"


def section(size: str, searches: Sequence[Answer | Missing]) -> Iterator[str]:
    """Yield the lines of one size: the verdict, what is missing and why, the table."""
    answers = [search for search in searches if isinstance(search, Answer)]
    missing = [search for search in searches if isinstance(search, Missing)]
    yield f"## At most {size} parameters\n\n{verdict(answers)}\n"
    if missing:
        yield from (f"- {search.architecture}: {search.reason}" for search in missing)
        yield ""
    if answers:
        yield from table(answers)
        yield f"\n{'; '.join(dict.fromkeys(answer.measured for answer in answers))}\n"


def write(answers: Sequence[Answer], missing: Sequence[Missing], folder: Path) -> None:
    """Write the page, the figures, and the data of both into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    if answers:
        draw_parameters(answers, folder / "parameters.png")
        draw_search(answers, folder / "search.png")
    _write_rows(folder, TRIALS, (
        (a.name, t.number, t.state, round(t.seconds, 2), t.loss, t.settings)
        for a in answers for t in a.trials
    ))  # fmt: skip
    _write_rows(folder, SEEDS, (
        (a.name, a.parameters, seed, loss, round(a.training, 2), a.settings, a.measured)
        for a in answers for seed, loss in zip(a.seeds, a.values, strict=True)
    ))  # fmt: skip
    _write_page("\n".join(page(answers, missing)) + "\n", folder / "RESULTS.md")


def read(folder: Path) -> dict[str, Answer]:
    """Return the answers that ``write`` left in ``folder``, by the name of the search.

    Raises ValueError where a column or the trials of a search are missing.
    """
    trials, seeds = _rows_of(folder, TRIALS), _rows_of(folder, SEEDS)
    if lacking := [name for name in seeds if name not in trials]:
        raise ValueError(f"{folder / TRIALS[0]} has no trial of {lacking[0]}")
    return {name: _answer(trials[name], own) for name, own in seeds.items()}


def _answer(trials: Sequence[Mapping[str, str]], seeds: Sequence[Mapping[str, str]]) -> Answer:
    confirmed = seeds[0]
    architecture, size = confirmed["search"].split("-")
    return Answer(
        architecture=architecture,
        size=size,
        trials=tuple(
            Trial(
                number=int(row["trial"]),
                state=row["state"],
                seconds=float(row["seconds"]),
                loss=float(row["dev_loss"]) if row["dev_loss"] else None,
                settings=row["settings"],
            )
            for row in trials
        ),
        settings=confirmed["settings"],
        parameters=int(confirmed["parameters"]),
        training=float(confirmed["training_seconds"]),
        seeds=tuple(int(row["seed"]) for row in seeds),
        values=tuple(float(row["dev_loss"]) for row in seeds),
        measured=confirmed["measured"],
    )


def _rows_of(folder: Path, file: tuple[str, Sequence[str]]) -> dict[str, list[dict[str, str]]]:
    """Return the rows of each search; none where there is no file."""
    name, columns = file
    if not (folder / name).exists():
        return {}
    searches: dict[str, list[dict[str, str]]] = {}
    with (folder / name).open(newline="", encoding="utf-8") as text:
        reader = csv.DictReader(text)
        if lacking := [each for each in columns if each not in (reader.fieldnames or ())]:
            raise ValueError(f"{folder / name} has no column {lacking[0]}")
        for row in reader:
            searches.setdefault(row["search"], []).append(row)
    return searches


def _write_rows(
    folder: Path, file: tuple[str, Sequence[str]], rows: Iterable[Sequence[object]]
) -> None:
    name, columns = file
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_atomic(folder / name, text.getvalue())


def _write_page(text: str, path: Path) -> None:
    whole = (
        path.read_text(encoding="utf-8") if path.exists() else f"# architectures\n\n{BEGIN}{END}"
    )
    head, rest = whole.split(BEGIN)
    _, tail = rest.split(END)
    write_atomic(path, f"{head}{BEGIN}{text}{END}{tail}")
