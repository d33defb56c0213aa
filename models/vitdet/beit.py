"""BEiT's weights (Bao et al. 2022) as those of a plain ViT, so that a ViTDet can start from them.

Its blocks scale what attention and feed-forward add by learned factors, which fold into the layers before them; keys
have no bias; there are no absolute positions. Its relative positions, one bias a distance and head, have no
counterpart in ViTDet's, which start at zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_SCALED = {"gamma_1": "attn.proj", "gamma_2": "mlp.fc2"}
"""Factors of a block, and the layer that each follows."""
_LEFT_OUT = ("relative_position_bias_table", "relative_position_index", "mask_token")


def is_beit(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the entries of a BEiT."""
    return "blocks.0.attn.q_bias" in state


def from_beit(state: Mapping[str, Tensor], positions: int) -> dict[str, Tensor]:
    """Return a BEiT's entries under the names of `models.sami.encoder.ViTEncoder`.

    Args:
        state: of BEiT's own code or timm, whose names agree.
        positions: rows of the position table, patches and class token, which becomes zero if BEiT has none.
    """
    plain = {name: value for name, value in state.items() if not name.endswith(_LEFT_OUT)}
    for name in [name for name in plain if name.endswith(".attn.q_bias")]:
        block = name.removesuffix("attn.q_bias")
        query, value = plain.pop(name), plain.pop(f"{block}attn.v_bias")
        plain[f"{block}attn.qkv.bias"] = torch.cat([query, torch.zeros_like(query), value])
        for factor, layer in _SCALED.items():
            gamma = plain.pop(f"{block}{factor}", None)
            if gamma is not None:
                plain[f"{block}{layer}.weight"] = gamma[:, None] * plain[f"{block}{layer}.weight"]
                plain[f"{block}{layer}.bias"] = gamma * plain[f"{block}{layer}.bias"]
    width = plain["cls_token"].shape[-1]
    plain.setdefault("pos_embed", plain["cls_token"].new_zeros(1, positions, width))
    return plain
