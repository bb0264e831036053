"""How every root script starts: bad input is one message and exit code 2; bugs raise.

``hydra_app`` wraps a task whose config Hydra composes; ``command`` wraps one whose few arguments
are ``key=value`` pairs of a dataclass. Both share one way to report errors, so they share a file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import importlib.util
import inspect
import io
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence, Set
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from sweepmore.compose.choices import asked_group, print_choices
from sweepmore.compose.composing import as_typed, composing, is_about_writing, known_keys
from sweepmore.compose.hydra_internals import (
    VERSION_BASE,
    before_folders,
    flags_parser,
    groups_listed_quickly,
)
from sweepmore.errors import ConfigError, Interrupted, UserError, is_disk_failure, masked, nearest
from sweepmore.process.invocation import python, start_words
from sweepmore.typed import build

T = TypeVar("T")

# Torch and W&B bring a million objects that stay: to look for garbage among them at each 700 new
# ones, as Python does, takes 0.4 s of a script's start, and another 0.7 s as it ends (measured).
GARBAGE_THRESHOLD = 100_000

# The folder of the application's script, for configs that must not depend on the working directory:
# relative file:// paths and ${hydra:runtime.cwd} both fail in hydra.searchpath.
ROOT_VARIABLE = "SWEEPMORE_ROOT"


def hydra_app(
    task: Callable[[DictConfig], Any], *, config_path: str = "conf", config_name: str = "config"
) -> None:
    """Compose the config and run ``task``, once or as a sweep.

    ``config_path`` is relative to the task's file. Leaves the process with exit code 2 on bad
    input, and 128 plus its number on a signal; bugs raise.
    """
    root = Path(inspect.getfile(task)).resolve().parent
    os.environ[ROOT_VARIABLE] = str(root)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra would print and exit 1 by itself

    @functools.wraps(task)
    def leave_nothing(node: DictConfig) -> Any:
        try:
            if HydraConfig.get().mode is RunMode.RUN:
                refuse_a_search(HydraConfig.get())
            return task(node)
        except BaseException as error:
            remove_empty(Path(HydraConfig.get().runtime.output_dir))
            if isinstance(error, UserError) and HydraConfig.get().mode is RunMode.RUN:
                _fail(str(error))  # Hydra would print a line of its own above an exception
            raise

    main = hydra.main(config_path=str(root / config_path), config_name=config_name, **VERSION_BASE)
    with less_garbage(task), errors_reported():
        refuse_flags(sys.argv[1:], root / config_path, config_name)
        if (group := asked_group(sys.argv[1:])) is not None:
            with composing():
                print_choices(group, root, root / config_path, config_name)
            return
        with composing(), folders_remembered(), groups_listed_quickly():
            main(leave_nothing)()


def refuse_flags(words: Sequence[str], folder: Path, config_name: str) -> None:
    """Raise ConfigError where Hydra's own parser would print the usage of all its flags."""

    def refuse(message: str) -> NoReturn:
        raise ConfigError(f"{message[0].upper()}{message[1:]}.", value=words, cure=_FLAGS)

    parser = flags_parser()
    parser.error = refuse  # type: ignore[method-assign]  # what it calls instead of exiting
    strange = parser.parse_known_args(words)[1]
    for word in strange[:1]:
        if not word.startswith("-"):
            cure = "Give all key=value together, and flags before or after them."
            problem = f"A flag separates {word} from the other settings."
            raise ConfigError(problem, value=word, cure=cure)
        key, equals, value = word.lstrip("-").partition("=")
        behind = words[words.index(word) + 1 :][:1]
        if not equals and behind and "=" not in behind[0]:
            value = behind[0]
        key = nearest(key, _known_keys(folder, config_name)) or key
        cure = f"Settings are key=value, without dashes: {key}={value or '…'}"
        raise ConfigError(f"There is no flag {word}.", value=word, cure=f"{cure}\n  {_FLAGS}")


_FLAGS = "--hydra-help lists the flags."


def _known_keys(folder: Path, config_name: str) -> list[str]:
    """The keys of the config that a wrong word was meant for; [] where it cannot be composed."""
    place = hydra.initialize_config_dir(str(folder), **VERSION_BASE)
    with contextlib.suppress(ConfigError), composing(), place:
        return known_keys(hydra.compose(config_name))
    return []


def refuse_a_search(hydra_node: Any) -> None:
    """Raise ConfigError where a search was typed, but one run is about to begin.

    A search is a key of the sweeper, or ``sweeps=NAME`` without all the keys that it searches.
    """
    typed = [*as_typed(hydra_node.overrides.hydra), *as_typed(hydra_node.overrides.task)]
    given = {word.partition("=")[0].lstrip("+~") for word in typed}
    about = [key for key in given if key.startswith(("hydra.sweeper", "hydra/sweeper"))]
    if hydra_node.runtime.choices.get("sweeps") is not None and "sweeps" in given:
        params = hydra_node.sweeper.get("params") or {}
        about += ["sweeps"] if set(params) - given else []
    if about:
        raise ConfigError(
            f"{about[0]} is about a search, but without -m this is one run.",
            value=about,
            cure=f"To search, run: {shlex.join([python(), *start_words(), '-m', *sys.argv[1:]])}",
        )


