"""Every training of both scales: its network, its recipe, its data, what it starts from and what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from bench.training import data as sets
from bench.training.data import Data
from models import micro
from models.classifier.network import micro_classifier, paper_classifier
from models.efficientsam.build import efficientsam_s, efficientsam_ti
from models.fastsam.yolo import fastsam_micro, need_ultralytics
from models.mask2former import cards as segmenters
from models.mask2former.build import SIZES as MASK2FORMER_SIZES
from models.mask2former.build import mask2former, mask2former_micro
from models.sami.build import MICRO_SIZES, masked_autoencoder, micro_autoencoder
from models.training.recipes import (
    CLASSIFY_MICRO,
    CLASSIFY_PAPER,
    DETECT_MICRO,
    DETECT_PAPER,
    DISTILL_MICRO,
    FASTSAM_MICRO,
    MAE_MICRO,
    MAE_PAPER,
    PROMPTABLE_MICRO,
    PROMPTABLE_PAPER,
    SALIENT_MICRO,
    SAM_MICRO,
    SAMI_MICRO,
    SAMI_PAPER,
    SCRATCH_MICRO,
    SEMANTIC_MICRO,
    SEMANTIC_PAPER,
    MaskedRecipe,
)
from models.u2net.cards import u2netp_micro
from models.vitdet import cards as detectors
from models.vitdet.build import vitdet, vitdet_micro


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What the trainings of one scale have in common."""

    options: frozenset[str]
    """Names of options that only they have a use for."""
    workers: int
    """Processes that read images, if nothing else is asked for."""
    half: bool
    """Whether weights are kept in half precision, as the committed ones are."""
    teacher_batch: int
    """Crops in one call of a teacher whose features are cached; our choice."""
    counted_on: str
    """Device on which the operations of a dry run are counted: SAM's prompts want numbers, the paper's sizes none."""
    tflops: float
    """What one processor that they are meant for can do at best, 1e12 operations a second."""


_OF_PAPER = "data encoder teacher teacher_input teacher_layer features views"
PAPER = Scale(  # 312: NVIDIA's data sheet of the A100, bf16
    options=frozenset(_OF_PAPER.split()), workers=8, half=False, teacher_batch=64, counted_on="meta", tflops=312.0
)
MICRO = Scale(  # 0.1: 32 operations a cycle at 3 GHz, one core with AVX-512
    options=frozenset({"weights", "records"}), workers=0, half=True, teacher_batch=16, counted_on="cpu", tflops=0.1
)
Seeds = Mapping[str, tuple[int, ...]]
"""Seeds by table."""


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One training; its stage follows from the type of its recipe."""

    name: str
    build: Callable[..., nn.Module]
    """The untrained network; each stage tells it what it has to know, see `bench.training.stages`."""
    recipe: Any
    data: Data
    _: KW_ONLY
    scale: Scale = MICRO
    start: str | None = None
    """The pretraining whose encoder this one starts from."""
    teacher: str | None = None
    """The model whose features are imitated; MobileSAM also takes its decoder over."""
    committed: bool = False
    """Whether its weights are part of the project."""
    tables: Seeds = field(default_factory=dict)
    """Tables and figures that are made of it, with the seeds that they want."""
    ready: Callable[[], None] = lambda: None
    """Raises a BenchError where an optional package that it needs is not installed."""


class Arm(NamedTuple):
    """A way of pretraining a micro encoder: an arm of Tables 1, 6 and 7 or of an ablation in section 4.4."""

    size: str
    recipe: MaskedRecipe
    tables: Seeds
    """What is made of its classifier."""
    committed: bool = False
    """Whether its encoder is part of the project."""
    classifier: bool = False
    """Whether its classifier's weights are; of others what they answered is kept, since space is short."""


