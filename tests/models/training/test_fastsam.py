"""The `fastsam` stage: what its losses are told, and that they teach."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.data.dead_leaves import draw_scene
from bench.data.dead_leaves.fastsam import boxes_of, shares_of
from bench.data.dead_leaves.training import TRAINING_SEED
from models.fastsam.yolo import fastsam_micro
from models.training.fastsam import fastsam_stage
from models.training.recipes import FASTSAM_MICRO

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ultralytics") is None, reason="the extra `fastsam` is not installed"
)


def batch(*scenes: int):
    drawn = [draw_scene(TRAINING_SEED, index) for index in scenes]
    masks = [np.stack([scene.mask(number) for number in scene.objects()]) for scene in drawn]
    return {
        "images": np.stack([scene.image.transpose(2, 0, 1) for scene in drawn]),
        "image": np.repeat(np.arange(len(drawn)), [len(one) for one in masks]),
        "boxes": boxes_of(np.concatenate(masks)),
        "masks": shares_of(np.concatenate(masks)),
    }


def ask(network, data, **gains):
    stage = fastsam_stage(network, replace(FASTSAM_MICRO, **gains))
    return stage(network, data, torch.Generator())


def numbers(losses):
    return {name: value.item() for name, value in losses.items()}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return fastsam_micro().train()


def test_the_loss_is_the_sum_of_its_terms_and_gains_weigh_them(network) -> None:
    once = numbers(ask(network, batch(0)))
    assert once["loss"] == pytest.approx(sum(value for name, value in once.items() if name != "loss"), rel=1e-5)
    twice = numbers(ask(network, batch(0), class_gain=2 * FASTSAM_MICRO.class_gain))
    assert twice["class"] == pytest.approx(2 * once["class"], rel=1e-5)
    assert twice["mask"] == pytest.approx(once["mask"], rel=1e-5)


def test_masks_of_parts_and_of_wholes_both_count(network) -> None:
    """Each object has a mask of its own, and another mask of any one of them is another loss of masks alone."""
    data = batch(0)
    before = numbers(ask(network, data))
    for index in range(len(data["masks"])):
        changed = {**data, "masks": data["masks"].copy()}
        changed["masks"][index] = 1 - changed["masks"][index]
        after = numbers(ask(network, changed))
        assert after["mask"] != before["mask"]
        assert after["box"] == before["box"]


def test_an_image_without_objects_teaches_that_there_are_none(network) -> None:
    empty = {name: value[:0] if name != "images" else value for name, value in batch(0).items()}
    losses = ask(network, empty)
    losses["loss"].backward()
    found = numbers(losses)
    assert found["class"] > 0
    assert (found["box"], found["mask"]) == (0, 0)
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_a_scene_is_learned(network) -> None:
    data = batch(0)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=3e-3)
    first = numbers(ask(network, data))
    for _ in range(20):
        losses = ask(network, data)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    last = numbers(losses)
    for name in ("loss", "mask", "class", "distribution"):
        assert last[name] < 0.9 * first[name], name
