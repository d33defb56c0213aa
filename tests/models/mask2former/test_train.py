"""Training through mmengine: what is learned, what is logged, and a resumed run that ends in the same bits."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("mmseg", reason="the extra `semantic` is not installed")

from models.errors import BenchError
from models.mask2former.resume import load_weights, newest, semantic_steps_done
from models.mask2former.train import as_samples, train_semantic
from tests.models.hostile import KINDS, hostile
from tests.models.mask2former.toys import toy_batches, toy_network, toy_photos, toy_recipe

ROOT = Path(__file__).resolve().parents[3]


class Killed(Exception):
    pass


class Dying:
    """Batches until a step, as a process that is killed before it."""

    def __init__(self, batches, last: int) -> None:
        self.batches, self.last = batches, last

    def __getitem__(self, step: int):
        if step > self.last:
            raise Killed
        return self.batches[step]


@pytest.fixture(scope="module")
def photos():
    return toy_photos()


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory: pytest.TempPathFactory):
    """A run that was left alone: its weights and folder."""
    out = tmp_path_factory.mktemp("whole")
    advanced: list[int] = []
    network = train_semantic(
        toy_network(), toy_batches(photos, toy_recipe()), toy_recipe(), out, advance=advanced.append
    )
    assert sum(advanced) == 6
    return network, out


def test_a_resumed_run_ends_in_the_same_bits(photos, whole, tmp_path) -> None:
    recipe = toy_recipe()
    batches = toy_batches(photos, recipe)
    with pytest.raises(Killed):
        train_semantic(toy_network(), Dying(batches, 4), recipe, tmp_path)
    assert semantic_steps_done(tmp_path) == 4
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    resumed = train_semantic(toy_network(seed=9), batches, recipe, tmp_path)
    network, out = whole
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in network.state_dict().items())
    lines = [
        [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()] for folder in (out, tmp_path)
    ]
    assert [line["step"] for line in lines[0]] == [0, 5]
    for one, other in zip(*lines, strict=True):
        assert {k: v for k, v in one.items() if "second" not in k} == {
            k: v for k, v in other.items() if "second" not in k
        }


def test_a_checkpoint_cut_short_is_passed_over(photos, whole, tmp_path) -> None:
    recipe = toy_recipe()
    with pytest.raises(Killed):
        train_semantic(toy_network(), Dying(toy_batches(photos, recipe), 4), recipe, tmp_path)
    content = (tmp_path / "iter_4.pth").read_bytes()
    (tmp_path / "iter_4.pth").write_bytes(content[: len(content) // 2])
    assert newest(tmp_path) == tmp_path / "iter_2.pth"
    resumed = train_semantic(toy_network(), toy_batches(photos, recipe), recipe, tmp_path)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole[0].state_dict().items())


@pytest.fixture
def stopped(whole, tmp_path: Path) -> Path:
    """A copy of the run with its last two checkpoints, of four and six steps."""
    return Path(shutil.copytree(whole[1], tmp_path / "stopped"))


DAMAGE = {
    "missing": lambda content: None,
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "zeroed": lambda content: bytes(len(content)),
    "a hole": lambda content: content[:20_000] + bytes(4096) + content[24_096:],
    "flipped": lambda content: content[:20_000] + bytes([content[20_000] ^ 1]) + content[20_001:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over_with_a_word_and_two_are_refused(stopped, capsys, damage: str) -> None:
    for name, rest in (("iter_6.pth", "iter_4.pth"), ("iter_4.pth", None)):
        path = stopped / name
        content = DAMAGE[damage](path.read_bytes())
        path.unlink() if content is None else path.write_bytes(content)
        if rest:
            assert newest(stopped) == stopped / rest
            assert f"{name}' is" in capsys.readouterr().err
    with pytest.raises(BenchError, match=r"iter_6\.pth' is (missing|not as it was written).*begin again"):
        newest(stopped)


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_that_asks_to_run_code_is_refused(stopped, kind: str) -> None:
    evil, asks = hostile(stopped / "ran")[kind]
    torch.save({"state_dict": {}, "optimizer": evil}, stopped / "iter_6.pth")
    for ask in (
        lambda: train_semantic(toy_network(), None, toy_recipe(), stopped),
        lambda: load_weights(None, stopped),
    ):
        with pytest.raises(BenchError, match=rf"asks to run code as it is read \({asks}"):
            ask()
    assert not (stopped / "ran").exists()


def test_every_part_is_trained_and_the_backbone_slower(whole) -> None:
    before, after = toy_network().state_dict(), whole[0].state_dict()
    still = [name for name, value in before.items() if torch.equal(value, after[name])]
    assert still == ["decode_head.cls_embed.bias"] or not still, still


def test_a_finished_run_is_loaded_and_left_alone(whole) -> None:
    network, out = whole
    before = (out / "log.jsonl").read_bytes()
    exported, trained_again = toy_network(seed=9), toy_network(seed=9)
    load_weights(exported, out)
    train_semantic(trained_again, Dying(None, -1), toy_recipe(), out)
    for other in (exported, trained_again):
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in network.state_dict().items())
    assert (out / "log.jsonl").read_bytes() == before


def test_another_recipe_in_the_same_folder_is_an_error(photos, whole) -> None:
    recipe = toy_recipe(learning_rate=1e-5, steps=9)
    with pytest.raises(BenchError, match="made by another recipe: name another"):
        train_semantic(toy_network(), toy_batches(photos, recipe), recipe, whole[1])


def test_a_folder_without_checkpoints_cannot_be_exported(tmp_path) -> None:
    with pytest.raises(BenchError, match="has no checkpoint: train first"):
        load_weights(torch.nn.Linear(1, 1), tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run(photos, tmp_path) -> None:
    network = toy_network()
    network.decode_head.query_feat.weight.data.fill_(float("inf"))
    recipe = toy_recipe()
    with pytest.raises(BenchError, match=r"the loss of step 0 in .* is not finite: lower the learning rate"):
        train_semantic(network, toy_batches(photos, recipe), recipe, tmp_path)


def test_ignored_pixels_do_not_train(photos) -> None:
    """Whatever is in the pixels' classes where nothing is known, targets are the same masks."""
    network = toy_network()
    classes = np.full((1, 64, 64), 255, np.uint8)
    classes[0, :20] = 3
    batch = {"images": np.zeros((1, 3, 64, 64), np.uint8), "classes": classes}
    data = network.data_preprocessor(as_samples(batch), True)
    (instances,), _ = network.decode_head._seg_data_to_instance_data(data["data_samples"])
    assert instances.labels.tolist() == [3]
    assert instances.masks.sum() == 20 * 64


@pytest.mark.parametrize("labelled", [0, 1])
def test_photos_without_any_class_train_without_harm(labelled) -> None:
    network = toy_network()
    classes = np.full((2, 64, 64), 255, np.uint8)
    classes[:labelled] = 3
    batch = {"images": np.zeros((2, 3, 64, 64), np.uint8), "classes": classes}
    data = network.data_preprocessor(as_samples(batch), True)
    loss, _ = network.parse_losses(network(**data, mode="loss"))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in network.parameters())


def test_two_processes_see_different_batches_and_end_in_the_same_weights(tmp_path: Path) -> None:
    """As torchrun starts them; each process takes every second batch, and gradients are averaged."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    script = str(Path(__file__).with_name("few_steps.py"))
    done = subprocess.run(
        [sys.executable, script, str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert [(tmp_path / f"process{rank}.txt").read_text() for rank in (0, 1)] == ["0 2 4", "1 3 5"]
    first, second = (load_file(tmp_path / f"process{rank}.safetensors") for rank in (0, 1))
    untrained = toy_network().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], untrained[name]) for name in first)
