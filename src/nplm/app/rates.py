"""What ``find_lr.py`` reads and prints: its own keys, the composed config, the answer."""

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
from nplm.app.averaged import refuse_ensemble
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
  All groups and keys of train.py work as well. The sweep sets the rate of each step, so optim.lr,
  optim.steps and the schedule have no effect; nor have eval_every, objective and wandb, because
  nothing is evaluated or tracked. resume, ensemble and mix are refused.
""",
    "footer": """python find_lr.py experiment=quick             with the settings of an experiment
python find_lr.py -m model.hidden=100,200,300  a sweep for each value""",
}


@dataclass(frozen=True)
class Range:
    """Which rates are tried. The defaults are the lecture's, which has one seed."""

    lo: float = setting(-3.0, "log10 of the first rate", at_least=-12, at_most=6)
    hi: float = setting(0.0, "log10 of the last rate", at_least=-12, at_most=6)
    # below 100 the smoothing averages over a handful of steps
    steps: int = setting(
        1000, "number of rates from lo to hi, one per step", at_least=100, at_most=10**6
    )
    seeds: int = setting(
        3, "number of sweeps, each from other initial parameters", at_least=1, at_most=100
    )

    def __post_init__(self) -> None:
        if self.lo >= self.hi:
            raise ConfigError(
                f"find_lr.lo={self.lo:g} is not below find_lr.hi={self.hi:g}.",
                value=self.lo,
                cure="Give exponents of 10, the smaller first, such as find_lr.lo=-3 find_lr.hi=0.",
            )


def read(node: DictConfig) -> tuple[Range, Config]:
    """Return our own keys and the config of a run. Raises ConfigError for values out of range, and
    for ``resume``, ``ensemble`` and ``mix``."""
    fields = resolved(node)
    wanted = build(Range, fields.pop("find_lr", {}), "find_lr.")
    config = from_hydra(fields)
    if config.resume is not None:
        raise ConfigError(
            f"resume={config.resume} continues at the learning rate of that run.",
            value=config.resume,
            cure="Give start_from=FOLDER to begin with the weights of a run.",
        )
    refuse_ensemble(config, "find_lr.py trains")
    if config.mix:
        raise ConfigError(
            "mix=true mixes a trained net, but find_lr.py trains none.",
            value=True,
            cure="Leave it out: the rate that is found also holds for train.py mix=true.",
        )
    return wanted, config


def header(config: Config, splits: Splits, wanted: Range) -> list[str]:
    """Return the lines that are printed before the sweep."""
    return [
        f"train    {about(config, splits)}",
        f"sweep    {about_sweep(wanted)}, {minibatches(config)}",
    ]


def about(config: Config, splits: Splits) -> str:
    """Return data, split, n, model, optimiser and, where there are any, the first weights."""
    model = config.model
    weights = "" if config.start_from is None else f" · from {Path(config.start_from).name}"
    return f"{splits.name}, train, n={len(splits.train):,} · {model} · {config.optim.name}{weights}"


def about_sweep(wanted: Range) -> str:
    """Return the rates, their number and the seeds."""
    seeds = plural(wanted.seeds, "seed")
    return f"lr {10**wanted.lo:.2g} to {10**wanted.hi:.2g} in {wanted.steps:,} steps, {seeds}"


def minibatches(config: Config) -> str:
    """Return what a loss is a mean over."""
    optim = config.optim
    if optim.draw == "full":
        return "all contexts"
    return f"minibatches of {optim.batch_size:,}" + (
        " contexts" if optim.draw == "contexts" else ""
    )


def write(
    path: Path, config: Config, wanted: Range, suggestion: Suggestion, facts: Mapping[str, Any]
) -> None:
    """Write ``lr.json``: the settings, the suggestion, and ``facts``, the measurements."""
    whole = {
        "config": to_plain(config),
        "find_lr": dataclasses.asdict(wanted),
        "suggestion": dataclasses.asdict(suggestion),
        **facts,
    }
    files.write_atomic(path, json.dumps(whole) + "\n")


def answer(best: Suggestion, rates: list[float], sweeps: list[list[float]], figure: Path) -> None:
    """Print the suggestion, the rule behind it, its limits, and the next command.

    ``sweeps`` holds the losses (nats per token) at ``rates``, a list for each seed.
    """
    from nplm.lr_finder import FLOOR

    override = f"optim.lr={best.lr:.2g}"
    ours = ("find_lr.", "optim.lr=", "hydra.")
    words = as_typed(HydraConfig.get().overrides.task)
    others = [word for word in words if not word.startswith(ours)]
    if (reached := min(map(len, sweeps))) < len(rates):
        print(f"note     a seed diverged at lr {rates[reached]:.2g}, where the sweep ends")
    for rate, bound, key in ((best.low, rates[0], "lo"), (best.high, rates[-1], "hi")):
        if rate == bound:
            print(f"note     the range may extend beyond {bound:.2g}: widen find_lr.{key}")
    print(
        f"lowest   {decimals(best.loss, places=3)} nats/token, smoothed mean of the seeds, at lr "
        f"{best.lr:.2g}\n"
        f"rule     the bottom of the smoothed curve, as in the lecture; in the range, the loss is "
        f"within {FLOOR:.0%} of the lowest\n"
        f"range    {best.low:.2g} to {best.high:.2g}\n"
        f"suggest  {override}\n"
        f"figure   {shown_path(figure)}\n"
        f"go on    python train.py {shlex.join([*others, override])}"
    )


def help_text(*, _root_: DictConfig) -> str:
    """Return a line for each of our own keys: its value and what it means."""
    now = dotted(cast(dict[str, Any], OmegaConf.to_container(_root_)))
    return "\n".join(
        f"  {key + '=' + str(now[key]):<30}  {field.metadata['help']}"
        for field in dataclasses.fields(Range)
        if (key := f"find_lr.{field.name}") in now
    )


def register(root: Path) -> None:
    """Give Hydra the config ``find_lr``: that of train.py in the folder ``root``, with our keys,
    another output folder and other help.

    It is no file in conf/, because Hydra lets no config but the first set ``hydra.searchpath``.
    """
    for_hydra.register()
    register_resolver("find_lr.help", help_text)
    with composing():
        config = OmegaConf.load(root / "conf" / "config.yaml")
    assert isinstance(config, DictConfig)
    sweeper = "override hydra/sweeper"
    config.defaults = [entry for entry in config.defaults if sweeper not in entry]
    config.defaults.append({sweeper: "basic"})  # -m: a sweep for each value, and no study
    folder = "${oc.env:SWEEPMORE_ROOT}/outputs/find_lr/${now:%Y-%m-%d_%H-%M-%S.%f}"
    ours = {
        "find_lr": dataclasses.asdict(Range()),
        "hydra": {"run": {"dir": folder}, "sweep": {"dir": folder}, "help": HELP},
    }
    store(name="find_lr", node=OmegaConf.merge(config, ours))