SEEDS = (0, 1, 2)
"""Committed weights are those of seed 0."""
FIVE_SEEDS = tuple(range(5))
"""Tables 1, 6, 7 and the ablations want more, since top-1 differs much from seed to seed."""
LOSS_SEEDS = tuple(range(10))
"""The two losses of Table 6 hardly differ: of five seeds each, intervals were twice as wide as a decision needs."""
TABLE_1, TABLE_6, TABLE_7 = {"table1": FIVE_SEEDS}, {"table6": FIVE_SEEDS}, {"table7": FIVE_SEEDS}
LOSSES = {"table6": LOSS_SEEDS}
TABLES_1_6 = {**TABLE_1, **TABLE_6}
ARMS: dict[str, Arm] = {
    "mae-ti": Arm("ti", MAE_MICRO, TABLES_1_6, committed=True, classifier=True),
    "sami-ti": Arm("ti", SAMI_MICRO, {**TABLE_1, **LOSSES, **TABLE_7}, committed=True, classifier=True),
    "mae-s": Arm("s", MAE_MICRO, {"table1": SEEDS}),
    "sami-s": Arm("s", SAMI_MICRO, {"table1": SEEDS, "table6": SEEDS}),
    "sami-ti-cosine": Arm("ti", replace(SAMI_MICRO, loss="cosine"), LOSSES),
    "sami-s-cosine": Arm("s", replace(SAMI_MICRO, loss="cosine"), {"table6": SEEDS}),
    "sami-ti-mask50": Arm("ti", replace(SAMI_MICRO, mask_ratio=0.5), TABLE_7),
    "sami-ti-mask85": Arm("ti", replace(SAMI_MICRO, mask_ratio=0.85), TABLE_7),
    "sami-ti-all-tokens": Arm("ti", replace(SAMI_MICRO, decoder="all"), TABLE_6),
    "sami-ti-clip": Arm("ti", replace(SAMI_MICRO, target="clip"), TABLE_6),
    "scratch-ti": Arm("ti", SCRATCH_MICRO, TABLE_1),
}
TEACHERS = {"sam": "sam-micro", "clip": "clip-micro", "pixels": None}
"""Who makes a target's features. CLIP's stand-in is a classifier trained on images that nobody else sees."""
PROMPTED: Seeds = {"table4": (0,), "table5": (0,)}
CURVES: Seeds = {**PROMPTED, "figure7": SEEDS}
OVER_SEEDS: Seeds = {"table4": SEEDS, "figure7": SEEDS}
DENSE: dict[str, tuple[Seeds, Seeds]] = {
    "mae-ti": ({"table2": SEEDS}, {"table3": SEEDS}),
    "sami-ti": ({"table2": SEEDS, "table5": (1,)}, {"table3": SEEDS}),  # Table 5 takes the boxes of seed 1
    "scratch-ti": ({"table2": SEEDS}, {"table3": SEEDS}),
    "mae-s": ({"table2": (0,)}, {"table3": (0,)}),
    "sami-s": ({"table2": (0,)}, {"table3": (0,)}),
}
"""Encoders that detectors and segmenters are built on."""
DENSE_COMMITTED = "sami-ti"
"""The one whose detector's and segmenter's weights are part of the project; of others what they answered is kept."""


