"""The documentation site: ``python tools/build_site.py`` builds it into ``site/``.

The pages in ``docs/`` link to sources, tests and results beside them, as a forge shows them. The
site has no forge, so this program stages a copy of the pages in ``.site/`` together with each file
that a page links, and rewrites the links. Text becomes a highlighted page whose lines have links.
It needs no plugin of the site generator, which may change.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAGED, SITE = ROOT / ".site", ROOT / "site"
# Where pages of the root are found on the site; what else stands outside docs/ goes to source/.
PAGES = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
SOURCES = "source"
COPIED = {".png", ".svg", ".css", ".json", ".ipynb"}  # as they are; other text becomes a page
LINK = re.compile(r"(\]\()(?!\w+:)([^)#\s]+)(#[^)\s]*)?(\))")
FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1`*$", re.MULTILINE | re.DOTALL)
LINE = re.compile(r"#L(\d+)$")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".j2": "html"}


def is_code(file: Path) -> bool:
    """Whether the site shows this file as a page of code."""
    return file.suffix != ".md" and file.suffix not in COPIED


def staged_name(file: Path) -> Path:
    """Where a file of the checkout lies among the staged pages; both are relative."""
    if file.as_posix() in PAGES:
        return Path(PAGES[file.as_posix()])
    if file.parts[0] == "docs":
        return Path(*file.parts[1:])
    return Path(SOURCES, f"{file}.md" if is_code(file) else file)


def outside_fences(text: str, change: Callable[[str], str]) -> str:
    """``text`` with everything but its fenced blocks changed."""
    parts, at = [], 0
    for fence in FENCE.finditer(text):
        parts += [change(text[at : fence.start()]), fence[0]]
        at = fence.end()
    return "".join([*parts, change(text[at:])])


@dataclass
class Stage:
    """Copies pages, and whatever they link, into ``folder``."""

    folder: Path
    done: set[Path] = field(default_factory=set)

    def add(self, file: Path) -> None:
        """Stage ``file`` (relative to the root), once, and the files that it links."""
        if file in self.done:
            return
        self.done.add(file)
        target = self.folder / staged_name(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix in COPIED:
            shutil.copy(ROOT / file, target)
            return
        text = (ROOT / file).read_text(encoding="utf-8")
        shown = code_page(file, text) if is_code(file) else self.page(file, text)
        target.write_text(shown, encoding="utf-8")

    def page(self, file: Path, text: str) -> str:
        """A page with its links rewritten; those to missing files stay, and fail the build."""

        def rewritten(link: re.Match[str]) -> str:
            opening, path, anchor, closing = link.groups(default="")
            linked = Path(os.path.normpath(file.parent / path))
            if not (ROOT / linked).is_file():
                return link[0]
            if linked != Path("README.md"):  # the site has a first page of its own
                self.add(linked)
            place = os.path.relpath(staged_name(linked), staged_name(file).parent)
            line = LINE.sub(r"#__codelineno-0-\1", anchor)
            return f"{opening}{place}{line}{closing}"

        changed = outside_fences(text, lambda prose: LINK.sub(rewritten, prose))
        return changed if staged_name(file).parts[0] != SOURCES else unsearched(changed)


def unsearched(page: str) -> str:
    """The page, left out of the search."""
    return f"---\nsearch:\n  exclude: true\n---\n\n{page}"


def code_page(file: Path, text: str) -> str:
    """A page that shows a file with numbered lines."""
    language = LANGUAGES.get(file.suffix, "text")
    fence = "`" * 8
    code = f'{fence} {{ .{language} linenums="1" }}\n{text.rstrip()}\n{fence}\n'
    return unsearched(f"# {file}\n\n{code}")


def stage(folder: Path) -> None:
    """Write every page of the site, and what the pages link, into an empty ``folder``."""
    shutil.rmtree(folder, ignore_errors=True)
    staging = Stage(folder)
    docs = [path for path in (ROOT / "docs").rglob("*") if path.is_file()]
    for file in sorted(path.relative_to(ROOT) for path in docs):
        staging.add(file)
    for page in PAGES:
        if page != "README.md":
            staging.add(Path(page))


def build(site: Path = SITE, staged: Path = STAGED) -> subprocess.CompletedProcess[str]:
    """Stage the pages and build the site; warnings are errors."""
    stage(staged)
    return made(staged, site)


def made(staged: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """The generator's run over staged pages. It counts no warning that ``--quiet`` would hide."""
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    placed = settings.replace("docs_dir: .site\n", f"docs_dir: {staged}\n")
    words = ["--config-file", "-", "--site-dir", str(site)]  # the settings come by stdin
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", *words],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "true"},
        input=placed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def main() -> None:
    done = build()
    if done.returncode:
        print(done.stdout, end="")
        raise SystemExit(done.returncode)
    print(f"site     {(SITE / 'index.html').relative_to(ROOT)}")


if __name__ == "__main__":
    main()
