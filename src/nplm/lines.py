"""A text file becomes lines, and lines become three splits with a fingerprint."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import random
import re
from collections.abc import Collection, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from nplm.config import Data
from nplm.vocabulary import Unit, unit_of
from sweepmore.errors import DataError, UserError, line_number
from sweepmore.wording import plural

SHIPPED = ("given_names", "austen")
MAX_LINE = 10_000  # characters; a longer line is a file without line ends, not an item
MAX_BYTES = 256 * 2**20  # of a file; loading takes up to 20 GB then (docs/faults.md, Memory)

NAMES_URL = "https://raw.githubusercontent.com/karpathy/makemore/master/names.txt"
NAMES_SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"


def origin_of(data: Data) -> Path:
    """Return the path of the data file. names.txt is downloaded into the cache if it is not there;
    raises DataError where that fails."""
    if data.name in SHIPPED:
        return Path(str(resources.files("nplm") / f"{data.name}.txt"))
    return names_file() if data.name == "names" else Path(str(data.path)).expanduser()


def names_file() -> Path:
    """Return the path of the lecture's names.txt in ``$SWEEPMORE_DATA_DIR`` (default: the user's
    cache). It is downloaded if it is not there, and verified by its sha256 before it gets its
    name. Raises DataError where the download fails."""
    import pooch

    pooch.get_logger().setLevel("WARNING")  # the bar shows a download, and our message its failure
    folder = Path(os.environ.get("SWEEPMORE_DATA_DIR") or pooch.os_cache("sweepmore"))
    fetcher = pooch.create(
        folder,
        base_url="",
        registry={"names.txt": f"sha256:{NAMES_SHA256}"},
        urls={"names.txt": NAMES_URL},
        retry_if_failed=2,
    )
    try:
        download = pooch.HTTPDownloader(progressbar=True, timeout=10)
        return Path(fetcher.fetch("names.txt", downloader=download))
    except (
        OSError,
        ValueError,
    ) as error:  # requests' errors are OSErrors, a wrong hash a ValueError
        raise DataError(
            f"names.txt is not in {folder} and could not be fetched ({type(error).__name__}).",
            value=NAMES_URL,
            cure="Give data=given_names, which ships with nplm, or data=text data.path=FILE.",
        ) from error


def read_lines(data: Data) -> list[str]:
    """Return the non-blank lines of the file in file order, as their tokens spell them, without
    line ends (LF, CRLF or CR) and without a BOM.

    Raises DataError, with the line, for a file that is no UTF-8 text or that no run can use.
    """
    path, unit = origin_of(data), unit_of(data.unit, data.lower)
    content = _read_bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = line_number(content, error.start)
        cure = "Save the file as UTF-8."
        raise DataError(f"{path}, line {line}: not UTF-8.", value=line, cure=cure) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    _refuse(path, text.lower() if unit.lower else text, unit)
    lines = [unit.clean(line) for line in text.split("\n") if line.strip()]
    if data.duplicates == "drop":
        lines = list(dict.fromkeys(lines))
    return lines


def _read_bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(
                f"{path} has {size:,} bytes.",
                value=size,
                cure=f"At most {MAX_BYTES:,} bytes are read; train on a sample of the lines.",
            )
        return path.read_bytes()
    except OSError as error:
        cure = "Give the path of a text file with one item a line: data=text data.path=FILE."
        raise DataError(f"{path}: {error.strerror}.", value=str(path), cure=cure) from error


def _refuse(path: Path, text: str, unit: Unit) -> None:
    """Raise DataError for characters and line lengths that no run can use."""
    if not text.strip():
        what = "has only blank lines" if text else "is empty"
        raise DataError(
            f"{path} {what}.", value=str(path), cure="Give a file with one item a line."
        )
    boundary = re.escape(unit.boundary)
    token = rf"(?<!\S){boundary}(?!\S)" if unit.of_words else boundary
    named = f"the boundary token {unit.boundary!r}"
    for refused, what in (("\0", "a NUL byte"), (token, named)):
        if (match := re.search(refused, text)) is not None:
            line = text.count("\n", 0, match.start()) + 1
            cure = "Remove it, or replace it with another character."
            raise DataError(f"{path}, line {line}: contains {what}.", value=line, cure=cure)
    longest = max(text.split("\n"), key=len)
    if len(longest) > MAX_LINE:
        line = text.count("\n", 0, text.find(longest)) + 1
        raise DataError(
            f"{path}, line {line}: the line has {len(longest):,} characters.",
            value=len(longest),
            cure=f"A line may have at most {MAX_LINE:,} characters; put one item on each line.",
        )


def split_lines(lines: Sequence[str], data: Data) -> tuple[list[str], list[str], list[str]]:
    """Return the lines of train, dev and test, cut by the shares in ``data.split``: after the
    lecture's shuffle, or in file order (Bengio et al. 2003, section 4).

    Raises DataError where a split would be empty.
    """
    ordered = list(lines)
    if data.order == "shuffled":
        random.Random(data.seed).shuffle(ordered)
    n = len(ordered)
    # int() as in the lecture; rounded before it, because 0.29 * 100 is 28.999…
    first = int(round(data.split[0] * n, 6))
    second = int(round((data.split[0] + data.split[1]) * n, 6))
    parts = ordered[:first], ordered[first:second], ordered[second:]
    if not all(parts):
        raise DataError(
            f"{plural(n, 'line')} split by {list(data.split)} gives "
            f"{' / '.join(str(len(part)) for part in parts)} lines for train / dev / test.",
            value=n,
            cure="Each split needs a line at least: give more lines or other shares in data.split.",
        )
    return parts


def fingerprint(lines: Sequence[str], data: Data) -> str:
    """Return 32 hex digits of the sha256 over the lines in file order and the rule that makes
    splits and tokens of them. Settings at their defaults are left out, so that a new setting
    changes no recorded fingerprint."""
    rule: dict[str, Any] = {"seed": data.seed, "split": data.split, "duplicates": data.duplicates}
    if data.order == "contiguous":
        del rule[
            "seed"
        ]  # another seed gives the same split, so it must not give another look at the test lines
    settings = ("order", "unit", "lower", "min_count")
    chosen = {key: getattr(data, key) for key in settings}
    rule |= {key: value for key, value in chosen.items() if value != getattr(Data, key)}
    digest = hashlib.sha256(json.dumps(rule).encode())
    digest.update("\n".join(lines).encode())
    return digest.hexdigest()[:32]


def reproduced(data: Data, fingerprints: Collection[str]) -> dict[str, Data]:
    """Return which of the ``fingerprints`` the file of ``data`` gives, and with which settings:
    those of ``data``, or some of them at their defaults. Nothing about the lines is returned."""
    names = ("seed", "split", "duplicates", "order", "unit", "lower", "min_count")
    changed = [name for name in names if getattr(data, name) != getattr(Data, name)]
    settings: dict[str, Data] = {}
    sizes = range(len(changed) + 1)
    for back in itertools.chain(*(itertools.combinations(changed, size) for size in sizes)):
        if set(fingerprints) <= settings.keys():
            break
        with contextlib.suppress(
            UserError
        ):  # settings that contradict each other or do not suit the file
            other = dataclasses.replace(data, **{name: getattr(Data, name) for name in back})
            settings.setdefault(fingerprint(read_lines(other), other), other)
    return {digest: other for digest, other in settings.items() if digest in fingerprints}
