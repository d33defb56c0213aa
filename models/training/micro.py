"""How each micro model was trained, and each run of the ablations: its network, its recipe, what it starts from.

`nox -s train_micro` runs those whose weights are committed, `nox -s train_ablations` all runs that only leave
records; both two at a time on two cores. Data are dead leaves, see bench/cli/micro_runs.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from torch import nn

from models import micro
from models.classifier.network import Classifier
from models.fastsam.yolo import fastsam_micro, need_ultralytics
from models.mask2former.micro import mask2former_micro
from models.sami.encoder import ViTEncoder
from models.sami.network import MaskedAutoencoder
from models.training.recipes import (
    CLASSIFY_MICRO,
    DETECT_MICRO,
    DISTILL_MICRO,
    EVERYTHING_MICRO,
    MAE_MICRO,
    PROMPTABLE_MICRO,
    SAM_MICRO,
    SAMI_MICRO,
    SEMANTIC_MICRO,
    MaskedRecipe,
    Recipe,
)
from models.vitdet.build import vitdet_micro
from models.vitdet.network import VitDet

CLASSES = 16
"""Of dead leaves as ImageNet."""
DETECTED_CLASSES = 16
"""Of dead leaves to detect."""
ENCODERS: dict[str, dict[str, Any]] = {
    "ti": {"embed_dim": 56, "depth": 4, "num_heads": 4},
    "s": {"embed_dim": 84, "depth": 6, "num_heads": 4},
}
"""The encoders of micro EfficientSAM-Ti and -S, pretrained at 224 px."""
DECODER: dict[str, Any] = {"decoder_dim": 64, "decoder_depth": 2, "decoder_heads": 4}
"""Of pretraining: the paper's 8 blocks of width 512 beside encoders of 192 to 768."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroRun:
    """One training run."""

    build: Callable[[], nn.Module]
    """The untrained network."""
    recipe: Recipe
    """Its stage follows from the type."""
    teacher: str | None = None
    """The run whose features are imitated; MobileSAM also takes its decoder over."""
    start: str | None = None
    """The run whose encoder this one starts from."""
    committed: bool = False
    """Whether its weights are part of the project."""
    ready: Callable[[], None] = lambda: None
    """Raises a BenchError where an optional package that it needs is not installed."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A way of pretraining an encoder: an arm of Tables 1, 6 and 7 or of an ablation in section 4.4."""

    size: str
    recipe: MaskedRecipe
    committed: tuple[Literal["encoder", "classifier"], ...] = ()
    """Weights that are part of the project. MAE-S's encoder is not: no table loads it, and space is short."""

    def autoencoder(self) -> MaskedAutoencoder:
        """Build the untrained autoencoder."""
        width = TARGET_DIMS[self.recipe.target]
        encoder = ViTEncoder(**ENCODERS[self.size])
        return MaskedAutoencoder(encoder, target_dim=width, decoder=self.recipe.decoder, **DECODER)

    def detector(self) -> VitDet:
        """Build the untrained detector around such an encoder."""
        return vitdet_micro(ENCODERS[self.size], classes=DETECTED_CLASSES)

    def classifier(self) -> Classifier:
        """Build the untrained classifier around such an encoder."""
        return Classifier(ViTEncoder(**ENCODERS[self.size]), CLASSES)


