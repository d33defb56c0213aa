"""What throws a finished run away: a change of what its model's records are made with, and of nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models import zoo
from protocols import fingerprint
from protocols.fingerprint import ROOT, _reached, code_digest

ASKING = "protocols.table4_prompts"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source."""
    root = tmp_path_factory.mktemp("source")
    for package in fingerprint.OURS:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("*.safetensors", "records"))
    return root


@pytest.fixture
def copy(source: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the source that is asked about, and may be edited for a while."""
    monkeypatch.setattr(fingerprint, "ROOT", source)
    return source


def digest(model: str, asking: str = ASKING) -> str:
    return code_digest({asking, *zoo.modules(model)})


@contextmanager
def edited(path: Path) -> Iterator[None]:
    content = path.read_text()
    path.write_text(content + "\n# edited\n")
    try:
        yield
    finally:
        path.write_text(content)


@pytest.mark.parametrize(
    ("file", "moved"),
    [
        ("models/mobilesam/encoder.py", {"mobilesam", "efficientsam-ti-micro"}),  # micro models are built in one module
        ("models/efficientsam/encoder.py", {"efficientsam-ti", "efficientsam-ti-micro"}),
        ("models/micro.py", {"efficientsam-ti-micro"}),
        ("protocols/prompts/random_clicks.py", {"sam-vit-b", "mobilesam", "efficientsam-ti", "efficientsam-ti-micro"}),
        ("models/segmenter.py", {"sam-vit-b", "mobilesam", "efficientsam-ti", "efficientsam-ti-micro"}),
        ("bench/metrics/iou.py", {"sam-vit-b", "mobilesam", "efficientsam-ti", "efficientsam-ti-micro"}),
        ("models/training/loop.py", set()),
        ("models/vitdet/network.py", set()),
        ("protocols/plan.py", set()),
        ("protocols/table5_prompts.py", set()),
        ("bench/cli/run.py", set()),
    ],
)
def test_an_edit_moves_the_runs_of_what_it_concerns_alone(copy: Path, file: str, moved: set[str]) -> None:
    names = ("sam-vit-b", "mobilesam", "efficientsam-ti", "efficientsam-ti-micro")
    before = {name: digest(name) for name in names}
    with edited(copy / file):
        assert {name for name in names if digest(name) != before[name]} == moved


def test_a_table_s_own_modules_are_part_of_its_runs_alone(copy: Path) -> None:
    before = [digest("sam-vit-b"), digest("sam-vit-b", "protocols.table5_prompts")]
    with edited(copy / "protocols/table5_prompts.py"):
        after = [digest("sam-vit-b"), digest("sam-vit-b", "protocols.table5_prompts")]
    assert (before[0] == after[0], before[1] == after[1]) == (True, False)


@pytest.mark.parametrize("init", [True, False], ids=["package", "namespace"])
def test_editing_a_plug_in_or_raising_its_version_moves_its_runs(tmp_path: Path, monkeypatch, init: bool) -> None:
    package = tmp_path / "theirs_for_fingerprint"
    package.mkdir()
    if init:
        (package / "__init__.py").touch()
    (package / "model.py").write_text("from theirs_for_fingerprint import other\n")
    (package / "other.py").write_text("A = 1\n")
    info = tmp_path / "theirs_for_fingerprint-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs-for-fingerprint\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("theirs_for_fingerprint\n")
    (info / "RECORD").write_text("theirs_for_fingerprint/__init__.py,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    fingerprint._distributions.cache_clear()
    found = [code_digest({ASKING, "theirs_for_fingerprint.model"})]
    (package / "other.py").write_text("A = 2\n")
    found.append(code_digest({ASKING, "theirs_for_fingerprint.model"}))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs-for-fingerprint\nVersion: 1.1\n")
    found.append(code_digest({ASKING, "theirs_for_fingerprint.model"}))
    fingerprint._distributions.cache_clear()
    assert len(set(found)) == 3


def test_editing_a_module_of_one_s_own_that_a_plug_in_imports_moves_its_runs(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "my_factory_for_fingerprint.py").write_text("import my_layers_for_fingerprint\n")
    (tmp_path / "my_layers_for_fingerprint.py").write_text("A = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = code_digest({ASKING, "my_factory_for_fingerprint"})
    (tmp_path / "my_layers_for_fingerprint.py").write_text("A = 2\n")
    assert code_digest({ASKING, "my_factory_for_fingerprint"}) != before


def test_every_module_that_asking_imports_is_reached() -> None:
    """What the source says of imports is held to what Python does."""
    roots = {ASKING, *zoo.modules("mobilesam")}
    script = f"import sys, importlib; [importlib.import_module(m) for m in {sorted(roots)}]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.partition(".")[0] in fingerprint.OURS}
    assert loaded <= _reached(frozenset(roots))[0].keys()
    assert "models.training.loop" not in _reached(frozenset(roots))[0]


def test_versions_of_the_libraries_that_compute_are_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before, real = digest("sam-vit-b"), fingerprint.version
    for library in ("torch", "numpy", "pillow"):
        monkeypatch.setattr(fingerprint, "version", lambda name, of=library: "0" if name.lower() == of else real(name))
        assert digest("sam-vit-b") != before
    assert "models.fastsam.yolo" in _reached(frozenset(zoo.modules("fastsam-x")))[0]
