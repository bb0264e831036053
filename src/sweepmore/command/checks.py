"""What ``sweepmore doctor`` looks at: each thing, whether it works here, and what installs it."""

from __future__ import annotations

import importlib.util
import netrc
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import optuna

from sweepmore.compose.studies import opened
from sweepmore.errors import UserError
from sweepmore.process.machine import cores, processor, this_machine
from sweepmore.process.placement import Machine, Placement, most_workers, share_of
from sweepmore.runs.places import Place
from sweepmore.sweep.preview import shown_shares
from sweepmore.wording import plural, shown_path

# Distributions that sweepmore needs, and extras with what they bring.
NEEDED = ("hydra-core", "omegaconf", "optuna", "sqlalchemy", "typer")
EXTRAS = {
    "report": ("matplotlib", "jinja2"),
    "wandb": ("wandb", "wandb-workspaces"),
    "dashboard": ("optuna-dashboard",),
    "postgres": ("psycopg",),
}
# Hydra's launchers, by the module of their plugin.
LAUNCHERS = {
    "joblib": "hydra_joblib_launcher",
    "submitit": "hydra_submitit_launcher",
    "ray": "hydra_ray_launcher",
}
# A folder on one of these is shared with other machines, where SQLite's locks may fail.
NETWORK = ("nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "fuse.sshfs", "9p")


@dataclass(frozen=True)
class Check:
    """One line of the doctor's: ``problem`` has to be mended, ``missing`` may be installed."""

    about: str
    state: Literal["ok", "missing", "problem"]
    found: str
    cure: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def checks(place: Place) -> Iterator[Check]:
    """Check one thing after the other; nothing is written, and no network is used."""
    yield Check("python", "ok", platform.python_version())
    for name in ("sweepmore", *NEEDED):
        yield distribution(name)
    yield Check("machine", "ok", f"{plural(cores(), 'core')}; {processor()}")
    machine = this_machine()
    yield Check("GPUs", "ok", ", ".join(machine.gpus) or "none found")
    yield workers(machine)
    yield storage(place)
    yield file_system(place)
    for extra, names in EXTRAS.items():
        yield extra_of(extra, names)
    yield wandb_key()
    for launcher, module in LAUNCHERS.items():
        yield plugin(launcher, module)
    yield slurm()


def distribution(name: str) -> Check:
    """Whether a distribution that sweepmore needs is installed."""
    try:
        return Check(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, "problem", "not installed", f"pip install {name}")


def extra_of(extra: str, names: tuple[str, ...]) -> Check:
    """Whether all that an extra brings is installed."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            cure = f"pip install 'sweepmore[{extra}]'"
            return Check(f"[{extra}]", "missing", f"{name} is not installed", cure)
    return Check(f"[{extra}]", "ok", ", ".join(f"{k} {v}" for k, v in found.items()))


def workers(machine: Machine) -> Check:
    """Show what hydra.sweeper.n_jobs=auto would give here, by default and where GPUs are shared."""
    by_default, quarter = Placement(), Placement(gpu=0.25)
    n_jobs = most_workers(machine, by_default)
    shares = [share_of(machine, by_default, seat, n_jobs) for seat in range(n_jobs)]
    shared = most_workers(machine, quarter)
    more = f"; with placement={quarter}: {shared}" if shared else ""
    return Check("workers", "ok", f"n_jobs=auto: {shown_shares(shares)}{more}")


def storage(place: Place) -> Check:
    """Whether each database of studies here can be opened."""
    if not place.each():
        return Check("storage", "ok", f"no studies yet in {shown_path(place.outputs)}")
    total = 0
    for each in place.each():
        try:
            with opened(each) as database:
                total += len(optuna.get_all_study_names(database))
        except UserError as error:
            return Check("storage", "problem", error.problem, error.cure)
    databases = plural(len(place.each()), "database")
    found = f"{plural(total, 'study', 'studies')} in {databases}, in {shown_path(place.outputs)}"
    return Check("storage", "ok", found)


def file_system(place: Place) -> Check:
    """Whether SQLite's locks hold where the studies are, and how much room is left."""
    folder = next(f for f in (place.outputs, *place.outputs.parents) if f.exists())
    free = shutil.disk_usage(folder).free / 1e9
    kind = _kind_of(folder)
    found = f"{kind or 'unknown file system'}, {free:,.0f} GB free"
    if kind in NETWORK:
        cure = "Use hydra.sweeper.storage=postgresql://…: SQLite's locks may fail here."
        return Check("disk", "problem", found, cure)
    if free < 1:
        return Check("disk", "problem", found, "Make room.")
    return Check("disk", "ok", found)


def _kind_of(folder: Path) -> str | None:
    """Return the type of the file system that holds a folder, as Linux names it."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return None
    rows = [line.split()[1:3] for line in mounts.read_text().splitlines()]
    holding = [(point, kind) for point, kind in rows if folder.is_relative_to(point)]
    return max(holding, key=lambda row: len(row[0]))[1] if holding else None


def wandb_key() -> Check:
    """Whether W&B would find an API key: in the environment or in netrc."""
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    if os.environ.get("WANDB_API_KEY"):
        return Check("W&B key", "ok", "WANDB_API_KEY")
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        if path.exists() and netrc.netrc(path).authenticators(host):
            return Check("W&B key", "ok", f"for {host} in {path.name}")
    except (netrc.NetrcParseError, OSError) as error:
        return Check("W&B key", "problem", f"{path.name}: {error}", "wandb login")
    return Check("W&B key", "missing", "none; runs are recorded offline", "wandb login")


def plugin(launcher: str, module: str) -> Check:
    """Whether a launcher of Hydra's is installed."""
    there = importlib.util.find_spec("hydra_plugins") is not None and (
        importlib.util.find_spec(f"hydra_plugins.{module}") is not None
    )
    about = f"launcher {launcher}"
    if there:
        return Check(about, "ok", f"hydra/launcher={launcher}")
    cure = f"pip install hydra-{launcher}-launcher"
    return Check(about, "missing", "not installed", cure)


def slurm() -> Check:
    """Whether this machine can submit jobs to Slurm."""
    if shutil.which("sbatch"):
        return Check("Slurm", "ok", "hydra/launcher=submitit_slurm")
    return Check("Slurm", "missing", "no sbatch here", "Run on a login node of the cluster.")
