"""Numbers of others stand only where data, column and all choices that matter are the same."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bench.cli import list as listing
from protocols import published, table4, table5, tables
from protocols.axes import PAPER, PRESETS, Axes
from protocols.paper import paper_number
from protocols.published import axes_of, difference, numbers
from tests.protocols.fakes import instance_data, measured

MATTERS = table4.MATTERS["coco_1click"]


def notes(table, axes: Axes, *, whole: bool = True, name: str = "coco", **settings) -> str:
    data = instance_data(axes, name=name, published="the published set" if whole else "")
    columns = tuple(column for column in table.COLUMNS if column.key.startswith(name))
    usual = {"engine": "exact", "data": None, "limit": None}
    found = measured(data, {}, columns=columns, settings=SimpleNamespace(**{**usual, **settings}))
    return "\n".join(published.notes(table, found))


def test_every_number_is_about_a_column_of_a_table_and_says_its_source():
    for number in numbers():
        assert number.column in {column.key for column in tables.find(number.table).COLUMNS}
        assert float(number.value) > 0
        assert number.source
        assert number.standing in ("", "second-hand")
        assert number.protocol or number.differs
        assert not number.protocol or axes_of(number.protocol)


def test_no_number_stands_twice():
    keys = [(one.model, one.column, one.table, one.protocol, one.differs, one.source) for one in numbers()]
    assert len(set(keys)) == len(keys)


def test_a_number_is_shown_under_its_own_preset_with_its_source():
    text = notes(table4, PRESETS["efficientvit"])
    assert "COCO 1 click, published elsewhere under this protocol: SAM-H 58.4, EfficientViT-SAM-XL1 59.8 (Eff" in text
    assert "LVIS" not in text
    assert re.search(r"SAM-H 46.6.*with the ViTDet boxes of its own release", notes(table5, PRESETS["tinysam"]))


def test_second_hand_numbers_say_so():
    assert "SAM-H 77.3 (second-hand)" in notes(table4, PRESETS["edgesam"])


@pytest.mark.parametrize("preset", ["paper", "edgesam", "segment-anything-fast"])
def test_under_another_protocol_it_is_refused_with_the_axes_that_differ(preset):
    text = notes(table4, PRESETS[preset])
    assert "XL1 59.8" not in text
    (line,) = re.findall(r".*not shown.*EfficientViT-SAM's paper.*", text)
    assert "smallest_area=1 instead of 0" in line
    assert ("crowd=keep instead of skip" in line) == (PRESETS[preset].crowd == "skip")


def test_one_axis_is_enough_to_refuse_and_one_that_does_not_matter_is_not():
    number = next(one for one in numbers() if one.source.startswith("EfficientViT") and one.column == "coco_1click")
    same = PRESETS["efficientvit"]
    assert difference(number, same, MATTERS) == ""
    assert difference(number, replace(same, box_source="tight"), MATTERS) == ""  # no box is asked for a click
    assert difference(number, replace(same, mask_pick="single"), MATTERS) == "mask_pick=predicted_iou instead of single"
    assert difference(number, replace(same, precision="bf16"), MATTERS) == "precision=fp32 instead of bf16"


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_not_known_or_not_in_the_protocol_is_never_shown(preset):
    shown = [line for line in notes(table4, PRESETS[preset]).splitlines() if "under this protocol" in line]
    assert not [line for line in shown if "survey" in line or "53.3 " in line or "53.3," in line]
    assert all(difference(one, PRESETS[preset], ()) for one in numbers() if one.differs)


def test_other_data_have_no_such_notes():
    axes = PRESETS["efficientvit"]
    assert notes(table4, axes, whole=False) == ""
    assert notes(table4, axes, limit=10) == ""
    assert notes(table4, axes, data=object()) == ""
    assert notes(table4, axes, engine="fast") == ""


def test_the_list_names_all_numbers_and_what_differs(capsys):
    listing.list_all("published")
    text = capsys.readouterr().out
    assert all(one.words in text for one in numbers())
    assert "clicks=ritm instead of random" in text
    assert "its protocol is not known" in text
    assert difference(numbers()[0], PAPER, MATTERS) in text


def test_what_is_said_of_sams_paper_is_what_table_5_prints():
    of_sam = [one for one in numbers() if one.source.startswith("SAM's paper")]
    assert len(of_sam) == 8
    assert all(float(one.value) == paper_number("table5", "SAM", one.column) for one in of_sam)
