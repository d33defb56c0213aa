"""The promptable network of the family: any image encoder with SAM's prompt encoder and mask decoder."""

from __future__ import annotations

from torch import Tensor, nn

from models.sam.mask_decoder import MaskDecoder
from models.sam.prompt_encoder import PromptEncoder
from models.segmenter import Multimask


class SamNetwork(nn.Module):
    """Encode images once, then decode any number of prompts about them.

    Args:
        image_encoder: [B, 3, S, S] -> [B, C, h, h].
        prompt_encoder: knows S and h.
        mask_decoder: of the same width C.
    """

    def __init__(self, image_encoder: nn.Module, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    @property
    def image_size(self) -> int:
        """Side S of the square input, px."""
        return self.prompt_encoder.img_size

    def encode(self, pixels: Tensor) -> Tensor:
        """Encode normalised, padded pixels [B, 3, S, S] as features [B, C, h, h]."""
        return self.image_encoder(pixels)  # type: ignore[no-any-return]

    def decode(
        self,
        features: Tensor,
        points: Tensor,
        labels: Tensor,
        *,
        multimask: Multimask = True,
        mask_logits: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Answer P prompts about each of B images.

        Args:
            features: [B, C, h, h].
            points: [B, P, K, 2], (x, y) in pixels of the network input.
            labels: [B, P, K]: 1 foreground, 0 background, 2 / 3 box corners, -1 padding, -2 no click; may be on the
                CPU.
            multimask: three candidate masks, or else the single-mask token.
            mask_logits: [B, P, 4 h, 4 h] logits of an earlier answer.

        Returns:
            Logits [B, P, M, 4 h, 4 h] and predicted IoU [B, P, M]; M = 3, or 1 without `multimask`; with
            "best" logits of one and predicted IoU of three.
        """
        encoder = self.prompt_encoder
        tokens, keep = encoder.embed_points(points, labels)
        image = features.flatten(2).transpose(1, 2)[:, None]  # [B, 1, N, C]
        if mask_logits is None:
            image = image + encoder.no_mask_embed.weight
        else:
            image = image + encoder.embed_masks(mask_logits)  # [B, P, N, C]
        logits, predicted_iou = self.mask_decoder(
            image.contiguous(), encoder.grid_positions(), tokens, keep, multimask=multimask
        )
        return logits, predicted_iou
