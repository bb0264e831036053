"""What pages say of nplm's runs by their records alone, without data and weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweepmore.report.additions import Results
from sweepmore.wording import decimals


def numbers(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the losses of a mixture's net alone and of an ensemble's members, from
    ``result.json``; nothing for other runs."""
    return [*_of_mixture(result.get("mix")), *_of_ensemble(result.get("ensemble"))]


def _of_ensemble(ensemble: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if ensemble is None:
        return []
    mean = decimals(ensemble["member_dev_loss"])
    return [("mean of its members", f"dev {mean} (of {ensemble['members']})")]


def _of_mixture(mix: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if mix is None or mix["net_dev_loss"] is None:
        return []
    train = "–" if mix["net_train_loss"] is None else decimals(mix["net_train_loss"])
    losses = f"dev {decimals(mix['net_dev_loss'])}, train {train}"
    losses += f" ({mix['weight']:.0%} of the mixture is counting, of order {mix['order']})"
    return [("net alone", losses)]


def note(results: Results) -> str:
    """Return which curves show only a part of the model; ``results`` holds names and results of
    runs."""
    mixtures = " and ".join(name for name, result in results if result.get("mix"))
    return f"The curves of {mixtures} show the net alone." if mixtures else ""
