"""The documentation site: built strictly, whole without a network, its links to lines right."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import html5lib
import pytest
from playwright.sync_api import sync_playwright

from tests.support.helpers import ROOT, script_of

pytestmark = pytest.mark.system
site = script_of(ROOT / "tools" / "build_site.py")
FETCHED = re.compile(r"""url\(\s*["']?(?:https?:)?//|@import""")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = site.build(folder, folder.parent / "staged")
    assert done.returncode == 0, done.stdout
    return folder


def pages(folder: Path) -> Iterator[tuple[Path, str]]:
    for page in sorted(folder.rglob("*.html")):
        yield page, page.read_text(encoding="utf-8")


def test_no_page_fetches_anything(built: Path) -> None:
    for page, text in pages(built):
        tree = html5lib.parse(text, namespaceHTMLElements=False)
        loaded = [str(e.get("src")) for e in tree.iter() if e.get("src")]
        loaded += [e.get("href") or "" for e in tree.iter("link") if e.get("rel") != "canonical"]
        assert [one for one in loaded if re.match(r"(https?:)?//", one)] == [], page
    for style in built.rglob("*.css"):
        assert not FETCHED.search(style.read_text(encoding="utf-8")), style


def test_links_to_lines_meet_them(built: Path) -> None:
    for page, text in pages(built):
        for link, line in re.findall(r'href="([^"#]+)#(__codelineno-0-\d+)"', text):
            target = (page.parent / link).resolve()
            assert f'"{line}"' in target.read_text(encoding="utf-8"), (page, link, line)


def test_pages_in_a_browser_ask_the_network_for_nothing(built: Path) -> None:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is absent")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page, asked = browser.new_page(), list[str]()
        page.on("request", lambda request: asked.append(request.url))
        for name in ("index", "settings", "python", "source/examples/plain/app.py"):
            page.goto((built / f"{name}.html").as_uri())
            assert page.title()
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    pages = tmp_path / "staged"
    site.stage(pages)
    index = pages / "index.md"
    broken = "\n\n[gone](gone.md) and [nowhere](concepts.md#nowhere)\n"
    index.write_text(index.read_text(encoding="utf-8") + broken, encoding="utf-8")
    done = site.made(pages, tmp_path / "site")
    assert done.returncode != 0
    assert "gone.md" in done.stdout
    assert "#nowhere" in done.stdout
