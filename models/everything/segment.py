"""Segment everything: a grid of points asked, masks that the model doubts or that repeat each other left out.

Equals `SamAutomaticMaskGenerator` of segment_anything 1.0 given the same answers: the same masks in the same order with
the same scores (tests/models/everything). What differs is what is never computed: candidates of low predicted IoU are
left out before they are upscaled, the others are upscaled a few at a time, and a mask that is kept is kept as run
lengths. Points reach the model as float32, there as float64: the same for sides of 2^n points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from models.annotations import (
    STABILITY_OFFSET,
    Annotation,
    Rle,
    annotation,
    boxes_of,
    decode,
    encode,
    stability_scores,
    xywh,
)
from models.errors import BenchError, UnsupportedPrompt
from models.everything.crops import Crop, are_cut, crops_of, points_in
from models.everything.regions import without_small_regions
from models.segmenter import FOREGROUND, Embedding, EverythingFinder, Prompts, Segmenter, Upscaler

_INPUT_PIXELS = 1 << 20
"""Of the largest network input in the zoo, which some models upscale through."""
_PIXELS_AT_ONCE = {"cpu": 1 << 22, "cuda": 1 << 26}
"""Most pixels of upscaled logits held at once: on a CPU 16 MiB in float32, which the allocator reuses without new page
faults (1 thread, 640 x 480 px through 1024 px: 6.9 ms a mask 32 at once, 3.4 ms 4 at once)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked and what is kept; names and defaults are those of `SamAutomaticMaskGenerator`.

    Raises:
        BenchError: for a number that means nothing.
    """

    points_per_side: int = 32
    """Of the grid over the whole image."""
    points_per_batch: int = 64
    """Points asked at once."""
    pred_iou_thresh: float = 0.88
    """Candidates above it count; 0 for all."""
    stability_score_thresh: float = 0.95
    """Candidates at least as stable count; 0 for all."""
    stability_score_offset: float = STABILITY_OFFSET
    """In logits."""
    box_nms_thresh: float = 0.7
    """Of two masks of a crop whose boxes have a larger IoU, that of higher predicted IoU stays."""
    crop_n_layers: int = 0
    """Layers of crops beside the whole image; layer n has (2^n)^2."""
    crop_nms_thresh: float = 0.7
    """Of two masks of different crops whose boxes have a larger IoU, that of the smaller crop stays."""
    crop_overlap_ratio: float = 512 / 1500
    """Overlap of the first layer's crops over the image's short side; halves with each layer."""
    crop_n_points_downscale_factor: int = 1
    """A side of a crop of layer n has so many times fewer points, to the power of n."""
    min_mask_region_area: int = 0
    """Smaller holes are filled and smaller islands removed, px; 0 for no change."""

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if not getattr(self, name) >= least:
                raise BenchError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 <= self.crop_overlap_ratio < 1:
            raise BenchError(f"crop_overlap_ratio must be at least 0 and below 1, got {self.crop_overlap_ratio}")


_LEAST = {
    "points_per_side": 1,
    "points_per_batch": 1,
    "stability_score_offset": 0,
    "crop_n_layers": 0,
    "crop_n_points_downscale_factor": 1,
    "min_mask_region_area": 0,
}
DEFAULT = Settings()


@torch.inference_mode()
def segment_everything(
    segmenter: Segmenter,
    image: np.ndarray,
    settings: Settings = DEFAULT,
    *,
    advance: Callable[[int], None] | None = None,
) -> list[Annotation]:
    """Find every mask in an image: by falling predicted IoU, with crops those of the smallest first.

    A model that finds everything by itself (FastSAM) is asked for that, and no setting means anything to it.

    Args:
        segmenter: a model that also has `upscale` and `threshold`, or `everything`.
        image: uint8 [H, W, 3] RGB.
        settings: what is asked and kept.
        advance: called with the number of points that were asked, as they are; see `count_points`.

    Raises:
        UnsupportedPrompt: if the model has neither.
        BenchError: if it answers with NaN or infinity.
    """
    if isinstance(segmenter, EverythingFinder):
        return [annotation(mask) for mask in segmenter.everything(image)]
    if not isinstance(segmenter, Upscaler):
        raise UnsupportedPrompt(
            f"model '{segmenter.name}' cannot segment everything, it does not show its logits at the image's size: "
            "ask it about boxes or points, or give it `upscale` and `threshold` (models/segmenter.py)"
        )
    size = (image.shape[0], image.shape[1])
    found = [_in_crop(segmenter, image, crop, settings, advance) for crop in _crops(size, settings)]
    kept = _Found.cat(found)
    if len(found) > 1:
        crop_areas = (kept.crops[:, 2:] - kept.crops[:, :2]).prod(1)
        kept = kept[_nms(kept.boxes, 1 / torch.from_numpy(crop_areas), settings.crop_nms_thresh)]
    if settings.min_mask_region_area:
        kept = _without_small_regions(kept, settings)
    return list(kept.annotations())


def count_points(size: tuple[int, int], settings: Settings = DEFAULT) -> int:
    """Return how many points are asked about an image of (height, width) `size`."""
    return sum(len(_points(crop, settings)) for crop in _crops(size, settings))


def _crops(size: tuple[int, int], settings: Settings) -> list[Crop]:
    return crops_of(size, settings.crop_n_layers, settings.crop_overlap_ratio)


def _points(crop: Crop, settings: Settings) -> np.ndarray:
    return points_in(crop, settings.points_per_side, settings.crop_n_points_downscale_factor)


@dataclass(frozen=True, slots=True)
class _Found:
    """N masks and what is known of them, on the CPU."""

    boxes: np.ndarray
    """int64 [N, 4] xyxy, px of the image."""
    predicted_iou: np.ndarray
    """float32 [N]."""
    stability: np.ndarray
    """float32 [N]."""
    points: np.ndarray
    """float64 [N, 2], px of the image."""
    crops: np.ndarray
    """int64 [N, 4] xyxy, px."""
    areas: np.ndarray
    """int64 [N], px."""
    rles: np.ndarray
    """object [N], an `Rle` each."""

    @classmethod
    def cat(cls, parts: Sequence[_Found]) -> _Found:
        """Join some, in order; at least one."""
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def __getitem__(self, chosen: np.ndarray) -> _Found:
        """Choose by numbers int64 [K]."""
        return _Found(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def annotations(self) -> Iterator[Annotation]:
        """Yield them as records."""
        for index, rle in enumerate(self.rles):
            yield {
                "segmentation": rle,
                "area": int(self.areas[index]),
                "bbox": xywh(self.boxes[index]),
                "predicted_iou": float(self.predicted_iou[index]),
                "point_coords": [self.points[index].tolist()],
                "stability_score": float(self.stability[index]),
                "crop_box": xywh(self.crops[index]),
            }


_NONE = _Found(
    np.zeros((0, 4), np.int64),
    np.zeros(0, np.float32),
    np.zeros(0, np.float32),
    np.zeros((0, 2)),
    np.zeros((0, 4), np.int64),
    np.zeros(0, np.int64),
    np.zeros(0, object),
)


def _in_crop(
    segmenter: Upscaler, image: np.ndarray, crop: Crop, settings: Settings, advance: Callable[[int], None] | None
) -> _Found:
    """Return what is found in one crop, by falling predicted IoU."""
    (embedding,) = segmenter.embed([np.ascontiguousarray(image[crop.y0 : crop.y1, crop.x0 : crop.x1])])
    points, size = _points(crop, settings), (image.shape[0], image.shape[1])
    parts = [_NONE]
    for start in range(0, len(points), settings.points_per_batch):
        asked = points[start : start + settings.points_per_batch]
        parts += _at_points(segmenter, embedding, asked, crop, size, settings)
        if advance is not None:
            advance(len(asked))
    found = _Found.cat(parts)
    return found[_nms(found.boxes, torch.from_numpy(found.predicted_iou), settings.box_nms_thresh)]


def _at_points(
    segmenter: Upscaler, embedding: Embedding, points: np.ndarray, crop: Crop, size: tuple[int, int], settings: Settings
) -> Iterator[_Found]:
    """Ask about points of a crop and yield the candidates that count, a few at a time.

    Args:
        segmenter: that is asked.
        embedding: of the crop.
        points: float64 [P, 2] (x, y), px of the crop.
        crop: where they are.
        size: (height, width) of the image, px.
        settings: which candidates count.
    """
    labels = np.full((len(points), 1), FOREGROUND)
    logits, predicted_iou = segmenter.segment(embedding, Prompts(points[:, None], labels))  # [P, M, h, w], [P, M]
    predicted_iou = predicted_iou.float().cpu()
    confident = predicted_iou > (settings.pred_iou_thresh if settings.pred_iou_thresh > 0 else -torch.inf)
    corner = np.array([crop.x0, crop.y0])
    at_once = _PIXELS_AT_ONCE["cuda" if logits.is_cuda else "cpu"]
    step = max(1, at_once // max(crop.size[0] * crop.size[1], _INPUT_PIXELS))
    for some in confident.nonzero().split(step):
        if not len(some):  # none at all is one part
            continue
        upscaled = segmenter.upscale(logits[some[:, 0], some[:, 1]][:, None], crop.size)[:, 0]  # [n, H, W]
        stability = stability_scores(upscaled, settings.stability_score_offset).cpu()
        stable = torch.arange(len(some))
        if settings.stability_score_thresh > 0:
            stable = stable[stability >= settings.stability_score_thresh]
        masks = segmenter.threshold(upscaled[stable]).cpu().numpy()
        boxes = boxes_of(masks) + np.tile(corner, 2)
        whole = ~are_cut(boxes, crop, size)
        chosen = stable[torch.from_numpy(whole)]
        prompt, candidate = some[chosen].T
        yield _Found(
            boxes[whole],
            predicted_iou[prompt, candidate].numpy(),
            stability[chosen].numpy(),
            points[prompt.numpy()] + corner,
            np.tile(crop.box_xyxy, (len(chosen), 1)),
            np.count_nonzero(masks[whole], axis=(1, 2)),
            _objects([encode(mask, size, (crop.x0, crop.y0)) for mask in masks[whole]]),
        )


def _without_small_regions(found: _Found, settings: Settings) -> _Found:
    """Return masks without small holes and islands; of those that repeat each other now, unchanged ones stay."""
    boxes, areas, rles = found.boxes.copy(), found.areas.copy(), list(found.rles)
    unchanged = torch.ones(len(rles))
    for index, rle in enumerate(rles):
        mask, changed = without_small_regions(decode(rle), settings.min_mask_region_area)
        if changed:
            (boxes[index],) = boxes_of(mask[None])
            areas[index], rles[index], unchanged[index] = np.count_nonzero(mask), encode(mask), 0
    chosen = _nms(boxes, unchanged, max(settings.box_nms_thresh, settings.crop_nms_thresh))
    return replace(found, boxes=boxes, areas=areas, rles=_objects(rles))[chosen]


def _nms(boxes: np.ndarray, scores: Tensor, iou_threshold: float) -> np.ndarray:
    """Return the numbers of the boxes int64 [N, 4] that stay, by falling score."""
    kept = batched_nms(torch.from_numpy(boxes).float(), scores, torch.zeros(len(boxes)), iou_threshold)
    return np.asarray(kept.numpy())


def _objects(values: list[Rle]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
