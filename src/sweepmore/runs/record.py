"""The folder of a run: everything there is to know about it, readable without this project.

``config.yaml`` ``overrides.yaml`` ``provenance.json`` are written before the run, ``metrics.jsonl``
grows during it, ``result.json`` ends it. What the run itself makes (weights, figures, samples)
stands beside them. Whole files are replaced atomically; the journal of metrics is appended to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import yaml

from sweepmore.errors import ConfigError, RunError, did_you_mean
from sweepmore.process.identity import is_alive, on_this_host, this_process

Status = Literal["ok", "diverged", "pruned", "interrupted", "error"]

# What the names of studies end with that train another one's configurations again: a confirmation,
# its later rounds (-2, -3 …) and the final seeds of its winners (-final, -final-2 …), or noise.
CONFIRM, FINAL, NOISE = ".confirm", ".confirm-final", ".noise"
_AGAIN = re.compile(r"\.(confirm(-final)?(-[0-9]+)?|noise)$")

# What a folder may be called on every system, and a W&B run's id begin with.
_SAFE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


# Of names that a message lists.
LISTED = 10

# A diff longer than this is cut: guess, four times the longest diff one would call small.
MAX_DIFF_CHARACTERS = 400_000


def ending(study: str) -> str:
    """Of a study that trains another one's configurations again what its name adds to the other's;
    of any other study nothing."""
    found = _AGAIN.search(study)
    return found.group() if found else ""


def searched_name(study: str) -> str:
    """The name of the search that a study confirms or measures the noise of; its own, else."""
    return study.removesuffix(ending(study))


def safe_name(study: str) -> str:
    """A study's name as that of a folder: itself where it is one, else what is left of it and a
    hash, because two names may leave the same (``A/b``, ``a-b``, and ``A`` is ``a`` on some disks).
    """
    suffix = ending(study)
    name = study.removesuffix(suffix)
    if _SAFE.fullmatch(name):
        return study
    left = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("._-")[:55]
    marked = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{left}-{marked}{suffix}" if left else f"{marked}{suffix}"


def run_stem(study: str, uid: str) -> str:
    """What the ids of all runs of a study begin with, short enough for W&B."""
    return f"{safe_name(study)[:40]}-{uid}"


def create_private(path: Path) -> None:
    """An empty file that only its owner reads and writes, where there is none: a database whose
    rows nobody else shall change. SQLite gives its journal the same mode."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def write_atomic(path: Path, content: bytes | str, mode: int = 0o644) -> None:
    """Replace ``path`` whole: a kill at any instant leaves the old content or the new. RunError
    where its folder is gone: to make it anew would leave half a run."""
    data = content.encode() if isinstance(content, str) else content
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except FileNotFoundError as error:
        cure = "It was removed while it was in use: begin again."
        problem = f"The folder {path.parent} is gone."
        raise RunError(problem, value=str(path.parent), cure=cure) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)  # mkstemp's 0600 would hide results from one's own group
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Make a rename or a new name in ``folder`` survive a power cut (POSIX; elsewhere nothing)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_whole(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder by ``fill``, all at once: nobody finds it half full, nor without its mark.

    OSError where it is there already, as of two processes that begin together one finds it.
    """
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fresh.chmod(0o755)  # mkdtemp's 0700 would hide it from one's own group
        fill(fresh)
        fresh.rename(folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def write_json(path: Path, content: object, mode: int = 0o644) -> None:
    """Strict JSON: NaN and infinities raise ValueError instead of being written."""
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
    write_atomic(path, f"{text}\n", mode)


@dataclasses.dataclass(frozen=True)
class Record:
    """An open run folder. ``run_id`` is unique for ever, ``attempt`` counts its resumptions."""

    folder: Path
    run_id: str
    attempt: int = 0

    @property
    def metrics_path(self) -> Path:
        return self.folder / "metrics.jsonl"

    @contextlib.contextmanager
    def metrics(self) -> Iterator[Callable[..., None]]:
        """Yields ``log(row, sync=False)``; synced rows are on disk when it returns."""
        with self.metrics_path.open("a", encoding="utf-8") as file:

            def log(row: Mapping[str, Any], sync: bool = False) -> None:
                file.write(json.dumps(row, allow_nan=False) + "\n")
                if sync:
                    file.flush()
                    os.fsync(file.fileno())

            yield log

    def rows(self) -> list[dict[str, Any]]:
        return read_metrics(self.folder)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write ``result.json``; a run without one did not end by itself."""
        write_json(self.folder / "result.json", result)


def create(
    folder: Path,
    *,
    config: Mapping[str, Any],
    overrides: Sequence[str],
    facts: Mapping[str, Any],
    packages: Sequence[str],
    run_id: str | None = None,
    attempt: int = 0,
) -> Record:
    """Begin a run's folder with what it will compute and from what.

    ``facts`` are the application's own part of the provenance (seed, data fingerprint, …);
    ``packages`` are the distributions whose versions are recorded. ``run_id`` must be unique for
    ever (null: one is drawn). Raises RunError where the folder already holds a run, unless this
    is a later ``attempt`` at it.
    """
    own = ("config.yaml", "metrics.jsonl", "result.json")
    if any((folder / name).exists() for name in own) and not attempt:
        cure = "Choose another with hydra.run.dir=…, or continue it with resume=FOLDER."
        raise RunError(f"{folder} already holds a run.", value=str(folder), cure=cure)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in own:
        (folder / stale).unlink(missing_ok=True)  # of an attempt that left no checkpoint
    run_id = run_id or f"{_as_name(folder.name)}-{secrets.token_hex(3)}"
    write_atomic(folder / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False))
    write_atomic(folder / "overrides.yaml", yaml.safe_dump(list(overrides)))
    history = [_start()]
    record = {"run_id": run_id, **facts, **_code(), **_versions(tuple(packages)), "starts": history}
    write_json(folder / "provenance.json", record)
    return Record(folder, run_id, attempt)


