"""Everything in an image: the published generator's records on the same answers, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam
from torch import Tensor

import models.everything.segment as everything
from bench.data.dead_leaves.scene import draw_scene
from models import zoo
from models.annotations import Annotation, decode
from models.errors import BenchError
from models.everything.segment import Settings, count_points, segment_everything
from models.sam.segmenter import SamSegmenter
from models.segmenter import Embedding, Prompts, Segmentation
from tests.models.everything.official import OfficialSegmenter, micro_sam, small_sam
from tests.models.recipe import image

PHOTO = image(97, 141, seed=3)
LOOSE = {
    "points_per_side": 8,
    "pred_iou_thresh": 0.4,
    "stability_score_thresh": 0.5,
    "stability_score_offset": 0.01,
    "box_nms_thresh": 0.9,
}
SMALL = {
    "plain": LOOSE,
    "another grid, in odd batches": LOOSE | {"points_per_side": 16, "points_per_batch": 37, "box_nms_thresh": 0.6},
    "a layer of crops": LOOSE | {"crop_n_layers": 1, "crop_nms_thresh": 0.8},
    "two layers with fewer points": LOOSE | {"crop_n_layers": 2, "crop_n_points_downscale_factor": 2},
    "no holes, no islands": LOOSE | {"min_mask_region_area": 50},
    "no holes, no islands, in crops": LOOSE | {"min_mask_region_area": 200, "crop_n_layers": 1},
    "all candidates": {"points_per_side": 4, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0},
    "more boxes than are suppressed in one go": {
        "points_per_side": 32,
        "pred_iou_thresh": -1.0,
        "stability_score_thresh": 0.0,
        "box_nms_thresh": 1.0,
    },
}
CONFIDENT = {"points_per_side": 8, "pred_iou_thresh": 0.5, "stability_score_thresh": 0.7}
MICRO = {
    "plain": CONFIDENT,
    "a layer of crops": CONFIDENT | {"crop_n_layers": 1, "crop_n_points_downscale_factor": 2},
    "no holes, no islands": CONFIDENT | {"stability_score_thresh": 0.5, "min_mask_region_area": 60},
}


@pytest.fixture(scope="module")
def small() -> Sam:
    return small_sam()


@pytest.fixture(scope="module")
def micro() -> Sam:
    return micro_sam()


@pytest.fixture(scope="module")
def leaves() -> np.ndarray:
    return draw_scene(1, 0).image[:200]


def published(network: Sam, photo: np.ndarray, settings: dict[str, Any]) -> list[dict[str, Any]]:
    if settings.get("min_mask_region_area"):
        pytest.importorskip("cv2", reason="the published generator counts regions with OpenCV")
    return SamAutomaticMaskGenerator(network, output_mode="coco_rle", **settings).generate(photo)


def comparable(records: Sequence[Any]) -> list[dict[str, Any]]:
    """Put a word for the stability of masks without any pixel, NaN, which equals nothing."""
    empty = [{"stability_score": "nan"} if np.isnan(one["stability_score"]) else {} for one in records]
    return [{**one, **word} for one, word in zip(records, empty, strict=True)]


@pytest.mark.parametrize("name", SMALL)
def test_on_the_same_answers_every_record_is_the_published_one_in_the_published_order(small: Sam, name: str) -> None:
    expected = published(small, PHOTO, SMALL[name])
    assert len(expected) >= 3
    assert comparable(segment_everything(OfficialSegmenter(small), PHOTO, Settings(**SMALL[name]))) == comparable(
        expected
    )


@pytest.mark.parametrize("name", MICRO)
def test_the_micro_sam_finds_what_the_published_generator_finds_with_its_weights(
    micro: Sam, leaves: np.ndarray, name: str
) -> None:
    expected = published(micro, leaves, MICRO[name])
    assert len(expected) >= 3
    settings = Settings(**MICRO[name])
    assert segment_everything(OfficialSegmenter(micro), leaves, settings) == expected
    ours = segment_everything(zoo.load("sam-micro"), leaves, settings)
    assert len(ours) == len(expected)
    for got, want in zip(ours, expected, strict=True):  # sums in another order: a pixel at 0 may turn over
        differ = decode(got["segmentation"]) != decode(want["segmentation"])
        assert np.count_nonzero(differ) <= 2
        assert got["point_coords"] == want["point_coords"]
        assert got["crop_box"] == want["crop_box"]
        np.testing.assert_allclose(got["bbox"], want["bbox"], rtol=0, atol=1)
        assert got["predicted_iou"] == pytest.approx(want["predicted_iou"], abs=1e-5)
        assert got["stability_score"] == pytest.approx(want["stability_score"], abs=1e-3)


def test_settings_have_the_published_names_and_defaults() -> None:
    generator = SamAutomaticMaskGenerator.__init__
    names = generator.__code__.co_varnames[2 : generator.__code__.co_argcount]
    published = dict(zip(names, generator.__defaults__, strict=True))
    others = {"point_grids": None, "output_mode": "binary_mask"}
    assert asdict(Settings()) == {name: value for name, value in published.items() if name not in others}


def plain_loop(segmenter: Any, photo: np.ndarray, settings: Settings) -> list[tuple[np.ndarray, float, float]]:
    """Ask point by point, keep whole masks, and suppress boxes one by one: mask, predicted IoU and stability."""
    height, width = photo.shape[:2]
    (embedding,) = segmenter.embed([photo])
    candidates = []
    n = settings.points_per_side
    for row in range(n):
        for column in range(n):
            point = [(2 * column + 1) / (2 * n) * width, (2 * row + 1) / (2 * n) * height]
            logits, ious = segmenter.segment(embedding, Prompts([[point]], [[1]]))
            full = segmenter.upscale(logits, (height, width))[0]
            masks = segmenter.masks(logits, (height, width))[0]
            for mask, upscaled, iou in zip(masks.numpy(), full.numpy(), ious[0].tolist(), strict=True):
                stability = (upscaled > 1).sum() / max(1, (upscaled > -1).sum())
                if iou > settings.pred_iou_thresh and stability >= settings.stability_score_thresh:
                    candidates.append((mask, iou, stability))
    kept: list[tuple[np.ndarray, float, float]] = []
    for one in sorted(candidates, key=lambda candidate: -candidate[1]):
        if all(box_iou(one[0], other[0]) <= settings.box_nms_thresh for other in kept):
            kept.append(one)
    return kept


def box_iou(first: np.ndarray, second: np.ndarray) -> float:
    (ay, ax), (by, bx) = np.nonzero(first), np.nonzero(second)
    w = max(0, min(ax.max(), bx.max()) - max(ax.min(), bx.min()))
    h = max(0, min(ay.max(), by.max()) - max(ay.min(), by.min()))
    areas = [(x.max() - x.min()) * (y.max() - y.min()) for y, x in ((ay, ax), (by, bx))]
    return w * h / (sum(areas) - w * h)


@pytest.mark.parametrize("name", ["efficientsam-ti-micro", "mobilesam-micro"])
def test_a_model_of_any_convention_finds_what_a_loop_without_batches_finds(leaves: np.ndarray, name: str) -> None:
    segmenter = zoo.load(name)
    settings = Settings(points_per_side=8, pred_iou_thresh=0.45, stability_score_thresh=0.5)
    expected = plain_loop(segmenter, leaves, settings)
    found = segment_everything(segmenter, leaves, settings)
    assert len(found) == len(expected) >= 3
    for got, (mask, iou, stability) in zip(found, expected, strict=True):
        assert np.count_nonzero(decode(got["segmentation"]) != mask) <= 2
        assert got["predicted_iou"] == pytest.approx(iou, abs=1e-5)
        assert got["stability_score"] == pytest.approx(stability, abs=1e-3)


class Discs:
    """Answers each point with discs around it that it is sure, half sure and not sure of; counts what is held."""

    name, device = "discs", torch.device("cpu")

    def __init__(self) -> None:
        self.embedded = 0
        self.asked: list[int] = []
        self.upscaled: list[tuple[int, ...]] = []

    def embed(self, images: Sequence[np.ndarray]) -> list[Embedding]:
        self.embedded += len(images)
        return [Embedding(torch.zeros(1, 1, 1), image.shape[:2]) for image in images]

    def segment(self, embedding: Embedding, prompts: Prompts, *, multimask: bool = True) -> Segmentation:
        self.asked.append(len(prompts))
        middle = torch.from_numpy(prompts.points[:, 0] / np.array(embedding.size[::-1], np.float32) * 32)
        y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
        distance = torch.hypot(x - middle[:, 0, None, None], y - middle[:, 1, None, None])[:, None]
        ious = torch.tensor([0.9, 0.5, 0.1]).expand(len(prompts), -1)
        return Segmentation(100 * (torch.tensor([2.0, 3.0, 4.0])[:, None, None] - distance), ious)

    def masks(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        return self.threshold(self.upscale(logits, size))

    def upscale(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        self.upscaled.append((logits.shape[0] * logits.shape[1], *size))
        return torch.nn.functional.interpolate(logits, size, mode="bilinear")

    def threshold(self, upscaled: Tensor) -> Tensor:
        return upscaled > 0


def test_an_image_is_encoded_once_a_crop_and_points_are_asked_in_batches() -> None:
    discs = Discs()
    settings = Settings(points_per_side=6, points_per_batch=10, crop_n_layers=1, crop_n_points_downscale_factor=2)
    seen: list[int] = []
    segment_everything(discs, np.zeros((60, 80, 3), np.uint8), settings, advance=seen.append)
    assert discs.embedded == 5
    assert discs.asked == [10, 10, 10, 6] + 4 * [9]
    assert seen == discs.asked
    assert sum(seen) == count_points((60, 80), settings)


def test_only_confident_candidates_are_upscaled_and_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(everything, "_PIXELS_AT_ONCE", {"cpu": 3 * 600 * 800})
    monkeypatch.setattr(everything, "_INPUT_PIXELS", 1)
    discs = Discs()
    found = segment_everything(discs, np.zeros((600, 800, 3), np.uint8), Settings(points_per_side=8))
    assert len(found) == 64
    assert sum(count for count, *_ in discs.upscaled) == 64  # of 192 candidates
    assert max(count for count, *_ in discs.upscaled) == 3
    assert {size[1:] for size in discs.upscaled} == {(600, 800)}


def test_chunks_change_no_record(small: Sam, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = segment_everything(OfficialSegmenter(small), PHOTO, Settings(**LOOSE))
    monkeypatch.setattr(everything, "_PIXELS_AT_ONCE", {"cpu": 1})
    assert segment_everything(OfficialSegmenter(small), PHOTO, Settings(**LOOSE)) == whole


@pytest.mark.parametrize("layers", [0, 1])
def test_where_no_candidate_counts_nothing_is_found(layers: int) -> None:
    settings = Settings(points_per_side=4, pred_iou_thresh=0.95, crop_n_layers=layers, min_mask_region_area=9)
    assert segment_everything(Discs(), np.zeros((60, 80, 3), np.uint8), settings) == []


def test_an_image_of_few_pixels_has_no_crops_without_pixels() -> None:
    settings = Settings(points_per_side=2, crop_n_layers=3, pred_iou_thresh=0, stability_score_thresh=0)
    for size in ((1, 1), (3, 2), (2, 9)):
        found = segment_everything(Discs(), np.zeros((*size, 3), np.uint8), settings)
        assert all(one["segmentation"]["size"] == list(size) for one in found)


def test_a_model_that_finds_everything_itself_is_asked_for_that() -> None:
    class Finder(Discs):
        def everything(self, image: np.ndarray) -> np.ndarray:
            masks = np.zeros((2, *image.shape[:2]), bool)
            masks[0, 2:5, 3:9], masks[1, 0, 0] = True, True
            return masks

    first, second = segment_everything(Finder(), np.zeros((20, 30, 3), np.uint8))
    expected: Annotation = {
        "segmentation": first["segmentation"],
        "area": 18,
        "bbox": [3, 2, 5, 2],
        "predicted_iou": None,
        "point_coords": [],
        "stability_score": None,
        "crop_box": [0, 0, 30, 20],
    }
    assert first == expected
    assert decode(first["segmentation"]).sum() == 18
    assert (second["area"], second["bbox"]) == (1, [0, 0, 0, 0])


def test_a_model_of_the_three_methods_alone_is_refused_by_name() -> None:
    class Plain:
        name, device = "plain", torch.device("cpu")
        embed, segment, masks = Discs.embed, Discs.segment, Discs.masks

    with pytest.raises(BenchError, match=r"'plain' cannot segment everything.*boxes or points"):
        segment_everything(Plain(), PHOTO)


@pytest.mark.parametrize(
    "name, value",
    [
        ("points_per_side", 0),
        ("points_per_batch", 0),
        ("crop_n_layers", -1),
        ("crop_overlap_ratio", 1.0),
        ("stability_score_offset", float("nan")),
        ("min_mask_region_area", -1),
    ],
)
def test_a_setting_that_means_nothing_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(BenchError, match=name):
        Settings(**{name: value})


@pytest.mark.parametrize("name", ["sam-micro", "efficientsam-ti-micro"])
def test_masks_are_the_threshold_of_upscaled_logits_to_the_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = zoo.load(name)
    logits = torch.randn(3, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    logits[0, 0] = 0  # ties
    expected = segmenter.threshold(segmenter.upscale(logits, (97, 141)))
    for at_once in (1, 1 << 24):
        module = "models.frames" if name == "sam-micro" else type(segmenter).__module__
        monkeypatch.setattr(f"{module}._MASKS_AT_ONCE", at_once)
        assert torch.equal(segmenter.masks(logits, (97, 141)), expected)
    assert expected[0, 0].all() == (name != "sam-micro")


def test_the_contract_is_held_by_the_padded_and_the_squashed_family(small: Sam) -> None:
    from models.segmenter import EverythingFinder, Upscaler

    assert isinstance(zoo.load("efficientsam-ti-micro"), Upscaler)
    assert isinstance(zoo.load("sam-micro"), Upscaler)
    assert isinstance(zoo.load("sam-micro"), SamSegmenter)
    assert not isinstance(zoo.load("sam-micro"), EverythingFinder)
