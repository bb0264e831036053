"""What ``find_lr.py`` reads and says: its own keys, the config that Hydra composes, the answer."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from nplm.app import for_hydra
from nplm.config import Config, from_hydra, to_plain
from sweepmore.compose.composing import as_typed, composing, resolved
from sweepmore.compose.hydra_internals import register_resolver, store
from sweepmore.errors import ConfigError
from sweepmore.runs import files
from sweepmore.typed import build, dotted, setting
from sweepmore.wording import decimals, plural, shown_path

if TYPE_CHECKING:  # torch and matplotlib are imported once a sweep is certain to begin
    from nplm.data import Splits
    from nplm.lr_finder import Suggestion

HELP = {
    "app_name": "find_lr.py",
    "header": """Find a learning rate: python find_lr.py [key=value …] [group=option …]
${find_lr.help:}
  All groups and keys of train.py work as well. Of no effect here: optim.lr, optim.steps and the
  schedule, in whose place the sweep sets each step's rate; eval_every, objective and wandb,
  because nothing is evaluated or tracked. Refused: resume and mix.
""",
    "footer": """python find_lr.py experiment=quick             with the settings of an experiment
python find_lr.py -m model.hidden=100,200,300  a sweep for each value""",
}


@dataclass(frozen=True)
class Range:
    """Which rates are tried. The defaults are the lecture's; it has one seed."""

    lo: float = setting(-3.0, "log10 of the first rate", at_least=-12, at_most=6)
    hi: float = setting(0.0, "log10 of the last rate", at_least=-12, at_most=6)
    # below 100 the smoothing averages over a handful of steps
    steps: int = setting(1000, "rates from lo to hi, one a step", at_least=100, at_most=10**6)
    seeds: int = setting(3, "sweeps, each of other parameters", at_least=1, at_most=100)

    def __post_init__(self) -> None:
        if self.lo >= self.hi:
            raise ConfigError(
                f"find_lr.lo={self.lo:g} is not below find_lr.hi={self.hi:g}.",
                value=self.lo,
                cure="Give exponents of 10 that grow, such as find_lr.lo=-3 find_lr.hi=0.",
            )


def read(node: DictConfig) -> tuple[Range, Config]:
    """Our own keys, and those of a run."""
    fields = resolved(node)
    wanted = build(Range, fields.pop("find_lr", {}), "find_lr.")
    config = from_hydra(fields)
    if config.resume is not None:
        raise ConfigError(
            f"resume={config.resume} goes on at the learning rate that its run has.",
            value=config.resume,
            cure="To begin with the weights of a run, give start_from=FOLDER.",
        )
    if config.mix:
        raise ConfigError(
            "mix=true mixes a net that is trained, but here none is.",
            value=True,
            cure="Drop it: the net is trained alike, so the rate holds with train.py mix=true too.",
        )
    return wanted, config


def header(config: Config, splits: Splits, wanted: Range) -> list[str]:
    return [
        f"train    {about(config, splits)}",
        f"sweep    {about_sweep(wanted)}, {minibatches(config)}",
    ]


def about(config: Config, splits: Splits) -> str:
    """Data, split, n, model, optimiser; from which weights."""
    model = config.model
    weights = "" if config.start_from is None else f" · from {Path(config.start_from).name}"
    return f"{splits.name}, train, n={len(splits.train):,} · {model} · {config.optim.name}{weights}"


def about_sweep(wanted: Range) -> str:
    seeds = plural(wanted.seeds, "seed")
    return f"lr {10**wanted.lo:.2g} to {10**wanted.hi:.2g} in {wanted.steps:,} steps, {seeds}"


def minibatches(config: Config) -> str:
    optim = config.optim
    if optim.draw == "full":
        return "all contexts"
    return f"minibatches of {optim.batch_size:,}" + (
        " contexts" if optim.draw == "contexts" else ""
    )


def write(
    path: Path, config: Config, wanted: Range, found: Suggestion, facts: Mapping[str, Any]
) -> None:
    """``lr.json``: the settings, the suggestion, and what was measured."""
    whole = {
        "config": to_plain(config),
        "find_lr": dataclasses.asdict(wanted),
        "suggestion": dataclasses.asdict(found),
        **facts,
    }
    files.write_atomic(path, json.dumps(whole) + "\n")


def answer(found: Suggestion, rates: list[float], sweeps: list[list[float]], figure: Path) -> None:
    """The suggestion, the rule behind it, what limits it, and what to do next."""
    from nplm.lr_finder import FLOOR

    override = f"optim.lr={found.lr:.2g}"
    ours = ("find_lr.", "optim.lr=", "hydra.")
    words = as_typed(HydraConfig.get().overrides.task)
    others = [word for word in words if not word.startswith(ours)]
    if (reached := min(map(len, sweeps))) < len(rates):
        print(f"note     a seed diverged at lr {rates[reached]:.2g}, which ends the sweep")
    for rate, bound, key in ((found.low, rates[0], "lo"), (found.high, rates[-1], "hi")):
        if rate == bound:
            print(f"note     the range may go on beyond {bound:.2g}: widen find_lr.{key}")
    print(
        f"lowest   {decimals(found.loss, places=3)} nats/token, smoothed mean of the seeds, at lr "
        f"{found.lr:.2g}\n"
        f"rule     the bottom of the smoothed curve, where the lecture reads it off; the range is "
        f"where the loss is within {FLOOR:.0%} of the lowest\n"
        f"range    {found.low:.2g} to {found.high:.2g}\n"
        f"suggest  {override}\n"
        f"figure   {shown_path(figure)}\n"
        f"go on    python train.py {shlex.join([*others, override])}"
    )


def help_text(*, _root_: DictConfig) -> str:
    """A line for each key of ours: its value and what it is."""
    now = dotted(cast(dict[str, Any], OmegaConf.to_container(_root_)))
    return "\n".join(
        f"  {key + '=' + str(now[key]):<30}  {field.metadata['help']}"
        for field in dataclasses.fields(Range)
        if (key := f"find_lr.{field.name}") in now
    )


def register(root: Path) -> None:
    """Give Hydra the config ``find_lr``: that of train.py in the folder ``root``, our keys, another
    folder and help.

    Not a file in conf/, because Hydra lets no config but the first set ``hydra.searchpath``.
    """
    for_hydra.register()
    register_resolver("find_lr.help", help_text)
    with composing():
        config = OmegaConf.load(root / "conf" / "config.yaml")
    assert isinstance(config, DictConfig)
    sweeper = "override hydra/sweeper"
    config.defaults = [one for one in config.defaults if sweeper not in one]
    config.defaults.append({sweeper: "basic"})  # -m: a sweep for each value, and no study
    folder = "${oc.env:SWEEPMORE_ROOT}/outputs/find_lr/${now:%Y-%m-%d_%H-%M-%S.%f}"
    ours = {
        "find_lr": dataclasses.asdict(Range()),
        "hydra": {"run": {"dir": folder}, "sweep": {"dir": folder}, "help": HELP},
    }
    store(name="find_lr", node=OmegaConf.merge(config, ours))