def reopen(folder: Path, last_step: int) -> Record:
    """Continue a run: rows after ``last_step`` are cut, a torn last line with them."""
    provenance = read_json(folder / "provenance.json")
    provenance["starts"].append(_start())
    write_json(folder / "provenance.json", provenance)
    kept = [row for row in read_metrics(folder) if row["step"] <= last_step]
    write_atomic(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in kept))
    with contextlib.suppress(FileNotFoundError):
        (folder / "result.json").unlink()
    return Record(folder, provenance["run_id"], attempt=len(provenance["starts"]) - 1)


def take_over(earlier: Sequence[Path], folder: Path, holding: Path) -> bool:
    """Copy into ``folder`` the first of these runs that has the file ``holding``, where it has none
    itself; returns whether it has one now. A kill in between leaves it without."""
    source = next((run for run in earlier if (run / holding).exists()), None)
    if source is not None and not (folder / holding).exists():
        last = holding.parts[0]
        # of W&B's and Hydra's own each run has one
        others = shutil.ignore_patterns(last, "wandb", ".*")
        shutil.copytree(source, folder, ignore=others, dirs_exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".") as fresh:
            shutil.copytree(source / last, Path(fresh, last))
            os.replace(Path(fresh, last), folder / last)
    return (folder / holding).exists()


def _as_name(text: str) -> str:
    """``[a-z0-9][a-z0-9._-]*``: what W&B ids and Optuna's study names both allow."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text.lower())
    return (kept.lstrip("._-") or "run")[:50]


def _start() -> dict[str, Any]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        **this_process(),
    }


@functools.cache  # what a process runs does not change while it runs
def _code() -> Mapping[str, Any]:
    """Commit and uncommitted changes of the checkout that holds the running script, if any."""
    here = Path(os.environ.get("SWEEPMORE_ROOT") or sys.argv[0]).resolve()
    here = here if here.is_dir() else here.parent
    commit = _git(here, "rev-parse", "HEAD")
    diff = _git(here, "diff", "HEAD") if commit else None
    return {
        "commit": commit.strip() if commit else None,
        "dirty_diff": diff[:MAX_DIFF_CHARACTERS] if diff else None,
        "diff_cut": bool(diff and len(diff) > MAX_DIFF_CHARACTERS),
    }


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None  # no git, no checkout, or no commit yet: provenance says null
    return done.stdout


@functools.cache  # reading the metadata of a distribution takes milliseconds
def _versions(packages: tuple[str, ...]) -> Mapping[str, Any]:
    found: dict[str, str | None] = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return {"python": platform.python_version(), "platform": platform.platform(), "versions": found}


def read_json(path: Path) -> Any:
    """A JSON file of a run; RunError names it when it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        cure = "The folder is not a run, or the run never got there."
        raise RunError(f"{path} is missing.", value=str(path), cure=cure) from None
    except (ValueError, UnicodeDecodeError) as error:
        cure = "The file is damaged; repeat the run."
        raise RunError(f"{path} is not JSON: {error}.", value=str(path), cure=cure) from error


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The rows of ``metrics.jsonl``; a last line torn by a kill is left out."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


