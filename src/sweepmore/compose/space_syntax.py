"""From Hydra overrides to a search space: ``choice``, ``range``, ``interval`` and ``glob``.

Hydra decides what a sweep means: a range excludes its end, and a cast applies to every member. Only
intervals follow Optuna, and include both ends.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from sweepmore.compose.overrides import line, override_text, read_overrides, refusal
from sweepmore.compose.space import Parameter, Space
from sweepmore.errors import did_you_mean

Options = Callable[[str], Sequence[str]]

LARGEST_INT = 2**53  # Optuna keeps numbers as doubles, which hold every integer up to here
MOST_FLOAT_MEMBERS = 100_000  # guess; floats and shuffled members are listed in memory


def parse_space(
    arguments: Sequence[str],
    params: Mapping[str, Any] | None = None,
    options: Options = lambda group: (),
) -> Space:
    """Read a search space from a command's overrides; those that search nothing become ``fixed``.

    ``params`` is ``hydra.sweeper.params``, in which the command's own keys take precedence.
    ``options(group)`` returns the options of a config group, which only ``glob`` needs. Raises
    ConfigError for a range or list that is empty or repeats a member, and for bounds that are not
    finite.
    """
    overrides = read_overrides(arguments, params or {})
    return Space(
        tuple(_parameter(o, options) for o in overrides if o.is_sweep_override()),
        tuple(line(o) for o in overrides if not o.is_sweep_override()),
    )


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
    """Return the members as Hydra enumerates them.

    Hydra 1.3 has applied casts and ``sort`` to the ends of the range already. Since 1.4, a cast is
    applied to each member instead.
    """
    start, stop, step = sweep.start, sweep.stop, sweep.step
    casts = getattr(sweep, "transformers", ())
    assert start is not None  # Hydra's range() fills both
    assert stop is not None
    if step == 0 or not all(isinstance(n, int) or math.isfinite(n) for n in (start, stop, step)):
        problem = f"start {start}, stop {stop}, step {step} make no finite range"
        raise refusal(override, problem, "Give finite numbers and a step other than 0.")
    members = sweep.range()
    # integers that keep their order need no list; all others are listed, within a limit
    if isinstance(members, range) and not casts and not sweep.shuffle:
        return _exact(override, members)
    count = (stop - start) / step
    if count > MOST_FLOAT_MEMBERS:
        problem = f"{count:.0f} members are more than {MOST_FLOAT_MEMBERS}"
        raise refusal(override, problem, "Take a larger step, or interval(start, stop).")
    cast = tuple(functools.reduce(lambda value, f: f(value), casts, member) for member in members)
    _refuse_repeated(override, [override_text(member) for member in cast])
    return cast


def _exact(override: Override, integers: range) -> range:
    if integers and max(abs(integers[0]), abs(integers[-1])) > LARGEST_INT:
        problem = f"integers beyond 2**53 = {LARGEST_INT} are not exact in Optuna"
        raise refusal(override, problem, "Search over an exponent, or choose among strings.")
    return integers


def _steps(members: range | tuple[Any, ...], step: float | Decimal) -> BaseDistribution:
    """Return an ordered distribution, if Optuna accepts one without a warning about its step.

    Hydra 1.3 adds exact steps and rounds once: ``range(0, 1, 0.1)`` holds 0.3 and
    0.7000000000000001, where Optuna has 0.30000000000000004 in floats and 0.7 in decimals. So
    ``Parameter.override`` takes the nearest member. Only a range whose last member Optuna puts out
    of range becomes a choice, which has no order.
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
    """Return a choice among elements.

    Only its ``members`` are shuffled. The distribution keeps the order that was written, because a
    shuffle does not change the study's question.
    """
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
        raise refusal(override, f"{', '.join(repeated)} appears twice", "Keep one of each.")


def _needs_text(values: Sequence[Any]) -> bool:
    for value in values:
        if isinstance(value, Sequence | Mapping) and not isinstance(value, str):
            return True
    return len(set(values)) < len(values)  # different as text, equal in Python


def _shuffled(override: Override, members: Sequence[Any]) -> Sequence[Any]:
    """Shuffle members with the override as the seed: each process must read the same order."""
    return tuple(random.Random(line(override)).sample(members, len(members)))
