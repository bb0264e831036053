"""How this process was started, for commands that start its application again."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

# Hydra's flags that say which config is composed, by the letter that tells them apart; Hydra's
# parser takes a long one that is cut short, too.
_FLAG = re.compile(r"(?:-c|--config-)(?P<flag>[npd])\w*(?:=(?P<value>.*))?", re.DOTALL)
_NAMES = {"n": "config-name", "p": "config-path", "d": "config-dir"}
# Python's own options that take a value; the first two say what is run.
_TAKE_A_VALUE = "cmWX"


def start_words() -> list[str]:
    """What was typed between Python and the application's own words: ``[app.py]``,
    ``[-u, -m, package.app]``, ``[-m, coverage, run, app.py]``."""
    typed, own = sys.orig_argv[1:], sys.argv[1:]
    at = len(typed) - len(own)
    if at <= 0 or typed[at:] != own:  # the application has changed its words
        at = _end_of_pythons(typed)
    return [_from_anywhere(word) for word in typed[:at]]


def _from_anywhere(word: str) -> str:
    """Of a script the whole path, where the application has left the folder that it was typed in
    before Hydra began."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    is_script = file is not None and Path(file).name == Path(word).name
    return str(file) if is_script and not Path(word).exists() else word


def _end_of_pythons(typed: Sequence[str]) -> int:
    """How many words are of Python's and name what it runs, as its documentation says."""
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
    """Of an application's words the flags that say which config is composed, by their long names,
    and all others."""
    flags, others, left = dict[str, str](), list[str](), iter(words)
    for word in left:
        flag = _FLAG.fullmatch(word)
        if flag is None:
            others.append(word)
        else:
            value = flag["value"]
            flags[_NAMES[flag["flag"]]] = next(left, "") if value is None else value
    return flags, others


def flag_words(flags: dict[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]


def python() -> str:
    """As this interpreter is typed: ``python`` where that is it, else the name or path of it."""
    found, own, typed = shutil.which("python"), Path(sys.executable), sys.orig_argv[0]
    # an environment's and the one that it was made from are the same file
    if found is not None and Path(found).parent == own.parent and own.samefile(found):
        return "python"
    return typed if typed and os.sep not in typed else str(own)
