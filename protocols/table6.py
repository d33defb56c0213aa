"""Table 6: the loss of SAMI, mean squared error or 1 - cosine similarity (section 4.4)."""

from protocols.ablations import Ablation, Variant

TABLE = Ablation(
    name="table6",
    title="Reconstruction loss of SAMI, ImageNet-1K top-1 (Table 6)",
    variants=(
        Variant("SAMI-Ti, 1 - cosine", "sami-ti-cosine", "table6"),
        Variant("SAMI-Ti, MSE", "sami-ti", "table6"),
        Variant("SAMI-S, 1 - cosine", "sami-s-cosine", "table6"),
        Variant("SAMI-S, MSE", "sami-s", "table6"),
    ),
    compared=(("SAMI-Ti, MSE", "SAMI-Ti, 1 - cosine"), ("SAMI-S, MSE", "SAMI-S, 1 - cosine")),
    notes=("the two other ablations of section 4.4, decoder and target, are `bench run ablations`",),
)
