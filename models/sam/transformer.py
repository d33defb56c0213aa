"""SAM's two-way transformer: tokens attend to the image and the image attends to the tokens.

Re-implements `TwoWayTransformer` of segment_anything 1.0 under the same state-dict names. The image side of
the first layer is the same for all prompts about an image, so it is computed once and never repeated.

Axes: B images, P prompts each, T tokens a prompt, N patches, C channels. `image` is [B, 1, N, C] while all
prompts share it and [B, P, N, C] once they differ.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.sam.layers import FeedForward


class ImageSide(NamedTuple):
    """What the first layer makes of an image, the same for all prompts about it."""

    located: Tensor
    """The image with positions, [B, 1, N, C]."""
    keys: Tensor
    """Of the tokens' attention to the image, [B, heads, d, N]."""
    values: Tensor
    """[B, heads, N, d]."""
    queries: Tensor
    """Of the image's attention to the tokens, [B, heads, d, N]."""


class TwoWayTransformer(nn.Module):
    """Decode prompt tokens against image features.

    Args:
        depth: number of layers.
        embedding_dim: width C.
        num_heads: attention heads; divides half the width.
        mlp_dim: hidden width of the feed-forward layers.
    """

    def __init__(self, *, depth: int = 2, embedding_dim: int = 256, num_heads: int = 8, mlp_dim: int = 2048) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayLayer(embedding_dim, num_heads, mlp_dim, first=index == 0) for index in range(depth)
        )
        self.final_attn_token_to_image = Attention(embedding_dim, num_heads, downsample_rate=2)
        self.norm_final_attn = nn.LayerNorm(embedding_dim)

    def image_side(self, image: Tensor, image_pe: Tensor) -> ImageSide | None:
        """Return what prompts share of an image [B, 1, N, C]; None for images of their own, [B, P, N, C]."""
        first: TwoWayLayer = self.layers[0]  # type: ignore[assignment]
        return first.image_side(image, image_pe)

    def forward(
        self,
        tokens: Tensor,
        image: Tensor,
        image_pe: Tensor,
        bias: Tensor | None = None,
        side: ImageSide | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the updated tokens [B, P, T, C] and the updated image [B, P, N, C].

        Args:
            tokens: [B, P, T, C].
            image: [B, 1, N, C] shared by the prompts, or [B, P, N, C].
            image_pe: [N, C].
            bias: [B, P, T] on the score of each token, by whatever asks: -inf hides it, log m counts it m times.
            side: `image_side` of the image, where more prompts than these share it.
        """
        token_pe = tokens
        side = side or self.image_side(image, image_pe)
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pe, image_pe, bias, side)
            side = None  # from now on each prompt has an image of its own
        attended = self.final_attn_token_to_image.tokens_to_image(tokens + token_pe, image + image_pe, image)
        return self.norm_final_attn(tokens + attended), image


class TwoWayLayer(nn.Module):
    """Self-attention of the tokens, tokens to image, feed-forward, image to tokens."""

    def __init__(self, width: int, heads: int, mlp_dim: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, heads, downsample_rate=2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, mlp_dim, activation=nn.ReLU)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, heads, downsample_rate=2)

    def image_side(self, image: Tensor, image_pe: Tensor) -> ImageSide | None:
        """See `TwoWayTransformer.image_side`."""
        if image.shape[1] != 1:
            return None
        located = image + image_pe
        keys, values = self.cross_attn_token_to_image.keys_values(located, image)
        return ImageSide(located, keys, values, self.cross_attn_image_to_token.image_queries(located))

    def forward(
        self,
        tokens: Tensor,
        image: Tensor,
        token_pe: Tensor,
        image_pe: Tensor,
        bias: Tensor | None,
        side: ImageSide | None,
    ) -> tuple[Tensor, Tensor]:
        """Update the tokens [B, P, T, C] and the image [B, P, N, C], or [B, 1, N, C] with its `side`."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, bias)
        else:
            tokens = tokens + self.self_attn(tokens + token_pe, tokens, bias)
        tokens = self.norm1(tokens)
        located = image + image_pe if side is None else side.located
        tokens = tokens + self.cross_attn_token_to_image.tokens_to_image(tokens + token_pe, located, image, side)
        tokens = self.norm2(tokens)
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.cross_attn_image_to_token.image_to_tokens(image, located, tokens + token_pe, tokens, bias, side)
        return tokens, self.norm4(image)


class Attention(nn.Module):
    """Attention whose inner width may be smaller than its outer one, in the shapes the decoder needs.

    With few tokens it is cheaper to carry a projection of the image over to the token side, x W k = x (W k),
    than to project every patch: no tensor of N rows and inner width is ever made. Only sums are re-ordered.
    """

    def __init__(self, width: int, heads: int, *, downsample_rate: int = 1) -> None:
        super().__init__()
        inner = width // downsample_rate
        self.heads = heads
        self.scale = (inner // heads) ** -0.5
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, located: Tensor, tokens: Tensor, bias: Tensor | None) -> Tensor:
        """Let tokens [B, P, T, C] attend to each other; `located` is the tokens with positions.

        Of `bias` [B, P, T], here and below, see `TwoWayTransformer.forward`.
        """
        q, k, v = (
            self._split(projection(x.flatten(0, 1)))
            for projection, x in ((self.q_proj, located), (self.k_proj, located), (self.v_proj, tokens))
        )
        mask = None if bias is None else bias.to(q.dtype).flatten(0, 1)[:, None, None, :]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(mixed.transpose(1, 2).reshape(tokens.shape))  # type: ignore[no-any-return]

    def keys_values(self, located: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys [B, heads, d, N] and values [B, heads, N, d] of an image [B, 1, N, C].

        `located` is the image with positions. What every prompt is multiplied with lies in memory as it is read.
        """
        keys = self._split(self.k_proj(located[:, 0])).mT.contiguous()
        return keys, self._split(self.v_proj(image[:, 0])).contiguous()

    def image_queries(self, located: Tensor) -> Tensor:
        """Return the queries [B, heads, d, N] of an image with positions [B, 1, N, C]."""
        return self._split(self.q_proj(located[:, 0])).mT.contiguous()

    def tokens_to_image(self, tokens: Tensor, located: Tensor, image: Tensor, side: ImageSide | None = None) -> Tensor:
        """Let tokens [B, P, T, C] attend to image [B, P, N, C], or [B, 1, N, C] with its `side`."""
        q = self.q_proj(tokens)
        if side is not None:  # one attention an image, whose rows are the tokens of all its prompts
            rows = self._split(q.flatten(1, 2)) * self.scale  # few: a fused kernel would gain nothing
            mixed = ((rows @ side.keys).softmax(-1) @ side.values).transpose(1, 2)
        else:
            queries, constant = self._fold(q, self.k_proj)
            scores = torch.baddbmm(constant, queries, located.flatten(0, 1).mT)  # [B P, heads * T, N]
            read = torch.bmm(scores.softmax(-1), image.flatten(0, 1)).unflatten(1, (self.heads, -1))
            weight, bias = self._by_head(self.v_proj)
            mixed = torch.einsum("ghtc,hdc->gthd", read, weight) + bias
        return self.out_proj(mixed.reshape(q.shape))  # type: ignore[no-any-return]

    def image_to_tokens(
        self,
        image: Tensor,
        located: Tensor,
        token_keys: Tensor,
        tokens: Tensor,
        bias: Tensor | None,
        side: ImageSide | None = None,
    ) -> Tensor:
        """Return the image [B, P, N, C] plus what each patch reads from the tokens [B, P, T, C].

        The image may be [B, 1, N, C] with its `side`.
        """
        batch, prompts, count = tokens.shape[:3]
        projected = self.k_proj(token_keys)
        bias = (
            tokens.new_zeros([1] * 5) if bias is None else bias.to(projected.dtype)[..., None, None]
        )  # [B, P, T, 1, 1]
        if side is not None:  # one product an image and head, whose rows are the tokens of all its prompts
            rows = (projected * self.scale).unflatten(-1, (self.heads, -1)).permute(0, 3, 1, 2, 4)
            constant = bias.expand(batch, prompts, count, 1, self.heads).permute(0, 4, 1, 2, 3)
            rows, constant = (x.flatten(2, 3).flatten(0, 1) for x in (rows, constant))  # [B heads, P T, d], [.., 1]
            scores = torch.baddbmm(constant, rows, side.queries.flatten(0, 1))
            scores = scores.view(batch, self.heads, prompts, count, -1).transpose(1, 2).flatten(0, 1)
        else:
            rows, constant = self._fold(projected, self.q_proj)
            constant = constant.view(batch, prompts, self.heads, count, 1) + bias.transpose(2, 3)
            scores = torch.baddbmm(constant.view(batch * prompts, -1, 1), rows, located.flatten(0, 1).mT)
            scores = scores.unflatten(1, (self.heads, count))
        # Patches are the last axis, so that the softmax over the few tokens runs along contiguous memory.
        weights = scores.softmax(2).flatten(1, 2)  # [B P, heads * T, N]
        value = self.v_proj(tokens).flatten(0, 1).unflatten(-1, (self.heads, -1))
        # A patch's weights add up to 1 in each head: an equal share of the bias on every value is the bias.
        share = self.out_proj.bias / self.heads
        out = torch.einsum("gthd,chd->ghtc", value, self.out_proj.weight.unflatten(1, (self.heads, -1))) + share
        read = torch.bmm(weights.mT, out.flatten(1, 2)).unflatten(0, (batch, prompts))
        return read.add_(image)

    def _fold(self, projected: Tensor, other: nn.Linear) -> tuple[Tensor, Tensor]:
        """Carry the other side's projection over to projected tokens [B, P, T, heads * d].

        Returns:
            Rows [B P, heads * T, C] and constants [B P, heads * T, 1]: row . x + constant is the score of x.
        """
        weight, bias = self._by_head(other)
        tokens = (projected * self.scale).flatten(0, 1).unflatten(-1, (self.heads, -1))  # [B P, T, heads, d]
        rows = torch.einsum("gthd,hdc->ghtc", tokens, weight)
        constants = torch.einsum("gthd,hd->ght", tokens, bias)
        return rows.flatten(1, 2), constants.flatten(1)[..., None]

    def _by_head(self, layer: nn.Linear) -> tuple[Tensor, Tensor]:
        """Return the weight [heads, d, C] and the bias [heads, d] of a projection."""
        return layer.weight.unflatten(0, (self.heads, -1)), layer.bias.unflatten(0, (self.heads, -1))

    def _split(self, x: Tensor) -> Tensor:
        """Turn [G, L, heads * d] into [G, heads, L, d]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # type: ignore[no-any-return]
