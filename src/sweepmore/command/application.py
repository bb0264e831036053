"""What the application says of itself to the command, in its pyproject.toml."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from sweepmore.errors import ConfigError
from sweepmore.importing import imported
from sweepmore.runs.places import Place

if TYPE_CHECKING:
    from sweepmore.report.additions import Additions


def home(place: Place) -> tuple[Path, str | None]:
    """Return the application's folder, and what its pyproject.toml names under [tool.sweepmore].

    It is the nearest folder, from here or else from ``outputs``, whose pyproject.toml has that
    table; without one, the folder that holds ``outputs``. Raises ConfigError on another key, and
    on a file that is not TOML.
    """
    for folder in (Path.cwd(), *Path.cwd().parents, *place.outputs.parents):
        path = folder / "pyproject.toml"
        if not path.is_file():
            continue
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("sweepmore")
        except ValueError as error:
            problem = f"{path} is not TOML: {error}"
            raise ConfigError(problem, value=str(path), cure="Correct it.") from error
        if table is None:
            continue
        if strange := sorted(table.keys() - {"additions"}):
            problem = f"{path} has an unknown key in [tool.sweepmore]: {strange[0]}."
            raise ConfigError(problem, value=strange, cure='It has one: additions = "module:name"')
        named = table.get("additions")
        if "additions" in table and not re.fullmatch(r"[\w.]+:\w+", str(named)):
            problem = f"additions = {named!r} in {path} is invalid."
            raise ConfigError(problem, value=named, cure='Write "module:function".')
        return folder, named
    return place.outputs.parent, None


def additions_of(place: Place) -> Additions:
    """Return what the application adds to pages of its studies and runs; nothing by default.

    Raises ConfigError where the function that pyproject.toml names cannot be imported.
    """
    from sweepmore.compose.script_storage import typed_url
    from sweepmore.report.additions import Additions

    root, named = home(place)
    if named is None:
        return Additions(scripts=root)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))  # an application that is not installed
    try:
        function = imported(named.replace(":", "."))
    except ImportError as error:
        problem = f"additions = {named} in [tool.sweepmore] cannot be imported: {error}"
        cure = f'Write "module:function", as it is imported from {root}.'
        raise ConfigError(problem, value=named, cure=cure) from error
    added = function(root, typed_url(place.storage, place.outputs))
    if not isinstance(added, Additions):
        problem = f"{named} returned {type(added).__name__}, not Additions."
        raise ConfigError(problem, value=named, cure="See sweepmore.report.additions.")
    return added
