"""A search space: its keys, their members and the grid, and a trial's values as Hydra overrides.

``space_syntax`` reads a space from the overrides of a command.
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

    ``members`` are in the order of the grid, and None for an interval of floats. With ``as_text``,
    Optuna holds the choices as override text. It must if they are lists or dicts, which its
    storages refuse, or if two of them are equal in Python (``1``, ``1.0``, ``true``).
    """

    key: str  # as it was written, with + or ++
    distribution: BaseDistribution
    members: Sequence[CategoricalChoiceType] | None
    as_text: bool = False

    @property
    def name(self) -> str:
        """Return the key without + or ++, as Optuna knows it."""
        return self.key.lstrip("+")

    def held(self, value: Any) -> Any:
        """Return a value as Optuna holds it.

        It must equal a member in value and type, except that a whole number may be given for a
        float. Raises ValueError if it is not a value of this parameter.
        """
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
        """Return the member that was written, with its type and every digit.

        ``value`` is the member as Optuna holds it, which may have lost either.
        """
        match self.distribution:
            case FloatDistribution():
                value = float(value)  # 1 may have been enqueued for 1.0
                if self.members is not None:  # Optuna's arithmetic misses by the last digit
                    value = min(map(float, self.members), key=lambda member: abs(member - value))  # type: ignore[arg-type]  # floats, by space_syntax
            case IntDistribution():
                value = int(value)
        return value

    def override(self, value: Any) -> str:
        """Return the override from which Hydra reads exactly the member that was written."""
        value = self.member(value)
        return f"{self.key}={value if self.as_text else override_text(value)}"


@dataclass(frozen=True)
class Space:
    """The searched parameters, in the order written, and the overrides that every trial shares."""

    parameters: tuple[Parameter, ...]
    fixed: tuple[str, ...]

    @property
    def searched(self) -> dict[str, BaseDistribution]:
        """Return the distribution of each parameter by its name."""
        return {parameter.name: parameter.distribution for parameter in self.parameters}

    @property
    def is_discrete(self) -> bool:
        """Whether the space has a grid. It has unless an interval of floats is searched."""
        return all(parameter.members is not None for parameter in self.parameters)

    @property
    def size(self) -> int:
        """Return the number of points of the grid, which is 1 if nothing is searched.

        Raises ConfigError, like ``grid``, if an interval of floats is searched.
        """
        return math.prod(map(len, self._members()))

    def grid(self) -> Iterator[dict[str, CategoricalChoiceType]]:
        """Return every point of the grid as Optuna enqueues it. The last key varies fastest."""
        points = itertools.product(*self._members())
        return (dict(zip(self.searched, point, strict=True)) for point in points)

    def untried(
        self, first: Sequence[Mapping[str, Any]], tried: Iterable[Mapping[str, Any]]
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the points ``first``, then those of the grid, each once and none of ``tried``.

        Points are compared by the ``repr`` of their members, because Python takes 1, 1.0 and True
        for equal.
        """
        # a member as it is; any other value of an old trial as the member that it comes from
        members = self._members()
        exact = [set(of_one) for of_one in members]
        names = [parameter.name for parameter in self.parameters]
        taken = {
            tuple(
                repr(point[p.name] if point[p.name] in own_members else p.member(point[p.name]))
                for p, own_members in zip(self.parameters, exact)
            )
            for point in tried
            if all(name in point for name in names)
        }

        # the grid is compared by texts that are made once a member, not once a point
        for point in first:
            key = tuple(repr(point[name]) for name in names)
            if key not in taken:
                taken.add(key)
                yield point
        texts = itertools.product(*([repr(member) for member in of_one] for of_one in members))
        yield from (point for point, key in zip(self.grid(), texts) if key not in taken)

    def completed(self, points: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield points with all parameters set.

        What a point leaves open becomes the first members that make it differ from the points
        before it. A point that cannot differ is left out.
        """
        yielded = set[tuple[str, ...]]()
        for point in points:
            members = [
                [parameter.member(point[parameter.name])] if parameter.name in point else of_one
                for parameter, of_one in zip(self.parameters, self._members())
            ]
            for values in itertools.product(*members):
                if (key := tuple(map(repr, values))) not in yielded:
                    yielded.add(key)
                    yield dict(zip(self.searched, values))
                    break

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """Return an override for each parameter, from a trial's ``params``, without ``fixed``."""
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
    """Whether Optuna accepts the value for a parameter of this distribution."""
    try:
        create_trial(params={"x": value}, distributions={"x": distribution}, value=0.0)
    except (ValueError, OverflowError):
        return False
    return True
