"""Detectors are optimised as detectron2's mask_rcnn_vitdet_b_100ep is, parameter by parameter."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.optim import AdamW

from models.training.optimizers import optimizers_of
from models.training.recipes import DETECT_MICRO, DETECT_PAPER
from models.vitdet import cards as detectors
from models.vitdet.build import vitdet, vitdet_micro
from models.vitdet.network import VitDet

BLOCKS = 12


@pytest.fixture(scope="module")
def network() -> VitDet:
    with torch.device("meta"):
        return vitdet("ti", img_size=64)


def published(ours: str) -> tuple[float, float]:
    """Weight decay and learning rate of a parameter, told by its name in detectron2 (commit 02b5c4e).

    `get_default_optimizer_params` with weight_decay_norm=0, and `get_vit_lr_decay_rate` with 0.7. Norms are those of
    torch's own class, the ViT's: the LayerNorm of pyramid and heads is detectron2's own and not among them.
    """
    name = ours.replace("backbone.", "backbone.net.", 1).replace("pyramid.levels.", "backbone.simfp_", 1)
    layer = BLOCKS + 1
    if name.startswith("backbone"):
        if ".pos_embed" in name or ".patch_embed" in name:
            layer = 0
        elif ".blocks." in name:
            layer = int(name[name.find(".blocks.") :].split(".")[2]) + 1
    fixed = name.endswith("pos_embed") or ".norm1." in name or ".norm2." in name
    return (0.0 if fixed else 0.1), 2e-4 * 0.7 ** (BLOCKS + 1 - layer)


def settings(network: VitDet, optimizer: AdamW) -> dict[str, tuple[float, float]]:
    """Weight decay and learning rate of each parameter by name."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = [(group, one) for group in optimizer.param_groups for one in group["params"]]
    assert len(groups) == len(names)
    return {names[id(one)]: (group["weight_decay"], group["lr"]) for group, one in groups}


def test_each_parameter_decays_and_learns_as_in_detectron2(network: VitDet) -> None:
    (optimizer,) = optimizers_of(network, DETECT_PAPER)
    found = settings(network, optimizer)
    assert found == {name: (published(name)[0], pytest.approx(published(name)[1], rel=1e-12)) for name in found}
    assert found["backbone.pos_embed"][0] == found["backbone.blocks.3.norm1.weight"][0] == 0
    assert found["backbone.blocks.3.attn.qkv.bias"][0] == found["pyramid.levels.p4.1.1.weight"][0] == 0.1


def test_without_layer_decay_all_learn_at_the_same_rate(network: VitDet) -> None:
    (optimizer,) = optimizers_of(network, replace(DETECT_PAPER, layer_decay=None))
    assert {rate for _, rate in settings(network, optimizer).values()} == {2e-4}


def test_what_is_frozen_is_not_optimised() -> None:
    small = vitdet("ti", img_size=64)
    small.backbone.requires_grad_(False)
    (optimizer,) = optimizers_of(small, DETECT_PAPER)
    optimised = {id(one) for group in optimizer.param_groups for one in group["params"]}
    assert not optimised & {id(one) for one in small.backbone.parameters()}


def test_micro_detectors_decay_matrices_alone_as_their_recipe_says() -> None:
    micro = vitdet_micro({"embed_dim": 32, "depth": 4, "num_heads": 2}, classes=3)
    adam, muon = optimizers_of(micro, DETECT_MICRO)
    for group in (*adam.param_groups, *muon.param_groups):
        assert all((group["weight_decay"] > 0) == (one.ndim >= 2) for one in group["params"])


def test_notes_of_table_2_say_what_the_paper_leaves_open_and_how_micro_detectors_depart_from_it() -> None:
    whys = {card.name: card.note for card in detectors.CARDS}
    assert "layer decay 0.7" in whys["vitdet-sami-ti"]
    assert "zeros beside photos" in whys["vitdet-sami-ti"]
    for said in ("one learning rate", "weight decay on matrices alone", "grey beside photos"):
        assert said in whys["vitdet-sami-ti-micro"]
