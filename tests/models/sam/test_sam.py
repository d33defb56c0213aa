"""SAM against the published segment_anything package, with the same weights from a recipe."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import segment_anything
import torch
from hypothesis import given
from hypothesis import strategies as st
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor

import models.sam.image_encoder
import models.sam.mask_decoder
import models.sam.segmenter
from models.errors import BenchError
from models.frames import resized
from models.sam.build import sam, sam_vit_b, sam_vit_h, sam_vit_l
from models.sam.network import SamNetwork
from models.sam.segmenter import SamSegmenter
from models.segmenter import Prompts, Segmenter
from tests.models.recipe import fill, image

SIDE = 256
TOLERANCE = 1e-5
"""Of float32 sums in another order: 2e-6 measured on logits of magnitude 2."""
ODD = (257, 403)
"""An image size that nothing divides."""


def official_sam(prompt_dim: int = 64) -> Sam:
    """A small network from the published classes: 16 x 16 patches, windows of 5 that need padding."""
    grid = SIDE // 16
    encoder = ImageEncoderViT(
        img_size=SIDE,
        embed_dim=96,
        depth=3,
        num_heads=4,
        window_size=5,
        global_attn_indexes=(1,),
        use_rel_pos=True,
        out_chans=prompt_dim,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
    )
    prompts = PromptEncoder(prompt_dim, (grid, grid), (SIDE, SIDE), mask_in_chans=16)
    transformer = TwoWayTransformer(depth=2, embedding_dim=prompt_dim, num_heads=8, mlp_dim=128)
    return Sam(encoder, prompts, MaskDecoder(transformer_dim=prompt_dim, transformer=transformer)).eval()


def our_sam() -> SamNetwork:
    """The same network from our classes."""
    return sam(
        img_size=SIDE,
        embed_dim=96,
        depth=3,
        num_heads=4,
        window_size=5,
        global_attn_indexes=(1,),
        prompt_dim=64,
        decoder_mlp_dim=128,
    )


@pytest.fixture(scope="module")
def official() -> Sam:
    return fill(official_sam())


@pytest.fixture(scope="module")
def ours(official: Sam) -> SamNetwork:
    network = our_sam()
    network.load_state_dict(official.state_dict())
    return network.eval()


@pytest.fixture(scope="module")
def features() -> Tensor:
    """Of two images."""
    return torch.randn(2, 64, 16, 16, generator=torch.Generator().manual_seed(0))


CLICK = {"point_coords": [[200.0, 120.0]], "point_labels": [1]}
CLICKS = {"point_coords": [[200.0, 120.0], [31.5, 250.0], [0.0, 7.0]], "point_labels": [1, 0, 1]}
BOX = {"box": [40.0, 30.5, 390.0, 200.0]}
QUESTIONS = {
    "point": CLICK,
    "three points": CLICKS,
    "box": BOX,
    "box and points": CLICKS | BOX,
    "mask": CLICK | {"mask_input": True},
    "mask and box": BOX | {"mask_input": True},
}


def earlier_logits(side: int) -> np.ndarray:
    """[1, side, side] logits as of an earlier answer."""
    return np.random.default_rng(5).normal(0, 5, (1, side, side)).astype(np.float32)


def ask_official(predictor: segment_anything.SamPredictor, question: dict, **options: bool) -> SimpleNamespace:
    side = predictor.model.prompt_encoder.mask_input_size[0]
    arguments = {key: np.array(value) for key, value in question.items()}
    if "mask_input" in question:
        arguments["mask_input"] = earlier_logits(side)
    upscaled, iou, logits = predictor.predict(**arguments, **options, return_logits=True)
    return SimpleNamespace(upscaled=upscaled, iou=iou, logits=logits)


def as_prompts(question: dict, side: int) -> Prompts:
    """The same question in our terms: points first, then the corners of the box."""
    points = np.array(question.get("point_coords", [])).reshape(-1, 2)
    labels = list(question.get("point_labels", []))
    if "box" in question:
        points = np.concatenate([points, np.reshape(question["box"], (2, 2))])
        labels += [2, 3]
    masks = torch.from_numpy(earlier_logits(side)) if "mask_input" in question else None
    return Prompts(points[None], np.array(labels)[None], masks)


def assert_same_answers(segmenter: SamSegmenter, predictor: segment_anything.SamPredictor, tolerance: float) -> None:
    """Compare all questions about one odd-sized image, logits and masks."""
    picture = image(*ODD, seed=3)
    predictor.set_image(picture)
    (embedding,) = segmenter.embed([picture])
    torch.testing.assert_close(embedding.features, predictor.features[0], rtol=0, atol=tolerance * 5)
    for name, question in QUESTIONS.items():
        for multimask in (True, False):
            expected = ask_official(predictor, question, multimask_output=multimask)
            logits, iou = segmenter.segment(
                embedding, as_prompts(question, expected.logits.shape[-1]), multimask=multimask
            )
            np.testing.assert_allclose(logits[0], expected.logits, rtol=0, atol=tolerance, err_msg=name)
            np.testing.assert_allclose(iou[0], expected.iou, rtol=0, atol=tolerance, err_msg=name)
            masks = segmenter.masks(logits, ODD)[0].numpy()
            certain = np.abs(expected.upscaled) > tolerance
            assert certain.mean() > 0.999
            np.testing.assert_array_equal(masks[certain], (expected.upscaled > 0)[certain], err_msg=name)


def test_a_small_sam_answers_as_the_published_predictor_does(official: Sam, ours: SamNetwork) -> None:
    predictor = segment_anything.SamPredictor(official)
    assert_same_answers(SamSegmenter(ours, name="small"), predictor, TOLERANCE)


@pytest.mark.parametrize("build", [sam_vit_b, sam_vit_l, sam_vit_h])
def test_names_and_shapes_are_those_of_the_published_checkpoints(build) -> None:
    with torch.device("meta"):
        ours = build().state_dict()
        published = segment_anything.sam_model_registry[build.__name__.removeprefix("sam_")]().state_dict()
    assert [(name, entry.shape) for name, entry in ours.items()] == [
        (name, entry.shape) for name, entry in published.items()
    ]


@pytest.mark.parametrize("size", [ODD, ODD[::-1], (256, 256), (480, 640), (1, 300)])
def test_preprocessing_is_bit_for_bit_the_published_one(official: Sam, ours: SamNetwork, size) -> None:
    picture = image(*size) if min(size) > 1 else np.zeros((*size, 3), np.uint8)
    small = ResizeLongestSide(SIDE).apply_image(picture)
    expected = official.preprocess(torch.as_tensor(small).permute(2, 0, 1)[None])
    assert torch.equal(SamSegmenter(ours, name="small").preprocess(picture), expected)


def test_masks_of_the_same_logits_are_bit_for_bit_the_published_ones(official: Sam, ours: SamNetwork) -> None:
    logits = torch.randn(3, 2, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = official.postprocess_masks(logits, resized(ODD, SIDE), ODD) > official.mask_threshold
    assert torch.equal(SamSegmenter(ours, name="small").masks(logits, ODD), expected)


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([256, 1024]))
def test_the_long_side_is_scaled_as_published_and_no_side_vanishes(height: int, width: int, side: int) -> None:
    expected = ResizeLongestSide.get_preprocess_shape(height, width, side)
    assert resized((height, width), side) == (max(1, expected[0]), max(1, expected[1]))


def test_the_encoder_needs_no_whole_bias_in_memory(ours: SamNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = torch.randn(1, 3, SIDE, SIDE)
    with torch.inference_mode():
        whole = ours.encode(pixels)
        monkeypatch.setattr(models.sam.image_encoder, "_BIAS_BUDGET", 1)
        torch.testing.assert_close(ours.encode(pixels), whole)


def test_several_images_are_decoded_as_each_alone(ours: SamNetwork, features: Tensor) -> None:
    points, labels = torch.rand(2, 5, 3, 2) * SIDE, torch.randint(0, 2, (2, 5, 3))
    masks = torch.randn(2, 5, 64, 64)
    for mask_logits in (None, masks):
        with torch.inference_mode():
            together = ours.decode(features, points, labels, mask_logits=mask_logits)
            alone = [
                ours.decode(
                    features[i : i + 1],
                    points[i : i + 1],
                    labels[i : i + 1],
                    mask_logits=None if mask_logits is None else masks[i : i + 1],
                )
                for i in range(2)
            ]
        for part in range(2):
            expected = torch.cat([answer[part] for answer in alone])
            torch.testing.assert_close(together[part], expected, rtol=0, atol=TOLERANCE)


def test_prompts_of_different_kinds_are_answered_as_each_alone(ours: SamNetwork, features: Tensor) -> None:
    kinds = [[1], [1, 0], [2, 3], [1, 2, 3]]
    points = torch.rand(1, len(kinds), 3, 2) * SIDE
    padded = torch.tensor([[kind + [-1] * (3 - len(kind)) for kind in kinds]])
    with torch.inference_mode():
        together = ours.decode(features[:1], points, padded)[0]
        for row, kind in enumerate(kinds):
            alone = ours.decode(features[:1], points[:, row : row + 1, : len(kind)], torch.tensor([[kind]]))[0]
            torch.testing.assert_close(together[:, row], alone[:, 0], rtol=0, atol=TOLERANCE)


def test_gradients_are_those_of_the_published_decoder(official: Sam, ours: SamNetwork, features: Tensor) -> None:
    points, labels = torch.rand(3, 2, 2) * SIDE, torch.ones(3, 2)
    direction = torch.randn(3, 3, 64, 64)

    def backward(network: torch.nn.Module, inputs: Tensor, logits: Tensor, iou: Tensor) -> list[Tensor]:
        network.zero_grad()
        ((logits * direction).mean() + iou.square().mean()).backward()
        return [inputs.grad, *(entry.grad for entry in network.mask_decoder.parameters())]

    inputs = features[:1].clone().requires_grad_()
    sparse, dense = official.prompt_encoder((points, labels), None, None)
    positions = official.prompt_encoder.get_dense_pe()
    expected = backward(official, inputs, *official.mask_decoder(inputs, positions, sparse, dense, True))
    inputs = features[:1].clone().requires_grad_()
    logits, iou = ours.decode(inputs, points[None], labels[None].long())
    actual = backward(ours, inputs, logits[0], iou[0])
    for got, want in zip(actual, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4 * want.abs().max().item() + 1e-8)


def test_every_weight_of_the_encoder_learns(features: Tensor) -> None:
    network = our_sam()
    network.encode(torch.randn(1, 3, SIDE, SIDE)).square().mean().backward()
    assert all(entry.grad.abs().sum() > 0 for entry in network.image_encoder.parameters())


def test_no_click_is_a_token_of_zeros_beside_the_others(ours: SamNetwork) -> None:
    points = torch.tensor([[[[40.0, 30.0], [60.0, 50.0], [9.0, 9.0]]]])
    tokens, keep = ours.prompt_encoder.embed_points(points, torch.tensor([[[1, 0, -2]]]))
    without, _ = ours.prompt_encoder.embed_points(points[:, :, :2], torch.tensor([[[1, 0]]]))
    torch.testing.assert_close(tokens[:, :, [0, 1, 3]], without, rtol=0, atol=1e-5)  # products of other shapes
    assert not tokens[:, :, 2].any()
    assert keep is None


def test_no_click_after_a_box_counts_as_a_token(ours: SamNetwork) -> None:
    points = torch.tensor([[[[40.0, 30.0], [60.0, 50.0], [9.0, 9.0]]]])
    tokens, keep = ours.prompt_encoder.embed_points(points, torch.tensor([[[2, 3, -2]]]))
    assert tokens.shape[2] == 3
    assert not tokens[:, :, 2].any()
    assert keep is None


@pytest.fixture
def segmenter(ours: SamNetwork) -> SamSegmenter:
    return SamSegmenter(ours, name="small")


def test_it_is_a_segmenter(segmenter: SamSegmenter) -> None:
    assert isinstance(segmenter, Segmenter)


def test_an_image_has_the_same_bits_in_any_company(segmenter: SamSegmenter) -> None:
    pictures = [image(120, 90, 1), image(64, 200, 2)]
    together = segmenter.embed(pictures)
    for picture, embedding in zip(pictures, together, strict=True):
        (alone,) = segmenter.embed([picture])
        assert torch.equal(alone.features, embedding.features)
        assert embedding.size == picture.shape[:2]


def test_many_prompts_are_answered_in_groups_with_the_same_result(
    segmenter: SamSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    (embedding,) = segmenter.embed([image(*ODD)])
    prompts = Prompts.from_boxes(np.random.default_rng(0).uniform(0, 250, (7, 4)))
    whole = segmenter.segment(embedding, prompts)
    monkeypatch.setattr("models.attention.CPU_PATCHES", 2 * embedding.features[0].numel())
    monkeypatch.setattr("models.attention.UPSCALED_AT_ONCE", 5)
    grouped = segmenter.segment(embedding, prompts)
    torch.testing.assert_close(grouped.logits, whole.logits, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(grouped.predicted_iou, whole.predicted_iou, rtol=0, atol=TOLERANCE)


def test_no_prompts_have_no_answers(segmenter: SamSegmenter) -> None:
    (embedding,) = segmenter.embed([image(*ODD)])
    answer = segmenter.segment(embedding, Prompts.from_boxes(np.zeros((0, 4))))
    assert answer.logits.shape == (0, 3, 64, 64)
    assert answer.predicted_iou.shape == (0, 3)
    assert segmenter.masks(answer.logits, ODD).shape == (0, 3, *ODD)


def test_infinite_weights_are_reported_by_the_name_of_the_model(official: Sam) -> None:
    network = our_sam()
    network.load_state_dict(official.state_dict())
    network.mask_decoder.iou_token.weight.data[0, 0] = torch.nan
    broken = SamSegmenter(network, name="broken-sam")
    (embedding,) = broken.embed([image(*ODD)])
    with pytest.raises(BenchError, match=r"'broken-sam'.*NaN"):
        broken.segment(embedding, Prompts.from_boxes([[0, 0, 9, 9]]))


@pytest.mark.slow
@pytest.mark.parametrize("some", [slice(1, 3), pytest.param(slice(12), marks=pytest.mark.faults)])
def test_vit_b_at_full_size_answers_as_the_published_one(some: slice) -> None:
    """With all its blocks in the session of faults, else with one of each kind: of windows, and of the whole image."""
    published, network = segment_anything.build_sam_vit_b(), sam_vit_b()
    assert [block.window_size > 0 for block in published.image_encoder.blocks[1:3]] == [True, False]
    for encoder in (published.image_encoder, network.image_encoder):
        encoder.blocks = encoder.blocks[some]
    network.load_state_dict(fill(published).state_dict())
    predictor = segment_anything.SamPredictor(published)
    assert_same_answers(SamSegmenter(network, name="sam-vit-b"), predictor, tolerance=1e-4)
