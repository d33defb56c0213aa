"""The axes: every choice that published evaluators make differently, as named fields that go into each record.

The paper leaves most of them open; published protocols set them differently, and a difference of two points between two
papers is more often an axis than a model. How a command names axes is protocols/chosen.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from models.errors import unknown_name

MaskPick = Literal["predicted_iou", "box_iou", "filled_box_iou", "single", "oracle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """One point among the choices; the defaults are the paper's, or ours where it is silent.

    Sources are named by letters: E, U are mit-han-lab/efficientvit de7d773, applications/efficientvit_sam,
    eval_efficientvit_sam_model.py and sam_eval_utils.py; M, D, C, T, S are chongzhou96/EdgeSAM b53372c,
    evaluation/eval_mIoU.py, training/data/coco_dataset.py, edge_sam/utils/common.py and transforms.py,
    scripts/eval_mIoU.sh; F, R, B are pytorch-labs/segment-anything-fast e6aadeb, experiments/data.py, metrics.py
    and eval_combo.py; Y is xinghaochen/TinySAM 11589bc, eval/tinysam_zero_shot_ins_eval.py. Numbers are lines.
    """

    mask_pick: MaskPick = "predicted_iou"
    """Which of the candidates counts: the most confident; the one whose tight box (or whose pixels) has the
    highest IoU with the prompt's box; the single-mask token; or the best by the truth (an upper bound)."""
    refinement: Literal[0, 1] = 0
    """Passes with the picked mask fed back as a prompt (SAM, appendix D.4, uses one)."""
    score: Literal["detector", "detector_x_predicted_iou"] = "detector"
    """What ranks instances in AP."""
    clicks: Literal["random", "centre", "ritm"] = "random"
    """random: uniform in the mask, all at once (the paper). centre: the first as `first_click` says, then random
    ones of the error, missed and extra together (EdgeSAM, C 106-108). ritm: each the pixel farthest from the edge
    of the missed or of the extra pixels, whichever lies deeper (Sofiiuk et al. 2021; U 164-190)."""
    first_click: Literal["deepest", "approximately_deepest", "centre_of_mass"] = "deepest"
    """Where `centre` clicks begin. deepest: the pixel farthest from the mask's edge. approximately_deepest: the
    same by kornia's approximate distance, in the 1024 px frame (EdgeSAM, M 323-326, C 240-250). centre_of_mass: the
    rounded centre of mass, or where that lies outside, the pixel whose nearest edge up, right, down or left is
    farthest (segment-anything-fast, F 35-39, 57-117)."""
    tie: Literal["object", "background"] = "object"
    """Which side a `ritm` click takes where missed and extra pixels lie equally deep; where nothing is wrong at all,
    object clicks the mask's middle again and background the image's first pixel (U 184: strictly deeper)."""
    click_again: bool = True
    """Whether a `ritm` click may fall on a pixel that was clicked before (U 178-179, 203: not)."""
    click_frame: Literal["image", "low_resolution"] = "image"
    """Where errors are counted and clicks placed: at the pixels of the image, or at the cells of the model's
    low-resolution answer in the padded 1024 px frame, for `centre` clicks (EdgeSAM, M 399-409)."""
    mask_prompt: Literal["none", "previous"] = "none"
    """What comes with the clicks after the first: nothing, or the low-resolution logits of the last answer, as a mask
    prompt (N). For `centre` and `ritm` clicks; EfficientSAM takes none."""
    background_clicks: Literal["asked", "never"] = "asked"
    """Whether table `clicks` clicks on the background where its rule says so. A model that takes no such clicks gets
    none either way: its clicks fall on the object instead, on what was missed."""
    most_clicks: int = 20
    """Clicks of table `clicks`; an object that does not reach an IoU within them counts as needing so many (N: 20,
    V: 5)."""
    smallest_error: int = 0
    """Wrong cells (or pixels) below which a `centre` click is none, label -2 (EdgeSAM, C 158-160: 10)."""
    truth_raster: Literal["exact", "frame"] = "exact"
    """What answers are compared with: the mask, or the mask put into the 1024 px frame by nearest neighbours and
    brought back by bilinear interpolation, which dilates it (EdgeSAM, T 72-75, M 459-466)."""
    empty: Literal["skip", "zero", "undefined"] = "skip"
    """Annotations without a pixel: not asked; asked, IoU 0 (U 22); or asked, IoU 0 where something is answered and
    left out of the mean where nothing is (0 / 0; EdgeSAM, M 526)."""
    seed: int = 0
    """Of random clicks, together with the annotation's id."""
    repeats: int = 1
    """Draws of random clicks for each annotation; means are over all of them."""
    crowd: Literal["skip", "keep"] = "skip"
    """Whether crowd regions count in mIoU (E 101 and F 143 keep them, D 64 does not)."""
    smallest_area: float = 0.0
    """Annotations of a smaller area (px) are left out of mIoU (E 137, 171: 1)."""
    averaging: Literal["mask", "category"] = "mask"
    """Mean over masks, or mean of the categories' means."""
    box_source: Literal["tight", "tight_last_pixel", "annotation"] = "tight"
    """Tightest box of the ground-truth mask, ending at the last pixel + 1 or at the last pixel (SAM's amg.py), or
    the annotation's own sub-pixel box (E 25-26, D 109)."""
    clip_boxes: bool = True
    """Whether boxes, the annotation's and the detector's, are clipped to the image (E 142, D 148, Y 52-54: not)."""
    lvis_images: Literal["all", "val2017"] = "all"
    """All of LVIS val, or its images of COCO val2017 alone, a quarter (EdgeSAM)."""
    detection_cap: Literal["category", "image"] = "category"
    """Which detections of an image count on COCO: the best 100 of each category, as pycocotools has it (E 249-250,
    Y 39-59), or the best 100 of all, as detectors cut their own lists."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of the model; only fp32 is compared with a paper."""
    columns: tuple[str, ...] | None = None
    """The columns that the evaluator has, of Tables 4 and 5 and of table `clicks`: by their keys, or all (None). Others
    are not asked."""

    @property
    def exact(self) -> bool:
        """Whether numbers may be compared with a paper and gated."""
        return self.precision == "fp32"

    def asks(self, prompt: str) -> bool:
        """Whether a column of the evaluator has this kind of prompt: box, 1click, 3click.

        >>> PRESETS["tinysam"].asks("box"), PRESETS["edgesam"].asks("box")
        (False, True)
        """
        return self.columns is None or any(column.split("_", 1)[1] == prompt for column in self.columns)


