"""How prompts become one mask each: a model's candidates picked by the axes, or a frame that needs no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.data.masks import joined, stacked
from bench.metrics.iou import mask_iou
from models.segmenter import BOX_TOP_LEFT, FOREGROUND, Multimask, Prompts, Segmenter
from protocols.axes import Axes
from protocols.prompts.frame import CELLS, Frame

PROMPTS_AT_ONCE = 16
"""Prompts a decoder call; on a CPU more is slower (its caches), and results never depend on it."""
DISC = 1 / 16
"""Radius of the floor's disc around a click, as a share of the image's short side; our choice."""


class Prediction(NamedTuple):
    """One mask a prompt."""

    masks: np.ndarray
    """bool [P, H, W]."""
    predicted_iou: np.ndarray
    """float32 [P]."""
    pick: np.ndarray
    """int8 [P], which candidate was picked."""
    cells: np.ndarray | None = None
    """bool [P, n, n], the answer at low resolution, at the cells of the padded square (`protocols.prompts.frame`); None
    for models that have no such answer, and where the axes do not ask for it."""
    logits: Tensor | None = None
    """[P, h, w] of the picked candidates, where the axes feed them back with the next click; None elsewhere."""


class Predictor(Protocol):
    """Something that is shown an image and then answers prompts about it."""

    name: str
    sees_truth: bool
    """Whether answers depend on the truths: those of the ceiling and of the oracle pick."""

    def set_image(self, image: np.ndarray) -> None:
        """Take in an image, uint8 [H, W, 3] RGB."""

    def predict(self, prompts: Prompts, truths: np.ndarray | None) -> Prediction:
        """Answer P prompts; `truths` bool [P, H, W] may be None for answerers that do not look at them."""


def predictor_of(model: Any, axes: Axes) -> Predictor:
    """Return what answers prompts about images: a segmenter under the axes, a bound, or what is a predictor already."""
    if hasattr(model, "segment"):
        return ModelPredictor(model, axes)
    if isinstance(model, Bound):
        model.has_cells = axes.click_frame == "low_resolution"
    return model  # type: ignore[no-any-return]


class ModelPredictor:
    """A segmenter under the axes: which candidate is picked, refinement, precision."""

    def __init__(self, model: Segmenter, axes: Axes) -> None:
        self.model, self.axes, self.name = model, axes, model.name
        self.sees_truth = axes.mask_pick == "oracle"
        self._fed_back = axes.mask_prompt == "previous"
        self._has_cells = axes.click_frame == "low_resolution" and getattr(model, "padded", False)

    def set_image(self, image: np.ndarray) -> None:
        """Encode the image."""
        with self._precision():
            (self.embedding,) = self.model.embed([image])

    def predict(self, prompts: Prompts, truths: np.ndarray | None) -> Prediction:
        """Prediction prompts in groups of `PROMPTS_AT_ONCE`."""
        height, width = self.embedding.size
        groups = [slice(i, i + PROMPTS_AT_ONCE) for i in range(0, len(prompts), PROMPTS_AT_ONCE)]
        answers = [self._answer(prompts[group], None if truths is None else truths[group]) for group in groups]
        if not answers:
            return Prediction(np.zeros((0, height, width), bool), np.zeros(0, np.float32), np.zeros(0, np.int8))
        masks, predicted_iou, pick, cells, logits = zip(*answers, strict=True)
        low = np.concatenate(cells) if self._has_cells else None
        fed = torch.cat(logits) if self._fed_back else None
        return Prediction(joined(masks), np.concatenate(predicted_iou), np.concatenate(pick), low, fed)

    def _answer(self, prompts: Prompts, truths: np.ndarray | None) -> Prediction:
        size, multimask = self.embedding.size, self._multimask(prompts)
        with self._precision():
            for _ in range(1 + self.axes.refinement):
                logits, predicted_iou = self.model.segment(self.embedding, prompts, multimask=multimask)  # type: ignore[arg-type]
                logits, predicted_iou = logits.float(), predicted_iou.float()
                pick = self._pick(logits, predicted_iou, prompts, truths)
                rows = torch.arange(len(pick), device=logits.device)
                picked = logits[:, 0] if multimask == "best" else logits[rows, pick]  # [P, h, w]
                prompts = Prompts(prompts.points, prompts.labels, picked)
            masks = self.model.masks(picked[:, None], size)[:, 0]
        iou, chosen = torch.stack([predicted_iou[rows, pick], pick.float()]).cpu().numpy()  # one copy from a GPU
        cells = (picked > 0).cpu().numpy() if self._has_cells else None
        fed = picked if self._fed_back else None
        return Prediction(masks.cpu().numpy(), iou, chosen.astype(np.int8), cells, fed)

    def _rule(self, prompts: Prompts) -> str:
        """Return how a candidate is picked; clicks have no box and go by predicted IoU."""
        boxed = len(prompts) > 0 and prompts.labels[0, 0] == BOX_TOP_LEFT
        return self.axes.mask_pick if boxed or self.axes.mask_pick in ("oracle", "single") else "predicted_iou"

    def _multimask(self, prompts: Prompts) -> Multimask:
        """Return what to ask for: no more than the best candidate where the model picks as the axes do."""
        rule = self._rule(prompts)
        if rule == "predicted_iou" and getattr(self.model, "picks", False):
            return "best"
        return rule != "single"

    def _pick(self, logits: Tensor, predicted_iou: Tensor, prompts: Prompts, truths: np.ndarray | None) -> Tensor:
        """Return the index [P] of the candidate that counts."""
        rule = self._rule(prompts)
        if rule == "oracle":
            assert truths is not None
            masks = self.model.masks(logits, self.embedding.size).cpu().numpy()
            quality = np.stack([mask_iou(candidates, truth) for candidates, truth in zip(masks, truths, strict=True)])
        elif rule in ("box_iou", "filled_box_iou"):
            masks = self.model.masks(logits, self.embedding.size).cpu().numpy()
            boxes = prompts.points[:, :2].reshape(-1, 4)
            quality = _box_quality(masks, boxes, filled=rule == "filled_box_iou")
        else:
            return predicted_iou.argmax(dim=1)
        return torch.from_numpy(quality.argmax(axis=1)).to(logits.device)

    def _precision(self) -> torch.autocast:
        half = self.axes.precision == "bf16"
        return torch.autocast(self.model.device.type, dtype=torch.bfloat16, enabled=half)


def _box_quality(masks: np.ndarray, boxes: np.ndarray, *, filled: bool) -> np.ndarray:
    """Return [P, M]: IoU of each candidate bool [P, M, H, W] with its prompt's box, by pixels or by tight box."""
    size = masks.shape[2:]
    windows = np.stack([fill_box(box, size) for box in boxes])
    if not filled:
        masks = np.stack([[_fill_extent(mask) for mask in candidates] for candidates in masks])
    return np.stack([mask_iou(candidates, window) for candidates, window in zip(masks, windows, strict=True)])


