"""A ViTDet as detectron2's LazyConfig: every number is read off our own network, so that there is one definition.

The start is detectron2's `common/models/mask_rcnn_vitdet.py`; `instantiate(model_config(network))` builds it. Needs
detectron2, see package.py.
"""

from __future__ import annotations

from typing import Any

from detectron2 import model_zoo
from detectron2.config import LazyCall
from detectron2.layers import ShapeSpec
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.roi_heads import CascadeROIHeads, FastRCNNConvFCHead, FastRCNNOutputLayers
from torch import nn

from models.vitdet.backbone import Backbone, evenly_spaced
from models.vitdet.network import BOX_CELLS, MASK_CELLS, VitDet

STAGES = ((0.5, 10.0, 5.0), (0.6, 20.0, 10.0), (0.7, 30.0, 15.0))
"""Of a cascade: IoU of a match, weights of a box's centre and of its size (Cai & Vasconcelos 2018)."""


def model_config(network: VitDet, *, cascade: bool = False, sigmoid: bool = False) -> Any:
    """Return the LazyConfig of a ViTDet Mask R-CNN.

    Args:
        network: ours, whose sizes and thresholds it takes over; its weights are not looked at, so that it may be on
            torch's meta device.
        cascade: three box heads one after the other, of which ours has one.
        sigmoid: scores of classes that do not exclude each other, as LVIS is trained, instead of a softmax.
    """
    model = model_zoo.get_config("common/models/mask_rcnn_vitdet.py").model
    channels = network.pyramid.channels
    _fill_backbone(model.backbone, network.backbone)
    model.backbone.out_channels = channels
    _fill_proposals(model.proposal_generator, network.rpn, channels)
    heads: Any = network.roi_heads
    _fill_heads(model.roi_heads, heads, network.classes, channels)
    predictors = _into_cascade(model.roi_heads) if cascade else [model.roi_heads.box_predictor]
    for predictor in predictors:
        predictor.test_score_thresh = heads.score_thresh
        predictor.test_nms_thresh = heads.nms_thresh
        predictor.test_topk_per_image = heads.detections_per_img
        predictor.use_sigmoid_ce = sigmoid
    return model


def _fill_backbone(pyramid: Any, backbone: Backbone) -> None:
    blocks: Any = backbone.blocks
    attention, patch = blocks[0].attn, backbone.img_size // backbone.grid
    windows = [index for index in range(len(blocks)) if index not in evenly_spaced(len(blocks))]
    pyramid.square_pad = backbone.img_size
    pyramid.net.img_size = backbone.img_size
    pyramid.net.patch_size = patch
    pyramid.net.pretrain_img_size = patch * round((backbone.pos_embed.shape[1] - 1) ** 0.5)
    pyramid.net.embed_dim = backbone.embed_dim
    pyramid.net.depth = len(blocks)
    pyramid.net.num_heads = attention.heads
    pyramid.net.mlp_ratio = blocks[0].mlp.fc1.out_features / backbone.embed_dim
    pyramid.net.drop_path_rate = getattr(blocks[-1].drop_path, "drop_prob", 0.0)
    pyramid.net.use_rel_pos = attention.relative_positions
    pyramid.net.window_size = blocks[windows[0]].attn.side if windows else 0
    pyramid.net.window_block_indexes = windows


def _fill_proposals(proposals: Any, rpn: Any, channels: int) -> None:
    anchors = rpn.anchor_generator
    proposals.head.in_channels = channels
    proposals.anchor_generator.sizes = [list(sides) for sides in anchors.sizes]
    proposals.anchor_generator.aspect_ratios = list(anchors.aspect_ratios[0])
    proposals.batch_size_per_image = rpn.fg_bg_sampler.batch_size_per_image
    proposals.positive_fraction = rpn.fg_bg_sampler.positive_fraction
    proposals.pre_nms_topk = (rpn._pre_nms_top_n["training"], rpn._pre_nms_top_n["testing"])
    proposals.post_nms_topk = (rpn._post_nms_top_n["training"], rpn._post_nms_top_n["testing"])
    proposals.nms_thresh = rpn.nms_thresh


def _fill_heads(theirs: Any, ours: Any, classes: int, channels: int) -> None:
    theirs.num_classes = classes
    theirs.batch_size_per_image = ours.fg_bg_sampler.batch_size_per_image
    theirs.positive_fraction = ours.fg_bg_sampler.positive_fraction
    for pooler in (theirs.box_pooler, theirs.mask_pooler):
        pooler.canonical_box_size = ours.box_roi_pool._level_of.s0
        pooler.canonical_level = ours.box_roi_pool._level_of.lvl0
    features = ours.box_predictor.cls_score.in_features
    theirs.box_head.input_shape = ShapeSpec(channels=channels, height=BOX_CELLS, width=BOX_CELLS)
    theirs.box_head.conv_dims = [channels] * _convolutions(ours.box_head)
    theirs.box_head.fc_dims = [features]
    theirs.box_predictor.input_shape = ShapeSpec(channels=features)
    theirs.mask_head.input_shape = ShapeSpec(channels=channels, height=MASK_CELLS, width=MASK_CELLS)
    theirs.mask_head.conv_dims = [channels] * (_convolutions(ours.mask_head) + 1)  # the last one is the upsampling


def _convolutions(head: nn.Module) -> int:
    return sum(isinstance(layer, nn.Conv2d) for layer in head.modules())


def _into_cascade(heads: Any) -> list[Any]:
    """Put three box heads, which share one box for all classes, in the place of one; return what predicts."""
    single, classes = heads.pop("box_head"), heads.num_classes
    features = heads.pop("box_predictor").input_shape
    heads.pop("proposal_matcher")
    heads._target_ = CascadeROIHeads
    heads.box_heads = [
        LazyCall(FastRCNNConvFCHead)(
            input_shape=single.input_shape,
            conv_dims=list(single.conv_dims),
            fc_dims=list(single.fc_dims),
            conv_norm=single.conv_norm,
        )
        for _ in STAGES
    ]
    heads.box_predictors = [
        LazyCall(FastRCNNOutputLayers)(
            input_shape=features,
            box2box_transform=LazyCall(Box2BoxTransform)(weights=(centre, centre, size, size)),
            num_classes=classes,
            cls_agnostic_bbox_reg=True,
        )
        for _, centre, size in STAGES
    ]
    heads.proposal_matchers = [
        LazyCall(Matcher)(thresholds=[iou], labels=[0, 1], allow_low_quality_matches=False) for iou, *_ in STAGES
    ]
    return list(heads.box_predictors)
