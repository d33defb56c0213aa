"""The report in a browser: it sorts, enlarges, loads nothing, complains of nothing, and passes axe-core's rules."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from protocols.results import TableResult
from reports.document import Document
from reports.report_files import write_document
from reports.wording import tame
from tests.reports.test_paper_report import HOSTILE, document, everything, quick_drawings, sheet

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


@contextmanager
def opened(browser: Any, made: Document, folder: Path, **options: Any) -> Iterator[Any]:
    """Write a report and open it; `said` is what the page says to the console and to people, `loaded` all addresses."""
    write_document(made, [], folder, pdf=False)
    context = browser.new_context(**options)
    page = context.new_page()
    page.said, page.loaded = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("dialog", lambda box: (page.said.append(box.message), box.dismiss()))
    page.on("request", lambda asked: page.loaded.append(asked.url))
    page.goto((folder / "report.html").as_uri())
    yield page
    context.close()


@pytest.fixture(params=["light", "dark"])
def page(
    request: pytest.FixtureRequest, browser: Any, table4: TableResult, micro5: TableResult, tmp_path: Path
) -> Iterator[Any]:
    """The report of two tables and a sheet, open."""
    made = document(table4, micro5, examples=(sheet(),))
    with opened(browser, made, tmp_path, color_scheme=request.param) as shown:
        yield shown


def test_the_page_does_all_it_promises(page: Any) -> None:
    _sorts(page)
    _enlarges(page)
    _passes_axe(page)
    assert page.said == []
    assert [url for url in page.loaded if not url.startswith(("data:", "file:"))] == []
    assert sum(url.startswith("file:") for url in page.loaded) == 1


def test_a_narrow_page_scrolls_tables_and_drawings_and_not_itself(
    browser: Any, table4: TableResult, tmp_path: Path
) -> None:
    made = document(table4, examples=(sheet(),), left_out=("a sentence " + "n" * 500,))
    with opened(browser, made, tmp_path, viewport={"width": 360, "height": 640}) as page:
        width = "document.documentElement.scrollWidth"
        assert page.evaluate(width) == 360
        assert page.locator("#coverage .scroll").first.evaluate("one => one.scrollWidth > one.clientWidth")
        page.locator("#drawn button.enlarge").first.click()
        assert page.locator("dialog[open] img").bounding_box()["width"] > 600
        assert page.evaluate(width) == 360
        _passes_axe(page)
        assert page.said == []


def test_the_keyboard_alone_reaches_everything(browser: Any, table4: TableResult, tmp_path: Path) -> None:
    wanted, reached = {"a", "sort", "scroll", "enlarge", "summary", "tiles"}, set[str]()
    columns = table4.columns[:1]
    with opened(browser, document(replace(table4, columns=columns), examples=(sheet(),)), tmp_path) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
        page.keyboard.press("Enter")
        assert page.url.endswith("#main")
        for _ in range(100):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.className || document.activeElement.localName"))
            if wanted <= reached:
                break
    assert wanted <= reached


@pytest.mark.parametrize("name", [HOSTILE["markup"], HOSTILE["right to left"], HOSTILE["long"]])
def test_hostile_names_do_nothing_in_a_browser(browser: Any, table4: TableResult, tmp_path: Path, name: str) -> None:
    with opened(browser, everything(table4, name), tmp_path, viewport={"width": 1000, "height": 700}) as page:
        assert page.said == []
        assert page.evaluate("document.documentElement.scrollWidth") == 1000
        assert tame(name)[:40].strip() in page.locator("h3").first.text_content() + page.locator("body").text_content()
        assert [url for url in page.loaded if not url.startswith(("data:", "file:"))] == []
        _sorts(page, page.locator("section[id^=of-]").first.get_attribute("id"))


def _values(page: Any, section: str, column: int) -> list[str]:
    return page.eval_on_selector_all(  # type: ignore[no-any-return]
        f"#{section} table.cells:not(.pairs) tbody tr", f"rows => rows.map(row => row.cells[{column}].dataset.sort)"
    )


def _sorts(page: Any, section: str = "of-table4") -> None:
    """A heading's button sorts by our numbers, the largest first, then the smallest; what has none stays last."""
    before = _values(page, section, 1)
    heading = page.locator(f"#{section} table.cells:not(.pairs) th[aria-sort]").first
    for order, reverse in (("descending", True), ("ascending", False)):
        heading.locator("button").focus()
        page.keyboard.press("Enter")
        found = _values(page, section, 1)
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
