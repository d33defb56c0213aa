"""ViTDet against detectron2's, with the same weights from a recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.vitdet.build import vitdet
from models.vitdet.convert import from_detectron2, to_detectron2
from models.vitdet.network import VitDet
from tests.models.recipe import image, value

TOLERANCE = 1e-4
"""Absolute; of float32 sums in another order on values of magnitude 1 to 10."""
SIDE = 256


@pytest.fixture(scope="module")
def golden(shared: Path) -> Any:
    return np.load(shared / "golden" / "vitdet_tiny.npz")


@pytest.fixture(scope="module")
def theirs(shared: Path) -> dict[str, torch.Tensor]:
    """The state dict of detectron2's model, from the recipe."""
    manifest = json.loads((shared / "golden" / "vitdet_tiny.manifest.json").read_text())
    return {name: torch.from_numpy(value(name, shape)) for name, shape, _ in manifest}


@pytest.fixture(scope="module")
def network(theirs: dict[str, torch.Tensor]) -> VitDet:
    made = vitdet("ti", img_size=SIDE)
    made.load_state_dict(from_detectron2(theirs))
    return made.eval()


@pytest.fixture(scope="module")
def features(network: VitDet, golden: Any) -> dict[str, torch.Tensor]:
    photo = image(240, 240, int(golden["image_seed"])).transpose(2, 0, 1).astype(np.float32)
    assert str(golden["input_format"]) == "RGB"
    mean, std = (golden[key][:, None, None] for key in ("pixel_mean", "pixel_std"))
    pixels = np.zeros((1, 3, SIDE, SIDE), np.float32)
    pixels[0, :, :240, :240] = (photo - mean) / std
    with torch.inference_mode():
        return network.features(torch.from_numpy(pixels))


def assert_same(ours: torch.Tensor, golden: np.ndarray) -> None:
    assert ours.shape == golden.shape
    np.testing.assert_allclose(ours.numpy(), golden, atol=TOLERANCE, rtol=TOLERANCE)


def thinned(maps: torch.Tensor) -> torch.Tensor:
    """Every fourth row and column where the side is 16 or more."""
    step = 4 if maps.shape[-1] >= 16 else 1
    return maps[..., ::step, ::step]


@pytest.mark.parametrize("level", ["p2", "p3", "p4", "p5", "p6"])
def test_the_pyramid_is_detectron2_s(level: str, features: dict[str, torch.Tensor], golden: Any) -> None:
    ours = features[level][0]
    assert_same(thinned(ours[::16]), golden[f"feat_{level}"])
    assert_same(torch.stack([ours.mean(), ours.std()]), golden[f"stat_{level}"])


def test_the_proposal_network_is_detectron2_s(network: VitDet, features: dict[str, torch.Tensor], golden: Any) -> None:
    with torch.inference_mode():
        logits, deltas = network.rpn.head(list(features.values()))
    for level in range(5):
        assert_same(logits[level][0][:, ::4, ::4], golden[f"rpn_logit_{level}"])
        assert_same(deltas[level][0][:, ::4, ::4], golden[f"rpn_delta_{level}"])


def test_the_box_and_mask_heads_are_detectron2_s(
    network: VitDet, features: dict[str, torch.Tensor], golden: Any
) -> None:
    boxes = [torch.from_numpy(golden["roi_boxes"])]
    with torch.inference_mode():
        pooled = network.roi_heads.box_roi_pool(features, boxes)
        logits, deltas = network.classify(features, boxes)
        masks = network.mask_logits(features, boxes)
    assert_same(pooled[:, ::16], golden["roi_pooled"])
    assert_same(torch.cat([logits[:, 1:], logits[:, :1]], 1), golden["cls_logits"])  # background last
    assert_same(deltas[:, 4::8], golden["box_deltas"])
    assert_same(masks[:, 1::10], golden["mask_logits"])


def test_weights_go_to_detectron2_and_back_unchanged(theirs: dict[str, torch.Tensor]) -> None:
    back = to_detectron2(from_detectron2(theirs))
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[name], theirs[name]) for name in theirs)
