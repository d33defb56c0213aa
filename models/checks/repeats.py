"""Whether an answer depends on what it must not: chance, other prompts of the call, images seen before or beside."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.checks.asking import Answer, answer, shown, spread_boxes, with_rectangles
from models.checks.verdict import Verdict, ok, wrong
from models.segmenter import Prompts, Segmenter

SIZE = (150, 220)
"""(height, width), px."""
RECTANGLES = ((20, 30, 90, 100), (120, 60, 200, 130))
PROMPTS = 17
"""Asked together: more than decoders usually take at once."""
PIXELS = 1e-4
"""Share of a mask's pixels that float rounding may turn."""
IOU = 1e-3
"""How far it may move a predicted IoU."""


def determinism(model: Any) -> Verdict:
    """Check that the same image and prompts get the same answer."""
    image, prompts = _image(), _prompts()
    first, second = (answer(model, shown(model, image), prompts) for _ in range(2))
    if all(np.array_equal(a, b) for a, b in zip(first, second, strict=True)):
        return ok("the same answer twice, to the bit")
    told = _difference(first, second)
    if told is None:
        return ok("the same answer twice but for float rounding")
    training = getattr(getattr(model, "network", model), "training", False) is True
    likely = "the network is in training mode, call eval()" if training else "is something drawn at random, or kept?"
    return wrong(f"two answers to the same prompts differ ({told}): {likely}")


def prompts_together(model: Segmenter) -> Verdict:
    """Check that prompts asked together get the answers of prompts asked alone, in any order."""
    embedding, prompts = shown(model, _image()), _prompts()
    together = answer(model, embedding, prompts)
    alone = _joined([answer(model, embedding, prompts[index : index + 1]) for index in range(len(prompts))])
    if told := _difference(together, alone):
        return wrong(
            f"{len(prompts)} prompts asked together differ from the same asked alone ({told}): "
            "does one prompt of a call see another?"
        )
    backwards = answer(model, embedding, prompts[np.arange(len(prompts))[::-1]])
    if told := _difference(together, Answer(*(part[::-1] for part in backwards))):
        return wrong(f"the order of prompts changes answers ({told}): is the answer to one kept for the next?")
    return ok(f"{len(prompts)} prompts asked together, alone and backwards get the same masks")


def images_apart(model: Segmenter) -> Verdict:
    """Check that an embedding stands for its own image, whatever else the model was shown."""
    image, prompts = _image(), _prompts()
    other = with_rectangles((90, 260), ((150, 10, 240, 70),), seed=7)
    alone = answer(model, shown(model, image), prompts)
    kept = shown(model, image)
    shown(model, other)
    if told := _difference(alone, answer(model, kept, prompts)):
        return wrong(f"answers are about the image seen last ({told}): keep in the embedding all that belongs to it")
    _, beside = model.embed([other, image])
    if told := _difference(alone, answer(model, beside, prompts)):
        return wrong(f"an image encoded beside another is answered differently ({told}): does one image see another?")
    return ok("answers about an image do not depend on others seen before or beside it")


def _image() -> np.ndarray:
    return with_rectangles(SIZE, RECTANGLES)


def _prompts() -> Prompts:
    return Prompts.from_boxes(np.concatenate([RECTANGLES, spread_boxes(SIZE, PROMPTS - len(RECTANGLES))]))


def _joined(parts: list[Answer]) -> Answer:
    return Answer(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _difference(first: Answer, second: Answer) -> str | None:
    """Say how two answers differ beyond float rounding, None if they do not."""
    if first.masks.shape != second.masks.shape:
        return f"masks {list(first.masks.shape)} and {list(second.masks.shape)}"
    pixels = float((first.masks != second.masks).mean((-2, -1)).max())
    iou = float(np.abs(first.predicted_iou - second.predicted_iou).max())
    if pixels > PIXELS:
        return f"{pixels:.2%} of a mask's pixels"
    return f"predicted IoU by {iou:.3f}" if not iou <= IOU else None
