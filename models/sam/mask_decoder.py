"""SAM's mask decoder: from image features and prompt tokens to mask logits and predicted IoU.

Re-implements `MaskDecoder` of segment_anything 1.0 under the same state-dict names.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.attention import pieces, prompts_at_once
from models.parallel import in_parallel, workers_on
from models.sam.layers import ChannelNorm
from models.sam.transformer import ImageSide, TwoWayTransformer
from models.segmenter import Multimask

MASKS: dict[Multimask | None, slice] = {
    True: slice(1, None),
    False: slice(0, 1),
    None: slice(None),
    "best": slice(1, None),
}
"""Which masks `multimask` asks for; of the best of them alone logits are made, of all a predicted IoU."""


class MaskDecoder(nn.Module):
    """Predict masks.

    Args:
        transformer: the two-way transformer.
        transformer_dim: its width C.
        num_multimask_outputs: masks of an ambiguous answer; one more token gives the single mask.
        upscaling_channels: channels after the first and the second upscaling; None for C / 4 and C / 8.
        iou_head_depth: linear layers of the IoU head.
        iou_head_hidden_dim: its hidden width.
    """

    def __init__(
        self,
        transformer: TwoWayTransformer,
        *,
        transformer_dim: int = 256,
        num_multimask_outputs: int = 3,
        upscaling_channels: tuple[int, int] | None = None,
        iou_head_depth: int = 3,
        iou_head_hidden_dim: int = 256,
    ) -> None:
        super().__init__()
        first, second = upscaling_channels or (transformer_dim // 4, transformer_dim // 8)
        count = num_multimask_outputs + 1
        self.transformer = transformer
        self.iou_token = nn.Embedding(1, transformer_dim)
        self.mask_tokens = nn.Embedding(count, transformer_dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(transformer_dim, first, 2, 2),
            ChannelNorm(first),
            nn.GELU(),
            nn.ConvTranspose2d(first, second, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            Mlp(transformer_dim, transformer_dim, second, depth=3) for _ in range(count)
        )
        self.iou_prediction_head = Mlp(transformer_dim, iou_head_hidden_dim, count, depth=iou_head_depth)

    def forward(
        self, image: Tensor, image_pe: Tensor, prompts: Tensor, keep: Tensor | None, *, multimask: Multimask | None
    ) -> tuple[Tensor, Tensor]:
        """Return logits [B, P, M, 4 h, 4 w] and predicted IoU [B, P, M].

        Args:
            image: features with the mask embedding added, [B, 1 or P, N, C], on a square grid.
            image_pe: [N, C].
            prompts: [B, P, K, C].
            keep: [B, P, K] bool or None, see `PromptTokens`.
            multimask: the multimask tokens 1.. (M = 3), or else token 0 (M = 1); None for all, token 0 first (M = 4);
                "best" for predicted IoU of three and logits [B, P, 1, 4 h, 4 w] of the one where it is highest.
        """
        batch, count = prompts.shape[:2]
        output = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([output.expand(batch, count, -1, -1), prompts], 2)
        bias = None if keep is None else _hidden(F.pad(keep, (len(output), 0), value=True), tokens)
        side = self.transformer.image_side(image, image_pe)
        workers = self._workers(image)

        def answer(part: slice) -> tuple[Tensor, Tensor]:
            own = image if image.shape[1] == 1 else image[:, part]
            on_scores = None if bias is None else bias[:, part]
            return self._answer(tokens[:, part], own, image_pe, on_scores, side, multimask=multimask)

        answers = in_parallel(answer, prompts_at_once(image, count, workers), workers)
        logits, predicted_iou = (torch.cat(parts, 1) for parts in zip(*answers, strict=True))
        return logits, predicted_iou

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
        kernels = [mlp(tokens[:, :, 1 + index]) for index, mlp in enumerate(self.output_hypernetworks_mlps)]
        predicted_iou = self.iou_prediction_head(tokens[:, :, 0])[..., wanted]
        chosen = chosen_kernels(torch.stack(kernels, -1)[..., wanted], predicted_iou, multimask)
        return self._masks(image, chosen), predicted_iou

    def _masks(self, image: Tensor, kernels: Tensor) -> Tensor:
        """Upscale image [B, P, N, C] fourfold and multiply with kernels [B, P, c, M]: [B, P, M, 4 h, 4 w].

        Nothing here looks beyond a pixel, so pixels stay in order of ancestry (patch, quarter, its quarter)
        and only the M finished maps are sorted.
        """
        batch, prompts, patches, _ = image.shape
        side, count = round(patches**0.5), kernels.shape[-1]
        kernels = kernels.flatten(0, 1)
        logits = torch.cat([self._upscale(piece, kernels) for piece in pieces(image.flatten(0, 1))], 1)
        logits = logits.view(batch * prompts, side, side, 2, 2, 2, 2, count)
        # [B P, y, x, y', x', y'', x'', M] -> [B P, M, y, y', y'', x, x', x'']
        return logits.permute(0, 7, 1, 3, 5, 2, 4, 6).reshape(batch, prompts, count, 4 * side, 4 * side)

    def _upscale(self, patches: Tensor, kernels: Tensor) -> Tensor:
        """Return logits [G, n * 4 * 4, M] of patches [G, n, C] and kernels [G, c, M]."""
        first, norm, activation, second, last = self.output_upscaling
        fine = activation(norm.last(_fourfold(patches, first)))  # type: ignore[operator, union-attr]
        finer = last(_fourfold(fine, second)).flatten(1, -2)  # [G, n * 4 * 4, c]
        return torch.bmm(finer, kernels)


def _hidden(keep: Tensor, tokens: Tensor) -> Tensor:
    """Return what hides tokens [B, P, T, C] that are not kept, bool [B, P, T]: -inf on their scores, else 0."""
    return tokens.new_zeros(keep.shape).masked_fill(~keep, -torch.inf)


def chosen_kernels(kernels: Tensor, predicted_iou: Tensor, multimask: Multimask | None) -> Tensor:
    """Return kernels [B, P, c, M], or of the highest predicted IoU [B, P, M] alone [B, P, c, 1]."""
    if multimask != "best":
        return kernels
    return kernels.take_along_dim(predicted_iou.argmax(-1)[..., None, None], -1)


def _fourfold(pixels: Tensor, layer: nn.Module) -> Tensor:
    """Apply a 2 x 2, stride 2 transposed convolution to channels-last pixels [..., C]: [..., 4, c].

    Its stride is its kernel: it is a linear layer with four outputs a pixel.
    """
    assert isinstance(layer, nn.ConvTranspose2d)
    assert layer.bias is not None
    weight = layer.weight.permute(2, 3, 1, 0).flatten(0, 2)  # [2 * 2 * c, C]
    return F.linear(pixels, weight, layer.bias.repeat(4)).unflatten(-1, (4, -1))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, width: int, hidden: int, out: int, *, depth: int) -> None:
        super().__init__()
        widths = [width, *[hidden] * (depth - 1), out]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., width] to [..., out]."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)  # type: ignore[no-any-return]
