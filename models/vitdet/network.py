"""Mask R-CNN on a plain ViT: torchvision's proposal network, matching and losses, with ViTDet's heads.

The heads are those of Li et al. 2022: two convolutions in the proposal network, four convolutions and a layer in the
box head, four convolutions in the mask head, LayerNorm in both. Losses are torchvision's, where the smooth L1
loss turns quadratic below 1/9; detectron2's ViTDet has plain L1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

from models.errors import BenchError
from models.vitdet.backbone import Backbone
from models.vitdet.pooling import CANONICAL_PX, BoxPool, mask_targets
from models.vitdet.pyramid import STRIDES, SimpleFeaturePyramid

ANCHOR_SIDES = (32, 64, 128, 256, 512)
"""px, one for each level."""
ASPECT_RATIOS = (0.5, 1.0, 2.0)
"""Height over width."""
BOX_CELLS, MASK_CELLS = 7, 14

Targets = Sequence[Mapping[str, Tensor]]
"""Of each image: "boxes" float [N, 4] (xyxy, px), "labels" int64 [N] from 1 on, "masks" bool [N, S, S]."""


class VitDet(nn.Module):
    """Detect objects: losses of a batch in training, detections in evaluation.

    Args:
        backbone: the ViT.
        classes: without the background.
        channels: of the pyramid and of the heads' convolutions.
        box_convolutions: of the box head.
        box_features: width of its layer.
        mask_convolutions: of the mask head.
        anchor_sides: px, one for each level.
        canonical_px: see `BoxPool`.
        proposals_before_nms: of each level, in training and in evaluation.
        proposals_after_nms: of an image, likewise.
        anchors_per_image: sampled for the proposal network's loss.
        boxes_per_image: sampled for the heads' losses, a quarter of them on objects.
        score_threshold: detections with lower scores are dropped.
        detections: most of an image.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        classes: int = 80,
        channels: int = 256,
        box_convolutions: int = 4,
        box_features: int = 1024,
        mask_convolutions: int = 4,
        anchor_sides: Sequence[float] = ANCHOR_SIDES,
        canonical_px: int = CANONICAL_PX,
        proposals_before_nms: tuple[int, int] = (2000, 1000),
        proposals_after_nms: tuple[int, int] = (1000, 1000),
        anchors_per_image: int = 256,
        boxes_per_image: int = 512,
        score_threshold: float = 0.05,
        detections: int = 100,
    ) -> None:
        super().__init__()
        self.img_size, self.classes = backbone.img_size, classes
        self.backbone = backbone
        self.pyramid = SimpleFeaturePyramid(backbone.embed_dim, channels)
        self.rpn = RegionProposalNetwork(
            _anchors(anchor_sides),
            RPNHead(channels, len(ASPECT_RATIOS), conv_depth=2),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=anchors_per_image,
            positive_fraction=0.5,
            pre_nms_top_n=dict(zip(("training", "testing"), proposals_before_nms, strict=True)),
            post_nms_top_n=dict(zip(("training", "testing"), proposals_after_nms, strict=True)),
            nms_thresh=0.7,
        )
        self.roi_heads = RoIHeads(
            BoxPool(BOX_CELLS, canonical_px=canonical_px),
            FastRCNNConvFCHead(
                (channels, BOX_CELLS, BOX_CELLS), [channels] * box_convolutions, [box_features], LayerNorm2d
            ),
            FastRCNNPredictor(box_features, 1 + classes),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=boxes_per_image,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=score_threshold,
            nms_thresh=0.5,
            detections_per_img=detections,
            mask_roi_pool=BoxPool(MASK_CELLS, canonical_px=canonical_px),
            mask_head=MaskRCNNHeads(channels, [channels] * mask_convolutions, 1, LayerNorm2d),
            mask_predictor=MaskRCNNPredictor(channels, channels, 1 + classes),
        )
        self.rpn.head.register_forward_hook(_in_float32)
        nn.init.normal_(self.roi_heads.box_predictor.cls_score.weight, std=0.01)
        nn.init.normal_(self.roi_heads.box_predictor.bbox_pred.weight, std=0.001)

    def features(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return the pyramid of images [B, 3, S, S]."""
        return self.pyramid(self.backbone(pixels))  # type: ignore[no-any-return]

    def forward(
        self, pixels: Tensor, targets: Targets | None = None, sizes: Sequence[tuple[int, int]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Return named losses in training, else for each image "boxes", "labels", "scores" and "masks" [P, 28, 28].

        Args:
            pixels: [B, 3, S, S] normalised, padded at the right and at the bottom.
            targets: in training.
            sizes: (height, width) of each image without padding, to which boxes are clipped; None: S x S.

        Raises:
            BenchError: in evaluation, if a logit is NaN or infinite.
        """
        sizes = [(self.img_size, self.img_size)] * len(pixels) if sizes is None else list(sizes)
        features = self.features(pixels)
        images = ImageList(pixels, sizes)
        given = None if targets is None else [dict(one) for one in targets]
        proposals, losses = self.rpn(images, features, given)
        if not self.training:
            return self._detect(features, proposals, sizes)
        return {
            "rpn_class": losses["loss_objectness"],
            "rpn_box": losses["loss_rpn_box_reg"],
            **self._head_losses(features, proposals, given or []),
        }

    def _head_losses(
        self, features: dict[str, Tensor], proposals: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        boxes, objects, labels, deltas = self.roi_heads.select_training_samples(proposals, targets)
        logits, regressed = self.classify(features, boxes)
        class_loss, box_loss = fastrcnn_loss(logits, regressed, labels, deltas)
        found = [torch.where(one > 0)[0] for one in labels]
        cut = [one[index] for one, index in zip(boxes, found, strict=True)]
        masks = self.mask_logits(features, cut).float()  # [P, 1 + classes, 28, 28]
        of_class = torch.cat([one[index] for one, index in zip(labels, found, strict=True)])
        truth = torch.cat(
            [
                mask_targets(target["masks"], matched[index], one, masks.shape[-1])
                for target, matched, index, one in zip(targets, objects, found, cut, strict=True)
            ]
        )
        own = masks[torch.arange(len(masks), device=masks.device), of_class]
        mask_loss = F.binary_cross_entropy_with_logits(own, truth) if len(own) else masks.sum()
        return {"class": class_loss, "box": box_loss, "mask": mask_loss}

    def _detect(
        self, features: dict[str, Tensor], proposals: list[Tensor], sizes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        logits, regressed = self.classify(features, proposals)
        if not torch.stack([torch.isfinite(one).all() for one in (features["p2"], logits, regressed)]).all():
            raise BenchError("the detector's logits are NaN or infinite: its weights are damaged or it diverged")
        boxes, scores, labels = self.roi_heads.postprocess_detections(logits, regressed, proposals, sizes)
        masks = self.mask_logits(features, boxes).sigmoid()
        of_class = masks[torch.arange(len(masks), device=masks.device), torch.cat(labels)]
        return [
            {"boxes": box, "scores": score, "labels": label, "masks": mask}
            for box, score, label, mask in zip(
                boxes, scores, labels, of_class.split([len(one) for one in boxes]), strict=True
            )
        ]

    def classify(self, features: dict[str, Tensor], boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return what the box head says of boxes [N_b, 4]: logits [N, 1 + classes], deltas [N, 4 + 4 classes]."""
        heads: Any = self.roi_heads
        logits, deltas = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, boxes)))
        return logits.float(), deltas.float()

    def mask_logits(self, features: dict[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """Return what the mask head says of boxes [N_b, 4], [N, 1 + classes, 28, 28]."""
        heads: Any = self.roi_heads
        return heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(features, boxes)))  # type: ignore[no-any-return]


def _in_float32(
    head: nn.Module, given: Any, said: tuple[list[Tensor], list[Tensor]]
) -> tuple[list[Tensor], list[Tensor]]:
    """Take logits and deltas out of mixed precision: in bfloat16 a box at 1,000 px is 4 px off."""
    logits, deltas = said
    return [one.float() for one in logits], [one.float() for one in deltas]


class _StrideAnchors(AnchorGenerator):  # type: ignore[misc]
    """Places anchors at the strides of the pyramid.

    torchvision's divides the image's side by the map's, which is another stride where that leaves a rest.
    """

    def grid_anchors(self, grid_sizes: list[list[int]], strides: list[list[Tensor]]) -> list[Tensor]:
        """Return the anchors [N, 4] of each level."""
        device = strides[0][0].device
        own = [[torch.tensor(stride, device=device)] * 2 for stride in STRIDES]
        return super().grid_anchors(grid_sizes, own)  # type: ignore[no-any-return]


def _anchors(sides: Sequence[float]) -> AnchorGenerator:
    """Return a generator whose anchors are not rounded to whole pixels, as detectron2's are not."""
    generator = _StrideAnchors(tuple((side,) for side in sides), (ASPECT_RATIOS,) * len(sides))
    ratios = torch.tensor(ASPECT_RATIOS)
    shape = torch.stack([-(ratios**-0.5), -(ratios**0.5), ratios**-0.5, ratios**0.5], 1)  # [3, 4] of side 2
    generator.cell_anchors = [side / 2 * shape for side in sides]
    return generator
