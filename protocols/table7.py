"""Table 7: how many of the patches SAMI masks (section 4.4)."""

from protocols.ablations import Ablation, Variant

_STAND_IN = "ViT-B in the paper; at micro scale the encoder is micro SAMI-S"

TABLE = Ablation(
    name="table7",
    title="Mask ratio of SAMI, ImageNet-1K top-1 (Table 7)",
    variants=(
        Variant("SAMI-B, 50 %", "sami-s-mask50", "table7", _STAND_IN),
        Variant("SAMI-B, 75 %", "sami-s", "table7", _STAND_IN),
        Variant("SAMI-B, 85 %", "sami-s-mask85", "table7", _STAND_IN),
    ),
    compared=(("SAMI-B, 75 %", "SAMI-B, 50 %"), ("SAMI-B, 75 %", "SAMI-B, 85 %")),
)
