"""Hydra's override grammar, both ways: text → parsed override, and typed value → text.

The grammar is at hydra.cc/docs/advanced/override_grammar/extended. Nothing here knows Optuna.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    Override,
    Quote,
    QuotedString,
    Transformer,
)
from hydra.errors import HydraException

from sweepmore.compose.hydra_internals import choice_among
from sweepmore.errors import ConfigError, first_line

# A word that Hydra reads as a string without quotes: not a number or keyword, nothing to escape.
WORD = re.compile(r"(?!(?:null|true|false|nan|inf)$)[a-z_][\w./-]*", re.ASCII | re.IGNORECASE)


def read_overrides(arguments: Sequence[str], params: Mapping[str, Any]) -> list[Override]:
    """The overrides of ``hydra.sweeper.params``, then those of the command line, which win.

    A value in ``params`` is a string in Hydra's grammar, a list (a choice among its elements as
    they are, without grammar) or one fixed value. Raises ConfigError where Hydra cannot read an
    override, and where a key is given twice.
    """
    written = [_parse(text) for text in arguments]
    preset = [_from_params(key, value) for key, value in params.items()]
    _refuse_repeats(written)
    _refuse_repeats(preset)
    taken = {_bare_key(override) for override in written}
    return [override for override in preset if _bare_key(override) not in taken] + written


def fixed_values(arguments: Sequence[str]) -> dict[str, str]:
    """The text of each override's value by its key, with its plus; deletions are left out."""
    overrides = [o for o in read_overrides(arguments, {}) if not o.is_delete()]
    return {o.get_key_element(): o.get_value_element_as_str() for o in overrides}


def override_text(value: object) -> str:
    """``value`` in Hydra's grammar, such that Hydra reads exactly the same value.

    Raises ConfigError on a type or a dict's key that the grammar cannot write.
    """
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int():
            return str(int(value))
        case float():
            return repr(float(value))  # a numpy float's own repr names its type
        case str():
            quoted = QuotedString(value, Quote.single)
            return value if WORD.fullmatch(value) else quoted.with_quotes()
        case QuotedString():
            return override_text(value.text)
        case Mapping():
            pairs = (f"{_key_text(key)}:{override_text(item)}" for key, item in value.items())
            return "{" + ",".join(pairs) + "}"
        case Sequence():
            return "[" + ",".join(map(override_text, value)) + "]"
    raise ConfigError(
        f"{value!r} is a {type(value).__name__}, which has no form in an override.",
        value=value,
        cure="Use null, booleans, numbers, strings, lists and dicts: a sweep holds nothing else.",
    )


def line(override: Override) -> str:
    """The override as the user wrote it."""
    return override.input_line or ""


def refusal(override: Override, problem: str, cure: str) -> ConfigError:
    """The error for an override that Hydra reads and a sweep cannot use."""
    return ConfigError(f"{line(override)}: {problem}.", value=line(override), cure=cure)


def _key_text(key: Any) -> str:
    """A dict's key in Hydra's grammar, which has no quotes there: not every string is possible."""
    text = Transformer.str(key)
    try:
        (read,) = OverridesParser.create().parse_rule(f"{{{text}:0}}", "dictContainer")
    except HydraException:
        read = None
    if repr(read) != repr(key):
        raise ConfigError(
            f"{key!r} cannot be the key of a dict in an override.",
            value=key,
            cure="Hydra takes words and numbers there, without quotes: rename the key.",
        )
    return text


def _parse(text: str) -> Override:
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise ConfigError(
            f"Hydra cannot read the override {text}: {first_line(error)}.",
            value=text,
            cure="See hydra.cc/docs/advanced/override_grammar; in a shell, quote it: 'key=f(a,b)'.",
        ) from error


def _from_params(key: str, value: object) -> Override:
    match value:
        case str():
            return _parse(f"{key}={value}")
        case Mapping():
            raise ConfigError(
                f"params.{key} is a mapping: {dict(value)}.",
                value=value,
                cure=f"Write its keys with dots, {key}.a: ..., or a dict as a string, '{{a: 1}}'.",
            )
        case Sequence():
            return choice_among(_parse(f"{key}="), list(value))
    return _parse(f"{key}={override_text(value)}")


def _bare_key(override: Override) -> str:
    return override.get_key_element().lstrip("+~")


def _refuse_repeats(overrides: Sequence[Override]) -> None:
    """Raise ConfigError where a key is given twice.

    Only ``~x`` may accompany ``+x=...``: so a config group is removed and added again.
    """
    counts = Counter(_bare_key(override) for override in overrides if not override.is_delete())
    for key, count in counts.items():
        if count > 1:
            lines = [line(override) for override in overrides if _bare_key(override) == key]
            raise ConfigError(
                f"{key} is given {count} times: {' and '.join(lines)}.",
                value=lines,
                cure=f"Keep one; to search over both, write {key}=a,b.",
            )
