"""A `Segmenter` around a network of transformers: one call for all families of `models.specs.hf`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from models.errors import BenchError
from models.frames import Frame, Padded, Squashed
from models.segmenter import NO_CLICK, Embedding, Prompts, Segmentation
from models.specs.hf import Family
from models.specs.kinds import Kind, of_kinds

_FEATURES_AT_ONCE = 1 << 24
"""Elements of coarse image features decoded at once, since the decoders copy them for each prompt: 16 prompts at
1024 px."""
_ZERO_TOKEN = -10
"""Label of transformers for a token of zeros."""


@dataclass(frozen=True, slots=True)
class HfEmbedding(Embedding):
    """What an encoder made of one image; `features` are the coarse ones, which every family has."""

    more: tuple[Tensor, ...] = ()
    """[c, h', w'] each, finer maps (SAM 2 and later); or [h, w, c] of an early block (SAM-HQ)."""


class HfSegmenter:
    """Answers prompts with a network of transformers.

    Attributes:
        network: in float32 and evaluation mode.
        name: of its card.
        checkpoint_sha256: of its weights, if they are one file.
        identity: revision, hashes of its files, and who prepares images.
        custom: False.
    """

    checkpoint_sha256: str | None = None
    custom = False

    def __init__(self, network: Any, family: Family, side: int, *, name: str, processor: Any = None) -> None:
        self.network, self.name = network.eval(), name
        self.padded = family.frame == "padded"
        self.identity: Mapping[str, Any] = {}
        self._family, self._frame, self._processor = family, frame_of(family, side), processor

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return next(self.network.parameters()).device  # type: ignore[no-any-return]

    @torch.inference_mode()
    def embed(self, images: Sequence[np.ndarray]) -> list[Embedding]:
        """Encode images, uint8 [H, W, 3] RGB each, one by one so that no image changes another's bits."""
        return [self._embed(image) for image in images]

    @torch.inference_mode()
    def segment(self, embedding: Embedding, prompts: Prompts, *, multimask: bool = True) -> Segmentation:
        """Answer all prompts about one image, some at a time.

        Raises:
            BenchError: for half a box, and if the network answers with NaN or infinity.
        """
        _, height, width = embedding.features.shape
        count = 3 if multimask else 1
        logits = embedding.features.new_empty(len(prompts), count, 4 * height, 4 * width)
        predicted_iou = embedding.features.new_empty(len(prompts), count)
        step = max(1, _FEATURES_AT_ONCE // embedding.features.numel())
        for rows, kind in of_kinds(prompts):
            for part in (rows[start : start + step] for start in range(0, len(rows), step)):
                logits[part], predicted_iou[part] = self._decode(embedding, prompts[part], kind, multimask)
        if not (torch.isfinite(logits).all() & torch.isfinite(predicted_iou).all()):  # one wait for a GPU, not two
            raise BenchError(
                f"model '{self.name}' answered with NaN or infinite mask logits: its weights are damaged or "
                "do not belong to this architecture, fetch them again"
            )
        return Segmentation(logits, predicted_iou)

    @torch.inference_mode()
    def masks(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Turn logits [P, M, h, w] into masks bool [P, M, H, W]: above 0."""
        return self._frame.masks(logits, size)

    @torch.inference_mode()
    def upscale(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Turn logits [P, M, h, w] into logits [P, M, H, W], bilinear."""
        return self._frame.upscale(logits, size)

    def threshold(self, upscaled: Tensor) -> Tensor:
        """Say which pixels are inside: those above 0."""
        return upscaled > 0

    def preprocess(self, image: np.ndarray) -> Tensor:
        """Turn an image uint8 [H, W, 3] into the network's input [1, 3, S, S], as the authors or the library do it."""
        if self._processor is None:
            return self._frame.pixels(image, self.device)
        options = {"return_tensors": "pt", "input_data_format": "channels_last"}  # else 3 rows pass for channels
        pixels: Tensor = self._processor(images=image, **options)["pixel_values"].to(self.device)
        side = self._frame.side
        if pixels.shape != (1, 3, side, side):
            raise BenchError(
                f"the image processor beside '{self.name}' makes inputs {list(pixels.shape)}, its network takes "
                f"[1, 3, {side}, {side}]: mend preprocessor_config.json, or leave out ?processor=library"
            )
        return pixels

    def _embed(self, image: np.ndarray) -> Embedding:
        found = self.network.get_image_embeddings(self.preprocess(image))
        size = (image.shape[0], image.shape[1])
        if self._family.maps == "coarse":
            return Embedding(found[0], size)
        if self._family.maps == "early":  # of all global blocks, of which the decoder takes the first
            return HfEmbedding(found[0][0], size, (found[1][0][0],))
        *finer, coarse = found
        return HfEmbedding(coarse[0], size, tuple(one[0] for one in finer))

    def _decode(self, embedding: Embedding, prompts: Prompts, kind: Kind, multimask: bool) -> tuple[Tensor, Tensor]:
        """Return logits [P, M, h, w] and predicted IoU [P, M] of prompts of one kind."""
        inputs = self._inputs(prompts, embedding.size, kind)
        copies = 1
        if prompts.mask_logits is not None:  # a mask prompt is one an image, so that each prompt gets an image
            masks = prompts.mask_logits.to(self.device)[:, None].float()  # [P, 1, 4 h, 4 w]
            clamp, copies = self._family.clamp, len(prompts)
            inputs = {name: one.transpose(0, 1) for name, one in inputs.items()}  # [P, 1, ...]
            inputs["input_masks"] = masks if clamp is None else masks.clamp(-clamp, clamp)
        features = self._features(embedding, copies)
        answer = self.network(**inputs, **features, multimask_output=multimask)
        return answer.pred_masks.flatten(0, 1), answer.iou_scores.flatten(0, 1)

    def _features(self, embedding: Embedding, copies: int) -> dict[str, Any]:
        """Return what the decoder looks at, for a batch of the same image."""
        maps = (embedding.features, *getattr(embedding, "more", ()))
        coarse, *more = (one.to(self.device)[None].expand(copies, *one.shape) for one in maps)
        if self._family.maps == "fine":
            return {"image_embeddings": [*more, coarse]}
        early = {"intermediate_embeddings": [one[:1] for one in more]} if more else {}
        return {"image_embeddings": coarse, **early}

    def _inputs(self, prompts: Prompts, size: tuple[int, int], kind: Kind) -> dict[str, Tensor]:
        """Return points, labels and boxes as the network takes them, [1, P, ...] each.

        Corners go as boxes: as points with labels 2 and 3, SAM of transformers passes over what they are.
        """
        points = torch.from_numpy(self._frame.points(prompts.points, size)).to(self.device)[None]  # [1, P, K, 2]
        corners, clicks = list(kind.corners), list(kind.clicks)
        found = {"input_boxes": points[:, :, corners].flatten(2)} if corners else {}
        if clicks or not corners:
            labels = np.where(prompts.labels == NO_CLICK, _ZERO_TOKEN, prompts.labels)
            found["input_points"] = points[:, :, clicks]
            found["input_labels"] = torch.from_numpy(labels)[None, :, clicks].to(self.device)
        return found


def frame_of(family: Family, side: int) -> Frame:
    """Return how an image becomes a family's input of `side` px."""
    if family.frame == "padded":
        return Padded(side)
    if family.mean_std is None:
        return Squashed(side)
    mean, std = ((one, one, one) for one in family.mean_std)
    return Squashed(side, mean, std)


def load(folder: Path, family: Family, side: int, *, name: str, device: str, library: bool) -> HfSegmenter:
    """Load a network and, with `library`, the image processor beside it.

    Raises:
        BenchError: if files are damaged, or the weights are not those of the whole network.
    """
    with _quiet():
        try:
            processor = transformers.AutoImageProcessor.from_pretrained(folder) if library else None
            network, told = getattr(transformers, family.model).from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True
            )
        except Exception as error:  # other people's files: anything may come out of reading them
            reason = str(error).strip().partition("\n")[0]
            raise BenchError(
                f"'{name}' cannot be loaded as {family.title} ({type(error).__name__}: {reason}): its files are "
                "damaged or do not belong together, get them again"
            ) from error
    if told["missing_keys"]:
        some = ", ".join(sorted(told["missing_keys"])[:3])
        raise BenchError(
            f"'{name}' lacks {len(told['missing_keys']):,} of the weights of a {family.title} ({some}, ...): they "
            "would be random, get the whole model"
        )
    return HfSegmenter(network.to(device), family, side, name=name, processor=processor)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from telling what it does: what matters is an error here."""
    log: Any = transformers.utils.logging
    before, bar = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(before)
        if bar:
            log.enable_progress_bar()
