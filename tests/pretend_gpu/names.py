"""Where devices are named in Python: `device=`, `.to`, `.cuda`, `.cpu`, `.device`, `.numpy`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, is_autocast_enabled
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from tests.pretend_gpu.memory import CUDA, Memory, tensors_in

_OF_DATA = {torch.tensor, torch.as_tensor, torch.asarray}
_CONSTRUCTORS = set(_device_constructors()) - _OF_DATA
"""What is on the CPU where no device is named."""


class Names(TorchFunctionMode):
    """Answers with the device a tensor is said to be on, and says where results are."""

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.memory = memory
        self._answers = {
            Tensor.device.__get__: lambda x: CUDA if memory.holds(x) else x.device,
            Tensor.is_cuda.__get__: memory.holds,
            Tensor.is_cpu.__get__: lambda x: x.is_cpu and not memory.holds(x),
            Tensor.get_device: lambda x: 0 if memory.holds(x) else -1,
            Tensor.to: self._to,
            Tensor.cuda: lambda x, *args, **kwargs: self._moved(x, True),
            Tensor.cpu: lambda x, *args, **kwargs: self._moved(x, False),
            Tensor.type_as: lambda x, other: self._to(x, other),
            Tensor.copy_: self._copy,
            Tensor.numpy: self._numpy,
            Tensor.tolist: self._tolist,
            Tensor.pin_memory: lambda x, *args: x,
            Tensor.is_pinned: lambda x, *args: False,
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in self._answers:
            return self._answers[func](*args, **kwargs)
        if func.__name__ == "__get__":  # a shape or the like
            return func(*args)
        self.memory.mixed = is_autocast_enabled("cpu")
        device = kwargs.get("device")
        if device is not None and torch.device(device).type != "meta":
            return self._placed(func, args, kwargs)
        before, self.memory.made_here = self.memory.made_here, any(map(self.memory.holds, tensors_in((args, kwargs))))
        try:
            if func in _CONSTRUCTORS:
                self.memory.made_here = False
            made = func(*args, **kwargs)
        finally:
            self.memory.made_here = before
        if func.__name__.startswith("new_"):
            self.memory.put(made, self.memory.holds(args[0]))
        return made

    def _placed(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Make what a device is named for."""
        there = torch.device(kwargs["device"]).type == "cuda"
        kwargs = {name: value for name, value in kwargs.items() if name != "device"}
        if func in _OF_DATA and isinstance(args[0], Tensor):
            return self._to(args[0], CUDA if there else "cpu", dtype=kwargs.get("dtype"), copy=func is torch.tensor)
        if there and kwargs.get("generator") is not None:
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        if func in _OF_DATA:
            made = func(*args, **kwargs)
            return self._moved(made, True) if there else made
        before, self.memory.made_here = self.memory.made_here, False
        try:
            made = func(*args, **kwargs)
        finally:
            self.memory.made_here = before
        self.memory.put(made, there)
        return made

    def _to(self, x: Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> Tensor:
        device, dtype, _, form = torch._C._nn._parse_to(*args, **kwargs)
        if x.is_meta or (device is not None and device.type == "meta"):
            return x.to(device, dtype)
        return self._moved(x, self.memory.holds(x) if device is None else device.type == "cuda", dtype, form, copy)

    def _moved(self, x: Tensor, there: bool, dtype: Any = None, form: Any = None, copy: bool = False) -> Tensor:
        if there == self.memory.holds(x):
            return x.to(dtype=dtype or x.dtype, memory_format=form or torch.preserve_format, copy=copy)
        moved: Tensor = _Move.apply(x, self.memory, there, dtype or x.dtype, form or torch.preserve_format)
        return moved

    def _copy(self, x: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
        return x.copy_(self._moved(source, self.memory.holds(x)))

    def _numpy(self, x: Tensor, **kwargs: Any) -> Any:
        if self.memory.holds(x):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
        return x.numpy(**kwargs)

    def _tolist(self, x: Tensor) -> Any:
        if self.memory.holds(x):
            self.memory.wait("tolist")
        return x.tolist()


class _Move(torch.autograd.Function):
    """A copy on the other device; its gradient is moved back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, memory: Memory, there: bool, dtype: Any, form: Any) -> Tensor:
        ctx.memory, ctx.there, ctx.dtype = memory, there, x.dtype
        return _moved(x, memory, there, dtype, form)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        return _moved(gradient, ctx.memory, not ctx.there, ctx.dtype, torch.preserve_format), None, None, None, None


def _moved(x: Tensor, memory: Memory, there: bool, dtype: Any, form: Any) -> Tensor:
    with torch._C.DisableTorchFunction():
        if not there:
            memory.wait("to cpu")
        made = x.to(dtype=dtype, memory_format=form, copy=True)
        memory.put(made, there)
        return made
