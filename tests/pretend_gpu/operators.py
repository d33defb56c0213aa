"""Every operator, forward and backward: whose inputs are where, where its results are, and whether the CPU waits."""

from __future__ import annotations

import functools
from typing import Any

import torch
import torchvision  # noqa: F401, registers its operators
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.pretend_gpu.memory import Memory, tensors_in

_aten = torch.ops.aten
_INDEXED = {_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._index_put_impl_.default}
_COPIES = {_aten.copy_.default, _aten._foreach_copy_.default}
_TAKE_A_NUMBER = {
    _aten.index_put.default,
    _aten.index_put_.default,
    _aten._index_put_impl_.default,
    _aten.fill_.Tensor,
    _aten.masked_fill.Tensor,
    _aten.masked_fill_.Tensor,
    _aten._foreach_add_.Tensor,
    _aten._foreach_mul_.Tensor,
    _aten._foreach_mul.Tensor,
    _aten._foreach_div_.Tensor,
}
"""Operators that take a number of the CPU's, a tensor of no dimension, beside those "pointwise"."""
_WAITS = {
    _aten._local_scalar_dense.default: "item",
    _aten.equal.default: "equal",
    _aten.nonzero.default: "nonzero",
    _aten.masked_select.default: "masked_select",
    _aten._unique2.default: "unique",
    _aten.unique_dim.default: "unique",
    _aten.unique_consecutive.default: "unique",
    _aten.bincount.default: "bincount",
    _aten._linalg_check_errors.default: "linalg",
    torch.ops.torchvision.nms.default: "nms",
}
"""Operators that the CPU has to wait for: for a value, or for how many results there are."""


class Operators(TorchDispatchMode):
    """Raises where devices mix, says where results are, counts waits."""

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.memory = memory

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunction():
            return self._run(func, args, kwargs or {})

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        if _is_only_made_of_others(func):  # it arrives whole in inference mode
            return self._take_apart(func, args, kwargs)
        given = tensors_in((args, kwargs))
        away = [x for x in given if not self.memory.holds(x)]
        some_there = len(away) < len(given)
        if some_there:
            self._check(func, args, kwargs, away)
            self._count(func, args, kwargs)
        made = func(*args, **kwargs)
        if some_there or (not given and self.memory.made_here):
            for x in tensors_in(made):
                if not any(x is one for one in away):
                    self.memory.put(x)
        return made

    def _take_apart(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run the operators that one is made of, in mixed precision if it is on and has not seen the whole one."""
        before = self.memory.mixed
        self.memory.mixed &= not torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "AutocastCPU")
        try:
            with torch._C._SetExcludeDispatchKeyGuard(torch._C.DispatchKey.AutocastCPU, not self.memory.mixed), self:
                return func._op_dk(torch._C.DispatchKey.CompositeImplicitAutograd, *args, **kwargs)
        finally:
            self.memory.mixed = before

    def _check(self, func: Any, args: Any, kwargs: Any, away: list[Tensor]) -> None:
        """Raise as torch does on a GPU, of whose inputs some are not there."""
        if any(isinstance(x, torch.Generator) for x in (*args, *kwargs.values())):
            raise RuntimeError(f"{func}: Expected a 'cuda' device type for generator but found 'cpu'")
        if not away or func in _COPIES:
            return
        holds = self.memory.holds
        if func in _INDEXED:
            if not holds(args[0]) and any(map(holds, tensors_in(args[1]))):
                raise RuntimeError(
                    f"{func}: indices should be either on cpu or on the same device as the indexed tensor"
                )
            away = [x for x in tensors_in((args[0], args[2:])) if not holds(x)]
        numbers = func in _TAKE_A_NUMBER or torch.Tag.pointwise in func.tags
        changed = args[0] if func._schema.is_mutable else None
        for x in away:
            if x.device.type == "cpu" and (x.ndim or not numbers or x is changed):
                raise RuntimeError(
                    f"{func}: Expected all tensors to be on the same device, but found at least two devices, "
                    "cuda:0 and cpu!"
                )

    def _count(self, func: Any, args: Any, kwargs: Any) -> None:
        if func in _WAITS:
            self.memory.wait(_WAITS[func])
        elif func is _aten.repeat_interleave.Tensor and kwargs.get("output_size") is None:
            self.memory.wait("repeat_interleave")
        elif func in _COPIES:
            pairs = zip(*args[:2], strict=True) if isinstance(args[0], (list, tuple)) else [args[:2]]
            for target, source in pairs:
                if self.memory.holds(source) and not self.memory.holds(target):
                    self.memory.wait("to cpu")
        elif func in _INDEXED and not (func is not _aten.index.Tensor and _fills(args[1], args[2])):
            for x in tensors_in(args[1]):
                if x.dtype in (torch.bool, torch.uint8) and self.memory.holds(x):
                    self.memory.wait("nonzero")


@functools.cache
def _is_only_made_of_others(func: Any) -> bool:
    """Whether the CPU has no kernel of its own for an operator; not `_can_decompose`, which is for compilers too."""
    made, of_cpu = (
        torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key) for key in ("CompositeImplicitAutograd", "CPU")
    )
    return made and not of_cpu


def _fills(indices: Any, value: Tensor) -> bool:
    """Whether a value is put in by a mask alone, which the kernel does without waiting (masked_fill)."""
    masks = [x for x in indices if x is not None]
    return value.numel() == 1 and len(masks) == 1 and masks[0].dtype == torch.bool
