"""Weights of detectron2's ViTDet under our names, and ours under detectron2's.

detectron2 puts the background last and predicts no box for it; torchvision puts it first and has rows for its box
and mask, which nothing reads: they become zeros, and are dropped on the way back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from models.errors import BenchError

_NAMES: tuple[tuple[str, str], ...] = (
    ("backbone.", "backbone.net."),
    ("pyramid.levels.p2.0.0.", "backbone.simfp_2.0."),
    ("pyramid.levels.p2.0.1.", "backbone.simfp_2.1."),
    ("pyramid.levels.p2.0.3.", "backbone.simfp_2.3."),
    ("pyramid.levels.p2.1.0.", "backbone.simfp_2.4."),
    ("pyramid.levels.p2.1.1.", "backbone.simfp_2.4.norm."),
    ("pyramid.levels.p2.2.0.", "backbone.simfp_2.5."),
    ("pyramid.levels.p2.2.1.", "backbone.simfp_2.5.norm."),
    ("pyramid.levels.p3.0.0.", "backbone.simfp_3.0."),
    ("pyramid.levels.p3.1.0.", "backbone.simfp_3.1."),
    ("pyramid.levels.p3.1.1.", "backbone.simfp_3.1.norm."),
    ("pyramid.levels.p3.2.0.", "backbone.simfp_3.2."),
    ("pyramid.levels.p3.2.1.", "backbone.simfp_3.2.norm."),
    ("pyramid.levels.p4.1.0.", "backbone.simfp_4.0."),
    ("pyramid.levels.p4.1.1.", "backbone.simfp_4.0.norm."),
    ("pyramid.levels.p4.2.0.", "backbone.simfp_4.1."),
    ("pyramid.levels.p4.2.1.", "backbone.simfp_4.1.norm."),
    ("pyramid.levels.p5.1.0.", "backbone.simfp_5.1."),
    ("pyramid.levels.p5.1.1.", "backbone.simfp_5.1.norm."),
    ("pyramid.levels.p5.2.0.", "backbone.simfp_5.2."),
    ("pyramid.levels.p5.2.1.", "backbone.simfp_5.2.norm."),
    ("rpn.head.conv.0.0.", "proposal_generator.rpn_head.conv.conv0."),
    ("rpn.head.conv.1.0.", "proposal_generator.rpn_head.conv.conv1."),
    ("rpn.head.cls_logits.", "proposal_generator.rpn_head.objectness_logits."),
    ("rpn.head.bbox_pred.", "proposal_generator.rpn_head.anchor_deltas."),
    ("roi_heads.box_predictor.cls_score.", "roi_heads.box_predictor.cls_score."),
    ("roi_heads.box_predictor.bbox_pred.", "roi_heads.box_predictor.bbox_pred."),
    ("roi_heads.mask_predictor.conv5_mask.", "roi_heads.mask_head.deconv."),
    ("roi_heads.mask_predictor.mask_fcn_logits.", "roi_heads.mask_head.predictor."),
)
"""Beginnings of entries, (ours, detectron2's), but for the convolutions of the heads and the layer after them."""
_BOX_CONVOLUTION = re.compile(r"roi_heads\.box_head\.(conv\d+|\d+\.0)\.weight")
_MASK_CONVOLUTION = re.compile(r"roi_heads\.mask_head\.(mask_fcn\d+|\d+\.0)\.weight")
"""Under either's name."""
_CLASSES = "roi_heads.box_predictor.cls_score."
_BOXES = "roi_heads.box_predictor.bbox_pred."
_MASKS = "roi_heads.mask_predictor.mask_fcn_logits."


def from_detectron2(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict of detectron2's ViTDet Mask R-CNN under the names of `VitDet`.

    Buffers of pixel means and anchors are left out.

    Raises:
        BenchError: if an entry belongs to another model, a cascade for example.
    """
    found = {}
    table = [(theirs, ours) for ours, theirs in _names(state)]
    for name, value in state.items():
        if name in ("pixel_mean", "pixel_std") or ".anchor_generator." in name:
            continue
        ours = _renamed(name, table)
        if ours.startswith(_CLASSES):
            value = torch.cat([value[-1:], value[:-1]])
        elif ours.startswith((_BOXES, _MASKS)):
            rows = 4 if ours.startswith(_BOXES) else 1
            value = torch.cat([value.new_zeros(rows, *value.shape[1:]), value])
        found[ours] = value
    return found


def to_detectron2(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict of `VitDet` under the names of detectron2's ViTDet Mask R-CNN.

    Raises:
        BenchError: if an entry belongs to another model.
    """
    found = {}
    table = _names(state)
    for name, value in state.items():
        if name.startswith(_CLASSES):
            value = torch.cat([value[1:], value[:1]])
        elif name.startswith((_BOXES, _MASKS)):
            value = value[4 if name.startswith(_BOXES) else 1 :]
        found[_renamed(name, table)] = value
    return found


def _names(entries: Iterable[str]) -> list[tuple[str, str]]:
    """Return beginnings of entries, (ours, detectron2's), of a network whose heads have as many convolutions."""
    box, mask = (
        sum(pattern.fullmatch(entry) is not None for entry in entries)
        for pattern in (_BOX_CONVOLUTION, _MASK_CONVOLUTION)
    )
    found = list(_NAMES)
    for ours, theirs, count in (("box_head.", "box_head.conv", box), ("mask_head.", "mask_head.mask_fcn", mask)):
        for k in range(count):
            found.append((f"roi_heads.{ours}{k}.0.", f"roi_heads.{theirs}{k + 1}."))
            found.append((f"roi_heads.{ours}{k}.1.", f"roi_heads.{theirs}{k + 1}.norm."))
    found.append((f"roi_heads.box_head.{box + 1}.", "roi_heads.box_head.fc1."))  # one entry flattens
    return found


def _renamed(name: str, table: Sequence[tuple[str, str]]) -> str:
    """Return a name with its longest known beginning replaced; what follows is one level deep but in the ViT."""
    fitting = [(old, new) for old, new in table if name.startswith(old)]
    old, new = max(fitting, key=lambda pair: len(pair[0]), default=("", ""))
    rest = name[len(old) :]
    if not old or (rest not in ("weight", "bias") and "backbone.net." not in (old, new)):
        raise BenchError(f"'{name}' is no entry of a ViTDet Mask R-CNN: cascades and other heads cannot be converted")
    return new + rest
