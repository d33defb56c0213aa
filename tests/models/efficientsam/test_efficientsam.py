"""EfficientSAM against golden outputs of the official code, with the same weights from a recipe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import zoo
from models.efficientsam import EfficientSamNetwork, EfficientSamSegmenter, efficientsam
from models.efficientsam.build import efficientsam_s, efficientsam_ti
from models.engines.float32 import exact_engine
from models.errors import BenchError
from models.segmenter import Embedding, Prompts, Segmenter
from tests.models.recipe import fill, image

GOLDEN = Path(__file__).parents[1] / "golden"
PROMPTS = ("point1", "points3", "box", "box_point")
TOLERANCE = 1e-4
"""Absolute, on embeddings of deviation 1 and logits up to 2: float32 sums in another order give 1e-5."""
FLIPS = 1e-4
"""Share of pixels whose logit may cross 0 by rounding; 1 of 921,600 does."""
TINY = {"embed_dim": 24, "num_heads": 2, "depth": 2, "img_size": 64, "prompt_dim": 16, "decoder_heads": 2}
BUILDERS = {"ti": efficientsam_ti, "s": efficientsam_s}


class Case:
    """A model loaded by the zoo, its embedding of the recipe's image, and what the official code answered."""

    def __init__(self, size: str, folder: Path) -> None:
        checkpoint = folder / f"{size}.pt"
        torch.save({"model": fill(BUILDERS[size]()).state_dict()}, checkpoint)
        self.segmenter = zoo.load(f"efficientsam-{size}", checkpoint=checkpoint)
        self.golden: dict[str, Any] = dict(np.load(GOLDEN / f"efficientsam_{size}.npz"))
        (self.embedding,) = self.segmenter.embed([image(480, 640, seed=0)])

    def prompts(self, name: str) -> Prompts:
        return Prompts(self.golden[f"{name}_points"][None], self.golden[f"{name}_labels"][None])


@pytest.fixture(scope="module", params=["ti", pytest.param("s", marks=pytest.mark.slow)])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    before = torch.get_float32_matmul_precision()
    exact_engine()
    yield Case(request.param, tmp_path_factory.mktemp(request.param))
    torch.set_float32_matmul_precision(before)


@pytest.fixture(scope="module")
def tiny() -> EfficientSamSegmenter:
    return EfficientSamSegmenter(fill(efficientsam(**TINY)), name="tiny")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def embedding(tiny: EfficientSamSegmenter) -> Embedding:
    return tiny.embed([image(48, 80)])[0]


@pytest.mark.parametrize("size", ["ti", "s"])
def test_names_and_shapes_are_those_of_the_official_checkpoint(size: str) -> None:
    manifest = json.loads((GOLDEN / f"efficientsam_{size}.manifest.json").read_text())
    with torch.device("meta"):
        state = BUILDERS[size]().state_dict()
    assert {name: list(entry.shape) for name, entry in state.items()} == dict(manifest)


