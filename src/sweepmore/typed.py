"""Untyped mappings become frozen dataclasses here: names, types and ranges are checked once.

``setting`` declares a field with its range and help; ``build`` makes the record or raises a
``ConfigError`` that names the key as the user wrote it, the value, and the nearest known name.
Not pydantic's: its messages name no cure, and the records stay plain frozen dataclasses without
one more dependency.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from sweepmore.errors import ConfigError, did_you_mean

T = TypeVar("T")


def setting(
    default: Any,
    help: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> Any:
    """Declare a dataclass field with its default, one line of help, and its range.

    ``above`` and ``below`` exclude the bound, ``at_least`` and ``at_most`` include it. The range
    of a tuple holds for each member.
    """
    bounds = {"above": above, "at_least": at_least, "below": below, "at_most": at_most}
    return dataclasses.field(default=default, metadata={"help": help, "bounds": bounds})


def build(cls: type[T], node: Mapping[str, Any], path: str = "") -> T:
    """Build the dataclass ``cls`` from a mapping; missing keys take their defaults.

    ``path`` is the dotted prefix that messages show. Raises ConfigError on an unknown key, a
    wrong type, or a value outside its range. NaN and infinities are refused everywhere.
    """
    if not isinstance(node, Mapping):  # an override replaced the whole group by one value
        raise _wrong(path.rstrip("."), node, GROUP)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name, value in node.items():
        if name not in fields:
            cure = f"The keys here are {', '.join(fields)}.{did_you_mean(str(name), fields)}"
            raise ConfigError(f"Unknown key {path}{name}={_shown(value)}.", value=value, cure=cure)
    hints = typing.get_type_hints(cls)
    return cls(
        **{
            name: _checked(fields[name], hints[name], value, f"{path}{name}")
            for name, value in node.items()
        }
    )


def _checked(field: dataclasses.Field[Any], hint: Any, value: Any, key: str) -> Any:
    value = _typed(hint, value, key)
    for member in value if isinstance(value, tuple) else (value,):
        for name, bound in field.metadata.get("bounds", {}).items():
            if bound is not None and not _within(member, name, bound):
                raise ConfigError(
                    f"{key}={_shown(value)} is out of range.",
                    value=value,
                    cure=f"It must be {name.replace('_', ' ')} {bound:g}.",
                )
    return value


def _within(value: Any, name: str, bound: float) -> bool:
    if not isinstance(value, (int, float)):
        return True
    return bool(
        {
            "above": value > bound,
            "at_least": value >= bound,
            "below": value < bound,
            "at_most": value <= bound,
        }[name]
    )


def _typed(hint: Any, value: Any, key: str) -> Any:
    """``value`` checked against ``hint``: types are exact, but an int may be given for a float."""
    if hint is Any:
        return value
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
        return build(hint, value, f"{key}.")
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        words = [w for a in arguments if typing.get_origin(a) is typing.Literal for w in a.__args__]
        if isinstance(value, str) and value in words:
            return value
        kinds = [a for a in arguments if a is not type(None)]
        lists = [a for a in kinds if typing.get_origin(a) is tuple]
        listed = lists and isinstance(value, (list, tuple))
        return _typed(lists[0] if listed else kinds[0], value, key)
    if origin is typing.Literal:
        if value in arguments:
            return value
        near = did_you_mean(str(value), map(str, arguments)).strip()
        wanted = f"one of {', '.join(map(str, arguments))}", near or "Choose one of them."
        raise _wrong(key, value, wanted)
    if origin is tuple and isinstance(value, (list, tuple)):
        return _typed_tuple(arguments, value, key)
    if origin is Mapping and isinstance(value, Mapping):
        return dict(value)
    if hint is float and type(value) in (int, float):
        try:
            number = float(value)
        except OverflowError:  # a whole number beyond the largest float
            number = math.inf
        if not math.isfinite(number):
            raise _wrong(key, value, FINITE)
        return number
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise _wrong(key, value, _described(hint))


def _typed_tuple(arguments: tuple[Any, ...], value: Any, key: str) -> tuple[Any, ...]:
    if arguments[-1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(value) != len(arguments):
        wanted = f"a list of {len(arguments)} values", "Give all of them: {key}=[…,…]."
        raise _wrong(key, value, wanted)
    return tuple(_typed(a, v, f"{key}[{i}]") for i, (a, v) in enumerate(zip(arguments, value)))


# What a value should be, and how to write it.
Wanted = tuple[str, str]
GROUP: Wanted = "a group of keys", "Set its keys one by one: {key}.KEY=VALUE."
FINITE: Wanted = "a finite number", "Neither nan nor an infinity can be used here."
LIST: Wanted = "a list", "Write it in brackets: {key}=[…,…]."
SIMPLE: Mapping[Any, Wanted] = {
    int: ("a whole number", "Write digits only, such as 10."),
    float: ("a number", "Write it as 10, 0.1 or 1e-3."),
    bool: ("true or false", "Write one of these two words, without quotes."),
    str: ("a text", "Put it in quotes: '{key}=\"…\"'."),
}


def _wrong(key: str, value: Any, wanted: Wanted) -> ConfigError:
    what, cure = wanted
    problem = f"{key}={_shown(value)} is not {what}."
    return ConfigError(problem, value=value, cure=cure.replace("{key}", key))


def _shown(value: Any) -> str:
    """``value`` as it is typed on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def _described(hint: Any) -> Wanted:
    keyed = dataclasses.is_dataclass(hint) or typing.get_origin(hint) is Mapping
    return SIMPLE.get(hint, GROUP if keyed else LIST)


def dotted(node: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings into one with dotted keys; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            flat |= dotted(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
