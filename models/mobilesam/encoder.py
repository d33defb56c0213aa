"""MobileSAM's image encoder: timm's TinyViT, whose last stage does not downsample, and SAM's neck."""

from __future__ import annotations

from typing import Any

from timm.models.tiny_vit import TinyVit
from torch import Tensor, nn

from models.sam.image_encoder import neck


class TinyVitEncoder(nn.Module):
    """Encode normalised, padded images [B, 3, S, S] as features [B, out_chans, S / 16, S / 16].

    Args:
        img_size: side S of the square input, px.
        embed_dims: widths of the four stages.
        depths: blocks of the four stages.
        num_heads: attention heads of the four stages (the first has none; its entry is not used).
        window_sizes: sides of the attention windows, patches (the first is not used).
        mlp_ratio: hidden width of the feed-forward layers over the stage's width.
        drop_path_rate: stochastic depth of the last block, rising linearly from 0.
        out_chans: channels of the features.
    """

    def __init__(
        self,
        *,
        img_size: int = 1024,
        embed_dims: tuple[int, int, int, int] = (64, 128, 160, 320),
        depths: tuple[int, int, int, int] = (2, 2, 6, 2),
        num_heads: tuple[int, int, int, int] = (2, 4, 5, 10),
        window_sizes: tuple[int, int, int, int] = (7, 7, 14, 7),
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        out_chans: int = 256,
    ) -> None:
        super().__init__()
        self.img_size, self.out_chans = img_size, out_chans
        trunk: Any = TinyVit(
            num_classes=0,
            embed_dims=embed_dims,
            depths=depths,
            num_heads=num_heads,
            window_sizes=window_sizes,
            mlp_ratio=mlp_ratio,
            drop_path_rate=drop_path_rate,
        )
        trunk.stages[-1].downsample.conv2.conv.stride = (1, 1)
        trunk.head = nn.Identity()
        self.trunk = trunk
        self.neck = neck(embed_dims[-1], out_chans)
        self.register_load_state_dict_post_hook(_forget_cached_biases)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode [B, 3, S, S]."""
        return self.neck(self.trunk.forward_features(pixels))  # type: ignore[no-any-return]


def _forget_cached_biases(encoder: nn.Module, _: object) -> None:
    """Make timm drop the attention biases that it caches in evaluation mode and that loading leaves stale."""
    encoder.train(encoder.training)
