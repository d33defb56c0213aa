"""Whether detectron2 can be used here, and how to install it."""

from __future__ import annotations

import importlib
import warnings

from models.errors import BenchError

INSTALL = (
    "it installs from source only, with torch 2.14 as C++20 and by setuptools older than 80: run "
    '`pip install "setuptools<80" wheel ninja`, then `CXXFLAGS=-std=c++20 pip install --no-build-isolation '
    "git+https://github.com/facebookresearch/detectron2`"
)


def need_detectron2() -> str:
    """Return the version of detectron2.

    Raises:
        BenchError: if it is not installed, or its compiled part does not load.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of torch.jit.script, which detectron2 calls at import
            package = importlib.import_module("detectron2")
            importlib.import_module("detectron2._C")
            importlib.import_module("detectron2.model_zoo")
    except ImportError as error:
        raise BenchError(f"the engine detectron2 needs the package detectron2 ({error}): {INSTALL}") from error
    return str(package.__version__)