def _micro() -> Iterator[TrainingRun]:
    build: Any
    recipe: Any
    tables: Seeds
    seen = sets.PROMPTED_LEAVES
    yield TrainingRun("sam-micro", micro.sam_micro, SAM_MICRO, seen, committed=True, tables=PROMPTED)
    name, build, recipe = "mobilesam-micro", micro.mobilesam_micro, DISTILL_MICRO
    yield TrainingRun(name, build, recipe, seen, teacher="sam-micro", committed=True, tables=PROMPTED)
    name, tables, ready = "fastsam-micro", {"table5": (0,)}, need_ultralytics
    yield TrainingRun(name, fastsam_micro, FASTSAM_MICRO, seen, committed=True, tables=tables, ready=ready)
    name, tables = "u2netp-micro", {"salient": (0,)}
    yield TrainingRun(name, u2netp_micro, SALIENT_MICRO, sets.SALIENT_LEAVES, committed=True, tables=tables)
    clip_recipe = replace(CLASSIFY_MICRO, steps=800, warmup_steps=40)
    yield TrainingRun("clip-micro", partial(micro_classifier, "s"), clip_recipe, sets.CLIP_LEAVES)
    for name, arm in ARMS.items():
        build, teacher, seen = partial(micro_autoencoder, arm.size), TEACHERS[arm.recipe.target], sets.UNLABELLED_LEAVES
        yield TrainingRun(f"{name}-micro", build, arm.recipe, seen, teacher=teacher, committed=arm.committed)
    for name, arm in ARMS.items():
        name, start, kept, tables = f"{name}-micro-classify", f"{name}-micro", arm.classifier, arm.tables
        build, seen = partial(micro_classifier, arm.size), sets.LABELLED_LEAVES
        yield TrainingRun(name, build, CLASSIFY_MICRO, seen, start=start, committed=kept, tables=tables)
    for name, (tables, _) in DENSE.items():
        size, start, seen = ARMS[name].size, f"{name}-micro", sets.DETECTION_LEAVES
        kept, build = name == DENSE_COMMITTED, partial(vitdet_micro, MICRO_SIZES[size])
        if tables:
            name = f"vitdet-{name}-micro"
            yield TrainingRun(name, build, DETECT_MICRO, seen, start=start, committed=kept, tables=tables)
    for name, start, build, kept, tables in (
        ("sam-mae-ti-micro", "mae-ti-micro", micro.efficientsam_ti_micro, False, OVER_SEEDS),
        ("sam-scratch-ti-micro", "scratch-ti-micro", micro.efficientsam_ti_micro, False, OVER_SEEDS),
        ("efficientsam-ti-micro", "sami-ti-micro", micro.efficientsam_ti_micro, True, {**PROMPTED, **OVER_SEEDS}),
        ("efficientsam-s-micro", "sami-s-micro", micro.efficientsam_s_micro, True, CURVES),
    ):
        seen = sets.FINETUNING_LEAVES
        yield TrainingRun(name, build, PROMPTABLE_MICRO, seen, start=start, committed=kept, tables=tables)
    for name, (_, tables) in DENSE.items():
        size, start, seen = ARMS[name].size, f"{name}-micro", sets.SEMANTIC_LEAVES
        kept, build = name == DENSE_COMMITTED, partial(mask2former_micro, **MICRO_SIZES[size])
        name = f"mask2former-{name}-micro"
        yield TrainingRun(name, build, SEMANTIC_MICRO, seen, start=start, committed=kept, tables=tables)


def _paper() -> Iterator[TrainingRun]:
    build: Any
    for kind, recipe, teacher in (("sami", SAMI_PAPER, "sam-vit-h"), ("mae", MAE_PAPER, None)):
        for size in ("ti", "s", "b"):
            name, build = f"{kind}-{size}", partial(masked_autoencoder, size)
            yield TrainingRun(name, build, recipe, sets.PHOTOS, scale=PAPER, teacher=teacher)
            classify = replace(CLASSIFY_PAPER, layer_decay=None if size == "ti" else CLASSIFY_PAPER.layer_decay)
            head = partial(paper_classifier, size)
            yield TrainingRun(f"{name}-classify", head, classify, sets.IMAGENET, scale=PAPER, start=name)
    for name, start, network in (
        ("efficientsam-ti", "sami-ti", efficientsam_ti),
        ("efficientsam-s", "sami-s", efficientsam_s),
        ("sam-mae-ti", "mae-ti", efficientsam_ti),
    ):
        yield TrainingRun(name, network, PROMPTABLE_PAPER, sets.SA1B, scale=PAPER, start=start)
    for name in (card.name for card in detectors.CARDS if card.scale == "paper"):
        kind, size = name.removeprefix("vitdet-"), name.rpartition("-")[2]
        yield TrainingRun(name, partial(vitdet, size), DETECT_PAPER, sets.COCO, scale=PAPER, start=kind)
    for name in (card.name for card in segmenters.CARDS if card.scale == "paper"):
        kind, build = (
            name.removeprefix("mask2former-"),
            partial(mask2former, MASK2FORMER_SIZES[name.rpartition("-")[2]]),
        )
        yield TrainingRun(name, build, SEMANTIC_PAPER, sets.ADE20K, scale=PAPER, start=kind)


RUNS: dict[str, TrainingRun] = {run.name: run for run in (*_micro(), *_paper())}
"""Every training by name."""
FIGURE7_EPOCHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
