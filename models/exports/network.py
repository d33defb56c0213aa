"""An exported encoder and decoder run by onnxruntime, in the place of the network that they were made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.efficientsam.prompt_encoder import MAX_POINTS
from models.errors import BenchError, UnsupportedPrompt
from models.exports.graphs import FEATURES, LABELS, LOGITS, PIXELS, POINTS, PREDICTED_IOU
from models.exports.record import SEGMENTERS, Record
from models.sam.mask_decoder import MASKS
from models.segmenter import BOX_TOP_LEFT, PADDING, Multimask

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
Arrays = tuple[np.ndarray, np.ndarray]
"""Points float32 [1, P, K, 2] and labels int64 [1, P, K]."""


class OnnxNetwork(nn.Module):
    """What SAM's and EfficientSAM's segmenters need of a network: a size, `encode` and `decode`.

    Tensors are on the CPU, also where onnxruntime computes on a GPU.
    """

    def __init__(self, record: Record, encoder: Path, decoder: Path, *, device: str = "cpu") -> None:
        super().__init__()
        self.image_size = record.image_size
        self._sessions = (
            session(encoder, (PIXELS,), (FEATURES,), device),
            session(decoder, (FEATURES, POINTS, LABELS), (LOGITS, PREDICTED_IOU), device),
        )
        self._alike = ALIKE[record.segmenter]
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)  # tells segmenters where tensors are

    def encode(self, pixels: Tensor) -> Tensor:
        """Encode normalised pixels [B, 3, S, S] as features [B, C, h, h], one image after another.

        Raises:
            BenchError: under autocast, which has no power over a file.
        """
        if torch.is_autocast_enabled("cpu"):
            raise BenchError("an ONNX file has a precision of its own: leave out the one of the run")
        encoder, _ = self._sessions
        features = [encoder.run(None, {PIXELS: one.contiguous().numpy()})[0] for one in pixels.split(1)]
        return torch.from_numpy(np.concatenate(features))

    def decode(
        self,
        features: Tensor,
        points: Tensor,
        labels: Tensor,
        *,
        multimask: Multimask = True,
        mask_logits: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Answer P prompts about one image, see `models.sam.network.SamNetwork.decode`.

        Raises:
            UnsupportedPrompt: if there is a mask prompt.
        """
        if mask_logits is not None:
            raise UnsupportedPrompt("an exported decoder takes no mask prompt: set refinement passes to 0")
        _, decoder = self._sessions
        wanted = MASKS[multimask]
        logits, predicted_iou = [], []
        places: list[np.ndarray] = []
        for rows, (some, of_them) in self._alike(points.numpy(), labels.numpy()):
            answer = decoder.run(None, {FEATURES: features.numpy(), POINTS: some, LABELS: of_them})
            logits.append(answer[0][:, :, wanted])
            predicted_iou.append(answer[1][:, :, wanted])
            if multimask == "best":
                best = predicted_iou[-1].argmax(2)[..., None, None, None]  # [B, P, 1, 1, 1]
                logits[-1] = np.take_along_axis(logits[-1], best, 2)
            places.append(rows)
        back = np.argsort(np.concatenate(places))
        return tuple(torch.from_numpy(np.concatenate(parts, 1)[:, back]) for parts in (logits, predicted_iou))  # type: ignore[return-value]


def _sam(points: np.ndarray, labels: np.ndarray) -> Iterator[tuple[np.ndarray, Arrays]]:
    """Yield the rows of prompts that are alike, each as the published code has it when it is asked alone.

    Padding is left out; a prompt without a box gets one padding token in the end.
    """
    boxed, kept = (labels[0] >= BOX_TOP_LEFT).any(-1), labels[0] != PADDING  # [P], [P, K]
    kinds = np.column_stack([boxed, kept])
    for kind in np.unique(kinds, axis=0):
        rows = np.flatnonzero((kinds == kind).all(1))
        some, of_them = points[:, rows][:, :, kind[1:]], labels[:, rows][:, :, kind[1:]]
        if not kind[0]:
            some = np.pad(some, ((0, 0), (0, 0), (0, 1), (0, 0)))
            of_them = np.pad(of_them, ((0, 0), (0, 0), (0, 1)), constant_values=PADDING)
        yield rows, (np.ascontiguousarray(some), np.ascontiguousarray(of_them))


def _efficientsam(points: np.ndarray, labels: np.ndarray) -> Iterator[tuple[np.ndarray, Arrays]]:
    """Yield all prompts, padded to six points."""
    missing = MAX_POINTS - labels.shape[-1]
    some = F.pad(torch.from_numpy(points), (0, 0, 0, missing)).numpy()
    of_them = F.pad(torch.from_numpy(labels), (0, missing), value=PADDING).numpy()
    yield np.arange(labels.shape[1]), (some, of_them)


ALIKE: Mapping[str, Callable[[np.ndarray, np.ndarray], Iterator[tuple[np.ndarray, Arrays]]]] = dict(
    zip(SEGMENTERS, (_sam, _efficientsam), strict=True)
)
"""By segmenter: how prompts are put to a decoder that pads nothing."""


def session(path: Path, inputs: tuple[str, ...], outputs: tuple[str, ...], device: str) -> Any:
    """Open an ONNX file with as many CPU threads as torch has now.

    Raises:
        BenchError: if it is damaged, has other inputs and outputs, or onnxruntime has no such device here.
    """
    import onnxruntime

    provider = PROVIDERS.get(device.partition(":")[0])
    if provider not in onnxruntime.get_available_providers():
        raise BenchError(
            f"onnxruntime {onnxruntime.__version__} cannot compute on '{device}' here: use --device cpu, or "
            "`pip install onnxruntime-gpu` for cuda"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 4
    chosen = (provider, {"device_id": device.partition(":")[2] or "0"}) if provider == PROVIDERS["cuda"] else provider
    try:
        opened = onnxruntime.InferenceSession(str(path), options, providers=[chosen])
    except Exception as error:  # onnxruntime's own errors share no base class
        reason = str(error).partition("\n")[0]
        raise BenchError(f"'{path}' is damaged or no ONNX file ({reason}): export the model again") from error
    found = tuple(one.name for one in opened.get_inputs()), tuple(one.name for one in opened.get_outputs())
    if found != (inputs, outputs):
        raise BenchError(
            f"'{path}' takes {', '.join(found[0])} and gives {', '.join(found[1])} where {', '.join(inputs)} and "
            f"{', '.join(outputs)} are expected: export the model again"
        )
    return opened
