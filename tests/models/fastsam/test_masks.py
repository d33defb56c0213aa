"""FastSAM's masks against its authors' steps, written down one box and one mask at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.fastsam import masks as fastsam_masks
from models.fastsam.masks import in_image, masks_of, snapped

CASES = [
    ((480, 640), (768, 1024)),
    ((640, 427), (1024, 704)),  # margins left and right
    ((31, 300), (128, 1024)),  # and above and below
    ((200, 200), (256, 256)),
    ((800, 600), (1024, 768)),
]
"""(height, width) of images, and of what the network sees of them."""


def random_boxes(generator: torch.Generator, seen: tuple[int, int], count: int = 40) -> Tensor:
    """Boxes on the input and some px beyond it, with sides on both sides of the 20 px and one that is almost whole."""
    height, width = seen
    low, high = torch.rand(2, count, 2, generator=generator).sort(0).values
    boxes = torch.cat([low, high], 1) * torch.tensor([width, height] * 2) * 1.06 - 0.03 * min(seen)
    boxes[:4, 0] = torch.tensor([19.99, 20.0, 20.01, -3.0])
    boxes[4:7, 3] = height - torch.tensor([20.01, 20.0, 19.99])
    boxes[7] = torch.tensor([21.0, 0.0, width - 3.0, height])
    return boxes


def published_boxes(boxes: Tensor, seen: tuple[int, int], size: tuple[int, int]) -> list[list[float]]:
    """Snap, replace what is nearly whole, scale, clip; boxes one by one, in float64."""
    (height, width), result = seen, []
    gain = min(seen[0] / size[0], seen[1] / size[1])
    margins = [round((width - size[1] * gain) / 2 - 0.1), round((height - size[0] * gain) / 2 - 0.1)]
    for x1, y1, x2, y2 in boxes.tolist():
        if x1 < 20:
            x1 = 0
        if y1 < 20:
            y1 = 0
        if x2 > width - 20:
            x2 = width
        if y2 > height - 20:
            y2 = height
        common = max(min(x2, width) - max(x1, 0), 0) * max(min(y2, height) - max(y1, 0), 0)
        if common / (width * height + (x2 - x1) * (y2 - y1) - common) > 0.9:
            x1, y1, x2, y2 = 0, 0, width, height
        sides = [(side - margins[i % 2]) / gain for i, side in enumerate((x1, y1, x2, y2))]
        result.append([min(max(side, 0), size[1 - i % 2]) for i, side in enumerate(sides)])
    return result


def published_logits(box: list[float], row: Tensor, prototypes: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Sum prototypes, cut the margins off, enlarge, and keep what is inside a box; -1 elsewhere."""
    logits = torch.einsum("c,chw->hw", row, prototypes)
    rows, columns = logits.shape
    gain = min(rows / size[0], columns / size[1])
    above, beside = (rows - size[0] * gain) / 2, (columns - size[1] * gain) / 2
    logits = logits[int(above) : int(rows - above), int(beside) : int(columns - beside)]
    large = F.interpolate(logits[None, None], size, mode="bilinear", align_corners=False)[0, 0].numpy()
    x, y = np.arange(size[1]), np.arange(size[0])
    inside = np.outer((y >= box[1]) & (y < box[3]), (x >= box[0]) & (x < box[2]))
    return np.where(inside, large, -1)


@pytest.mark.parametrize(("size", "seen"), CASES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_boxes_snap_to_the_border_and_masks_are_cropped_to_them_as_published(
    size: tuple[int, int], seen: tuple[int, int], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes = random_boxes(generator, seen)
    rows = torch.randn(len(boxes), 8, generator=generator).double()
    prototypes = torch.randn(8, seen[0] // 4, seen[1] // 4, generator=generator).float()
    wanted = published_boxes(boxes.double(), seen, size)
    ours = in_image(snapped(boxes.double(), seen), seen, size)
    torch.testing.assert_close(ours, torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-9)
    masks = masks_of(ours, rows.float(), prototypes, size).numpy()
    for box, row, mask in zip(ours.tolist(), rows, masks, strict=True):
        alone = published_logits(box, row, prototypes.double(), size)
        clear = np.abs(alone) > UNCLEAR
        np.testing.assert_array_equal(mask[clear], alone[clear] > 0)


UNCLEAR = 1e-4
"""Logits nearer to zero than this, of prototypes around 1, may have another sign in float32 than in float64."""


def test_an_object_at_the_border_keeps_what_its_box_missed() -> None:
    everywhere = torch.ones(1, 16, 16)
    box = torch.tensor([[12.0, 30.0, 40.0, 50.0]])
    (mask,) = masks_of(in_image(snapped(box, (64, 64)), (64, 64), (64, 64)), torch.ones(1, 1), everywhere, (64, 64))
    assert mask.nonzero().min(0).values.tolist() == [30, 0]
    assert mask.nonzero().max(0).values.tolist() == [63, 39]  # 50 is within 20 px of 64, 40 is not


def test_several_boxes_that_are_almost_whole_all_become_whole() -> None:
    boxes = torch.tensor([[22.0, 0, 640, 640], [0, 22.0, 640, 640], [0, 100.0, 640, 640]])
    assert snapped(boxes, (640, 640)).tolist() == [[0, 0, 640, 640]] * 2 + [[0, 100, 640, 640]]


def test_boxes_given_are_not_changed() -> None:
    boxes = torch.tensor([[5.0, 5.0, 630.0, 630.0]])
    in_image(snapped(boxes, (640, 640)), (640, 640), (320, 320))
    assert boxes.tolist() == [[5, 5, 630, 630]]


def test_the_budget_of_memory_changes_no_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    boxes, rows = random_boxes(generator, (128, 160)), torch.randn(40, 8, generator=generator)
    prototypes = torch.randn(8, 32, 40, generator=generator)
    whole = masks_of(boxes, rows, prototypes, (256, 320))
    monkeypatch.setattr(fastsam_masks, "_PIXELS_AT_ONCE", 1)
    assert torch.equal(masks_of(boxes, rows, prototypes, (256, 320)), whole)


def test_without_boxes_there_are_no_masks() -> None:
    none = torch.zeros(0, 4)
    assert in_image(snapped(none, (64, 64)), (64, 64), (48, 64)).shape == (0, 4)
    assert masks_of(none, torch.zeros(0, 8), torch.zeros(8, 16, 16), (48, 64)).shape == (0, 48, 64)
