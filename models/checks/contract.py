"""The contract of `models.segmenter.Segmenter`: what its methods take and return, of which shape, type and range."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from models.checks.asking import answer, ground, shown, spread_boxes
from models.checks.verdict import Verdict, ok, undecided, wrong
from models.errors import UnsupportedPrompt
from models.segmenter import BACKGROUND, FOREGROUND, Embedding, Prompts, Segmenter

SIZE = (120, 200)
"""(height, width) of the image, px: no square, so that swapped sizes show."""
PROMPTS = 3
OVERSHOOT = 0.25
"""How far a predicted IoU may lie outside 0..1: it is a regression's answer, and SAM's has no bound."""


def contract(model: Any) -> Verdict:
    """Check the methods, and what `embed` and `segment` return."""
    if missing := [name for name in ("name", "device", "embed", "segment", "masks") if not hasattr(model, name)]:
        return wrong(f"it has no {', no '.join(missing)}: see Segmenter in models/segmenter.py")
    image = ground(SIZE)
    before = image.copy()
    embeddings = model.embed([image, image])
    problem = _of_embeddings(embeddings) or _of_image(image, before) or _of_segmentations(model, embeddings[0])
    return wrong(problem) if problem else ok("embed, segment and masks take and return what the tables expect")


def _of_embeddings(embeddings: Any) -> str:
    if not isinstance(embeddings, list) or len(embeddings) != 2:
        return f"embed of two images returned {_what(embeddings)}: it must be a list of two embeddings"
    sizes = [getattr(one, "size", None) for one in embeddings]
    if sizes[0] == SIZE[::-1]:
        return f"an embedding's size is {sizes[0]}, that is (width, height): it must be (height, width), {SIZE}"
    if any(size is None or tuple(size) != SIZE for size in sizes):
        return f"an embedding's size is {sizes[0]}: it must be (height, width) of the original image, {SIZE}"
    return ""


def _of_image(image: np.ndarray, before: np.ndarray) -> str:
    return "" if np.array_equal(image, before) else "embed changes the image it is given: work on a copy"


def _of_segmentations(model: Segmenter, embedding: Embedding) -> str:
    boxes = Prompts.from_boxes(spread_boxes(SIZE, PROMPTS))
    for prompts, multimask in ((boxes, True), (boxes, False), (boxes[:0], True)):
        how = f"segment of {len(prompts)} boxes with multimask={multimask}"
        logits, predicted_iou = model.segment(embedding, prompts, multimask=multimask)
        if logits.ndim != 4 or len(logits) != len(prompts) or not logits.is_floating_point():
            return f"{how} returned logits {_what(logits)}: they must be floats [{len(prompts)}, M, h, w]"
        if predicted_iou.shape != logits.shape[:2]:
            return f"{how} returned predicted IoU {_what(predicted_iou)}: it must be {list(logits.shape[:2])}"
        if not multimask and logits.shape[1] != 1:
            return f"{how} returned {logits.shape[1]} masks a prompt: it must be one"
        if not (torch.isfinite(logits).all() and torch.isfinite(predicted_iou).all()):
            return f"{how} returned NaN or infinity: are the weights damaged, or of another model?"
    return ""


def masks(model: Segmenter) -> Verdict:
    """Check that masks are bool and of the image's size."""
    embedding = shown(model, ground(SIZE))
    logits, _ = model.segment(embedding, Prompts.from_boxes(spread_boxes(SIZE, PROMPTS)))
    found = model.masks(logits, SIZE)
    expected = (*logits.shape[:2], *SIZE)
    if found.shape == (*logits.shape[:2], *SIZE[::-1]):
        return wrong(f"masks are {list(found.shape)}: width and height are swapped, they must be [P, M, H, W]")
    if found.shape != expected:
        likely = "are they still at the network's resolution? " if found.shape == logits.shape else ""
        return wrong(f"masks are {list(found.shape)}: {likely}they must be {list(expected)}, the image's own size")
    if found.dtype != torch.bool:
        return wrong(f"masks are {found.dtype}: they must be bool, logits compared with the threshold")
    return ok("bool, at the image's own size")


def predicted_iou(model: Segmenter) -> Verdict:
    """Check the range of the predicted IoU, by which tables pick one of the candidates."""
    found = answer(model, shown(model, ground(SIZE)), Prompts.from_boxes(spread_boxes(SIZE, 8))).predicted_iou
    low, high = float(found.min()), float(found.max())
    values = {"lowest": low, "highest": high}
    seen = f"from {low:.2f} to {high:.2f}"
    if low < -OVERSHOOT:
        return wrong(f"{seen}: it must be in 0..1, is a sigmoid missing?", **values)
    if high > 1 + OVERSHOOT:
        likely = "is it in percent?" if 20 < high <= 100 * (1 + OVERSHOOT) else "is a sigmoid missing?"
        return wrong(f"{seen}: it must be in 0..1, {likely}", **values)
    same = found.shape[1] > 1 and bool((np.ptp(found, 1) == 0).all())
    return ok(f"{seen}{'; the same for all candidates, so that tables take the first' if same else ''}", **values)


def prompts_taken(model: Segmenter) -> Verdict:
    """Say which prompts the model takes. A refusal must be an UnsupportedPrompt: any other error ends a table's run."""
    embedding = shown(model, ground(SIZE))
    height, width = SIZE
    points = np.array([[[width * 0.3, height * 0.4]], [[width * 0.6, height * 0.7]]], np.float32)  # [2, 1, 2]
    three = np.repeat(points, 3, 1) + np.arange(3)[:, None] * 5  # [2, 3, 2]
    clicked = Prompts(points, np.full((2, 1), FOREGROUND))
    kinds: dict[str, Callable[[], Prompts]] = {
        "boxes": lambda: Prompts.from_boxes(spread_boxes(SIZE, 2)),
        "clicks": lambda: clicked,
        "several clicks": lambda: Prompts(three, np.full((2, 3), FOREGROUND)),
        "background clicks": lambda: Prompts(three, np.tile([FOREGROUND, BACKGROUND, BACKGROUND], (2, 1))),
        # Asked right before, as tables do: some models know their last answer alone.
        "earlier masks": lambda: Prompts(points, clicked.labels, model.segment(embedding, clicked).logits[:, 0]),
    }
    refused: list[str] = []
    for name, prompts in kinds.items():
        try:
            model.segment(embedding, prompts())
        except UnsupportedPrompt:
            refused.append(name)
        except Exception as error:  # other people's code: anything may come out of it
            return wrong(f"{name} end in {type(error).__name__}, not in an UnsupportedPrompt: {error}")
    taken = [name for name in kinds if name not in refused]
    if not taken:
        return undecided("it refuses boxes and clicks")
    return ok(", ".join(taken) + (f"; not: {', '.join(refused)}" if refused else ""))


def _what(value: Any) -> str:
    """Return the type, and of a tensor or a list the shape, in words."""
    if hasattr(value, "shape"):
        return f"{getattr(value, 'dtype', type(value).__name__)} {list(value.shape)}"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if hasattr(value, "__len__") else "")
