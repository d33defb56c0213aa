"""The losses are the formulas of their papers, and only the best candidate's mask loss flows back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from bench.metrics.iou import mask_iou as exact_mask_iou
from models.training.losses import FOCAL_TO_DICE, best_of_candidates_loss, dice_loss, focal_loss, mask_iou


def random(*shape: int, seed: int = 0) -> Tensor:
    """Return float64 normal deviates, so that formulas can be compared closely."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def masks(*shape: int, seed: int = 1) -> Tensor:
    """Return targets of hard 0 and 1."""
    return (random(*shape, seed=seed) > 0.3).double()


def perfect(truth: Tensor) -> Tensor:
    """Return the logits of someone who is sure and right."""
    return torch.where(truth > 0.5, 40.0, -40.0)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_the_focal_loss_of_hard_masks_is_the_textbook_formula(gamma: float) -> None:
    logits, truth = random(2, 3, 8, 8), masks(2, 3, 8, 8)
    p, t = 1 / (1 + np.exp(-logits.numpy())), truth.numpy()
    p_t = np.where(t == 1, p, 1 - p)  # Lin et al. 2017, equations 2 and 4
    expected = (-((1 - p_t) ** gamma) * np.log(p_t)).mean(axis=(2, 3))
    assert focal_loss(logits, truth, gamma=gamma).numpy() == pytest.approx(expected, rel=1e-10)


def test_the_focal_loss_of_a_covered_share_is_least_at_that_share() -> None:
    share = torch.tensor(0.3, dtype=torch.float64)
    probabilities = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    losses = focal_loss(probabilities.logit()[:, None, None], share.expand(99, 1, 1))
    assert probabilities[losses.argmin()] == pytest.approx(0.3)
    assert losses.min() == pytest.approx(0, abs=1e-12)


def test_the_dice_loss_of_hard_masks_is_the_textbook_formula() -> None:
    logits, truth = random(2, 3, 8, 8), masks(2, 3, 8, 8)
    p, t = 1 / (1 + np.exp(-logits.numpy())), truth.numpy()
    dice = (2 * (p * t).sum(axis=(2, 3)) + 1) / (p.sum(axis=(2, 3)) + t.sum(axis=(2, 3)) + 1)
    assert dice_loss(logits, truth).numpy() == pytest.approx(1 - dice, rel=1e-10)


def test_two_empty_masks_are_alike() -> None:
    nothing = torch.zeros(4, 4)
    assert dice_loss(perfect(nothing), nothing) == pytest.approx(0, abs=1e-6)


def test_the_iou_of_training_is_the_iou_of_the_benchmark() -> None:
    logits, truth = random(5, 16, 16), masks(16, 16)
    expected = exact_mask_iou((logits > 0).numpy(), truth.numpy() > 0)
    assert mask_iou(logits, truth.expand(5, 16, 16)).numpy() == pytest.approx(expected, rel=1e-6)


def test_a_perfect_answer_costs_nothing() -> None:
    truth = masks(2, 3, 16, 16)
    losses = best_of_candidates_loss(
        perfect(truth)[:, :, None].expand(2, 3, 3, 16, 16), torch.ones(2, 3, 3, dtype=torch.float64), truth
    )
    assert losses["mask"] == pytest.approx(0, abs=1e-6)
    assert losses["iou"] == 0
    assert losses["best_iou"] == 1


def test_the_best_candidate_is_the_one_with_the_least_mixed_loss() -> None:
    logits, truth = random(2, 3, 3, 8, 8), masks(2, 3, 8, 8)
    target = truth[:, :, None].expand_as(logits)
    mixed = FOCAL_TO_DICE * focal_loss(logits, target) + dice_loss(logits, target)
    losses = best_of_candidates_loss(logits, torch.zeros(2, 3, 3, dtype=torch.float64), truth)
    assert losses["mask"] == pytest.approx(float(mixed.min(dim=2).values.mean()))
    of_best = mask_iou(logits, target).gather(2, mixed.argmin(dim=2, keepdim=True))
    assert losses["best_iou"] == pytest.approx(float(of_best.mean()))


def test_the_mask_loss_flows_back_through_the_best_candidate_alone() -> None:
    truth = masks(1, 2, 8, 8)
    logits = random(1, 2, 3, 8, 8)
    logits[0, 0, 1] = perfect(truth)[0, 0] / 20  # the best answer to the first prompt
    logits[0, 1, 2] = perfect(truth)[0, 1] / 20  # and to the second
    logits.requires_grad_()
    predicted = torch.zeros(1, 2, 3, dtype=torch.float64, requires_grad=True)
    best_of_candidates_loss(logits, predicted, truth)["mask"].backward()
    assert logits.grad is not None
    assert logits.grad[0].abs().sum(dim=(-2, -1)).ne(0).tolist() == [[False, True, False], [False, False, True]]
    assert predicted.grad is None or not predicted.grad.any()


def test_every_candidate_learns_how_good_it_is() -> None:
    truth = masks(1, 2, 8, 8)
    logits = random(1, 2, 3, 8, 8).requires_grad_()
    predicted = random(1, 2, 3, seed=2).requires_grad_()
    loss = best_of_candidates_loss(logits, predicted, truth)["iou"]
    iou = mask_iou(logits, truth[:, :, None].expand_as(logits)).double()
    assert loss.item() == pytest.approx(mse_loss(predicted, iou).item(), rel=1e-6)
    loss.backward()
    assert predicted.grad is not None
    assert logits.grad is None
    assert predicted.grad.numpy() == pytest.approx((2 * (predicted - iou) / 6).detach().numpy(), rel=1e-5)
