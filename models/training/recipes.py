"""Training recipes as frozen data: `paper` fields name the section they come from, the rest is our choice.

`micro` recipes train the 256 px models on two CPU cores: `nox -s train_micro`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from models.errors import BenchError

MEAN_RGB = (124, 116, 104)
"""ImageNet's mean in whole values: zero once normalised, to 0.01."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What any stage needs: optimiser, schedule, batch, seed."""

    steps: int
    """Optimiser steps."""
    images_per_step: int
    """Images a step, over all processes."""
    learning_rate: float
    """Peak learning rate."""
    weight_decay: float
    """Decoupled weight decay, on matrices only where a recipe does not say otherwise."""
    schedule: Literal["linear", "cosine", "poly"] = "linear"
    """Decay to zero; poly is linear to the power 0.9."""
    warmup_steps: int = 0
    """Linear warm-up."""
    warmup_ahead: Literal[0, 1] = 0
    """Step s of the warm-up learns at (s + this) / warmup_steps of the peak: MAE's code begins at zero."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW moments."""
    muon_learning_rate: float | None = None
    """Peak learning rate of Muon (Jordan 2024; scaled to AdamW's updates) on the weights of linear layers; None
    leaves them to AdamW. Our choice, for micro models only."""
    accumulate: int = 1
    """Gradient accumulation: micro-batches a step."""
    clip_norm: float | None = None
    """Largest gradient norm; None is off."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    """Mixed precision."""
    seed: int = 0
    """Of initialisation, data order and prompts."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""
    declared: str = ""
    """What the notes of a table say of it: where the paper is silent, and where it departs from a published recipe."""


def images_per_batch(recipe: Recipe, processes: int) -> int:
    """Return the images of one micro-batch of one process.

    Raises:
        BenchError: if a step's images cannot be shared equally.
    """
    images, rest = divmod(recipe.images_per_step, processes * recipe.accumulate)
    if rest:
        raise BenchError(
            f"{recipe.images_per_step} images a step cannot be shared equally by {processes} processes with "
            f"{recipe.accumulate} micro-batches each: change --images-per-step, --accumulate or the processes"
        )
    return images


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptableRecipe(Recipe):
    """Section 4.1, finetuning on SA-1B, and section 4.4's prompts."""

    prompts: tuple[tuple[Literal["box", "click"], int], ...] = (("box", 1), ("click", 1), ("click", 3))
    """Kinds of prompt asked in each step, (kind, count); our choice, paper silent on the mix."""
    masks_per_prompt: int = 4
    """Masks of each image that get each kind of prompt."""
    iou_weight: float = 1.0
    """Weight of the predicted-IoU regression (SAM, appendix A)."""
    single_mask_share: float = 0.0
    """Share of steps in which boxes and several clicks train the single-mask token instead of the three (SAM,
    appendix A, uses that token for them; EfficientSAM's is not trained at all)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillRecipe(Recipe):
    """MobileSAM's decoupled distillation: the student's image embedding imitates the teacher's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedRecipe(Recipe):
    """Section 3.2: masked image pretraining. SAMI, its ablations (section 4.4) and MAE are settings of these fields."""

    target: Literal["sam", "clip", "pixels"] = "sam"
    """What is reconstructed: features of SAM's or CLIP's image encoder, or pixels."""
    decoder: Literal["masked", "all"] = "masked"
    """Tokens that the decoder updates: the masked ones alone (cross-attention), or all (self-attention)."""
    loss: Literal["mse", "cosine"] = "mse"
    """Squared error (equation 1), or 1 - cosine (Table 6)."""
    loss_tokens: Literal["all", "masked"] = "all"
    """Tokens that count: all N (equation 1), or the masked ones (MAE)."""
    mask_ratio: float = 0.75
    """Share of the tokens that are hidden (section 4.4, Table 7)."""
    norm_pixels: bool = False
    """Whether pixel targets are normalised patch by patch (MAE)."""
    crop_scale: tuple[float, float] = (0.2, 1.0)
    """Area of random resized crops; section 4.1 names crop and flip, the range is MAE's."""
    views: int | None = None
    """Different crops of each image over the whole run, so that features can be cached; None for ever new ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyRecipe(Recipe):
    """Section 4.1, finetuning on ImageNet-1K."""

    layer_decay: float | None = None
    """Learning rate of a block over that of the next one."""
    rand_augment: str | None = None
    """timm's RandAugment setting."""
    label_smoothing: float = 0.1
    """Share of the label spread over all classes."""
    mixup: float = 0.0
    """Alpha of mixup."""
    cutmix: float = 0.0
    """Alpha of cutmix."""
    drop_path: float = 0.0
    """Stochastic depth of the last block."""
    random_erasing: float = 0.0
    """Probability of erasing a rectangle."""
    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Area of random resized crops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectRecipe(Recipe):
    """Section 4.1, finetuning on COCO."""

    image_size: int = 1024
    """Side of the square input, px (section 4.1)."""
    jitter: tuple[float, float] = (0.1, 2.0)
    """Large-scale jitter: the photo's longer side over the input's (Li et al. 2022)."""
    padding: tuple[int, int, int] = MEAN_RGB
    """RGB beside a photo that is smaller than the input; zero once normalised is what ViTDet's loader pads with, and
    what is beside photos when a detector is asked."""
    layer_decay: float | None = None
    """Learning rate of a block over that of the next one; None: one rate for all."""
    decayed: Literal["all but norms and positions", "matrices"] = "all but norms and positions"
    """Which parameters weight decay shrinks: detectron2's choice for ViTDet, or none of one dimension."""
    drop_path: float = 0.0
    """Stochastic depth of the last block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticRecipe(Recipe):
    """Section 4.2, semantic segmentation on ADE20K with Mask2Former."""

    warmup_ahead: Literal[0, 1] = 1
    """See `Recipe`; mmengine's warm-up cannot begin at zero."""
    crop_size: int = 512
    """Side of a crop, px."""
    scales: tuple[float, float] = (0.5, 2.0)
    """Range of the photo's shorter side over the crop's, before the crop is cut (mmsegmentation's for Mask2Former)."""
    colours: bool = True
    """Whether colours are distorted (mmsegmentation's for Mask2Former)."""
    backbone_multiplier: float = 0.1
    """Learning rate of the backbone over that of the rest."""
    backbone_norms_decay: bool = False
    """Whether weight decay shrinks the backbone's norms and positions too; Mask2Former's own does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EverythingRecipe(Recipe):
    """FastSAM (arXiv 2306.12156): YOLOv8-seg finds all objects of an image, whatever they are; ultralytics' losses."""

    box_gain: float = 7.5
    """Weight of the boxes' CIoU and of the masks' cross-entropy; ultralytics' default, as the next two."""
    class_gain: float = 0.5
    """Weight of object or not."""
    distribution_gain: float = 1.5
    """Weight of the distribution over bins of each box side."""


