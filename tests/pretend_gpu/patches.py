"""What libraries ask of CUDA itself, and the few places in torch where a device is neither a name nor an operator."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch

from tests.pretend_gpu.memory import CUDA, Memory, tensors_in

_ASKED = {
    "torch.cuda.is_available": lambda: True,
    "torch.cuda.device_count": lambda: 1,
    "torch.cuda.current_device": lambda: 0,
    "torch.cuda.set_device": lambda device: None,
    "torch.cuda.is_bf16_supported": lambda *a, **k: True,
    "torch.cuda.get_device_capability": lambda *a: (9, 0),
    "torch.cuda.get_device_name": lambda *a: "pretended",
    "torch.cuda.get_device_properties": lambda *a: SimpleNamespace(
        name="pretended", total_memory=1 << 33, major=9, minor=0
    ),
    "torch.cuda.get_rng_state": lambda *a: torch.zeros(16, dtype=torch.uint8),
    "torch.cuda.set_rng_state": lambda *a: None,
    "torch.cuda.get_rng_state_all": lambda: [torch.zeros(16, dtype=torch.uint8)],
    "torch.cuda.set_rng_state_all": lambda states: None,
    "torch.cuda.manual_seed_all": lambda seed: None,
    "torch.cuda.is_current_stream_capturing": lambda: False,
    "torch.accelerator.current_stream": lambda *a: SimpleNamespace(is_capturing=lambda: False),
    "torch.cuda.synchronize": lambda *a: None,
    "torch.cuda.empty_cache": lambda: None,
}
"""Random numbers of "the GPU" come from the CPU's generator, whose state is kept with the CPU's."""
_CHECKS = {
    name: lambda *a: False for name in ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
}


def patches(memory: Memory) -> Iterator[Any]:
    """Yield context managers."""
    for name, answer in _ASKED.items():
        yield mock.patch(name, answer)
    # Functions of torch's that are written in Python would run as one, with no name in them seen:
    for module in [m for name, m in sys.modules.items() if name.partition(".")[0] == "torch"]:
        own = {name: check for name, check in _CHECKS.items() if name in vars(module)}
        if own:
            yield mock.patch.multiple(module, **own)
    yield mock.patch("torch._C._nn._parse_to", _parsing(memory))
    yield mock.patch("torch._C._group_tensors_by_device_and_dtype", _grouping(memory))
    yield mock.patch("torch.autograd._engine_run_backward", _backward(memory))
    yield mock.patch.object(torch.autocast, "__init__", _autocast())
    yield mock.patch.object(torch.UntypedStorage, "clone", _cloning(memory))
    yield mock.patch.object(torch.UntypedStorage, "to", _moving(memory))
    for name in ("is_autocast_enabled", "get_autocast_dtype"):
        yield mock.patch(f"torch.{name}", _of_cpu(getattr(torch, name)))


def _parsing(memory: Memory) -> Any:
    real = torch._C._nn._parse_to

    def parsed(*args: Any, **kwargs: Any) -> Any:
        """Return device, dtype, non_blocking and memory format of what `to` is given, a module's `to` too."""
        device, *rest = real(*args, **kwargs)
        return (CUDA if any(map(memory.holds, tensors_in((args, kwargs)))) else device, *rest)

    return parsed


def _grouping(memory: Memory) -> Any:
    real = torch._C._group_tensors_by_device_and_dtype

    def grouped(lists: Any, with_indices: bool = False) -> Any:
        found = real(lists, with_indices)
        with torch._C.DisableTorchFunction():
            there = {memory.holds(x) for _, group in found.items() for x in group[0][0] if x is not None}
        if len(there) > 1:
            raise RuntimeError("parameters or gradients on two devices")
        return {(CUDA if True in there else key[0], key[1]): value for key, value in found.items()}

    return grouped


def _cloning(memory: Memory) -> Any:
    def clone(self: torch.UntypedStorage) -> torch.UntypedStorage:
        """Copy a storage to where it is, as a deep copy does with a tensor's."""
        made = torch.UntypedStorage(self.nbytes())
        memory.put(made, memory.holds(self))
        return made.copy_(self)

    return clone


def _moving(memory: Memory) -> Any:
    def to(self: torch.UntypedStorage, *, device: torch.device, non_blocking: bool = False) -> torch.UntypedStorage:
        """Copy a storage to a device, as `torch.load` does where `map_location` says so."""
        there = torch.device(device).type == "cuda"
        if there == memory.holds(self):
            return self
        made = torch.UntypedStorage(self.nbytes())
        memory.put(made, there)
        return made.copy_(self)

    return to


def _backward(memory: Memory) -> Any:
    real = torch.autograd._engine_run_backward

    def run(outputs: Any, *args: Any, **kwargs: Any) -> Any:
        with torch._C.DisableTorchFunction():
            there = any(map(memory.holds, tensors_in(outputs)))
        before, memory.made_here = memory.made_here, there
        try:
            return real(outputs, *args, **kwargs)
        finally:
            memory.made_here = before

    return run


def _autocast() -> Any:
    real = torch.autocast.__init__

    def begin(self: Any, device_type: str, dtype: Any = None, *args: Any, **kwargs: Any) -> None:
        if device_type == "cuda":
            device_type, dtype = "cpu", dtype or torch.float16
        real(self, device_type, dtype, *args, **kwargs)

    return begin


def _of_cpu(real: Any) -> Any:
    return lambda device="cuda": real("cpu" if device == "cuda" else device)
