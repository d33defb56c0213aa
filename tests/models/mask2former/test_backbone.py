"""The backbone is the pretrained ViT, whatever the input's size, and ViTDet's pyramid."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.efficientsam.encoder import ImageEncoder
from models.errors import BenchError
from models.mask2former.backbone import STRIDES, PlainViTPyramid, load_pretrained
from models.sami.encoder import ViTEncoder
from tests.models.recipe import fill

SIZES = {"embed_dim": 32, "depth": 2, "num_heads": 2}


def backbone(**changes) -> PlainViTPyramid:
    return PlainViTPyramid(**{**SIZES, "out_channels": 24, **changes})


@pytest.mark.parametrize("side", [224, 256])
def test_the_last_map_equals_efficientsam_s_encoder_with_the_same_weights(side) -> None:
    """Another implementation of the plain ViT with interpolated positions, held to the released code."""
    encoder = fill(ViTEncoder(**SIZES))
    other = ImageEncoder(img_size=side, out_chans=8, **SIZES)
    other.neck = nn.Identity()
    own = backbone().eval()
    load_pretrained(own, encoder.state_dict(), name="x")
    other.load_state_dict({name: value for name, value in own.state_dict().items() if not name.startswith("pyramid.")})
    seen: list[torch.Tensor] = []
    own.pyramid.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        own(pixels)
        torch.testing.assert_close(seen[0], other(pixels), atol=2e-5, rtol=1e-5)


def test_maps_have_the_strides_of_any_input() -> None:
    with torch.no_grad():
        maps = backbone()(torch.zeros(1, 3, 96, 160))
    assert [tuple(found.shape) for found in maps] == [(1, 24, 96 // s, 160 // s) for s in STRIDES]


def test_every_pretrained_entry_is_taken_over() -> None:
    encoder = fill(ViTEncoder(**SIZES))
    own = backbone()
    load_pretrained(own, encoder.half().state_dict(), name="x")
    for name, value in encoder.state_dict().items():
        if name not in ("cls_token", "norm.weight", "norm.bias"):
            torch.testing.assert_close(own.state_dict()[name], value.float(), atol=0, rtol=0)
    assert own.pos_embed.requires_grad


@pytest.mark.parametrize("changes", [{"embed_dim": 48}, {"depth": 3}, {"depth": 1}, {"img_size": 256}])
def test_an_encoder_of_another_size_is_an_error_and_changes_nothing(changes) -> None:
    own = backbone()
    before = {name: value.clone() for name, value in own.state_dict().items()}
    encoder = ViTEncoder(**{**SIZES, **changes})
    with pytest.raises(
        BenchError, match="the encoder sami-x does not fit the backbone, whose ViT is 2 blocks of width"
    ):
        load_pretrained(own, encoder.state_dict(), name="sami-x")
    assert all(torch.equal(before[name], value) for name, value in own.state_dict().items())
