"""A `Segmenter` around anything with `SamPredictor`'s `set_image` and `predict`.

Its answers are the masks that the predictor returns, at the image's size: nothing is resized or thresholded in another
way than its authors do. The price is time: without a `predict_torch` every prompt is a call, and all candidates are
upscaled.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from models.errors import BenchError, UnsupportedPrompt
from models.segmenter import NO_CLICK, Embedding, Prompts, Segmentation
from models.specs.kinds import Kind, of_kinds

_PIXELS_AT_ONCE = 1 << 24
"""Pixels of upscaled logits that one call may return (64 MiB in float32)."""
_CANDIDATES = 3
_NO_LOGITS = torch.zeros(0, 0)
_TOGETHER = ("point_coords", "point_labels", "boxes", "mask_input", "return_logits")
"""What a `predict_torch` must take to be asked about several prompts at once."""


@dataclass(frozen=True, slots=True, eq=False)
class ShownImage(Embedding):
    """An image that was shown; `features` are its pixels uint8 [3, H, W], since the predictor keeps its own."""


class _Answer(NamedTuple):
    """What a predictor returned about P prompts."""

    logits: Tensor
    """[P, M, H, W] float32 at the image's size."""
    predicted_iou: Tensor
    """[P, M]."""
    low: Tensor
    """[P, M, h, w], what a mask prompt is made of; h and w are 0 where the predictor returned None."""


