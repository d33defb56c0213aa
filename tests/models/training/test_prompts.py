"""Prompts drawn for training lie where SAM's appendix says, and come from their generator alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.data import tight_box_xyxy
from models.segmenter import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, FOREGROUND
from models.training.prompts import BOX_NOISE, MOST_BOX_NOISE, noisy_boxes, random_clicks

SIDE = 64
Draw = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@st.composite
def some_masks(draw: st.DrawFn) -> Tensor:
    """Masks bool [B, P, SIDE, SIDE], each the union of two rectangles, possibly of one pixel."""
    batch, prompts = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    masks = torch.zeros(batch, prompts, SIDE, SIDE, dtype=torch.bool)
    for mask in masks.flatten(0, 1):
        for _ in range(2):
            x, y = draw(st.integers(0, SIDE - 1)), draw(st.integers(0, SIDE - 1))
            mask[y : y + draw(st.integers(1, SIDE)), x : x + draw(st.integers(1, SIDE))] = True
    return masks


@settings(deadline=None)
@given(some_masks(), st.integers(0, 2**31))
def test_noisy_boxes_stay_in_the_image_and_near_the_tight_box(masks: Tensor, seed: int) -> None:
    points, labels = noisy_boxes(masks, seeded(seed))
    assert points.shape == (*masks.shape[:2], 2, 2)
    assert labels.tolist() == torch.tensor([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]).expand(*masks.shape[:2], 2).tolist()
    assert ((points >= 0) & (points <= SIDE)).all()
    for corners, mask in zip(points.flatten(0, 1), masks.flatten(0, 1), strict=True):
        tight = torch.tensor(tight_box_xyxy(mask.numpy())).reshape(2, 2)
        assert (corners - tight).abs().max() <= MOST_BOX_NOISE * SIDE + 1e-5


def test_the_noise_of_a_small_box_is_a_tenth_of_its_sides() -> None:
    masks = torch.zeros(1, 2000, SIDE, SIDE, dtype=torch.bool)
    masks[:, :, 20:22, 10:14] = True  # 4 x 2 px, so that the cap of 1.25 px is never near
    points, _ = noisy_boxes(masks, seeded(0))
    offsets = points - torch.tensor([[10.0, 20.0], [14.0, 22.0]])
    assert offsets.mean().abs() < 0.02
    assert offsets[..., 0].std() == pytest.approx(4 * BOX_NOISE, rel=0.1)
    assert offsets[..., 1].std() == pytest.approx(2 * BOX_NOISE, rel=0.1)


@settings(deadline=None)
@given(some_masks(), st.integers(1, 4), st.integers(0, 2**31))
def test_random_clicks_lie_in_their_mask(masks: Tensor, count: int, seed: int) -> None:
    points, labels = random_clicks(masks, count, seeded(seed))
    assert points.shape == (*masks.shape[:2], count, 2)
    assert labels.shape == points.shape[:3]
    assert (labels == FOREGROUND).all()
    for clicks, mask in zip(points.flatten(0, 1).long(), masks.flatten(0, 1), strict=True):
        assert mask[clicks[:, 1], clicks[:, 0]].all()


def test_random_clicks_fall_on_every_pixel_alike() -> None:
    masks = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.bool)
    masks[0, 0, 5, 7:11] = True
    points, _ = random_clicks(masks, 4000, seeded(0))
    counts = torch.bincount(points[0, 0, :, 0].long(), minlength=11)[7:]
    assert counts.tolist() == pytest.approx([1000] * 4, rel=0.1)


@pytest.mark.parametrize("draw", [noisy_boxes, lambda masks, generator: random_clicks(masks, 3, generator)])
def test_prompts_come_from_their_generator_alone(draw: Draw) -> None:
    masks = torch.ones(2, 3, SIDE, SIDE, dtype=torch.bool)
    first, _ = draw(masks, seeded(7))
    torch.manual_seed(5)
    second, _ = draw(masks, seeded(7))
    other, _ = draw(masks, seeded(8))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