PAPER = Axes()
PRESETS: dict[str, Axes] = {
    "paper": PAPER,
    "efficientvit": replace(
        PAPER,
        clicks="ritm",
        tie="background",
        click_again=False,
        empty="zero",
        crowd="keep",
        smallest_area=1.0,
        box_source="annotation",
        clip_boxes=False,
    ),
    "tinysam": replace(
        PAPER,
        clip_boxes=False,
        columns=tuple(f"{data_set}_{key}" for data_set in ("coco", "lvis") for key in ("ap", "ap_s", "ap_m", "ap_l")),
    ),
    "edgesam": replace(
        PAPER,
        mask_pick="single",
        clicks="centre",
        first_click="approximately_deepest",
        click_frame="low_resolution",
        smallest_error=10,
        truth_raster="frame",
        empty="undefined",
        box_source="annotation",
        clip_boxes=False,
        lvis_images="val2017",
        columns=("coco_box", "coco_1click", "coco_3click", "lvis_box", "lvis_1click"),
    ),
    "segment-anything-fast": replace(
        PAPER, clicks="centre", first_click="centre_of_mass", crowd="keep", columns=("coco_1click",)
    ),
    "segnext": replace(
        PAPER,
        clicks="ritm",
        tie="background",
        click_again=False,
        mask_prompt="previous",
        columns=("coco_noc85", "coco_noc90", "coco_iou5"),
    ),
    "ultralytics": replace(
        PAPER,
        clicks="ritm",
        most_clicks=5,
        smallest_area=32.0**2,
        columns=("coco_1click", "coco_3click", "coco_iou1", "coco_iou3", "coco_iou5", "coco_noc85"),
    ),
}
"""As read in the evaluators' code, and held to what that code computes by tests/protocols/test_presets.py and
test_clicks.py; ultralytics' alone is told in words, without code."""
NOT_PUBLISHED = {
    "ultralytics": (
        "ultralytics tells its protocol in words (500 random images, 915 instances of at least 32 x 32 px, 1 to 5 "
        "clicks, fp16, answers as polygons): which images and instances, which of three masks, ties and what a failure "
        "counts were not published, and are ours (all instances, the most confident mask, fp32, answers as pixels)"
    ),
    "segnext": "segnext's evaluator measures DAVIS and HQSeg-44K, not COCO",
}
"""What a reader of a preset's numbers must know: choices that its evaluator does not tell, or made otherwise."""
NEEDS: dict[str, tuple[str, ...]] = {
    "first_click": ("centre",),
    "click_frame": ("centre",),
    "smallest_error": ("centre",),
    "tie": ("ritm",),
    "click_again": ("ritm",),
    "mask_prompt": ("centre", "ritm"),
    "background_clicks": ("centre", "ritm"),
    "empty": ("centre", "ritm"),
    "repeats": ("random",),
}
"""Axes that mean something for some `clicks` alone: random clicks need a pixel to fall on, others are not repeated."""


def means_something(axes: Axes, name: str) -> bool:
    """Return whether an axis has an effect, given the others.

    >>> means_something(PAPER, "tie"), means_something(replace(PAPER, clicks="ritm"), "tie")
    (False, True)
    """
    return axes.clicks in NEEDS.get(name, (axes.clicks,))


def in_effect(axes: Axes, names: Sequence[str]) -> dict[str, object]:
    """Return the values of the axes by name, without those that mean nothing given the others."""
    return {name: getattr(axes, name) for name in names if means_something(axes, name)}


def departures(axes: Axes, names: Sequence[str]) -> str:
    """Say which of some choices are not the paper's, empty if all are.

    Args:
        axes: the choices.
        names: of the fields that matter.

    >>> departures(replace(PAPER, clicks="ritm", repeats=3), ("clicks", "tie"))
    'clicks ritm instead of random'
    """
    pairs = [(name, value, getattr(PAPER, name)) for name, value in in_effect(axes, names).items()]
    return ", ".join(f"{name} {value} instead of {paper}" for name, value, paper in pairs if value != paper)


def preset(name: str) -> Axes:
    """Return a preset by name.

    Raises:
        BenchError: for an unknown name, with the nearest known one.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return PRESETS[name]


MOST_DETECTIONS = {"coco": 1000, "lvis": 300}
"""Detections of an image that are asked, the best. On COCO the evaluator counts the best 100 of each category
(pycocotools), so this bound is ours; on LVIS it counts the best 300 of all (lvis)."""
BEST_OF_IMAGE = 100
"""Detections of an image that are asked where the cap is over all categories (`Axes.detection_cap`)."""


def most_detections(data_set: str, axes: Axes) -> int:
    """Return how many detections of an image are asked, the best of all categories together."""
    of_image = data_set == "coco" and axes.detection_cap == "image"
    return BEST_OF_IMAGE if of_image else MOST_DETECTIONS[data_set]
