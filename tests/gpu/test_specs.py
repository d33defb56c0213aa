"""Models named PREFIX:REST: the answers of the CPU, made on the GPU."""

from typing import Any

import numpy as np
import pytest
import torch

from models import zoo
from models.segmenter import Prompts
from tests.gpu.compare import same_bits, stated
from tests.models.recipe import image
from tests.pretend_gpu import on_gpu, pretend_gpu

pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
from tests.models.specs import tiny

PHOTO = image(77, 101)
BOXES = Prompts.from_boxes([[5, 7, 60, 50], [1, 2, 90, 70]])
MIXED = Prompts(np.array([[[5, 7], [60, 50], [9, 9]], [[20, 30], [1, 1], [0, 0]]]), [[2, 3, 1], [1, 0, -1]])


def answers(name: str, device: str) -> list[Any]:
    """Ask about boxes, about mixed prompts, and again with a mask."""
    model = zoo.load(name, device=device)
    (embedding,) = model.embed([PHOTO])
    found = [model.segment(embedding, prompts, multimask=many) for prompts in (BOXES, MIXED) for many in (True, False)]
    found.append(model.segment(embedding, Prompts(MIXED.points, MIXED.labels, found[-1].logits[:, 0])))
    masks = [model.masks(one.logits, PHOTO.shape[:2]) for one in found]
    assert device == "cpu" or on_gpu([found, masks])
    return [found, masks]


@pytest.mark.parametrize("family", sorted(tiny.CONFIGS.keys() - {"sam3_tracker"}))
def test_hf_answers_on_the_gpu_as_on_the_cpu(family, tmp_path) -> None:
    """Transformers attends on a GPU in another way, which rounds otherwise; SAM 3's positions cannot be pretended."""
    tiny.save(family, tmp_path)
    expected = answers(f"hf:{tmp_path}", "cpu")
    with pretend_gpu() as memory:
        found = answers(f"hf:{tmp_path}", "cuda")
    assert stated(memory) == {"models/specs/hf_segmenter.py:segment item": len(found[0])}
    for one, other in zip(found[0], expected[0], strict=True):
        torch.testing.assert_close(one.logits, other.logits, rtol=0, atol=2e-5)
        torch.testing.assert_close(one.predicted_iou, other.predicted_iou, rtol=0, atol=2e-5)


@pytest.mark.parametrize("factory", ["sam", "one_by_one"])
def test_a_predictor_answers_on_the_gpu_as_on_the_cpu(factory) -> None:
    same_bits(lambda device: answers(f"predictor:tests.models.specs.factories:{factory}", device))


def test_weights_are_known_by_the_same_hash_wherever_they_are() -> None:
    def identity(device: str) -> Any:
        name = zoo.load("predictor:tests.models.specs.factories:sam", device=device).identity["weights_sha256"]
        return torch.tensor([ord(letter) for letter in name])

    same_bits(identity)
