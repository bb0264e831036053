"""What an application says about itself, as plain data that each of its studies keeps.

Pages, terminals and reports are about a study, and are made where its application may not be
imported. So the parent of a sweep writes this record when it introduces the study, and workers and
launchers' jobs need to know nothing of it. An application registers it once, on its task:

    @hydra.main(config_path="conf", config_name="config", version_base=None)
    @register(Application(name="flights", objectives=("delay (min)",)))
    def main(config): ...

One that registers nothing gets neutral words (``value 0``) and no command of its own.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from sweepmore.errors import ConfigError, did_you_mean
from sweepmore.process.invocation import python
from sweepmore.wording import shown_path

Task = TypeVar("Task", bound=Callable[..., Any])

# The attribute of a task.
REGISTERED = "__sweepmore_application__"
# The words that are filled in, in titles and commands. `where` is the outputs and storage that the
# command needs, each after a space.
WORDS = ("study", "run", "which", "where")


@dataclass(frozen=True)
class Command:
    """A command to offer: ``python show.py study={study}{where}`` under a title.

    A line that begins with ``python`` and a script is rewritten so that it can be typed here, and
    is offered only where that script exists. ``{which}`` says what it is about: the best, the
    winner, or a run's name. Raises ConfigError on an unknown ``{word}``.
    """

    title: str
    line: str

    def __post_init__(self) -> None:
        for word in re.findall(r"\{(\w*)\}", f"{self.title} {self.line}"):
            if word not in WORDS:
                words = ", ".join(f"{{{name}}}" for name in WORDS)
                cure = f"The words that are filled in are {words}.{did_you_mean(word, WORDS)}"
                problem = f"The application's command has an unknown {{{word}}}: {self.line}"
                raise ConfigError(problem, value=self.line, cure=cure)

    def typed(self, *folders: Path, **words: str) -> tuple[str, str] | None:
        """The title and the line with ``words`` filled in; None where the script does not exist.

        The script is the one in the first of ``folders`` that has it.
        """
        title, line = (_filled(text, words) for text in (self.title, self.line))
        start, *rest = line.split(" ", 2)
        if start != "python" or not rest or not rest[0].endswith(".py"):
            return title, line
        script = next((path for f in folders if (path := f / rest[0]).exists()), None)
        if script is None:
            return None
        return title, " ".join([shlex.join([python(), shown_path(script)]), *rest[1:]])


def _filled(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: words.get(match[1], match[0]), text)


@dataclass(frozen=True)
class Commands:
    """The application's own commands for the result of a study.

    ``study`` shows what its best trial or its winner can do, ``run`` does so for a single run, and
    ``number`` gives, once, the number to report of a confirmed winner.
    """

    study: Command | None = None
    run: Command | None = None
    number: Command | None = None


@dataclass(frozen=True)
class Curve:
    """A number that runs log under ``key`` at each evaluation and leave in ``result.json``.

    ``examples`` is the key of the result's ``data`` that says how many examples it is over, and
    ``best`` says which value W&B's summary keeps.
    """

    name: str
    key: str
    examples: str | None = None
    best: Literal["min", "max"] = "min"


@dataclass(frozen=True)
class Curves:
    """One quantity of several samples (the loss on dev and on train), what counts first.

    ``over`` says what each value is over. ``overfit`` are the keys of what was learnt from and of
    what was not: where a trial keeps both, a figure sets them against each other.
    """

    title: str = "Curves"
    quantity: str = ""
    unit: str = ""
    over: str = ""
    drawn: tuple[Curve, ...] = ()
    overfit: tuple[str, str] | None = None

    def label(self, key: str | None = None) -> str:
        """An axis label with the unit, for the curve with this key or for all of them."""
        names = [curve.name for curve in self.drawn if curve.key == key]
        unit = f"({self.unit})" if self.unit else ""
        label = " ".join(word for word in (*names, self.quantity, unit) if word)
        return f"{label}, {self.over}" if self.over else label


@dataclass(frozen=True)
class Application:
    """What a study's page, terminal and reports say about the application.

    ``name`` tells applications apart. ``objectives`` are the names of a study's values, with their
    units, as many as it has directions. ``columns`` are keys of what trials keep as ``result``,
    each with the head of its column. ``begin`` is what to type where there is nothing yet.
    ``weights`` is the file of a run that W&B keeps of a confirmed winner. ``evaluators`` are files
    that decide what a value means, and ``budget`` the settings that say how much a run may compute,
    such as its steps: where one changes, values are not comparable. Evaluators and the scripts of
    commands are looked for in ``root``, the folder of the task's file, which the parent of a sweep
    fills in.
    """

    name: str = ""
    objectives: tuple[str, ...] = ()
    curves: Curves = Curves()
    columns: Mapping[str, str] = field(default_factory=dict)
    commands: Commands = Commands()
    begin: str | None = None
    weights: str | None = None
    evaluators: tuple[str, ...] = ()
    budget: tuple[str, ...] = ()
    root: str | None = None

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Self:
        """The record from what a study keeps; keys of later versions are left out."""
        about = _fields_in(Curves, stored.get("curves", {}))
        drawn = tuple(Curve(**_fields_in(Curve, curve)) for curve in about.pop("drawn", ()))
        overfit = about.pop("overfit", None)
        commands = _fields_in(Commands, stored.get("commands", {}))
        nested = {
            "curves": Curves(**about, drawn=drawn, overfit=overfit and (overfit[0], overfit[1])),
            "commands": Commands(
                **{
                    role: command and Command(**_fields_in(Command, command))
                    for role, command in commands.items()
                }
            ),
            "objectives": tuple(stored.get("objectives", ())),
            "evaluators": tuple(stored.get("evaluators", ())),
            "budget": tuple(stored.get("budget", ())),
        }
        return cls(**{**_fields_in(cls, stored), **nested})

    def written(self) -> dict[str, Any]:
        """The record as JSON holds it."""
        plain = _lists(dataclasses.asdict(self))
        assert isinstance(plain, dict)
        return plain

    def folders(self, *first: Path | None) -> list[Path]:
        """Where its scripts may lie: in the folders ``first``, then in the one where it ran."""
        folders = [folder for folder in first if folder is not None]
        return folders if self.root is None else [*folders, Path(self.root)]


def _fields_in(cls: type[Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(cls)}
    return {key: value for key, value in stored.items() if key in names}


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(inner) for key, inner in value.items()}
    return [_lists(inner) for inner in value] if isinstance(value, tuple) else value


# From a study's fixed config (flat, as in its question) to what the application says about it.
Describe = Callable[[Mapping[str, Any]], Application]


def register(application: Application | Describe) -> Callable[[Task], Task]:
    """A decorator for a task, above or below ``@hydra.main``.

    The task's studies keep ``application``, or what that function returns for their fixed config.
    """

    def registered(task: Task) -> Task:
        setattr(inspect.unwrap(task), REGISTERED, application)
        return task

    return registered


def registered_by(task: Callable[..., Any], config: Mapping[str, Any]) -> Application:
    """What an application has registered on its task; a neutral record where it has not.

    Raises ConfigError where a file that it names as an evaluator does not exist.
    """
    given = getattr(inspect.unwrap(task), REGISTERED, Application())
    application: Application = given if isinstance(given, Application) else given(config)
    root = Path(inspect.getfile(inspect.unwrap(task))).resolve().parent
    for name in application.evaluators:
        if not (root / name).is_file():
            problem = f"The application names {name} as an evaluator, but {root} has no such file."
            raise ConfigError(problem, value=name, cure="Correct the names that it registers.")
    return dataclasses.replace(application, root=str(root))
