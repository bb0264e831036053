"""What Hydra and OmegaConf refuse while they parse and compose becomes a ConfigError each.

They raise exceptions of many types, plain ValueError and AttributeError among them, so neither
type nor wording shows what a user caused. The place does: whatever is raised inside
``composing()`` by nothing but Hydra, OmegaConf and what they build upon is about the words and
sources that they were given. The wording is only repeated, never interpreted.

Anybody else's code that runs in there keeps its traceback, because that is where its bug is: a
task, a sweeper or launcher, and what is called in the middle of composing (a custom resolver, a
``default_factory``, a callback's constructor). Only the stack frames know of the latter, so they
decide about all; a flag that a task sets as it begins would say less, and would be lost on the way
back from a launcher's process. A UserError of such code is a message, as everywhere. The rules for
the frames and the words for each kind of error belong together, hence one file.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import yaml
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigIndexError,
    ConfigKeyError,
    OmegaConfBaseException,
)

from sweepmore.compose.hydra_internals import NOT_FOUND, ONE_BY_ONE, root_of
from sweepmore.errors import ConfigError, UserError, did_you_mean, is_disk_failure, line_number
from sweepmore.typed import dotted

# The packages that may raise in there without having a bug, by themselves or below them in the
# standard library (of which ``__main__`` is not a module). Our own frames may only be passed
# through: they call Hydra from there, and raise by a bug. W&B, once it has begun a run, wraps
# ``sys.exit``, through which Hydra ends.
COMPOSERS = {"hydra", "omegaconf", "yaml", "antlr4"}
BELOW, THROUGH = {*sys.stdlib_module_names, "wandb"}, "sweepmore"
# The `_target_` of a config for the stock plugin, beside hydra/sweeper=sweepmore. Hydra looks it up
# before it asks our sweeper: where only hydra.main is around it, the message is Hydra's own.
STOCK_CLASS = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"
# What Hydra says of an override of a group below the package of its file.
_RELATIVE = re.compile(
    r"(?:Could not override|Group Default for) '(?:(\w+)@(\w+)\.\1|(\w+)/(\w+))'"
)
_HELP = "--help lists the keys and groups."
_OPTION = f"A group takes the name of an option; {_HELP}"


@contextlib.contextmanager
def composing(what: str | None = None) -> Iterator[None]:
    """Inside the block, what Hydra and OmegaConf raise becomes a ConfigError, about ``what``.

    The block must hold only calls into them. See above for what passes unchanged.
    """
    before = sys.exception()  # what is being handled already is not about this block
    try:
        yield
    except UserError:
        raise
    except SystemExit as ended:
        if ended.code == 1 and _is_theirs(ended, before):  # Hydra has said why: no such --package
            sys.exit(UserError.exit_code)
        raise
    except Exception as error:
        for link in _chain(error, before):
            if isinstance(link, UserError):
                raise link from None
        if not _is_theirs(error, before) or _is_of_the_system(error):
            raise
        frames = [frame for link in _chain(error, before) for frame in _frames(link)]
        problem, cure = _common(error, frames) or _any_other(error, frames)
        problem = f"{what}: {problem}" if what else problem
        raise ConfigError(problem, value=what, cure=cure) from error


def resolved(node: DictConfig) -> dict[str, Any]:
    """The plain values of a config, with every interpolation replaced.

    Raises ConfigError on one that cannot be: OmegaConf resolves a value only when it is read.
    """
    with composing():
        plain = OmegaConf.to_container(node, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def as_typed(words: Any) -> list[str]:
    """A config's overrides, unresolved.

    ``${oc.env:…}`` may be a secret, which is written nowhere, or a variable that is not set.
    """
    return [str(word) for word in OmegaConf.to_container(words, resolve=False) or ()]


def _is_of_the_system(error: Exception) -> bool:
    """Whether it is about a disk, a pipe or a folder: ``errors_reported`` has messages for them."""
    return (
        isinstance(error, OSError)
        and error.errno is not None
        and (error.filename is None or is_about_writing(error) or is_disk_failure(error))
    )


def is_about_writing(error: BaseException) -> bool:
    """Whether a folder or file cannot be written, rather than read.

    Hydra creates the run's folder between composing and the task. An existing file is a source,
    which it reads.
    """
    kinds = (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError)
    return isinstance(error, kinds) and not (
        isinstance(error, PermissionError) and Path(str(error.filename)).is_file()
    )


def _chain(error: BaseException, before: BaseException | None) -> Iterator[BaseException]:
    """The error and those it was raised from; OmegaConf keeps a resolver's as the context."""
    link: BaseException | None = error
    while link is not None and link is not before:
        yield link
        link = link.__cause__ or link.__context__


