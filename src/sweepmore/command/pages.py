"""The pages that ``sweepmore report`` writes, once it is known what is meant."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sweepmore.command.application import additions_of, home
from sweepmore.compose.studies import began_in, opened_study
from sweepmore.errors import ConfigError, RunError, StudyError, did_you_mean
from sweepmore.report.comparison import compare_studies
from sweepmore.report.document import Page, write
from sweepmore.report.results import about_run, results_page
from sweepmore.report.runs_page import runs_page
from sweepmore.report.study import Study, read_study
from sweepmore.report.study_page import study_page
from sweepmore.runs import finding
from sweepmore.runs.files import write_atomic
from sweepmore.runs.names import ending, safe_name
from sweepmore.runs.places import Place
from sweepmore.sweep.trials_csv import write_csv


def meant(names: Sequence[str], place: Place) -> list[str] | list[Path]:
    """Return the studies, by name, or the runs, by folder, that ``names`` mean.

    ``last`` is what began last, a run or a search. Raises ConfigError where some are runs and
    others are studies, or where more than two are runs; StudyError where a name is neither.
    """
    studies = began_in(place)
    found = [meant_one(name, studies, place) for name in names]
    folders = [each for each in found if isinstance(each, Path)]
    if not folders:
        return [each for each in found if isinstance(each, str)]
    if len(folders) < len(found):
        cure = "Compare runs with runs, and studies with studies; --trial N is a study's run."
        raise ConfigError("Runs and studies cannot be compared.", value=names, cure=cure)
    if len(folders) > 2:
        raise ConfigError(f"{len(folders)} runs were named.", value=names, cure="Name at most two.")
    return folders


def meant_one(
    name: str, studies: Mapping[str, float], place: Place, holding: str = "result.json"
) -> str | Path:
    """Return the name of a study of ``place``, or the folder of a run that holds that file.

    ``studies`` says when each study began. Raises StudyError where ``name`` is neither.
    """
    runs = [path.parent for path in (place.outputs / "runs").glob(f"*/{holding}")]
    if name == "last":
        newest = max(runs, key=finding.began, default=None)
        search = finding.last_begun(studies)
        if newest is None and search is None:
            cure = "Train one run, or start a sweep, first."
            raise StudyError(f"There is nothing in {place.outputs}.", value=name, cure=cure)
        if newest is None or search is None:
            return search or newest or name
        return search if studies[search] > finding.began(newest)[0] else newest
    if name in studies:
        return name
    with contextlib.suppress(RunError):
        return finding.find_run(name, place.outputs, holding)
    known = [each for each in studies if not ending(each)]
    choices = [*known, *(run.name for run in runs)]
    cure = f"{finding.listed('Known', sorted(choices))}{did_you_mean(name, choices)}"
    raise StudyError(f"There is no study or run {name}.", value=name, cure=cure)


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
