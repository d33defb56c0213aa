"""YOLOv8-seg at 256 px, and `ultralytics` imported without side effects."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.errors import BenchError
from models.fastsam.segmenter import micro_segmenter
from models.fastsam.yolo import fastsam_micro, need_ultralytics, ultralytics
from tests.models.recipe import image

ROOT = Path(__file__).resolve().parents[3]
needs_ultralytics = pytest.mark.skipif(
    importlib.util.find_spec("ultralytics") is None, reason="the extra `fastsam` is not installed"
)

WITHOUT_A_TRACE = """
import os, cv2, numpy as np, torch
from PIL import Image
from models.fastsam.yolo import fastsam_micro
before = Image.open, cv2.imread, cv2.imwrite, cv2.imshow, torch.save, torch.load
fastsam_micro()
assert before == (Image.open, cv2.imread, cv2.imwrite, cv2.imshow, torch.save, torch.load)
from ultralytics.utils import ONLINE, checks
assert not ONLINE and not checks.AUTOINSTALL
assert str(np.array([0.5])) == "[0.5]"
"""


@needs_ultralytics
def test_the_package_leaves_no_trace(tmp_path: Path) -> None:
    """No file, no word, no network, no pip, numbers printed as before, nobody's functions replaced."""
    home = tmp_path / "home"
    home.mkdir()
    own = {"HOME": str(home), "TMPDIR": str(home), "XDG_CONFIG_HOME": str(home / "config"), "PYTHONPATH": str(ROOT)}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("YOLO_")}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_TRACE],
        cwd=home,
        env={**inherited, **own, "MPLCONFIGDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(home.rglob("*")) == []


@needs_ultralytics
def test_the_network_finds_one_class_at_three_strides_and_fits_into_the_repository() -> None:
    network = fastsam_micro()
    assert network.names == {0: "object"}
    assert network.stride.tolist() == [8, 16, 32]
    assert sum(parameter.numel() for parameter in network.parameters()) < 300_000
    boxes, prototypes = network.eval()(torch.zeros(1, 3, 256, 256))[0]
    assert boxes.shape == (1, 4 + 1 + 16, 32**2 + 16**2 + 8**2)
    assert prototypes.shape == (1, 16, 64, 64)


@needs_ultralytics
def test_a_segmenter_changes_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(ultralytics("ultralytics.utils.torch_utils"), "NUM_THREADS", before + 1)  # what it would set
    micro_segmenter(fastsam_micro(), name="fastsam-micro").embed([image(64, 64)])
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("how", [fastsam_micro, need_ultralytics, lambda: ultralytics("ultralytics.nn.tasks")])
def test_without_the_package_the_error_says_what_to_install(how, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "ultralytics"]:
        monkeypatch.delitem(sys.modules, name)
    found = importlib.util.find_spec
    monkeypatch.setitem(sys.modules, "ultralytics", None)  # an import of it fails
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ultralytics" else found(name))
    with pytest.raises(BenchError, match=r'pip install "efficientsam-bench\[fastsam\]"'):
        how()
