"""A plain ViT as mmsegmentation's backbone: pretrained weights, any input size, a simple feature pyramid.

The paper does not say how its ViTs feed Mask2Former (section 4.2). Our choice is the pyramid of ViTDet (Li et al.
2022), which the same section uses for detection: maps of strides 4, 8, 16 and 32 from the last map alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from models.checkpoints import check_numbers
from models.errors import BenchError
from models.sami.encoder import NORM_EPS, to_efficientsam
from models.vitdet.pyramid import LEVELS, SimpleFeaturePyramid

STRIDES = (4, 8, 16, 32)
PATCH = 16
"""Side of a patch, px."""


class PlainViTPyramid(nn.Module):
    """Encode images [B, 3, H, W], whose sides are multiples of 32 px, as four maps [B, out_channels, H / s, W / s].

    Entries of the ViT have the names of `models.sami.encoder.ViTEncoder`; the class token and the last norm are
    left out, as ViTDet does. Every block attends to the whole image.

    Args:
        embed_dim: width of the tokens.
        depth: blocks.
        num_heads: attention heads; divides `embed_dim`.
        out_channels: width of the maps.
        pretrain_grid: side of the position table, patches; positions of other inputs are interpolated (bicubic).
        mlp_ratio: hidden width of the feed-forward layers over `embed_dim`.
    """

    def __init__(
        self,
        embed_dim: int,
        depth: int,
        num_heads: int,
        out_channels: int,
        pretrain_grid: int = 14,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        norm: Any = partial(nn.LayerNorm, eps=NORM_EPS)
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, embed_dim, PATCH, PATCH)
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + pretrain_grid**2, embed_dim))
        self.blocks = nn.ModuleList(
            Block(embed_dim, num_heads, mlp_ratio, qkv_bias=True, norm_layer=norm) for _ in range(depth)
        )
        self.pyramid = SimpleFeaturePyramid(embed_dim, out_channels)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of strides 4, 8, 16 and 32."""
        patches = self.patch_embed.proj(pixels)  # type: ignore[union-attr, operator]
        height, width = patches.shape[2:]
        tokens = patches.flatten(2).transpose(1, 2) + self.positions(height, width)  # [B, N, C]
        for block in self.blocks:
            tokens = block(tokens)
        last = tokens.transpose(1, 2).unflatten(2, (height, width))
        maps = self.pyramid(last)
        return tuple(maps[level] for level in LEVELS[: len(STRIDES)])

    def positions(self, height: int, width: int) -> Tensor:
        """Return the position table without the class token, interpolated to [1, height * width, C]."""
        table = self.pos_embed[:, 1:]
        side = math.isqrt(table.shape[1])
        if (height, width) == (side, side):
            return table
        maps = table.transpose(1, 2).unflatten(2, (side, side))
        maps = F.interpolate(maps, (height, width), mode="bicubic", align_corners=False)
        return maps.flatten(2).transpose(1, 2)


def load_pretrained(backbone: PlainViTPyramid, encoder_state: Mapping[str, Tensor], *, name: str) -> None:
    """Load a pretrained `ViTEncoder` (or an EfficientSAM image encoder without its neck) into the backbone.

    Args:
        backbone: changed in place; its pyramid stays as it is.
        encoder_state: the encoder's entries.
        name: what the encoder is called in errors.

    Raises:
        BenchError: if it is of another width, depth or patch size.
    """
    own = backbone.state_dict()
    wanted = {entry for entry in own if not entry.startswith("pyramid.")}
    given = {entry: value for entry, value in to_efficientsam(encoder_state).items() if not entry.startswith("neck.")}
    for entry in sorted(wanted | given.keys()):
        if entry not in given or entry not in wanted or given[entry].shape != own[entry].shape:
            found = list(given[entry].shape) if entry in given else "missing"
            needed = list(own[entry].shape) if entry in wanted else "not part of it"
            raise BenchError(
                f"the encoder {name} does not fit the backbone, whose ViT is {len(backbone.blocks)} blocks of width "
                f"{backbone.pos_embed.shape[2]}: '{entry}' is {found}, the backbone's {needed}; take an encoder of "
                "its size"
            )
    check_numbers(given, own, f"the encoder {name}")
    backbone.load_state_dict({**own, **{entry: value.to(own[entry].dtype) for entry, value in given.items()}})
