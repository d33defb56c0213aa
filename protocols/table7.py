"""Table 7: how many of the patches SAMI masks (section 4.4)."""

from protocols.ablation_table import COLUMNS, TAKES, Variant, make

__all__ = ["COLUMNS", "TAKES", "make"]

NAME = "table7"
TITLE = "Mask ratio of SAMI, ImageNet-1K top-1 (Table 7)"
_STAND_IN = "ViT-B in the paper; at micro scale the encoder is micro SAMI-Ti"
VARIANTS = (
    Variant("SAMI-B, 50 %", "sami-ti-mask50", _STAND_IN),
    Variant("SAMI-B, 75 %", "sami-ti", _STAND_IN),
    Variant("SAMI-B, 85 %", "sami-ti-mask85", _STAND_IN),
)
COMPARED = (("SAMI-B, 75 %", "SAMI-B, 50 %"), ("SAMI-B, 75 %", "SAMI-B, 85 %"))
NOTES: tuple[str, ...] = ()
