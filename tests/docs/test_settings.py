"""The page of settings names each key of the sweeper with its default."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

from sweepmore.compose.keys import Settings
from tests.support.helpers import ROOT

PAGE = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)` \| ([^|]*) \|", re.MULTILINE)
GROUPS = {"sampler": "auto", "pruner": "none"}  # their defaults are options of a group


def as_shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ", ".join(default)
    words = {None: "null", True: "true", False: "false"}
    return words[default] if default is None or isinstance(default, bool) else str(default)


def test_every_key_of_the_sweeper_with_its_default() -> None:
    table = PAGE.split("### What can be searched")[0]
    keys = {key.name: GROUPS.get(key.name) or as_shown(key.default) for key in fields(Settings)}
    assert dict(ROW.findall(table)) == keys
    assert len(keys) <= 21  # each more must retire one
