"""The pages that ``sweepmore report`` writes, once it is known what is meant."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from sweepmore.command.application import additions_of, home
from sweepmore.compose.studies import began_in, names_in, opened_study
from sweepmore.errors import ConfigError, RunError, StudyError, did_you_mean
from sweepmore.report.comparison import compare_studies
from sweepmore.report.document import Page, write
from sweepmore.report.results import about_run, results_page
from sweepmore.report.runs_page import runs_page
from sweepmore.report.study import Study, read_study
from sweepmore.report.study_page import study_page
from sweepmore.runs import finding
from sweepmore.runs.files import write_atomic
from sweepmore.runs.names import is_search, safe_name
from sweepmore.runs.places import Place
from sweepmore.sweep.trials_csv import write_csv


def meant(names: Sequence[str], place: Place) -> list[str] | list[Path]:
    """Return the studies, by name, or the runs, by folder, that ``names`` mean.

    ``last`` is what began last, a run or a search. Raises ConfigError where some are runs and
    others are studies, or where more than two are runs; StudyError where a name is neither.
    """
    found = [_one(name, place) for name in names]
    folders = [each for each in found if isinstance(each, Path)]
    if not folders:
        return [each for each in found if isinstance(each, str)]
    if len(folders) < len(found):
        cure = "Compare runs with runs, and studies with studies; --trial N is a study's run."
        raise ConfigError("Runs and studies cannot be compared.", value=names, cure=cure)
    if len(folders) > 2:
        raise ConfigError(f"{len(folders)} runs were named.", value=names, cure="Name at most two.")
    return folders


def _one(name: str, place: Place) -> str | Path:
    if name == "last":
        return _last(place)
    studies = names_in(place)
    if name in studies:
        return name
    with contextlib.suppress(RunError):
        return finding.find_run(name, place.outputs, "result.json")
    raise no_such(name, studies, runs_of(place, "result.json"))


def _last(place: Place) -> str | Path:
    """Return what began last, a search or a run that has a result."""
    studies = began_in(place)
    newest = max(runs_of(place, "result.json"), key=finding.began, default=None)
    search = finding.last_begun(studies)
    if search is not None and (newest is None or studies[search] > finding.began(newest)[0]):
        return search
    if newest is None:
        cure = "Train one run, or start a sweep, first."
        raise StudyError(f"There is nothing in {place.outputs}.", value="last", cure=cure)
    return newest


def runs_of(place: Place, holding: str) -> list[Path]:
    """Return the folders of the runs of ``place`` that hold that file."""
    return [path.parent for path in (place.outputs / "runs").glob(f"*/{holding}")]


def no_such(name: str, studies: Collection[str], runs: Sequence[Path]) -> StudyError:
    """Return the error for a name that is neither a study's nor a run's."""
    choices = [*(each for each in studies if is_search(each)), *(run.name for run in runs)]
    cure = f"{finding.listed('Known', sorted(choices))}{did_you_mean(name, choices)}"
    return StudyError(f"There is no study or run {name}.", value=name, cure=cure)


def of_trial(study: str, trial: int, place: Place) -> tuple[Path, Page]:
    """Write the page of a study's trial."""
    return of_runs([finding.find_trial(study, trial, place.outputs, "result.json")], place)


def of_runs(folders: Sequence[Path], place: Place) -> tuple[Path, Page]:
    """Write the page of one run, or of two side by side."""
    page = runs_page(folders, additions_of(place))
    name = page.title.replace(" and ", "-").replace("/", "-")
    return write(page, place.outputs / "reports" / name), page


def of_studies(names: Sequence[str], place: Place) -> tuple[Path, Page]:
    """Write the page of a study, or of several compared."""
    with contextlib.ExitStack() as databases:
        studies = [databases.enter_context(_read(name, place)) for name in names]
        if len(studies) == 1:
            page = study_page(studies[0], additions_of(studies[0].place))
        else:
            page = compare_studies(studies)
        folder = "-".join(safe_name(study.seen.name) for study in studies)
        return write(page, place.outputs / "reports" / folder), page


@contextlib.contextmanager
def _read(name: str, place: Place) -> Iterator[Study]:
    with opened_study(name, place) as (study, found):
        yield read_study(study, additions_of(found), found)


def keep(found: Sequence[str] | Sequence[Path], place: Place) -> Path:
    """Write RESULTS.md, the figures and ``trials.csv`` of a study into ``sweeps/NAME``.

    The folder ``sweeps`` lies beside the application. Raises ConfigError where a run is named.
    """
    name = found[0]
    if isinstance(name, Path):
        raise ConfigError("--keep is about a study.", value=str(name), cure="Name a study.")
    with _read(name, place) as study:
        folder = home(place)[0] / "sweeps" / safe_name(study.seen.name)
        recorded = additions_of(place).recorded()
        # only the figures of the page stay, because a repository shows RESULTS.md instead
        page = study_page(study, recorded)
        write(page, folder).unlink()
        write_csv(study.seen, folder / "trials.csv", study.attrs.as_text)
        results = results_page(study, page, about_run(study.winning_run))
        write_atomic(folder / "RESULTS.md", results)
        return folder / "RESULTS.md"
