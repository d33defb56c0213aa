"""The three published sizes of SAM, and any other size from the same classes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

from models.sam.image_encoder import ImageEncoder
from models.sam.mask_decoder import MaskDecoder
from models.sam.network import SamNetwork
from models.sam.prompt_encoder import PromptEncoder
from models.sam.transformer import TwoWayTransformer


def build_network(
    image_encoder: nn.Module,
    *,
    img_size: int = 1024,
    patch_size: int = 16,
    prompt_dim: int = 256,
    mask_in_chans: int = 16,
    decoder_depth: int = 2,
    decoder_heads: int = 8,
    decoder_mlp_dim: int = 2048,
    upscaling_channels: tuple[int, int] | None = None,
    iou_head_hidden_dim: int = 256,
) -> SamNetwork:
    """Put SAM's prompt encoder and mask decoder behind an image encoder with features [B, prompt_dim, h, h].

    Args:
        image_encoder: maps [B, 3, img_size, img_size] to features at 1 / `patch_size` of the size.
        img_size: side of the input, px.
        patch_size: input pixels a feature, along one side.
        prompt_dim: channels of the features and width of the decoder.
        mask_in_chans: hidden channels of the mask-prompt embedding.
        decoder_depth: layers of the two-way transformer.
        decoder_heads: its attention heads.
        decoder_mlp_dim: hidden width of its feed-forward layers.
        upscaling_channels: channels of the two upscaling steps; None for prompt_dim / 4 and / 8.
        iou_head_hidden_dim: hidden width of the IoU head.
    """
    transformer = TwoWayTransformer(
        depth=decoder_depth, embedding_dim=prompt_dim, num_heads=decoder_heads, mlp_dim=decoder_mlp_dim
    )
    decoder = MaskDecoder(
        transformer,
        transformer_dim=prompt_dim,
        upscaling_channels=upscaling_channels,
        iou_head_hidden_dim=iou_head_hidden_dim,
    )
    prompts = PromptEncoder(
        embed_dim=prompt_dim, grid=img_size // patch_size, img_size=img_size, mask_in_chans=mask_in_chans
    )
    return SamNetwork(image_encoder, prompts, decoder)


def sam(
    *,
    embed_dim: int,
    depth: int,
    num_heads: int,
    global_attn_indexes: Collection[int],
    window_size: int = 14,
    img_size: int = 1024,
    patch_size: int = 16,
    prompt_dim: int = 256,
    **decoder: Any,
) -> SamNetwork:
    """Build a SAM of any size; see `ImageEncoder` for its widths, `decoder` are keywords of `build_network`."""
    encoder = ImageEncoder(
        img_size=img_size,
        patch_size=patch_size,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        window_size=window_size,
        global_attn_indexes=global_attn_indexes,
        out_chans=prompt_dim,
    )
    return build_network(encoder, img_size=img_size, patch_size=patch_size, prompt_dim=prompt_dim, **decoder)


def sam_vit_b() -> SamNetwork:
    """Build SAM ViT-B (sam_vit_b_01ec64.pth)."""
    return sam(embed_dim=768, depth=12, num_heads=12, global_attn_indexes=(2, 5, 8, 11))


def sam_vit_l() -> SamNetwork:
    """Build SAM ViT-L (sam_vit_l_0b3195.pth)."""
    return sam(embed_dim=1024, depth=24, num_heads=16, global_attn_indexes=(5, 11, 17, 23))


def sam_vit_h() -> SamNetwork:
    """Build SAM ViT-H (sam_vit_h_4b8939.pth)."""
    return sam(embed_dim=1280, depth=32, num_heads=16, global_attn_indexes=(7, 15, 23, 31))
