"""Images of every size, and what an image and a prompt cost in time and memory."""

from __future__ import annotations

import numpy as np
import torch

from models import speed
from models.annotations import encode_all
from models.checks.asking import answer, ground, shown, spread_boxes
from models.checks.verdict import Verdict, ok, wrong
from models.segmenter import Prompts, Segmenter

SIZES = ((1, 1), (1, 97), (97, 1), (37, 53), (3000, 4000))
"""(height, width), px."""
PHOTO = (480, 640)
"""(height, width) of a usual photo of COCO, px."""
FEW, MANY = 1, 33
"""Prompts whose memory is compared."""
AT_ONCE = 16
"""Prompts a call, as tables ask them."""
CALLS = 3
"""Timed calls of each."""


def sizes(model: Segmenter) -> Verdict:
    """Check that images of any size are answered, with masks of their size."""
    for height, width in SIZES:
        what = f"an image of {width} x {height} px"
        box = np.array([[width / 4, height / 4, width * 3 / 4, height * 3 / 4]], np.float32)
        try:
            found = answer(model, shown(model, ground((height, width))), Prompts.from_boxes(box))
        except Exception as error:  # other people's code: anything may come out of it
            return wrong(f"{what} is refused ({type(error).__name__}: {error})")
        if found.masks.shape[2:] != (height, width):
            return wrong(
                f"{what} is answered with masks {list(found.masks.shape[2:])}: they must be [H, W] of the image"
            )
        if not (np.isfinite(found.logits).all() and np.isfinite(found.predicted_iou).all()):
            return wrong(f"{what} is answered with NaN or infinity: is something divided by a size of 0?")
    return ok("from 1 x 1 to 4000 x 3000 px, masks are of the image's size")


def memory(model: Segmenter) -> Verdict:
    """Measure the memory that each further prompt of a call takes, masks at the size of a photo included."""
    with torch.inference_mode():
        embedding, boxes = shown(model, ground(PHOTO)), spread_boxes(PHOTO, MANY)
        peaks = [_peak(model, embedding, boxes[:count]) for count in (FEW, FEW, MANY)][1:]  # the first warms up
    if not peaks[0]:
        return ok("this system does not tell how much memory is used")
    each = max(0, peaks[1] - peaks[0]) / (MANY - FEW)
    of = "of the GPU" if model.device.type == "cuda" else "of the process"
    return ok(
        f"{each / 2**20:.1f} MiB a prompt of a photo of {PHOTO[1]} x {PHOTO[0]} px; {peaks[1] / 2**30:.2f} GiB {of} "
        f"with {MANY} prompts",
        mib_a_prompt=each / 2**20,
        gib_in_all=peaks[1] / 2**30,
    )


def _peak(model: Segmenter, embedding: object, boxes: np.ndarray) -> int:
    speed.forget_peak(model.device)
    model.masks(model.segment(embedding, Prompts.from_boxes(boxes)).logits, PHOTO)  # type: ignore[arg-type]
    return speed.peak(model.device)


def time(model: Segmenter) -> Verdict:
    """Measure the seconds of encoding an image, and of a prompt: decoding, the picked mask, its run lengths."""
    photo, prompts = ground(PHOTO), Prompts.from_boxes(spread_boxes(PHOTO, AT_ONCE))
    with torch.inference_mode():
        embedding = shown(model, photo)

        def ask() -> None:
            logits, predicted_iou = model.segment(embedding, prompts)
            picked = logits[torch.arange(len(logits), device=logits.device), predicted_iou.argmax(1)][
                :, None
            ]  # [P, 1, h, w]
            encode_all(model.masks(picked, PHOTO)[:, 0].cpu().numpy())

        image, call = (
            float(np.median([speed.once(part, model.device) for _ in range(CALLS)]))
            for part in (lambda: model.embed([photo]), ask)
        )
    return ok(
        f"{_seconds(image)} an image, {_seconds(call / AT_ONCE)} a prompt ({model.device}, "
        f"{torch.get_num_threads()} CPU threads)",
        seconds_an_image=image,
        seconds_a_prompt=call / AT_ONCE,
    )


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.1f} ms"