TARGET_DIMS = {"sam": micro.PROMPT_DIM, "clip": ENCODERS["s"]["embed_dim"], "pixels": 16 * 16 * 3}
"""Width of each target."""
VARIANTS: dict[str, Variant] = {
    "mae-ti": Variant("ti", MAE_MICRO, committed=("encoder", "classifier")),
    "sami-ti": Variant("ti", SAMI_MICRO, committed=("encoder", "classifier")),
    "mae-s": Variant("s", MAE_MICRO, committed=("classifier",)),
    "sami-s": Variant("s", SAMI_MICRO, committed=("encoder", "classifier")),
    "sami-ti-cosine": Variant("ti", replace(SAMI_MICRO, loss="cosine")),
    "sami-s-cosine": Variant("s", replace(SAMI_MICRO, loss="cosine")),
    "sami-ti-mask50": Variant("ti", replace(SAMI_MICRO, mask_ratio=0.5)),
    "sami-ti-mask85": Variant("ti", replace(SAMI_MICRO, mask_ratio=0.85)),
    "sami-ti-all-tokens": Variant("ti", replace(SAMI_MICRO, decoder="all")),
    "sami-ti-clip": Variant("ti", replace(SAMI_MICRO, target="clip")),
}
DENSE = ("mae-ti", "sami-ti", "mae-s", "sami-s")
"""Encoders that detectors (Table 2) and segmenters (Table 3) are built on."""
DENSE_COMMITTED = ("mae-ti", "sami-ti")
"""Those whose detectors and segmenters are part of the project; of the others, answers are."""
TEACHERS = {"sam": "sam-micro", "clip": "clip-micro"}
"""Who makes a target's features. CLIP's stand-in is a classifier trained on images that nobody else sees."""
SEEDS = (0, 1, 2)
"""Of the ablations; committed weights are those of seed 0."""
DENSE_SEEDS = {"vitdet": {"ti": (0, 1, 2), "s": (0,)}, "mask2former": {"ti": (0, 1), "s": (0,)}}
"""Of detectors and segmenters by size, all seeds on one encoder."""


def _pretraining(variant: Variant) -> MicroRun:
    teacher = TEACHERS.get(variant.recipe.target)
    return MicroRun(
        build=variant.autoencoder, recipe=variant.recipe, teacher=teacher, committed="encoder" in variant.committed
    )


MICRO_RUNS: dict[str, MicroRun] = {
    "sam-micro": MicroRun(build=micro.sam_micro, recipe=SAM_MICRO, committed=True),
    "mobilesam-micro": MicroRun(build=micro.mobilesam_micro, recipe=DISTILL_MICRO, teacher="sam-micro", committed=True),
    "fastsam-micro": MicroRun(build=fastsam_micro, recipe=EVERYTHING_MICRO, ready=need_ultralytics, committed=True),
    "clip-micro": MicroRun(
        build=VARIANTS["sami-s"].classifier, recipe=replace(CLASSIFY_MICRO, steps=800, warmup_steps=40)
    ),
    **{f"{name}-micro": _pretraining(variant) for name, variant in VARIANTS.items()},
    **{
        f"{name}-micro-classify": MicroRun(
            build=variant.classifier,
            recipe=CLASSIFY_MICRO,
            start=f"{name}-micro",
            committed="classifier" in variant.committed,
        )
        for name, variant in VARIANTS.items()
    },
    **{
        f"vitdet-{name}-micro": MicroRun(
            build=VARIANTS[name].detector, recipe=DETECT_MICRO, start=f"{name}-micro", committed=name in DENSE_COMMITTED
        )
        for name in DENSE
    },
    **{
        name: MicroRun(build=build, recipe=PROMPTABLE_MICRO, start=start, committed=True)
        for name, build, start in (
            ("sam-mae-ti-micro", micro.efficientsam_ti_micro, "mae-ti-micro"),
            ("efficientsam-ti-micro", micro.efficientsam_ti_micro, "sami-ti-micro"),
            ("efficientsam-s-micro", micro.efficientsam_s_micro, "sami-s-micro"),
        )
    },
    **{
        f"mask2former-{encoder}-micro": MicroRun(
            build=partial(mask2former_micro, **ENCODERS[VARIANTS[encoder].size]),
            recipe=SEMANTIC_MICRO,
            start=f"{encoder}-micro",
            committed=encoder in DENSE_COMMITTED,
        )
        for encoder in DENSE
    },
}
"""Every run by name."""

FIGURE7 = ("efficientsam-ti-micro", "efficientsam-s-micro")
"""Runs whose mIoU is measured on the way."""
FIGURE7_EPOCHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