def read_config(folder: Path) -> dict[str, Any]:
    """The config of a run as plain data."""
    try:
        node = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        cure = "Give the folder of a run, or run=last."
        raise RunError(f"{folder} holds no run.", value=str(folder), cure=cure) from None
    assert isinstance(node, dict)
    return node


def read_overrides(folder: Path) -> list[str]:
    """What was set by hand for a run; nothing where it does not say."""
    path = folder / "overrides.yaml"
    words = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    return [str(word) for word in words or ()]


def began(folder: Path) -> tuple[float, int]:
    """When a run first began, for sorting: as its provenance says, to the second; then by the age
    of its config, which a copy of the folder does not keep."""
    age = _age(folder / "config.yaml")
    path = folder / "provenance.json"
    starts = read_json(path).get("starts") if path.exists() else None
    return (datetime.fromisoformat(starts[0]["time"]).timestamp() if starts else age / 1e9, age)


def _age(path: Path) -> int:
    return path.stat().st_mtime_ns


def find_run(name: str, outputs: Path, holding: str, *, stopped: bool = False) -> Path:
    """The folder that ``name`` means: a path, a folder's name under ``outputs``, or ``last``.

    ``last`` is the run that began last among those that hold the file ``holding`` and, where
    ``stopped``, did not come to their end; the trials of studies are not meant by it.
    """
    if name != "last":
        for folder in (Path(name), outputs / "runs" / name):
            if (folder / "config.yaml").exists():
                return folder.resolve()
        if (outputs / "studies" / safe_name(name)).is_dir():
            cure = f"Give study={name} instead, or one of its trials: study={name} trial=N"
            raise RunError(f"{name} is a study, not a run.", value=name, cure=cure)
    runs = [path.parent for path in (outputs / "runs").glob("*/config.yaml")]
    usable = [run for run in runs if (run / holding).exists() and not (stopped and has_ended(run))]
    usable.sort(key=began, reverse=True)
    if name != "last":
        names = [run.name for run in usable]
        near = did_you_mean(name, names) or did_you_mean(name, [run.name for run in runs])
        cure = f"Give a run's folder.{near} {listed('Interrupted' if stopped else 'Runs', names)}"
        raise RunError(f"{name} is not a run.", value=name, cure=cure)
    if usable:
        return usable[0].resolve()
    if stopped and runs:
        cure = "To begin with the weights of one that ended, give start_from=last."
        raise RunError(f"No run in {outputs} is interrupted.", value=name, cure=cure)
    cure = "Train one first, or name another outputs=…."
    raise RunError(f"No run in {outputs} holds {holding}.", value=name, cure=cure)


# Of a run that can be gone on with; an error may be a full disk that has room again.
STOPPED = ("interrupted", "error")


def has_ended(folder: Path) -> bool:
    """Whether a run came to its end, or is still on its way, in a process of this host."""
    result = folder / "result.json"
    if result.exists() and read_json(result).get("status") not in STOPPED:
        return True
    return runs_elsewhere(folder) is not None


def runs_elsewhere(folder: Path) -> int | None:
    """The other process of this host in which the run is on its way; None where there is none."""
    path = folder / "provenance.json"
    starts = read_json(path)["starts"] if path.exists() else []
    for start in starts[-1:]:
        pid = start.get("pid")
        if pid not in (None, os.getpid()) and on_this_host(start) and is_alive(start):
            return int(pid)
    return None


def listed(what: str, names: Sequence[str]) -> str:
    """``Runs: b, a.``: what there is to choose from, the first few."""
    few = [*names[:LISTED], *(["…"] if len(names) > LISTED else [])]
    return f"{what}: {', '.join(few) or 'none'}."


def require_outputs(outputs: Path) -> None:
    """RunError where a script's ``outputs=`` names no folder: a misspelt one would be made."""
    if not outputs.is_dir():
        cure = "outputs= names the folder of runs and studies, relative to the application's."
        raise RunError(f"There is no folder {outputs}.", value=str(outputs), cure=cure)


