"""Table 7: how many of the patches SAMI masks (section 4.4)."""

from protocols.ablations import Ablation, Variant

_STAND_IN = "ViT-B in the paper; at micro scale the encoder is micro SAMI-Ti"

TABLE = Ablation(
    name="table7",
    title="Mask ratio of SAMI, ImageNet-1K top-1 (Table 7)",
    variants=(
        Variant("SAMI-B, 50 %", "sami-ti-mask50", "table7", _STAND_IN),
        Variant("SAMI-B, 75 %", "sami-ti", "table7", _STAND_IN),
        Variant("SAMI-B, 85 %", "sami-ti-mask85", "table7", _STAND_IN),
    ),
    compared=(("SAMI-B, 75 %", "SAMI-B, 50 %"), ("SAMI-B, 75 %", "SAMI-B, 85 %")),
)
