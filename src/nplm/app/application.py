"""What nplm tells reports and terminals about its studies: plain data, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nplm.config import objectives as read_objectives
from nplm.run_files import WEIGHTS
from sweepmore.study.application import Application, Command, Commands, Curve, Curves

CURVES = Curves(
    title="Losses",
    quantity="loss",
    unit="nats/token",
    over="whole split",
    drawn=(
        Curve("dev", "dev_loss", examples="dev_examples"),
        Curve("train", "train_loss", examples="train_examples"),
    ),
    overfit=("train_loss", "dev_loss"),
)
COMMANDS = Commands(
    study=Command("What the {which} writes:", "python sample.py study={study}{where}"),
    run=Command("New lines from {which}:", "python sample.py run={run}"),
    number=Command(
        "Evaluate the winner on the test split, which can be done once:",
        "python evaluate_test.py study={study}{where}",
    ),
)
# The files that define what a loss means: its lines, its examples and how it is averaged.
EVALUATORS = (
    "src/nplm/data.py",
    "src/nplm/lines.py",
    "src/nplm/vocabulary.py",
    "src/nplm/losses.py",
    "src/nplm/sealed.py",
    "evaluate_test.py",
)
# What a run may learn from: the number of steps, and of examples in each. Its seconds follow from
# the model, too, and each answer of a challenge shows them.
BUDGET = ("optim.steps", "optim.batch_size")


# Settings that no other application has. A config with any of them is nplm's; there are several,
# because a study's fixed config lacks those that it searches.
OWN = {"eval_every", "overfit_batch", "start_from"}


def describe(config: Mapping[str, Any]) -> Application:
    """Return the description of studies and runs with this config.

    The config is flat, and its values are written as on the command line. An empty config is
    nplm's; another application's config gives a neutral description.
    """
    if config and not OWN & config.keys():
        return Application()
    return Application(
        name="nplm",
        objectives=tuple(objectives(config)),
        curves=CURVES,
        columns={"net_dev_loss": "the net alone"},
        commands=COMMANDS,
        begin="python train.py experiment=quick",
        weights=WEIGHTS,
        evaluators=EVALUATORS,
        budget=BUDGET,
    )


def objectives(config: Mapping[str, Any]) -> list[str]:
    """Return the objectives with their units, from a study's fixed config.

    The config is flat, and its values are written as on the command line.
    """
    level = config.get("objective.seconds_to")
    written = config.get("objective") if level is None else {"seconds_to": level}
    return [] if written is None else [str(objective) for objective in read_objectives(written)]
