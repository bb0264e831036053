"""Hydra overrides -> search space; a trial's values -> Hydra overrides.

What a sweep means is Hydra's business: a range excludes its end and a cast reaches every member.
Intervals alone are Optuna's: both ends are included.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.types import (
    Glob,
    IntervalSweep,
    Override,
    QuotedString,
    RangeSweep,
    Sweep,
)
from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import create_trial

from sweepmore.compose.overrides import line, override_text, read_overrides, refusal
from sweepmore.errors import ConfigError, did_you_mean

Options = Callable[[str], Sequence[str]]

LARGEST_INT = 2**53  # Optuna keeps numbers as doubles, which hold every integer up to here
MOST_FLOAT_MEMBERS = 100_000  # guess; float members are listed one by one, and shuffled ones


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
                    value = min(map(float, self.members), key=lambda member: abs(member - value))  # type: ignore[arg-type]  # floats, by _range
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


def parse_space(
    arguments: Sequence[str],
    params: Mapping[str, Any] | None = None,
    options: Options = lambda group: (),
) -> Space:
    """``options(group)`` names what a config group offers; only ``glob`` asks."""
    overrides = read_overrides(arguments, params or {})
    return Space(
        tuple(_parameter(o, options) for o in overrides if o.is_sweep_override()),
        tuple(line(o) for o in overrides if not o.is_sweep_override()),
    )


def is_member(value: Any, distribution: BaseDistribution) -> bool:
    """Whether Optuna would take the value for a parameter of this distribution."""
    try:
        create_trial(params={"x": value}, distributions={"x": distribution}, value=0.0)
    except (ValueError, OverflowError):
        return False
    return True


def _parameter(override: Override, options: Options) -> Parameter:
    sweep: Any = override.value()
    if isinstance(sweep, Glob):
        return _choice(override, _matches(override, sweep, options))
    log = _is_log(override, sweep)
    match sweep:
        case IntervalSweep():
            return _interval(override, sweep.start, sweep.end, log=log)
        case RangeSweep():
            return _range(override, sweep)
    return _choice(override, sweep.list, shuffle=sweep.shuffle)


def _is_log(override: Override, sweep: Sweep) -> bool:
    for tag in sorted(sweep.tags - {"log"}):
        cure = f"The one tag is log: tag(log, interval(1e-4, 1)).{did_you_mean(tag, ['log'])}"
        raise refusal(override, f"unknown tag {tag}", cure)
    if sweep.tags and not isinstance(sweep, IntervalSweep):
        cure = "Drop the tag, or write tag(log, interval(a, b)) or tag(log, int(interval(a, b)))."
        raise refusal(override, "log is the scale of an interval, not of a list of values", cure)
    return bool(sweep.tags)


def _interval(override: Override, low: Any, high: Any, *, log: bool) -> Parameter:
    if not (math.isfinite(low) and math.isfinite(high)):
        raise refusal(override, f"from {low} to {high} is not finite", "Give finite bounds.")
    if low >= high:
        cure = "Swap the bounds, or fix the value with key=value."
        raise refusal(override, f"the lower bound {low} is not below the upper bound {high}", cure)
    if log and low <= 0:
        problem = f"a log scale starts above 0, not at {low}"
        raise refusal(override, problem, "Raise the lower bound, or drop the tag log.")
    key = override.get_key_element()
    if isinstance(low, int):
        members = _exact(override, range(low, high + 1))
        return Parameter(key, IntDistribution(low, high, log=log), members)
    return Parameter(key, FloatDistribution(low, high, log=log), None)


def _range(override: Override, sweep: RangeSweep) -> Parameter:
    members = _range_members(override, sweep)
    if not members:
        cure = "Hydra excludes the end, and a falling range needs a negative step."
        raise refusal(override, "the range is empty", cure)
    if sweep.shuffle:  # no order is left: a choice, as the stock plugin documents it
        return _choice(override, members, shuffle=True)
    if type(members[0]) not in (int, float):  # cast to texts or booleans
        return _choice(override, members)
    return Parameter(override.get_key_element(), _steps(members, sweep.step), members)


def _range_members(override: Override, sweep: RangeSweep) -> range | tuple[Any, ...]:
    """As Hydra enumerates them. Casts and ``sort`` have reached the ends already in Hydra 1.3;
    since 1.4 a cast is applied to each member."""
    start, stop, step = sweep.start, sweep.stop, sweep.step
    casts = getattr(sweep, "transformers", ())
    assert start is not None  # Hydra's range() fills both
    assert stop is not None
    if step == 0 or not all(isinstance(n, int) or math.isfinite(n) for n in (start, stop, step)):
        problem = f"start {start}, stop {stop}, step {step} make no finite range"
        raise refusal(override, problem, "Give finite numbers and a step other than 0.")
    members = sweep.range()
    if isinstance(members, range) and not casts and not sweep.shuffle:
        return _exact(override, members)
    count = (stop - start) / step
    if count > MOST_FLOAT_MEMBERS:
        problem = f"{count:.0f} members are more than {MOST_FLOAT_MEMBERS}"
        raise refusal(override, problem, "Take a larger step, or interval(start, stop).")
    cast = tuple(functools.reduce(lambda value, f: f(value), casts, one) for one in members)
    _refuse_repeated(override, [override_text(member) for member in cast])
    return cast


def _exact(override: Override, integers: range) -> range:
    if integers and max(abs(integers[0]), abs(integers[-1])) > LARGEST_INT:
        problem = f"integers beyond 2**53 = {LARGEST_INT} are not exact in Optuna"
        raise refusal(override, problem, "Search over an exponent, or choose among strings.")
    return integers


def _steps(members: range | tuple[Any, ...], step: float | Decimal) -> BaseDistribution:
    """Ordered, and without a word of Optuna's about a range that its step does not divide.

    Hydra 1.3 adds exact steps and rounds once: ``range(0, 1, 0.1)`` holds 0.3 and
    0.7000000000000001, where Optuna has 0.30000000000000004 in floats, 0.7 in decimals. So
    ``Parameter.override`` takes the nearest member; only a last member that Optuna puts out of
    range needs a choice.
    """
    low, high = sorted((members[0], members[-1]))
    if isinstance(members, range):
        return IntDistribution(low, high, step=abs(members.step))
    if isinstance(low, int):
        widths = {abs(after - before) for before, after in itertools.pairwise(members)}
        if len(widths) > 1:
            return CategoricalDistribution(members)
        return IntDistribution(low, high, step=widths.pop() if widths else 1)
    exact = abs(Decimal(str(step)))
    if Decimal(str(high)) != Decimal(str(low)) + (len(members) - 1) * exact:
        return CategoricalDistribution(members)
    return FloatDistribution(low, high, step=float(exact))


def _matches(override: Override, glob: Glob, options: Options) -> list[str]:
    group = override.key_or_group
    offered = list(options(group))
    matches = glob.filter(offered)
    if not matches:
        cure = f"{group} offers: {', '.join(offered) or 'nothing, it is no config group'}."
        raise refusal(override, f"no option of {group} matches", cure)
    return matches


def _choice(override: Override, elements: Sequence[Any], *, shuffle: bool = False) -> Parameter:
    """The distribution keeps the order written: a shuffle does not change the question."""
    if not elements:
        raise refusal(override, "nothing to choose from", "Name at least one value.")
    if any(isinstance(element, Sweep) for element in elements):
        cure = "Write out its values: x=1,2,3 instead of x=1,range(2,4)."
        raise refusal(override, "a range or an interval cannot be one of several values", cure)
    texts = [override_text(element) for element in elements]
    _refuse_repeated(override, texts)
    values = [item.text if isinstance(item, QuotedString) else item for item in elements]
    as_text = _needs_text(values)
    choices = tuple(texts if as_text else values)
    order = _shuffled(override, choices) if shuffle else choices
    return Parameter(override.get_key_element(), CategoricalDistribution(choices), order, as_text)


def _refuse_repeated(override: Override, texts: Sequence[str]) -> None:
    repeated = [text for text, count in Counter(texts).items() if count > 1]
    if repeated:
        raise refusal(override, f"{', '.join(repeated)} stands there twice", "Keep one of each.")


def _needs_text(values: Sequence[Any]) -> bool:
    for value in values:
        if isinstance(value, Sequence | Mapping) and not isinstance(value, str):
            return True
    return len(set(values)) < len(values)  # different as text, equal in Python


def _shuffled(override: Override, members: Sequence[Any]) -> Sequence[Any]:
    """Seeded with the override itself: the same order wherever and whenever it is read."""
    return tuple(random.Random(line(override)).sample(members, len(members)))
