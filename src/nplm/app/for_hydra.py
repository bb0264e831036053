"""What Hydra needs from this application while it composes: the settings that ``--help`` lists,
and the defaults to which the frozen sources of older studies point.
"""

from __future__ import annotations

import dataclasses
import os
import textwrap
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from nplm.config import MODELS, OPTIMISERS, Config, Data, Model, Sgd, name_of, to_plain
from sweepmore.compose.choices import choice_lines
from sweepmore.compose.cli import ROOT_VARIABLE
from sweepmore.compose.hydra_internals import register_resolver, store
from sweepmore.runs.tracking import Tracking
from sweepmore.typed import dotted

# Keys that --help lists without an explanation, so that it fits on a screen.
RARE = {
    "device", "start_from", "ensemble", "model.emb_dropout", "optim.decay_factor",
    "optim.decay_rate", "optim.beta1", "optim.beta2", "data.path", "data.split", "data.order",
    "data.lower", "data.min_count", "wandb.project", "wandb.entity", "wandb.group", "wandb.tags",
    "wandb.notes", "wandb.artifact",
}  # fmt: skip


# Where conf/ and sweeps/ are, unless a script says otherwise.
CHECKOUT = Path(__file__).resolve().parents[3]


def register() -> None:
    """Register what ``--help`` shows with Hydra, and the defaults that studies of older versions
    need."""
    register_resolver("nplm.help", help_text)
    register_resolver("nplm.choices", choices_text)
    _serve_older_studies()


def help_text(*, _root_: DictConfig) -> str:
    """Return a line for each setting of the composed config: its value and what it means.

    A group's ``name`` has no line: it follows from the chosen option.
    """
    plain = cast(dict[str, Any], OmegaConf.to_container(_root_))
    optim = OPTIMISERS.get(name_of(plain.get("optim")), Sgd)
    model = MODELS.get(name_of(plain.get("model")), Model)
    records = {"": Config, "model.": model, "optim.": optim, "data.": Data, "wandb.": Tracking}
    helps = {
        f"{group}{field.name}": str(field.metadata.get("help", ""))
        for group, record in records.items()
        for field in dataclasses.fields(record)
        if field.name != "name" and (group or f"{field.name}." not in records)
    }
    groups = {"", *(group[:-1] for group in records)}
    now = dotted({key: plain[key] for key in plain if key in groups or key in helps})
    shown = {key: f"{key}={_words(now[key])}" for key in helps if key in now}
    lines = [f"  {shown[key]:<30}  {helps[key]}" for key in shown if key not in RARE]
    also = textwrap.wrap(" ".join(shown[key] for key in shown if key in RARE), 86)
    lines += [f"  {'also' if k == 0 else '':<6}{line}" for k, line in enumerate(also)]
    return "\n".join(lines).replace("$", "$$")  # $ is special in Hydra's templates


def choices_text(group: str) -> str:
    """Return a line for each option of ``experiment`` or ``sweeps``."""
    root = Path(os.environ.get(ROOT_VARIABLE, CHECKOUT))
    folder = next(f for f in (root / "conf" / group, root / group) if f.is_dir())
    lines = choice_lines([path.stem for path in folder.glob("*.yaml")], [folder], 76)
    return "\n".join(f"    {line}" for line in lines).replace("$", "$$")


def _words(value: Any) -> str:
    """Return a value as it is typed on the command line."""
    return "null" if value is None else str(value).replace("'", "").replace(", ", ",")


def _serve_older_studies() -> None:
    """Store the defaults of older studies. Until 0.1.0, files such as conf/model/mlp.yaml held no
    values: each pointed to a node of Hydra's store, ``/defaults/model/mlp``. A study keeps a copy
    of the files that it began with, so an older one still asks for these nodes when it is resumed
    or confirmed."""
    plain = to_plain(Config())
    groups = {group: plain.pop(group) for group in ("model", "optim", "data", "wandb")}
    store(name="run", group="defaults", package="_global_", node=plain)
    store(name="given_names", group="defaults/data", node=groups["data"])
    store(name="wandb", group="defaults/wandb", node=groups["wandb"])
    own = {"name": "own", "target": "", "block_size": 3, "settings": {}}  # no default is valid
    store(name="own", group="defaults/model", node=own)
    for group, records in (("model", MODELS), ("optim", OPTIMISERS)):
        for name, record in records.items():
            if name != "own":
                store(name=name, group=f"defaults/{group}", node=dataclasses.asdict(record()))
