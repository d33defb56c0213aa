"""MobileSAM as published, any other size of the same classes, and a map from the published names to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from models.mobilesam.encoder import TinyVitEncoder
from models.sam.build import build_network
from models.sam.network import SamNetwork

_UNUSED = re.compile(r"image_encoder\.(norm_head|head)\.|attention_bias_idxs$")
"""Entries of mobile_sam.pt that no output depends on: TinyViT's classifier and a table of indexes."""


def mobilesam(
    *,
    img_size: int = 1024,
    embed_dims: tuple[int, int, int, int] = (64, 128, 160, 320),
    depths: tuple[int, int, int, int] = (2, 2, 6, 2),
    num_heads: tuple[int, int, int, int] = (2, 4, 5, 10),
    window_sizes: tuple[int, int, int, int] = (7, 7, 14, 7),
    drop_path_rate: float = 0.0,
    prompt_dim: int = 256,
    **decoder: Any,
) -> SamNetwork:
    """Build MobileSAM (mobile_sam.pt), or one of other widths.

    See `TinyVitEncoder` for those of the encoder; `decoder` are keywords of `build_network`.
    """
    encoder = TinyVitEncoder(
        img_size=img_size,
        embed_dims=embed_dims,
        depths=depths,
        num_heads=num_heads,
        window_sizes=window_sizes,
        drop_path_rate=drop_path_rate,
        out_chans=prompt_dim,
    )
    return build_network(encoder, img_size=img_size, prompt_dim=prompt_dim, **decoder)


def official_key_map(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the entries of mobile_sam.pt to those of `mobilesam()`, leaving out what no output depends on.

    >>> list(official_key_map({"image_encoder.layers.0.downsample.conv1.c.weight": Tensor()}))
    ['image_encoder.trunk.stages.1.downsample.conv1.conv.weight']
    """
    return {_our_name(name): entry for name, entry in state_dict.items() if not _UNUSED.search(name)}


def _our_name(name: str) -> str:
    """Return timm's name; timm puts a downsampling into the stage after it, the published code before it."""
    if not name.startswith("image_encoder.") or name.startswith("image_encoder.neck."):
        return name
    name = name.replace("image_encoder.", "image_encoder.trunk.").replace(".c.", ".conv.")
    name = name.replace("patch_embed.seq.0.", "patch_embed.conv1.").replace("patch_embed.seq.2.", "patch_embed.conv2.")
    name = re.sub(r"layers\.(\d)\.downsample", lambda match: f"stages.{int(match[1]) + 1}.downsample", name)
    return name.replace("layers.", "stages.")
