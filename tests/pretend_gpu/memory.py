"""What is said to be on the GPU, and what the CPU waited for."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

CUDA = torch.device("cuda", 0)
_ROOT = Path(__file__).parents[2]
_OURS = tuple(f"{_ROOT / package}/" for package in ("models", "bench", "protocols"))
_PLAIN = {int, float, bool, str, type(None), torch.dtype, torch.device}
_FORGET_AFTER = 4096
"""Storages put on the GPU between two looks at which of them are gone."""


class Memory:
    """The GPU's memory: storages by their address, so that views and what autograd saves are where their data is."""

    def __init__(self) -> None:
        self.waits: Counter[tuple[str, str]] = Counter()
        """How often the CPU waited for a result, by function of ours ("module:function") and operator. Copies to the
        GPU are not counted, though torch waits for those too where memory is not pinned."""
        self.made_here = False
        """Whether what torch itself makes of nothing, such as zeros in a derivative, is on the GPU."""
        self.mixed = False
        """Whether mixed precision is on, which operators cannot ask."""
        self._storages: dict[int, StorageWeakRef] = {}  # a weak reference keeps the address from being used again
        self._put = 0

    def holds(self, tensor: Tensor | torch.UntypedStorage) -> bool:
        """Whether a tensor, or a storage, is on the GPU."""
        return _storage(tensor)._cdata in self._storages

    def put(self, tensor: Tensor | torch.UntypedStorage, there: bool = True) -> None:
        """Say where a tensor is that nothing else shares its storage with, or a storage."""
        storage = _storage(tensor)
        if not there:
            self._storages.pop(storage._cdata, None)
        elif storage._cdata not in self._storages:
            self._storages[storage._cdata] = StorageWeakRef(storage)
            self._put += 1
            if self._put % _FORGET_AFTER == 0:
                self._storages = {key: ref for key, ref in self._storages.items() if not ref.expired()}

    def wait(self, operator: str) -> None:
        """Write down that the CPU waits."""
        self.waits[_asker(), operator] += 1


def tensors_in(nest: Any) -> list[Tensor]:
    """Return the tensors of nested lists, tuples and dicts, the only nests that operators take."""
    found, left = [], [nest]
    while left:
        value = left.pop()
        if type(value) in _PLAIN:
            continue
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            left += value
        elif isinstance(value, dict):
            left += value.values()
    return found


def _asker() -> str:
    """Return which function of this project is at work, as "module:function"."""
    frame = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(_OURS):
            return f"{Path(code.co_filename).relative_to(_ROOT)}:{code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return "a library"


def _storage(tensor: Tensor | torch.UntypedStorage) -> torch.UntypedStorage:
    return tensor if isinstance(tensor, torch.UntypedStorage) else tensor.untyped_storage()
