"""Section 4.1's recipe for detectron2's own training tool, with its large-scale jitter and its losses.

One file a size is in configs/, e.g. `lazyconfig_train_net.py --config-file models/vitdet/d2/configs/vitdet_ti.py
--num-gpus 8 train.init_checkpoint=encoder.pth`. Mixed precision is float16 there, bfloat16 in ours; box losses are
plain L1 there. It was never run at that scale. Needs detectron2, see package.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import detectron2.data.transforms as T
import torch
from detectron2 import model_zoo
from detectron2.config import LazyCall
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import CosineParamScheduler
from torch import nn

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
    optimizer = LazyCall(torch.optim.AdamW)(
        params=LazyCall(decayed_matrices)(weight_decay=recipe.weight_decay),
        lr=recipe.learning_rate,
        betas=recipe.betas,
    )
    lr_multiplier = LazyCall(WarmupParamScheduler)(
        scheduler=LazyCall(CosineParamScheduler)(start_value=1.0, end_value=0.0),
        warmup_factor=1 / recipe.warmup_steps,
        warmup_length=recipe.warmup_steps / recipe.steps,
        rescale_interval=True,
    )
    train = model_zoo.get_config("common/train.py").train
    train.max_iter = recipe.steps
    train.amp.enabled = recipe.precision != "no"
    train.checkpointer.period = recipe.checkpoint_every
    train.seed = recipe.seed
    return Training(model_config(network), _photos(recipe), optimizer, lr_multiplier, train)


def decayed_matrices(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return groups of parameters for an optimiser: matrices decay, vectors do not, as in our own training."""
    trained = [one for one in model.parameters() if one.requires_grad]
    return [
        {"params": [one for one in trained if one.ndim >= 2], "weight_decay": weight_decay},
        {"params": [one for one in trained if one.ndim < 2], "weight_decay": 0.0},
    ]


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
