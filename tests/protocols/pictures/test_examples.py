"""Pictures of answers are chosen by rule: the same objects for every model, and the worst records."""

from dataclasses import replace

import numpy as np
import pytest

from bench.data.dead_leaves import salient as leaves
from bench.store import RunStore
from models.errors import BenchError
from protocols import tables
from protocols.axes import PAPER
from protocols.methods import axes_of, in_order, not_made, used_axes
from protocols.pictures.examples import pictures
from protocols.results import Column
from protocols.table import make_tables
from tests.bench.data.dead_leaves.test_salient_scenes import FIRST_THREE
from tests.protocols.fakes import settings
from tests.protocols.test_table import ONE, maker

WITHOUT_NUMBERS = ("clicks", "click_curves", "everything", "robustness", "salient")
"""Tables of which the paper has none."""


@pytest.fixture(autouse=True)
def leaves_of_few(tmp_path, monkeypatch):
    """Draw three salient leaves instead of all."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(leaves, "VAL_IMAGES", 3)
    monkeypatch.setattr(leaves, "SALIENT_SHA256", FIRST_THREE)
    monkeypatch.setattr(leaves, "drawn", lambda draw, count: map(draw, range(count)))


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Table 4 of two models with discs for answers, and the settings that it was made with."""
    result = maker(tmp_path, monkeypatch)("table4", models=("sam-micro", "efficientsam-ti-micro", "floor"))
    return result, settings(tmp_path / "runs", scale="micro")


def test_every_model_is_shown_the_same_objects_and_bounds_are_not_shown(made):
    sheets = pictures(*made)
    box, click, everything, salient = sheets.examples
    assert [sheet.key.removeprefix("examples-") for sheet in sheets.examples] == [
        "box", "1click", "everything", "salient",
    ]  # fmt: skip
    for sheet in (box, click):
        assert [[tile.label for tile in strip.tiles] for strip in sheet.strips] == [
            ["input", "truth", "SAM", "EfficientSAM-Ti"]
        ] * 3
    assert [tile.label for tile in salient.strips[0].tiles] == [
        "input", "map", "truth and points", "SAM", "EfficientSAM-Ti",
    ]  # fmt: skip
    assert box.data.groupby("row")["annotation_id"].apply(list).map(tuple).nunique() == 1
    assert "cannot segment everything" in everything.strips[0].tiles[1].words


def test_ious_shown_are_those_of_the_table_s_records(made):
    result, chosen = made
    box, click, *_ = pictures(result, chosen).examples
    for sheet in (box, click):
        for row in ("SAM", "EfficientSAM-Ti"):
            records = RunStore(chosen.store.root)
            run = result.provenance["runs"][f"{row} on coco"]
            stored = _records(records, run)
            for fact in sheet.data[sheet.data["row"] == row].to_dict("records"):
                recorded = stored[
                    (stored["annotation_id"] == fact["annotation_id"]) & (stored["prompt"] == fact["prompt"])
                ]
                assert recorded["iou"].tolist() == pytest.approx([fact["iou"]])


def test_salient_objects_are_asked_for_as_the_table_does(made):
    _, chosen = made
    *_, shown = pictures(*made).examples
    records = make_tables([tables.find("salient")], replace(chosen, models=("sam-micro", "efficientsam-ti-micro")))
    for row in ("SAM", "EfficientSAM-Ti"):
        stored = _records(RunStore(chosen.store.root), records[0].provenance["runs"][row])
        assert shown.data[shown.data["row"] == row]["iou"].tolist() == pytest.approx(stored["iou"].tolist())


def test_without_photos_of_salient_objects_the_others_are_shown_and_the_reason_said(made, monkeypatch, tmp_path):
    monkeypatch.setattr("protocols.salient.micro_root", lambda: tmp_path / "nothing")
    sheets = pictures(*made)
    assert len(sheets.examples) == 3
    assert any("salient objects are not shown, since" in why and "ECSSD" in why for why in sheets.missing)


def _records(store, fingerprint):
    from bench.store.stored import find_run

    return find_run(fingerprint, store).records()


def test_failures_are_the_lowest_ious_of_the_records_and_no_others(made):
    result, chosen = made
    sheets = pictures(result, chosen)
    assert sheets.missing == ()
    stored = _records(chosen.store, result.provenance["runs"]["EfficientSAM-Ti on coco"])
    for sheet in sheets.failures:
        prompt = sheet.key.split("-")[1]
        counted = stored[(stored["prompt"] == prompt) & ~stored["iscrowd"]]
        shown = sheet.data[sheet.data["row"] == "EfficientSAM-Ti"]["iou"]
        assert sorted(shown) == pytest.approx(sorted(counted["iou"])[:4])
        assert "none left out" in sheet.caption
        assert "any more" not in sheet.caption


def test_an_answer_that_is_not_the_recorded_one_any_more_is_told(made, monkeypatch):
    from tests.protocols.fakes import DiscModel

    monkeypatch.setattr(DiscModel, "radii", (1.0, 2.0, 3.0))
    sheets = pictures(*made)
    assert all("are not the recorded ones any more" in sheet.caption for sheet in sheets.failures)


def test_records_that_are_gone_leave_the_failures_out_and_say_why(made, tmp_path):
    result, _ = made
    sheets = pictures(result, settings(tmp_path / "empty", scale="micro"))
    assert sheets.failures == []
    assert any("the worst answers are not shown" in why for why in sheets.missing)
    assert len(sheets.examples) == 4


def test_other_data_than_the_tables_are_refused(made):
    result, chosen = made
    other = replace(result, provenance={**result.provenance, "data": {"coco": {"sha256": "0" * 64}}})
    with pytest.raises(BenchError, match="not here any more"):
        pictures(other, chosen)


def test_choices_of_a_result_are_those_it_was_made_with_and_older_ones_are_refused(made):
    result, _ = made
    assert axes_of(result) == PAPER
    found = {one.name: one for one in used_axes([result])}
    assert found["clicks"].value == "random"
    assert found["clicks"].papers == ""
    assert "tie" not in found, "it means nothing to random clicks"
    assert "Draws of random clicks" in found["repeats"].meaning
    older = replace(result, provenance={**result.provenance, "axes": {"colour": "red"}})
    with pytest.raises(BenchError, match="colour"):
        used_axes([older])


def test_a_table_that_was_not_made_has_the_papers_numbers_and_the_command():
    for name in tables.names():
        result = not_made(tables.find(name))
        assert {cell.status for cell in result.cells} == {"not requested"}
        assert all(f"bench run {name}" in cell.why for cell in result.cells)
        assert any(cell.paper is not None for cell in result.cells) or name in WITHOUT_NUMBERS
    assert isinstance(result.columns[0], Column)
    assert [one.name for one in in_order([not_made(tables.find(n)) for n in ("figure1", "table8", "table2")])] == [
        "table2", "table8", "figure1",
    ]  # fmt: skip
    assert not np.isnan(not_made(tables.find("table8")).cell("SAM", "params_m").paper)


def test_one_model_alone_is_shown_too(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    result = maker(tmp_path, monkeypatch)("table4", models=ONE)
    sheets = pictures(result, settings(tmp_path / "runs", scale="micro"))
    assert "SAM" in sheets.failures[0].caption