def _is_theirs(error: BaseException, before: BaseException | None) -> bool:
    outer, *inner = (_frames(link) for link in _chain(error, before))
    # the first two frames are composing's own and that of its block
    return len(outer) > 2 and all(map(_are_theirs, [outer[2:], *inner]))


def _are_theirs(frames: Sequence[FrameType]) -> bool:
    names = [str(frame.f_globals.get("__name__")).partition(".")[0] for frame in frames]
    above = [name for name in names if name not in BELOW]
    return {*above} <= {*COMPOSERS, THROUGH} and above[-1:] != [THROUGH]


def _frames(error: BaseException) -> list[FrameType]:
    return [frame for frame, _ in traceback.walk_tb(error.__traceback__)]


def _common(error: Exception, frames: Sequence[FrameType]) -> tuple[str, str] | None:
    """Problem and cure of a common mistake, with the nearest existing name; else None."""
    cause = error.__cause__ or error
    if isinstance(cause, (ConfigKeyError, ConfigAttributeError)) and cause.full_key:
        keys, above = _keys_beside(cause), cause.full_key.rpartition(".")[0]
        if cause.full_key in keys:  # it exists as a number, and Hydra 1.3 looks for a text
            problem = f"{cause.full_key} cannot be overridden: its last part is a number there."
            cure = f"Give the whole group, {above}={{…}}, or quote the number in its file."
            return problem, cure
        return f"Unknown key {cause.full_key}.{did_you_mean(cause.full_key, keys)}", _HELP
    if isinstance(cause, ConfigIndexError) and isinstance(cause.parent_node, ListConfig):
        key, length = str(cause.full_key), len(cause.parent_node)
        cure = f"Give the whole list: {key.rpartition('[')[0]}=[…]."
        return f"There is no {key}: the list has {length} members, counted from 0.", cure
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _no_option(error.missing_cfg_file, error.options or [], frames)
    if isinstance(cause, OverrideParseException):
        reason = cause.message.removeprefix(f"Error parsing override '{cause.override}'")
        return f"{cause.override} is not key=value: {_line(reason)}.", _HELP
    if relative := _RELATIVE.search(str(error)):
        group, file = relative[1] or relative[4], relative[2] or relative[3]
        problem = f"A file of {file} overrides {group} below {file}, where it is not."
        return problem, f"Begin it with `# @package _global_`, and write `override /{group}: …`."
    for frame in frames:
        if frame.f_locals.get("classname") == STOCK_CLASS:
            problem = "hydra.sweeper._target_ is the stock plugin's class, with sweepmore's keys."
            return problem, f"Delete that line: `_target_: {STOCK_CLASS}`."
        if frame.f_code is os.environ.__getitem__.__code__:
            problem = f"Environment variable '{frame.f_locals['key']}' not found."
            return problem, "Export it before the command, on every machine of a study."
    return _of_a_source(cause, frames)


