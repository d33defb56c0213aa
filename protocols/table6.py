"""Table 6: the loss of SAMI, mean squared error or 1 - cosine similarity (section 4.4)."""

from protocols.ablation_table import COLUMNS, TAKES, Variant, make

__all__ = ["COLUMNS", "TAKES", "make"]

NAME = "table6"
TITLE = "Reconstruction loss of SAMI, ImageNet-1K top-1 (Table 6)"
VARIANTS = (
    Variant("SAMI-Ti, 1 - cosine", "sami-ti-cosine"),
    Variant("SAMI-Ti, MSE", "sami-ti"),
    Variant("SAMI-S, 1 - cosine", "sami-s-cosine"),
    Variant("SAMI-S, MSE", "sami-s"),
)
COMPARED = (("SAMI-Ti, MSE", "SAMI-Ti, 1 - cosine"), ("SAMI-S, MSE", "SAMI-S, 1 - cosine"))
NOTES: tuple[str, ...] = ("the two other ablations of section 4.4, decoder and target, are `bench run ablations`",)
