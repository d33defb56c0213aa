"""Two runs object by object: the differences are those of the records, and what cannot be compared is refused."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bench.data import open_instances, read_rgb
from bench.metrics.iou import mask_iou
from bench.store.stored import find_run
from models.annotations import decode
from models.errors import BenchError
from protocols import clicks, table4, table5
from protocols.axes import PAPER, Axes
from protocols.inspect.asked_again import ask_again
from protocols.inspect.compare import changed_most, compare, slices, tally
from protocols.inspect.sides import axes_of, find_side, open_side, open_source
from protocols.run import run_model
from tests.protocols.fakes import DiscModel, FakeRegistry, disc, settings, write_coco

SIDE = 80
SIZE = (SIDE, SIDE + 8)


class Discs(DiscModel):
    def __init__(self, name, best):
        super().__init__(best=best)
        self.name = name


SMALL, LARGE = Discs("small", 0), Discs("large", 2)


@pytest.fixture
def root(tmp_path, use):
    for table in (table4, table5, clicks):
        use(table, FakeRegistry(), IMAGES_A_SHARD=2)
    masks = [[disc(20, 20, 11 + k, SIZE), disc(60, 60, 4, SIZE), disc(60, 20, 20, SIZE)] for k in range(5)]
    write_coco(tmp_path / "data", masks, crowd=(15,))
    return tmp_path / "data"


@pytest.fixture
def made(root, tmp_path):
    """Ask a model and return the fingerprint of its run."""

    def run(model, table=table4, limit=None, **axes):
        chosen = settings(tmp_path / "runs", axes=replace(PAPER, **axes), limit=limit)
        data = table.open_data("coco", SimpleNamespace(root=root, data_scale="paper", subjects=()), chosen)
        (done,) = run_model(model, [(table, data)], chosen)
        return done.fingerprint, table.score(done, data)

    return run


@pytest.fixture
def paired(root, tmp_path):
    def pair(*names, table="table4"):
        store = settings(tmp_path / "runs").store
        found = [find_side(str(name), table, "coco", store) for name in names]
        source = open_source(found, None, root)
        return compare(*(open_side(one, source) for one in found), source)

    return pair


def test_differences_are_those_of_the_records_and_means_those_of_the_table(made, paired):
    (_, small), (_, large) = made(SMALL), made(LARGE)
    found = paired("small", "large")
    assert found.headline == table4.compare(small, large)
    joined = small.basis.merge(large.basis, on=["annotation_id", "prompt"])
    assert found.instances["difference"].to_numpy() == pytest.approx(joined["iou_x"] - joined["iou_y"])
    assert len(found.instances) == 14 * 3  # the crowd is not counted
    whole, *parts = slices(found, {1: "thing 1", 2: "thing 2"})
    for by in ("prompt", "size", "category"):
        of = [one for one in parts if one.by == by]
        assert sum(one.difference.n for one in of) == whole.difference.n
        total = sum(one.difference.n * one.difference.value for one in of) / whole.difference.n
        assert total == pytest.approx(whole.difference.value)
    assert sum(tally(found).values()) == len(found.instances)


def test_sizes_are_those_of_coco(made, paired):
    made(SMALL), made(LARGE)
    found = paired("small", "large").instances
    assert set(found.loc[found["area"] < 1024, "size"]) == {"small"}
    assert set(found.loc[found["area"] >= 1024, "size"]) == {"medium"}


def test_what_changed_most_comes_first_whichever_side_is_better(made, paired):
    made(SMALL), made(LARGE)
    found = paired("small", "large")
    most = changed_most(found, 4)["difference"].abs().tolist()
    assert most == sorted(found.instances["difference"].abs(), reverse=True)[:4]
    assert {np.sign(value) for value in found.instances["difference"]} >= {-1, 1}


def test_a_run_and_itself_differ_in_nothing_and_it_is_said(made, paired):
    fingerprint, _ = made(SMALL)
    found = paired(fingerprint, fingerprint[:8])
    assert found.notes == ("both are the same run: every difference is 0",)
    assert set(found.instances["difference"]) == {0.0}


def test_masks_are_compared_by_the_best_overlap_of_each_object(made, paired, root):
    made(SMALL, table5), made(LARGE, table5)
    found = paired("small", "large", table="table5")
    source = open_instances("coco", root)
    records = find_run("table5/large", settings(root.parent / "runs").store).records()
    assert len(found.instances) == 14
    for one in found.instances.to_dict("records"):
        truth = next(a for a in source.annotations(one["image_id"]) if a.id == one["annotation_id"])
        near = records[(records["image_id"] == one["image_id"]) & (records["category_id"] == truth.category_id)]
        masks = [decode({"size": list(SIZE), "counts": counts}) for counts in near["counts"]]
        best = max((float(mask_iou(mask, truth.mask(*SIZE))) for mask in masks), default=0.0)
        assert one["second"] == pytest.approx(best)
    assert set(found.headline) == {"coco_ap", "coco_ap_s", "coco_ap_m"}  # no object is large


def test_a_file_of_masks_is_compared_with_the_run_it_was_written_from(made, paired, tmp_path):
    made(SMALL, table5)
    records = find_run("table5/small", settings(tmp_path / "runs").store).records()
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(table5.to_results(records, PAPER)))
    for names in ((path, "small"), (path, f"masks:{path}")):
        found = paired(*names, table="table5")
        assert set(found.instances["difference"]) == {0.0}
        assert {one.value for one in found.headline.values()} == {0.0}


def test_runs_of_other_images_are_compared_on_those_that_both_have(made, paired):
    made(SMALL), made(LARGE, limit=2)
    found = paired("small", "large")
    assert set(found.instances["image_id"]) == {1, 2}
    assert any(note.startswith("3 of 5 images of small") for note in found.notes)


def test_other_choices_are_named(made, paired):
    one, _ = made(SMALL, clicks="centre", mask_pick="single")
    other, _ = made(SMALL)
    notes = paired(one, other).notes
    assert "not asked or scored alike: clicks is centre and random" in notes
    assert "answered otherwise: mask_pick is single and predicted_iou" in notes


def test_clicks_are_compared_click_by_click(made, paired):
    usual = {"clicks": "ritm", "most_clicks": 3}
    one, _ = made(SMALL, clicks, **usual)
    other, _ = made(LARGE, clicks, **usual)
    found = paired(one, other)
    assert set(found.instances["prompt"]) == {"1click", "2click", "3click"}
    assert "coco_iou3" in found.headline


def test_runs_of_different_tables_are_refused(made, paired):
    one, _ = made(SMALL)
    other, _ = made(SMALL, table5)
    with pytest.raises(BenchError, match=r"is of table4 and .* of table5, which are asked otherwise"):
        paired(one, other)


def test_runs_about_different_data_are_refused(made, root, tmp_path):
    store = settings(tmp_path / "runs").store
    made(SMALL)
    found = [find_side("small", "table4", "coco", store)] * 2
    one, other = (open_side(side, None) for side in found)
    other = replace(other, origin={**other.origin, "data": {"name": "coco", "sha256": "f" * 64}})
    with pytest.raises(BenchError, match=r"are about different data \(coco .* and coco ffffffff\)"):
        compare(one, other, None)


def test_records_alone_suffice_where_the_photos_are_gone_but_masks_need_their_truth(made, tmp_path):
    store = settings(tmp_path / "runs").store
    made(SMALL), made(LARGE), made(SMALL, table5)
    sides = [open_side(find_side(name, "table4", "coco", store), None) for name in ("small", "large")]
    assert len(compare(*sides, None).instances) == 14 * 3
    masks = open_side(find_side("small", "table5", "coco", store), None)
    with pytest.raises(BenchError, match=r"annotations that small .* is about are not here: set BENCH_DATA"):
        compare(masks, masks, None)


@pytest.mark.parametrize("name", ["nothing.json", "masks:nothing"])
def test_a_file_that_is_not_there_is_refused(name, tmp_path):
    with pytest.raises(BenchError, match="there is no file 'nothing"):
        find_side(name, "table5", "coco", settings(tmp_path / "runs").store)


def test_a_run_tells_its_choices():
    identity = {"axes": {"clicks": "ritm", "columns": ["coco_1click"], "of_a_later_version": 1}}
    assert axes_of(identity) == Axes(clicks="ritm", columns=("coco_1click",))


@pytest.mark.parametrize("axes", [PAPER, Axes(repeats=2), Axes(clicks="ritm"), Axes(clicks="centre")], ids=str)
def test_a_prompt_that_is_asked_again_has_the_iou_of_its_record(made, root, axes):
    named = {name: getattr(axes, name) for name in ("clicks", "repeats")}
    _, scores = made(SMALL, **named)
    source = open_instances("coco", root)
    info = source.images[0]
    annotation = source.annotations(info.id)[1]
    for record in scores.basis[scores.basis["annotation_id"] == annotation.id].to_dict("records"):
        asked = ask_again(
            SMALL, axes, read_rgb(info.path), info, annotation,
            data_set="coco", prompt=record["prompt"], repeat=record["repeat"],
        )  # fmt: skip
        assert asked.iou == pytest.approx(record["iou"])
        assert float(mask_iou(asked.mask, annotation.mask(*SIZE))) == pytest.approx(record["iou"])
        count = {"box": 2, "1click": 1, "3click": 3}[record["prompt"]]
        assert asked.prompts.points.shape == (1, count, 2)
