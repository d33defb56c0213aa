"""How fast a segmenter answers one box, part by part: what Table 8 is made of.

Every part is timed apart, after warming up, and waited for on a GPU; the whole is timed as an evaluation runs it.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.annotations import encode_all
from models.segmenter import Prompts, Segmenter

WARM_UP = 2
"""Calls before the clock runs; one where a call takes longer than `LONG`."""
LEAST, MOST = 5, 50
"""Timed calls."""
ENOUGH, LONG = 2.0, 10.0
"""Seconds: a part that took so long in all needs no more calls than the least; one whose single call takes longer than
`LONG` is called three times."""
BATCH = 8
"""Images that are encoded together."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured of one model."""

    seconds: Mapping[str, np.ndarray]
    """float64 [calls] by part: "pre" (resizing and normalising), "encoder", "decoder" (one box, the best of its
    candidates), "masks" (to the photo's size), "post" (run lengths), "whole" (all of it in turn), and, where images can
    be encoded together, "batch" (an image of `BATCH`)."""
    parameters: int
    flops: int
    """Of one image and one box, by torch's counter; 0 where the model is no torch module."""
    memory: int
    """Bytes at most: on a GPU allocated, on a CPU of the whole process; 0 where the system does not tell."""


def measure(segmenter: Segmenter, photo: np.ndarray, box_xyxy: tuple[float, float, float, float]) -> Speed:
    """Measure a segmenter on one photo uint8 [H, W, 3] and one box (px), in inference mode."""
    model: Any = segmenter
    device, size = segmenter.device, (photo.shape[0], photo.shape[1])
    prompts = Prompts.from_boxes([box_xyxy])
    network: Any = getattr(model, "network", None)
    network = network if isinstance(network, nn.Module) else None
    forget_peak(device)
    with torch.inference_mode():
        (embedding,) = segmenter.embed([photo])
        answer = segmenter.segment(embedding, prompts)
        best = answer.logits[:, answer.predicted_iou[0].argmax()][:, None]  # [1, 1, h, w]
        mask = segmenter.masks(best, size)[:, 0]

        def whole() -> None:
            (found,) = segmenter.embed([photo])
            logits, predicted_iou = segmenter.segment(found, prompts)
            _encode(segmenter.masks(logits[:, predicted_iou[0].argmax()][:, None], size)[:, 0])

        parts: dict[str, Callable[[], object]] = {
            "decoder": lambda: segmenter.segment(embedding, prompts),
            "masks": lambda: segmenter.masks(best, size),
            "post": lambda: _encode(mask),
            "whole": whole,
        }
        if network is not None and hasattr(model, "preprocess") and hasattr(network, "encode"):
            pixels = model.preprocess(photo)  # [1, 3, S, S]
            parts |= {"pre": lambda: model.preprocess(photo), "encoder": lambda: network.encode(pixels)}
        else:
            parts["encoder"] = lambda: segmenter.embed([photo])
        seconds = {name: _timed(part, device) for name, part in parts.items()}
        if "pre" in parts and np.median(seconds["encoder"]) < LONG / BATCH:
            together = pixels.expand(BATCH, -1, -1, -1).contiguous()
            seconds["batch"] = _timed(lambda: network.encode(together), device) / BATCH
        memory = peak(device)
        return Speed(seconds, _parameters(network), _flops(network, segmenter, photo, prompts), memory)


def _encode(masks: torch.Tensor) -> object:
    return encode_all(masks.cpu().numpy())


def _timed(part: Callable[[], object], device: torch.device) -> np.ndarray:
    """Return the seconds of some calls, float64 [calls]."""
    first = once(part, device)
    for _ in range(0 if first > LONG else WARM_UP - 1):
        once(part, device)
    if first > LONG:
        return np.array([once(part, device) for _ in range(3)])
    seconds: list[float] = []
    while len(seconds) < LEAST or (sum(seconds) < ENOUGH and len(seconds) < MOST):
        seconds.append(once(part, device))
    return np.array(seconds)


def once(part: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call, waited for on a GPU."""
    _wait(device)
    start = time.perf_counter()
    part()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _parameters(network: nn.Module | None) -> int:
    return 0 if network is None else sum(parameter.numel() for parameter in network.parameters())


def _flops(network: nn.Module | None, segmenter: Segmenter, photo: np.ndarray, prompts: Prompts) -> int:
    """Count the operations of embedding and decoding; attention as its products, since the counter knows no kernel."""
    if network is None:
        return 0
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        (embedding,) = segmenter.embed([photo])
        segmenter.segment(embedding, prompts)
    return counter.get_total_flops()


def forget_peak(device: torch.device) -> None:
    """Make `peak` tell of what is used from now on, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif (switch := Path("/proc/self/clear_refs")).exists():
        if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
            libc.malloc_trim(0)  # glibc: what was freed and kept for later goes back, or it would hide what is used
        try:
            switch.write_text("5")  # Linux: the peak of resident memory begins anew
        except OSError:
            return


def peak(device: torch.device) -> int:
    """Return bytes at most: on a GPU allocated, on a CPU of the whole process; 0 where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    peak = next((line for line in lines if line.startswith("VmHWM")), "VmHWM: 0 kB")
    return 1024 * int(peak.split()[1])
