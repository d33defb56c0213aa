"""EfficientSAM's mask decoder: from image features and prompt tokens to mask logits and predicted IoU.

Where it differs from SAM's: its transformer, GELU in every head, and one normalisation group over the whole
upscaled map where SAM normalises each pixel. Re-implements `MaskDecoder` of the released code (commit
d525f62) under the same state-dict names.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.attention import pieces, prompts_at_once
from models.efficientsam.transformer import Mlp, TwoWayTransformer
from models.parallel import in_parallel, workers_on
from models.sam.mask_decoder import MASKS, chosen_kernels
from models.sam.transformer import ImageSide
from models.segmenter import Multimask

_MULTIMASK = 3
"""Masks of an ambiguous answer; a token before them gives the single mask."""


class MaskDecoder(nn.Module):
    """Predict masks.

    Args:
        transformer: the two-way transformer.
        transformer_dim: its width C.
        upscaling_channels: channels after the first and the second upscaling; None for C / 4 and C / 8.
        iou_head_hidden_dim: hidden width of the IoU head.
    """

    def __init__(
        self,
        transformer: TwoWayTransformer,
        *,
        transformer_dim: int = 256,
        upscaling_channels: tuple[int, int] | None = None,
        iou_head_hidden_dim: int = 256,
    ) -> None:
        super().__init__()
        first, second = upscaling_channels or (transformer_dim // 4, transformer_dim // 8)
        count = _MULTIMASK + 1
        self.transformer = transformer
        self.iou_token = nn.Embedding(1, transformer_dim)
        self.mask_tokens = nn.Embedding(count, transformer_dim)
        self.final_output_upscaling_layers = nn.ModuleList(
            [
                nn.Sequential(nn.ConvTranspose2d(transformer_dim, first, 2, 2), nn.GroupNorm(1, first), nn.GELU()),
                nn.Sequential(nn.ConvTranspose2d(first, second, 2, 2), nn.Identity(), nn.GELU()),
            ]
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            Mlp(transformer_dim, transformer_dim, second, depth=3) for _ in range(count)
        )
        self.iou_prediction_head = Mlp(transformer_dim, iou_head_hidden_dim, count, depth=3)

    def forward(
        self, image: Tensor, image_pe: Tensor, prompts: Tensor, *, multimask: Multimask | None, alike: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Return logits [B, P, M, 4 h, 4 h] and predicted IoU [B, P, M].

        Args:
            image: features [B, 1, N, C] on a square grid, N = h * h.
            image_pe: [N, C].
            prompts: [B, P, K, C].
            multimask: the multimask tokens 1.. (M = 3), or else token 0 (M = 1); None for all, token 0 first (M = 4);
                "best" for predicted IoU of three and logits [B, P, 1, 4 h, 4 h] of the one where it is highest.
            alike: how many of the last tokens of each prompt are the same.
        """
        batch, count = prompts.shape[:2]
        output = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens, bias = self._once(torch.cat([output.expand(batch, count, -1, -1), prompts], 2), alike)
        side = self.transformer.image_side(image, image_pe)
        workers = self._workers(image)

        def answer(part: slice) -> tuple[Tensor, Tensor]:
            on_scores = None if bias is None else bias[:, part]
            return self._answer(tokens[:, part], image, image_pe, on_scores, side, multimask=multimask)

        answers = in_parallel(answer, prompts_at_once(image, count, workers), workers)
        logits, predicted_iou = (torch.cat(parts, 1) for parts in zip(*answers, strict=True))
        return logits, predicted_iou

    def _once(self, tokens: Tensor, alike: int) -> tuple[Tensor, Tensor | None]:
        """Return tokens [B, P, T, C] with the last ones that are the same only once, and what counts that one as often.

        What is alike stays so through all layers: nothing tells padding apart from padding. See `bias` of
        `models.sam.transformer.TwoWayTransformer.forward`.
        """
        if torch.compiler.is_exporting() or alike < 2:  # a graph takes any number of points
            return tokens, None
        tokens = tokens[:, :, : tokens.shape[2] - alike + 1]
        bias = tokens.new_zeros(tokens.shape[:3])
        bias[..., -1] = math.log(alike)
        return tokens, bias

    def _workers(self, image: Tensor) -> int:
        """Return how many parts of the prompts to decode side by side."""
        return workers_on(image.device)

    def _answer(
        self,
        tokens: Tensor,
        image: Tensor,
        image_pe: Tensor,
        bias: Tensor | None,
        side: ImageSide | None,
        *,
        multimask: Multimask | None,
    ) -> tuple[Tensor, Tensor]:
        """Answer tokens [B, P, T, C] of a few prompts; see `forward`."""
        tokens, image = self.transformer(tokens, image, image_pe, bias, side)
        wanted = MASKS[multimask]
        masks = range(len(self.output_hypernetworks_mlps))[wanted]
        kernels = torch.stack([self.output_hypernetworks_mlps[m](tokens[:, :, 1 + m]) for m in masks], -1)
        predicted_iou = self.iou_prediction_head(tokens[:, :, 0])[..., wanted]
        return self._masks(image, chosen_kernels(kernels, predicted_iou, multimask)), predicted_iou

    def _masks(self, image: Tensor, kernels: Tensor) -> Tensor:
        """Upscale image [B, P, N, C] fourfold and multiply with kernels [B, P, c, M]: [B, P, M, 4 h, 4 h].

        Nothing between the two transposed convolutions looks at a pixel's place, so pixels stay in order of
        ancestry (patch, quarter of it, quarter of that) and only the M finished maps are sorted.
        """
        side = round(image.shape[2] ** 0.5)
        batch, prompts, _, count = kernels.shape
        first, second = (layer[0] for layer in self.final_output_upscaling_layers)  # type: ignore[index]
        norm = self.final_output_upscaling_layers[0][1]  # type: ignore[index]
        fine = _fourfold(image.flatten(0, 1), first)  # [B P, N, 4, c]
        scale, shift = _normalisation(fine, norm)
        kernels = kernels.flatten(0, 1)
        normal = (F.gelu(torch.addcmul(shift, piece, scale)) for piece in pieces(fine))
        finer = (F.gelu(_fourfold(piece, second)).flatten(1, -2) for piece in normal)
        logits = torch.cat([torch.bmm(pixels, kernels) for pixels in finer], 1)  # [B P, N * 4 * 4, M]
        logits = logits.view(batch * prompts, side, side, 2, 2, 2, 2, count)
        # [B P, y, x, y', x', y'', x'', M] -> [B P, M, y, y', y'', x, x', x'']
        return logits.permute(0, 7, 1, 3, 5, 2, 4, 6).reshape(batch, prompts, count, 4 * side, 4 * side)


def _fourfold(pixels: Tensor, layer: nn.Module) -> Tensor:
    """Apply a 2 x 2, stride 2 transposed convolution to channels-last pixels [..., C]: [..., 4, c].

    Its stride is its kernel, so each output pixel has one parent: a linear layer with four outputs a pixel.
    """
    assert isinstance(layer, nn.ConvTranspose2d)
    assert layer.bias is not None
    weight = layer.weight.permute(2, 3, 1, 0).flatten(0, 2)  # [2 * 2 * c, C]
    return F.linear(pixels, weight, layer.bias.repeat(4)).unflatten(-1, (4, -1))  # type: ignore[no-any-return]


def _normalisation(pixels: Tensor, layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Return scale and shift [B P, 1, 1, c] that a one-group GroupNorm has for channels-last pixels [B P, n, 4, c]."""
    assert isinstance(layer, nn.GroupNorm)
    # torch's quickest way to both moments on a CPU; var_mean takes ten times as long.
    _, mean, reciprocal_std = torch.native_layer_norm(pixels.float(), pixels.shape[1:], None, None, layer.eps)
    scale = layer.weight * reciprocal_std
    return scale, layer.bias - mean * scale
