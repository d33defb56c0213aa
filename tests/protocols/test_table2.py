"""Table 2 with detectors that need no weights; its numbers are pycocotools'."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.data import read_rgb
from bench.data.instances import open_instances
from models.errors import BenchError
from protocols import table2
from protocols.plan import make_plan
from protocols.results import TableResult
from protocols.table import make_tables
from tests.bench.data.training.test_detection import ANNOTATIONS, annotation, lay_out
from tests.protocols.fakes import FakeCard, FakeRegistry, settings, using


class Said(NamedTuple):
    boxes_xyxy: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray


class Cheat:
    """Knows the photos and says their objects, shifted by some pixels, at times of another class, at times not."""

    checkpoint_sha256, custom, classes = "c" * 64, False, 80

    def __init__(self, name: str, instances: Any, shift: int) -> None:
        self.name, self.asked = name, 0
        ids = sorted(instances.categories)
        self.classes = len(ids)
        self._known = {}
        rng = np.random.default_rng(shift)
        for info in instances.images:
            boxes, labels, masks = [], [], []
            for one in instances.annotations(info.id):
                if one.iscrowd or rng.random() < 0.2:
                    continue
                by = rng.integers(-shift, shift + 1, 2)
                boxes.append(np.array(one.box_xyxy) + np.tile(rng.uniform(-shift, shift, 2), 2) / 2)
                masks.append(np.roll(one.mask(info.height, info.width), by, (0, 1)))
                labels.append(1 + (ids.index(one.category_id) if rng.random() < 0.8 else rng.integers(len(ids))))
            said = Said(
                np.array(boxes).reshape(-1, 4),
                np.round(rng.random(len(boxes)), 2),
                np.array(labels, dtype=np.int64),
                np.array(masks, dtype=bool).reshape(-1, info.height, info.width),
            )
            self._known[read_rgb(info.path).tobytes()] = said

    def detect(self, photos):
        self.asked += len(photos)
        return [self._known[photo.tobytes()] for photo in photos]


class Registry(FakeRegistry):
    CARDS = (
        FakeCard("vitdet-dino-s", "DINO-S", note="the backbone alone is public"),
        FakeCard("vitdet-mae-b", "MAE-B", filename="b.pkl", note="detectron2's"),
        *(
            FakeCard(f"vitdet-{row.lower()}-micro", row, "micro", "x", threads=1)
            for row in ("MAE-Ti", "SAMI-Ti", "MAE-S")
        ),
    )

    def __init__(self, models: dict[str, Cheat]) -> None:
        self.models = models


def plan(registry: Registry, root: Path, **changes: Any) -> Any:
    with using(table2, registry, root):
        return make_plan(table2, settings(root / "runs", **{"scale": "micro", **changes}))


def make(root: Path, tmp_path: Path, limit: int | None = None) -> tuple[TableResult, Registry]:
    instances = open_instances("coco", root)
    registry = Registry(
        {
            "vitdet-mae-ti-micro": Cheat("vitdet-mae-ti-micro", instances, 8),
            "vitdet-sami-ti-micro": Cheat("vitdet-sami-ti-micro", instances, 3),
        }
    )
    with using(table2, registry, root):
        (result,) = make_tables([table2], settings(tmp_path / "runs", scale="micro", limit=limit))
    return result, registry


def official(root: Path, results: list[dict[str, Any]], kind: str, ids: list[int]) -> float:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(root / "coco/annotations/instances_val2017.json"))
        evaluator = COCOeval(truth, truth.loadRes(json.loads(json.dumps(results))), kind)
        evaluator.params.imgIds = ids
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return float(evaluator.stats[0])


LIMIT = 20


@pytest.fixture(scope="module")
def measured(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TableResult, Registry, Path]:
    folder = tmp_path_factory.mktemp("table2")
    return *make(shared / "samples", folder, LIMIT), folder


def test_box_and_mask_ap_are_those_of_pycocotools(measured: Any, shared: Path) -> None:
    result, registry, _ = measured
    instances = open_instances("coco", shared / "samples")
    asked = instances.images[:LIMIT]
    for row in ("MAE-Ti", "SAMI-Ti"):
        model = registry.models[f"vitdet-{row.lower()}-micro"]
        records = table2.ask(model, table2.data_set(instances, None), asked, lambda photos: None)
        boxes, masks = table2.to_results(records)
        assert len(boxes) > 80
        ids = [info.id for info in asked]
        for column, kind, results in (("ap_box", "bbox", boxes), ("ap_mask", "segm", masks)):
            cell = result.cell(row, column)
            assert cell.measured == official(shared / "samples", results, kind, ids)
            assert cell.status == "measured"
            assert cell.low is not None
            assert cell.low < cell.measured < cell.high
            assert cell.n == len(boxes)


def test_the_better_one_is_said_to_be_better_beside_the_paper_s_difference(measured: Any) -> None:
    result, _, _ = measured
    found = {(one.first, one.second, one.column): one for one in result.comparisons}
    one = found["SAMI-Ti", "MAE-Ti", "ap_box"]
    assert one.paper == pytest.approx(0.068)
    assert one.verdict == "same order (1 training each)"
    assert one.low > 0
    assert found["SAMI-B", "MAE-B", "ap_mask"].verdict == "not measured"


def test_every_row_says_why_it_has_no_number(measured: Any) -> None:
    result, _, _ = measured
    assert [row.label for row in result.rows] == list(dict.fromkeys(cell.row for cell in result.cells))
    assert len(result.rows) == 9
    assert result.cell("MAE-S", "ap_box").status == "not trained yet"
    assert result.cell("DINO-S", "ap_box").status == "no public weights"
    assert "backbone alone" in result.cell("DINO-S", "ap_box").why
    assert result.cell("MAE-B", "ap_mask").status == "quoted"
    assert "--scale paper" in result.cell("MAE-B", "ap_mask").why
    assert result.cell("SAMI-B", "ap_box").paper == pytest.approx(0.525)
    assert not result.comparable
    assert any("limited run: the first 20 images" in note for note in result.footnotes)


def test_a_second_table_asks_nobody_again(measured: Any, shared: Path) -> None:
    result, _, folder = measured
    again, registry = make(shared / "samples", folder, LIMIT)
    assert all(model.asked == 0 for model in registry.models.values())
    assert again.cells == result.cells


def test_a_photo_that_cannot_be_read_is_left_out_and_said(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "data", split="val2017")
    instances = open_instances("coco", root)
    model = Cheat("vitdet-mae-ti-micro", instances, 1)
    (root / "coco" / "val2017" / "3.png").write_bytes(b"no photo")
    registry = Registry({model.name: model})
    with using(table2, registry, root):
        (result,) = make_tables([table2], settings(tmp_path / "runs", scale="micro"))
    assert any("left out" in note and "3.png" in note for note in result.footnotes)


def test_a_detector_of_other_classes_is_refused(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "data", [*ANNOTATIONS, annotation(9, 4, 90)], split="val2017")
    instances = open_instances("coco", root)
    model = Cheat("vitdet-mae-ti-micro", instances, 1)
    model.classes = 80
    registry = Registry({model.name: model})
    with using(table2, registry, root), pytest.raises(BenchError, match=r"knows 80 classes, .* has 2 categories"):
        make_tables([table2], settings(tmp_path / "runs", scale="micro"))


class TestPlan:
    def test_micro_without_photos_and_paper_with_photos_and_weights(self, tmp_path: Path) -> None:
        (tmp_path / "coco" / "val2017").mkdir(parents=True)
        here = Registry({"vitdet-mae-b": None})
        auto = {"scale": "auto"}
        assert plan(here, tmp_path, **auto).scale == "micro"
        assert plan(here, tmp_path, data_root=tmp_path, **auto).scale == "paper"
        assert plan(Registry({}), tmp_path, data_root=tmp_path, **auto).scale == "micro"
        assert plan(here, tmp_path, data_root=tmp_path, models=("vitdet-mae-ti-micro",), **auto).scale == "micro"

    def test_at_paper_scale_the_row_with_public_weights_is_measured(self, tmp_path: Path) -> None:
        (tmp_path / "coco" / "val2017").mkdir(parents=True)
        made = plan(Registry({"vitdet-mae-b": None}), tmp_path, data_root=tmp_path, scale="paper")
        assert [subject.model for subject in made.subjects] == ["vitdet-mae-b"]
        assert made.unmeasured["DINO-S"] == ("no public weights", "the backbone alone is public")

    def test_rows_and_names_may_be_asked_for(self, tmp_path: Path) -> None:
        registry = Registry({"vitdet-mae-ti-micro": None, "vitdet-sami-ti-micro": None})
        made = plan(registry, tmp_path, models=("sami-ti",))
        assert [subject.row for subject in made.subjects] == ["SAMI-Ti"]
        assert made.unmeasured["MAE-Ti"][0] == "not requested"

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"models": ("sami-tj",)}, "sami-tj"),
            ({"checkpoints": {"nobody": Path("x")}}, "nobody"),
            ({"models": ("vitdet-mae-b",)}, "use --scale paper"),
            ({"scale": "paper"}, "needs BENCH_DATA"),
        ],
    )
    def test_what_cannot_be_is_refused(self, tmp_path: Path, changes: Any, sentence: str) -> None:
        with pytest.raises(BenchError, match=sentence):
            plan(Registry({}), tmp_path, **changes)
