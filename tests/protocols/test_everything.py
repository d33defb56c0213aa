"""Table `everything`: records, scores, times that nothing compares, and the whole table at micro scale."""

from __future__ import annotations

import importlib.util
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from bench.data import open_instances
from bench.data.dead_leaves.scene import draw_scene
from bench.store.stored import find_run
from models import zoo
from models.errors import UnsupportedPrompt
from models.everything.segment import DEFAULT, Settings
from models.segmenter import Embedding
from protocols import everything, everything_models, everything_prompts
from protocols.everything_prompts import NO_MASK, RECORD_TYPES
from protocols.inspect.recheck import Sample
from protocols.inspect.verify import verify
from protocols.plan import make_plan
from protocols.regression.snapshots import cells_of_scores
from protocols.results import TableResult
from protocols.scores import CellRun, Scores
from protocols.table import make_tables
from tests.bench.metrics.test_average_recall import official
from tests.protocols.fakes import DiscModel, disc, instance_data, settings, write_coco

OBJECTS = [[disc(8, 9, 5), disc(25, 20, 8)], [], [disc(20, 16, 6)]]
"""Of images 1 to 3; the second has none."""


class Finder:
    """A model that finds all masks of an image in one pass."""

    name, device = "finder", torch.device("cpu")

    def __init__(self, found: list[list[np.ndarray]]) -> None:
        self.found, self.asked = found, 0

    def everything(self, image: np.ndarray) -> np.ndarray:
        # The first call is the one that is not timed.
        masks = self.found[max(0, self.asked - 1)]
        self.asked += 1
        return np.array(masks, dtype=bool).reshape(-1, *image.shape[:2])


@pytest.fixture
def data(tmp_path: Path) -> Any:
    write_coco(tmp_path, OBJECTS, crowd=(2,))
    opened = instance_data(instances=open_instances("coco", tmp_path))
    return replace(opened, axes=None, truth={**opened.truth, "generator": everything.GENERATOR["micro"]})


def run_of(data: Any, model: Any) -> CellRun:
    records = everything_prompts.ask(model, data, data.asked.images, lambda images: None)
    assert (records["skipped"] == "").all()
    return CellRun(records.drop(columns="skipped"), "f", 0, tuple(data.asked.ids), {})


def test_at_paper_scale_the_generator_s_settings_are_its_defaults() -> None:
    assert Settings(**everything.GENERATOR["paper"]) == DEFAULT
    assert everything.GENERATOR["micro"].keys() == everything.GENERATOR["paper"].keys()


def test_there_is_a_record_for_each_mask_and_one_for_an_image_without_any(data: Any) -> None:
    found = [[disc(8, 9, 4), disc(30, 5, 3)], [disc(10, 10, 3)], []]
    records = run_of(data, Finder(found)).records
    assert records["image_id"].tolist() == [1, 1, 2, 3]
    assert records["rank"].tolist() == [0, 1, 0, NO_MASK]
    assert records["area"].tolist() == [*(int(mask.sum()) for image in found for mask in image), 0]
    assert records["counts"].iloc[-1] == ""
    assert records["predicted_iou"].isna().all()
    assert (records.groupby("image_id")["seconds"].nunique() == 1).all()
    assert (records["seconds"] > 0).all()
    assert set(records) == set(RECORD_TYPES)


def test_scores_are_pycocotools_recall_and_means_over_all_images(data: Any) -> None:
    found = [[disc(8, 9, 4), disc(30, 5, 3), disc(25, 20, 8)], [disc(10, 10, 3)], [disc(19, 15, 6)]]
    run = run_of(data, Finder(found))
    scores = everything.score(run, data)
    expected = official(data.source.annotation_path, everything._results(run.records), (100, 1000))
    assert [scores.intervals[key].value for key in everything.RECALLS] == pytest.approx(expected.tolist(), abs=1e-12)
    assert 0 < expected[0] < 1
    assert scores.intervals["ar100"].n == 2, "the crowd is no object"
    assert scores.intervals["masks"].value == pytest.approx(5 / 3)
    assert scores.intervals["masks"].n == 3, "an image without truth counts"


def test_a_model_that_finds_nothing_has_zeros(data: Any) -> None:
    scores = everything.score(run_of(data, Finder([[], [], []])), data)
    values = {key: one.value for key, one in scores.intervals.items()}
    assert (values["ar100"], values["ar1000"], values["masks"]) == (0, 0, 0)
    assert values["seconds"] > 0


def test_differences_are_paired_over_the_same_objects_and_images(data: Any) -> None:
    good = everything.score(run_of(data, Finder([[OBJECTS[0][0]], [], [OBJECTS[2][0]]])), data)
    none = everything.score(run_of(data, Finder([[], [], []])), data)
    found = everything.compare(good, none)
    assert (found["ar100"].value, found["ar100"].low, found["ar100"].high) == (1, 1, 1)
    assert found["masks"].value == pytest.approx(2 / 3)
    assert found["seconds"].value == pytest.approx(good.intervals["seconds"].value - none.intervals["seconds"].value)


