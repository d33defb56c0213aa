"""The ablations of section 4.4 that the paper gives in its text alone: which tokens are decoded, whose features."""

from protocols.ablations import Ablation, Variant

TABLE = Ablation(
    name="ablations",
    title="Decoder and target of SAMI, ImageNet-1K top-1 (text of section 4.4)",
    variants=(
        Variant("SAMI-Ti", "sami-ti", "table1", "only masked tokens are decoded; the target is SAM's embedding"),
        Variant("SAMI-Ti, all tokens decoded", "sami-ti-all-tokens", None, "as in MAE"),
        Variant(
            "SAMI-Ti, CLIP target",
            "sami-ti-clip",
            None,
            "at micro scale no CLIP exists: a second, independently trained micro encoder stands in for it; it learned "
            "to name the same 16 classes on other images, so its features know what is asked",
        ),
        Variant("MAE-Ti", "mae-ti", "table1", "the target is the pixels"),
    ),
    compared=(
        ("SAMI-Ti", "SAMI-Ti, all tokens decoded"),
        ("SAMI-Ti, CLIP target", "MAE-Ti"),
        ("SAMI-Ti", "MAE-Ti"),
    ),
    notes=("two variants have no printed number; their differences are those that the text states",),
)
