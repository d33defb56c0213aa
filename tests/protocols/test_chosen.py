"""Axes from the command line: what is read, what is refused, and what a run is called."""

from dataclasses import fields, replace

import pytest

from models.errors import BenchError
from protocols import clicks, robustness, table4, table5
from protocols.axes import NEEDS, PAPER, PRESETS, Axes, preset
from protocols.chosen import NAMES, called, check_named, concerning, for_table, meanings, read_axes, shown, values_of
from protocols.run import _deciding
from tests.protocols.fakes import settings


def test_values_are_read_as_their_axis_has_them():
    given = ["mask_pick=single", "refinement=1", "click_again=False", "smallest_area=1024", "repeats=3"]
    assert read_axes(given) == {
        "mask_pick": "single", "refinement": 1, "click_again": False, "smallest_area": 1024.0, "repeats": 3
    }  # fmt: skip
    assert read_axes(["columns=coco_box,coco_1click"]) == {"columns": ("coco_box", "coco_1click")}
    assert read_axes(["columns=all"]) == {"columns": None}


@pytest.mark.parametrize("name", NAMES)
def test_every_axis_has_a_meaning_and_takes_back_the_values_of_every_preset(name):
    assert len(meanings()[name]) > 20
    assert values_of(name)
    for axes in PRESETS.values():
        assert read_axes([f"{name}={shown(getattr(axes, name))}"]) == {name: getattr(axes, name)}


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("mask_pik=single", "unknown axis 'mask_pik': did you mean 'mask_pick'"),
        ("clicks=center", "unknown value of axis clicks 'center': did you mean 'centre'"),
        ("refinement=2", "unknown value of axis refinement '2': "),
        ("click_again=yes", "unknown value of axis click_again 'yes': "),
        ("repeats=0", "axis repeats takes a whole number of at least 1, got '0'"),
        ("smallest_error=2.5", "axis smallest_error takes a whole number of at least 0, got '2.5'"),
        ("smallest_area=nan", "axis smallest_area takes a number of at least 0, got 'nan'"),
        ("mask_pick", "--axis takes NAME=VALUE, got 'mask_pick'"),
    ],
)
def test_a_mistake_is_one_sentence_with_the_nearest(entry, sentence):
    with pytest.raises(BenchError) as error:
        read_axes([entry])
    assert sentence in str(error.value)


def test_an_axis_that_is_given_twice_is_refused_unless_both_agree():
    assert read_axes(["seed=3", "seed=3"]) == {"seed": 3}
    with pytest.raises(BenchError, match="axis seed is given twice, as 3 and 4: give it once"):
        read_axes(["seed=3", "seed=4"])


def chosen(tmp_path, table, *entries, preset_name="paper"):
    named = read_axes(entries)
    axes = replace(preset(preset_name), **named)
    return for_table(table, settings(tmp_path, axes=axes, preset=preset_name, named=tuple(named)))


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        (["tie=background"], "axis tie=background contradicts clicks=random of table4"),
        (["clicks=ritm", "first_click=centre_of_mass"], "axis first_click=centre_of_mass contradicts clicks=ritm"),
        (["clicks=centre", "repeats=3"], "axis repeats=3 contradicts clicks=centre of table4"),
        (["empty=zero"], "add --axis clicks=centre or clicks=ritm, or leave it out"),
    ],
)
def test_axes_that_contradict_each_other_are_refused(tmp_path, entries, sentence):
    with pytest.raises(BenchError) as error:
        chosen(tmp_path, table4, *entries)
    assert sentence in str(error.value)


def test_what_a_preset_leaves_behind_contradicts_nothing(tmp_path):
    assert chosen(tmp_path, table4, "clicks=random", preset_name="edgesam").axes.first_click == "approximately_deepest"


def test_an_axis_that_concerns_no_table_of_the_command_is_refused():
    check_named([table4, table5], ["score", "crowd"])
    with pytest.raises(BenchError, match="axis score concerns nothing that table4, clicks measures"):
        check_named([table4, clicks], ["score"])


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("table", [table4, table5, clicks, robustness], ids=lambda table: table.NAME)
def test_a_preset_is_called_by_its_name(name, table):
    keys = {column.key for column in table.COLUMNS}
    if PRESETS[name].columns is None or keys & set(PRESETS[name].columns):
        assert called(table, PRESETS[name], name) == name


def test_a_run_that_is_no_preset_is_called_by_what_differs_from_the_nearest():
    assert called(table4, replace(PAPER, mask_pick="single")) == "paper, but mask_pick=single"
    assert called(table4, replace(PAPER, seed=3, repeats=2)) == "paper, but seed=3, repeats=2"
    near = replace(preset("edgesam"), mask_pick="predicted_iou", seed=1)
    assert called(table4, near) == "edgesam, but mask_pick=predicted_iou, seed=1"
    assert called(clicks, replace(PAPER, **clicks.USUAL)) == "segnext, but mask_prompt=none"


def test_what_means_nothing_to_a_table_is_no_part_of_its_name():
    assert called(table5, replace(PAPER, clicks="ritm", crowd="keep")) == "paper"
    assert called(table4, replace(PAPER, tie="background", score="detector_x_predicted_iou")) == "paper"


def test_clicks_follow_ritm_unless_a_preset_or_an_axis_says_otherwise(tmp_path):
    usual = chosen(tmp_path, clicks)
    assert (usual.axes.clicks, usual.axes.tie, usual.axes.click_again) == ("ritm", "background", False)
    assert chosen(tmp_path, clicks, "clicks=random").preset == "paper"
    assert chosen(tmp_path, clicks, "tie=object").axes.tie == "object"
    assert chosen(tmp_path, clicks, preset_name="segnext").axes == preset("segnext")
    assert chosen(tmp_path, table4).axes == PAPER


def test_axes_that_do_not_decide_records_keep_them():
    def kept(table, one=PAPER, **changed):
        return _deciding(table, one) == _deciding(table, replace(one, **changed))

    assert kept(table4, crowd="keep", smallest_area=9.0, averaging="category", score="detector_x_predicted_iou")
    assert kept(table4, tie="background", click_again=False, mask_prompt="previous")
    assert kept(table5, score="detector_x_predicted_iou", clicks="ritm", seed=4)
    assert kept(clicks, crowd="keep", box_source="annotation")
    assert kept(robustness, repeats=3, mask_prompt="previous")
    ritm = replace(PAPER, clicks="ritm")
    assert not kept(table4, ritm, tie="background")
    assert not kept(table4, mask_pick="single")
    assert not kept(table5, mask_pick="single")
    assert not kept(clicks, most_clicks=5)


def test_every_axis_concerns_a_table_and_is_known_where_it_is_needed():
    assert set().union(*(concerning(table) for table in (table4, table5, clicks))) == {f.name for f in fields(Axes)}
    assert set(NEEDS) <= set(NAMES)
