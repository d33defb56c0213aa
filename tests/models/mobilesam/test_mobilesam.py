"""MobileSAM against the published mobile_sam package, with the same weights from a recipe."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from models.mobilesam.build import mobilesam, official_key_map
from models.sam.network import SamNetwork
from models.sam.segmenter import SamSegmenter
from models.segmenter import Prompts
from tests.models.recipe import fill, image

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it overwrites timm's registered TinyViTs and imports deprecated modules
    from mobile_sam import SamPredictor
    from mobile_sam.build_sam import build_sam_vit_t
    from mobile_sam.modeling.sam import Sam
    from mobile_sam.modeling.tiny_vit_sam import TinyViT

TOLERANCE = 2e-5
"""Of float32 sums in another order: 1e-5 measured on features of magnitude 4."""
ODD = (257, 403)
"""An image size that nothing divides."""
MICRO = {
    "img_size": 256,
    "embed_dims": (16, 32, 40, 48),
    "depths": (1, 1, 2, 1),
    "num_heads": (1, 2, 5, 4),
    "window_sizes": (8, 8, 16, 8),
}


def micro() -> SamNetwork:
    return mobilesam(**MICRO, prompt_dim=32, decoder_heads=4, decoder_mlp_dim=64)


@pytest.fixture(scope="module")
def published() -> Sam:
    return fill(build_sam_vit_t())


def test_names_and_shapes_map_onto_ours_with_nothing_left_over(published: Sam) -> None:
    mapped = official_key_map(published.state_dict())
    assert {name: entry.shape for name, entry in mobilesam().state_dict().items()} == {
        name: entry.shape for name, entry in mapped.items()
    }


def test_only_the_classifier_is_left_out(published: Sam) -> None:
    state = published.state_dict()
    head = {f"image_encoder.{part}.{kind}" for part in ("norm_head", "head") for kind in ("weight", "bias")}
    assert head <= set(state)
    assert len(official_key_map(state)) == len(state) - len(head)
    assert not official_key_map({name: state[name] for name in head})


@pytest.mark.parametrize("training", [False, True])
def test_the_trunk_is_the_published_one_at_any_width(training: bool) -> None:
    # 160, 320: the published code decides by the width of a stage whether to keep its resolution.
    widths = MICRO | {"embed_dims": (16, 32, 40, 320)}
    reference = fill(TinyViT(**widths, num_classes=1, drop_path_rate=0.0)).train(training)
    network = mobilesam(**widths).train(training)
    state = official_key_map({f"image_encoder.{name}": entry for name, entry in reference.state_dict().items()})
    network.load_state_dict(state, strict=False)
    pixels = torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = pixels
        for stage in (reference.patch_embed, *reference.layers):
            expected = stage(expected)
        actual = network.image_encoder.trunk.forward_features(pixels)
    torch.testing.assert_close(actual.flatten(2).mT, expected, rtol=0, atol=TOLERANCE)


def test_loading_weights_after_an_answer_changes_the_next_answer() -> None:
    network, other = micro().eval(), fill(micro())
    pixels = torch.randn(1, 3, 256, 256)
    with torch.inference_mode():
        network.encode(pixels)
        network.load_state_dict(other.state_dict())
        torch.testing.assert_close(network.encode(pixels), other.encode(pixels))


def test_every_weight_of_the_encoder_learns() -> None:
    network = micro().train()
    fill(network).train()
    network.encode(torch.randn(2, 3, 256, 256)).square().mean().backward()
    idle = [name for name, entry in network.image_encoder.named_parameters() if not entry.grad.abs().sum() > 0]
    assert not idle


def test_a_micro_model_answers_at_its_own_size() -> None:
    segmenter = SamSegmenter(fill(micro()), name="micro")
    (embedding,) = segmenter.embed([image(*ODD)])
    logits, iou = segmenter.segment(embedding, Prompts.from_boxes([[10, 20, 200, 150], [0, 0, 50, 50]]))
    assert embedding.features.shape == (32, 16, 16)
    assert logits.shape == (2, 3, 64, 64)
    assert iou.shape == (2, 3)
    assert segmenter.masks(logits, ODD).shape == (2, 3, *ODD)


@pytest.mark.slow
def test_mobilesam_at_full_size_answers_as_the_published_one(published: Sam) -> None:
    network = mobilesam()
    network.load_state_dict(official_key_map(published.state_dict()))
    segmenter, predictor = SamSegmenter(network, name="mobilesam"), SamPredictor(published)
    picture = image(*ODD, seed=3)
    predictor.set_image(picture)
    (embedding,) = segmenter.embed([picture])
    torch.testing.assert_close(embedding.features, predictor.features[0], rtol=0, atol=TOLERANCE)
    points, labels = np.array([[200.0, 120.0], [31.5, 250.0]]), np.array([1, 0])
    box = np.array([40.0, 30.5, 390.0, 200.0])
    corners = np.concatenate([points, box.reshape(2, 2)])[None]
    logits, iou = segmenter.segment(embedding, Prompts(corners, np.array([[1, 0, 2, 3]])))
    upscaled, published_iou, published_logits = predictor.predict(points, labels, box, return_logits=True)
    np.testing.assert_allclose(logits[0], published_logits, rtol=0, atol=1e-4)
    np.testing.assert_allclose(iou[0], published_iou, rtol=0, atol=1e-4)
    certain = np.abs(upscaled) > 1e-4
    assert certain.mean() > 0.999
    masks = segmenter.masks(logits, ODD)[0].numpy()
    np.testing.assert_array_equal(masks[certain], (upscaled > 0)[certain])
