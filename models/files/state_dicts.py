"""State dicts from files whoever wrote them: safetensors or torch's, told apart by content, and never run."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from models.errors import BenchError
from models.files.containers import Source, is_bare_pickle, is_safetensors, open_container, opened
from models.files.pickles import asked_for, beyond_arrays, runs_code

TENSORS_ALONE = "give a file of tensors alone, e.g. one saved with torch.save({'model': network.state_dict()}, path)"
_NESTED = ("model", "state_dict", "model_state_dict", "ema", "model_ema", "state_dict_ema")
"""Where trainings keep the state dict, the first that is there."""
_DEPTH = 3
"""Levels of such keys; a pickle can hold a dictionary that holds itself."""
_WRAPPERS = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put before every name."""
UNREADABLE = (
    pickle.UnpicklingError,
    struct.error,
    RuntimeError,
    EOFError,
    ValueError,
    KeyError,
    OSError,
    TypeError,
    AttributeError,
    IndexError,
    AssertionError,
    MemoryError,
    OverflowError,
)
"""What torch and unpicklers raise for files that are damaged or hold something else."""

Damaged = Callable[[str], BenchError]
"""Makes the error for a file that is cut short or damaged, of what was said about it."""


def read_tensors(path: Path, damaged: Damaged) -> dict[str, Tensor]:
    """Read a state dict, see `models.checkpoints.read_state_dict`.

    Raises:
        BenchError: if the file is damaged, or holds anything else.
    """
    source = open_container(path)
    content = _read_safetensors(source, damaged) if is_safetensors(source) else _read_torch(source, path, damaged)
    state = _innermost(content)
    if not isinstance(state, Mapping) or not state or not all(map(_is_entry, state.items())):
        raise BenchError(
            f"'{path}' holds no state dict: expected names and tensors, alone or under the key 'model', "
            "save it with torch.save({'model': network.state_dict()}, path)"
        )
    return _unwrapped(dict(state))


def _innermost(content: object) -> object:
    """Return what lies under the usual keys."""
    for _ in range(_DEPTH):
        if isinstance(content, Mapping):
            content = next((content[key] for key in _NESTED if isinstance(content.get(key), Mapping)), content)
    return content


def _is_entry(entry: tuple[Any, Any]) -> bool:
    """Return whether it is a name and a tensor that has numbers of its own."""
    name, value = entry
    if not isinstance(name, str) or not isinstance(value, Tensor) or value.is_nested:
        return False
    return value.layout is torch.strided and value.device.type == "cpu"


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without the beginnings that wrappers give to all names."""
    while wrapper := next((one for one in _WRAPPERS if all(name.startswith(one) for name in state)), None):
        state = {name.removeprefix(wrapper): value for name, value in state.items()}
    return state


def _read_safetensors(source: Source, damaged: Damaged) -> dict[str, Tensor]:
    """Read a safetensors file."""
    try:
        if isinstance(source, Path):
            return safetensors.torch.load_file(source)
        return safetensors.torch.load(source.getvalue())
    except (safetensors.SafetensorError, KeyError, ValueError, OSError) as error:
        raise damaged(first_line(error)) from error


def _read_torch(source: Source, path: Path, damaged: Damaged) -> object:
    """Read a torch file without running code from it."""
    if not path.stat().st_size:
        raise damaged("it is empty")
    try:
        with opened(source) as file:  # by its path, torch would go by its name
            return torch.load(file, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        names = asked_for(source)
        if others := beyond_arrays(names):
            raise runs_code(path, others, TENSORS_ALONE) from error
        if names or is_bare_pickle(source):
            raise BenchError(f"'{path}' is a pickle that torch did not write: {TENSORS_ALONE}") from error
        if text := _text(source):
            raise BenchError(f"'{path}' is a text instead of a checkpoint ('{text}'): give the file itself") from error
        raise damaged(first_line(error)) from error


def _text(source: Source) -> str:
    """Return how a file begins if it is a text, "" if it is none."""
    with opened(source) as file:
        head = file.read(200)
    try:
        line = head.decode("utf-8").strip().partition("\n")[0][:60]
    except UnicodeDecodeError:
        return ""
    return line if line.isprintable() else ""


def first_line(error: Exception) -> str:
    """Return what an exception says in its first line."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