class PredictorSegmenter:
    """Answers prompts with a predictor.

    Attributes:
        predictor: what the factory returned.
        name: of its card.
        identity: the hash of the predictor's weights, None if it has no network among its attributes.
        checkpoint_sha256: None.
        custom: False.
    """

    checkpoint_sha256: str | None = None
    custom = False

    def __init__(self, predictor: Any, *, name: str, device: torch.device, weights: str | None) -> None:
        self.predictor, self.name, self._device = predictor, name, device
        self.network = next(iter(networks_of(predictor).values()), None)
        self.identity: Mapping[str, Any] = {"weights_sha256": weights}
        self._threshold = float(getattr(self.network, "mask_threshold", getattr(predictor, "mask_threshold", 0.0)))
        self._takes = _parameters(predictor.predict)
        self._shown: ShownImage | None = None
        self._last: _Answer | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return self._device

    @torch.inference_mode()
    def embed(self, images: Sequence[np.ndarray]) -> list[ShownImage]:
        """Show images, uint8 [H, W, 3] RGB each, one by one; the predictor remembers the last."""
        return [self._show(image) for image in images]

    @torch.inference_mode()
    def segment(self, embedding: ShownImage, prompts: Prompts, *, multimask: bool = True) -> Segmentation:
        """Answer all prompts about one image; logits are at its size.

        Raises:
            UnsupportedPrompt: for label -2, and for a mask prompt that it cannot be given.
            BenchError: if the predictor raises, or what it returns is not what `SamPredictor` does.
        """
        if embedding is not self._shown:
            self._show(np.ascontiguousarray(embedding.features.permute(1, 2, 0).cpu().numpy()), embedding)
        if (prompts.labels == NO_CLICK).any():
            raise UnsupportedPrompt(f"model '{self.name}' takes no click that is none (label -2): leave the point out")
        low = None if prompts.mask_logits is None else self._low(prompts.mask_logits)
        if not len(prompts):
            count = _CANDIDATES if multimask else 1
            return Segmentation(torch.zeros(0, count, *embedding.size), torch.zeros(0, count))
        answer = self._answer(embedding, prompts, low, multimask)
        self._last = answer
        return Segmentation(answer.logits, answer.predicted_iou)

    def masks(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Return masks bool [P, M, H, W] of logits that are at the image's size already."""
        return self.threshold(logits)

    def upscale(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the logits, which are at the image's size already."""
        return logits

    def threshold(self, upscaled: Tensor) -> Tensor:
        """Say which pixels are inside: those above the model's threshold."""
        return upscaled > self._threshold

    def _show(self, image: np.ndarray, again: ShownImage | None = None) -> ShownImage:
        self._said(self.predictor.set_image, image)
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        self._shown = again or ShownImage(pixels, (image.shape[0], image.shape[1]))
        return self._shown

    def _answer(self, embedding: ShownImage, prompts: Prompts, low: Tensor | None, multimask: bool) -> _Answer:
        """Ask about all prompts, those with the same kinds of points together where that can be."""
        ask = self._ask_together if _takes_tensors(self.predictor) else self._ask_one_by_one
        step = max(1, _PIXELS_AT_ONCE // (_CANDIDATES * embedding.size[0] * embedding.size[1]))
        order: list[np.ndarray] = []
        parts: list[_Answer] = []
        for rows, kind in of_kinds(prompts):
            for part in (rows[start : start + step] for start in range(0, len(rows), step)):
                order.append(part)
                parts.append(ask(prompts[part], None if low is None else low[part], kind, multimask))
                self._check(parts[-1], embedding.size, len(part))
        back = torch.from_numpy(np.argsort(np.concatenate(order)))
        if len({part.logits.shape[1] for part in parts}) > 1:
            raise BenchError(f"model '{self.name}' returns more masks for some prompts than for others: mend predict")
        return _Answer(*(torch.cat(tensors)[back] for tensors in zip(*parts, strict=True)))

    def _ask_together(self, prompts: Prompts, low: Tensor | None, kind: Kind, multimask: bool) -> _Answer:
        """Ask about prompts of one kind in one call of `predict_torch`, prepared as `predict` prepares one."""
        transform, size = self.predictor.transform, self._size()
        device = self.predictor.device
        clicks, corners = list(kind.clicks), list(kind.corners)
        inputs: dict[str, Any] = {"point_coords": None, "point_labels": None, "boxes": None, "mask_input": None}
        if clicks:
            points = transform.apply_coords(prompts.points[:, clicks], size)
            inputs["point_coords"] = torch.as_tensor(points, dtype=torch.float, device=device)  # [P, K, 2]
            inputs["point_labels"] = torch.as_tensor(prompts.labels[:, clicks], dtype=torch.int, device=device)
        if corners:
            boxes = transform.apply_boxes(prompts.points[:, corners].reshape(-1, 4), size)
            inputs["boxes"] = torch.as_tensor(boxes, dtype=torch.float, device=device)  # [P, 4]
        if low is not None:
            inputs["mask_input"] = low[:, None].to(device)
        ask = self.predictor.predict_torch
        return self._read(self._said(ask, **inputs, **self._how_many(ask, multimask), return_logits=True))

    def _ask_one_by_one(self, prompts: Prompts, low: Tensor | None, kind: Kind, multimask: bool) -> _Answer:
        """Ask about prompts of one kind, a call of `predict` each."""
        clicks, corners = list(kind.clicks), list(kind.corners)
        answers = []
        for row, (points, labels) in enumerate(zip(prompts.points, prompts.labels, strict=True)):
            inputs: dict[str, Any] = {
                "point_coords": points[clicks] if clicks else None,
                "point_labels": labels[clicks] if clicks else None,
                "box": points[corners].ravel() if corners else None,
                **self._how_many(self.predictor.predict, multimask),
            }
            if low is not None:
                inputs["mask_input"] = low[row : row + 1].cpu().numpy()
            if "return_logits" in self._takes:
                inputs["return_logits"] = True
            answers.append(self._read(self._said(self.predictor.predict, **inputs)))
        if len({tuple(one.shape for one in answer) for answer in answers}) > 1:
            raise BenchError(f"model '{self.name}' answers prompts about one image in several shapes: mend predict")
        return _Answer(*(torch.stack(tensors) for tensors in zip(*answers, strict=True)))

    def _how_many(self, ask: Callable[..., Any], multimask: bool) -> dict[str, Any]:
        """Return the argument that asks a method for three masks or one, as the predictor calls it."""
        takes = _parameters(ask)
        if "multimask_output" in takes:
            return {"multimask_output": multimask}
        if "num_multimask_outputs" in takes:  # EdgeSAM
            return {"num_multimask_outputs": _CANDIDATES if multimask else 1}
        if not multimask:
            raise UnsupportedPrompt(f"model '{self.name}' cannot be asked for one mask: pick among its candidates")
        return {}  # TinySAM

    def _read(self, returned: Any) -> _Answer:
        """Return what a call returned as tensors; of decided masks, whatever lies on their sides of the threshold."""
        if not isinstance(returned, tuple | list) or len(returned) != len(_Answer._fields):
            raise BenchError(
                f"model '{self.name}' must return masks, predicted IoU and low-resolution logits (or None)"
            )
        masks, predicted_iou, low = returned
        found, *others = (self._array(one) for one in (masks, predicted_iou, _NO_LOGITS if low is None else low))
        if low is None:
            others[1] = others[1].expand(*found.shape[:-2], 0, 0)
        if found.dtype == torch.bool:
            found = torch.where(found, self._threshold + 1.0, self._threshold - 1.0)
        return _Answer(found.float(), *(one.float() for one in others))

    def _array(self, value: Any) -> Tensor:
        try:
            array = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise BenchError(
                f"model '{self.name}' returned a {type(value).__name__} for an array ({error}): predict must return "
                "masks [M, H, W], predicted IoU [M] and low-resolution logits [M, h, w] (or None)"
            ) from error
        return array.to(self._device)

    def _check(self, answer: _Answer, size: tuple[int, int], count: int) -> None:
        """Raise if an answer is not of its image and its prompts."""
        masks, predicted_iou = list(answer.logits.shape), list(answer.predicted_iou.shape)
        if len(masks) != 4 or tuple(masks[2:]) != size:
            raise BenchError(
                f"model '{self.name}' returned masks {masks} about an image of {list(size)} px: predict must return "
                "masks [M, H, W] at the size of the image that set_image got"
            )
        if masks[0] != count or predicted_iou != masks[:2]:
            raise BenchError(
                f"model '{self.name}' returned masks {masks} and predicted IoU {predicted_iou} for {count} prompts: "
                "predict must return one IoU for each mask"
            )
        finite = torch.isfinite(answer.logits).all() & torch.isfinite(answer.predicted_iou).all()
        if not finite:  # one wait for a GPU, not two
            raise BenchError(f"model '{self.name}' answered with NaN or infinity: its weights are damaged")

    def _low(self, mask_logits: Tensor) -> Tensor:
        """Return the low-resolution logits [P, h, w] of masks: given as such, or of candidates of the last answer.

        Raises:
            UnsupportedPrompt: if the predictor takes no mask, or these are not its own.
        """
        if "mask_input" not in self._takes:
            raise UnsupportedPrompt(f"model '{self.name}' takes no mask prompt: set refinement passes to 0")
        last = self._last
        if last is None or mask_logits.shape[1:] != last.logits.shape[2:] or len(mask_logits) != len(last.logits):
            return mask_logits
        same = (last.logits == mask_logits[:, None].to(last.logits.device)).flatten(2).all(2)  # [P, M]
        if not same.any(1).all():
            return mask_logits
        if not last.low.numel():
            raise UnsupportedPrompt(f"model '{self.name}' returns no low-resolution logits: set refinement passes to 0")
        return last.low[torch.arange(len(same)), same.int().argmax(1)]

    def _size(self) -> tuple[int, int]:
        assert self._shown is not None
        return self._shown.size

    def _said(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call a method of the predictor.

        Raises:
            BenchError: with what it raised.
        """
        try:
            return call(*arguments, **options)
        except BenchError:
            raise
        except Exception as error:  # other people's code: anything may come out of it
            raise BenchError(
                f"model '{self.name}' failed in {getattr(call, '__name__', 'a call')} ({type(error).__name__}: "
                f"{error}): it must do as SamPredictor of segment_anything does"
            ) from error


def wrap(factory: Callable[..., Any], options: Mapping[str, str], *, name: str, device: str) -> PredictorSegmenter:
    """Call a factory and put a `PredictorSegmenter` around what it returns.

    Raises:
        BenchError: if it raises, or returns something else than a predictor.
    """
    takes = _parameters(factory)
    told = {"device": device} if "device" in takes and "device" not in options else {}
    try:
        predictor = factory(**options, **told)
    except (Exception, SystemExit) as error:  # other people's code: anything may come out of it
        raise BenchError(f"the factory of '{name}' raised {type(error).__name__}: {error}: mend it") from error
    if not all(callable(getattr(predictor, method, None)) for method in ("set_image", "predict")):
        raise BenchError(
            f"the factory of '{name}' returned a {type(predictor).__name__}, which has no set_image and predict: it "
            "must return a predictor as SamPredictor of segment_anything is one"
        )
    networks = networks_of(predictor)
    weights = weights_sha256(networks)
    for network in networks.values():
        network.eval().to(device)
    return PredictorSegmenter(predictor, name=name, device=torch.device(device), weights=weights)


def networks_of(predictor: Any) -> dict[str, nn.Module]:
    """Return the networks among a predictor's attributes, by name."""
    if isinstance(predictor, nn.Module):
        return {"": predictor}
    return {name: one for name, one in sorted(getattr(predictor, "__dict__", {}).items()) if isinstance(one, nn.Module)}


def weights_sha256(networks: Mapping[str, nn.Module]) -> str | None:
    """Return a hash of all weights of some networks, None if they have none."""
    digest, found = hashlib.sha256(), False
    for name, network in networks.items():
        for entry, tensor in sorted(network.state_dict().items()):
            found = True
            digest.update(f"{name} {entry} {tensor.dtype} {list(tensor.shape)}\0".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest() if found else None


def _takes_tensors(predictor: Any) -> bool:
    """Say whether prompts can be asked together, prepared as `SamPredictor.predict` prepares one."""
    transform, names = getattr(predictor, "transform", None), ("apply_coords", "apply_boxes")
    takes = _parameters(getattr(predictor, "predict_torch", None))
    needs = {name for name, one in takes.items() if one.default is one.empty}
    return (
        set(_TOGETHER) <= takes.keys()
        and needs <= {*_TOGETHER, "multimask_output"}
        and all(callable(getattr(transform, name, None)) for name in names)
    )


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    """Return a function's parameters by name, none for what is no function or is built in."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
