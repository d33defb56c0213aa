"""SAM's preprocessing and postprocessing around its network, as in `SamPredictor` of segment_anything 1.0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from models.errors import BenchError
from models.frames import Padded
from models.sam.network import SamNetwork
from models.segmenter import Embedding, Multimask, Prompts, Segmentation


class SamSegmenter:
    """A `Segmenter` from a network of the SAM family: long side resized, zeros below and right."""

    padded = True
    picks = True
    """Whether `segment` can be asked for the best candidate alone: logits [P, 1, h, w], predicted IoU of all."""

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
    def segment(self, embedding: Embedding, prompts: Prompts, *, multimask: Multimask = True) -> Segmentation:
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

    def _decode(self, embedding: Embedding, prompts: Prompts, multimask: Multimask) -> tuple[Tensor, Tensor]:
        """Return logits [P, M, h, w] and predicted IoU [P, M]."""
        points = torch.from_numpy(self._frame.points(prompts.points, embedding.size)).to(self.device)
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
        return self._frame.masks(logits, size)

    @torch.inference_mode()
    def upscale(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Turn logits [P, M, h, w] into logits [P, M, H, W]: bilinear to the input's side, crop, bilinear."""
        return self._frame.upscale(logits, size)

    def threshold(self, upscaled: Tensor) -> Tensor:
        """Say which pixels are inside: those above 0."""
        return upscaled > 0

    def preprocess(self, image: np.ndarray) -> Tensor:
        """Resize, normalise and pad an image uint8 [H, W, 3] to the network's input [1, 3, S, S]."""
        return self._frame.pixels(image, self.device)

    @property
    def _frame(self) -> Padded:
        return Padded(self.network.image_size)
