"""The EfficientSAM network: encode an image once, decode any number of prompts about it."""

from __future__ import annotations

from torch import Tensor, nn

from models.efficientsam.decoder import MaskDecoder
from models.efficientsam.encoder import ImageEncoder
from models.efficientsam.prompt_encoder import MAX_POINTS, PromptEncoder
from models.errors import BenchError
from models.segmenter import Multimask


class EfficientSamNetwork(nn.Module):
    """An image encoder, a prompt encoder and a mask decoder of one width.

    Args:
        image_encoder: [B, 3, S, S] -> [B, C, h, h].
        prompt_encoder: knows S and h.
        mask_decoder: of the same width C.
    """

    def __init__(self, image_encoder: ImageEncoder, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    @property
    def image_size(self) -> int:
        """Side S of the square input, px."""
        return self.prompt_encoder.img_size

    def encode(self, pixels: Tensor) -> Tensor:
        """Encode normalised pixels [B, 3, S, S] as features [B, C, h, h]."""
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
            points: [B, P, K, 2], (x, y) in pixels of the network input; K at most 6.
            labels: [B, P, K]: 1 foreground, 2 / 3 box corners, -1 padding; 0 was never trained; may be on the CPU.
            multimask: three candidate masks, or else the single-mask token, which the release left untrained.
            mask_logits: must be None.

        Returns:
            Logits [B, P, M, 4 h, 4 h] and predicted IoU [B, P, M]; M = 3, or 1 without `multimask`; with
            "best" logits of one and predicted IoU of three.

        Raises:
            BenchError: if there is a mask prompt or a prompt of more than six points.
        """
        if mask_logits is not None:
            raise BenchError("EfficientSAM has no mask prompt: ask it with points and boxes, without refinement")
        tokens = self.prompt_encoder(points, labels)
        image = features.flatten(2).transpose(1, 2)[:, None].contiguous()  # [B, 1, N, C]
        logits, predicted_iou = self.mask_decoder(
            image,
            self.prompt_encoder.grid_positions(),
            tokens,
            multimask=multimask,
            alike=MAX_POINTS - labels.shape[-1],  # padding
        )
        return logits, predicted_iou
