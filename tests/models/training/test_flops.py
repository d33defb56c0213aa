"""A dry run counts what a run would compute: by hand for the student, and the same on every device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bench.training.cost import Estimate, estimate, hours_of
from models.sami.encoder import ViTEncoder
from models.sami.network import MaskedAutoencoder
from models.training.flops import student_flops, teacher_flops
from models.training.masked import masked_stage
from models.training.recipes import SAMI_PAPER

C, DEPTH, D, DECODER_DEPTH, WIDTH, N, V, PATCH = 24, 2, 32, 3, 10, 16, 4, 16
RECIPE = replace(SAMI_PAPER, steps=30, images_per_step=20)


def network(decoder: Any = "masked") -> MaskedAutoencoder:
    encoder = ViTEncoder(img_size=4 * PATCH, patch_size=PATCH, embed_dim=C, depth=DEPTH, num_heads=2)
    return MaskedAutoencoder(
        encoder,
        target_dim=WIDTH,
        decoder=decoder,
        decoder_dim=D,
        decoder_depth=DECODER_DEPTH,
        decoder_heads=4,
    )


class Counted(NamedTuple):
    student: int
    teacher: int
    run: Estimate


def cost(student: MaskedAutoencoder | None = None, recipe: Any = RECIPE, teacher: Any = None) -> Counted:
    student = student or network()
    size, device = 4 * PATCH, student.mask_token.device
    batch = {"images": np.zeros((1, 3, size, size), np.uint8), "features": np.zeros((1, N, WIDTH), np.float16)}
    flops = student_flops(student, masked_stage(recipe, None), batch)
    of_teacher = teacher_flops(teacher, size, device) if teacher else 0
    return Counted(flops, of_teacher, estimate(recipe, flops, of_teacher, images=200))


def linear(tokens: int, wide: int, out: int) -> int:
    return 2 * tokens * wide * out


def block(tokens: int, keys: int, width: int) -> int:
    """Return a block's forward operations: `tokens` are updated and see `keys` besides themselves."""
    projections = linear(tokens, width, 4 * width) + linear(keys, width, 2 * width)  # q, k, v and out; k, v
    attention = 2 * linear(tokens, width, tokens + keys)
    return projections + attention + 2 * linear(tokens, width, 4 * width)


def by_hand(decoder: str) -> int:
    """Return forward and backward: twice the forward again, but for the pixels, which need no gradient."""
    patches = linear(N, 3 * PATCH**2, C)
    encoder = DEPTH * block(1 + V, 0, C) + linear(1 + V, C, D)
    decode = block(N - V, 1 + V, D) if decoder == "masked" else block(1 + N, 0, D)
    return 2 * patches + 3 * (encoder + DECODER_DEPTH * decode + linear(N, D, WIDTH))


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("decoder", ["masked", "all"])
def test_a_student_costs_what_its_layers_cost(device: str, decoder: str) -> None:
    found = cost(student=network(decoder).to(device), recipe=replace(RECIPE, decoder=decoder))
    assert found.student == by_hand(decoder)
    assert found.teacher == found.run.teacher_images == 0


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_teacher_costs_one_forward_pass(device: str) -> None:
    weight = torch.zeros(3 * PATCH**2, 7, device=device)

    def teacher(pixels: torch.Tensor) -> torch.Tensor:
        patches = F.unfold(pixels, PATCH, stride=PATCH).mT @ weight  # [B, N, 7]
        return F.scaled_dot_product_attention(patches[:, None], patches[:, None], patches[:, None])[:, 0]

    found = cost(student=network().to(device), teacher=teacher)
    assert found.teacher == linear(N, 3 * PATCH**2, 7) + 2 * linear(N, 7, N)
    assert found.run == (600, 600, 600 * found.student, 600 * found.teacher)
    cached = cost(student=network().to(device), teacher=teacher, recipe=replace(RECIPE, views=2))
    assert cached.run == (600, 400, 600 * found.student, 400 * found.teacher)


def test_hours_are_those_of_one_gpu() -> None:
    assert hours_of(7.2e15, 2) == pytest.approx(1.0)


def test_counting_leaves_no_gradients() -> None:
    counted = network()
    cost(counted)
    assert all(p.grad is None for p in counted.parameters())
