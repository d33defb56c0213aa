"""The `reference` engine: the published operations one by one, none fused, shared or re-ordered.

What EfficientSAM's released code and segment_anything 1.0 compute for each prompt, they compute here too: attention
as three products with its scores written out, the image's features once for every prompt, transposed convolutions,
all candidate masks, torch's own resizing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models.efficientsam import decoder as efficientsam
from models.efficientsam.encoder import SelfAttention
from models.efficientsam.segmenter import EfficientSamSegmenter
from models.efficientsam.transformer import TwoWayTransformer as EfficientSamTransformer
from models.mobilesam.encoder import TinyVitEncoder
from models.sam import mask_decoder as sam
from models.sam.image_encoder import WindowAttention
from models.sam.segmenter import SamSegmenter
from models.sam.transformer import Attention, ImageSide
from models.sam.transformer import TwoWayTransformer as SamTransformer


class PlainSelfAttention(SelfAttention):
    """EfficientSAM's: scores, scaled, softmax, values."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix tokens [B, N, C]."""
        qkv = self.qkv(tokens).unflatten(-1, (3, self.heads, -1))  # [B, N, 3, heads, d]
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()  # [B, heads, N, d] each
        mixed = ((q @ k.mT) * q.shape[-1] ** -0.5).softmax(-1) @ v
        return self.proj(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class PlainWindowAttention(WindowAttention):
    """SAM's: queries scaled, scores, the bias of rows and columns, softmax, values."""

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = (q * q.shape[-1] ** -0.5) @ k.mT
        if self.relative_positions:
            scores = scores + self.bias(q)
        return scores.softmax(-1) @ v


class PlainAttention(Attention):
    """The decoders': every patch is projected, for each prompt anew."""

    def forward(self, located: Tensor, tokens: Tensor, bias: Tensor | None) -> Tensor:
        """Let tokens [B, P, T, C] attend to each other."""
        return self._plain(located, located, tokens, bias)

    def tokens_to_image(self, tokens: Tensor, located: Tensor, image: Tensor, side: ImageSide | None = None) -> Tensor:
        """Let tokens [B, P, T, C] attend to image [B, P, N, C]."""
        return self._plain(tokens, located, image, None)

    def image_to_tokens(
        self,
        image: Tensor,
        located: Tensor,
        token_keys: Tensor,
        tokens: Tensor,
        bias: Tensor | None,
        side: ImageSide | None = None,
    ) -> Tensor:
        """Return the image [B, P, N, C] plus what each patch reads from the tokens [B, P, T, C]."""
        return image + self._plain(located, token_keys, tokens, bias)

    def _plain(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
        """Attend [B, P, L, C] -> [B, P, M, C]; `bias` [B, P, M] is added to the scores of the keys."""
        projected = ((self.q_proj, queries), (self.k_proj, keys), (self.v_proj, values))
        q, k, v = (layer(x).unflatten(-1, (self.heads, -1)).transpose(2, 3) for layer, x in projected)
        scores = q @ k.mT / q.shape[-1] ** 0.5  # [B, P, heads, L, M]
        if bias is not None:
            scores = scores + bias[:, :, None, None]
        return self.out_proj((scores.softmax(-1) @ v).transpose(2, 3).flatten(3))  # type: ignore[no-any-return]


class PlainSamTransformer(SamTransformer):
    """SAM's, on a copy of the image for each prompt."""

    def image_side(self, image: Tensor, image_pe: Tensor) -> ImageSide | None:
        """Share nothing."""
        return None

    def forward(
        self,
        tokens: Tensor,
        image: Tensor,
        image_pe: Tensor,
        bias: Tensor | None = None,
        side: ImageSide | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the updated tokens [B, P, T, C] and image [B, P, N, C]."""
        return super().forward(tokens, _repeated(image, tokens), image_pe, bias)


class PlainEfficientSamTransformer(EfficientSamTransformer):
    """EfficientSAM's, on a copy of the image for each prompt."""

    def image_side(self, image: Tensor, image_pe: Tensor) -> ImageSide | None:
        """Share nothing."""
        return None

    def forward(
        self,
        tokens: Tensor,
        image: Tensor,
        image_pe: Tensor,
        bias: Tensor | None = None,
        side: ImageSide | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the updated tokens [B, P, T, C] and image [B, P, N, C]."""
        return super().forward(tokens, _repeated(image, tokens), image_pe, bias)


def _repeated(image: Tensor, tokens: Tensor) -> Tensor:
    """Return the image [B, 1 or P, N, C] once for each prompt of tokens [B, P, T, C]."""
    return image if image.shape[1] == tokens.shape[1] else image.repeat_interleave(tokens.shape[1], 1)


class PlainSamDecoder(sam.MaskDecoder):
    """SAM's, upscaling by transposed convolutions."""

    def _workers(self, image: Tensor) -> int:
        return 1

    def _masks(self, image: Tensor, kernels: Tensor) -> Tensor:
        return _product(self.output_upscaling(_maps(image)), kernels)


class PlainEfficientSamDecoder(efficientsam.MaskDecoder):
    """EfficientSAM's, upscaling by transposed convolutions, every token of padding by itself."""

    def _once(self, tokens: Tensor, alike: int) -> tuple[Tensor, Tensor | None]:
        return tokens, None

    def _workers(self, image: Tensor) -> int:
        return 1

    def _masks(self, image: Tensor, kernels: Tensor) -> Tensor:
        maps = _maps(image)
        for layer in self.final_output_upscaling_layers:
            maps = layer(maps)
        return _product(maps, kernels)


def _maps(image: Tensor) -> Tensor:
    """Return patches [B, P, N, C] as maps [B P, C, h, h]."""
    side = round(image.shape[2] ** 0.5)
    return image.flatten(0, 1).mT.unflatten(2, (side, side))  # type: ignore[no-any-return]


def _product(maps: Tensor, kernels: Tensor) -> Tensor:
    """Return logits [B, P, M, H, W] of maps [B P, c, H, W] and kernels [B, P, c, M]."""
    logits = kernels.flatten(0, 1).mT @ maps.flatten(2)  # [B P, M, H W]
    return logits.unflatten(2, maps.shape[2:]).unflatten(0, kernels.shape[:2])  # type: ignore[no-any-return]


class _TorchResizing:
    """A segmenter whose masks are what torch's resizing makes of logits, all candidates at once."""

    upscale: Any
    threshold: Any
    picks = False

    @torch.inference_mode()
    def masks(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Turn logits [P, M, h, w] into masks bool [P, M, H, W]."""
        return self.threshold(self.upscale(logits, size))  # type: ignore[no-any-return]


class PlainSamSegmenter(_TorchResizing, SamSegmenter):
    """SAM's."""


class PlainEfficientSamSegmenter(_TorchResizing, EfficientSamSegmenter):
    """EfficientSAM's."""


class PlainTinyVitEncoder(TinyVitEncoder):
    """MobileSAM's: timm's own attention, not fused."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode [B, 3, S, S]."""
        for module in self.modules():
            if hasattr(module, "fused_attn"):
                module.fused_attn = False  # type: ignore[assignment]
        return super().forward(pixels)


STAND_INS: Mapping[type, type] = {
    SelfAttention: PlainSelfAttention,
    WindowAttention: PlainWindowAttention,
    Attention: PlainAttention,
    SamTransformer: PlainSamTransformer,
    EfficientSamTransformer: PlainEfficientSamTransformer,
    sam.MaskDecoder: PlainSamDecoder,
    efficientsam.MaskDecoder: PlainEfficientSamDecoder,
    TinyVitEncoder: PlainTinyVitEncoder,
    SamSegmenter: PlainSamSegmenter,
    EfficientSamSegmenter: PlainEfficientSamSegmenter,
}
"""What stands in for the exact engine's classes."""
