"""Masked autoencoders in the paper's sizes, and public MAE checkpoints in their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from models.sami.encoder import ViTEncoder
from models.sami.network import MaskedAutoencoder
from models.training.recipes import MaskedRecipe

SIZES: dict[str, dict[str, Any]] = {
    "ti": {"embed_dim": 192, "num_heads": 3},
    "s": {"embed_dim": 384, "num_heads": 6},
    "b": {"embed_dim": 768, "num_heads": 12},
}
"""ViT-Tiny, -Small and -Base (section 4.1), 12 blocks each."""
PIXELS = 16 * 16 * 3
"""Width of a pixel target."""


def masked_autoencoder(size: str, recipe: MaskedRecipe, target_dim: int) -> MaskedAutoencoder:
    """Build a paper-size autoencoder with a decoder of 8 blocks of width 512 (section 4.1), as a recipe wants it.

    Args:
        size: "ti", "s" or "b".
        recipe: its `decoder` counts.
        target_dim: width of the target.
    """
    return MaskedAutoencoder(ViTEncoder(**SIZES[size]), target_dim=target_dim, decoder=recipe.decoder)


def from_mae(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a public MAE state dict under our names: the encoder's entries get their prefix."""
    return {name if _of_decoder(name) else f"encoder.{name}": value for name, value in state.items()}


def _of_decoder(name: str) -> bool:
    return name.startswith(("decoder_", "mask_token"))
