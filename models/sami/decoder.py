"""The decoder of section 3.2: masked tokens ask, the encoder's output and the masked tokens answer.

One block serves both decoders of the ablation: it updates `queries`, which attend to `context` and to themselves.
With the visible tokens as context it is the paper's cross-attention decoder; with every token a query and no
context it is MAE's self-attention decoder, with the same parameters.
"""

from __future__ import annotations

import torch
from timm.layers.mlp import Mlp
from torch import Tensor, nn
from torch.nn import functional as F

from models.sami.encoder import NORM_EPS


class DecoderBlock(nn.Module):
    """A pre-norm transformer block that updates only its queries; parameter names of timm's Block."""

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = QueryAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """Update queries [B, Q, D], which see context [B, V, D] and each other."""
        queries = queries + self.attn(self.norm1(queries), self.norm1(context))
        return queries + self.mlp(self.norm2(queries))  # type: ignore[no-any-return]


class QueryAttention(nn.Module):
    """Multi-head attention from queries to queries and context, with one fused projection as in timm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """Mix into queries [B, Q, D] what they read from themselves and from context [B, V, D]."""
        q, k, v = self._split(self.qkv(queries))  # [B, heads, Q, d] each
        if context.shape[1]:
            width = context.shape[2]
            keys_values = F.linear(context, self.qkv.weight[width:], self.qkv.bias[width:])
            more_k, more_v = self._split(keys_values)  # [B, heads, V, d] each
            k, v = torch.cat([more_k, k], 2), torch.cat([more_v, v], 2)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _split(self, projected: Tensor) -> tuple[Tensor, ...]:
        """Turn [B, L, n * D] into n tensors [B, heads, L, d]."""
        parts = projected.shape[2] // self.qkv.in_features
        return projected.unflatten(2, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
