"""How src/nplm/austen.txt was made: two novels, one sentence a line, tokens apart by spaces.

``apt-get download r-cran-janeaustenr && dpkg-deb -x r-cran-janeaustenr_*.deb FOLDER``, then
``python tools/austen.py FOLDER/usr/lib/R/site-library/janeaustenr/data/Rdata.rdb``
"""

from __future__ import annotations

import re
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "src" / "nplm" / "austen.txt"
NOVELS = ("PRIDE AND PREJUDICE", "EMMA")  # their first lines, in the order of publication
CHARSXP = 9  # R's serialization format: what holds one text
# no "I.": in both novels the pronoun at the end of a sentence
SHORT = r"(?:Mr|Mrs|Messrs|Dr|St|Esq|Col|Capt|Hon|Rev|Bart|&c|[A-HJ-Z])\."
HEADING = re.compile(r"(?i:(chapter|volume) \w+|finis|the end|by jane austen)|[A-Z ]*|[* ]*")
TOKEN = re.compile(rf"{SHORT}|'s\b|\w+(?:-\w+|'(?!s\b)\w+)*|-{{2,}}|[^\w\s]")
# a full stop, and a quotation mark or bracket that closes after it, before what begins a sentence
END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"')]))\s+(?=[\"'(]?[A-Z])")


def novels(database: bytes) -> Iterator[list[str]]:
    """The texts of an R data package, as lists of lines: records of a length and zlib."""
    at = 0
    while at < len(database):
        unpack = zlib.decompressobj()
        record = unpack.decompress(database[at + 4 :])
        at = len(database) - len(unpack.unused_data)
        yield list(texts(record))


def texts(record: bytes) -> Iterator[str]:
    """The texts of a serialized character vector: flags, a length, the bytes, for each."""
    at = record.index(struct.pack(">BBBB", 0, 0, 0, 16)) + 8  # STRSXP and its length
    while at + 8 <= len(record) and record[at + 3] == CHARSXP:
        (length,) = struct.unpack(">i", record[at + 4 : at + 8])
        yield record[at + 8 : at + 8 + max(0, length)].decode()
        at += 8 + max(0, length)


def sentences(lines: list[str]) -> Iterator[str]:
    """Each sentence of a novel, its tokens apart by spaces, without headings and rows of stars."""
    paragraphs = re.split(r"\n\s*\n", "\n".join(line.strip() for line in lines))
    for paragraph in paragraphs:
        text = " ".join(paragraph.replace("_", "").split())
        if HEADING.fullmatch(text):
            continue
        for sentence in parted(text):
            yield " ".join(TOKEN.findall(sentence))


def parted(text: str) -> Iterator[str]:
    """A paragraph's sentences; a short form such as Mr. ends none."""
    begin = 0
    for end in END.finditer(text):
        if not re.search(rf"\b{SHORT}$", text[begin : end.start()]):
            yield text[begin : end.start()]
            begin = end.end()
    yield text[begin:]


def main(database: Path) -> None:
    known = {lines[0]: lines for lines in novels(database.read_bytes())}
    found = [sentence for name in NOVELS for sentence in sentences(known[name])]
    TARGET.write_text("\n".join(found) + "\n", encoding="utf-8")
    tokens = sum(len(sentence.split()) for sentence in found)
    print(f"{TARGET}: {len(found):,} sentences, {tokens:,} tokens")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
