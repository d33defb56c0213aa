"""Galleries of made-up instances, and what their files hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.annotations import encode
from protocols.results import ShownAnswer, ShownInstance, ShownPhoto
from reports.gallery import PHOTOS, Head

HOSTILE = (
    "</script><script>window.struck = 1</script>",
    "<img src=x onerror='window.struck = 1'>",
    "\"');window.struck=1;//\u2028\x1b[31m",
    "אבג\u202egnp.exe",
    "long " * 2000,
)
HEIGHT, WIDTH = 40, 60
PIECE = re.compile(r'piece\("(\w+)",(\d+),(.*)\);\n', re.DOTALL)


@cache
def square(x: int, y: int, side: int) -> str:
    """Return the run lengths of a square in a photo of `HEIGHT` x `WIDTH`."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + side, x : x + side] = True
    return encode(mask)["counts"]


def head(sides: int = 1, categories: tuple[str, ...] = ("cat", "dog")) -> Head:
    return Head(
        title="model: table4 on COCO",
        sides=tuple(f"model {k}" for k in range(sides)),
        estimate="predicted IoU",
        categories=dict(enumerate(categories)),
        facts=(("run", "model 0"),),
        notes=(),
        command="bench gallery model",
    )


def photos(count: int, each: int, *, sides: int = 1, categories: int = 2) -> Iterator[ShownPhoto]:
    """Yield photos of instances with random numbers, always the same."""
    draws = np.random.default_rng(0)
    for image_id in range(1, count + 1):
        ious = draws.random((each, sides, 2)).tolist()
        yield ShownPhoto(
            id=image_id, name=f"{image_id:012d}.jpg", height=HEIGHT, width=WIDTH, file=f"{image_id}.webp",
            instances=tuple(
                ShownInstance(
                    object_id=100 * image_id + k, category_id=k % categories, area=100.0,
                    size=("small", "large")[k % 2], prompt=("box", "1click")[k % 2], repeat=0,
                    points=((5.0, 6.0, 2), (20.0, 21.0, 3)),
                    truth=square(5, 6, 15),
                    answers=tuple(ShownAnswer(iou, predicted, square(5, 6 + k % 9, 10)) for iou, predicted in ious[k]),
                )
                for k in range(each)
            ),
        )  # fmt: skip


def write_photos(out: Path, count: int) -> None:
    """Write the pictures that `photos` names."""
    (out / PHOTOS).mkdir(parents=True, exist_ok=True)
    for image_id in range(1, count + 1):
        Image.new("RGB", (WIDTH, HEIGHT), (90, 90, 40 * image_id % 256)).save(out / PHOTOS / f"{image_id}.webp")


def pieces(out: Path) -> dict[str, list[Any]]:
    """Return what the scripts of a gallery say, by kind and in order."""
    found: dict[str, list[Any]] = {"head": [], "numbers": [], "masks": []}
    for path in sorted((out / "pieces").glob("*.js")):
        match = PIECE.fullmatch(path.read_text(encoding="ascii"))
        assert match is not None
        assert int(match[2]) == len(found[match[1]])
        found[match[1]].append(json.loads(match[3]))
    return found


def rows(out: Path) -> list[dict[str, Any]]:
    """Return the instances that a gallery holds, in order, numbers and masks together."""
    found = pieces(out)
    (whole,) = found["head"]
    numbers = [(one["shared"][row[0]], row[1:]) for one in found["numbers"] for row in one["rows"]]
    masks = [("" if row[0] < 0 else one["shared"][row[0]], *row[1:]) for one in found["masks"] for row in one["rows"]]
    assert len(numbers) == len(masks) == sum(whole["numbers"]) == sum(whole["masks"])
    return [
        {
            "image_id": photo[0], "name": photo[1], "annotation_id": row[0], "category_id": row[1],
            "size": whole["sizes"][row[3]], "prompt": whole["prompts"][row[4]], "repeat": row[5],
            "iou": row[6::2], "predicted_iou": row[7::2], "truth": truth, "counts": counts, "points": points,
        }
        for (photo, row), (truth, counts, points) in zip(numbers, masks, strict=True)
    ]  # fmt: skip