SA1B_IMAGES = 11_185_362
"""Images of the published SA-1B."""

PROMPTABLE_PAPER = PromptableRecipe(
    steps=5 * SA1B_IMAGES // 128,  # 5 epochs of batch 128, section 4.1
    images_per_step=128,
    learning_rate=4e-4,  # linear to 0, section 4.1
    weight_decay=0.1,
    masks_per_prompt=21,  # three kinds, 63 of up to 64 masks an image
    precision="bf16",
    checkpoint_every=2000,
)
IMAGENET_IMAGES = 1_281_167
"""Training images of ImageNet-1K."""
SAMI_PAPER = MaskedRecipe(
    steps=400 * IMAGENET_IMAGES // 4096,  # 400 epochs of batch 4096, section 4.1
    images_per_step=4096,
    learning_rate=2.4e-3,  # 1.5e-4 x 4096 / 256, section 4.1
    weight_decay=0.05,
    betas=(0.9, 0.95),
    schedule="cosine",
    warmup_steps=40 * IMAGENET_IMAGES // 4096,  # 40 epochs, section 4.1
    precision="bf16",  # our choice, paper silent
    checkpoint_every=1000,
)
MAE_PAPER = replace(
    SAMI_PAPER,
    target="pixels",
    decoder="all",
    loss_tokens="masked",
    norm_pixels=True,  # He et al. 2022
)
_EPOCH = IMAGENET_IMAGES // 1024  # steps of batch 1024, section 4.1
CLASSIFY_PAPER = ClassifyRecipe(
    steps=100 * _EPOCH,
    images_per_step=1024,
    learning_rate=1e-3,
    weight_decay=0.05,
    schedule="cosine",
    warmup_steps=5 * _EPOCH,
    layer_decay=0.75,  # S and B; None for Ti
    rand_augment="rand-m9-mstd0.5-inc1",
    label_smoothing=0.1,
    mixup=0.8,
    cutmix=1.0,  # this and the next two: MAE's, paper silent
    drop_path=0.1,
    random_erasing=0.25,
    precision="bf16",
    checkpoint_every=_EPOCH,
)
COCO_IMAGES = 118_287
"""Photos of COCO train2017, as an epoch is counted; those without objects are kept out of training."""
_COCO_EPOCH = COCO_IMAGES // 64  # steps of batch 64, section 4.1
DETECT_PAPER = DetectRecipe(
    steps=100 * _COCO_EPOCH,  # section 4.1, as the next six
    images_per_step=64,
    learning_rate=2e-4,
    weight_decay=0.1,
    schedule="cosine",
    warmup_steps=10 * _COCO_EPOCH,
    image_size=1024,
    drop_path=0.1,  # ViTDet-B's, paper silent, as the next two
    layer_decay=0.7,
    decayed="all but norms and positions",
    precision="bf16",  # our choice, paper silent
    checkpoint_every=_COCO_EPOCH,
    declared="a training here follows detectron2's mask_rcnn_vitdet_b in all sizes where the paper is silent (layer "
    "decay 0.7, weight decay on all but norms of the ViT and positions, drop path 0.1, zeros beside photos)",
)
DISTILL_PAPER = DistillRecipe(
    steps=8 * 125_000 // 8,  # MobileSAM, section 4: 8 epochs of 1 % of SA-1B, batch 8
    images_per_step=8,
    learning_rate=1e-3,
    weight_decay=5e-4,
    precision="bf16",
)
DISTILL_MICRO = DistillRecipe(
    steps=900,
    images_per_step=16,
    learning_rate=2e-3,
    muon_learning_rate=6e-3,
    weight_decay=0.05,
    warmup_steps=100,
    warmup_ahead=1,
    clip_norm=1.0,
)

