"""Segmenters on a GPU of fake tensors: everything that a protocol asks stays on it, and each wait is a stated one."""

import numpy as np
import pytest
import torch

from models.efficientsam import EfficientSamSegmenter, efficientsam, efficientsam_ti
from models.micro import DECODER
from models.mobilesam.build import mobilesam
from models.sam.build import sam
from models.sam.segmenter import SamSegmenter
from models.segmenter import Prompts
from protocols.axes import Axes
from protocols.predictors import ModelPredictor
from tests.fake_gpu import CUDA, fake_gpu, on_gpu

SIZE = (48, 64)
PHOTO = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
BOXES = Prompts.from_boxes([[3, 4, 30, 40], [10, 4, 50, 30.5]])
CLICKS = Prompts(np.full((2, 1, 2), 9), np.ones((2, 1)))
MIXED = Prompts(np.full((2, 3, 2), 9), np.array([[2, 3, -1], [1, 0, 1]]))
TRUTHS = np.ones((2, *SIZE), bool)
SMALL = {"img_size": 128, **DECODER}
STAGES = {"depths": (1, 1, 1, 1), "embed_dims": (8, 16, 24, 32), "num_heads": (1, 1, 1, 1)}
NETWORKS = {
    "sam": (lambda: sam(embed_dim=24, depth=2, num_heads=2, global_attn_indexes=(1,), **SMALL), SamSegmenter),
    "mobilesam": (lambda: mobilesam(**STAGES, **SMALL), SamSegmenter),
    "efficientsam": (lambda: efficientsam(embed_dim=24, depth=1, num_heads=2, **SMALL), EfficientSamSegmenter),
}
WAITS = {
    "models/sam/segmenter.py:segment item": "weights that answer NaN are refused before a mask is made of it",
    "models/efficientsam/segmenter.py:segment item": "likewise",
    "protocols/predictors.py:_answer to cpu": "the masks; and confidence with choice in one copy",
    "protocols/predictors.py:_pick to cpu": "all candidates, where boxes or the truth choose among them",
}
"""Every wait that evaluation may have, and what for."""


@pytest.fixture(scope="module")
def gpu():
    with fake_gpu() as mode:
        yield mode


@pytest.fixture(scope="module")
def segmenters(gpu):
    return {name: make(build().to("cuda"), name=name) for name, (build, make) in NETWORKS.items()}


