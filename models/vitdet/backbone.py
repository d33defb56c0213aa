"""ViTDet's backbone: the pretrained ViT on large images, attention in windows but for four blocks.

Entries have the names of `models.sami.encoder.ViTEncoder` and of detectron2's ViT, which agree.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from timm.layers.drop import DropPath
from timm.layers.mlp import Mlp
from timm.layers.patch_embed import PatchEmbed
from torch import Tensor, nn

from models.checkpoints import check_numbers
from models.errors import BenchError
from models.sam.image_encoder import WindowAttention
from models.sami.encoder import NORM_EPS, start
from models.vitdet.beit import from_beit, is_beit

GLOBAL_BLOCKS = 4
"""Blocks that attend to the whole image, evenly spaced (Li et al. 2022, section 3)."""


def evenly_spaced(depth: int, count: int = GLOBAL_BLOCKS) -> tuple[int, ...]:
    """Return the last block of each of `count` equal parts of a ViT.

    >>> evenly_spaced(12), evenly_spaced(6), evenly_spaced(4)
    ((2, 5, 8, 11), (0, 2, 3, 5), (0, 1, 2, 3))
    """
    return tuple((part + 1) * depth // count - 1 for part in range(count))


class Backbone(nn.Module):
    """Encode images [B, 3, S, S] as a feature map [B, embed_dim, S / patch, S / patch].

    Args:
        img_size: side S of the square input, px.
        pretrained_size: side of the images of pretraining, px; its positions are interpolated.
        patch_size: side of a patch, px.
        embed_dim: width of the tokens.
        depth: blocks.
        num_heads: attention heads; divides `embed_dim`.
        window_size: side of an attention window, patches.
        relative_positions: whether attention adds a bias of relative rows and columns, zero at first.
        drop_path: stochastic depth of the last block; that of the others grows linearly up to it.
        mlp_ratio: hidden width of the feed-forward layers over `embed_dim`.

    There is no norm at the end: the pyramid has its own. The class token stays behind, but its row of the positions
    is kept, as detectron2's checkpoints have it.
    """

    def __init__(
        self,
        *,
        img_size: int = 1024,
        pretrained_size: int = 224,
        patch_size: int = 16,
        embed_dim: int = 192,
        depth: int = 12,
        num_heads: int = 3,
        window_size: int = 14,
        relative_positions: bool = True,
        drop_path: float = 0.0,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.img_size, self.embed_dim, self.grid = img_size, embed_dim, img_size // patch_size
        self.patch_embed = PatchEmbed(img_size, patch_size, 3, embed_dim, flatten=False)
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (pretrained_size // patch_size) ** 2, embed_dim))
        whole = evenly_spaced(depth)
        self.blocks = nn.ModuleList(
            Block(
                embed_dim,
                num_heads,
                side=self.grid if index in whole else window_size,
                relative_positions=relative_positions,
                drop_path=drop_path * index / max(1, depth - 1),
                mlp_ratio=mlp_ratio,
            )
            for index in range(depth)
        )
        self.apply(start)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode [B, 3, S, S]."""
        tokens = self.patch_embed(pixels).permute(0, 2, 3, 1) + self.positions()  # [B, h, w, C]
        for block in self.blocks:
            tokens = block(tokens)
        return tokens.permute(0, 3, 1, 2)  # type: ignore[no-any-return]

    def positions(self) -> Tensor:
        """Return the pretrained positions on this grid, [1, h, w, C]; bicubic, as MAE's and detectron2's code."""
        side = round((self.pos_embed.shape[1] - 1) ** 0.5)
        pretrained = self.pos_embed[:, 1:].unflatten(1, (side, side))
        if side == self.grid:
            return pretrained
        size = (self.grid, self.grid)
        resized = F.interpolate(pretrained.permute(0, 3, 1, 2), size, mode="bicubic", align_corners=False)
        return resized.permute(0, 2, 3, 1)


class Block(nn.Module):
    """A transformer block on [B, h, w, C], attending in windows of `side` x `side`."""

    def __init__(
        self, width: int, heads: int, *, side: int, relative_positions: bool, drop_path: float, mlp_ratio: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = WindowAttention(width, heads, side=side, relative_positions=relative_positions)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        """Update [B, h, w, C]."""
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))  # type: ignore[no-any-return]


def start_from_encoder(backbone: Backbone, encoder_state: Mapping[str, Tensor], name: str) -> None:
    """Load a pretrained ViT: one of `models.sami`, a public MAE, DeiT, DINO or iBOT file, whose names agree, or BEiT.

    Class and distillation tokens, last norms and heads stay behind; relative positions stay zero.

    Args:
        backbone: changed in place.
        encoder_state: names and tensors.
        name: what the error calls it.

    Raises:
        BenchError: if it is of another width, depth or number of positions.
    """
    if is_beit(encoder_state):
        encoder_state = from_beit(encoder_state, backbone.pos_embed.shape[1])
    own = backbone.state_dict()
    needed = [entry for entry in own if not entry.endswith(("rel_pos_h", "rel_pos_w"))]
    for entry in needed:
        if entry not in encoder_state or encoder_state[entry].shape != own[entry].shape:
            found = list(encoder_state[entry].shape) if entry in encoder_state else "missing"
            raise BenchError(
                f"the encoder of {name} does not fit a ViTDet of {backbone.embed_dim} x {len(backbone.blocks)}: "
                f"'{entry}' is {found} instead of {list(own[entry].shape)}, build the detector in the encoder's size"
            )
    deeper = f"blocks.{len(backbone.blocks)}."
    if any(entry.startswith(deeper) for entry in encoder_state):
        raise BenchError(
            f"the encoder of {name} has more than the {len(backbone.blocks)} blocks of this ViTDet: build the "
            "detector in the encoder's size"
        )
    check_numbers(encoder_state, own, f"the encoder of {name}")
    backbone.load_state_dict({**own, **{entry: encoder_state[entry] for entry in needed}})
