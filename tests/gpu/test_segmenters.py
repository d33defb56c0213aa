"""Promptable segmenters under every axis: the answers of the CPU, made on the GPU, each wait a stated one."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from models.annotations import answer
from models.checks import cost
from models.checks.run import run_checks
from models.efficientsam import EfficientSamSegmenter, efficientsam
from models.everything.segment import Settings, segment_everything
from models.micro import DECODER
from models.mobilesam.build import mobilesam
from models.sam.build import sam
from models.sam.segmenter import SamSegmenter
from models.segmenter import Prompts
from protocols.axes import Axes
from protocols.predictors import ModelPredictor
from tests.gpu.compare import same_bits
from tests.pretend_gpu import on_gpu, pretend_gpu

SIZE = (48, 64)
RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
BOXES = Prompts.from_boxes([[3, 4, 30, 40], [10, 4, 50, 30.5]])
CLICKS = Prompts(np.full((2, 1, 2), 9), np.ones((2, 1)))
MIXED = Prompts(np.full((2, 3, 2), 9), np.array([[2, 3, -1], [1, 0, 1]]))
TRUTHS = RNG.random((2, *SIZE)) < 0.5
SMALL = {"img_size": 128, **DECODER}
STAGES = {"depths": (1, 1, 1, 1), "embed_dims": (8, 16, 24, 32), "num_heads": (1, 1, 1, 1)}
NETWORKS = {
    "sam": (lambda: sam(embed_dim=24, depth=2, num_heads=2, global_attn_indexes=(1,), **SMALL), SamSegmenter),
    "mobilesam": (lambda: mobilesam(**STAGES, **SMALL), SamSegmenter),
    "efficientsam": (lambda: efficientsam(embed_dim=24, depth=1, num_heads=2, **SMALL), EfficientSamSegmenter),
}


def segmenter(name: str, device: str) -> Any:
    """Return a segmenter with the same random weights on every device."""
    torch.manual_seed(0)
    build, make = NETWORKS[name]
    return make(build().to(device), name=name)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_embedding_is_made_without_a_wait(name) -> None:
    def embed(device: str) -> Any:
        features = [one.features for one in segmenter(name, device).embed([PHOTO, PHOTO[:, :30]])]
        assert device == "cpu" or on_gpu(features)
        return features

    assert same_bits(embed) == {}


@pytest.mark.parametrize("prompts", [BOXES, CLICKS, MIXED, BOXES[:0]], ids=["boxes", "clicks", "mixed", "none"])
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_and_masks_are_made_on_the_gpu(name, prompts) -> None:
    if name == "efficientsam" and prompts is MIXED:
        prompts = Prompts(MIXED.points, np.abs(MIXED.labels) + (MIXED.labels == 0))

    def segment(device: str) -> Any:
        model = segmenter(name, device)
        (embedding,) = model.embed([PHOTO])
        answers = [model.segment(embedding, prompts, multimask=multimask) for multimask in (True, False)]
        masks = [model.masks(answer.logits, SIZE) for answer in answers]
        assert device == "cpu" or on_gpu([answers, masks])
        return [answers, masks]

    same_bits(segment)


AXES = {
    "predicted_iou": (Axes(), 0),
    "single": (Axes(mask_pick="single"), 0),
    "box_iou": (Axes(mask_pick="box_iou"), 1),
    "filled_box_iou": (Axes(mask_pick="filled_box_iou"), 1),
    "oracle": (Axes(mask_pick="oracle"), 1),
    "refined": (Axes(refinement=1), 0),
    "refined oracle": (Axes(refinement=1, mask_pick="oracle"), 2),
    "bf16": (Axes(precision="bf16"), 0),
    "low resolution": (Axes(click_frame="low_resolution"), 0),
}
"""And how often a group of box prompts takes its candidates to the CPU to choose among them."""


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("name", NETWORKS)
def test_an_answer_under_any_axes_waits_only_where_it_must(name, axes, monkeypatch) -> None:
    chosen, picks = AXES[axes]
    if name == "efficientsam" and chosen.refinement:
        pytest.skip("takes no mask prompt")
    monkeypatch.setattr("protocols.predictors.PROMPTS_AT_ONCE", 1)

    def answer(device: str) -> Any:
        predictor = ModelPredictor(segmenter(name, device), chosen)
        predictor.set_image(PHOTO)
        return predictor.predict(BOXES, TRUTHS)

    cells = 1 if axes == "low resolution" and name != "efficientsam" else 0
    expected = {
        f"models/{'efficientsam' if name == 'efficientsam' else 'sam'}/segmenter.py:segment item": 1
        + chosen.refinement,
        "protocols/predictors.py:_answer to cpu": 2 + cells,
        "protocols/predictors.py:_pick to cpu": picks,
    }
    assert same_bits(answer) == {wait: count * len(BOXES) for wait, count in expected.items() if count}


def test_mixed_precision_is_of_the_gpu() -> None:
    with pretend_gpu():
        model = segmenter("sam", "cuda")
        seen = []
        model.network.image_encoder.patch_embed.register_forward_hook(lambda module, given, said: seen.append(said))
        ModelPredictor(model, Axes(precision="bf16")).set_image(PHOTO)
        assert on_gpu(seen)
    assert [one.dtype for one in seen] == [torch.bfloat16]


LIMITS = (
    "sam.image_encoder._BIAS_BUDGET",
    "frames._MASKS_AT_ONCE",
    "attention.CPU_PATCHES",
    "attention.GPU_PATCHES",
    "efficientsam.segmenter._MASKS_AT_ONCE",
)
"""Of memory; at the published size what is larger is computed in slices."""


@pytest.mark.parametrize("name", NETWORKS)
def test_slices_as_at_the_published_size(name, monkeypatch) -> None:
    for limit in LIMITS:
        monkeypatch.setattr(f"models.{limit}", 1)

    def answer(device: str) -> Any:
        predictor = ModelPredictor(segmenter(name, device), Axes())
        predictor.set_image(PHOTO)
        return predictor.predict(BOXES, None)

    same_bits(answer)


EVERY_CANDIDATE = {"pred_iou_thresh": 0, "stability_score_thresh": 0, "box_nms_thresh": 1.0, "crop_nms_thresh": 1.0}


@pytest.mark.parametrize("name", NETWORKS)
def test_everything_is_found_with_a_wait_for_predictions_and_two_for_a_few_candidates(name, monkeypatch) -> None:
    monkeypatch.setattr("models.everything.segment._PIXELS_AT_ONCE", {"cpu": 24 << 20, "cuda": 24 << 20})

    def find(device: str) -> Any:
        found = segment_everything(
            segmenter(name, device), PHOTO, Settings(points_per_side=4, crop_n_layers=1, **EVERY_CANDIDATE)
        )
        assert len(found) > 3
        return json.dumps(found)

    assert same_bits(find) == {
        f"models/{'efficientsam' if name == 'efficientsam' else 'sam'}/segmenter.py:segment item": 5,
        "models/everything/segment.py:_at_points to cpu": 5 * (1 + 2 * 2),
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_prompts_are_answered_with_a_wait_for_all_and_two_for_each(name) -> None:
    def ask(device: str) -> Any:
        model = segmenter(name, device)
        (embedding,) = model.embed([PHOTO])
        return json.dumps(answer(model, embedding, BOXES))

    assert same_bits(ask) == {
        f"models/{'efficientsam' if name == 'efficientsam' else 'sam'}/segmenter.py:segment item": 1,
        "models/annotations.py:answer to cpu": 1 + len(BOXES),
        "models/annotations.py:answer item": len(BOXES),
    }


def test_a_model_is_checked_where_it_is(monkeypatch) -> None:
    monkeypatch.setattr(cost, "SIZES", ((1, 1), (40, 30)))
    with pretend_gpu() as memory:
        found = dict(run_checks(segmenter("efficientsam", "cuda")))
    assert found.pop("memory").outcome == "wrong", "which is CUDA's own to tell"
    assert {one.said for one in found.values() if one.outcome == "wrong"} == set()
    assert "cuda" in found["time"].said
    assert memory.waits
