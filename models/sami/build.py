"""Masked autoencoders in the paper's sizes and in micro ones."""

from __future__ import annotations

from typing import Any, Literal

from models.sami.encoder import ViTEncoder
from models.sami.network import MaskedAutoencoder

SIZES: dict[str, dict[str, Any]] = {
    "ti": {"embed_dim": 192, "num_heads": 3},
    "s": {"embed_dim": 384, "num_heads": 6},
    "b": {"embed_dim": 768, "num_heads": 12},
}
"""ViT-Tiny, -Small and -Base (section 4.1), 12 blocks each."""
MICRO_SIZES: dict[str, dict[str, Any]] = {
    "ti": {"embed_dim": 56, "depth": 4, "num_heads": 4},
    "s": {"embed_dim": 84, "depth": 6, "num_heads": 4},
}
"""The encoders of micro EfficientSAM-Ti and -S, pretrained at 224 px."""
MICRO_DECODER: dict[str, Any] = {"decoder_dim": 64, "decoder_depth": 2, "decoder_heads": 4}
"""Of pretraining: the paper's 8 blocks of width 512 beside encoders of 192 to 768."""
Decoder = Literal["masked", "all"]


def masked_autoencoder(size: str, *, decoder: Decoder, target_dim: int) -> MaskedAutoencoder:
    """Build a paper-size autoencoder with a decoder of 8 blocks of width 512 (section 4.1).

    Args:
        size: "ti", "s" or "b".
        decoder: the tokens that it updates.
        target_dim: width of the target.
    """
    return MaskedAutoencoder(ViTEncoder(**SIZES[size]), target_dim=target_dim, decoder=decoder)


def micro_autoencoder(size: str, *, decoder: Decoder, target_dim: int) -> MaskedAutoencoder:
    """Build a micro autoencoder of size "ti" or "s"; see `masked_autoencoder`."""
    encoder = ViTEncoder(**MICRO_SIZES[size])
    return MaskedAutoencoder(encoder, target_dim=target_dim, decoder=decoder, **MICRO_DECODER)
