"""Each parameter has the learning rate and the decay that its recipe says, at every step."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from models.micro import efficientsam_ti_micro
from models.training.optimizers import optimizers_of, rate_at
from models.training.promptable import PromptableTrainer
from models.training.recipes import MAE_PAPER, PROMPTABLE_MICRO, Recipe

RECIPE = Recipe(steps=12, images_per_step=4, learning_rate=0.05, weight_decay=0.1, warmup_steps=3)


@pytest.mark.parametrize("schedule, at_half", [("linear", 0.5), ("cosine", 0.5 * (1 - math.cos(math.pi * 0.5)))])
def test_the_learning_rate_warms_up_and_falls_to_zero(schedule: Any, at_half: float) -> None:
    recipe = replace(RECIPE, schedule=schedule, warmup_steps=10, steps=110)
    rates = [rate_at(step, recipe) for step in range(111)]
    assert rates[:10] == pytest.approx(np.arange(10) / 10)
    assert rates[10] == 1
    assert rates[60] == pytest.approx(at_half)
    assert rates[110] == pytest.approx(0, abs=1e-12)
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))
    if schedule == "cosine":
        assert rates[35] == pytest.approx(0.5 + 0.5 * math.cos(math.pi / 4))


def test_a_warm_up_may_begin_a_step_ahead_as_micro_models_were_trained() -> None:
    recipe = replace(RECIPE, warmup_steps=10, warmup_ahead=1)
    assert [rate_at(step, recipe) for step in range(10)] == pytest.approx(np.arange(1, 11) / 10)


def test_rates_are_those_of_mae_s_code() -> None:
    """Its util/lr_sched.py at commit efb2a80, without a least rate; steps and epochs are in proportion."""
    recipe = replace(MAE_PAPER, steps=400, warmup_steps=40)
    for step in range(400):
        published = step / 40 if step < 40 else 0.5 * (1.0 + math.cos(math.pi * (step - 40) / (400 - 40)))
        assert rate_at(step, recipe) == pytest.approx(published, abs=1e-12)


def test_a_pretrained_encoder_learns_at_its_share_of_the_rate() -> None:
    trainer = PromptableTrainer(efficientsam_ti_micro())
    recipe = replace(PROMPTABLE_MICRO, encoder_multiplier=0.25)
    encoder = {id(p) for n, p in trainer.network.image_encoder.named_parameters() if not n.startswith("neck.")}
    seen = set()
    for optimizer, rate in zip(optimizers_of(trainer, recipe), (2e-3, 6e-3), strict=True):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                assert group["lr"] == (0.25 * rate if id(parameter) in encoder else rate)
                assert group["weight_decay"] == (0.05 if parameter.ndim > 1 else 0.0)
                seen.add(id(parameter))
    assert seen == {id(parameter) for parameter in trainer.parameters() if parameter.requires_grad}