FINETUNE_SCENES = 2400
"""Dead leaves scenes of one "epoch" of micro finetuning."""
PROMPTABLE_MICRO = PromptableRecipe(
    steps=5 * FINETUNE_SCENES // 8,  # 5 epochs, as section 4.1
    images_per_step=8,
    learning_rate=2e-3,
    muon_learning_rate=6e-3,
    weight_decay=0.05,
    warmup_steps=100,
    warmup_ahead=1,
    clip_norm=1.0,
    masks_per_prompt=4,
)
SAM_MICRO = replace(PROMPTABLE_MICRO, steps=4500, images_per_step=16, single_mask_share=0.1)
SAMI_MICRO = MaskedRecipe(
    steps=1000,
    images_per_step=32,
    learning_rate=2e-3,
    weight_decay=0.05,
    betas=(0.9, 0.95),
    schedule="cosine",
    warmup_steps=100,  # a tenth, as section 4.1
    warmup_ahead=1,
    crop_scale=(0.4, 1.0),
    views=2,
    checkpoint_every=200,
)
MAE_MICRO = replace(SAMI_MICRO, target="pixels", decoder="all", loss_tokens="masked", norm_pixels=True)
CLASSIFY_MICRO = ClassifyRecipe(
    steps=500,
    images_per_step=32,
    learning_rate=2e-3,
    muon_learning_rate=6e-3,
    weight_decay=0.05,
    schedule="cosine",
    warmup_steps=25,  # a twentieth, as section 4.1
    warmup_ahead=1,
    crop_scale=(0.5, 1.0),
    checkpoint_every=100,
)
DETECT_MICRO = DetectRecipe(
    steps=1500,
    images_per_step=4,
    learning_rate=1e-3,
    muon_learning_rate=3e-3,
    weight_decay=0.05,
    schedule="cosine",
    warmup_steps=150,  # a tenth, as section 4.1
    warmup_ahead=1,
    clip_norm=1.0,
    image_size=256,
    jitter=(0.75, 1.5),
    padding=(128, 128, 128),
    decayed="matrices",
    checkpoint_every=100,
    declared="trained with one learning rate for all blocks, weight decay on matrices alone and grey beside photos, "
    "unlike detectron2's ViTDet",
)
SEMANTIC_PAPER = SemanticRecipe(
    steps=160_000,  # this and the next four: section 4.2
    images_per_step=16,
    learning_rate=2e-4,
    weight_decay=0.05,
    schedule="poly",
    clip_norm=0.01,  # Mask2Former's, paper silent
    precision="bf16",  # our choice, paper silent
    checkpoint_every=5000,
    declared="a training here follows Mask2Former's own recipe where the paper is silent (backbone at 0.1 of the "
    "learning rate, no weight decay of norms and positions, gradients clipped to 0.01)",
)
SEMANTIC_MICRO = SemanticRecipe(
    steps=900,
    images_per_step=4,
    learning_rate=1e-3,
    weight_decay=0.05,
    schedule="poly",
    clip_norm=0.01,
    crop_size=256,
    scales=(1.0, 1.5),
    colours=False,
    backbone_multiplier=0.5,  # encoders pretrained for minutes have more to learn than the paper's
    backbone_norms_decay=True,
    checkpoint_every=100,
    declared="trained without distorted colours, the backbone at 0.5 of the learning rate and with weight decay of its "
    "norms and positions, unlike Mask2Former",
)
EVERYTHING_MICRO = EverythingRecipe(
    steps=1500,
    images_per_step=16,
    learning_rate=3e-3,
    weight_decay=0.05,
    schedule="cosine",
    warmup_steps=75,  # a twentieth
    warmup_ahead=1,
    clip_norm=10.0,  # ultralytics'
    checkpoint_every=100,
)
