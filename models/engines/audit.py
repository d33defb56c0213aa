"""How far each rung of the engine ladder is from the truth, and how fast it is, on this machine.

The truth is the network in float64, its operations those of the reference engine. Errors are the largest difference
over the largest value; masks are compared pixel by pixel and by their run lengths.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from models.annotations import encode_all
from models.engines.ladder import products, put_on
from models.engines.names import ENGINES, Engine
from models.errors import BenchError
from models.segmenter import Embedding, Prompts

BUDGET = {"reference": (1e-4, 1e-4), "exact": (1e-4, 1e-4), "fast": (0.1, 0.02)}
"""Largest error of logits, and largest share of pixels that differ, that an engine may have. Those of float32 leave
room for the sums of a deep network; those of bfloat16 say when something is wrong, not how good it is."""
REPEATS = 3
_LAYER = re.compile(r"image_encoder\.(.+\.)?((blocks|stages)\.\d+|neck)$")


class Answer(NamedTuple):
    """What a network makes of a photo and prompts."""

    layers: dict[str, Tensor]
    """What each block of the image encoder and its neck put out."""
    logits: Tensor
    """[P, M, h, w]."""
    predicted_iou: Tensor
    """[P, M]."""
    masks: np.ndarray
    """bool [P, H, W], of the candidate that the float64 network would pick."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One engine against float64."""

    model: str
    engine: Engine
    worst_layer: str
    layer_error: float
    """Of the encoder's layer that is furthest off."""
    logits_error: float
    iou_error: float
    """Of predicted IoU, absolute."""
    pixels: float
    """Share of the masks' pixels that differ."""
    same_masks: int
    """Masks whose run lengths are those of float64."""
    prompts: int
    miou: float
    """Mean IoU with the truth minus that of float64's masks, in points; NaN where there is no truth."""
    embed_ms: float
    """Median time of embedding the photo."""
    prompt_ms: float
    """Median time of a prompt, upscaled and as run lengths."""

    @property
    def holds(self) -> bool:
        """Whether the errors are within `BUDGET`."""
        logits, pixels = BUDGET[self.engine]
        return self.logits_error <= logits and self.pixels <= pixels


def audit(load: Callable[[], Any], photo: np.ndarray, prompts: Prompts, truths: np.ndarray | None = None) -> list[Rung]:
    """Compare the engines of one model.

    Args:
        load: makes a fresh segmenter, the same at every call.
        photo: uint8 [H, W, 3] RGB.
        prompts: about it.
        truths: bool [P, H, W], the objects asked for.

    Raises:
        BenchError: if the segmenter has no network of this project.
    """
    truth, pick = _in_float64(load(), photo, prompts)
    rungs = []
    for engine in ENGINES:
        segmenter = load()
        put_on(segmenter, engine)
        with products(engine):
            answer = _answer(segmenter, photo, prompts, pick)
            seconds = _seconds(segmenter, photo, prompts, pick)
        rungs.append(_compare(segmenter.name, engine, answer, truth, truths, seconds))
    return rungs


def _in_float64(segmenter: Any, photo: np.ndarray, prompts: Prompts) -> tuple[Answer, Tensor]:
    """Return the truth and the index [P] of each prompt's best candidate."""
    if put_on(segmenter, "reference"):
        raise BenchError(f"model '{segmenter.name}' knows one way to compute alone: name a network of this project")
    network: nn.Module = segmenter.network.double()
    network.prompt_encoder.pe_layer.register_forward_pre_hook(lambda _, given: (given[0].double(),))  # type: ignore[union-attr, operator]
    with torch.inference_mode(), _Layers(network) as layers:
        (features,) = network.encode(segmenter.preprocess(photo).double())  # type: ignore[operator]
        embedding = Embedding(features, (photo.shape[0], photo.shape[1]))
        logits, predicted_iou = segmenter.segment(embedding, prompts)
        pick = predicted_iou.argmax(1)
        return Answer(layers, logits, predicted_iou, _masks(segmenter, logits, pick, embedding.size)), pick


def _answer(segmenter: Any, photo: np.ndarray, prompts: Prompts, pick: Tensor) -> Answer:
    with torch.inference_mode(), _Layers(segmenter.network) as layers:
        (embedding,) = segmenter.embed([photo])
        logits, predicted_iou = segmenter.segment(embedding, prompts)
        return Answer(layers, logits, predicted_iou, _masks(segmenter, logits, pick, embedding.size))


def _masks(segmenter: Any, logits: Tensor, pick: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Return the masks bool [P, H, W] of the picked candidates of logits [P, M, h, w]."""
    chosen = logits[torch.arange(len(pick)), pick][:, None]
    return segmenter.masks(chosen, size)[:, 0].cpu().numpy()  # type: ignore[no-any-return]


class _Layers(dict[str, Tensor]):
    """What the encoder's layers put out while it is open, by name."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._named = {name: one for name, one in network.named_modules() if _LAYER.match(name)}

    def __enter__(self) -> _Layers:
        self._hooks = [one.register_forward_hook(self._keep(name)) for name, one in self._named.items()]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _keep(self, name: str) -> Callable[..., None]:
        return lambda module, given, made: self.__setitem__(name, made)


def _seconds(segmenter: Any, photo: np.ndarray, prompts: Prompts, pick: Tensor) -> tuple[float, float]:
    """Return the median seconds of an embedding and of a prompt, after the calls that were compared."""
    embedding, asking = [], []
    for _ in range(REPEATS):
        with torch.inference_mode():
            start = time.perf_counter()
            (embedded,) = segmenter.embed([photo])
            embedding.append(time.perf_counter() - start)
            start = time.perf_counter()
            logits, _ = segmenter.segment(embedded, prompts)
            encode_all(_masks(segmenter, logits, pick, embedded.size))
            asking.append((time.perf_counter() - start) / len(prompts))
    return statistics.median(embedding), statistics.median(asking)


def _compare(
    model: str, engine: Engine, answer: Answer, truth: Answer, truths: np.ndarray | None, seconds: Sequence[float]
) -> Rung:
    errors = {name: _error(answer.layers[name], of) for name, of in truth.layers.items()}
    worst = max(errors, key=lambda name: errors[name])
    own, other = (encode_all(one.masks) for one in (answer, truth))
    return Rung(
        model=model,
        engine=engine,
        worst_layer=worst.removeprefix("image_encoder."),
        layer_error=errors[worst],
        logits_error=_error(answer.logits, truth.logits),
        iou_error=float((answer.predicted_iou.double() - truth.predicted_iou).abs().max()),
        pixels=float((answer.masks != truth.masks).mean()),
        same_masks=sum(a == b for a, b in zip(own, other, strict=True)),
        prompts=len(own),
        miou=float("nan")
        if truths is None
        else 100 * (_mean_iou(answer.masks, truths) - _mean_iou(truth.masks, truths)),
        embed_ms=1e3 * seconds[0],
        prompt_ms=1e3 * seconds[1],
    )


def _error(found: Tensor, truth: Tensor) -> float:
    """Return the largest difference over the largest value."""
    return float((found.double() - truth).abs().max() / truth.abs().max())


def _mean_iou(masks: np.ndarray, truths: np.ndarray) -> float:
    both, either = (np.count_nonzero(one, axis=(1, 2)) for one in (masks & truths, masks | truths))
    return float((both / np.maximum(either, 1)).mean())
