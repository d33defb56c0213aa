"""A Mask2Former that trains in a second, and photos for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from bench.data.ade20k import reduced
from bench.data.training.semantic_crops import CropSettings, SemanticBatches
from models.mask2former.build import mask2former
from models.mask2former.config import Mask2FormerSizes
from models.training.recipes import SEMANTIC_MICRO, SemanticRecipe
from tests.bench.data.ade20k_files import scene_pairs

TOY = Mask2FormerSizes(
    embed_dim=16,
    depth=1,
    num_heads=2,
    classes=5,
    channels=16,
    heads=2,
    groups=4,
    pixel_layers=1,
    decoder_layers=3,
    queries=6,
    pixel_hidden=16,
    decoder_hidden=16,
    points=64,
    test_shorter_side=64,
)
CROP = 64


def toy_network(seed: int = 0, sizes: Mask2FormerSizes = TOY):
    torch.manual_seed(seed)
    return mask2former(sizes, crop=CROP)


def toy_recipe(**changes) -> SemanticRecipe:
    small = replace(SEMANTIC_MICRO, steps=6, images_per_step=2, crop_size=CROP, checkpoint_every=2)
    return replace(small, **changes)


def toy_photos(count: int = 4) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(image, reduced(labels)) for image, labels in scene_pairs(count)]


def toy_batches(photos: Sequence[tuple[np.ndarray, np.ndarray]], recipe: SemanticRecipe) -> SemanticBatches:
    crops = CropSettings(recipe.crop_size, recipe.scales, colours=recipe.colours)
    return SemanticBatches(photos, crops, images_per_batch=recipe.images_per_step, seed=recipe.seed)
