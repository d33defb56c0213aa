"""EfficientSAM's two-way transformer.

Where it differs from SAM's, so that their weights cannot be exchanged: self-attention has a residual
connection in the first layer too; in later layers the positions are added for good (values and residual hold
them too); the feed-forward layers use GELU. The attention itself is SAM's, and so is the image side shared by
all prompts. Re-implements `TwoWayTransformer` of the released code (commit d525f62) under the same state-dict
names.

Axes: B images, P prompts each, T tokens a prompt, N patches, C channels. `image` is [B, 1, N, C] while all
prompts share it and [B, P, N, C] once they differ.
"""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from models.sam.transformer import Attention, ImageSide


class Mlp(nn.Module):
    """Linear layers with GELU between them; the last is called `fc`."""

    def __init__(self, width: int, hidden: int, out: int, *, depth: int) -> None:
        super().__init__()
        widths = [width, *[hidden] * (depth - 1)]
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(a, b), nn.GELU()) for a, b in itertools.pairwise(widths))
        self.fc = nn.Linear(widths[-1], out)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., width] to [..., out]."""
        for layer in self.layers:
            x = layer(x)
        return self.fc(x)  # type: ignore[no-any-return]


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
            image: [B, 1, N, C], shared by the prompts, or [B, P, N, C].
            image_pe: [N, C].
            bias: [B, P, T] on the score of each token, by whatever asks: log m counts it m times.
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
        self.mlp = Mlp(width, mlp_dim, width, depth=2)
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
        if not self.first:
            tokens = tokens + token_pe
        tokens = self.norm1(tokens + self.self_attn(tokens, tokens, bias))
        located = image + image_pe if side is None else side.located
        tokens = tokens + self.cross_attn_token_to_image.tokens_to_image(tokens + token_pe, located, image, side)
        tokens = self.norm2(tokens)
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.cross_attn_image_to_token.image_to_tokens(image, located, tokens + token_pe, tokens, bias, side)
        return tokens, self.norm4(image)
