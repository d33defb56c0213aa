"""The ViT that is pretrained: timm's blocks under the parameter names of MAE and of the released EfficientSAM."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from models.checkpoints import check_numbers
from models.errors import BenchError
from models.sami.positions import positions_with_class

NORM_EPS = 1e-6


class ViTEncoder(nn.Module):
    """Encode images [B, 3, S, S], or only some of their patches.

    Args:
        img_size: side S of the square input, px.
        patch_size: side of a patch, px.
        embed_dim: width C of the tokens.
        depth: blocks.
        num_heads: attention heads; divides `embed_dim`.
        mlp_ratio: hidden width of the feed-forward layers over `embed_dim`.

    Positions are MAE's fixed sines and cosines. They are a parameter without gradient, since finetuning trains them.
    """

    def __init__(
        self,
        *,
        img_size: int = 224,
        patch_size: int = 16,
        embed_dim: int = 192,
        depth: int = 12,
        num_heads: int = 3,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.img_size, self.embed_dim, self.depth = img_size, embed_dim, depth
        self.patch_embed = PatchEmbed(img_size, patch_size, 3, embed_dim)
        grid = img_size // patch_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(positions_with_class(grid, embed_dim), requires_grad=False)
        norm: Any = partial(nn.LayerNorm, eps=NORM_EPS)
        self.blocks = nn.ModuleList(
            Block(embed_dim, num_heads, mlp_ratio, qkv_bias=True, norm_layer=norm) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim, eps=NORM_EPS)
        self.apply(start)
        projection = self.patch_embed.proj.weight.data
        nn.init.xavier_uniform_(projection.view(len(projection), -1))
        nn.init.normal_(self.cls_token, std=0.02)

    @property
    def tokens(self) -> int:
        """Number N of patches."""
        return self.pos_embed.shape[1] - 1

    def forward(self, pixels: Tensor, keep: Tensor | None = None) -> Tensor:
        """Return tokens [B, 1 + V, C], the class token first.

        Args:
            pixels: [B, 3, S, S] normalised.
            keep: [B, V] numbers of the patches that are seen; None for all N.
        """
        patches = self.patch_embed(pixels) + self.pos_embed[:, 1:]  # [B, N, C]
        if keep is not None:
            patches = patches.gather(1, keep[..., None].expand(-1, -1, self.embed_dim))  # [B, V, C]
        classes = (self.cls_token + self.pos_embed[:, :1]).expand(len(patches), -1, -1)
        tokens = torch.cat([classes, patches], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)  # type: ignore[no-any-return]


def start(module: nn.Module) -> None:
    """Initialise a layer as MAE does: Xavier for matrices, zero for biases, one for norms."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


ONLY_IN_PRETRAINING = ("cls_token", "norm.weight", "norm.bias")
"""Entries that an EfficientSAM image encoder has no place for."""


def to_efficientsam(encoder_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the entries that EfficientSAM's image encoder takes over, under its names.

    The names are the same; the class token and the last norm have no counterpart and stay behind.
    """
    return {name: value for name, value in encoder_state.items() if name not in ONLY_IN_PRETRAINING}


def into_efficientsam(image_encoder: nn.Module, encoder_state: Mapping[str, Tensor]) -> None:
    """Load a pretrained encoder into an EfficientSAM image encoder, whose neck stays as it is.

    Raises:
        BenchError: if it is of another size.
    """
    own = image_encoder.state_dict()
    vit = {name: value.float() for name, value in to_efficientsam(encoder_state).items()}
    wanted = {name for name in own if not name.startswith("neck.")}
    wrong = sorted(wanted ^ set(vit)) or [name for name in sorted(vit) if vit[name].shape != own[name].shape]
    if wrong:
        raise BenchError(
            f"the pretrained encoder does not fit this EfficientSAM: '{wrong[0]}' has another shape or is missing, "
            "take the encoder of its size"
        )
    check_numbers(encoder_state, own, "the pretrained encoder")
    image_encoder.load_state_dict({**own, **vit})
