"""docs/images/report.png: the first screen of a study's page, with numbers that README explains.

``python tools/report_picture.py outputs/reports/minute/index.html`` after the README's commands.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "report.png"
WIDTH, HEIGHT = 1100, 1140
# What README's legend is about, in its order.
NUMBERED = (".verdict", ".headline", ".chips", ".warnings", "#confirmed")
# A number in a circle at the left of each.
MARK = """(queries) => queries.forEach((query, k) => {
    const box = document.querySelector(query).getBoundingClientRect();
    const mark = document.createElement("div");
    mark.textContent = k + 1;
    mark.style = `position: absolute; left: ${box.left - 34}px; top: ${box.top + scrollY + 4}px;
        width: 26px; height: 26px; border-radius: 13px; background: #D55E00; color: white;
        font: 700 15px/26px sans-serif; text-align: center`;
    document.body.append(mark);
})"""


def main(page: Path) -> None:
    with sync_playwright() as playwright:
        program = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        seen = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        seen.goto(page.resolve().as_uri())
        seen.add_style_tag(content="body { padding-left: 3rem; }")
        seen.evaluate(MARK, list(NUMBERED))
        seen.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
