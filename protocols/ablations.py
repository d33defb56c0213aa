"""The ablations of section 4.4 that the paper gives in its text alone: which tokens are decoded, whose features."""

from protocols.ablation_table import COLUMNS, TAKES, Variant, make

__all__ = ["COLUMNS", "TAKES", "make"]

NAME = "ablations"
TITLE = "Decoder and target of SAMI, ImageNet-1K top-1 (text of section 4.4)"
VARIANTS = (
    Variant("SAMI-Ti", "sami-ti", "only masked tokens are decoded; the target is SAM's embedding"),
    Variant("SAMI-Ti, all tokens decoded", "sami-ti-all-tokens", "as in MAE"),
    Variant(
        "SAMI-Ti, CLIP target",
        "sami-ti-clip",
        "at micro scale no CLIP exists: a second, independently trained micro encoder stands in for it; it learned "
        "to name the same 16 classes on other images, so its features know what is asked",
    ),
    Variant("MAE-Ti", "mae-ti", "the target is the pixels"),
)
COMPARED = (
    ("SAMI-Ti", "SAMI-Ti, all tokens decoded"),
    ("SAMI-Ti, CLIP target", "MAE-Ti"),
    ("SAMI-Ti", "MAE-Ti"),
)
TRAINED_WITH = "table6"
NOTES: tuple[str, ...] = ("two variants have no printed number; their differences are those that the text states",)
