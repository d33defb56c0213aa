"""Exports of micro models, each made once."""

import shutil
from functools import cache
from pathlib import Path

import pytest

from models import zoo
from models.exports import export
from models.exports.record import DATA

WRITE, INLINE = export._write, export.INLINE


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Return a function that gives the folder with a model's fp32 export."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)

    @cache
    def folder(name: str) -> Path:
        made = tmp_path_factory.mktemp("exports")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(export, "_write", WRITE)
            patch.setattr(export, "INLINE", INLINE)
            export.export_onnx(zoo.load(name), zoo.card(name), made)
        return made

    return folder


@pytest.fixture
def traced_before(exported, monkeypatch):
    """Let exports take the graphs of an export that was made before: tracing takes ten seconds."""

    def write(graph, inputs, names, shapes, path: Path) -> None:
        name, role = path.name.removesuffix(".onnx").split(".")[0], path.name.split(".")[-2]
        made = exported(name) / f"{name}.{role}.onnx"
        if export.INLINE:
            shutil.copyfile(made, path)
        else:
            import onnx

            onnx.save_model(onnx.load(made), path, save_as_external_data=True, location=path.name + DATA)

    monkeypatch.setattr(export, "_write", write)
