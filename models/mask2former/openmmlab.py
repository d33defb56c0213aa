"""mmsegmentation without mmcv's compiled operators: a stand-in for `mmcv._ext`, and errors a user can act on.

mmsegmentation 1.2 and mmdet 3.3 import `mmcv.ops`, which needs the compiled module `mmcv._ext`; mmcv's source does
not build against current torch. Mask2Former uses two of its operators, point sampling and multi-scale deformable
attention, and both have pure-PyTorch paths. So mmcv-lite, the package without compiled code, is enough, if something
stands where `mmcv._ext` would be. Any other operator raises an error that names it once it is called.

On CUDA mmcv would call the compiled deformable attention; with the stand-in it is told to take the path of CPUs,
which works on every device. That was never run on a GPU here.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn

from models.errors import BenchError

EXTENSION = "mmcv._ext"
INSTALL = 'pip install "efficientsam-bench[semantic]"'
NEEDED = ("mmengine", "mmcv", "mmdet", "mmseg")


class _Operators(ModuleType):
    """Has every operator; each raises when called."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith("__"):
            raise AttributeError(name)  # what the import system asks a module

        def missing(*arguments: Any, **options: Any) -> NoReturn:
            raise BenchError(
                f"mmcv's compiled operator '{name}' is not installed, and it has no other form: leave out the part of "
                "the model that needs it, or build mmcv with its operators"
            )

        return missing


@functools.cache
def import_mmseg() -> None:
    """Make `mmseg` and `mmdet` importable and register their modules; takes some seconds the first time.

    A compiled mmcv of the user's is left as it is.

    Raises:
        BenchError: if a package of the extra `semantic` is missing, or mmcv is too new or too old for mmsegmentation.
    """
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise BenchError(f"Mask2Former needs {absent[0]}, which is not installed: run `{INSTALL}`")
    try:
        importlib.import_module("mmdet")
        importlib.import_module("mmseg")
    except AssertionError as error:  # what both raise for a wrong mmcv or mmengine
        reason = " ".join(str(error).split()).rstrip(".")
        raise BenchError(f"mmsegmentation cannot use what is installed ({reason}): run `{INSTALL}`") from error
    if importlib.util.find_spec(EXTENSION) is None:
        _stand_in()
    importlib.import_module("mmdet.models")
    importlib.import_module("mmseg.models")


def _stand_in() -> None:
    """Put the stand-in where `mmcv.ops` looks, and let deformable attention take its pure-PyTorch path everywhere."""
    operators = _Operators(EXTENSION)
    operators.__spec__ = importlib.machinery.ModuleSpec(EXTENSION, None)
    sys.modules[EXTENSION] = operators
    attention: Any = importlib.import_module("mmcv.ops.multi_scale_deform_attn")
    attention.IS_CUDA_AVAILABLE = False
