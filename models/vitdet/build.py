"""The numbers of the detectors: ViTDet-Ti, -S and -B of Table 2, and their micro stand-ins."""

from __future__ import annotations

from typing import Any

from models.vitdet.backbone import Backbone
from models.vitdet.network import VitDet

SIZES: dict[str, dict[str, Any]] = {
    "ti": {"embed_dim": 192, "depth": 12, "num_heads": 3},
    "s": {"embed_dim": 384, "depth": 12, "num_heads": 6},
    "b": {"embed_dim": 768, "depth": 12, "num_heads": 12},
    "l": {"embed_dim": 1024, "depth": 24, "num_heads": 16},
    "h": {"embed_dim": 1280, "depth": 32, "num_heads": 16},
}
"""The ViTs of Table 2, and the two larger ones of Li et al. 2022, whose detector gives Table 5 its boxes."""
MICRO_CLASSES = 4
"""Of dead leaves to detect."""
MICRO: dict[str, Any] = {
    "channels": 48,
    "box_convolutions": 2,
    "box_features": 64,
    "mask_convolutions": 2,
    "anchor_sides": (16, 32, 64, 128, 256),
    "canonical_px": 112,
    "proposals_before_nms": (400, 200),
    "proposals_after_nms": (150, 100),
    "anchors_per_image": 128,
    "boxes_per_image": 48,
    "detections": 25,
}
"""Heads of the micro detectors: as the full ones, thinner, for scenes of 256 px with a dozen objects."""


def vitdet(size: str, *, img_size: int = 1024, classes: int = 80, drop_path: float = 0.0, **heads: Any) -> VitDet:
    """Build an untrained ViTDet of size ti, s, b, l or h; `heads` are keywords of `VitDet`."""
    return VitDet(Backbone(img_size=img_size, drop_path=drop_path, **SIZES[size]), classes=classes, **heads)


def vitdet_micro(
    encoder: dict[str, Any], *, classes: int = MICRO_CLASSES, img_size: int = 256, drop_path: float = 0.0
) -> VitDet:
    """Build an untrained micro ViTDet around an encoder such as those of `models.sami.build.MICRO_SIZES`."""
    backbone = Backbone(img_size=img_size, window_size=8, drop_path=drop_path, **encoder)
    return VitDet(backbone, classes=classes, **MICRO)
