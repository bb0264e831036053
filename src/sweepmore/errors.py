"""The few exceptions that a user can cause, and the one by which a signal ends a run."""

from __future__ import annotations

import difflib
import errno
import re
import signal
import traceback
from collections.abc import Iterable
from typing import Any

# Of a URL: user and password, and an option that is a secret of its driver's.
_LOGIN = re.compile(r"://\S+@")
SECRET_NAME = r"\w*(?:password|passwd|pwd|secret|token)\w*"
_SECRET = re.compile(rf"([?&;]{SECRET_NAME}=)[^&;\s]+", re.IGNORECASE)


def masked(text: str) -> str:
    """``text`` without what a URL in it may hold of secrets: what cannot be read is repeated."""
    return _SECRET.sub(r"\1…", _LOGIN.sub("://…@", text))


class UserError(Exception):
    """Something that the user can put right; root scripts print it without a traceback, exit 2.

    Carries the offending value and the cure beside the text, so that no caller parses the text.
    """

    exit_code = 2

    def __init__(self, problem: str, *, value: object = None, cure: str) -> None:
        self.problem = masked(problem)
        self.value = value
        self.cure = masked(cure)
        super().__init__(f"{self.problem}\n  {self.cure}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Launchers send it from process to process; its arguments are named ones."""
        return _rebuilt, (type(self), self.problem, self.value, self.cure)


def _rebuilt(kind: type[UserError], problem: str, value: object, cure: str) -> UserError:
    return kind(problem, value=value, cure=cure)


class ConfigError(UserError):
    """A setting that cannot be: unknown name, wrong type, outside its range."""


class DataError(UserError):
    """A data file that cannot be used as it is."""


class RunError(UserError):
    """A run folder or a checkpoint that is missing, damaged or of another kind."""


class StudyError(UserError):
    """A study that cannot be opened or continued as asked."""


class Interrupted(BaseException):
    """A signal asked a run to stop; raised after its checkpoint is written.

    Not an ``Exception``: nothing between the training loop and the process's entry may swallow it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """128 + signal, the shell's convention: 130 for Ctrl-C, 143 for SIGTERM, 129 for a closed
        terminal."""
        return 128 + self.signum


# What the system says when a disk takes no more, of whatever file.
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def is_disk_failure(error: BaseException) -> bool:
    """Full, broken or read-only: the same work succeeds once that is put right."""
    return isinstance(error, OSError) and error.errno in DISK


def said(error: BaseException) -> str:
    """What the system or a database's driver said, in one line: SQLAlchemy keeps it as ``orig``,
    and Optuna raises an error of its own from SQLAlchemy's."""
    told = error if hasattr(error, "orig") else error.__cause__ or error
    return first_line(getattr(told, "orig", None) or told)


def first_line(error: BaseException) -> str:
    """Of an error's text; the name of its kind where it has none."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def described(error: BaseException) -> tuple[str, str]:
    """Whatever a task raised: in a line or so, and whole with its traceback, which what a user
    caused needs not. Both can be written, whatever is in its text."""
    try:
        if isinstance(error, UserError):
            told = whole = str(error)
        else:
            told = "".join(traceback.format_exception_only(error)).strip()
            whole = "".join(traceback.format_exception(error))
    except BaseException:  # of its own __str__, which may raise anything
        told = type(error).__name__
        frames = "".join(traceback.format_tb(error.__traceback__))
        whole = f"{frames}{told}, whose text cannot be read"
    return writable(told), writable(whole)


def writable(text: str) -> str:
    """``text`` with its lone surrogates, which no file takes, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def line_number(content: bytes, at: int) -> int:
    """Of the byte at ``at``, for a file whose lines end in LF, CRLF or CR; the first is 1."""
    return len(re.findall(rb"\r\n?|\n", content[:at])) + 1


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``' Did you mean X?'`` with the nearest known word, else an empty string."""
    near = nearest(word, {*known} - {word})
    return "" if near is None else f" Did you mean {near}?"


def nearest(word: str, known: Iterable[str]) -> str | None:
    known = sorted(known)
    # a leaf that was given without its group goes first: emb -> model.emb
    near = [name for name in known if name != word and name.rpartition(".")[2] == word]
    near = near or difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return near[0] if near else None
