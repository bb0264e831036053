"""``GROUP=?`` on a command line: the options of a config group, with a line about each.

The line is the first sentence of the comment at the top of an option's file.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra

from sweepmore.compose.hydra_internals import VERSION_BASE
from sweepmore.errors import ConfigError, did_you_mean

# The widest line: a terminal's usual width.
WIDTH = 80


def asked_group(words: Sequence[str]) -> str | None:
    """Return the first group that is asked for, as ``sweeps`` in ``sweeps=?``."""
    groups = (re.fullmatch(r"\+?([\w./-]+)=\?", word) for word in words)
    return next((group[1] for group in groups if group is not None), None)


def print_choices(group: str, root: Path, folder: Path, config_name: str) -> None:
    """Print the options of a group of the configs in ``folder``, a line each.

    ``root`` is the application's folder, which may be on Hydra's search path, too. Raises
    ConfigError where there is no such group.
    """
    with hydra.initialize_config_dir(str(folder), **VERSION_BASE):
        loader = GlobalHydra.instance().config_loader()
        options = loader.get_group_options(group, config_name=config_name)
        sources = [source for source in loader.get_sources() if source.scheme() == "file"]
    places = [*(Path(source.path) for source in sources), root]
    if not options:
        groups = sorted({path.parent.name for place in places for path in place.glob("*/*.yaml")})
        cure = f"Groups: {', '.join(groups)}.{did_you_mean(group, groups)}"
        raise ConfigError(f"There is no config group {group}.", value=group, cure=cure)
    print("\n".join(choice_lines(options, [place / group for place in places])))


def choice_lines(options: Iterable[str], folders: Sequence[Path], most: int = WIDTH) -> list[str]:
    """Return ``name  what it is`` for each option, in at most ``most`` characters.

    What it is stands in its file, in the first of the folders that has it.
    """
    names = sorted(options)
    width = max(map(len, names), default=0)
    lines = []
    for name in names:
        files = (path for folder in folders if (path := folder / f"{name}.yaml").exists())
        about = first_sentence(next(files, None))
        short = textwrap.shorten(about, most - width - 2, placeholder=" …")
        lines.append(f"{name:<{width}}  {short}".rstrip())
    return lines


def first_sentence(file: Path | None) -> str:
    """Return the first sentence of the comment at the top of a YAML file; "" where it has none."""
    if file is None:
        return ""
    comment = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            comment.append(line.lstrip("# "))
    return re.split(r"(?<=[.?!]) (?=[A-Z0-9])", " ".join(comment), maxsplit=1)[0]
