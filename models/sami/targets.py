"""What is reconstructed: features of SAM's or CLIP's image encoder, or pixels; and SAM's encoder at another size.

A target maps normalised pixels [B, 3, S, S] to [B, N, C], a row for each of the student's patches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import timm
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from torch.nn import functional as F

from models.errors import BenchError
from models.sam.image_encoder import ImageEncoder, WindowAttention

Input = Literal["224", "1024-pooled"]
"""How the teacher sees the student's crop; our choice, paper silent: as it is, with the teacher's position tables
resized, or enlarged to the teacher's own size with its features averaged over the student's grid."""
Layer = Literal["neck", "pre-neck"]
"""Which of SAM's features; our choice, paper silent: after the neck (256 wide), or before it (1280 wide in ViT-H)."""


@dataclass(frozen=True)
class Target:
    """Features to reconstruct, computed without gradients."""

    features: Callable[[Tensor], Tensor]
    """Pixels [B, 3, S, S] to [B, N, C]."""
    width: int
    """C."""
    name: str
    """What a record says."""

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Return [B, N, C]."""
        return self.features(pixels)


def pixel_target(*, patch_size: int = 16, norm: bool = False) -> Target:
    """Return the pixels of each patch, [B, N, patch_size ** 2 * 3] with colours last, as MAE has them.

    Args:
        patch_size: side of a patch, px.
        norm: whether each patch gets zero mean and unit (unbiased) variance.
    """

    def features(pixels: Tensor) -> Tensor:
        batch, colours, height, width = pixels.shape
        grid = pixels.view(batch, colours, height // patch_size, patch_size, width // patch_size, patch_size)
        patches = grid.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch_size**2 * colours)  # [B, N, p p 3]
        if not norm:
            return patches
        with torch.autocast(pixels.device.type, enabled=False):  # which would round the variances to 8 bits
            centred = patches - patches.mean(-1, keepdim=True)
            variance = torch.linalg.vecdot(centred, centred).unsqueeze(-1) / (centred.shape[-1] - 1)
            return centred * torch.rsqrt(variance + 1e-6)

    return Target(features, 3 * patch_size**2, f"pixels{', normalised by patch' if norm else ''}")


def sam_target(encoder: ImageEncoder, *, size: int = 224, input: Input = "224", layer: Layer = "neck") -> Target:
    """Return SAM's features of each of the student's patches.

    SAM and the student normalise pixels with the same constants (ImageNet's), so the crop goes in as it is.

    Args:
        encoder: SAM's image encoder, with its weights.
        size: side of the student's crops, px.
        input: see `Input`.
        layer: see `Layer`.
    """
    pooled = input == "1024-pooled"
    teacher = (encoder if pooled else at_size(encoder, size)).eval().requires_grad_(False)
    grid = size // encoder.patch_size
    last: nn.Module = teacher.neck if layer == "neck" else nn.Identity()

    def features(pixels: Tensor) -> Tensor:
        if pooled:
            pixels = F.interpolate(pixels, (encoder.img_size, encoder.img_size), mode="bicubic", antialias=True)
        maps = last(teacher.tokens(pixels).permute(0, 3, 1, 2))  # [B, C, h, w]
        if pooled:
            maps = F.adaptive_avg_pool2d(maps, grid)
        return maps.flatten(2).mT.contiguous()

    width = encoder.out_chans if layer == "neck" else encoder.pos_embed.shape[-1]
    how = f"enlarged to {encoder.img_size} px and pooled" if pooled else f"{size} px"
    return Target(features, width, f"SAM's image encoder, {how}, {layer.replace('-', ' ')}")


CLIP = "vit_base_patch16_clip_224.openai"
"""CLIP's image encoder in timm."""


def clip_target(name: str = CLIP, *, checkpoint: str | None = None, device: str | torch.device = "cpu") -> Target:
    """Return the patch tokens of CLIP's image encoder from timm, after its last norm (section 4.4).

    Args:
        name: in timm.
        checkpoint: a local file of weights; None takes timm's, which it downloads once.
        device: where it runs.
    """
    overlay = {"file": checkpoint} if checkpoint else None
    encoder = timm.create_model(name, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay)
    return token_target(encoder.to(device), name)


def token_target(encoder: Any, name: str) -> Target:
    """Return the patch tokens of a timm ViT; its pixel statistics are put in place of ImageNet's."""
    encoder.eval().requires_grad_(False)
    config = encoder.pretrained_cfg
    own_mean, own_std, mean, std = (
        torch.tensor(values)[:, None, None]
        for values in (config["mean"], config["std"], IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    )
    skipped = encoder.num_prefix_tokens

    def features(pixels: Tensor) -> Tensor:
        own = (pixels * std.to(pixels) + mean.to(pixels) - own_mean.to(pixels)) / own_std.to(pixels)
        return encoder.forward_features(own)[:, skipped:]  # type: ignore[no-any-return]

    return Target(features, encoder.embed_dim, name)


def at_size(encoder: ImageEncoder, size: int) -> ImageEncoder:
    """Return a copy of SAM's encoder for another input size; at its own size the encoder itself.

    Absolute positions are resized bicubically, relative ones of global blocks linearly, as SAM's own code does for
    other sizes. Windows keep their side and are padded where the grid is no multiple of it.

    Raises:
        BenchError: if the size is no multiple of the patch.
    """
    if size == encoder.img_size:
        return encoder
    if size % encoder.patch_size:
        raise BenchError(f"input size {size} is no multiple of the patch, {encoder.patch_size} px: take one that is")
    attentions = [module for module in encoder.modules() if isinstance(module, WindowAttention)]
    windows = [attention.side for attention in attentions if attention.side != encoder.grid]
    feed_forward: Any = encoder.blocks[0].mlp
    resized = ImageEncoder(
        img_size=size,
        patch_size=encoder.patch_size,
        embed_dim=encoder.pos_embed.shape[-1],
        depth=len(attentions),
        num_heads=attentions[0].heads,
        window_size=windows[0] if windows else encoder.grid,
        global_attn_indexes=[i for i, attention in enumerate(attentions) if attention.side == encoder.grid],
        out_chans=encoder.out_chans,
        mlp_ratio=feed_forward.lin1.out_features / encoder.pos_embed.shape[-1],
    ).to(encoder.pos_embed)
    own, state = encoder.state_dict(), resized.state_dict()
    for name, value in own.items():
        wanted = state[name].shape
        if value.shape == wanted:
            state[name] = value
        elif name == "pos_embed":
            maps = F.interpolate(value.permute(0, 3, 1, 2), wanted[1:3], mode="bicubic", align_corners=False)
            state[name] = maps.permute(0, 2, 3, 1)
        else:  # rel_pos_h or rel_pos_w, [2 side - 1, d]
            state[name] = F.interpolate(value.T[None], wanted[0], mode="linear")[0].T
    resized.load_state_dict(state)
    return resized