def require(package: str) -> None:
    """Exit with one line where ``package`` is not installed; it is not imported."""
    if importlib.util.find_spec(package) is None:
        sys.exit(f"{package} is not installed here: run `make setup`, then `. .venv/bin/activate`")


def command(cls: type[T], task: Callable[[T], None], argv: list[str] | None = None) -> None:
    """Run ``task`` on the record that ``key=value`` arguments describe; ``--help`` lists them.

    Leaves the process with exit code 2 on bad input, and 128 plus its number on a signal.
    """
    arguments = sys.argv[1:] if argv is None else argv
    with less_garbage(task), errors_reported():
        if {"-h", "--help"} & set(arguments):
            print(usage(cls))
            return
        strange = [word for word in arguments if "=" not in word]
        if strange:
            raise ConfigError(f"{strange[0]} is not key=value.", value=strange[0], cure=usage(cls))
        for word in arguments:
            with composing(word):
                OmegaConf.from_cli([word])
        with composing():
            given = OmegaConf.to_container(OmegaConf.from_cli(arguments))
        assert isinstance(given, dict)
        task(build(cls, {str(key): value for key, value in given.items()}))


def given(arguments: Any, *names: str) -> str:
    """`` key=value`` for each of these settings that differs from its default.

    They are to be appended to the next command.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(arguments)}
    words = [(name, getattr(arguments, name)) for name in names]
    changed = [f"{name}={value}" for name, value in words if value != defaults[name]]
    return "".join(f" {shlex.quote(word)}" for word in changed)


def usage(cls: type) -> str:
    """The help of a command: the docstring of ``cls``, and a line for each key."""
    rows = [(f"{f.name}={_yaml(f.default)}", f.metadata["help"]) for f in dataclasses.fields(cls)]
    width = max(len(key) for key, _ in rows)
    head = (cls.__doc__ or "").strip()
    return "\n".join([head, *(f"  {key:<{width}}  {text}" for key, text in rows)])


def _yaml(value: object) -> str:
    return "null" if value is None else str(value)


@contextlib.contextmanager
def less_garbage(task: Callable[..., Any]) -> Iterator[None]:
    """Inside the block, Python's garbage collector runs less often.

    It does not run at all as the process ends, if ``task`` is of the script itself, which ends
    with the block.
    """
    before = gc.get_threshold()
    gc.set_threshold(GARBAGE_THRESHOLD)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if task.__module__ == "__main__":
            gc.freeze()


@contextlib.contextmanager
def errors_reported() -> Iterator[None]:
    """Inside the block, what a user can cause is one message on stderr and exit code 2.

    A signal exits with 128 plus its number. A warning is one line, too; bugs raise.
    """
    format_before, warnings.formatwarning = warnings.formatwarning, _warning_line
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without arrows shows a ?
            stream.reconfigure(errors="replace")
    try:
        yield
    except Interrupted as stopped:
        sys.exit(stopped.exit_code)
    except KeyboardInterrupt:  # outside the loop that asks for signals at each step
        print("stopped", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except UserError as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:  # the reader of our output ended (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + 13)  # SIGPIPE, which Windows does not name
    except OSError as error:
        if is_disk_failure(error):
            cure = "Make room, or repair the disk. Then rerun the same command to continue."
            _fail(f"Nothing more can be written: {error.strerror}.\n  {cure}")
        if error.filename is None or not is_about_writing(error):
            raise
        _fail(f"Cannot write {error.filename}: {error.strerror}.\n  Choose another folder.")
    finally:
        warnings.formatwarning = format_before


def _warning_line(message: Warning | str, *where: object, **more: object) -> str:
    return f"warning: {message}\n"


def _fail(message: str, code: int = UserError.exit_code) -> NoReturn:
    """Print an error and exit; secrets of a URL that Hydra repeats are masked."""
    print(f"error: {masked(message)}", file=sys.stderr)
    sys.exit(code)


# Which existed before: the folder of the run that Hydra last began in this block, and its parents.
_there_before: ContextVar[Set[Path]] = ContextVar("there_before", default=frozenset())


@contextlib.contextmanager
def folders_remembered() -> Iterator[None]:
    """Inside the block, ``remove_empty`` knows which folders Hydra has created for a run."""
    existing = set[Path]()

    def look(folder: Path) -> None:
        existing.clear()
        existing.update(path for path in (folder, *folder.parents) if path.exists())

    before = _there_before.set(existing)
    try:
        with before_folders(look):
            yield
    finally:
        _there_before.reset(before)


def remove_empty(folder: Path) -> None:
    """Remove a run's folder and its parents while they are empty: Hydra created them too early.

    Folders that existed before stay. In a launcher's process, where nobody has looked, at most the
    run's folder and its parent are removed.
    """
    folders, existing = (folder, *folder.parents), _there_before.get()
    with contextlib.suppress(OSError):
        for path in folders if existing else folders[:2]:
            if path in existing:
                return
            path.rmdir()