def test_the_embedding_is_that_of_the_official_code(case: Case) -> None:
    features = case.embedding.features
    np.testing.assert_allclose(features[:, ::4, ::4], case.golden["embedding"], rtol=0, atol=TOLERANCE)
    assert features.std().item() == pytest.approx(case.golden["embedding_std"].item(), abs=TOLERANCE)


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize(("multimask", "suffix"), [(True, ""), (False, "_single")])
def test_logits_and_predicted_iou_are_those_of_the_official_code(
    case: Case, name: str, multimask: bool, suffix: str
) -> None:
    logits, predicted_iou = case.segmenter.segment(case.embedding, case.prompts(name), multimask=multimask)
    golden = case.golden
    np.testing.assert_allclose(logits[0, :, ::4, ::4], golden[f"{name}{suffix}_lowres"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(predicted_iou[0], golden[f"{name}{suffix}_iou"], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", PROMPTS)
def test_masks_are_those_of_the_official_code(case: Case, name: str) -> None:
    logits, _ = case.segmenter.segment(case.embedding, case.prompts(name))
    masks = case.segmenter.masks(logits, case.embedding.size)[0].numpy()
    official = np.unpackbits(case.golden[f"{name}_bits"], axis=-1).astype(bool)
    assert (masks != official).mean() <= FLIPS


def test_prompts_asked_together_get_the_answers_they_get_alone(case: Case) -> None:
    one, three = case.prompts("point1"), case.prompts("points3")
    padded = Prompts(
        np.concatenate([np.pad(one.points, ((0, 0), (0, 2), (0, 0))), three.points]),
        np.concatenate([np.pad(one.labels, ((0, 0), (0, 2)), constant_values=-1), three.labels]),
    )
    together = case.segmenter.segment(case.embedding, padded)
    for row, alone in enumerate((one, three)):
        logits, predicted_iou = case.segmenter.segment(case.embedding, alone)
        torch.testing.assert_close(together.logits[row], logits[0], rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(together.predicted_iou[row], predicted_iou[0], rtol=0, atol=TOLERANCE)


def test_it_is_a_segmenter(tiny: EfficientSamSegmenter) -> None:
    assert isinstance(tiny, Segmenter)


def test_other_images_do_not_change_the_bits_of_an_embedding(tiny: EfficientSamSegmenter) -> None:
    images = [image(48, 80), image(64, 64, seed=1), image(120, 40, seed=2)]
    for together, alone in zip(tiny.embed(images), images, strict=True):
        assert torch.equal(together.features, tiny.embed([alone])[0].features)
        assert together.size == alone.shape[:2]


def test_an_image_is_squashed_so_that_stretching_it_moves_no_answer(tiny: EfficientSamSegmenter) -> None:
    square = image(64, 64)
    wide = square.repeat(2, axis=1)
    answers = []
    for pixels, x in ((square, 20.0), (wide, 40.0)):
        (embedded,) = tiny.embed([pixels])
        answers.append(tiny.segment(embedded, Prompts(np.array([[[x, 30.0]]]), np.array([[1]]))).logits)
    # Halving doubled columns averages a pixel with itself.
    torch.testing.assert_close(*answers, rtol=0, atol=TOLERANCE)


def test_the_image_sides_swap_with_x_and_y(tiny: EfficientSamSegmenter, embedding: Embedding) -> None:
    wide = tiny.segment(embedding, Prompts(np.array([[[40.0, 12.0]]]), np.array([[1]])))
    tall = tiny.segment(Embedding(embedding.features, (80, 48)), Prompts(np.array([[[24.0, 20.0]]]), np.array([[1]])))
    assert torch.equal(wide.logits, tall.logits)


@settings(max_examples=25, deadline=None)
@given(
    points=st.lists(st.tuples(st.floats(0, 79), st.floats(0, 47)), min_size=1, max_size=4),
    padding=st.integers(1, 2),
    junk=st.floats(-100, 100),
)
def test_padding_never_changes_an_answer(
    tiny: EfficientSamSegmenter,
    embedding: Embedding,
    points: list[tuple[float, float]],
    padding: int,
    junk: float,
) -> None:
    plain = Prompts(np.array([points]), np.ones((1, len(points))))
    padded = Prompts(np.array([[*points, *[(junk, junk)] * padding]]), np.array([[1] * len(points) + [-1] * padding]))
    assert torch.equal(tiny.segment(embedding, plain).logits, tiny.segment(embedding, padded).logits)


def test_a_negative_coordinate_counts_as_just_outside_the_image(
    tiny: EfficientSamSegmenter, embedding: Embedding
) -> None:
    boxes = np.array([[-30.0, 5.0, 60.0, 40.0], [-1.25, 5.0, 60.0, 40.0]])  # -1.25 px are -1 px of the input
    logits = tiny.segment(embedding, Prompts.from_boxes(boxes)).logits
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=TOLERANCE)


def test_many_prompts_are_answered_in_parts_like_few(
    tiny: EfficientSamSegmenter, embedding: Embedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    prompts = Prompts(rng.uniform(0, 48, (7, 2, 2)), rng.choice([1, 2, 3], (7, 2)))
    whole = tiny.segment(embedding, prompts)
    monkeypatch.setattr("models.attention.CPU_PATCHES", 3 * 16)
    parts = tiny.segment(embedding, prompts)
    torch.testing.assert_close(whole.logits, parts.logits, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(whole.predicted_iou, parts.predicted_iou, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("multimask", "count"), [(True, 3), (False, 1)])
def test_no_prompts_get_no_answers(
    tiny: EfficientSamSegmenter, embedding: Embedding, multimask: bool, count: int
) -> None:
    answer = tiny.segment(embedding, Prompts.from_boxes(np.zeros((0, 4))), multimask=multimask)
    assert answer.logits.shape == (0, count, 16, 16)
    assert answer.predicted_iou.shape == (0, count)
    assert tiny.masks(answer.logits, (48, 80)).shape == (0, count, 48, 80)


def test_a_logit_of_zero_is_inside_the_mask(tiny: EfficientSamSegmenter) -> None:
    assert tiny.masks(torch.zeros(1, 1, 4, 4), (9, 7)).all()
    assert not tiny.masks(torch.full((1, 1, 4, 4), -1e-6), (9, 7)).any()


REFUSED = {
    "background": (Prompts(np.zeros((1, 2, 2)), np.array([[1, 0]])), "background"),
    "no click": (Prompts(np.zeros((1, 2, 2)), np.array([[1, -2]])), "label -2"),
    "mask prompt": (Prompts(np.zeros((1, 1, 2)), np.ones((1, 1)), torch.zeros(1, 16, 16)), "mask prompt"),
    "seven points": (Prompts(np.zeros((1, 7, 2)), np.ones((1, 7))), "at most 6 points"),
}


@pytest.mark.parametrize("prompts, said", REFUSED.values(), ids=REFUSED.keys())
def test_prompts_it_was_not_made_for_are_refused(
    tiny: EfficientSamSegmenter, embedding: Embedding, prompts: Prompts, said: str
) -> None:
    with pytest.raises(BenchError, match=f"'tiny' takes .*{said}"):
        tiny.segment(embedding, prompts)


def test_an_answer_of_nan_is_an_error_that_names_the_model(embedding: Embedding) -> None:
    network = fill(efficientsam(**TINY))  # type: ignore[arg-type]
    assert isinstance(network, EfficientSamNetwork)
    network.mask_decoder.iou_token.weight.data.fill_(torch.nan)
    segmenter = EfficientSamSegmenter(network, name="broken")
    with pytest.raises(BenchError, match="'broken' answered with NaN"):
        segmenter.segment(embedding, Prompts.from_boxes([[0, 0, 9, 9]]))


def test_pixels_of_another_size_are_refused() -> None:
    with pytest.raises(BenchError, match=r"\[B, 3, 64, 64\], got \[1, 3, 32, 64\]"):
        efficientsam(**TINY).encode(torch.zeros(1, 3, 32, 64))  # type: ignore[arg-type]


def test_every_weight_learns_from_a_batch_of_images_and_prompts() -> None:
    network = efficientsam(**TINY).train()  # type: ignore[arg-type]
    features = network.encode(torch.randn(2, 3, 64, 64))
    # Points of every trained kind, and padding.
    labels = torch.tensor([[1, 2, 3, -1]]).expand(2, 3, -1)
    loss = torch.zeros(())
    for multimask in (True, False):
        logits, predicted_iou = network.decode(features, torch.rand(2, 3, 4, 2) * 64, labels, multimask=multimask)
        loss = loss + logits.square().mean() + predicted_iou.square().mean()
    loss.backward()
    idle = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert idle == []


def test_a_batch_of_images_is_decoded_as_each_alone() -> None:
    network = fill(efficientsam(**TINY))  # type: ignore[arg-type]
    assert isinstance(network, EfficientSamNetwork)
    features, points = torch.randn(2, 16, 4, 4), torch.rand(2, 3, 2, 2) * 64
    labels = torch.tensor([[[1, 1], [2, 3], [1, -1]]]).expand(2, -1, -1)
    logits, predicted_iou = network.decode(features, points, labels)
    for row in range(2):
        alone = network.decode(features[row, None], points[row, None], labels[row, None])
        torch.testing.assert_close(logits[row], alone[0][0], rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(predicted_iou[row], alone[1][0], rtol=0, atol=TOLERANCE)
