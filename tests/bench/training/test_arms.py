"""Arms of an ablation differ in the one thing that they are about: all else is the same for the same seed."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.data.training.crops import CropBatches
from bench.training.features import CROP_SEED, SIZE
from bench.training.runs import ARMS, RUNS, Arm
from models.sami.build import micro_autoencoder
from models.sami.network import Masking
from models.training.masked import masked_stage
from models.training.recipes import IMAGENET_IMAGES, SA1B_IMAGES, SAMI_MICRO, MaskedRecipe

TRAINED = {name: arm for name, arm in ARMS.items() if arm.recipe.steps}
SUBJECT = {"target", "decoder", "loss", "loss_tokens", "norm_pixels", "mask_ratio"}
"""What ablations are about."""


def encoder_of(arm: Arm, seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    width = 96 if arm.recipe.target == "sam" else 768
    network = micro_autoencoder(arm.size, decoder=arm.recipe.decoder, target_dim=width)
    return network.encoder.state_dict()


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_of_a_size_and_seed_starts_from_the_same_encoder(name: str) -> None:
    arm = ARMS[name]
    first, own = encoder_of(ARMS[f"mae-{arm.size}"], 3), encoder_of(arm, 3)
    assert all(torch.equal(own[entry], first[entry]) for entry in first)
    assert not all(torch.equal(value, first[entry]) for entry, value in encoder_of(arm, 4).items())


@pytest.mark.parametrize("name", TRAINED)
def test_recipes_of_arms_differ_in_what_the_ablation_is_about(name: str) -> None:
    own, sami = asdict(ARMS[name].recipe), asdict(SAMI_MICRO)
    differing = {field for field in own if own[field] != sami[field]}
    assert differing <= SUBJECT
    if name.startswith("sami-"):
        assert len(differing) <= 1
    assert RUNS[f"{name}-micro"].recipe == ARMS[name].recipe


class Watched(nn.Module):
    """Remembers what it is shown and which patches are hidden."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))
        self.seen: list[tuple[Tensor, Masking]] = []

    def forward(self, pixels: Tensor, masking: Masking) -> Tensor:
        self.seen.append((pixels, masking))
        return self.bias.expand(len(pixels), 196, -1)


def shown(recipe: MaskedRecipe, seed: int) -> list[tuple[Tensor, Masking]]:
    """What a student sees in three steps."""
    photos = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    batches = CropBatches(
        photos,
        size=SIZE,
        images_per_batch=8,
        seed=seed,
        scale=recipe.crop_scale,
        views=recipe.views,
        crop_seed=CROP_SEED,
    )
    student = Watched(4)
    stage = masked_stage(recipe, lambda pixels: torch.ones(len(pixels), 196, 4))
    for step in range(3):
        stage(student, batches[step], torch.Generator().manual_seed(seed * 1_000_003 + step))
    return student.seen


@pytest.mark.parametrize("name", TRAINED)
def test_every_arm_of_a_seed_sees_the_same_crops_in_the_same_order_through_the_same_masks(name: str) -> None:
    recipe = TRAINED[name].recipe
    same_share = replace(SAMI_MICRO, mask_ratio=recipe.mask_ratio)
    for (pixels, masking), (others, theirs) in zip(shown(recipe, 1), shown(same_share, 1), strict=True):
        assert torch.equal(pixels, others)
        assert torch.equal(masking.mask, theirs.mask)


def test_a_larger_share_hides_what_a_smaller_one_hides_and_more() -> None:
    few, many = (shown(replace(SAMI_MICRO, mask_ratio=ratio), 1) for ratio in (0.5, 0.85))
    for (_, first), (_, second) in zip(few, many, strict=True):
        assert (second.mask >= first.mask).all()
        assert second.mask.sum() > first.mask.sum()


def test_seeds_see_other_crops_in_other_orders_and_masks() -> None:
    (pixels, masking), (others, theirs) = shown(SAMI_MICRO, 1)[0], shown(SAMI_MICRO, 2)[0]
    assert not torch.equal(pixels, others)
    assert not torch.equal(masking.mask, theirs.mask)


def test_the_control_is_the_arm_that_takes_no_step() -> None:
    scratch, first = ARMS["scratch-ti"].recipe, ARMS["mae-ti"].recipe
    assert scratch == replace(first, steps=0, warmup_steps=0)
    assert {RUNS[name].start for name in ("sam-scratch-ti-micro", "scratch-ti-micro-classify")} == {"scratch-ti-micro"}


@pytest.mark.parametrize(
    ("name", "paper"),
    [("efficientsam-ti-micro", 400 * IMAGENET_IMAGES / (5 * SA1B_IMAGES)), ("sami-ti-micro-classify", 400 / 100)],
)
def test_budgets_of_pretraining_and_finetuning_are_in_the_paper_s_proportion(name: str, paper: float) -> None:
    """Images of pretraining for each of finetuning, to a twentieth."""
    finetuning = RUNS[name].recipe
    pretraining = RUNS[str(RUNS[name].start)].recipe
    seen = [recipe.steps * recipe.images_per_step for recipe in (pretraining, finetuning)]
    assert seen[0] / seen[1] == pytest.approx(paper, rel=0.05)