def _no_option(
    missing: str, options: Sequence[str], frames: Sequence[FrameType]
) -> tuple[str, str]:
    """Problem and cure of a group's option, GROUP/NAME, that does not exist.

    Either part may hold a slash; a frame of Hydra's knows where the group ends.
    """
    groups = [f.f_locals.get("group") for f in frames if f.f_code.co_name == NOT_FOUND]
    group = next(filter(None, groups), missing.rpartition("/")[0])
    name = missing.removeprefix(f"{group}/")
    names = [option for option in options if option != "base"]
    cure = f"Known: {', '.join(names)}." if names else _HELP
    if "/" in name:
        return f"There is no {group}={name}.", f"{cure} A group takes a name, not a path."
    return f"There is no {group or 'config'}={name}.{did_you_mean(name, names)}", cure


def _of_a_source(cause: BaseException, frames: Sequence[FrameType]) -> tuple[str, str] | None:
    """Problem and cure of a file that Hydra was reading, named by a variable of its reader."""
    path = next((f.f_locals["full_path"] for f in frames if "full_path" in f.f_locals), None)
    if isinstance(cause, yaml.MarkedYAMLError) and cause.problem_mark is not None:
        mark = cause.problem_mark
        place = f"{mark.name}, line {mark.line + 1}: " if Path(mark.name).is_file() else ""
        where = " there" if place else ""
        return f"{place}{_line(str(cause.problem))}.", f"Correct the YAML{where}."
    if path is None:
        return None
    if isinstance(cause, UnicodeDecodeError):
        line = line_number(Path(path).read_bytes(), cause.start)
        return f"{path}, line {line}: not UTF-8.", "Save the file as UTF-8."
    if isinstance(cause, OSError) and cause.errno is None:  # OmegaConf on a file that holds 0
        return f"{path} holds no settings.", "Write `key: value`, one on each line."
    return f"{path}: {_said(cause)}.", "Correct the file, or the word that names it."


def _any_other(error: Exception, frames: Sequence[FrameType]) -> tuple[str, str]:
    """Problem and cure of anything else: the override that Hydra was reading, and its message.

    Further lines of a message of Hydra's are cures; those of OmegaConf's only describe objects.
    """
    of_a_group = any(f.f_globals["__name__"].endswith(".defaults_list") for f in frames)
    more = str(error).strip().splitlines()[1:] if isinstance(error, HydraException) else []
    cure = "\n  ".join(map(str.strip, more)) or (_OPTION if of_a_group else _HELP)
    taking = [frame for frame in frames if frame.f_code.co_qualname.endswith(ONE_BY_ONE)]
    values = [value for frame in taking for value in frame.f_locals.values()]
    overrides = [value for value in values if isinstance(value, Override)]
    if not overrides:
        reasons = [error] if error.__cause__ is None else [error, error.__cause__]
        return f"{': '.join(map(_said, reasons))}.", cure
    word = str(overrides[-1].input_line)
    reason = _said(error.__cause__ or error).replace(str(overrides[-1]), word)
    return f"Hydra does not accept {word}: {reason}.", cure


def _said(error: BaseException) -> str:
    """The first line of an error, with its type where it is not a sentence (KeyError: 'x')."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    line = _line(str(error))
    key = getattr(error, "full_key", None)
    if isinstance(error, OmegaConfBaseException) and key and key not in line:
        line = f"{line} (in {key})"
    clear = (HydraException, OmegaConfBaseException, ValueError, OSError, yaml.YAMLError)
    return line if line and isinstance(error, clear) else f"{type(error).__name__}: {line}"


def _line(text: str) -> str:
    """The first line of ``text``, without punctuation at its end."""
    return next(iter(text.strip().splitlines()), "").strip().rstrip(".:!")


def _keys_beside(error: OmegaConfBaseException) -> list[str]:
    """All dotted keys of the config in which an unknown one was looked up."""
    if not isinstance(error.parent_node, DictConfig):
        return []
    return known_keys(root_of(error.parent_node))


def known_keys(config: Any) -> list[str]:
    """Groups and dotted keys of a composed config; of Hydra's own only the sweeper's."""
    root = OmegaConf.to_container(config, resolve=False)
    if not isinstance(root, dict):
        return []
    keys = [*map(str, root), *dotted(root)]
    return [key for key in keys if key.startswith("hydra.sweeper.") or key[:5] != "hydra"]
