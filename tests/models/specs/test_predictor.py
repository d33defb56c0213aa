"""predictor: the published packages' own SamPredictor gives the records of our SAM and MobileSAM; mistakes are told."""

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from bench.data import open_instances
from bench.data.dead_leaves import world_root
from models import zoo
from models.errors import BenchError, UnsupportedPrompt
from models.segmenter import Prompts, Segmenter, Upscaler
from protocols.axes import PAPER
from protocols.table4_prompts import ask
from tests.models.recipe import image
from tests.protocols.fakes import instance_data

FACTORIES = "predictor:tests.models.specs.factories"
AXES = {"paper": PAPER, "refined": replace(PAPER, refinement=1), "single": replace(PAPER, mask_pick="single")}


@pytest.fixture
def leaves():
    return open_instances("coco", world_root())


@pytest.mark.parametrize(
    ("factory", "name", "axes"),
    [
        *(("sam", "sam-micro", axes) for axes in AXES),
        *(("mobilesam", "mobilesam-micro", axes) for axes in ("paper", "refined")),
        ("one_by_one", "sam-micro", "refined"),
    ],
)
def test_records_are_those_of_our_own_network(factory, name, axes, leaves):
    data = instance_data(AXES[axes], leaves)
    theirs, ours = (
        ask(zoo.load(one), data, leaves.images[:2], lambda done: None) for one in (f"{FACTORIES}:{factory}", name)
    )
    numbers = ["predicted_iou", "iou"]
    pd.testing.assert_frame_equal(theirs.drop(columns=numbers), ours.drop(columns=numbers))
    np.testing.assert_allclose(theirs["predicted_iou"], ours["predicted_iou"], rtol=0, atol=2e-5)
    assert (theirs["iou"] - ours["iou"]).abs().max() < 2e-3, "a pixel whose logit is a rounding away from 0"
    assert (theirs["iou"] == ours["iou"]).mean() > 0.9
    assert ours["iou"].max() > 0.5


def test_prompts_asked_together_are_answered_as_alone(monkeypatch):
    segmenter = zoo.load(f"{FACTORIES}:sam")
    (embedding,) = segmenter.embed([image(77, 101)])
    points = np.array([[[5, 7], [60, 50], [9, 9]], [[20, 30], [0, 0], [0, 0]], [[5, 7], [60, 50], [0, 0]]], float)
    labels = np.array([[2, 3, 1], [1, -1, -1], [1, 0, -1]])
    whole = segmenter.segment(embedding, Prompts(points, labels))
    assert whole.logits.shape == (3, 3, 77, 101)
    for row, kept in enumerate((3, 1, 2)):
        alone = segmenter.segment(embedding, Prompts(points[row : row + 1, :kept], labels[row : row + 1, :kept]))
        torch.testing.assert_close(whole.logits[row], alone.logits[0], rtol=0, atol=1e-4)
    monkeypatch.setattr("models.specs.predictor_segmenter._PIXELS_AT_ONCE", 1)
    torch.testing.assert_close(segmenter.segment(embedding, Prompts(points, labels)).logits, whole.logits)
    assert segmenter.segment(embedding, Prompts(points[:0], labels[:0])).logits.shape == (0, 3, 77, 101)


@pytest.mark.parametrize("factory", ["edge_like", "tiny_like"])
def test_the_calls_of_other_sams_are_known(factory):
    prompts = Prompts.from_boxes([[5, 7, 60, 50], [1, 2, 90, 70], [30, 30, 50, 60]])
    answers = []
    for name in ("sam", factory):
        segmenter = zoo.load(f"{FACTORIES}:{name}")
        (embedding,) = segmenter.embed([image(77, 101)])
        answers.append(segmenter.segment(embedding, prompts))
    assert torch.equal(segmenter.masks(answers[1].logits, (77, 101)), segmenter.masks(answers[0].logits, (77, 101)))
    torch.testing.assert_close(answers[1].predicted_iou, answers[0].predicted_iou, rtol=0, atol=1e-5)
    if factory == "tiny_like":
        assert segmenter.predictor.calls == 1
        with pytest.raises(UnsupportedPrompt, match="cannot be asked for one mask"):
            segmenter.segment(embedding, prompts, multimask=False)
    else:
        single = segmenter.segment(embedding, prompts, multimask=False)
        assert single.logits.shape == (3, 1, 77, 101)


def test_an_image_is_shown_again_where_another_was_shown_since():
    segmenter = zoo.load(f"{FACTORIES}:sam")
    prompts = Prompts.from_boxes([[5, 7, 60, 50]])
    first, second = segmenter.embed([image(77, 101), image(60, 80, seed=1)])
    answers = [segmenter.segment(embedding, prompts).logits for embedding in (first, second, first)]
    assert torch.equal(answers[0], answers[2])
    assert [answer.shape[2:] for answer in answers] == [(77, 101), (60, 80), (77, 101)]


