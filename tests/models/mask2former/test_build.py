"""The configuration is mmsegmentation's own for ADE20K, but for the backbone and what section 4.2 says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

mmseg = pytest.importorskip("mmseg", reason="the extra `semantic` is not installed")

from bench.training.runs import MICRO, RUNS  # noqa: E402
from models.mask2former.build import MICRO_CLASSES, TI, B, S, mask2former_micro  # noqa: E402  # noqa: E402
from models.mask2former.config import network_config  # noqa: E402
from models.mask2former.train import BACKBONE_FIXED, optimizer_config  # noqa: E402
from models.sami.build import MICRO_SIZES  # noqa: E402
from models.sami.encoder import ViTEncoder  # noqa: E402
from models.training.recipes import SEMANTIC_MICRO, SEMANTIC_PAPER, SemanticRecipe  # noqa: E402

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
    ours = optimizer_config(replace(recipe, precision="no"))
    their = config["optim_wrapper"].to_dict()
    assert their["optimizer"].pop("eps") == 1e-8  # torch's default
    spared = [("paramwise_cfg", "custom_keys", key) for key in sorted(BACKBONE_FIXED)]
    assert differences(ours, their) == [("optimizer", "lr"), *spared]  # their ResNet has batch norms, which are frozen
    assert ours["optimizer"]["lr"] == 2e-4
    assert recipe.steps == config["param_scheduler"][0]["end"] == 160_000
    assert recipe.images_per_step == 16
    assert (recipe.crop_size, recipe.scales) == (512, (0.5, 2.0))


@pytest.mark.parametrize("recipe", [SEMANTIC_PAPER, SEMANTIC_MICRO])
def test_norms_and_positions_do_not_decay_unless_the_recipe_says_so(recipe: SemanticRecipe) -> None:
    """Mask2Former's train_net.py: 0 for norms and embeddings, biases as weights, the backbone at its own rate.

    The pixel decoder's encoding of levels, an embedding in mmdet, is a plain parameter there, which decays.
    """
    from mmengine.optim import build_optim_wrapper

    network = mask2former_micro(embed_dim=32, depth=12, num_heads=2)
    wrapper = build_optim_wrapper(network, optimizer_config(replace(recipe, precision="no")))
    groups = {id(one): group for group in wrapper.optimizer.param_groups for one in group["params"]}
    kinds = (nn.LayerNorm, nn.GroupNorm, nn.Embedding)
    for module_name, module in network.named_modules():
        for own_name, parameter in module.named_parameters(recurse=False):
            name, backbone = f"{module_name}.{own_name}", module_name.startswith("backbone")
            fixed = own_name == "pos_embed" or (isinstance(module, kinds) and "level_encoding" not in name)
            fixed &= not (backbone and recipe.backbone_norms_decay)
            rate = recipe.learning_rate * (recipe.backbone_multiplier if backbone else 1.0)
            group = groups[id(parameter)]
            assert group["weight_decay"] == (0.0 if fixed else recipe.weight_decay), name
            assert group["lr"] == pytest.approx(rate), name


def test_notes_of_table_3_say_what_the_paper_leaves_open_and_how_micro_segmenters_depart_from_it() -> None:
    from models.mask2former.cards import CARDS

    whys = {card.name: card.note for card in CARDS}
    assert "no weight decay of norms and positions" in whys["mask2former-sami-ti"]
    assert "with weight decay of its norms and positions" in whys["mask2former-sami-ti-micro"]


def test_paper_sizes_are_those_of_the_vits() -> None:
    assert [(s.embed_dim, s.depth, s.num_heads) for s in (TI, S, B)] == [(192, 12, 3), (384, 12, 6), (768, 12, 12)]


def test_micro_runs_start_from_encoders_of_their_size_with_equal_budgets() -> None:
    from models.mask2former.backbone import load_pretrained

    runs = {name: run for name, run in RUNS.items() if name.startswith("mask2former-") and run.scale is MICRO}
    assert set(runs) == {f"mask2former-{e}-micro" for e in ("mae-ti", "sami-ti", "mae-s", "sami-s", "scratch-ti")}
    for name, run in runs.items():
        assert run.start == name.removeprefix("mask2former-")
        assert run.recipe is SEMANTIC_MICRO
        network = run.build()
        assert network.sizes.classes == MICRO_CLASSES
        size = "ti" if "-ti-" in name else "s"
        load_pretrained(network.backbone, ViTEncoder(**MICRO_SIZES[size]).state_dict(), name=name)
