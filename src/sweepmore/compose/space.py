"""A search space: keys, their members and a grid of them; a trial's values -> Hydra overrides.

``space_syntax`` reads one from the overrides of a command.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import create_trial

from sweepmore.compose.overrides import override_text
from sweepmore.errors import ConfigError


@dataclass(frozen=True)
class Parameter:
    """A searched key.

    ``members`` in the order of a grid, None for an interval of floats. ``as_text``: Optuna holds
    the choices as override text, because they are lists or dicts, which its storages refuse, or
    because Python takes two of them for equal (``1``, ``1.0``, ``true``) and Optuna would, too.
    """

    key: str  # as it was written, with + or ++
    distribution: BaseDistribution
    members: Sequence[CategoricalChoiceType] | None
    as_text: bool = False

    @property
    def name(self) -> str:
        return self.key.lstrip("+")

    def held(self, value: Any) -> Any:
        """``value`` as Optuna holds it, the same by value and type, but for a whole number, which
        may stand for a float; ValueError where it is none of this parameter's."""
        if isinstance(self.distribution, CategoricalDistribution):
            text = override_text(value)
            for choice in self.distribution.choices:
                if text == (choice if self.as_text else override_text(choice)):
                    return choice
            if not self.as_text and type(value) is int and value in self._floats():
                return float(value)
        elif not isinstance(value, bool) and is_member(value, self.distribution):
            return value
        raise ValueError(f"{self.name} has no {value!r}")

    def _floats(self) -> list[float]:
        return [member for member in self.members or () if isinstance(member, float)]

    def member(self, value: Any) -> Any:
        """What was written, of a value as Optuna holds it: its type, every digit."""
        match self.distribution:
            case FloatDistribution():
                value = float(value)  # 1 may have been enqueued for 1.0
                if self.members is not None:  # Optuna's arithmetic misses by the last digit
                    value = min(map(float, self.members), key=lambda member: abs(member - value))  # type: ignore[arg-type]  # floats, by space_syntax
            case IntDistribution():
                value = int(value)
        return value

    def override(self, value: Any) -> str:
        """Hydra reads the member itself back from it: its type, every digit, every quote."""
        value = self.member(value)
        return f"{self.key}={value if self.as_text else override_text(value)}"


@dataclass(frozen=True)
class Space:
    """What is searched, in the order written, and the overrides that every trial shares."""

    parameters: tuple[Parameter, ...]
    fixed: tuple[str, ...]

    @property
    def searched(self) -> dict[str, BaseDistribution]:
        return {parameter.name: parameter.distribution for parameter in self.parameters}

    @property
    def is_discrete(self) -> bool:
        """Whether a grid exists; intervals of integers have one."""
        return all(parameter.members is not None for parameter in self.parameters)

    @property
    def size(self) -> int:
        """Points of the grid; 1 when nothing is searched."""
        return math.prod(map(len, self._members()))

    def grid(self) -> Iterator[dict[str, CategoricalChoiceType]]:
        """Every point as Optuna enqueues it; the last key moves fastest."""
        points = itertools.product(*self._members())
        return (dict(zip(self.searched, point, strict=True)) for point in points)

    def untried(
        self, first: Sequence[Mapping[str, Any]], tried: Iterable[Mapping[str, Any]]
    ) -> Iterator[Mapping[str, Any]]:
        """The points ``first``, then those of the grid; none of ``tried``, and each once."""
        members = self._members()
        exact = [set(of_one) for of_one in members]
        names = [parameter.name for parameter in self.parameters]
        known = {
            tuple(
                repr(point[p.name] if point[p.name] in known_members else p.member(point[p.name]))
                for p, known_members in zip(self.parameters, exact)
            )
            for point in tried
            if all(name in point for name in names)
        }
        for point in first:
            key = tuple(repr(point[name]) for name in names)
            if key not in known:
                known.add(key)
                yield point
        texts = itertools.product(*([repr(member) for member in of_one] for of_one in members))
        yield from (point for point, key in zip(self.grid(), texts) if key not in known)

    def completed(self, points: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Points of the grid: what one leaves open is the first member by which it differs from
        those before; one that cannot is left out."""
        known = set[tuple[str, ...]]()
        for point in points:
            members = [
                [parameter.member(point[parameter.name])] if parameter.name in point else of_one
                for parameter, of_one in zip(self.parameters, self._members())
            ]
            for values in itertools.product(*members):
                if (key := tuple(map(repr, values))) not in known:
                    known.add(key)
                    yield dict(zip(self.searched, values))
                    break

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """One override a parameter, from a trial's ``params``; ``fixed`` is not among them."""
        return [parameter.override(values[parameter.name]) for parameter in self.parameters]

    def _members(self) -> list[Sequence[CategoricalChoiceType]]:
        continuous = [p.name for p in self.parameters if p.members is None]
        if continuous:
            raise ConfigError(
                f"An interval of floats has no grid: {', '.join(continuous)}.",
                value=continuous,
                cure="Write range(start, stop, step) or choice(...), or take a sampler like tpe.",
            )
        return [p.members for p in self.parameters if p.members is not None]


def is_member(value: Any, distribution: BaseDistribution) -> bool:
    """Whether Optuna would take the value for a parameter of this distribution."""
    try:
        create_trial(params={"x": value}, distributions={"x": distribution}, value=0.0)
    except (ValueError, OverflowError):
        return False
    return True