def _fill_extent(mask: np.ndarray) -> np.ndarray:
    """Return the tight box of a mask, filled."""
    rows, columns = np.any(mask, axis=1, keepdims=True), np.any(mask, axis=0, keepdims=True)
    return _fill_between(rows[:, 0])[:, None] & _fill_between(columns[0])[None, :]


def _fill_between(mask: np.ndarray) -> np.ndarray:
    """Return a boolean row with everything between its first and last true filled."""
    return np.logical_or.accumulate(mask) & np.logical_or.accumulate(mask[::-1])[::-1]  # type: ignore[no-any-return]


def fill_box(box_xyxy: Sequence[float] | np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return bool [H, W], true at pixels whose centre lies in the box (xyxy, px)."""
    x0, y0, x1, y1 = (float(value) for value in box_xyxy)
    x, y = np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5
    return ((y > y0) & (y < y1))[:, None] & ((x > x0) & (x < x1))[None, :]


class Bound:
    """What answers without a model."""

    name: str
    checkpoint_sha256, custom = None, False
    sees_truth = False
    has_cells = False
    """Whether answers are wanted at low resolution too."""

    def set_image(self, image: np.ndarray) -> None:
        """Remember the size."""
        self.size = (image.shape[0], image.shape[1])

    def _certain(self, masks: np.ndarray) -> Prediction:
        """Return masks bool [P, H, W] as an answer that is sure of itself."""
        cells = None
        if self.has_cells:
            frame = Frame.of(self.size)
            each = [frame.cells(frame.enter(mask)) for mask in masks]
            cells = np.stack(each) if each else np.zeros((0, CELLS, CELLS), bool)
        return Prediction(masks, np.ones(len(masks), np.float32), np.zeros(len(masks), np.int8), cells)


class Floor(Bound):
    """What no model should fall below: the box filled, or a disc around each click."""

    name = "floor"

    def predict(self, prompts: Prompts, truths: np.ndarray | None) -> Prediction:
        """Fill."""
        masks = [
            fill_box(points.ravel()[:4], self.size) if labels[0] == BOX_TOP_LEFT else self._discs(points, labels)
            for points, labels in zip(prompts.points, prompts.labels, strict=True)
        ]
        return self._certain(stacked(masks) if masks else np.zeros((0, *self.size), bool))

    def _discs(self, points: np.ndarray, labels: np.ndarray) -> np.ndarray:
        y, x = np.mgrid[0 : self.size[0], 0 : self.size[1]]
        radius = DISC * min(self.size)
        near = [np.hypot(x - px, y - py) <= radius for px, py in points[labels == FOREGROUND]]
        return np.logical_or.reduce(near)  # type: ignore[no-any-return]


class Ceiling(Bound):
    """What no model of the family can pass: the truth, resized to the model's input and back."""

    name = "ceiling"
    sees_truth = True

    def __init__(self) -> None:
        self._last: tuple[np.ndarray, Prediction] | None = None

    def predict(self, prompts: Prompts, truths: np.ndarray | None) -> Prediction:
        """Resize the truth to the input's resolution and back, bilinear both ways, as masks are.

        The prompts do not matter, so that the same truths are resized once for all kinds of them.
        """
        assert truths is not None
        if self._last is None or self._last[0] is not truths:
            masks = [self._through(truth, Frame.of(self.size).inner) for truth in truths]
            self._last = truths, self._certain(stacked(masks) if masks else np.zeros((0, *self.size), bool))
        return self._last[1]

    def _through(self, truth: np.ndarray, inner: tuple[int, int]) -> np.ndarray:
        logits = torch.from_numpy(np.ascontiguousarray(truth)).float()[None, None] * 2 - 1
        there = F.interpolate(logits, inner, mode="bilinear", align_corners=False) > 0
        back = F.interpolate(there.float() * 2 - 1, self.size, mode="bilinear", align_corners=False)
        return (back[0, 0] > 0).numpy()  # type: ignore[no-any-return]


BOUNDS: dict[str, type[Floor] | type[Ceiling]] = {"floor": Floor, "ceiling": Ceiling}
