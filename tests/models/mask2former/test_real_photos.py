"""Mask2Former-Ti as the paper defines it, on real photos at a reduced size: it trains, is asked, and can over-fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("mmseg", reason="the extra `semantic` is not installed")

from bench.data.ade20k import open_ade20k
from bench.data.training.semantic_crops import CropSettings, SemanticBatches
from bench.metrics.miou import mean_iou
from models.mask2former.build import TI, mask2former
from models.mask2former.config import Mask2FormerSizes
from models.mask2former.evaluate import areas, predict
from models.mask2former.train import train_semantic
from models.training.recipes import SEMANTIC_PAPER


def smaller_ti(side: int, points: int) -> Mask2FormerSizes:
    """Every layer of Mask2Former-Ti; photos and the places where losses are taken are fewer."""
    return replace(TI, points=points, test_shorter_side=side, test_longer_side=4 * side)


def trained(photos, sizes: Mask2FormerSizes, out: Path, **recipe_changes):
    """Train from nothing on photos; return the network and the losses that were logged."""
    side = sizes.test_shorter_side
    recipe = replace(SEMANTIC_PAPER, precision="no", crop_size=side, **recipe_changes)
    crops = CropSettings(side, recipe.scales, colours=recipe.colours)
    batches = SemanticBatches(photos, crops, images_per_batch=recipe.images_per_step, seed=0)
    torch.manual_seed(0)
    network = train_semantic(mask2former(sizes, crop=side), batches, recipe, out)
    return network, [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]


def miou(network, photos) -> float:
    """Return the mIoU of a network on photos, 0..1."""
    totals = np.zeros((2, len(photos.names)), np.int64)
    for photo, truth in photos:
        totals += np.stack(areas(predict(network, photo), truth, len(photos.names)))
    return float(mean_iou(*totals))


class Some:
    """A few photos, each decoded once."""

    def __init__(self, photos, numbers) -> None:
        self.pairs, self.names = [photos[number] for number in numbers], photos.names

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int):
        return self.pairs[index]


def test_ten_iterations_and_an_evaluation(shared, tmp_path) -> None:
    photos = open_ade20k(shared / "samples")
    network, losses = trained(
        photos, smaller_ti(64, 256), tmp_path, steps=10, images_per_step=1, checkpoint_every=10, learning_rate=2e-4
    )
    assert sum(p.numel() for p in network.parameters()) > 20e6  # the full definition
    assert losses[-1] < 0.8 * losses[0]
    assert 0 <= miou(network, Some(photos, range(3))) < 1


@pytest.mark.slow
@pytest.mark.overfit
def test_four_photos_can_be_learned_by_heart(shared, tmp_path) -> None:
    """Losses, targets and evaluation agree: what is trained on comes out of the metric.

    A narrower network than Ti, since Ti's takes two seconds a step. Photos are those of the samples whose smallest
    class is some 150 pixels of a crop.
    """
    photos = Some(open_ade20k(shared / "samples"), (2, 3, 4, 6))
    network, _ = trained(
        photos,
        replace(smaller_ti(128, 784), **NARROW),
        tmp_path,
        steps=650,
        images_per_step=4,
        checkpoint_every=650,
        learning_rate=1e-3,
        warmup_steps=10,
        backbone_multiplier=1.0,
        scales=(1.0, 1.0),
        colours=False,
    )
    assert miou(network, photos) > 0.8


NARROW: dict[str, int] = {
    "embed_dim": 96,
    "depth": 4,
    "channels": 64,
    "heads": 4,
    "groups": 8,
    "pixel_layers": 1,
    "decoder_layers": 3,
    "queries": 24,
    "pixel_hidden": 128,
    "decoder_hidden": 128,
}