def waits(gpu, ask) -> dict[str, int]:
    gpu.waits.clear()
    ask()
    return {f"{function} {operator}": count for (function, operator), count in gpu.waits.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_an_embedding_is_made_on_the_gpu_without_a_wait(gpu, segmenters, name) -> None:
    made = []
    assert waits(gpu, lambda: made.extend(segmenters[name].embed([PHOTO, PHOTO[:, :30]]))) == {}
    assert on_gpu([one.features for one in made])


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("prompts", [BOXES, CLICKS, MIXED, BOXES[:0]], ids=["boxes", "clicks", "mixed", "none"])
def test_logits_and_masks_are_made_on_the_gpu(segmenters, name, prompts, multimask) -> None:
    if name == "efficientsam" and prompts is MIXED:
        prompts = Prompts(MIXED.points, np.abs(MIXED.labels) + (MIXED.labels == 0))
    segmenter = segmenters[name]
    (embedding,) = segmenter.embed([PHOTO])
    answer = segmenter.segment(embedding, prompts, multimask=multimask)
    masks = segmenter.masks(answer.logits, SIZE)
    assert on_gpu((*answer, masks))
    assert masks.shape == (len(prompts), 3 if multimask else 1, *SIZE)


AXES = {
    "predicted_iou": (Axes(), 0),
    "single": (Axes(mask_pick="single"), 0),
    "box_iou": (Axes(mask_pick="box_iou"), 1),
    "filled_box_iou": (Axes(mask_pick="filled_box_iou"), 1),
    "oracle": (Axes(mask_pick="oracle"), 1),
    "refined": (Axes(refinement=1), 0),
    "refined oracle": (Axes(refinement=1, mask_pick="oracle"), 2),
    "bf16": (Axes(precision="bf16"), 0),
}
"""And how often a group of box prompts takes its candidates to the CPU to choose among them."""


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("name", NETWORKS)
def test_an_answer_under_any_axes_waits_only_where_it_must(gpu, segmenters, name, axes, monkeypatch) -> None:
    chosen, picks = AXES[axes]
    if name == "efficientsam" and chosen.refinement:
        pytest.skip("takes no mask prompt")
    monkeypatch.setattr("protocols.predictors.PROMPTS_AT_ONCE", 1)
    predictor = ModelPredictor(segmenters[name], chosen)
    assert waits(gpu, lambda: predictor.set_image(PHOTO)) == {}
    answers = []
    found = waits(gpu, lambda: answers.append(predictor.predict(BOXES, TRUTHS)))
    passes, groups = 1 + chosen.refinement, len(BOXES)
    file = "efficientsam" if name == "efficientsam" else "sam"
    expected = {
        f"models/{file}/segmenter.py:segment item": passes * groups,
        "protocols/predictors.py:_answer to cpu": 2 * groups,
        "protocols/predictors.py:_pick to cpu": picks * groups,
    }
    assert found == {wait: count for wait, count in expected.items() if count}
    assert found.keys() <= WAITS.keys()
    assert [len(part) for part in answers[0][:3]] == [2, 2, 2]


def test_mixed_precision_is_of_the_gpu(segmenters) -> None:
    predictor = ModelPredictor(segmenters["sam"], Axes(precision="bf16"))
    seen = []
    hook = segmenters["sam"].network.image_encoder.patch_embed.register_forward_hook(
        lambda module, given, said: seen.append(said.dtype)
    )
    predictor.set_image(PHOTO)
    hook.remove()
    assert seen == [torch.bfloat16]


def test_the_published_size_is_no_other_code(gpu) -> None:
    segmenter = EfficientSamSegmenter(efficientsam_ti().to("cuda"), name="efficientsam-ti")
    (embedding,) = segmenter.embed([PHOTO])
    assert embedding.features.shape == (256, 64, 64)
    assert on_gpu(tuple(segmenter.segment(embedding, BOXES)))


class TestTheFakeGpu:
    def test_a_tensor_left_on_the_cpu_raises(self, gpu) -> None:
        with pytest.raises(RuntimeError, match="device"):
            torch.ones(3, device="cuda") + torch.ones(3)

    def test_an_index_on_the_gpu_into_the_cpu_raises(self, gpu) -> None:
        with pytest.raises(RuntimeError, match="indices should be"):
            torch.ones(3)[torch.zeros(1, dtype=torch.long, device="cuda")]

    def test_a_generator_of_the_cpu_raises(self, gpu) -> None:
        with pytest.raises(RuntimeError, match="generator"):
            torch.rand(3, generator=torch.Generator(), device="cuda")

    def test_numpy_without_a_copy_raises(self, gpu) -> None:
        with pytest.raises((RuntimeError, TypeError)):
            torch.ones(3, device="cuda").numpy()

    @pytest.mark.parametrize(
        "ask",
        [
            lambda x: x.sum().item(),
            lambda x: bool(x.any()),
            lambda x: float(x[0]),
            lambda x: x.tolist(),
            lambda x: x.cpu(),
            lambda x: x.to("cpu", torch.float64),
            lambda x: torch.zeros(3).copy_(x),
            lambda x: x[x > 0],
            lambda x: x.nonzero(),
            lambda x: torch.where(x > 0),
            lambda x: x.masked_select(x > 0),
            lambda x: torch.equal(x, x),
        ],
    )
    @pytest.mark.parametrize("inference", [True, False])
    def test_every_way_to_wait_is_counted_once(self, gpu, ask, inference) -> None:
        with torch.inference_mode(inference):
            x = torch.ones(3, device="cuda")
            gpu.waits.clear()
            ask(x)
        assert gpu.waits.total() == 1

    def test_what_stays_on_the_gpu_is_not_counted(self, gpu) -> None:
        x = torch.ones(3, device="cuda")
        gpu.waits.clear()
        x[x > 0] = 1
        assert (x.cumsum(0).argmax() + x.to("cuda")).device == CUDA
        assert gpu.waits.total() == 0

    def test_what_never_was_on_the_gpu_is_computed(self, gpu) -> None:
        assert (torch.arange(3) * 2).tolist() == [0, 2, 4]
