"""U²-Net and U²-Net-p against the published code, with the same weights from a recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.errors import BenchError
from models.u2net import cards
from models.u2net.maps import MEAN, SIDE, STD, as_map, network_input, saliency_map
from models.u2net.network import MAPS, U2Net, u2net, u2netp
from tests.models.recipe import fill, image, value

TOLERANCE = 1e-5
"""Absolute, of probabilities: float32 sums in another order."""
NETWORKS = {"u2net": u2net, "u2netp": u2netp}


def state_of(shared: Path, name: str) -> dict[str, torch.Tensor]:
    """Return the published model's state dict, from the recipe."""
    manifest = json.loads((shared / "golden" / f"{name}.manifest.json").read_text())
    return {
        entry: torch.from_numpy(value(entry, shape)) if kind == "float32" else torch.zeros(shape, dtype=torch.int64)
        for entry, shape, kind in manifest
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_all_seven_maps_are_those_of_the_published_code(shared: Path, name: str) -> None:
    golden: Any = np.load(shared / "golden" / f"{name}.npz")
    network = NETWORKS[name]()
    network.load_state_dict(state_of(shared, name))
    photo = torch.from_numpy(image(SIDE, SIDE, int(golden["image_seed"]))).permute(2, 0, 1)[None]
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    pixels = (photo / 255 - mean) / std  # the golden divided by 255, not by the brightest value
    with torch.inference_mode():
        maps = network.eval()(pixels).sigmoid()[0, :, ::4, ::4]
    assert len(maps) == MAPS
    for place, ours in enumerate(maps):
        np.testing.assert_allclose(ours, golden[f"d{place}"], atol=TOLERANCE)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_checkpoint_in_the_published_layout_loads_as_it_is(shared: Path, tmp_path: Path, name: str) -> None:
    state = state_of(shared, name)
    torch.save(state, tmp_path / f"{name}.pth")
    model = cards.load(name, tmp_path / f"{name}.pth")
    assert model.custom
    ours = model.network.state_dict()
    assert list(ours) == list(state)
    assert all(torch.equal(ours[entry], state[entry]) for entry in state)


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    assert "drive.usercontent.google.com" in cards.available("u2netp")[1]
    torch.save(u2netp().state_dict(), tmp_path / "u2netp.pth")
    with pytest.raises(BenchError, match=r"not the published checkpoint of 'u2netp'"):
        cards.load("u2netp")


def test_an_input_that_no_power_of_two_divides_is_answered_at_its_own_size() -> None:
    network = fill(u2netp(middle=2, output=4))
    assert network(torch.zeros(1, 3, 45, 71)).shape == (1, MAPS, 45, 71)


def test_pixels_are_divided_by_the_brightest_and_normalised_as_imagenet_s() -> None:
    photo = torch.from_numpy(image(SIDE, SIDE)).permute(2, 0, 1)[None] // 2
    whole, half = network_input(photo * 2, SIDE), network_input(photo, SIDE)
    torch.testing.assert_close(whole, half)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    brightest = ((1 - mean) / std).max()
    assert float(half.max()) <= brightest + 1e-6
    black = network_input(torch.zeros(1, 3, 8, 8), 8)
    np.testing.assert_allclose(black[0, :, 0, 0], -mean / std, rtol=1e-6)


def test_photos_are_squashed_as_pillow_s_antialiased_bilinear_filter_does() -> None:
    photo = image(200, 330)
    squashed = np.asarray(Image.fromarray(photo).resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
    ours = network_input(torch.from_numpy(photo).permute(2, 0, 1)[None], SIDE)
    theirs = network_input(torch.from_numpy(squashed).permute(2, 0, 1)[None], SIDE)
    one_grey_level = 1 / 255 / 0.224
    assert float((ours - theirs).abs().max()) < 2 * one_grey_level, "Pillow rounds, ours does not"


def test_a_map_is_stretched_and_has_the_photo_s_size() -> None:
    logits = torch.linspace(-1, 0.5, 64).reshape(8, 8)
    found = as_map(logits, (32, 48))
    assert (found.shape, found.dtype, found.min(), found.max()) == ((32, 48), np.uint8, 0, 255)
    assert (as_map(torch.full((8, 8), 0.3), (32, 48)) == 0).all()
    with pytest.raises(BenchError, match="not finite"):
        as_map(torch.full((8, 8), float("nan")), (32, 48))


def test_a_photo_of_any_shape_has_a_map_of_its_size() -> None:
    network: U2Net = fill(u2netp(middle=2, output=4))  # type: ignore[assignment]
    assert saliency_map(network, image(40, 90), 64).shape == (40, 90)
