"""A ViTDet on detectron2's parts asked about photos: its resizing, its padding and its way of pasting masks.

Weights come from detectron2's .pkl or .pth, or from our own safetensors. Needs detectron2, see package.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import torch
from detectron2.config import instantiate
from torch import Tensor, nn

from models import checkpoints
from models.cards import ModelCard
from models.errors import BenchError
from models.vitdet.checkpoint import is_detectron2, read_entries
from models.vitdet.convert import to_detectron2
from models.vitdet.detector import Found


def load_network(config: Any, path: Path, card: ModelCard) -> nn.Module:
    """Build a network from its LazyConfig and fill it with the weights of a file.

    Args:
        config: of `models.vitdet.d2.model.model_config`.
        path: detectron2's .pkl or .pth, or ours.
        card: of the model, for errors.

    Raises:
        BenchError: if the file is missing, damaged, of another model, or has NaN.
    """
    state = read_entries(path, card)
    if not is_detectron2(state):
        state = to_detectron2(state)
    weights = {name: value for name, value in state.items() if not _is_constant(name)}
    network: nn.Module = instantiate(config)
    checkpoints.fill(network, weights, card=card, path=path)
    return network.eval()


def _is_constant(name: str) -> bool:
    """Return whether older files keep it, or files of LVIS for its loss, though it is no weight of the model."""
    return (
        name in ("pixel_mean", "pixel_std")
        or ".anchor_generator." in name
        or name.endswith(".fed_loss_cls_weights")  # frequencies of LVIS categories
    )


@torch.inference_mode()
def detect(network: nn.Module, photos: Sequence[np.ndarray]) -> list[Found]:
    """Find the objects of photos uint8 [H, W, 3] RGB of any sizes, on the device where the network is.

    Raises:
        BenchError: if a feature or logit is NaN or infinite, which detectron2 itself would leave out in silence.
    """
    model: Any = network
    side = model.backbone.padding_constraints["square_size"]
    resize = T.ResizeShortestEdge([side, side], max_size=side)
    predictors = model.roi_heads.box_predictor
    watched = [model.backbone, *(predictors if isinstance(predictors, nn.ModuleList) else [predictors])]
    hooks = [module.register_forward_hook(_check_finite) for module in watched]
    try:
        answers = network([_to_input(photo, resize) for photo in photos])
    finally:
        for hook in hooks:
            hook.remove()
    return [_found(answer["instances"]) for answer in answers]


def _to_input(photo: np.ndarray, resize: T.ResizeShortestEdge) -> dict[str, Any]:
    resized = resize.get_transform(photo).apply_image(photo)
    pixels = torch.from_numpy(resized.astype(np.float32).transpose(2, 0, 1).copy())
    return {"image": pixels, "height": photo.shape[0], "width": photo.shape[1]}


def _found(instances: Any) -> Found:
    return Found(
        instances.pred_boxes.tensor.double().cpu().numpy(),
        instances.scores.double().cpu().numpy(),
        instances.pred_classes.cpu().numpy() + 1,
        instances.pred_masks.cpu().numpy(),
    )


def _check_finite(module: nn.Module, given: Any, said: Any) -> None:
    if not all(torch.isfinite(one).all() for one in _tensors(said)):
        raise BenchError("the detector's logits are NaN or infinite: its weights are damaged or it diverged")


def _tensors(said: Any) -> Iterable[Tensor]:
    return said.values() if isinstance(said, dict) else said
