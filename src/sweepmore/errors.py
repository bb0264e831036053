"""The few exceptions that a user can cause, and the one by which a signal ends a run.

Every start of every Hydra application imports this module, with the plugin: what only a message
needs is imported where the message is written.
"""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Iterable
from typing import Any

# Secrets in a URL: user and password, and the driver's options that hold one.
_LOGIN = re.compile(r"://\S+@")
SECRET_NAME = r"\w*(?:password|passwd|pwd|secret|token)\w*"
_SECRET = re.compile(rf"([?&;]{SECRET_NAME}=)[^&;\s]+", re.IGNORECASE)


def masked(text: str) -> str:
    """``text`` with the secrets of any URL in it replaced by …: messages repeat bad input."""
    return _SECRET.sub(r"\1…", _LOGIN.sub("://…@", text))


class UserError(Exception):
    """Something that the user can put right. Root scripts print it without a traceback, exit 2.

    ``problem`` says what is wrong and ``cure`` what to do, both in full sentences. The offending
    ``value`` is kept beside them, so that no caller parses the text.
    """

    exit_code = 2

    def __init__(self, problem: str, *, value: object = None, cure: str) -> None:
        self.problem = masked(problem)
        self.value = value
        self.cure = masked(cure)
        super().__init__(f"{self.problem}\n  {self.cure}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by keyword arguments: launchers send errors from process to process."""
        return _rebuilt, (type(self), self.problem, self.value, self.cure)


def _rebuilt(kind: type[UserError], problem: str, value: object, cure: str) -> UserError:
    return kind(problem, value=value, cure=cure)


class ConfigError(UserError):
    """A setting cannot be used: its name is unknown, its type wrong, its value out of range."""


class DataError(UserError):
    """A data file cannot be used as it is."""


class RunError(UserError):
    """A run's folder or checkpoint is missing, damaged or of another kind."""


class StudyError(UserError):
    """A study cannot be opened, or not continued as asked."""


class Interrupted(BaseException):
    """A signal asked a run to stop; raised after its checkpoint is written.

    Not an ``Exception``: nothing between the training loop and the process's entry may swallow it.
    """

    def __init__(self, signum: int) -> None:
        import signal

        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """128 + signal, the shell's convention: 130 for Ctrl-C, 143 for SIGTERM, 129 for a closed
        terminal."""
        return 128 + self.signum


# The system's error codes for a disk that takes no more data, whatever the file.
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def is_disk_failure(error: BaseException) -> bool:
    """Whether the disk is full, broken or read-only: once it is mended, the same work succeeds."""
    return isinstance(error, OSError) and error.errno in DISK


def said(error: BaseException) -> str:
    """The first line of what the system or a database's driver said.

    SQLAlchemy keeps the driver's error as ``orig``; Optuna raises its own from SQLAlchemy's.
    """
    cause = error if hasattr(error, "orig") else error.__cause__ or error
    return first_line(getattr(cause, "orig", None) or cause)


def first_line(error: BaseException) -> str:
    """The first line of an error's text; the name of its class where it has no text."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def described(error: BaseException) -> tuple[str, str]:
    """A summary of whatever a task raised, and its whole text with the traceback.

    A ``UserError`` needs no traceback. Both texts can be written to a file, whatever they hold.
    """
    try:
        if isinstance(error, UserError):
            summary = whole = str(error)
        else:
            summary = "".join(traceback.format_exception_only(error)).strip()
            whole = "".join(traceback.format_exception(error))
    except BaseException:  # raised by its own __str__, which may raise anything
        summary = type(error).__name__
        frames = "".join(traceback.format_tb(error.__traceback__))
        whole = f"{frames}{summary}, whose text cannot be read"
    return writable(summary), writable(whole)


def writable(text: str) -> str:
    """``text`` with its lone surrogates escaped: no UTF-8 file can hold them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def line_number(content: bytes, at: int) -> int:
    """The line, from 1, of the byte at offset ``at``, where lines end in LF, CRLF or CR."""
    return len(re.findall(rb"\r\n?|\n", content[:at])) + 1


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """``' Did you mean X?'`` with the nearest of ``names``, else an empty string."""
    near = nearest(word, {*names} - {word})
    return "" if near is None else f" Did you mean {near}?"


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that ``word`` was probably meant to be; None where none is similar."""
    import difflib

    names = sorted(names)
    # a leaf that was given without its group goes first: emb -> model.emb
    near = [name for name in names if name != word and name.rpartition(".")[2] == word]
    near = near or difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return near[0] if near else None
