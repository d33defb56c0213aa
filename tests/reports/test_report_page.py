"""The report in a browser: it sorts, enlarges, loads nothing, complains of nothing, and passes axe-core's rules."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocols.results import TableResult
from reports.report_files import write_document
from tests.reports.test_paper_report import document, quick_drawings, sheet

__all__ = ["quick_drawings"]

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic", "--no-first-run"]
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(params=["light", "dark"])
def page(
    request: pytest.FixtureRequest, browser: Any, table4: TableResult, micro5: TableResult, tmp_path: Path
) -> Iterator[Any]:
    """The report of two tables and a sheet, open; `said` is what the console says, `loaded` all addresses."""
    write_document(document(table4, micro5, examples=(sheet(),)), [table4], tmp_path, pdf=False)
    context = browser.new_context(color_scheme=request.param)
    opened = context.new_page()
    opened.said, opened.loaded = [], []
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.on("request", lambda asked: opened.loaded.append(asked.url))
    opened.goto((tmp_path / "report.html").as_uri())
    yield opened
    context.close()


def test_the_page_does_all_it_promises(page: Any) -> None:
    _sorts(page)
    _enlarges(page)
    _passes_axe(page)
    assert page.said == []
    assert [url for url in page.loaded if not url.startswith(("data:", "file:"))] == []
    assert sum(url.startswith("file:") for url in page.loaded) == 1


def _values(page: Any, column: int) -> list[str]:
    return page.eval_on_selector_all(  # type: ignore[no-any-return]
        "#of-table4 table.cells:not(.pairs) tbody tr", f"rows => rows.map(row => row.cells[{column}].dataset.sort)"
    )


def _sorts(page: Any) -> None:
    """A heading's button sorts by our numbers, the largest first, then the smallest; what has none stays last."""
    before = _values(page, 1)
    heading = page.locator("#of-table4 table.cells:not(.pairs) th[aria-sort]").first
    for order, reverse in (("descending", True), ("ascending", False)):
        heading.locator("button").focus()
        page.keyboard.press("Enter")
        found = _values(page, 1)
        numbers = [float(value) for value in found if value]
        assert numbers == sorted(numbers, reverse=reverse)
        assert found != before
        assert sorted(found) == sorted(before)
        assert not any(found[len(numbers) :])
        assert heading.get_attribute("aria-sort") == order
    assert "smallest first" in page.locator("#said").text_content()


def _enlarges(page: Any) -> None:
    """A figure's button shows it in a dialog that Escape closes, and the button has the focus again."""
    for button in (page.locator("#examples button.enlarge"), page.locator("#drawn button.enlarge").first):
        small = button.locator("xpath=ancestor::figure").locator("img").first.bounding_box()["width"]
        button.focus()
        page.keyboard.press("Enter")
        dialog = page.locator("dialog[open]")
        assert dialog.locator("img").first.bounding_box()["width"] > small
        assert dialog.get_attribute("aria-label")
        page.keyboard.press("Escape")
        assert page.locator("dialog[open]").count() == 0
        assert button.evaluate("one => one === document.activeElement")


def _passes_axe(page: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page)
    assert found.violations_count == 0, found.generate_report()
