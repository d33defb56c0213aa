"""YOLOv8-seg of `ultralytics` (AGPL-3.0, optional): imported without side effects, and FastSAM's network at 256 px.

Left alone, that package reports its use, looks for updates, installs what it misses, writes settings into the home
folder, prints to stdout, changes how numpy prints numbers and replaces functions of Pillow, OpenCV and torch for
everybody: a broken photo would then ask for a package that is not installed.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from models.errors import BenchError

INSTALL = 'pip install "efficientsam-bench[fastsam]"'
_QUIET = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
"""Environment variables of `ultralytics` and our defaults: no network, no pip, no word below an error."""

_REPLACED = {"PIL.Image": ("open",), "cv2": ("imread", "imwrite", "imshow"), "torch": ("save", "load")}
"""Functions that it replaces."""

MICRO_SIZE = 256
"""Side of the input of the micro network, px."""
_MICRO: dict[str, Any] = {
    "nc": 1,  # objects of any kind, as FastSAM's
    "scale": "micro",
    "scales": {"micro": (0.17, 0.25, 128)},  # depth, width and most channels: 16 and 32 channels in all layers
    "reg_max": 8,  # bins of a box side: 7 x 32 px reach across the image from any cell of the coarsest level
}
_PROTOTYPES, _PROTOTYPE_CHANNELS = 16, 256
"""Of the mask head; the channels are scaled by the width like all others."""


def ultralytics(module: str) -> Any:
    """Import a module of `ultralytics`, such as "ultralytics.nn.tasks".

    Raises:
        BenchError: if the package is not installed.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if "YOLO_CONFIG_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="ultralytics-")  # of settings that nobody needs later
        os.environ["YOLO_CONFIG_DIR"] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        with np.printoptions(), _functions_unchanged():
            return importlib.import_module(module)
    except ImportError as error:
        raise BenchError(f"FastSAM needs 'ultralytics' ({error}): run `{INSTALL}`") from error


@contextmanager
def _functions_unchanged() -> Iterator[None]:
    """Put back the functions of other packages that `ultralytics` replaces as it is imported."""
    modules = {name: importlib.import_module(name) for name in _REPLACED}
    before = [
        (modules[module], name, getattr(modules[module], name)) for module in _REPLACED for name in _REPLACED[module]
    ]
    try:
        yield
    finally:
        for module, name, function in before:
            setattr(module, name, function)


def fastsam_micro() -> nn.Module:
    """Build the untrained network of micro FastSAM: YOLOv8-seg with a few channels and one class.

    Its `loss` has ultralytics' published gains and takes a mask for each object, since those of parts lie inside
    those of wholes.
    """
    tasks, cfg = ultralytics("ultralytics.nn.tasks"), ultralytics("ultralytics.cfg")
    layers = {**tasks.yaml_model_load("yolov8-seg.yaml"), **_MICRO}
    layers["head"][-1][-1] = ["nc", _PROTOTYPES, _PROTOTYPE_CHANNELS]
    network: nn.Module = tasks.SegmentationModel(layers, verbose=False)
    network.names = {0: "object"}  # type: ignore[assignment]
    network.args = cfg.get_cfg(overrides={"task": "segment", "overlap_mask": False})
    return network


def need_ultralytics() -> None:
    """Raise if `ultralytics` is not installed, without importing it.

    Raises:
        BenchError: with what to install.
    """
    if importlib.util.find_spec("ultralytics") is None:
        raise BenchError(f"FastSAM needs 'ultralytics': run `{INSTALL}`")


@contextmanager
def threads_unchanged() -> Iterator[None]:
    """Undo that `ultralytics` sets torch's threads to one less than the cores whenever it chooses a device."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
