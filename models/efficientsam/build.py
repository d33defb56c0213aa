"""The two released sizes of EfficientSAM, and any other size from the same classes."""

from __future__ import annotations

from models.efficientsam.decoder import MaskDecoder
from models.efficientsam.encoder import ImageEncoder
from models.efficientsam.network import EfficientSamNetwork
from models.efficientsam.prompt_encoder import PromptEncoder
from models.efficientsam.transformer import TwoWayTransformer


def efficientsam(
    *,
    embed_dim: int,
    num_heads: int,
    depth: int = 12,
    mlp_ratio: float = 4.0,
    img_size: int = 1024,
    patch_size: int = 16,
    pretrain_img_size: int = 224,
    prompt_dim: int = 256,
    decoder_depth: int = 2,
    decoder_heads: int = 8,
    decoder_mlp_dim: int = 2048,
    upscaling_channels: tuple[int, int] | None = None,
    iou_head_hidden_dim: int = 256,
) -> EfficientSamNetwork:
    """Build an EfficientSAM of any size.

    Args:
        embed_dim: width of the image encoder.
        num_heads: its attention heads.
        depth: its blocks.
        mlp_ratio: hidden width of its feed-forward layers over `embed_dim`.
        img_size: side of the input, px.
        patch_size: side of a patch, px.
        pretrain_img_size: side of the images the encoder was pretrained on, px.
        prompt_dim: channels of the features and width of the decoder.
        decoder_depth: layers of the two-way transformer.
        decoder_heads: its attention heads.
        decoder_mlp_dim: hidden width of its feed-forward layers.
        upscaling_channels: channels of the two upscaling steps; None for prompt_dim / 4 and / 8.
        iou_head_hidden_dim: hidden width of the IoU head.
    """
    encoder = ImageEncoder(
        img_size=img_size,
        patch_size=patch_size,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        out_chans=prompt_dim,
        mlp_ratio=mlp_ratio,
        pretrain_img_size=pretrain_img_size,
    )
    prompts = PromptEncoder(embed_dim=prompt_dim, grid=img_size // patch_size, img_size=img_size)
    transformer = TwoWayTransformer(
        depth=decoder_depth, embedding_dim=prompt_dim, num_heads=decoder_heads, mlp_dim=decoder_mlp_dim
    )
    decoder = MaskDecoder(
        transformer,
        transformer_dim=prompt_dim,
        upscaling_channels=upscaling_channels,
        iou_head_hidden_dim=iou_head_hidden_dim,
    )
    return EfficientSamNetwork(encoder, prompts, decoder)


def efficientsam_ti() -> EfficientSamNetwork:
    """Build EfficientSAM-Ti (efficient_sam_vitt.pt)."""
    return efficientsam(embed_dim=192, num_heads=3)


def efficientsam_s() -> EfficientSamNetwork:
    """Build EfficientSAM-S (efficient_sam_vits.pt)."""
    return efficientsam(embed_dim=384, num_heads=6)
