"""`bench probe` scores an encoder on dead leaves, and on ImageNet where it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bench.cli import probe as command
from models.errors import BenchError
from models.sami.encoder import ViTEncoder


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    save_file(ViTEncoder(img_size=32, patch_size=8, embed_dim=16, depth=1, num_heads=2).state_dict(), path)
    return path


class Blobs:
    """Photos of one colour, which is their class."""

    def __init__(self, count: int) -> None:
        self.labels = np.arange(count) % 4

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> np.ndarray:
        noise = np.random.default_rng(index).integers(0, 20, (36, 36, 3))
        return (noise + 60 * self.labels[index] * np.array([1, 0, 1])).astype(np.uint8)


def blobs(train_images: int, held_out_images: int) -> tuple[command.Labelled, command.Labelled]:
    known, asked = Blobs(40), Blobs(30)
    return (
        command.Labelled(known.__getitem__, known.labels, command._some(40, train_images)),
        command.Labelled(asked.__getitem__, asked.labels, command._some(30, held_out_images)),
    )


def test_colours_are_told_apart_by_any_encoder(
    encoder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "dead_leaves", blobs)
    command.probe(encoder, heads=2, train_images=20, held_out_images=10)
    said = capsys.readouterr().out
    assert "20 images to learn from, 10 held out (dead leaves, micro scale)" in said
    knn = next(line for line in said.splitlines() if "k-NN" in line)
    linear = next(line for line in said.splitlines() if "linear" in line)
    assert "100.0% [100.0%, 100.0%]" in knn
    assert "100.0% [100.0%, 100.0%]" in linear


def test_held_out_dead_leaves_are_those_of_table_1(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.data.dead_leaves.imagenet import VAL_SEED, ObjectScenes, draw_object_scene

    monkeypatch.setattr(command, "labelled_images", lambda count: ObjectScenes(np.zeros((count, 1)), np.zeros(count)))
    _, asked = command.dead_leaves(1, 1600)
    image, label = draw_object_scene(VAL_SEED, 37)
    np.testing.assert_array_equal(asked[37], image)
    assert label == asked.labels[37]


def test_images_are_drawn_once_and_no_more_than_there_are() -> None:
    assert command._some(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert len(set(command._some(100, 10).tolist())) == 10
    with pytest.raises(BenchError, match="needs images"):
        command._some(5, 0)
