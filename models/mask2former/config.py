"""Mask2Former for scene parsing as mmsegmentation's configuration, in Python: sizes are arguments, the rest Cheng's.

Cheng et al. 2022, as configured in mmsegmentation for ADE20K at 512 px, with our backbone in the place of ResNet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.mask2former.backbone import STRIDES

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""ImageNet's, RGB, 0..255."""
IGNORED = 255
"""Class of pixels that neither train nor count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask2FormerSizes:
    """What differs between the paper's models and micro ones."""

    embed_dim: int
    """Width of the ViT."""
    depth: int
    num_heads: int
    classes: int
    pretrain_grid: int = 14
    """Side of the pretrained position table, patches."""
    channels: int = 256
    """Width of the pyramid, the pixel decoder and the queries; a multiple of `heads` and of `groups`."""
    heads: int = 8
    groups: int = 32
    """Of the pixel decoder's group norms."""
    pixel_layers: int = 6
    decoder_layers: int = 9
    """A multiple of the three maps that the queries look at in turn."""
    queries: int = 100
    pixel_hidden: int = 1024
    """Hidden width of the pixel decoder's feed-forward layers."""
    decoder_hidden: int = 2048
    points: int = 12544
    """Places of a mask where the losses are taken, 112 x 112."""
    test_shorter_side: int = 512
    """Photos are resized to it, their longer side to at most `test_longer_side`."""
    test_longer_side: int = 2048


def network_config(sizes: Mask2FormerSizes, crop: int) -> dict[str, Any]:
    """Return the configuration of mmsegmentation's EncoderDecoder.

    Args:
        sizes: of the network.
        crop: side of the training crops, px.
    """
    return {
        "type": "mmseg.EncoderDecoder",
        "data_preprocessor": {
            "type": "mmseg.SegDataPreProcessor",
            "mean": list(MEAN),
            "std": list(STD),
            "bgr_to_rgb": False,
            "pad_val": 0,
            "seg_pad_val": IGNORED,
            "size": (crop, crop),
            "test_cfg": {"size_divisor": STRIDES[-1]},
        },
        "backbone": {
            "type": "mmseg.PlainViTPyramid",
            "embed_dim": sizes.embed_dim,
            "depth": sizes.depth,
            "num_heads": sizes.num_heads,
            "out_channels": sizes.channels,
            "pretrain_grid": sizes.pretrain_grid,
        },
        "decode_head": _head(sizes),
        "train_cfg": {},
        "test_cfg": {"mode": "whole"},
    }


def _head(sizes: Mask2FormerSizes) -> dict[str, Any]:
    width = sizes.channels
    return {
        "type": "mmseg.Mask2FormerHead",
        "in_channels": [width] * len(STRIDES),
        "strides": list(STRIDES),
        "feat_channels": width,
        "out_channels": width,
        "num_classes": sizes.classes,
        "num_queries": sizes.queries,
        "num_transformer_feat_level": 3,
        "align_corners": False,
        "pixel_decoder": _pixel_decoder(sizes),
        "enforce_decoder_input_project": False,
        "positional_encoding": _positions(width),
        "transformer_decoder": _transformer_decoder(sizes),
        "loss_cls": {
            "type": "mmdet.CrossEntropyLoss",
            "use_sigmoid": False,
            "loss_weight": 2.0,
            "reduction": "mean",
            "class_weight": [1.0] * sizes.classes + [0.1],
        },
        "loss_mask": {"type": "mmdet.CrossEntropyLoss", "use_sigmoid": True, "reduction": "mean", "loss_weight": 5.0},
        "loss_dice": {
            "type": "mmdet.DiceLoss",
            "use_sigmoid": True,
            "activate": True,
            "reduction": "mean",
            "naive_dice": True,
            "eps": 1.0,
            "loss_weight": 5.0,
        },
        "train_cfg": _matching(sizes),
    }


def _pixel_decoder(sizes: Mask2FormerSizes) -> dict[str, Any]:
    width = sizes.channels
    attention = {
        "embed_dims": width,
        "num_heads": sizes.heads,
        "num_levels": 3,
        "num_points": 4,
        "dropout": 0.0,
        "batch_first": True,
    }
    return {
        "type": "mmdet.MSDeformAttnPixelDecoder",
        "num_outs": 3,
        "norm_cfg": {"type": "GN", "num_groups": sizes.groups},
        "act_cfg": {"type": "ReLU"},
        "encoder": {
            "num_layers": sizes.pixel_layers,
            "layer_cfg": {
                "self_attn_cfg": attention,
                "ffn_cfg": {
                    "embed_dims": width,
                    "feedforward_channels": sizes.pixel_hidden,
                    "num_fcs": 2,
                    "ffn_drop": 0.0,
                    "act_cfg": {"type": "ReLU", "inplace": True},
                },
            },
        },
        "positional_encoding": _positions(width),
    }


def _transformer_decoder(sizes: Mask2FormerSizes) -> dict[str, Any]:
    attention = {"embed_dims": sizes.channels, "num_heads": sizes.heads, "batch_first": True}
    return {
        "return_intermediate": True,
        "num_layers": sizes.decoder_layers,
        "layer_cfg": {
            "self_attn_cfg": attention,
            "cross_attn_cfg": dict(attention),
            "ffn_cfg": {
                "embed_dims": sizes.channels,
                "feedforward_channels": sizes.decoder_hidden,
                "num_fcs": 2,
                "act_cfg": {"type": "ReLU", "inplace": True},
                "ffn_drop": 0.0,
                "add_identity": True,
            },
        },
        "init_cfg": None,
    }


def _matching(sizes: Mask2FormerSizes) -> dict[str, Any]:
    return {
        "num_points": sizes.points,
        "oversample_ratio": 3.0,
        "importance_sample_ratio": 0.75,
        "assigner": {
            "type": "mmdet.HungarianAssigner",
            "match_costs": [
                {"type": "mmdet.ClassificationCost", "weight": 2.0},
                {"type": "mmdet.CrossEntropyLossCost", "weight": 5.0, "use_sigmoid": True},
                {"type": "mmdet.DiceCost", "weight": 5.0, "pred_act": True, "eps": 1.0},
            ],
        },
        "sampler": {"type": "mmdet.MaskPseudoSampler"},
    }


def _positions(width: int) -> dict[str, Any]:
    return {"num_feats": width // 2, "normalize": True}
