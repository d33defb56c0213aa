"""Training recipes as frozen data: `paper` fields name the section they come from, the rest is our choice.

One module a stage. `micro` recipes train the 256 px models on CPU cores: `bench train --all micro`.
"""

from models.training.recipes.classify import CLASSIFY_MICRO, CLASSIFY_PAPER, ClassifyRecipe
from models.training.recipes.detect import COCO_IMAGES, DETECT_MICRO, DETECT_PAPER, DetectRecipe
from models.training.recipes.fastsam import FASTSAM_MICRO, FastSamRecipe
from models.training.recipes.masked import (
    IMAGENET_IMAGES,
    MAE_MICRO,
    MAE_PAPER,
    SAMI_MICRO,
    SAMI_PAPER,
    SCRATCH_MICRO,
    MaskedRecipe,
)
from models.training.recipes.promptable import (
    DISTILL_MICRO,
    FINETUNE_SCENES,
    PROMPTABLE_MICRO,
    PROMPTABLE_PAPER,
    SA1B_IMAGES,
    SAM_MICRO,
    DistillRecipe,
    PromptableRecipe,
)
from models.training.recipes.recipe import Recipe, images_per_batch
from models.training.recipes.salient import SALIENT_MICRO, SalientRecipe
from models.training.recipes.semantic import SEMANTIC_MICRO, SEMANTIC_PAPER, SemanticRecipe

__all__ = [
    "CLASSIFY_MICRO",
    "CLASSIFY_PAPER",
    "COCO_IMAGES",
    "DETECT_MICRO",
    "DETECT_PAPER",
    "DISTILL_MICRO",
    "FASTSAM_MICRO",
    "FINETUNE_SCENES",
    "IMAGENET_IMAGES",
    "MAE_MICRO",
    "MAE_PAPER",
    "PROMPTABLE_MICRO",
    "PROMPTABLE_PAPER",
    "SA1B_IMAGES",
    "SALIENT_MICRO",
    "SAMI_MICRO",
    "SAMI_PAPER",
    "SAM_MICRO",
    "SCRATCH_MICRO",
    "SEMANTIC_MICRO",
    "SEMANTIC_PAPER",
    "ClassifyRecipe",
    "DetectRecipe",
    "DistillRecipe",
    "FastSamRecipe",
    "MaskedRecipe",
    "PromptableRecipe",
    "Recipe",
    "SalientRecipe",
    "SemanticRecipe",
    "images_per_batch",
]
