"""EfficientSAM's preprocessing and postprocessing around its network, as the released code does them.

Where they differ from SAM's: the image is squashed to a square without antialiasing instead of padded, x and
y scale apart, and logits become a mask in one bicubic step that keeps ties (logit >= 0).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.efficientsam.network import EfficientSamNetwork
from models.efficientsam.prompt_encoder import MAX_POINTS
from models.errors import BenchError, UnsupportedPrompt
from models.segmenter import BACKGROUND, NO_CLICK, PADDING, Embedding, Multimask, Prompts, Segmentation
from models.upscaling import Resize, axis, upscaled_masks

PIXEL_MEAN = (0.485, 0.456, 0.406)
"""Mean of ImageNet, RGB, on the scale 0..1."""
PIXEL_STD = (0.229, 0.224, 0.225)
"""Standard deviation of ImageNet, RGB, on the scale 0..1."""
_MASKS_AT_ONCE = 1 << 24
"""Most pixels of upscaled logits held at once (64 MiB in float32)."""


class EfficientSamSegmenter:
    """A `Segmenter` from an EfficientSAM network."""

    picks = True
    """Whether `segment` can be asked for the best candidate alone: logits [P, 1, h, w], predicted IoU of all."""

    def __init__(self, network: EfficientSamNetwork, *, name: str) -> None:
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
    def segment(self, embedding: Embedding, prompts: Prompts, *, multimask: Multimask = True) -> Segmentation:
        """Answer all prompts about one image.

        Raises:
            UnsupportedPrompt: for what EfficientSAM cannot take (background points, a mask prompt, more than six
                points).
            BenchError: if the network answers with NaN or infinity.
        """
        self._refuse(prompts)
        height, width = embedding.size
        side = self.network.image_size
        if not len(prompts):
            return Segmentation(*self._empty(embedding, multimask))
        # Padding at the end is the network's own matter, which computes it once.
        used = 1 + int(np.flatnonzero((prompts.labels != PADDING).any(0)).max(initial=0))
        # Multiplied before divided, in float32, as the released code does.
        points = torch.from_numpy(prompts.points[:, :used]) * side / torch.tensor([width, height], dtype=torch.float32)
        labels = torch.from_numpy(prompts.labels[:, :used]).to(self.device)[None]
        features, points = embedding.features[None], points.to(self.device)[None]
        logits, predicted_iou = self.network.decode(features, points, labels, multimask=multimask)
        if not (torch.isfinite(logits).all() & torch.isfinite(predicted_iou).all()):  # one wait for a GPU, not two
            raise BenchError(
                f"model '{self.name}' answered with NaN or infinite mask logits: its weights are damaged "
                "or do not belong to this architecture, fetch the checkpoint again"
            )
        return Segmentation(logits[0], predicted_iou[0])

    @torch.inference_mode()
    def masks(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Turn logits [P, M, h, w] into masks bool [P, M, H, W]: bicubic, at least 0."""
        flat = logits.flatten(0, 1)[:, None]
        if logits.device.type == "cpu" and logits.dtype == torch.float32:
            rows, columns = (axis(a, (Resize(a, b),), "bicubic") for a, b in zip(logits.shape[2:], size, strict=True))
            return upscaled_masks(flat[:, 0], rows, columns, ties=True).unflatten(0, logits.shape[:2])
        masks = torch.empty(len(flat), *size, dtype=torch.bool, device=logits.device)
        step = max(1, _MASKS_AT_ONCE // (size[0] * size[1]))
        for start in range(0, len(flat), step):
            part = slice(start, start + step)
            masks[part] = self.threshold(self.upscale(flat[part], size))[:, 0]
        return masks.unflatten(0, logits.shape[:2])  # type: ignore[no-any-return]

    @torch.inference_mode()
    def upscale(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Turn logits [P, M, h, w] into logits [P, M, H, W]: bicubic."""
        return F.interpolate(logits, size, mode="bicubic", align_corners=False)

    def threshold(self, upscaled: Tensor) -> Tensor:
        """Say which pixels are inside: those at least 0."""
        return upscaled >= 0

    def preprocess(self, image: np.ndarray) -> Tensor:
        """Squash an image uint8 [H, W, 3] to the network's input [1, 3, S, S] and normalise it."""
        side = self.network.image_size
        contiguous = torch.from_numpy(np.ascontiguousarray(image)).to(self.device)
        pixels = contiguous.permute(2, 0, 1)[None].float() / 255
        if pixels.shape[-2:] != (side, side):
            pixels = F.interpolate(pixels, (side, side), mode="bilinear", align_corners=False)
        mean, std = (torch.tensor(x, device=self.device)[:, None, None] for x in (PIXEL_MEAN, PIXEL_STD))
        return (pixels - mean) / std  # type: ignore[no-any-return]

    def _empty(self, embedding: Embedding, multimask: Multimask) -> tuple[Tensor, Tensor]:
        """Return the answer to no prompts: [0, M, 4 h, 4 w] and [0, M]."""
        _, height, width = embedding.features.shape
        count = 3 if multimask else 1
        empty = embedding.features.new_empty
        return empty(0, count, 4 * height, 4 * width), empty(0, count)

    def _refuse(self, prompts: Prompts) -> None:
        """Raise for prompts that the released model was not made for instead of answering something."""
        if (prompts.labels == BACKGROUND).any():
            raise UnsupportedPrompt(
                f"model '{self.name}' takes no background points (label 0): EfficientSAM was trained without "
                "them, use foreground points and boxes or another model"
            )
        if (prompts.labels == NO_CLICK).any():
            raise UnsupportedPrompt(
                f"model '{self.name}' takes no click that is none (label -2): EfficientSAM has no token for it, "
                "leave the point out or use another model"
            )
        if prompts.mask_logits is not None:
            raise UnsupportedPrompt(
                f"model '{self.name}' takes no mask prompt: EfficientSAM has no mask encoder, "
                "ask without one (refinement 0, mask_prompt none) or use another model"
            )
        if prompts.labels.shape[1] > MAX_POINTS:
            raise UnsupportedPrompt(
                f"model '{self.name}' takes at most {MAX_POINTS} points a prompt, "
                f"got {prompts.labels.shape[1]}: ask for fewer clicks or use another model"
            )
