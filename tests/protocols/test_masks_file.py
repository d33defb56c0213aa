"""masks:FILE, somebody's predictions: their AP is pycocotools' of the same file, and no model is run."""

import contextlib
import io
import json
import re

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.data import open_instances
from models import zoo
from models.errors import BenchError
from protocols import table2, table4, table5
from protocols.table import make_tables
from tests.protocols.fakes import disc, settings, write_coco

MASKS = [[disc(8, 9, 5), disc(25, 20, 8)], [disc(20, 16, 6), disc(5, 5, 4)], [disc(30, 10, 7)]]


@pytest.fixture
def root(tmp_path):
    write_coco(tmp_path / "data", MASKS)
    return tmp_path / "data"


def entries(root, name="coco"):
    """Return predictions without boxes: each object moved by a pixel, and one that is nothing."""
    instances, found = open_instances(name, root), []
    for info in instances.images:
        for one in instances.annotations(info.id):
            moved = np.roll(one.mask(info.height, info.width), len(found) % 3, axis=1)
            runs = rle.encode(np.asfortranarray(moved.astype(np.uint8)))
            mask = {"size": runs["size"], "counts": runs["counts"].decode()}
            known = {"image_id": info.id, "category_id": one.category_id, "segmentation": mask}
            found.append({**known, "score": 0.9 - 0.01 * len(found)})
    return found


@pytest.fixture
def score(root, tmp_path, monkeypatch):
    """Write predictions and return the table of them."""
    for table in (table2, table4, table5):
        monkeypatch.setattr(table, "micro_root", lambda: root)

    def make(table, predictions, option=""):
        path = tmp_path / "theirs.json"
        path.write_text(json.dumps(predictions))
        name = f"masks:{path}{option}"
        (result,) = make_tables([table], settings(tmp_path / "runs", scale="micro", models=(name,)))
        return {column.key: result.cell(name, column.key) for column in table.COLUMNS}

    return make


def official(root, predictions, kind):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(root / "coco/annotations/instances_val2017.json"))
        evaluator = COCOeval(truth, truth.loadRes(json.loads(json.dumps(predictions))), kind)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return float(evaluator.stats[0])


def test_tables_2_and_5_score_a_file_as_pycocotools_does(score, root):
    given = entries(root)
    five, two = score(table5, given), score(table2, given)
    assert five["coco_ap"].measured == pytest.approx(official(root, given, "segm"))
    assert two["ap_mask"].measured == pytest.approx(official(root, given, "segm"))
    assert two["ap_box"].measured == pytest.approx(official(root, given, "bbox"))
    assert 0.3 < five["coco_ap"].measured < 1


def test_a_file_s_own_boxes_are_scored_where_it_has_some(score, root):
    given = [{**one, "bbox": [0, 0, 5, 5]} for one in entries(root)]
    assert score(table2, given)["ap_box"].measured == pytest.approx(official(root, given, "bbox"))


def test_a_file_is_of_one_data_set(score, root):
    cells = score(table5, entries(root))
    assert cells["lvis_ap"].status == "data missing"
    assert "is of COCO: write masks:FILE?data=lvis if it is not" in cells["lvis_ap"].why
    cells = score(table5, entries(root, "lvis"), "?data=lvis")
    assert cells["coco_ap"].status == "data missing"
    assert cells["lvis_ap"].measured > 0.3


def test_a_file_answers_no_prompts(score, root):
    cells = score(table4, entries(root))
    assert {cell.status for cell in cells.values()} == {"not supported"}
    assert "holds answers and no model: tables 2 and 5 score them" in cells["coco_box"].why


def test_table_2_takes_published_photos_for_a_file_where_they_are(root, tmp_path):
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(entries(root)))
    asked = settings(tmp_path / "runs", data_root=root, models=(f"masks:{path}",))
    (result,) = make_tables([table2], asked)
    assert result.scale == "paper"
    assert "since photos are on disk" in result.world


def test_no_boxes_are_needed_where_files_alone_are_scored(score, root, monkeypatch):
    monkeypatch.setattr(table5, "is_published_set", lambda source: True)
    assert score(table5, entries(root))["coco_ap"].measured > 0.3


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ({"image_id": 999}, "of an image that the annotation file does not list"),
        ({"category_id": 999}, "of a category that the annotation file does not list"),
        ({"segmentation": {"size": [8, 8], "counts": "0X1"}}, "(damaged mask|has a mask of size)"),
        ({"segmentation": [[1, 1, 5, 1, 5, 5]], "bbox": [1, 1, 4, 4]}, "polygons in place of an RLE mask"),
    ],
)
def test_what_cannot_be_scored_is_told(score, root, spoil, said):
    given = entries(root)
    given[1] = {**given[1], **spoil}
    cell = score(table5, given)["coco_ap"]
    assert cell.status == "data missing"
    assert re.search(said, cell.why), cell.why


def test_a_file_that_is_no_results_file_gets_a_sentence(score, tmp_path):
    with pytest.raises(BenchError, match="not a list of results"):
        score(table5, {"images": []})
    with pytest.raises(BenchError, match=r"there is no file .* of masks: check the path"):
        zoo.card("masks:nowhere.json")
    (tmp_path / "one.json").write_text("[]")
    with pytest.raises(BenchError, match="is of the data set 'ade': write"):
        zoo.card(f"masks:{tmp_path / 'one.json'}?data=ade")
