"""Detector weights from files: our safetensors, a torch file of tensors, or detectron2's pickle of arrays."""

from __future__ import annotations

import functools
import math
import mmap
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from models.cards import ModelCard
from models.checkpoints import missing, read_state_dict
from models.errors import BenchError
from models.files.containers import is_bare_pickle, is_safetensors, is_torch, open_container
from models.files.pickles import asked_for, beyond_arrays, runs_code
from models.files.state_dicts import UNREADABLE, first_line
from models.vitdet.convert import from_detectron2

_NUMBERS = re.compile(r"[<>=|]?([?biuf])(1|2|4|8)?")
"""Kinds of numbers that an array may hold; never objects, whose bytes would be taken for addresses."""
_MOST_AXES = 32
_NEEDED = "give a model file of detectron2's zoo, or a file of tensors alone"


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
    source = open_container(path)
    named_pickle = path.suffix == ".pkl" and not (is_torch(source) or is_safetensors(source))
    if source == path and path.stat().st_size and (is_bare_pickle(path) or named_pickle):
        return _read_pickle(path)
    return read_state_dict(path, card)


def is_detectron2(state: Mapping[str, Tensor]) -> bool:
    """Return whether the entries have detectron2's names."""
    return any(name.startswith("backbone.net.") for name in state)


def _read_pickle(path: Path) -> dict[str, Tensor]:
    if names := beyond_arrays(asked_for(path)):
        raise runs_code(path, names, _NEEDED)
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = _ArraysOnly(content, encoding="latin1").load()
    except UNREADABLE as error:
        raise BenchError(f"'{path}' is no pickle of arrays ({first_line(error)}): {_NEEDED}") from error
    state = found.get("model", found) if isinstance(found, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(map(_is_entry, state.items())):
        raise BenchError(f"'{path}' holds no names and arrays under 'model': {_NEEDED}")
    # 2.6 GB for ViTDet-H: what can be written to is not copied
    return {name: torch.from_numpy(np.require(entry.array, requirements=["C", "W"])) for name, entry in state.items()}


def _is_entry(entry: tuple[Any, Any]) -> bool:
    return isinstance(entry[0], str) and isinstance(entry[1], _Array)


class _Array:
    """What a pickle builds in place of an array: its state is looked at before NumPy sees it."""

    __slots__ = ("array",)

    def __setstate__(self, state: Any) -> None:
        """Take (version, shape, kind of number, Fortran order, bytes), as NumPy writes it."""
        _, shape, kind, fortran, content = state
        if not isinstance(kind, _Kind):
            raise pickle.UnpicklingError("an array holds something else than numbers")
        if not isinstance(shape, tuple) or len(shape) > _MOST_AXES or not all(type(n) is int and n >= 0 for n in shape):
            raise pickle.UnpicklingError("an array has an impossible shape")
        if not isinstance(content, bytes | str) or math.prod(shape) * kind.dtype.itemsize != len(content):
            raise pickle.UnpicklingError(f"an array of shape {list(shape)} has another number of bytes")
        self.array = np.ndarray((0,), kind.dtype)
        state = (1, shape, kind.dtype, bool(fortran), content)
        self.array.__setstate__(state)  # type: ignore[arg-type]  # a str is what Python 2 wrote
        self.array = self.array.astype(kind.dtype.newbyteorder("="), copy=False)


class _Kind:
    """What a pickle builds in place of a dtype."""

    __slots__ = ("dtype",)

    def __init__(self, name: str) -> None:
        self.dtype = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        """Take (version, byte order, ...), as NumPy writes it; the rest is of kinds that are not read."""
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


def _dtype(name: Any, *flags: Any) -> _Kind:
    if not isinstance(name, str) or not _NUMBERS.fullmatch(name):
        raise pickle.UnpicklingError(f"an array holds {name!r} instead of numbers")
    return _Kind(name)


def _reconstruct(*arguments: Any) -> _Array:
    return _Array()  # whatever shape is promised: __setstate__ brings the real one


def _scalar(kind: Any, content: Any = b"") -> object:
    """Return a number of the notes beside the arrays."""
    raw = content.encode("latin1") if isinstance(content, str) else content
    if not isinstance(kind, _Kind) or not isinstance(raw, bytes) or len(raw) != kind.dtype.itemsize:
        raise pickle.UnpicklingError("a number is of no kind that NumPy has")
    return np.frombuffer(raw, kind.dtype)[0]


def _ndarray(*arguments: Any) -> NoReturn:
    raise pickle.UnpicklingError("it makes an array over memory that is not its own")


def _encode(text: Any, codec: Any = "") -> bytes:
    if not isinstance(text, str) or codec != "latin1":
        raise pickle.UnpicklingError(f"it decodes {codec!r}")
    return text.encode("latin1")


_STAND_INS: dict[str, Callable[..., Any]] = {
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.ndarray": _ndarray,
    "numpy.dtype": _dtype,
    "collections.OrderedDict": lambda *pairs: OrderedDict(*pairs),
    "_codecs.encode": _encode,
}
"""What a pickle of NumPy arrays names, and what it gets instead; anything else could run code."""


class _ArraysOnly(pickle._Unpickler):
    """Unpickles arrays and nothing that could run code.

    In Python, not C, since that one believes numbers in the file: an index of 2^31 would cost it 32 GB.
    """

    def find_class(self, module: str, name: str) -> Any:
        """Return a function that no pickle can change."""
        found = _STAND_INS.get(f"{module}.{name}")
        if found is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return functools.partial(found)
