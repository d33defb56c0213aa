"""Masks by matrix products are those of torch's kernels, but for pixels whose logit is a rounding away from 0."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from models import upscaling
from models.upscaling import Resize, axis, upscaled_masks

SIZES = st.tuples(st.integers(1, 150), st.integers(1, 150))


def logits_of(count: int, size: tuple[int, int], seed: int) -> Tensor:
    return torch.randn(count, *size, generator=torch.Generator().manual_seed(seed))


def differing(masks: Tensor, plain: Tensor) -> tuple[int, float]:
    """Return how many pixels differ, and the largest plain logit among them."""
    wrong = masks != (plain >= 0)
    return int(wrong.sum()), float(plain[wrong].abs().max()) if wrong.any() else 0.0


def test_examples_in_docstrings_are_true() -> None:
    assert doctest.testmod(upscaling).failed == 0


@settings(max_examples=40, deadline=None)
@given(SIZES, SIZES, st.integers(0, 99))
def test_one_bicubic_step_is_that_of_torch(low: tuple[int, int], size: tuple[int, int], seed: int) -> None:
    logits = logits_of(3, low, seed)
    plain = F.interpolate(logits[:, None], size, mode="bicubic", align_corners=False)[:, 0]
    rows, columns = (axis(a, (Resize(a, b),), "bicubic") for a, b in zip(low, size, strict=True))
    masks = upscaled_masks(logits, rows, columns, ties=True)
    assert masks.shape == (3, *size)
    assert differing(masks, plain)[1] < 1e-4


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 40), st.integers(1, 160), st.integers(1, 160), SIZES, st.integers(0, 99))
def test_upscaling_cropping_and_resizing_in_turn_are_one_step(
    low: int, kept_rows: int, kept_columns: int, size: tuple[int, int], seed: int
) -> None:
    """SAM's: 256 to 1024, the part that holds the image, to the image."""
    side, kept = 4 * low, (min(kept_rows, 4 * low), min(kept_columns, 4 * low))
    logits = logits_of(2, (low, low), seed)
    inner = F.interpolate(logits[:, None], (side, side), mode="bilinear", align_corners=False)
    plain = F.interpolate(inner[..., : kept[0], : kept[1]], size, mode="bilinear", align_corners=False)[:, 0]
    rows, columns = (
        axis(low, (Resize(low, side), Resize(part, end)), "bilinear") for part, end in zip(kept, size, strict=True)
    )
    assert differing(upscaled_masks(logits, rows, columns, ties=True), plain)[1] < 1e-4


def test_at_full_size_fewer_than_one_pixel_in_ten_thousand_differs() -> None:
    smooth = F.interpolate(logits_of(8, (16, 16), 0)[:, None], (256, 256), mode="bicubic")[:, 0]
    logits = smooth + 0.1 * logits_of(8, (256, 256), 1)
    plain = F.interpolate(logits[:, None], (480, 640), mode="bicubic", align_corners=False)[:, 0]
    rows, columns = (axis(256, (Resize(256, size),), "bicubic") for size in (480, 640))
    count, largest = differing(upscaled_masks(logits, rows, columns, ties=True), plain)
    assert count < 1e-4 * plain.numel()
    assert largest < 1e-5


@pytest.mark.parametrize(("ties", "inside"), [(True, 1), (False, 0)])
def test_whether_a_tie_belongs_to_the_mask_is_the_model_s_choice(ties: bool, inside: int) -> None:
    bands = axis(4, (Resize(4, 9),), "bilinear")
    assert upscaled_masks(torch.zeros(1, 4, 4), bands, bands, ties=ties).all() == inside


def test_mixed_precision_around_it_changes_nothing() -> None:
    logits, bands = logits_of(2, (32, 32), 3), axis(32, (Resize(32, 70),), "bicubic")
    plain = upscaled_masks(logits, bands, bands, ties=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(upscaled_masks(logits, bands, bands, ties=True), plain)


def test_chunks_do_not_change_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, rows, columns = logits_of(5, (16, 16), 2), *(axis(16, (Resize(16, n),), "bicubic") for n in (70, 90))
    whole = upscaled_masks(logits, rows, columns, ties=True)
    monkeypatch.setattr(upscaling, "_LOGITS_AT_ONCE", 1)
    assert torch.equal(upscaled_masks(logits, rows, columns, ties=True), whole)


def test_masks_lie_in_memory_in_the_order_of_run_lengths() -> None:
    bands = axis(16, (Resize(16, 70),), "bicubic")
    masks = upscaled_masks(logits_of(3, (16, 16), 2), bands, bands, ties=True)
    assert np.isfortran(masks.numpy().transpose(1, 2, 0))
