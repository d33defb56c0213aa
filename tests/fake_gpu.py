"""Networks on a GPU that is not there: torch's FakeTensorMode computes shapes, dtypes and devices, but no numbers.

What lives on `cuda` is fake and everything else is real, so code runs as on a GPU and what mixes the two raises as it
would there. What comes back to the CPU is ones: truth tests answer True, and indexes are 1. Where a shape depends on
values (nonzero, masks as indexes, non-maximum suppression) there are `FOUND` of them. Everything the CPU has to wait
for is written down, by the function of ours that waits.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_iter, tree_map

CUDA = torch.device("cuda", 0)
FOUND = 3
"""How many values are found where their number depends on values."""
_ROOT = Path(__file__).parents[1]
_OURS = tuple(f"{_ROOT / package}/" for package in ("models", "bench", "protocols"))
_aten = torch.ops.aten
_COPIES = {_aten._to_copy.default, _aten.copy_.default}
_INDEXED = {_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._index_put_impl_.default}


class FakeGpu(FakeTensorMode):
    """The mode in which it is there; `waits` counts (function, operator) of every wait for a result."""

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.waits: Counter[tuple[str, str]] = Counter()

    @property
    def avoid_device_init(self) -> bool:
        """Whatever else is made to believe, no device is touched."""
        return True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        fake = [x for x in tree_iter((args, kwargs)) if isinstance(x, FakeTensor)]
        if not fake and not _names_cuda(kwargs):
            return func(*args, **kwargs)  # nothing of the GPU's: the CPU computes as ever
        _check_generator(kwargs)
        if (
            func.namespace == "aten" and func._can_decompose()
        ):  # in inference mode what is made of other operators arrives whole
            with self:
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        if func in _COPIES and self._comes_back(func, args, kwargs):
            return self._bring_back(func, args, kwargs)
        if func is _aten._to_copy.default and not fake:  # torch would keep the values, and ask a driver
            with self:
                return torch.empty_like(args[0], dtype=kwargs.get("dtype"), device=CUDA)
        if func is _aten._local_scalar_dense.default:
            self._wait("item")
            return torch.ones((), dtype=args[0].dtype).item()
        if func is _aten.equal.default:
            self._wait("equal")
            return True
        if func is _aten.nonzero.default:
            return self._nonzero(args[0])
        if func is _aten.masked_select.default:
            self._wait("masked_select")
            return self._indexes(args[0].numel()).to(args[0].dtype)
        if str(func) == "torchvision.nms.default":
            _same_device(func, fake, args[:2])
            self._wait("nms")
            return self._indexes(len(args[0]))
        if func in _INDEXED:
            args = self._indexed(func, args)
        return super().__torch_dispatch__(func, types, args, kwargs)

    def _comes_back(self, func: Any, args: Any, kwargs: Any) -> bool:
        """Whether a copy goes from the GPU to the CPU."""
        if func is _aten._to_copy.default:
            target = kwargs.get("device")
            return target is not None and torch.device(target).type == "cpu"
        return isinstance(args[1], FakeTensor) and not isinstance(args[0], FakeTensor)

    def _bring_back(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        self._wait("to cpu")
        if func is _aten.copy_.default:
            return args[0].fill_(1)
        return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)

    def _nonzero(self, mask: Tensor) -> Tensor:
        self._wait("nonzero")
        return self._indexes(mask.numel(), mask.ndim)

    def _columns(self, mask: Tensor) -> list[Tensor]:
        self._wait("nonzero")
        return [self._indexes(mask.numel()) for _ in range(mask.ndim)]

    def _indexes(self, most: int, *rest: int) -> Tensor:
        with self:
            return torch.empty(min(FOUND, most), *rest, dtype=torch.int64, device=CUDA)

    def _indexed(self, func: Any, args: Any) -> Any:
        """Turn masks into indexes as the kernel does, and refuse an index on the GPU into what is on the CPU."""
        target, indices = args[0], args[1]
        if not isinstance(target, FakeTensor) and any(isinstance(x, FakeTensor) for x in indices):
            raise RuntimeError(f"{func}: indices should be either on cpu or on the same device as the indexed tensor")
        if func is not _aten.index.Tensor and _fills(target, indices, args[2]):
            return args
        if not any(x is not None and x.dtype in (torch.bool, torch.uint8) for x in indices):
            return args
        plain: list[Tensor | None] = []
        for x in indices:
            mask = x is not None and x.dtype in (torch.bool, torch.uint8)
            plain += self._columns(x) if mask else [x]
        return (target, plain, *args[2:])

    def _wait(self, operator: str) -> None:
        self.waits[_asker(), operator] += 1


def _fills(target: Tensor, indices: Any, value: Tensor) -> bool:
    """Whether a value is put in by masks alone, which the kernel does without waiting (masked_fill)."""
    masks = [x for x in indices if x is not None]
    return value.numel() == 1 and len(masks) == 1 and masks[0].dtype == torch.bool


def _names_cuda(kwargs: Any) -> bool:
    device = kwargs.get("device")
    return device is not None and torch.device(device).type == "cuda"


def _check_generator(kwargs: Any) -> None:
    """Raise as torch's kernels do for a generator of another device."""
    generator = kwargs.get("generator")
    if generator is not None and generator.device.type != "cuda":
        raise RuntimeError(f"Expected a 'cuda' device type for generator but found '{generator.device.type}'")


def _same_device(func: Any, fake: Any, tensors: Any) -> None:
    if len(fake) != len(tensors):
        raise RuntimeError(f"{func}: expected all tensors to be on the same device")


def _asker() -> str:
    """Return which function of this project is at work, as "module:function"."""
    frame = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(_OURS):
            return f"{Path(code.co_filename).relative_to(_ROOT)}:{code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return "a library"


@contextmanager
def fake_gpu() -> Iterator[FakeGpu]:
    """Give this thread a GPU: `cuda` is available, its tensors are fake, `waits` counts what is waited for."""
    patches = {
        "torch.cuda.is_available": lambda: True,
        "torch.cuda.device_count": lambda: 1,
        "torch.cuda.current_device": lambda: 0,
        "torch.cuda.set_device": lambda device: None,
        "torch.cuda.is_bf16_supported": lambda *a, **k: True,
        "torch.cuda.get_device_capability": lambda *a: (9, 0),
        "torch.cuda.get_device_name": lambda *a: "fake",
        "torch.cuda.get_rng_state": lambda *a: torch.zeros(16, dtype=torch.uint8),
        "torch.cuda.set_rng_state": lambda *a: None,
        "torch.cuda.manual_seed_all": lambda seed: None,
        "torch.cuda.synchronize": lambda *a: None,
        "torch.cuda.empty_cache": lambda: None,
    }
    gpu = FakeGpu()
    with ExitStack() as stack:
        for name, function in patches.items():
            stack.enter_context(mock.patch(name, function))
        stack.enter_context(mock.patch.object(FakeTensor, "tolist", lambda self: self.cpu().tolist()))
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        stack.enter_context(gpu)
        yield gpu


def on_gpu(value: Any) -> bool:
    """Whether every tensor in a nest of tuples, lists and dicts is on the GPU, and there is one."""
    tensors = [x for x in tree_iter(value) if isinstance(x, Tensor)]
    return bool(tensors) and all(x.device == CUDA for x in tensors)


def to_gpu(value: Any) -> Any:
    """Move every tensor of a nest."""
    return tree_map(lambda x: x.to(CUDA) if isinstance(x, Tensor) else x, value)