def test_the_contract_is_held_and_weights_are_told_apart():
    segmenter = zoo.load(f"{FACTORIES}:sam")
    assert isinstance(segmenter, Segmenter)
    assert isinstance(segmenter, Upscaler)
    other = zoo.load(f"{FACTORIES}:mobilesam").identity["weights_sha256"]
    assert segmenter.identity["weights_sha256"] not in (None, other)
    assert zoo.load(f"{FACTORIES}:sam").identity == segmenter.identity
    assert "tests.models.specs.factories" in zoo.modules(f"{FACTORIES}:sam")


def test_options_go_to_the_factory_and_files_among_them_are_hashed(tmp_path):
    path = tmp_path / "my.pt"
    path.write_bytes(b"weights")
    segmenter = zoo.load(f"{FACTORIES}:plain?checkpoint={path}")
    assert segmenter.predictor.told == (str(path), "cpu")
    assert segmenter.identity == {
        "weights_sha256": None,
        "files": {"checkpoint": hashlib.sha256(b"weights").hexdigest()},
    }


def test_a_module_of_the_current_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "my_model_of_a_test.py").write_text("from tests.models.specs.factories import plain\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [one for one in __import__("sys").path if one])
    assert zoo.load("predictor:my_model_of_a_test:plain").predictor.told == ("", "cpu")


def test_decided_masks_are_taken_as_they_are():
    segmenter = zoo.load(f"{FACTORIES}:plain")
    (embedding,) = segmenter.embed([image(40, 60)])
    answer = segmenter.segment(embedding, Prompts.from_boxes([[5, 7, 30, 20], [0, 0, 60, 40]]))
    masks = segmenter.masks(answer.logits, (40, 60))
    assert masks.shape == (2, 1, 40, 60)
    assert masks.sum((1, 2, 3)).tolist() == [25 * 13, 2400]


@pytest.mark.parametrize(
    ("multimask", "low", "label", "said"),
    [
        (False, None, 1, "cannot be asked for one mask"),
        (True, torch.zeros(1, 4, 4), 1, "takes no mask prompt"),
        (True, None, -2, "takes no click that is none"),
    ],
)
def test_what_a_predictor_cannot_take_is_refused(multimask, low, label, said):
    segmenter = zoo.load(f"{FACTORIES}:plain")
    (embedding,) = segmenter.embed([image(40, 60)])
    with pytest.raises(UnsupportedPrompt, match=said):
        segmenter.segment(embedding, Prompts(np.ones((1, 1, 2)), [[label]], low), multimask=multimask)


def test_a_predictor_without_low_resolution_logits_is_asked_all_but_its_own_masks():
    segmenter = zoo.load(f"{FACTORIES}:Unrefined")
    (embedding,) = segmenter.embed([image(40, 60)])
    boxes = Prompts.from_boxes([[5, 7, 30, 20], [0, 0, 60, 40]])
    answer = segmenter.segment(embedding, boxes)
    assert segmenter.masks(answer.logits, (40, 60)).sum((1, 2, 3)).tolist() == [25 * 13, 2400]
    with pytest.raises(UnsupportedPrompt, match="returns no low-resolution logits"):
        segmenter.segment(embedding, Prompts(boxes.points, boxes.labels, answer.logits[:, 0]))


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("Small", r"returned masks \[1, 1, 8, 8\] about an image of \[40, 60\] px: predict must return masks"),
        ("Pair", "must return masks, predicted IoU and low-resolution logits"),
        (
            "Unscored",
            r"returned a NoneType for an array .*: predict must return masks \[M, H, W\], predicted IoU \[M\]",
        ),
        ("Two", r"returned masks \[1, 2, 40, 60\] and predicted IoU \[1, 1\] for 1 prompts"),
        ("Breaks", r"failed in predict \(IndexError: no such layer\): it must do as SamPredictor"),
    ],
)
def test_an_answer_of_another_kind_gets_a_sentence(factory, said):
    segmenter = zoo.load(f"{FACTORIES}:{factory}")
    (embedding,) = segmenter.embed([image(40, 60)])
    with pytest.raises(BenchError, match=said):
        segmenter.segment(embedding, Prompts.from_boxes([[5, 7, 30, 20]]))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("predictor:no_such_package.module:build", "cannot be imported .*check the names, and that its package is"),
        (f"{FACTORIES}:no_such_factory", "cannot be imported .*check the names"),
        (f"{FACTORIES}:SIDE", "is a int, not a function that returns a predictor"),
        (f"{FACTORIES}:raises", "the factory of .* raised RuntimeError: no weights here: mend it"),
        (f"{FACTORIES}:nothing", "returned a int, which has no set_image and predict"),
        (f"{FACTORIES}:plain?size=9", "the factory of .* raised TypeError: .*'size'"),
        ("predictor:module", "names no factory of predictors: write predictor:PACKAGE.MODULE:FACTORY"),
        ("predictor:module:build?checkpoint", "names no factory of predictors"),
    ],
)
def test_a_factory_that_is_not_there_or_fails_gets_a_sentence(spec, said):
    with pytest.raises(BenchError, match=said):
        zoo.load(spec)
