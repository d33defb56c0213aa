"""The image encoder of EfficientSAM (section 4.3): a plain ViT as SAMI pretrains it at 224 px, with a neck.

Where it differs from SAM's: every block attends to the whole image, there are no windows and no relative
positions, and the position table keeps the class token's entry from pretraining and is interpolated to the
token grid. Re-implements `ImageEncoderViT` of the released code (commit d525f62) under the same state-dict
names.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.errors import BenchError
from models.sam.layers import ChannelNorm

_NORM_EPS = 1e-6
"""Of the released code; torch's own is 1e-5, which the mask decoder uses."""


class ImageEncoder(nn.Module):
    """Encode normalised images [B, 3, S, S] as features [B, out_chans, S / patch, S / patch].

    Args:
        img_size: side S of the square input, px.
        patch_size: side of a patch, px.
        embed_dim: width C of the tokens.
        depth: number of blocks.
        num_heads: attention heads of every block; divides `embed_dim`.
        out_chans: channels of the features.
        mlp_ratio: hidden width of the feed-forward layers over `embed_dim`.
        pretrain_img_size: side of the images of pretraining, px; sets the size of the position table.
    """

    def __init__(
        self,
        *,
        img_size: int = 1024,
        patch_size: int = 16,
        embed_dim: int = 192,
        depth: int = 12,
        num_heads: int = 3,
        out_chans: int = 256,
        mlp_ratio: float = 4.0,
        pretrain_img_size: int = 224,
    ) -> None:
        super().__init__()
        self.img_size = img_size
        self.patch_embed = PatchEmbed(patch_size, embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (pretrain_img_size // patch_size) ** 2, embed_dim))
        self.blocks = nn.ModuleList(Block(embed_dim, num_heads, int(mlp_ratio * embed_dim)) for _ in range(depth))
        self.neck = nn.Sequential(
            nn.Conv2d(embed_dim, out_chans, 1, bias=False),
            ChannelNorm(out_chans, eps=_NORM_EPS),
            nn.Conv2d(out_chans, out_chans, 3, padding=1, bias=False),
            ChannelNorm(out_chans, eps=_NORM_EPS),
        )
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode pixels [B, 3, S, S].

        Raises:
            BenchError: if the pixels are not of the encoder's size.
        """
        if pixels.shape[-2:] != (self.img_size, self.img_size):
            raise BenchError(
                f"the EfficientSAM encoder takes pixels [B, 3, {self.img_size}, {self.img_size}], "
                f"got {list(pixels.shape)}: resize the image first"
            )
        tokens = self.patch_embed(pixels).permute(0, 2, 3, 1)  # [B, h, w, C]
        height, width = tokens.shape[1:3]
        tokens = (tokens + self.positions(height, width)).flatten(1, 2)  # [B, N, C]
        for block in self.blocks:
            tokens = block(tokens)
        return self.neck(tokens.transpose(1, 2).unflatten(2, (height, width)))  # type: ignore[no-any-return]

    def positions(self, height: int, width: int) -> Tensor:
        """Return the position table without the class token, interpolated to [1, height, width, C]."""
        table = self.pos_embed[:, 1:]
        side = math.isqrt(table.shape[1])
        grid = table.unflatten(1, (side, side))
        if (height, width) == (side, side):
            return grid  # type: ignore[no-any-return]
        maps = grid.permute(0, 3, 1, 2)  # [1, C, side, side]
        maps = F.interpolate(maps, (height, width), mode="bicubic", align_corners=False)
        return maps.permute(0, 2, 3, 1)


class PatchEmbed(nn.Module):
    """Cut an image into patches and project each linearly."""

    def __init__(self, patch_size: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch_size, patch_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map [B, 3, S, S] to [B, C, h, w]."""
        return self.proj(pixels)  # type: ignore[no-any-return]


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_NORM_EPS)
        self.attn = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=_NORM_EPS)
        self.mlp = FeedForward(width, hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        """Update tokens [B, N, C]."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    """Multi-head attention of all tokens to all tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix tokens [B, N, C]."""
        qkv = self.qkv(tokens).unflatten(-1, (3, self.heads, -1))  # [B, N, 3, heads, d]
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()  # [B, heads, N, d] each
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map [..., C] to [..., C]."""
        return self.fc2(F.gelu(self.fc1(tokens)))  # type: ignore[no-any-return]