def test_a_model_that_only_answers_prompts_is_refused_and_bounds_are_no_rows(data: Any) -> None:
    with pytest.raises(UnsupportedPrompt, match="'disc' cannot segment everything"):
        run_of(data, DiscModel())
    assert not {"floor", "ceiling", "detector"} & {card.name for card in everything_models.cards()}


def test_the_encoder_is_timed_though_embeddings_are_remembered(data: Any) -> None:
    class Remembering:
        """Stands for `protocols.embeddings`, which hands out what it embedded before."""

        def __init__(self, segmenter: Any) -> None:
            self.segmenter = segmenter

        def everything(self, image: np.ndarray) -> np.ndarray:
            raise AssertionError("the remembering model was asked")

        def embed(self, images: Any) -> list[Embedding]:
            raise AssertionError("a remembered embedding was taken")

    assert len(run_of(data, Remembering(Finder([[], [], []]))).records) == 3


def test_the_gate_does_not_compare_times(data: Any) -> None:
    scores: Scores = everything.score(run_of(data, Finder([[], [], []])), data)
    assert cells_of_scores(everything, "finder", scores)["column"].tolist() == ["ar100", "ar1000", "masks"]


@pytest.mark.skipif(importlib.util.find_spec("ultralytics") is None, reason="the extra `fastsam` is not installed")
def test_fastsam_lists_its_masks_by_falling_confidence() -> None:
    finder: Any = zoo.load("fastsam-micro").everything  # type: ignore[attr-defined]
    photo = np.asarray(draw_scene(0, 0).image)
    (result,) = finder.args[0](np.ascontiguousarray(photo[..., ::-1]))
    confidence = result.boxes.conf.cpu().numpy()
    assert len(confidence) > 3
    assert (np.diff(confidence) <= 0).all()


MODEL = "efficientsam-ti-micro"


def made(some: Any) -> list[TableResult]:
    results = make_tables([everything], some)
    assert results is not None
    return results


def test_the_table_is_made_end_to_end_resumed_and_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {**everything.GENERATOR["micro"], "points_per_side": 8}
    monkeypatch.setattr(everything, "GENERATOR", {**everything.GENERATOR, "micro": small})
    some = settings(tmp_path / "runs", scale="micro", models=(MODEL,), limit=2)
    (result,) = made(some)
    row = {column.key: result.cell("EfficientSAM-Ti", column.key) for column in everything.COLUMNS}
    assert {cell.status for cell in row.values()} == {"measured"}
    assert 0 < (row["ar100"].measured or 0) <= (row["ar1000"].measured or 0) < 1
    assert (row["masks"].measured or 0) > 1
    assert result.cell("SAM", "ar100").status == "not requested"
    assert {one.label for one in result.rows} == {"SAM", "MobileSAM", "FastSAM", "EfficientSAM-Ti", "EfficientSAM-S"}
    notes = " ".join(result.footnotes)
    for words in ("8 x 8 points, predicted IoU above 0.5, stability at least 0.7", "objects in 2 images", "wall clock"):
        assert words in notes
    assert "first 2 images" in notes
    with Image.open(io.BytesIO(result.pictures["sheet"])) as sheet:
        assert sheet.size == (4 + 164 * 2, 18 + 164 * 2)

    run = find_run(f"everything/{MODEL}", some.store)
    check = verify(run, Sample(every=True), some)
    assert (check.check.outcome, check.changed) == ("identical", ())
    assert check.check.checked_records == len(run.records())

    monkeypatch.setattr(everything_prompts, "_of_image", lambda *_: pytest.fail("asked again"))
    (again,) = made(some)
    assert again.cells == result.cells, "times are those of the run"


def test_a_limit_is_the_user_s_or_that_of_the_scale(tmp_path: Path) -> None:
    for limit, expected in ((None, everything.IMAGES["micro"]), (3, 3)):
        some = settings(tmp_path / "runs", scale="micro", models=(MODEL,), limit=limit)
        data = everything.open_data("coco", make_plan(everything, some), some)
        assert len(data.asked.images) == expected
        assert data.axes is None
        assert data.truth["generator"] == everything.GENERATOR["micro"]


def test_an_image_that_cannot_be_read_is_left_out(data: Any) -> None:
    data.asked.images[1].path.write_bytes(b"no image")
    records: pd.DataFrame = everything_prompts.ask(Finder([[], [], []]), data, data.asked.images, lambda images: None)
    assert [why != "" for why in records["skipped"]] == [False, True, False]
