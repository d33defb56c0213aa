"""Detector weights from files: our safetensors, a torch file of tensors, or detectron2's pickle of arrays."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.cards import ModelCard
from models.checkpoints import missing, read_state_dict
from models.errors import BenchError
from models.vitdet.convert import from_detectron2

_ARRAYS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
}
"""What a pickle of numpy arrays names; anything else could run code."""


def read_detector(path: Path, card: ModelCard) -> dict[str, Tensor]:
    """Read the state dict of a ViTDet under our names, whoever wrote it.

    Args:
        path: *.safetensors, *.pkl of detectron2, or a torch file of tensors alone.
        card: of the model, for errors.

    Raises:
        BenchError: if the file is missing, damaged, holds more than arrays, or is of another model.
    """
    state = read_entries(path, card)
    return from_detectron2(state) if is_detectron2(state) else state


def read_entries(path: Path, card: ModelCard) -> dict[str, Tensor]:
    """Read the state dict of a ViTDet, a cascade or not, under the names of whoever wrote it.

    Arguments, raises: see `read_detector`; another model is not noticed.
    """
    if not path.is_file():
        raise missing(card, path)
    return _read_pickle(path) if path.suffix == ".pkl" else read_state_dict(path, card)


def is_detectron2(state: Mapping[str, Tensor]) -> bool:
    """Return whether the entries have detectron2's names."""
    return any(name.startswith("backbone.net.") for name in state)


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, AttributeError, KeyError) as error:
        raise BenchError(f"'{path}' is no pickle of arrays ({error}): download detectron2's file again") from error
    state = content.get("model", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, np.ndarray) for value in state.values()):
        raise BenchError(f"'{path}' holds no names and arrays under 'model': give a model file of detectron2's zoo")
    # 2.6 GB for ViTDet-H: what can be written to is not copied
    return {name: torch.from_numpy(np.require(value, requirements=["C", "W"])) for name, value in state.items()}


class _ArraysOnly(pickle.Unpickler):
    """Unpickles arrays and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAYS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)
