"""SAM's image encoder: a ViT with windowed attention, decomposed relative positions and a convolutional neck.

Re-implements `ImageEncoderViT` of segment_anything 1.0 under the same state-dict names.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.attention import attention_in_blocks, blocks_pay
from models.sam.layers import ChannelNorm, FeedForward

_BIAS_BUDGET = 1 << 24
"""Most elements of a bias held at once when no gradient is needed and blocks do not pay (64 MiB in float32)."""


class ImageEncoder(nn.Module):
    """Encode normalised, padded images [B, 3, S, S] as features [B, out_chans, S / patch, S / patch].

    Args:
        img_size: side S of the square input, px.
        patch_size: side of a patch, px.
        embed_dim: width of the tokens.
        depth: number of blocks.
        num_heads: attention heads of every block; divides `embed_dim`.
        window_size: side of an attention window, patches.
        global_attn_indexes: blocks that attend to the whole image instead of a window.
        out_chans: channels of the features.
        mlp_ratio: hidden width of the feed-forward layers over `embed_dim`.
    """

    def __init__(
        self,
        *,
        img_size: int = 1024,
        patch_size: int = 16,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        window_size: int = 14,
        global_attn_indexes: Collection[int] = (2, 5, 8, 11),
        out_chans: int = 256,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.img_size, self.patch_size, self.out_chans = img_size, patch_size, out_chans
        self.grid = img_size // patch_size
        self.patch_embed = PatchEmbedding(patch_size, embed_dim)
        self.pos_embed = nn.Parameter(torch.empty(1, self.grid, self.grid, embed_dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = nn.ModuleList(
            Block(
                embed_dim,
                num_heads,
                grid=self.grid,
                window=0 if index in global_attn_indexes else window_size,
                mlp_ratio=mlp_ratio,
            )
            for index in range(depth)
        )
        self.neck = neck(embed_dim, out_chans)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode [B, 3, S, S]."""
        return self.neck(self.tokens(pixels).permute(0, 3, 1, 2))  # type: ignore[no-any-return]

    def tokens(self, pixels: Tensor) -> Tensor:
        """Return what the neck is given, [B, h, w, embed_dim]."""
        tokens = self.patch_embed(pixels) + self.pos_embed  # [B, h, w, C]
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


def neck(width: int, out_chans: int) -> nn.Sequential:
    """Return the convolutions [B, width, h, w] -> [B, out_chans, h, w] that end an encoder of the family."""
    return nn.Sequential(
        nn.Conv2d(width, out_chans, 1, bias=False),
        ChannelNorm(out_chans),
        nn.Conv2d(out_chans, out_chans, 3, padding=1, bias=False),
        ChannelNorm(out_chans),
    )


class PatchEmbedding(nn.Module):
    """Cut [B, 3, S, S] into patches and project each: [B, h, w, C]."""

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, patch_size, patch_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed [B, 3, S, S]."""
        return self.proj(pixels).permute(0, 2, 3, 1)  # type: ignore[no-any-return]


class Block(nn.Module):
    """A transformer block on [B, h, w, C]; `window` 0 attends to the whole grid."""

    def __init__(self, width: int, heads: int, *, grid: int, window: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = WindowAttention(width, heads, side=window or grid)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = FeedForward(width, int(width * mlp_ratio), activation=nn.GELU)

    def forward(self, tokens: Tensor) -> Tensor:
        """Update [B, h, w, C]."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))  # type: ignore[no-any-return]


class WindowAttention(nn.Module):
    """Self-attention inside windows of `side` x `side` patches, with a bias from relative rows and columns.

    A grid that is no multiple of the side is padded with zero tokens, which are attended to: the published
    weights were trained so. Without `relative_positions` there is no bias.
    """

    def __init__(self, width: int, heads: int, *, side: int, relative_positions: bool = True) -> None:
        super().__init__()
        self.heads, self.side, self.relative_positions = heads, side, relative_positions
        if relative_positions:
            self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
            self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        offset = torch.arange(side)[:, None] - torch.arange(side)[None, :] + side - 1
        self.register_buffer("offset", offset, persistent=False)
        self.offset: Tensor

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix [B, h, w, C] within each window."""
        batch, height, width, channels = tokens.shape
        side, heads = self.side, self.heads
        rows, columns = -(-height // side), -(-width // side)
        padding = (0, 0, 0, columns * side - width, 0, rows * side - height)
        tokens = F.pad(tokens, padding) if any(padding) else tokens
        q, k, v = (
            self.qkv(tokens)
            .view(batch, rows, side, columns, side, 3, heads, -1)
            .permute(5, 0, 1, 3, 6, 2, 4, 7)  # [3, B, rows, columns, heads, side, side, d]
            .reshape(3, batch * rows * columns, heads, side * side, -1)
        )
        mixed = self._attend(q, k, v).view(batch, rows, columns, heads, side, side, -1)
        mixed = mixed.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, rows * side, columns * side, channels)
        return self.proj(mixed[:, :height, :width])  # type: ignore[no-any-return]

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend over [W, heads, side * side, d]."""
        if not self.relative_positions:
            return F.scaled_dot_product_attention(q, k, v)
        if blocks_pay(q.flatten(0, 1)):
            rows, columns = (bias.flatten(0, 1).flatten(1, 2) for bias in self.biases(q))
            queries, keys, values = (x.flatten(0, 1) for x in (q, k, v))
            mixed = attention_in_blocks(queries, keys, values, rows, columns)
            return mixed.unflatten(0, q.shape[:2])  # type: ignore[no-any-return]
        per_head = q.shape[0] * q.shape[2] * q.shape[2]
        step = self.heads if torch.is_grad_enabled() else max(1, _BIAS_BUDGET // per_head)
        parts = [
            F.scaled_dot_product_attention(q[:, part], k[:, part], v[:, part], attn_mask=self.bias(q[:, part]))
            for part in (slice(start, start + step) for start in range(0, self.heads, step))
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def bias(self, q: Tensor) -> Tensor:
        """Return the bias [W, heads, side * side, side * side] of queries [W, heads, side * side, d]."""
        rows, columns = self.biases(q)
        return (rows[..., :, None] + columns[..., None, :]).flatten(4).flatten(2, 3)

    def biases(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Return the biases [W, heads, side, side, side] of queries for each row and for each column of keys."""
        grid = q.unflatten(2, (self.side, self.side))  # [W, heads, side, side, d]
        by_row, by_column = self.rel_pos_h[self.offset], self.rel_pos_w[self.offset]  # [side, side, d]
        return torch.einsum("nhyxd,ykd->nhyxk", grid, by_row), torch.einsum("nhyxd,xkd->nhyxk", grid, by_column)
