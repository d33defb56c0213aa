"""The gallery in a browser: it filters, sorts and goes on by keys, keeps its address, loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.annotations import decode, encode
from reports.gallery import write_gallery
from tests.reports.gallery_files import HEIGHT, HOSTILE, WIDTH, head, photos, rows, square, write_photos
from tests.reports.test_gallery import OF_COCO
from tests.reports.test_report_page import BROWSER, _passes_axe, browser

__all__ = ["browser"]

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")


@pytest.fixture
def page(request: pytest.FixtureRequest, browser: Any, tmp_path: Path) -> Iterator[Any]:
    """A gallery of two runs with hostile categories, open, light or as its parameter says."""
    write_photos(tmp_path, 20)
    write_gallery(head(2, HOSTILE), photos(20, 10, sides=2, categories=len(HOSTILE)), tmp_path)
    context = browser.new_context(color_scheme=getattr(request, "param", "light"))
    opened = context.new_page()
    opened.said, opened.loaded = [], []
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.on("request", lambda asked: opened.loaded.append(asked.url))
    opened.goto((tmp_path / "index.html").as_uri())
    opened.wait_for_selector("#cards button")
    opened.rows = rows(tmp_path)
    yield opened
    context.close()


def test_the_gallery_does_all_it_promises(page: Any) -> None:
    _sorts_by_difference(page)
    _decodes_masks(page)
    _filters(page)
    _filters_by_a_bar(page)
    _goes_by_keys(page)
    _is_where_its_address_says(page)
    _passes_axe(page)
    assert page.said == []
    assert page.evaluate("window.struck") is None
    assert {url.partition(":")[0] for url in page.loaded} == {"file"}


@pytest.mark.parametrize("page", ["dark"], indirect=True)
def test_the_gallery_is_as_readable_in_the_dark(page: Any) -> None:
    _passes_axe(page)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open] #panels canvas")
    _passes_axe(page)
    assert page.said == []


def _shown(page: Any) -> list[dict[str, Any]]:
    places = page.eval_on_selector_all("#cards button", "all => all.map(one => Number(one.dataset.index))")
    return [page.rows[place] for place in places]


def _sorts_by_difference(page: Any) -> None:
    """Two runs start with the instances that they differ in most; other orders can be chosen."""
    differences = [abs(row["iou"][0] - row["iou"][1]) for row in page.rows]
    found = [abs(row["iou"][0] - row["iou"][1]) for row in _shown(page)]
    assert found == sorted(differences, reverse=True)[: len(found)]
    page.select_option("[name=sort]", "iou1-up")
    assert [row["iou"][1] for row in _shown(page)] == sorted(row["iou"][1] for row in page.rows)[: len(found)]


def _decodes_masks(page: Any) -> None:
    ragged = np.random.default_rng(1).random((HEIGHT, WIDTH)) > 0.5
    for counts in (square(3, 4, 5), square(0, 0, HEIGHT), encode(ragged)["counts"], encode(~ragged)["counts"]):
        mask = decode({"size": [HEIGHT, WIDTH], "counts": counts})
        found = page.evaluate(
            f"(c) => {{ const d = decode(c, {HEIGHT}, {WIDTH}); return [[...d.mask], d.box]; }}", counts
        )
        assert found[0] == mask.ravel(order="F").astype(int).tolist()
        across, down = (np.flatnonzero(mask.any(axis)) for axis in (0, 1))
        assert found[1] == [across[0], down[0], across[-1] + 1, down[-1] + 1]


def _filters(page: Any) -> None:
    page.select_option("[name=category]", "1")
    page.select_option("[name=size]", "2")
    page.select_option("[name=of]", "iou")
    page.fill("[name=low]", "30")
    wanted = [r for r in page.rows if r["category_id"] == 1 and r["size"] == "large" and r["iou"][0] >= 0.3]
    assert sorted(r["annotation_id"] for r in _shown(page)) == sorted(r["annotation_id"] for r in wanted)
    assert page.locator("#said").text_content().startswith(f"{len(wanted)} of {len(page.rows)} instances")
    mean = 100 * sum(r["iou"][0] for r in wanted) / len(wanted)
    assert f"mean IoU of A {mean:.1f}" in page.locator("#said").text_content()
    page.locator("button[type=reset]").click()
    assert page.locator("#said").text_content().startswith(f"{len(page.rows)} of {len(page.rows)} instances")


def _filters_by_a_bar(page: Any) -> None:
    """The bars count all instances, and one that is clicked leaves those that it counts; clicked again, all."""
    page.select_option("[name=of]", "iou1")
    bars = page.locator("#histogram button")
    counts = [int(label.rpartition(": ")[2]) for label in bars.evaluate_all("all => all.map(one => one.ariaLabel)")]
    assert counts == np.histogram([row["iou"][1] for row in page.rows], 20, (0, 1))[0].tolist()
    bars.nth(7).click()
    assert len(_shown(page)) == counts[7]
    assert all(0.35 <= row["iou"][1] < 0.4 for row in _shown(page))
    bars.nth(7).click()
    assert page.locator("#said").text_content().startswith(f"{len(page.rows)} of ")


def _goes_by_keys(page: Any) -> None:
    page.locator("button[type=reset]").click()
    page.locator("button[type=reset]").evaluate("one => one.blur()")
    order = page.evaluate("shown")
    for key in ("j", "ArrowRight", "j", "k", "ArrowLeft", "j"):
        page.keyboard.press(key)
    assert page.evaluate("state.at") == order[2]
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open] #panels canvas")
    page.keyboard.press("j")
    page.wait_for_function("document.querySelector('#numbers dd').textContent.startsWith('4 of')")
    assert page.locator("#panels [role=img]").evaluate_all("all => all.map(one => one.ariaLabel.split(':')[0])") == [
        "photo and prompt",
        "truth",
        "A, model 0",
        "B, model 1",
    ]
    _passes_axe(page)
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    for _ in range(60):
        page.keyboard.press("j")
    assert page.locator("#page").text_content() == "page 2 of 5"


def _is_where_its_address_says(page: Any) -> None:
    page.select_option("[name=prompt]", "1")
    page.keyboard.press("Escape")
    page.locator("#cards button").nth(2).click()
    page.wait_for_selector("dialog[open] #panels canvas")
    title, address, said = page.locator("#which").text_content(), page.url, page.locator("#said").text_content()
    assert "prompt=1" in address
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector("dialog[open] #panels canvas")
    assert (page.locator("#which").text_content(), page.locator("#said").text_content()) == (title, said)
    page.loaded[:] = [url for url in page.loaded if url != "about:blank"]


def test_all_annotations_of_coco_open_at_once_and_masks_are_read_as_they_are_seen(browser: Any, tmp_path: Path) -> None:
    each = 9
    count = OF_COCO // each + 1
    write_gallery(head(2), photos(count, each, sides=2), tmp_path)
    page, asked = browser.new_page(), list[str]()
    page.on("request", lambda one: asked.append(one.url))
    page.goto((tmp_path / "index.html").as_uri() + "#sort=file")
    page.wait_for_selector("#cards button")
    total = f"{count * each:,}"
    assert page.locator("#said").text_content().startswith(f"{total} of {total} instances")
    assert page.locator("#cards button").count() == 48
    page.wait_for_load_state("networkidle")
    pieces_of_masks = len(list((tmp_path / "pieces").glob("masks-*.js")))
    read = {url for url in asked if "/masks-" in url}
    assert 0 < len(read) <= 2 < pieces_of_masks
    page.select_option("[name=size]", "2")
    assert page.locator("#said").text_content().startswith(f"{count * (each // 2):,} of {total} instances")
    page.close()


def test_photos_that_are_gone_are_said_and_numbers_stay(browser: Any, tmp_path: Path) -> None:
    write_gallery(head(), photos(1, 3), tmp_path)
    page = browser.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    page.locator("#cards button").first.click()
    page.wait_for_selector("dialog[open] #panels canvas")
    panels = page.locator("#panels figcaption").all_text_contents()
    assert panels[0] == "the photo cannot be read; prompt"
    assert panels[2].startswith("model 0: IoU ")
    page.close()


def test_a_piece_that_is_missing_is_said(browser: Any, tmp_path: Path) -> None:
    write_gallery(head(), photos(2, 3), tmp_path)
    (tmp_path / "pieces" / "numbers-0000.js").unlink()
    page = browser.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    page.wait_for_function("document.getElementById('said').textContent.includes('cannot be read')")
    page.close()
