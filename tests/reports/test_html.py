"""The HTML page: whole in itself, safe with any name, and saying everything when hovered."""

import math
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from protocols.results import TableResult
from reports.dataframe import to_frame
from reports.html import to_html

VOID = {"meta", "link", "img", "source", "br", "line", "circle"}
HOSTILE = "<script>alert('x')</script>\" onload=\"y"


class Page(HTMLParser):
    """Tags with attributes, and the text of each kind of tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def values(self, *names: str) -> Iterator[str]:
        yield from (value or "" for _, attrs in self.tags for name, value in attrs.items() if name in names)


def page_of(result: TableResult, **options: tuple[str, ...]) -> Page:
    return Page(to_html(result, to_frame(result), b"<svg/>", **options))


@pytest.fixture
def page(table4: TableResult) -> Page:
    return page_of(table4)


def test_all_tags_are_closed_in_order(page: Page) -> None:
    assert page.open == []
    assert len(page.tags) > 100


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    loads = list(page.values("src", "srcset", "data", "poster", "action"))
    assert len(loads) == 2
    assert all(value.startswith("data:image/svg+xml;base64,") for value in loads)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "embed", "base"})
    style = "".join(text for tag, text in page.texts if tag == "style")
    assert "url(" not in style
    assert "@import" not in style


def test_links_go_to_files_beside_the_page_only(table4: TableResult) -> None:
    assert list(page_of(table4, siblings=("table4.csv",)).values("href")) == ["table4.csv"]


def test_hostile_names_stay_text(table4: TableResult) -> None:
    rows = tuple(replace(row, label=f"{HOSTILE} {i}", note=HOSTILE) for i, row in enumerate(table4.rows))
    labels = dict(zip((row.label for row in table4.rows), (row.label for row in rows), strict=True))
    result = replace(
        table4,
        title=HOSTILE,
        world=HOSTILE,
        rows=rows,
        cells=tuple(replace(cell, row=labels[cell.row], why=HOSTILE) for cell in table4.cells),
        comparisons=tuple(replace(pair, first=HOSTILE, verdict=HOSTILE) for pair in table4.comparisons),
        footnotes=(HOSTILE,),
        command=HOSTILE,
        provenance={HOSTILE: HOSTILE},
    )
    page = page_of(result)
    assert "script" not in {tag for tag, _ in page.tags}
    assert "onload" not in {name for _, attrs in page.tags for name in attrs}
    assert ("h1", HOSTILE) in page.texts


def test_hovering_a_cell_says_all_about_it(page: Page) -> None:
    titles = list(page.values("title"))
    measured = "SAM, COCO box: measured 76.9 [76.5, 77.4]; paper 78.4; difference -1.5; n = 36,335"
    missing = "SAM-MAE-Ti, LVIS box: no public weights; paper 73.8; train it: nox -s train_promptable"
    paired = "SAM − EfficientSAM-S, COCO box: opposite order; measured −1.3 [−2.1, −0.5]; paper +1.5"
    assert {measured, missing, paired} <= set(titles)
    assert len(titles) == 7 * 6 + 4 * 6


def test_the_best_of_a_column_and_what_lies_outside_are_marked(page: Page) -> None:
    classes = [attrs.get("class") or "" for tag, attrs in page.tags if tag == "td" and "title" in attrs]
    assert sum("best" in names.split() for names in classes) == 6
    assert "start outside" in classes


def test_the_page_has_a_dark_side(page: Page) -> None:
    assert "(prefers-color-scheme: dark)" in page.values("media")
    style = "".join(text for tag, text in page.texts if tag == "style")
    assert "@media (prefers-color-scheme: dark)" in style


def test_paired_differences_of_a_column_are_drawn_on_one_scale_around_zero(page: Page, table4: TableResult) -> None:
    dots = [attrs["cx"] for tag, attrs in page.tags if tag == "circle"]
    positions = [float((dot or "").removesuffix("%")) for dot in dots]
    differences = [c.measured or math.nan for c in table4.comparisons if c.column == "coco_box"]
    reach = 1.1 * (max(differences[:3]) + 0.0079)
    expected = [50 + 50 * x / reach for x in differences[:3]]
    assert [positions[i] for i in (0, 3, 9)] == pytest.approx(expected, abs=0.01)


def test_provenance_is_all_there(page: Page) -> None:
    texts = [text for _, text in page.texts]
    for words in ("git.commit", "e6cace3f0d", "versions.torch", "2.14.1", "hardware.cpu", "hashes.coco"):
        assert words in texts
