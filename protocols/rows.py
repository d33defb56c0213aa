"""The rows of the paper's promptable tables and the model of the zoo behind each; whom the paper compares."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PaperRow:
    """A method of the paper."""

    label: str
    """As printed."""
    full_size: str | None = None
    """Name of the full-size model in the zoo."""
    micro: str | None = None
    """Name of its stand-in at 256 px."""
    copied: bool = False
    """Whether the paper itself copied the row from another paper."""
    why_missing: str = ""
    """Why there is no model, where there is none."""
    note: str = ""
    """What a reader of the paper's numbers must know."""


_NEVER_RELEASED = "weights never released by the authors"
_COPIED_SAM = "the paper copied this row from the SAM paper, which adds a refinement pass"
_COPIED_FASTSAM = (
    "the paper copied this row from the FastSAM paper; boxes snap to the border before they crop masks, as in its code"
)

TABLE4 = (
    PaperRow("SAM", "sam-vit-h", "sam-micro"),
    PaperRow("MobileSAM", "mobilesam", "mobilesam-micro"),
    PaperRow("SAM-MAE-Ti", micro="sam-mae-ti-micro", why_missing=_NEVER_RELEASED),
    PaperRow("EfficientSAM-Ti", "efficientsam-ti", "efficientsam-ti-micro"),
    PaperRow("EfficientSAM-S", "efficientsam-s", "efficientsam-s-micro"),
)
TABLE5 = (
    PaperRow(
        "ViTDet-H",
        "detector",
        "detector",
        copied=True,
        note="the paper copied this row from the SAM paper (cascade ViTDet-H)",
    ),
    PaperRow("SAM", "sam-vit-h", "sam-micro", copied=True, note=_COPIED_SAM),
    PaperRow("MobileSAM", "mobilesam", "mobilesam-micro"),
    PaperRow("FastSAM", "fastsam-x", "fastsam-micro", copied=True, note=_COPIED_FASTSAM),
    PaperRow("EfficientSAM-Ti", "efficientsam-ti", "efficientsam-ti-micro"),
    PaperRow("EfficientSAM-S", "efficientsam-s", "efficientsam-s-micro"),
)

COMPARED = (
    ("SAM", "EfficientSAM-S"),
    ("EfficientSAM-S", "EfficientSAM-Ti"),
    ("EfficientSAM-Ti", "MobileSAM"),
    ("EfficientSAM-S", "MobileSAM"),
    ("EfficientSAM-Ti", "SAM-MAE-Ti"),
    ("EfficientSAM-Ti", "FastSAM"),
    ("EfficientSAM-S", "FastSAM"),
)
"""Pairs of rows that section 4.4 compares, (first, second)."""
