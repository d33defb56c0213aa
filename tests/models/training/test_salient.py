"""The `salient` stage: cross-entropy of all seven maps, and that it teaches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bench.data.dead_leaves.salient import draw_salient_scene
from models.training.recipes import SALIENT_MICRO
from models.training.salient import salient_stage
from models.u2net.cards import MICRO_SIDE, u2netp_micro
from models.u2net.maps import network_input
from models.u2net.network import MAPS


@pytest.fixture(scope="module")
def batch() -> dict[str, np.ndarray]:
    pairs = [draw_salient_scene(99, index) for index in range(4)]
    images = np.stack([image.transpose(2, 0, 1) for image, _ in pairs])
    return {"images": images, "masks": np.stack([mask for _, mask in pairs])}


def test_the_loss_is_the_published_sum_of_seven_cross_entropies(batch: dict[str, np.ndarray]) -> None:
    torch.manual_seed(0)
    network = u2netp_micro().eval()
    losses = salient_stage(SALIENT_MICRO)(network, batch, torch.Generator())
    pixels = network_input(torch.from_numpy(batch["images"]), MICRO_SIDE)
    cell = 256 // MICRO_SIDE
    shares = batch["masks"].reshape(4, MICRO_SIDE, cell, MICRO_SIDE, cell).mean((2, 4))
    truth = torch.from_numpy(shares).float()
    each = [F.binary_cross_entropy(probability, truth) for probability in network(pixels).sigmoid().unbind(1)]
    assert len(each) == MAPS
    torch.testing.assert_close(losses["loss"], torch.stack(each).sum())
    torch.testing.assert_close(losses["fused"], each[0].detach())


def test_it_is_trained_at_the_size_at_which_it_is_asked() -> None:
    assert SALIENT_MICRO.side == MICRO_SIDE


def test_a_few_scenes_are_learned(batch: dict[str, np.ndarray]) -> None:
    torch.manual_seed(0)
    network, stage = u2netp_micro().train(), salient_stage(SALIENT_MICRO)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0)
    found = []
    for _ in range(30):
        losses = stage(network, batch, torch.Generator())
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        found.append(losses["loss"].item())
    assert found[-1] < 0.4 * found[0]
