"""Section 4.1's recipe for detectron2's own training tool, with its large-scale jitter and its losses.

One file a size is in configs/, e.g. `lazyconfig_train_net.py --config-file models/vitdet/d2/configs/vitdet_ti.py
--num-gpus 8 train.init_checkpoint=encoder.pth`. Mixed precision is float16 there, bfloat16 in ours; box losses are
plain L1 there. It was never run at that scale. Needs detectron2, see package.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import detectron2.data.transforms as T
import torch
from detectron2 import model_zoo
from detectron2.config import LazyCall
from detectron2.modeling.backbone.vit import get_vit_lr_decay_rate
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import CosineParamScheduler

from models.training.recipes import DETECT_PAPER, DetectRecipe
from models.vitdet.build import vitdet
from models.vitdet.d2.model import model_config


class Training(NamedTuple):
    """What detectron2's tool reads from a config file, under these names."""

    model: Any
    dataloader: Any
    optimizer: Any
    lr_multiplier: Any
    train: Any


def training(size: str, recipe: DetectRecipe = DETECT_PAPER) -> Training:
    """Return the config of training a ViTDet of Table 2 on COCO.

    Args:
        size: of `models.vitdet.build.SIZES`.
        recipe: section 4.1's.
    """
    with torch.device("meta"):
        network = vitdet(size, img_size=recipe.image_size, drop_path=recipe.drop_path)
    lr_multiplier = LazyCall(WarmupParamScheduler)(
        scheduler=LazyCall(CosineParamScheduler)(start_value=1.0, end_value=0.0),
        warmup_factor=recipe.warmup_ahead / recipe.warmup_steps,
        warmup_length=recipe.warmup_steps / recipe.steps,
        rescale_interval=True,
    )
    train = model_zoo.get_config("common/train.py").train
    train.max_iter = recipe.steps
    train.amp.enabled = recipe.precision != "no"
    train.checkpointer.period = recipe.checkpoint_every
    train.seed = recipe.seed
    optimizer = _optimizer(recipe, blocks=len(network.backbone.blocks))
    return Training(model_config(network), _photos(recipe), optimizer, lr_multiplier, train)


def _optimizer(recipe: DetectRecipe, *, blocks: int) -> Any:
    """Return detectron2's AdamW as its mask_rcnn_vitdet_b_100ep sets it, with our recipe's numbers."""
    optimizer = model_zoo.get_config("common/optim.py").AdamW
    optimizer.lr, optimizer.weight_decay, optimizer.betas = recipe.learning_rate, recipe.weight_decay, recipe.betas
    optimizer.params.lr_factor_func = partial(
        get_vit_lr_decay_rate, num_layers=blocks, lr_decay_rate=recipe.layer_decay or 1.0
    )
    optimizer.params.overrides = {"pos_embed": {"weight_decay": 0.0}}
    return optimizer


def _photos(recipe: DetectRecipe) -> Any:
    """Return detectron2's COCO loaders with large-scale jitter, found under DETECTRON2_DATASETS as under BENCH_DATA."""
    loader = model_zoo.get_config("common/data/coco.py").dataloader
    side, (smallest, largest) = recipe.image_size, recipe.jitter
    loader.train.mapper.augmentations = [
        LazyCall(T.RandomFlip)(horizontal=True),
        LazyCall(T.ResizeScale)(min_scale=smallest, max_scale=largest, target_height=side, target_width=side),
        LazyCall(T.FixedSizeCrop)(crop_size=(side, side), pad=False),
    ]
    loader.train.mapper.image_format = "RGB"
    loader.train.mapper.recompute_boxes = True  # crops cut objects
    loader.train.total_batch_size = recipe.images_per_step
    loader.test.mapper.augmentations = [LazyCall(T.ResizeShortestEdge)(short_edge_length=side, max_size=side)]
    return loader