def require(folder: Path, holding: str) -> Path:
    """The folder of a run that was found in a study, where it holds that file; else RunError."""
    if (folder / holding).exists():
        return folder
    if (folder / "config.yaml").exists():
        raise RunError(
            f"{folder} holds no {holding}.",
            value=str(folder),
            cure="It was removed, or the run did not come to it: train it again.",
        )
    if not folder.exists():
        cure = "Its outputs were removed: train it again."
        raise RunError(f"The run {folder} is gone.", value=str(folder), cure=cure)
    cure = "Its study is another application's, which keeps something else of a trial."
    raise RunError(f"{folder} holds no run of this application.", value=str(folder), cure=cure)


def find_trial(study: str | None, trial: int, outputs: Path, holding: str = "config.yaml") -> Path:
    """The run's folder of a trial of ``study`` (None or ``last``: the one whose last run began
    last); of a repeated trial, its first run."""
    studies = outputs / "studies"
    name = last_study(outputs) if study in (None, "last") else str(study)
    if not (studies / safe_name(name)).is_dir():
        known = sorted(folder.name for folder in studies.glob("[!.]*"))
        cure = f"{listed('Known', known)}{did_you_mean(name, known)}"
        raise RunError(f"There is no study {name} in {outputs}.", value=name, cure=cure)
    study_folder = studies / safe_name(name)
    folder = study_folder / f"{trial:04d}"
    run = next((run for run in (folder, folder / "0") if (run / "config.yaml").exists()), None)
    if run is None and folder.exists():
        return require(folder, "config.yaml")
    if run is None:
        numbers = sorted(int(run.name) for run in study_folder.glob("[0-9]*"))
        has = f"It has {len(numbers)}, from {numbers[0]} to {numbers[-1]}; " if numbers else ""
        cure = f"{has}a retried trial keeps its first number."
        raise RunError(f"{name} has no run of a trial {trial}.", value=trial, cure=cure)
    if not (run / holding).exists():
        result = run / "result.json"
        status = read_json(result).get("status", "not told") if result.exists() else "not ended"
        problem = f"Trial {trial} of {name} holds no {holding}: its status is {status}."
        cure = "Name one that is ok: trials.csv lists them."
        if status == "ok":
            cure = "With hydra.sweeper.keep=best the best trial's alone stays: name that one."
        raise RunError(problem, value=trial, cure=cure)
    return run.resolve()


def last_study(outputs: Path) -> str:
    """The name of the study that ``last`` means among those whose runs are in ``outputs``."""
    studies = outputs / "studies"
    newest: dict[str, Path] = {}
    for run in ("[0-9]*", "[0-9]*/[0-9]*"):  # a trial's only run, or those of its repeats
        for config in studies.glob(f"*/{run}/config.yaml"):
            study = config.relative_to(studies).parts[0]
            newest[study] = max(newest.get(study, config), config, key=_age)
    name = last_begun({study: began(config.parent) for study, config in newest.items()})
    if name is None:
        cure = "Begin one first, with -m, or name another outputs=…."
        raise RunError(f"There is no study in {outputs}.", value="last", cure=cure)
    return name


def last_begun(began: Mapping[str, Any]) -> str | None:
    """What ``last`` means, of runs' folders as of a database: the study, no confirmation, whose
    last run began last. ``began`` says of each when that was; None where there is no study."""
    own = [name for name in began if not ending(name)]
    return max(own, key=lambda name: (began[name], name), default=None)


def name_of(folder: Path) -> str:
    """As a person names a run: its own folder's name; a trial's with its study's, mine/0017."""
    parts = folder.parts
    if "studies" in parts:
        return "/".join(parts[parts.index("studies") + 1 :])
    return folder.name


def find_named(
    run: str | None, study: str | None, trial: int | None, outputs: Path, holding: str
) -> Path:
    """What a root script's ``run=NAME`` or ``study=NAME trial=17`` means: one run's folder."""
    if trial is None and study is not None:
        cure = f"Give its number too: study={study} trial=N"
        raise ConfigError(f"Which trial of {study}?", value=study, cure=cure)
    if trial is not None and run is not None:
        problem = f"run={run} and trial={trial} are two runs."
        raise ConfigError(problem, value=run, cure="Give one of them.")
    if trial is not None:
        return find_trial(study, trial, outputs, holding)
    return find_run("last" if run is None else run, outputs, holding)
