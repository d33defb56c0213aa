"""The axes: every choice that published evaluators make differently, as named fields that go into each record.

The paper leaves most of them open; five published protocols set them differently, and a difference of two points
between two papers is more often an axis than a model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from models.errors import unknown_name

MaskPick = Literal["predicted_iou", "box_iou", "filled_box_iou", "single", "oracle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """One point among the choices; the defaults are the paper's, or ours where it is silent."""

    mask_pick: MaskPick = "predicted_iou"
    """Which of the candidates counts: the most confident; the one whose tight box (or whose pixels) has the
    highest IoU with the prompt's box; the single-mask token; or the best by the truth (an upper bound)."""
    refinement: Literal[0, 1] = 0
    """Passes with the picked mask fed back as a prompt (SAM, appendix D.4, uses one)."""
    score: Literal["detector", "detector_x_predicted_iou"] = "detector"
    """What ranks instances in AP."""
    clicks: Literal["random", "centre", "ritm"] = "random"
    """random: uniform in the mask, all at once (the paper). centre: the pixel farthest from the mask's edge,
    then random pixels of the error. ritm: the pixel farthest from the edge of the larger error region, positive
    or negative (Sofiiuk et al. 2021)."""
    seed: int = 0
    """Of random clicks, together with the annotation's id."""
    repeats: int = 1
    """Draws of random clicks for each annotation; means are over all of them."""
    crowd: Literal["skip", "keep"] = "skip"
    """Whether crowd regions count in mIoU."""
    smallest_area: float = 0.0
    """Annotations of a smaller area (px) are left out of mIoU; empty masks always are."""
    averaging: Literal["mask", "category"] = "mask"
    """Mean over masks, or mean of the categories' means."""
    box_source: Literal["tight", "annotation"] = "tight"
    """Tightest box of the ground-truth mask, or the annotation's own sub-pixel box."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of the model; only fp32 is compared with a paper."""

    @property
    def exact(self) -> bool:
        """Whether numbers may be compared with a paper and gated."""
        return self.precision == "fp32"


PAPER = Axes()
PRESETS: dict[str, Axes] = {
    "paper": PAPER,
    "efficientvit": replace(PAPER, clicks="ritm", crowd="keep", smallest_area=1.0, box_source="annotation"),
    "tinysam": replace(PAPER, clicks="centre"),
    "edgesam": replace(PAPER, mask_pick="single", clicks="centre"),
    "segment-anything-fast": replace(PAPER, clicks="centre", crowd="keep", box_source="annotation"),
}
"""As read in the five evaluators' code: efficientvit's applications/efficientvit_sam evaluation, TinySAM's eval
script, EdgeSAM's evaluation/eval_mIoU.py, and segment-anything-fast's experiments. An axis that an evaluator has
no opinion on (TinySAM scores no clicks) keeps its nearest relative's value."""


def preset(name: str) -> Axes:
    """Return a preset by name.

    Raises:
        BenchError: for an unknown name, with the nearest known one.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return PRESETS[name]
