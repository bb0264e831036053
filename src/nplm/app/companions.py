"""Other runs that a look of ``evaluate_test.py`` is about, beside its own: named before the claim.

A split has one look, so all models that are to be compared on its test lines are evaluated in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nplm.app.run_checks import changed
from nplm.app.tested_run import Also, Asked, named, run_id
from nplm.config import Data, from_hydra
from nplm.run_files import WEIGHTS
from sweepmore.errors import ConfigError, RunError
from sweepmore.runs import finding
from sweepmore.runs import record as records
from sweepmore.runs.files import read_json
from sweepmore.seal.receipts import Look


def find_also(runs: Sequence[str], chosen_on: str | None, asked: Asked, outputs: Path) -> Also:
    """Return the runs that are named in ``beside`` and ``chosen_on``; reads none of their data.

    Raises RunError for a run that does not exist or, beside, is of another split than ``asked``,
    and ConfigError for one that is named twice.
    """
    beside = tuple(named(finding.find_run(run, outputs, WEIGHTS)) for run in runs)
    ids = [run_id(each.folder) for each in (asked, *beside)]
    for run, name, other in zip(runs, ids[1:], beside, strict=True):
        if ids.count(name) > 1:
            cure = "Name each run once, and the look's own run not at all."
            raise ConfigError(f"beside: {run} is named twice.", value=run, cure=cure)
        if other.fingerprint != asked.fingerprint:
            problem = f"beside: {run} was trained on another split ({other.fingerprint})."
            cure = f"Train it with the data settings of {asked.folder.name}; nothing was claimed."
            raise RunError(problem, value=run, cure=cure)
    chosen = None if chosen_on is None else finding.find_run(chosen_on, outputs, "config.yaml")
    return Also(beside, chosen)


def dev_lines(folder: Path, spelt: Data) -> frozenset[str]:
    """Return the dev lines of the run in a folder, spelt as with the settings ``spelt``.

    Raises RunError where the run's data spell lines otherwise, or are no longer those that it saw.
    """
    from nplm.lines import fingerprint, read_lines, split_lines

    data = from_hydra(records.read_config(folder)).data
    if (data.unit, data.lower) != (spelt.unit, spelt.lower):
        problem = f"chosen_on: {folder.name} has data.unit={data.unit} data.lower={data.lower}."
        cure = f"Name a run with data.unit={spelt.unit} data.lower={spelt.lower}."
        raise RunError(problem, value=str(folder), cure=cure)
    lines = read_lines(data)
    recorded = read_json(folder / "provenance.json")["data"]["fingerprint"]
    if (now := fingerprint(lines, data)) != recorded:
        raise changed(f"chosen_on: the data are not those that {folder.name} saw.", now)
    return frozenset(split_lines(lines, data)[1])


def refuse_others(look: Look, also: Also) -> None:
    """Raise RunError where a look was claimed for other runs than these."""
    claimed = {key: look.about[key] for key in ("beside", "chosen_on") if key in look.about}
    if claimed == also.about:
        return
    words = [f"beside=[{','.join(claimed['beside'])}]"] if "beside" in claimed else []
    words += [f"chosen_on={claimed['chosen_on']}"] if "chosen_on" in claimed else []
    raise RunError(
        f"{look} was claimed for {' '.join(words) or 'its own run alone'}.",
        value=also.about,
        cure="A claim cannot be changed: name exactly these runs, with these weights.",
    )
