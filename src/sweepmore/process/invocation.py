"""How this process was started, for commands that start its application again."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

# Hydra's flags that say which config is composed, by the letter that distinguishes them. Hydra's
# parser also accepts a shortened long flag.
_FLAG = re.compile(r"(?:-c|--config-)(?P<flag>[npd])\w*(?:=(?P<value>.*))?", re.DOTALL)
_NAMES = {"n": "config-name", "p": "config-path", "d": "config-dir"}
# Python's own options that take a value; the first two name the program to run.
_TAKE_A_VALUE = "cmWX"


def start_words() -> list[str]:
    """The words that were typed between Python and the application's own arguments.

    For instance ``[app.py]``, ``[-u, -m, package.app]``, ``[-m, coverage, run, app.py]``.
    """
    typed, own = sys.orig_argv[1:], sys.argv[1:]
    at = len(typed) - len(own)
    if at <= 0 or typed[at:] != own:  # the application has changed its words
        at = _end_of_pythons(typed)
    return [_from_anywhere(word) for word in typed[:at]]


def _from_anywhere(word: str) -> str:
    """The absolute path of a script that is no longer found from the working directory.

    The application may have left the folder that the command was typed in before Hydra began.
    """
    file = getattr(sys.modules["__main__"], "__file__", None)
    is_script = file is not None and Path(file).name == Path(word).name
    return str(file) if is_script and not Path(word).exists() else word


def _end_of_pythons(typed: Sequence[str]) -> int:
    """How many words belong to Python and name what it runs, by the documented command line."""
    at = 0
    while at < len(typed):
        word, at = typed[at], at + 1
        if not word.startswith("-") or word == "-":
            return at
        if word.startswith("--"):
            at += word == "--check-hash-based-pycs"
            continue
        taking = next((k for k, letter in enumerate(word) if letter in _TAKE_A_VALUE), None)
        if taking is None:
            continue
        at += taking == len(word) - 1
        if word[taking] in "cm":
            return at
    return at


def split_flags(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Divide an application's words into the flags that choose the config, and all others.

    The flags are returned by their long names: config-name, config-path and config-dir.
    """
    flags, others, remaining = dict[str, str](), list[str](), iter(words)
    for word in remaining:
        flag = _FLAG.fullmatch(word)
        if flag is None:
            others.append(word)
        else:
            value = flag["value"]
            flags[_NAMES[flag["flag"]]] = next(remaining, "") if value is None else value
    return flags, others


def flag_words(flags: dict[str, str]) -> list[str]:
    """``--name=value`` for each flag of ``split_flags``."""
    return [f"--{name}={value}" for name, value in flags.items()]


def python() -> str:
    """How to type this interpreter: ``python`` where that finds it, else its name or its path."""
    on_path, own, typed = shutil.which("python"), Path(sys.executable), sys.orig_argv[0]
    # the folder counts, too: an environment's python and the one that it was made from are one file
    if on_path is not None and Path(on_path).parent == own.parent and own.samefile(on_path):
        return "python"
    return typed if typed and os.sep not in typed else str(own)


def sweepmore() -> list[str]:
    """How to type this interpreter's command ``sweepmore``: by its name where that finds it."""
    on_path = shutil.which("sweepmore")
    if on_path is not None and Path(on_path).parent == Path(sys.executable).parent:
        return ["sweepmore"]
    return [python(), "-m", "sweepmore"]
