"""SAM's preprocessing and postprocessing around its network, as in `SamPredictor` of segment_anything 1.0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from models.errors import BenchError
from models.sam.network import SamNetwork
from models.segmenter import Embedding, Prompts, Segmentation
from models.upscaling import Resize, axis, upscaled_masks

PIXEL_MEAN = (123.675, 116.28, 103.53)
"""Mean of ImageNet, RGB, on the scale 0..255."""
PIXEL_STD = (58.395, 57.12, 57.375)
"""Standard deviation of ImageNet, RGB, on the scale 0..255."""
_MASKS_AT_ONCE = 1 << 24
"""Most pixels of upscaled logits held at once (64 MiB in float32)."""


class SamSegmenter:
    """A `Segmenter` from a network of the SAM family: long side resized, zeros below and right."""

    padded = True

    def __init__(self, network: SamNetwork, *, name: str) -> None:
        self.network = network.eval()
        self.name = name

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return next(self.network.parameters()).device

    @torch.inference_mode()
    def embed(self, images: Sequence[np.ndarray]) -> list[Embedding]:
        """Encode images, uint8 [H, W, 3] RGB each, one by one so that no image changes another's bits."""
        return [
            Embedding(self.network.encode(self.preprocess(image))[0], (image.shape[0], image.shape[1]))
            for image in images
        ]

    @torch.inference_mode()
    def segment(self, embedding: Embedding, prompts: Prompts, *, multimask: bool = True) -> Segmentation:
        """Answer all prompts about one image.

        Raises:
            BenchError: if the network answers with NaN or infinity.
        """
        if not len(prompts):
            masks, (height, width) = 3 if multimask else 1, embedding.features.shape[-2:]
            none = embedding.features.new_zeros(0, masks, 4 * height, 4 * width)
            return Segmentation(none, none[..., 0, 0])
        logits, predicted_iou = self._decode(embedding, prompts, multimask)
        if not (torch.isfinite(logits).all() & torch.isfinite(predicted_iou).all()):  # one wait for a GPU, not two
            raise BenchError(
                f"model '{self.name}' answered with NaN or infinite mask logits: its weights are damaged or "
                "do not belong to this architecture, fetch the checkpoint again"
            )
        return Segmentation(logits, predicted_iou)

    def _decode(self, embedding: Embedding, prompts: Prompts, multimask: bool) -> tuple[Tensor, Tensor]:
        """Return logits [P, M, h, w] and predicted IoU [P, M]."""
        inner = resized(embedding.size, self.network.image_size)
        scale = np.array(inner[::-1]) / np.array(embedding.size[::-1])  # float64 (x, y), as published
        points = torch.from_numpy((prompts.points * scale).astype(np.float32)).to(self.device)
        masks = prompts.mask_logits
        logits, predicted_iou = self.network.decode(
            embedding.features[None].to(self.device),
            points[None],
            torch.from_numpy(prompts.labels)[None],
            multimask=multimask,
            mask_logits=None if masks is None else masks.to(self.device)[None],
        )
        return logits[0], predicted_iou[0]

    @torch.inference_mode()
    def masks(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Turn logits [P, M, h, w] into masks bool [P, M, H, W]: upscale, crop, resize, above 0."""
        side = self.network.image_size
        flat = logits.flatten(0, 1)[:, None]
        if logits.device.type == "cpu" and logits.dtype == torch.float32:
            steps = [
                (Resize(length, side), Resize(inner, end))
                for length, inner, end in zip(logits.shape[2:], resized(size, side), size, strict=True)
            ]
            rows, columns = (axis(n, of, "bilinear") for n, of in zip(logits.shape[2:], steps, strict=True))
            return upscaled_masks(flat[:, 0], rows, columns, ties=False).unflatten(0, logits.shape[:2])
        masks = torch.empty(len(flat), *size, dtype=torch.bool, device=logits.device)
        step = max(1, _MASKS_AT_ONCE // max(side * side, size[0] * size[1]))
        for start in range(0, len(flat), step):
            part = slice(start, start + step)
            masks[part] = self.threshold(self.upscale(flat[part], size))[:, 0]
        return masks.unflatten(0, logits.shape[:2])  # type: ignore[no-any-return]

    @torch.inference_mode()
    def upscale(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Turn logits [P, M, h, w] into logits [P, M, H, W]: bilinear to the input's side, crop, bilinear."""
        side = self.network.image_size
        height, width = resized(size, side)
        inner = F.interpolate(logits, (side, side), mode="bilinear", align_corners=False)
        return F.interpolate(inner[..., :height, :width], size, mode="bilinear", align_corners=False)

    def threshold(self, upscaled: Tensor) -> Tensor:
        """Say which pixels are inside: those above 0."""
        return upscaled > 0

    def preprocess(self, image: np.ndarray) -> Tensor:
        """Resize, normalise and pad an image uint8 [H, W, 3] to the network's input [1, 3, S, S]."""
        side = self.network.image_size
        height, width = resized((image.shape[0], image.shape[1]), side)
        small = np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        pixels = torch.from_numpy(small).to(self.device).permute(2, 0, 1).contiguous()
        mean, std = (torch.tensor(values, device=self.device)[:, None, None] for values in (PIXEL_MEAN, PIXEL_STD))
        return F.pad((pixels - mean) / std, (0, side - width, 0, side - height))[None]  # type: ignore[no-any-return]


def resized(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Return (height, width) scaled so that the longer is `long_side`, rounded half up, at least 1.

    >>> resized((257, 403), 1024)
    (653, 1024)
    """
    scale = long_side / max(size)
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))
