"""The masked stage: what it hides, what it counts, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from models.preprocessing import normalise
from models.sami.encoder import ViTEncoder
from models.sami.network import MaskedAutoencoder, mask_patches, reconstruction_loss
from models.sami.targets import pixel_target
from models.training.masked import masked_stage
from models.training.recipes import MAE_MICRO, MAE_PAPER, SAMI_MICRO, SAMI_PAPER, MaskedRecipe


def network(recipe: MaskedRecipe, target_dim: int) -> MaskedAutoencoder:
    torch.manual_seed(0)
    encoder = ViTEncoder(img_size=64, embed_dim=24, depth=2, num_heads=2)
    return MaskedAutoencoder(
        encoder, target_dim=target_dim, decoder=recipe.decoder, decoder_dim=32, decoder_depth=1, decoder_heads=2
    )


def batch(features: int | None = None) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {"images": rng.integers(0, 256, (4, 3, 64, 64), dtype=np.uint8)}
    if features:
        found["features"] = rng.standard_normal((4, 16, features)).astype(np.float16)
    return found


@pytest.mark.parametrize("ratio", [0.5, 0.75, 0.85])
@pytest.mark.parametrize("loss", ["mse", "cosine"])
def test_the_loss_is_that_of_the_patches_its_generator_hides(ratio: float, loss: Any) -> None:
    recipe = replace(SAMI_MICRO, mask_ratio=ratio, loss=loss)
    model, data = network(recipe, 5), batch(features=5)
    found = masked_stage(recipe, None)(model, data, torch.Generator().manual_seed(7))["loss"]
    masking = mask_patches(torch.rand(4, 16, generator=torch.Generator().manual_seed(7)), ratio)
    predicted = model(normalise(data["images"], torch.device("cpu")), masking)
    expected = reconstruction_loss(predicted, torch.from_numpy(data["features"]).float(), loss=loss)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_mae_counts_hidden_patches_alone() -> None:
    model, data, target = network(MAE_MICRO, 768), batch(), pixel_target(norm=True)
    found = masked_stage(MAE_MICRO, target)(model, data, torch.Generator().manual_seed(7))["loss"]
    masking = mask_patches(torch.rand(4, 16, generator=torch.Generator().manual_seed(7)), 0.75)
    pixels = normalise(data["images"], torch.device("cpu"))
    errors = ((model(pixels, masking) - target(pixels)) ** 2).mean(-1)
    hidden = torch.stack([error[patches].mean() for error, patches in zip(errors, masking.masked, strict=True)])
    assert found.item() == pytest.approx(hidden.mean().item(), rel=1e-5)


def test_a_batch_without_features_needs_a_target() -> None:
    with pytest.raises(ValueError, match="needs a target"):
        masked_stage(SAMI_MICRO, None)(network(SAMI_MICRO, 5), batch(), torch.Generator())


@pytest.mark.parametrize("recipe", [SAMI_MICRO, MAE_MICRO, replace(SAMI_MICRO, decoder="all", loss="cosine")])
def test_a_few_steps_on_one_batch_lower_the_loss(recipe: MaskedRecipe) -> None:
    target = pixel_target(norm=True) if recipe.target == "pixels" else None
    model, data = network(recipe, 768 if target else 5), batch(features=None if target else 5)
    stage, optimizer, losses = masked_stage(recipe, target), torch.optim.AdamW(model.parameters(), 5e-3), []
    for _ in range(40):
        loss = stage(model, data, torch.Generator().manual_seed(0))["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_the_paper_recipes_are_section_4_1() -> None:
    assert (SAMI_PAPER.images_per_step, SAMI_PAPER.learning_rate, SAMI_PAPER.betas) == (4096, 2.4e-3, (0.9, 0.95))
    assert SAMI_PAPER.learning_rate == pytest.approx(1.5e-4 * 4096 / 256)
    assert SAMI_PAPER.steps * 4096 == pytest.approx(400 * 1_281_167, rel=1e-4)
    assert SAMI_PAPER.warmup_steps * 10 == pytest.approx(SAMI_PAPER.steps, abs=10)
    assert (SAMI_PAPER.decoder, SAMI_PAPER.loss_tokens, SAMI_PAPER.mask_ratio) == ("masked", "all", 0.75)
    assert SAMI_PAPER.clip_norm is None
    assert (MAE_PAPER.target, MAE_PAPER.decoder, MAE_PAPER.loss_tokens) == ("pixels", "all", "masked")
    shared = ("steps", "images_per_step", "learning_rate", "weight_decay", "warmup_steps", "crop_scale", "seed")
    for name in shared:
        assert getattr(MAE_PAPER, name) == getattr(SAMI_PAPER, name)
        assert getattr(MAE_MICRO, name) == getattr(SAMI_MICRO, name)
