"""hf: with SAM's weights, renamed, against our own SAM: masks are equal, tiny and at full size (ViT-B)."""

import re

import numpy as np
import pytest
import torch

from models import zoo
from models.sam.build import sam, sam_vit_b
from models.sam.segmenter import SamSegmenter
from models.segmenter import Prompts
from tests.models.recipe import fill, image

pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
import transformers

from tests.models.specs import tiny

RENAMED = (
    (r"^shared_image_embedding.positional_embedding", "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
    (r"^vision_encoder.patch_embed.projection", "image_encoder.patch_embed.proj"),
    (r"^vision_encoder.layers", "image_encoder.blocks"),
    (r"^vision_encoder.neck.conv1", "image_encoder.neck.0"),
    (r"^vision_encoder.neck.layer_norm1", "image_encoder.neck.1"),
    (r"^vision_encoder.neck.conv2", "image_encoder.neck.2"),
    (r"^vision_encoder.neck.layer_norm2", "image_encoder.neck.3"),
    (r"^vision_encoder", "image_encoder"),
    (r"^prompt_encoder.point_embed\.", "prompt_encoder.point_embeddings."),
    (r"mask_embed.conv1", "mask_downscaling.0"),
    (r"mask_embed.layer_norm1", "mask_downscaling.1"),
    (r"mask_embed.conv2", "mask_downscaling.3"),
    (r"mask_embed.layer_norm2", "mask_downscaling.4"),
    (r"mask_embed.conv3", "mask_downscaling.6"),
    (r"upscale_conv1", "output_upscaling.0"),
    (r"upscale_layer_norm", "output_upscaling.1"),
    (r"upscale_conv2", "output_upscaling.3"),
    (r"layers\.0\.(weight|bias)$", r"layers.1.\1"),
    (r"proj_in\.", "layers.0."),
    (r"proj_out\.", "layers.2."),
    (r"layer_norm(\d|_final_attn)", lambda found: f"norm{found[1]}"),
)
"""Names of transformers' SAM, and those of segment_anything, which ours are; in this order."""


PUBLISHED_EPS = 1e-5
"""Of the decoder's LayerNorm in segment_anything; transformers' own is 1e-6, which moves logits by 1e-4."""


def published_names(state):
    """Return a state dict of transformers' SAM under the published names; what stands in it twice, once."""
    renamed = {}
    for name, entry in state.items():
        if name == "prompt_encoder.shared_embedding.positional_embedding":
            continue
        for pattern, instead in RENAMED:
            name = re.sub(pattern, instead, name)
        renamed[name] = entry
    return renamed


def pair(folder, config, network):
    """Return our SAM and transformers', with the same weights from a recipe."""
    theirs = fill(transformers.SamModel(config))
    theirs.save_pretrained(folder)
    network.load_state_dict(published_names(theirs.state_dict()))
    return SamSegmenter(network, name="ours"), zoo.load(f"hf:{folder}")


def check(ours, theirs, photo, close):
    """Compare answers to boxes and clicks, alone and refined by a mask; logits within `close`."""
    height, width = photo.shape[:2]
    assert torch.equal(ours.preprocess(photo), theirs.preprocess(photo))
    embeddings = [segmenter.embed([photo])[0] for segmenter in (ours, theirs)]
    boxes = Prompts.from_boxes([[0.1 * width, 0.2 * height, 0.7 * width, 0.9 * height], [3, 2, width - 5, height - 9]])
    clicks = Prompts(np.array([[[0.3, 0.4], [0.6, 0.5]]]) * [width, height], [[1, 0]])
    for prompts in (boxes, clicks):
        for multimask in (True, False):
            first, second = (
                segmenter.segment(embedding, prompts, multimask=multimask)
                for segmenter, embedding in zip((ours, theirs), embeddings, strict=True)
            )
            same(ours, first, second, photo, close)
        again = Prompts(prompts.points, prompts.labels, first.logits[:, 0])
        same(ours, *(one.segment(e, again) for one, e in zip((ours, theirs), embeddings, strict=True)), photo, close)


def same(segmenter, first, second, photo, close):
    """Masks are equal wherever a logit is more than a rounding away from 0."""
    size = photo.shape[:2]
    torch.testing.assert_close(first.predicted_iou, second.predicted_iou, rtol=0, atol=close)
    torch.testing.assert_close(first.logits, second.logits, rtol=0, atol=close)
    masks = segmenter.masks(first.logits, size), segmenter.masks(second.logits, size)
    decided = segmenter.upscale(first.logits, size).abs() > close
    assert decided.float().mean() > 0.999
    assert torch.equal(masks[0][decided], masks[1][decided])
    assert 0.01 < masks[0].float().mean() < 0.99


def tiny_network():
    """Return our network of the tiny configuration, and that configuration."""
    network = sam(
        embed_dim=32,
        depth=2,
        num_heads=2,
        global_attn_indexes=(0, 1),
        window_size=7,
        img_size=256,
        prompt_dim=32,
        decoder_heads=2,
        decoder_mlp_dim=64,
        iou_head_hidden_dim=32,
    )
    config = tiny.CONFIGS["sam"]()
    config.vision_config.mlp_dim = 128
    return network, config


def test_a_tiny_sam_answers_as_ours(tmp_path):
    network, config = tiny_network()
    config.mask_decoder_config.layer_norm_eps = PUBLISHED_EPS
    for photo in (image(77, 101), image(301, 200), image(256, 256)):
        check(*pair(tmp_path, config, network), photo, 1e-5)


def test_the_library_s_own_epsilon_moves_logits_a_little(tmp_path):
    network, config = tiny_network()
    ours, theirs = pair(tmp_path, config, network)
    prompts = Prompts.from_boxes([[5, 7, 60, 50], [1, 2, 90, 70]])
    first, second = (one.segment(one.embed([image(77, 101)])[0], prompts).logits for one in (ours, theirs))
    assert 2e-5 < (first - second).abs().max() < 2e-4


@pytest.mark.faults
def test_a_full_size_sam_answers_as_ours(tmp_path):
    config = transformers.SamConfig(
        vision_config={}, prompt_encoder_config={}, mask_decoder_config={"layer_norm_eps": PUBLISHED_EPS}
    )
    check(*pair(tmp_path, config, sam_vit_b()), image(480, 641), 5e-5)
