"""`bench train` on the pretended GPU leave the files of the CPU."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from models import zoo
from models.cards import resolve
from models.engines import float32 as engine
from tests.bench.training import test_finetuning, test_pretraining
from tests.gpu.compare import same_bits
from tests.gpu.test_training import as_on_a_gpu, new_accelerator

photos, pretrain = test_pretraining.photos, test_pretraining.run
data, finetune = test_finetuning.data, test_finetuning.run


def files(folder: Path) -> dict[str, bytes]:
    """Return the weights that a command left."""
    return {
        path.name: path.read_bytes() for path in folder.rglob("*.safetensors") if "checkpoint" not in path.parts[-2]
    }


@pytest.fixture
def _teachers(monkeypatch) -> None:
    """Teachers are those of micro size, with random weights."""

    def load(name: str, device: str) -> Any:
        torch.manual_seed(0)
        return SimpleNamespace(network=resolve(zoo.card(name).build)().to(device).eval())

    monkeypatch.setattr(zoo, "load", load)


PRETRAININGS = {
    "mae": ("mae-ti",),
    "sami": ("sami-ti", "--teacher", "sam-micro", "--teacher-input", "224"),
    "sami, features written first": ("sami-ti", "--teacher", "sam-micro", "--features", "features"),
}


@pytest.mark.usefixtures("_teachers")
@pytest.mark.parametrize("name", PRETRAININGS)
def test_pretraining(name, pretrain, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(engine, "_has_no_matrix_units", lambda: False)  # GPUs and CPUs then choose the same products

    def weights(device: str) -> dict[str, bytes]:
        arguments = [f"{word}-{device}" if word == "features" else word for word in PRETRAININGS[name]]
        with new_accelerator(), as_on_a_gpu():
            return files(pretrain(*arguments, out=device))

    same_bits(weights)


@pytest.mark.parametrize("model", ["efficientsam-ti", "sami-ti-classify"])
def test_finetuning(model, finetune, tmp_path) -> None:
    def weights(device: str) -> dict[str, bytes]:
        with new_accelerator(), as_on_a_gpu():
            finetune(model, "--out", str(tmp_path / device), "--encoder", str(encoder))
        return files(tmp_path / device)

    encoder = tmp_path / "training" / "sami-ti" / "weights.safetensors"  # which `finetune` makes
    same_bits(weights)
