"""Table `salient`: points in the map, what is asked, scores, the sheet, and the whole table at micro scale."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.data.dead_leaves import salient as leaves
from bench.metrics.saliency import f_curve, mean_absolute_error, s_measure
from models.errors import BenchError
from models.u2net import cards as networks
from protocols import salient, salient_models, salient_prompts
from protocols.axes import PAPER
from protocols.plan import make_plan
from protocols.salient_prompts import POINTS, draw_points
from protocols.scores import CellRun
from protocols.table import make_tables
from reports.write import write_report
from tests.bench.data.dead_leaves.test_salient_scenes import FIRST_THREE
from tests.bench.data.test_salient import write
from tests.protocols.fakes import settings

MODELS = ("u2netp-micro", "efficientsam-ti-micro", "floor", "ceiling")


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three held-out images instead of all."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "salient-cache"))
    monkeypatch.setattr(leaves, "VAL_IMAGES", 3)
    monkeypatch.setattr(leaves, "SALIENT_SHA256", FIRST_THREE)
    monkeypatch.setattr(leaves, "drawn", lambda draw, count: map(draw, range(count)))


@given(st.integers(0, 2**31), st.integers(0, 99), st.integers(0, 3))
def test_points_lie_in_the_map_and_belong_to_the_photo(image: int, seed: int, repeat: int) -> None:
    y, x = np.mgrid[0:20, 0:30]
    saliency = np.clip(255 - 20 * np.hypot(x - 9, y - 12), 0, 255).astype(np.uint8)
    points = draw_points(saliency, image, seed=seed, repeat=repeat)
    assert points.shape == (POINTS, 2)
    assert all(saliency[int(y), int(x)] >= 128 for x, y in points)
    np.testing.assert_array_equal(points, draw_points(saliency, image, seed=seed, repeat=repeat))


def test_draws_of_a_photo_differ_and_a_faint_or_empty_map_still_has_points() -> None:
    saliency = np.zeros((20, 30), np.uint8)
    saliency[5, 7] = 90
    assert (draw_points(saliency, 1, seed=0, repeat=0) == [7, 5]).all()
    assert draw_points(np.zeros((20, 30), np.uint8), 1, seed=0, repeat=0).shape == (POINTS, 2)
    full = np.full((20, 30), 255, np.uint8)
    assert (draw_points(full, 1, seed=0, repeat=0) != draw_points(full, 1, seed=0, repeat=1)).any()
    assert (draw_points(full, 1, seed=0, repeat=0) != draw_points(full, 2, seed=0, repeat=0)).any()


class Recorder:
    """A predictor that keeps its prompts and answers the left half of the image."""

    name, sees_truth, checkpoint_sha256, custom = "recorder", False, None, False

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def set_image(self, image: np.ndarray) -> None:
        self.size = image.shape[:2]

    def predict(self, prompts: Any, truths: Any) -> Any:
        self.seen.append(prompts)
        mask = np.zeros((1, *self.size), bool)
        mask[:, :, : self.size[1] // 2] = True
        return SimpleNamespace(masks=mask, predicted_iou=np.ones(1), pick=np.zeros(1))


def opened(tmp_path: Any, **changes: Any) -> Any:
    some = settings(tmp_path / "runs", scale="micro", models=MODELS, **changes)
    return salient.open_data("salient", make_plan(salient, some), some)


def asked(data: Any, model: Any) -> pd.DataFrame:
    return salient_prompts.ask(model, data, data.asked.images, lambda images: None)


@pytest.mark.usefixtures("world")
def test_each_photo_is_asked_by_three_foreground_points_of_its_map(tmp_path: Any) -> None:
    data, model = opened(tmp_path), Recorder()
    records = asked(data, model)
    assert records["image_id"].tolist() == [0, 1, 2]
    network = networks.load("u2netp-micro")
    for image, prompts in enumerate(model.seen):
        saliency = network.saliency(data.source.photos[image][0])
        np.testing.assert_array_equal(prompts.points[0], draw_points(saliency, image, seed=0, repeat=0))
        assert prompts.labels.tolist() == [[1, 1, 1]]


@pytest.mark.usefixtures("world")
def test_records_hold_the_scores_of_the_answered_mask(tmp_path: Any) -> None:
    data = opened(tmp_path)
    record = asked(data, Recorder()).iloc[1]
    _, truth = data.source.photos[1]
    answer = np.zeros(truth.shape, bool)
    answer[:, :128] = True
    assert record["iou"] == (answer & truth).sum() / (answer | truth).sum()
    saliency = np.uint8(255) * answer
    assert (record["s_measure"], record["mae"]) == (s_measure(saliency, truth), mean_absolute_error(saliency, truth))
    np.testing.assert_array_equal(np.frombuffer(record["f_curve"]), f_curve(saliency, truth))


@pytest.mark.usefixtures("world")
def test_another_network_s_maps_are_another_run_and_repeats_are_means(tmp_path: Any) -> None:
    data = opened(tmp_path, axes=replace(PAPER, repeats=2))
    assert data.truth["maps"]["sha256"] == networks.load("u2netp-micro").checkpoint_sha256
    model = Recorder()
    records = asked(data, model)
    assert records["repeat"].tolist() == [0, 1] * 3
    assert len({prompts.points.tobytes() for prompts in model.seen}) == 6
    found = salient.score(CellRun(records, "f", 0, (0, 1, 2), {}), data)
    assert all(interval.n == 3 for interval in found.intervals.values())
    assert found.intervals["iou"].value == pytest.approx(records["iou"].mean())


def test_a_photo_that_cannot_be_read_is_left_out_and_says_why(tmp_path: Any) -> None:
    _, masks = write(tmp_path / "data", "salient", 2)
    (masks / "0.png").write_bytes(b"no image")
    plan = SimpleNamespace(root=tmp_path / "data", subjects=())
    data = salient.open_data("salient", plan, settings(tmp_path / "runs"))  # type: ignore[arg-type]
    records = asked(data, Recorder())
    assert records["image_id"].tolist() == [0, 1]
    assert "0.png is broken" in records["skipped"][0]
    assert (records["skipped"][1], records["iou"][1]) == ("", 1.0)


def test_differences_are_paired_over_shared_photos() -> None:
    rng = np.random.default_rng(0)

    def scores(images: list[int]) -> Any:
        rows = [
            {
                "image_id": image,
                "iou": rng.random(),
                "s_measure": rng.random(),
                "mae": rng.random(),
                "f_curve": rng.random(256).tobytes(),
            }
            for image in images
        ]
        return salient.score(CellRun(pd.DataFrame(rows), "f", 0, tuple(images), {}), None)  # type: ignore[arg-type]

    one, other = scores([1, 2, 3, 4]), scores([4, 2, 3])
    found = salient.compare(one, other)
    shared = [2, 3, 4]
    for key in ("iou", "s_measure", "mae"):
        ours, theirs = (of.basis.values.loc[shared, key].mean() for of in (one, other))
        assert found[key].value == pytest.approx(ours - theirs)
        assert found[key].n == 3
    assert found["max_f"].value == pytest.approx(one.basis.curves[1:].mean(0).max() - other.basis.curves.mean(0).max())


def test_maps_are_made_by_the_network_that_is_measured_or_of_the_models_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    def subjects(*names: str) -> Any:
        cards = {card.name: card for card in salient_models.cards()}
        return [SimpleNamespace(model=name, card=cards[name]) for name in names]

    assert salient_models.map_maker(subjects("efficientsam-ti-micro"), {}, "cpu").name == "u2netp-micro"
    with pytest.raises(BenchError, match=r"the weights of 'u2net' are not at .*download https://drive"):
        salient_models.map_maker(subjects("efficientsam-ti"), {}, "cpu")
    monkeypatch.setattr(salient_models, "available", lambda name: (name == "u2netp", ""))
    monkeypatch.setattr(salient_models.row_cards, "checkpoint_file", lambda card, own: own)
    assert salient_models.map_maker(subjects("efficientsam-ti"), {}, "cpu").name == "u2netp"
    assert salient_models.map_maker(subjects("efficientsam-ti", "u2net"), {}, "cpu").name == "u2net"


@pytest.mark.usefixtures("world")
def test_the_table_is_made_end_to_end_with_a_sheet_of_pictures(tmp_path: Any) -> None:
    (result,) = make_tables([salient], settings(tmp_path / "runs", scale="micro", models=MODELS)) or ()
    measured = {(cell.row, cell.column): cell.measured for cell in result.cells if cell.measured is not None}
    rows = {"U2-Net", "EfficientSAM-Ti", "floor", "ceiling"}
    assert measured.keys() == {(row, column.key) for row in rows for column in salient.COLUMNS}
    assert measured["ceiling", "iou"] > max(measured[row, "iou"] for row in rows - {"ceiling"})
    assert measured["ceiling", "mae"] < min(measured[row, "mae"] for row in rows - {"ceiling"})
    assert "maps: u2netp-micro" in result.world
    assert {"U2-Net"} == {one.second for one in result.comparisons if one.measured is not None}
    assert "pictures" not in result.to_json()
    (sheet,) = (path for path in write_report(result, tmp_path / "out") if path.name == "salient-sheet.png")
    with Image.open(sheet) as image:
        columns, lines = 3 + len(rows), 3
        assert image.size == (4 + 164 * columns, 18 + 164 * lines)
        assert len(np.unique(np.asarray(image).reshape(-1, 3), axis=0)) > 1000


@pytest.mark.usefixtures("world")
def test_what_was_asked_before_is_not_asked_again(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    some = settings(tmp_path / "runs", scale="micro", models=("floor",))
    first = make_tables([salient], some)
    monkeypatch.setattr(salient_prompts, "_ask_one", lambda *_: pytest.fail("asked again"))
    second = make_tables([salient], some)
    assert [one.cells for one in first or []] == [one.cells for one in second or []]
    assert (first or [])[0].pictures == (second or [])[0].pictures
    assert io.BytesIO((second or [])[0].pictures["sheet"]).read(4) == b"\x89PNG"
