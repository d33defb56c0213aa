"""FastSAM (arXiv 2306.12156): every mask of an image in one YOLO pass, among which prompts choose.

The network is `ultralytics`' (AGPL-3.0, optional), as are the resizing of its input and the suppression of repeated
boxes; masks are made of what it says in models/fastsam/masks.py. How prompts choose re-implements `FastSAMPrompt` of
the published code (commit b4ed20c) for all prompts of an image at once; each gets an answer of its own, where the
published code drops repeated answers.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.cards import ModelCard
from models.errors import BenchError, UnsupportedPrompt
from models.fastsam.masks import in_image, masks_of, snapped
from models.fastsam.yolo import MICRO_SIZE, threads_unchanged, ultralytics
from models.files.trust import trusted_copy
from models.segmenter import (
    BACKGROUND,
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    FOREGROUND,
    PADDING,
    Embedding,
    Prompts,
    Segmentation,
)

CONFIDENCE, NMS_IOU, INPUT_SIZE, MAX_MASKS = 0.4, 0.9, 1024, 300
"""Of the everything-pass, as the published inference script sets them (300: the default of its YOLO)."""
_PIXELS_AT_ONCE = 1 << 20
"""Most pixels of summed-area tables held at once: 4 MiB in int32, which stay in the cache."""

Everything = Callable[[np.ndarray], np.ndarray]
"""Finds all masks, bool [N, H, W], of an image uint8 [H, W, 3] RGB."""


class FastSamSegmenter:
    """A `Segmenter` that chooses among the masks of one pass; its logits are +1 and -1 at image resolution.

    Args:
        everything: finds all masks of an image.
        name: of the model.
        device: where `everything` runs.
    """

    def __init__(self, everything: Everything, *, name: str, device: str = "cpu") -> None:
        self.everything = everything
        self.name = name
        self._device = torch.device(device)

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return self._device

    @torch.inference_mode()
    def embed(self, images: Sequence[np.ndarray]) -> list[Embedding]:
        """Find all masks of images, uint8 [H, W, 3] RGB each, as features bool [N, H, W]."""
        return [
            Embedding(torch.from_numpy(self.everything(image)), (image.shape[0], image.shape[1])) for image in images
        ]

    @torch.inference_mode()
    def segment(self, embedding: Embedding, prompts: Prompts, *, multimask: bool = True) -> Segmentation:
        """Answer all prompts about one image with one mask each, empty where no mask was found.

        The predicted IoU of a box is the chosen mask's IoU with the filled box; points have none, so it is 1
        where a mask was chosen. There is one candidate a prompt, so `multimask` changes nothing.

        Raises:
            UnsupportedPrompt: for a mask prompt.
            BenchError: for a prompt of both a box and points.
        """
        if prompts.mask_logits is not None:
            raise UnsupportedPrompt(f"model '{self.name}' takes no mask prompt: set refinement passes to 0")
        boxed = np.asarray((prompts.labels >= BOX_TOP_LEFT).any(1))  # [P]
        clicked = np.asarray(np.isin(prompts.labels, (BACKGROUND, FOREGROUND)).any(1))  # [P]
        if (boxed & clicked).any():
            raise BenchError(f"model '{self.name}' takes a box or points, not both in one prompt: ask for one of them")
        found = embedding.features.numpy()
        answers = np.zeros((len(prompts), *embedding.size), dtype=bool)
        ious = np.zeros(len(prompts))
        if len(found) and boxed.any():
            index, ious[boxed] = choose_by_box(found, _corners(prompts[boxed]))
            answers[boxed] = found[index]
        if len(found) and clicked.any():
            chosen = prompts[clicked]
            answers[clicked] = choose_by_points(found, chosen.points, chosen.labels)
            ious[clicked] = answers[clicked].any((1, 2))
        logits = torch.from_numpy(answers)[:, None].float() * 2 - 1
        return Segmentation(logits, torch.from_numpy(ious)[:, None].float())

    @torch.inference_mode()
    def masks(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Turn logits [P, M, H, W] into masks bool [P, M, H, W]; `size` must be theirs."""
        if tuple(logits.shape[2:]) != tuple(size):
            raise BenchError(
                f"model '{self.name}' answers at the size of its image {list(logits.shape[2:])}, "
                f"not {list(size)}: ask for masks of that size"
            )
        return logits > 0


