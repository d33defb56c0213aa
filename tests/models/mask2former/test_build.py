"""The configuration is mmsegmentation's own for ADE20K, but for the backbone and what section 4.2 says."""

from __future__ import annotations

from pathlib import Path

import pytest

mmseg = pytest.importorskip("mmseg", reason="the extra `semantic` is not installed")

from models.mask2former.build import TI, B, S  # noqa: E402
from models.mask2former.config import network_config, optimizer_config  # noqa: E402
from models.mask2former.micro import CLASSES  # noqa: E402
from models.sami.encoder import ViTEncoder  # noqa: E402
from models.training.micro import ENCODERS, MICRO_RUNS  # noqa: E402
from models.training.recipes import SEMANTIC_MICRO, SEMANTIC_PAPER  # noqa: E402

OURS = {("backbone",), ("decode_head", "in_channels")}
DEFAULTS = {"dropout_layer": None, "attn_drop": 0.0, "proj_drop": 0.0, "im2col_step": 64, "norm_cfg": None}
"""What their file says although it is the default."""


def theirs() -> dict:
    from mmengine.config import Config

    name = "mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py"
    return Config.fromfile(Path(mmseg.__file__).parent / ".mim" / "configs" / name, import_custom_modules=False)


def differences(ours, their, place=()) -> list[tuple]:
    if place in OURS:
        return []
    if isinstance(their, dict) and isinstance(ours, dict):
        found = []
        for key in sorted(ours.keys() | their.keys()):
            if key in ours and key in their:
                found += differences(ours[key], their[key], (*place, key))
            elif key not in ours and key in DEFAULTS and their[key] == DEFAULTS[key]:
                continue
            elif (ours.get(key), their.get(key)) != (None, None):
                found.append((*place, key))
        return found
    plain = [
        str(v).removeprefix("mmseg.") if isinstance(v, str) else list(v) if isinstance(v, tuple) else v
        for v in (ours, their)
    ]
    return [] if plain[0] == plain[1] else [place]


def test_the_network_is_mmsegmentation_s_but_for_the_backbone_and_the_order_of_channels() -> None:
    ours, their = network_config(TI, 512), theirs()["model"].to_dict()
    assert differences(ours, their) == [("data_preprocessor", "bgr_to_rgb")]  # we read RGB


def test_the_optimiser_is_mmsegmentation_s_with_the_paper_s_learning_rate() -> None:
    recipe, config = SEMANTIC_PAPER, theirs()
    ours = optimizer_config(
        recipe.learning_rate, recipe.weight_decay, recipe.backbone_multiplier, recipe.clip_norm, "no"
    )
    their = config["optim_wrapper"].to_dict()
    assert their["optimizer"].pop("eps") == 1e-8  # torch's default
    assert differences(ours, their) == [("optimizer", "lr")]
    assert ours["optimizer"]["lr"] == 2e-4
    assert recipe.steps == config["param_scheduler"][0]["end"] == 160_000
    assert recipe.images_per_step == 16
    assert (recipe.crop_size, recipe.scales) == (512, (0.5, 2.0))


def test_paper_sizes_are_those_of_the_vits() -> None:
    assert [(s.embed_dim, s.depth, s.num_heads) for s in (TI, S, B)] == [(192, 12, 3), (384, 12, 6), (768, 12, 12)]


def test_micro_runs_start_from_encoders_of_their_size_with_equal_budgets() -> None:
    from models.mask2former.backbone import load_pretrained

    runs = {name: run for name, run in MICRO_RUNS.items() if name.startswith("mask2former-")}
    assert set(runs) == {f"mask2former-{e}-micro" for e in ("mae-ti", "sami-ti", "mae-s", "sami-s")}
    for name, run in runs.items():
        assert run.start == name.removeprefix("mask2former-")
        assert run.recipe is SEMANTIC_MICRO
        network = run.build()
        assert network.sizes.classes == CLASSES
        size = "ti" if "-ti-" in name else "s"
        load_pretrained(network.backbone, ViTEncoder(**ENCODERS[size]).state_dict(), name=name)
