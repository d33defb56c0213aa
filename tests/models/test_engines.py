"""The engine ladder: the rungs agree, each says how far it is off, and a wrong one is found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from bench import __main__ as front_door
from models import attention, zoo
from models.attention import attention_in_blocks
from models.engines import audit as auditing
from models.engines.audit import audit
from models.engines.float32 import threads
from models.engines.ladder import products, put_on
from models.engines.names import ENGINES
from models.errors import BenchError
from models.sam.segmenter import SamSegmenter
from models.segmenter import Prompts

MODELS = ("efficientsam-ti-micro", "mobilesam-micro", "sam-micro")
PHOTO = np.random.default_rng(0).integers(0, 256, (151, 200, 3), dtype=np.uint8)
BOXES = Prompts.from_boxes([[10, 20, 90, 100], [60, 5, 190, 140], [0, 0, 200, 151]])
CLICKS = Prompts(np.array([[[30.0, 40.0], [90.0, 60.0]]] * 3), np.array([[1, -1], [1, 1], [1, -1]]))

pytestmark = pytest.mark.usefixtures("bfloat16_cpu")


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut even micro models' work into blocks."""
    for name, value in {"BLOCK": 1 << 13, "WORTH_IT": 1, "CPU_PATCHES": 300, "UPSCALED_AT_ONCE": 100}.items():
        monkeypatch.setattr(attention, name, value)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), st.integers(1, 9), st.integers(1, 64))
def test_attention_in_blocks_is_attention(groups: int, height: int, width: int, channels: int, block: int) -> None:
    q, k, v = torch.randn(3, groups, height * width, channels).unbind()
    rows, columns = torch.randn(groups, height * width, height), torch.randn(groups, height * width, width)
    bias = (rows[..., :, None] + columns[..., None, :]).flatten(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "BLOCK", block)
        plain, biased = attention_in_blocks(q, k, v), attention_in_blocks(q, k, v, rows, columns)
    torch.testing.assert_close(plain, F.scaled_dot_product_attention(q, k, v))
    torch.testing.assert_close(biased, F.scaled_dot_product_attention(q, k, v, attn_mask=bias))


@pytest.mark.parametrize("name", MODELS)
def test_the_best_candidate_alone_is_that_of_three(name: str) -> None:
    segmenter: Any = zoo.load(name)
    (embedding,) = segmenter.embed([PHOTO])
    logits, predicted_iou = segmenter.segment(embedding, BOXES)
    best, same_iou = segmenter.segment(embedding, BOXES, multimask="best")
    assert torch.equal(same_iou, predicted_iou)
    picked = logits[torch.arange(len(BOXES)), predicted_iou.argmax(1)]
    torch.testing.assert_close(best, picked[:, None])


@torch.inference_mode()
def test_blocks_side_by_side_are_the_same_blocks(small_blocks: None) -> None:
    q, k, v = torch.randn(3, 4, 256, 16).unbind()
    with threads(1):
        alone = attention_in_blocks(q, k, v)
    with threads(2):
        torch.testing.assert_close(attention_in_blocks(q, k, v), alone)
    torch.testing.assert_close(alone, F.scaled_dot_product_attention(q, k, v))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("prompts", [BOXES, CLICKS], ids=["boxes", "clicks"])
def test_the_exact_engine_answers_as_the_published_operations_do(small_blocks, name, prompts) -> None:
    exact, reference = (_answer(name, engine, prompts) for engine in ("exact", "reference"))
    assert _off(exact[0], reference[0]) < 1e-5
    assert _off(exact[1], reference[1]) < 1e-5
    assert (exact[2] != reference[2]).mean() <= 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_refinement_by_masks_is_the_same_on_both(small_blocks, name) -> None:
    if name.startswith("efficientsam"):
        pytest.skip("takes no mask prompt")
    again = Prompts(BOXES.points, BOXES.labels, _answer(name, "exact", BOXES)[0][:, 0])
    exact, reference = (_answer(name, engine, again) for engine in ("exact", "reference"))
    assert _off(exact[0], reference[0]) < 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_the_fast_engine_is_near_and_answers_in_float32(name) -> None:
    fast, exact = (_answer(name, engine, BOXES) for engine in ("fast", "exact"))
    assert fast[0].dtype == fast[1].dtype == torch.float32
    assert 0 < _off(fast[0], exact[0]) < 0.1


def _answer(name: str, engine: Any, prompts: Prompts) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    segmenter = zoo.load(name)
    put_on(segmenter, engine)
    with products(engine):
        (embedding,) = segmenter.embed([PHOTO])
        logits, predicted_iou = segmenter.segment(embedding, prompts)
        masks = segmenter.masks(logits, embedding.size)
    assert masks.shape == (*logits.shape[:2], 151, 200)
    return logits, predicted_iou, masks.numpy()


def _off(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float((found - truth).abs().max() / truth.abs().max())


def test_the_audit_measures_every_rung_against_float64() -> None:
    rungs = audit(lambda: zoo.load("mobilesam-micro"), PHOTO, BOXES, np.ones((3, 151, 200), bool))
    assert [rung.engine for rung in rungs] == list(ENGINES)
    reference, exact, fast = rungs
    assert all(rung.holds for rung in rungs)
    assert 0 < reference.logits_error < 1e-5
    assert 0 < exact.logits_error < 1e-5 < fast.logits_error
    assert exact.same_masks == exact.prompts == 3
    assert abs(exact.miou) < 1e-3
    assert min(rung.embed_ms for rung in rungs) > 0


def test_the_audit_finds_an_engine_that_computes_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = SamSegmenter.upscale
    monkeypatch.setattr(
        "models.engines.fast.HalfSamSegmenter.masks",
        lambda self, logits, size: honest(self, logits.roll(1, -1), size) > 0,
    )
    rungs = audit(lambda: zoo.load("mobilesam-micro"), PHOTO, BOXES)
    assert [rung.holds for rung in rungs] == [True, True, False]


def test_a_cpu_without_bfloat16_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False, "avx512_f": True})
    segmenter = zoo.load("efficientsam-ti-micro")
    assert "no bfloat16" in put_on(segmenter, "fast")
    assert type(segmenter).__name__ == "EfficientSamSegmenter"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert put_on(segmenter, "fast") == ""
    assert type(segmenter).__name__ == "HalfEfficientSamSegmenter"


def test_a_model_of_others_has_no_ladder() -> None:
    class Own:
        name = "own"

    assert put_on(Own(), "reference") == "it knows one way to compute alone"
    with pytest.raises(BenchError, match="model 'own' knows one way to compute alone"):
        audit(Own, PHOTO, BOXES)


def test_bench_engines_ends_in_an_error_where_one_is_too_far_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(auditing, "BUDGET", {engine: (0.0, 0.0) for engine in ENGINES})
    monkeypatch.setattr("bench.cli.engines.BUDGET", auditing.BUDGET)
    monkeypatch.setattr("sys.argv", ["bench", "engines", "mobilesam-micro"])
    with pytest.raises(SystemExit) as ended:
        front_door.main()
    assert ended.value.code == 1
    shown = capsys.readouterr()
    assert "too far off" in shown.out
    assert "further from float64 than it may be" in shown.err