def choose_by_box(masks: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choose for each box the mask whose IoU with the filled box is largest, the first of equals.

    Args:
        masks: bool [N, H, W], N at least 1.
        boxes: [P, 4] xyxy, px; rounded (halves to even) and clipped to the image, as in the published code.

    Returns:
        Index int64 [P] of the mask, and its IoU float64 [P]; 0 where box and mask are both empty.
    """
    height, width = masks.shape[1:]
    limits = np.array([width, height, width, height])
    x1, y1, x2, y2 = np.clip(np.round(boxes), 0, limits).astype(np.int64).T  # [P] each
    x2, y2 = np.maximum(x1, x2), np.maximum(y1, y2)
    inside = np.concatenate(
        [table[:, y2, x2] - table[:, y1, x2] - table[:, y2, x1] + table[:, y1, x1] for table in _summed_areas(masks)]
    )  # [N, P]
    areas = np.count_nonzero(masks, axis=(1, 2))[:, None]
    union = (x2 - x1) * (y2 - y1) + areas - inside
    iou = inside / np.maximum(union, 1)
    index = iou.argmax(0)
    return index, iou[index, np.arange(len(boxes))]


def choose_by_points(masks: np.ndarray, points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Paint for each prompt the masks that contain its points, the largest first.

    A mask is painted if it contains a foreground point and erased if it contains a background point; of
    several points in a mask the last one counts. Several masks around one click therefore give their union.

    Args:
        masks: bool [N, H, W].
        points: [P, K, 2] (x, y), px; cut to whole pixels inside the image.
        labels: [P, K] 1 foreground, 0 background, else no click.

    Returns:
        Masks bool [P, H, W].
    """
    height, width = masks.shape[1:]
    x = np.clip(points[..., 0].astype(np.int64), 0, width - 1)
    y = np.clip(points[..., 1].astype(np.int64), 0, height - 1)
    painted = np.zeros((len(points), height, width), dtype=bool)
    order = np.argsort(-np.count_nonzero(masks, axis=(1, 2)), kind="stable")
    for mask in masks[order]:
        verdict = np.full(len(points), PADDING)
        for point in range(points.shape[1]):
            counts = mask[y[:, point], x[:, point]] & (labels[:, point] >= BACKGROUND)
            verdict = np.where(counts, labels[:, point], verdict)
        painted[verdict == FOREGROUND] |= mask
        painted[verdict == BACKGROUND] &= ~mask
    return painted


def load_fastsam(
    checkpoint: Path | None, device: str, *, card: ModelCard, trusted: Collection[str] = ()
) -> FastSamSegmenter:
    """Make a FastSAM from a checkpoint of `ultralytics`, whose reading runs code.

    Args:
        checkpoint: read if its hash is the card's or is trusted.
        device: as torch names it.
        card: of the model.
        trusted: sha256 of files that the user vouches for.

    Raises:
        BenchError: if `ultralytics` is not installed or cannot read the file, or the file is not trusted.
    """
    package = ultralytics("ultralytics")
    if checkpoint is None:
        raise BenchError(f"'{card.name}' needs a checkpoint: run `bench weights fetch {card.name}`")
    with trusted_copy(checkpoint, card, trusted) as copy:
        try:
            network = package.FastSAM(str(copy)).model
        except (RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
            reason = str(error).partition("\n")[0].replace(str(copy), str(checkpoint))
            raise BenchError(
                f"'{checkpoint}' is not a checkpoint of FastSAM ({reason}): run `bench weights fetch {card.name}`"
            ) from error
    return _segmenter(network, "fastsam", device, INPUT_SIZE)


def micro_segmenter(network: nn.Module, *, name: str) -> FastSamSegmenter:
    """Make the segmenter around a micro network, where its weights are."""
    return _segmenter(network, name, str(next(network.parameters()).device), MICRO_SIZE)


def _segmenter(network: nn.Module, name: str, device: str, size: int) -> FastSamSegmenter:
    """Make a segmenter whose everything-pass sees images with their longer side at `size`, px."""
    settings = {
        "mode": "predict",
        "task": "segment",
        "device": device,
        "rect": True,
        "imgsz": size,
        "conf": CONFIDENCE,
        "iou": NMS_IOU,
        "max_det": MAX_MASKS,
        "save": False,
        "verbose": False,
    }
    predictor = _predictor_class()(overrides=settings)
    with threads_unchanged():
        predictor.setup_model(network, verbose=False)
    return FastSamSegmenter(functools.partial(_everything, predictor), name=name, device=device)


def _predictor_class() -> Any:
    """Return `ultralytics`' predictor of masks, but with those of FastSAM's authors, at the image's own size."""
    results = ultralytics("ultralytics.engine.results")

    class Predictor(ultralytics("ultralytics.models.yolo.segment").SegmentationPredictor):  # type: ignore[misc]
        """Runs the network on one image and keeps the best of boxes that repeat each other."""

        def construct_result(
            self, pred: Tensor, img: Tensor, orig_img: np.ndarray, img_path: str, proto: Tensor
        ) -> Any:
            """Return boxes and masks of `pred` [N, 6 + C]: xyxy in px of `img`, score, class, coefficients."""
            seen, size = (int(img.shape[2]), int(img.shape[3])), (orig_img.shape[0], orig_img.shape[1])
            boxes = in_image(snapped(pred[:, :4], seen), seen, size)
            masks = masks_of(boxes, pred[:, 6:], proto, size)
            found = torch.cat([boxes, pred[:, 4:6]], dim=1)
            return results.Results(orig_img, path=img_path, names=self.model.names, boxes=found, masks=masks)

    return Predictor


def _everything(predictor: Any, image: np.ndarray) -> np.ndarray:
    """Run the everything-pass of `ultralytics`, which takes BGR."""
    (result,) = predictor(np.ascontiguousarray(image[..., ::-1]))
    return np.asarray(result.masks.data.cpu().numpy())


def _corners(prompts: Prompts) -> np.ndarray:
    """Return the boxes [P, 4] xyxy of prompts that each hold two corners somewhere."""
    rows = np.arange(len(prompts))
    first, second = ((prompts.labels == label).argmax(1) for label in (BOX_TOP_LEFT, BOX_BOTTOM_RIGHT))
    return np.concatenate([prompts.points[rows, first], prompts.points[rows, second]], axis=1)


def _summed_areas(masks: np.ndarray) -> Iterator[np.ndarray]:
    """Yield summed-area tables int32 [n, H + 1, W + 1] of a few masks at a time."""
    _, height, width = masks.shape
    step = max(1, _PIXELS_AT_ONCE // (height * width))
    for start in range(0, len(masks), step):
        part = masks[start : start + step]
        table = np.zeros((len(part), height + 1, width + 1), dtype=np.int32)
        np.cumsum(part, axis=1, dtype=np.int32, out=table[:, 1:, 1:])
        np.cumsum(table[:, 1:, 1:], axis=2, out=table[:, 1:, 1:])
        yield table
