"""How prompts choose among FastSAM's masks, against the published definition, and the segmenter."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import save_file
from torchvision.ops import box_convert, nms

from bench.data.dead_leaves import draw_scene
from bench.data.dead_leaves.training import TRAINING_SEED
from models import zoo
from models.errors import BenchError
from models.fastsam.masks import in_image, masks_of, snapped
from models.fastsam.segmenter import FastSamSegmenter, choose_by_box, choose_by_points
from models.fastsam.yolo import ultralytics
from models.files.trust import vouched_for
from models.segmenter import Prompts, Segmenter
from protocols import table5
from protocols.plan import make_plan
from tests.models.recipe import image
from tests.protocols.fakes import settings

needs_ultralytics = pytest.mark.skipif(
    importlib.util.find_spec("ultralytics") is None, reason="the extra `fastsam` is not installed"
)
UNSEEN = 6000
"""First scene of the training world that no micro model was trained on."""
RECALL = 0.75
"""Least share of objects found at IoU 0.5: 0.87 of these 106 measured; 7 of 10 after a third of the training."""

H, W = 9, 12
MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 5), st.just(H), st.just(W)))
BOXES = hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.just(4)), elements=st.floats(-3, 15))
COUNTS = st.tuples(st.integers(1, 4), st.integers(1, 3))


def box_iou_by_definition(mask: np.ndarray, box: np.ndarray) -> float:
    """IoU of a mask with the box filled in, corners rounded and clipped as in the published code."""
    x1, y1 = (max(round(value), 0) for value in box[:2])
    x2, y2 = min(round(box[2]), W), min(round(box[3]), H)
    filled = np.zeros((H, W), dtype=bool)
    filled[y1 : max(y2, 0), x1 : max(x2, 0)] = True
    union = (mask | filled).sum()
    return (mask & filled).sum() / union if union else 0.0


def points_by_definition(masks: np.ndarray, points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Paint one prompt pixel by pixel: the smallest mask around a pixel that holds a point decides."""
    painted = np.zeros((H, W), dtype=bool)
    for mask in sorted(masks, key=np.sum, reverse=True):
        inside = [label for (x, y), label in zip(points, labels, strict=True) if label >= 0 and mask[int(y), int(x)]]
        if inside:
            painted[mask] = inside[-1] == 1
    return painted


@given(MASKS, BOXES)
def test_a_box_chooses_the_mask_of_the_largest_iou(masks: np.ndarray, boxes: np.ndarray) -> None:
    index, iou = choose_by_box(masks, boxes)
    truth = np.array([[box_iou_by_definition(mask, box) for mask in masks] for box in boxes])
    np.testing.assert_array_equal(index, truth.argmax(1))
    np.testing.assert_allclose(iou, truth.max(1))


@given(MASKS, BOXES)
def test_many_boxes_get_the_answers_each_gets_alone(masks: np.ndarray, boxes: np.ndarray) -> None:
    index, iou = choose_by_box(masks, boxes)
    for row, box in enumerate(boxes):
        alone, alone_iou = choose_by_box(masks, box[None])
        assert (alone[0], alone_iou[0]) == (index[row], iou[row])


@given(MASKS, BOXES)
def test_the_budget_of_memory_changes_no_answer(masks: np.ndarray, boxes: np.ndarray) -> None:
    whole = choose_by_box(masks, boxes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.fastsam.segmenter._PIXELS_AT_ONCE", 1)
        for one, other in zip(whole, choose_by_box(masks, boxes), strict=True):
            np.testing.assert_array_equal(one, other)


@given(MASKS, BOXES)
def test_choosing_changes_neither_boxes_nor_masks(masks: np.ndarray, boxes: np.ndarray) -> None:
    before = masks.copy(), boxes.copy()
    choose_by_box(masks, boxes)
    np.testing.assert_array_equal(masks, before[0])
    np.testing.assert_array_equal(boxes, before[1])


@given(MASKS, st.data())
def test_points_paint_the_masks_around_them_largest_first(masks: np.ndarray, data: st.DataObject) -> None:
    count, each = data.draw(COUNTS)
    points = data.draw(hnp.arrays(np.float64, (count, each, 2), elements=st.floats(0, H - 0.01)))
    labels = data.draw(hnp.arrays(np.int64, (count, each), elements=st.sampled_from([-1, 0, 1])))
    answers = choose_by_points(masks, points, labels)
    for answer, one, which in zip(answers, points, labels, strict=True):
        np.testing.assert_array_equal(answer, points_by_definition(masks, one, which))


def test_a_click_gives_the_union_of_the_masks_around_it_and_the_last_click_in_a_mask_decides() -> None:
    part, whole, elsewhere = np.zeros((3, H, W), dtype=bool)
    part[2:4, 2:4] = whole[1:6, 1:6] = elsewhere[7:, 9:] = True
    masks = np.stack([part, whole, elsewhere])
    in_part, in_whole, in_other = [2.0, 2.0], [5.0, 5.0], [9.0, 8.0]
    points = np.array([[in_part, in_other], [in_part, in_whole], [in_whole, in_part]])
    clicked, carved, erased = choose_by_points(masks, points, np.array([[1, 1], [0, 1], [1, 0]]))
    np.testing.assert_array_equal(clicked, whole | elsewhere)
    np.testing.assert_array_equal(carved, whole & ~part)
    assert not erased.any()


def segmenter(*masks: np.ndarray) -> FastSamSegmenter:
    """A segmenter whose everything-pass finds these masks in any image."""
    found = np.stack(masks) if masks else np.zeros((0, H, W), dtype=bool)
    return FastSamSegmenter(lambda image: found, name="fastsam-s")


@pytest.fixture
def corner() -> np.ndarray:
    mask = np.zeros((H, W), dtype=bool)
    mask[:4, :4] = True
    return mask


def test_it_is_a_segmenter() -> None:
    assert isinstance(segmenter(), Segmenter)


def test_the_everything_pass_runs_once_an_image(corner: np.ndarray) -> None:
    seen: list[np.ndarray] = []
    model = FastSamSegmenter(lambda image: seen.append(image) or corner[None], name="fastsam-s")
    (embedding,) = model.embed([image(H, W)])
    for _ in range(3):
        model.segment(embedding, Prompts.from_boxes([[0, 0, 4, 4]]))
    assert len(seen) == 1


def test_boxes_and_clicks_about_one_image_get_an_answer_each(corner: np.ndarray) -> None:
    model = segmenter(corner, ~corner)
    (embedding,) = model.embed([image(H, W)])
    prompts = Prompts(
        np.array([[[0, 0], [4, 4]], [[11, 8], [0, 0]], [[0, 0], [4, 4]]]), np.array([[2, 3], [1, -1], [2, 3]])
    )
    answer = model.segment(embedding, prompts)
    assert answer.logits.shape == (3, 1, H, W)
    np.testing.assert_array_equal(model.masks(answer.logits, (H, W))[:, 0], [corner, ~corner, corner])
    assert answer.predicted_iou[:, 0].tolist() == [1, 1, 1]


def test_without_any_mask_answers_are_empty() -> None:
    model = segmenter()
    (embedding,) = model.embed([image(H, W)])
    answer = model.segment(embedding, Prompts.from_boxes([[0, 0, 4, 4], [1, 1, 2, 2]]))
    assert not model.masks(answer.logits, (H, W)).any()
    assert answer.predicted_iou.tolist() == [[0], [0]]


def test_no_prompts_get_no_answers(corner: np.ndarray) -> None:
    model = segmenter(corner)
    answer = model.segment(model.embed([image(H, W)])[0], Prompts.from_boxes(np.zeros((0, 4))))
    assert model.masks(answer.logits, (H, W)).shape == (0, 1, H, W)


def test_a_box_with_a_click_is_refused(corner: np.ndarray) -> None:
    model = segmenter(corner)
    prompts = Prompts(np.zeros((1, 3, 2)), np.array([[2, 3, 1]]))
    with pytest.raises(BenchError, match="a box or points, not both"):
        model.segment(model.embed([image(H, W)])[0], prompts)


def test_masks_of_another_size_are_refused(corner: np.ndarray) -> None:
    model = segmenter(corner)
    answer = model.segment(model.embed([image(H, W)])[0], Prompts.from_boxes([[0, 0, 4, 4]]))
    with pytest.raises(BenchError, match=r"the size of its image \[9, 12\], not \[18, 24\]"):
        model.masks(answer.logits, (18, 24))


def test_without_ultralytics_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ultralytics" else found(name))
    for name in ("fastsam-s", "fastsam-micro"):
        with pytest.raises(BenchError, match=r"pip install efficientsam-bench\[fastsam\]"):
            zoo.load(name, checkpoint=tmp_path / "x.pt")
    for name in ("fastsam-x", "fastsam-micro"):
        usable, why = zoo.available(name)
        assert not usable
        assert "pip install efficientsam-bench[fastsam]" in why


def test_without_ultralytics_table_5_measures_the_others_and_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ultralytics" else found(name))
    monkeypatch.setattr(table5, "micro_root", lambda: tmp_path)
    plan = make_plan(table5, settings(tmp_path / "runs", scale="micro"))
    status, why = plan.unmeasured["FastSAM"]
    assert status == "weights missing"
    assert "needs the package 'ultralytics': run `pip install efficientsam-bench[fastsam]`" in why
    assert {"SAM", "EfficientSAM-S"} <= {subject.row for subject in plan.subjects}


def test_a_checkpoint_of_another_model_is_refused_without_building_networks_of_other_packages(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(BenchError, match="does not fit 'sam-micro'"):
        zoo.load("sam-micro", checkpoint=tmp_path / "x.safetensors")


@needs_ultralytics
class TestUltralytics:
    def untrained(self, size: str) -> torch.nn.Module:
        """A network of its yaml files, untrained, but sure enough of many objects."""
        torch.manual_seed(0)
        tasks = ultralytics("ultralytics.nn.tasks")
        network = tasks.SegmentationModel(f"yolov8{size}-seg.yaml", nc=1, verbose=False)
        network.names, network.args, network.task = {0: "object"}, {"imgsz": 1024, "task": "segment"}, "segment"
        for layer in network.model[-1].cv3:
            layer[-1].bias.data.fill_(0)
        return network

    @pytest.mark.slow
    def test_it_finds_the_masks_and_prompts_choose_among_them(self, tmp_path: Path) -> None:
        path, photo = tmp_path / "FastSAM-s.pt", image(480, 640)
        torch.save({"model": self.untrained("s").half(), "train_args": {"imgsz": 1024}}, path)
        model = zoo.load("fastsam-s", checkpoint=path, trusted=vouched_for([path]))
        (embedding,) = model.embed([photo])
        assert embedding.features.shape[1:] == (480, 640)
        assert 0 < len(embedding.features) <= 300
        answer = model.segment(embedding, Prompts.from_boxes([[10, 10, 300, 200], [300, 100, 600, 400]]))
        chosen = model.masks(answer.logits, (480, 640))[:, 0]
        assert all((embedding.features == mask).all((1, 2)).any() for mask in chosen)
        published = self.published(path, photo)
        assert embedding.features.shape == published.shape
        assert np.mean(np.asarray(embedding.features) != published) < 1e-5  # a side that rounds across a pixel's centre

    def published(self, path: Path, photo: np.ndarray) -> np.ndarray:
        """Masks of a photo of 480 x 640 px by the authors' steps around the network alone."""
        resized = cv2.resize(photo, (1024, 768), interpolation=cv2.INTER_LINEAR)  # multiples of 32: no margins
        pixels = torch.from_numpy(resized.transpose(2, 0, 1)[None].copy()).float() / 255
        network = ultralytics("ultralytics").FastSAM(str(path)).model.float().fuse().eval()
        with torch.inference_mode():
            (rows, prototypes), *_ = network(pixels)
        rows = rows[0].T
        rows = rows[rows[:, 4] > 0.4]
        boxes = box_convert(rows[:, :4], "cxcywh", "xyxy")
        kept = nms(boxes, rows[:, 4], 0.9)[:300]
        boxes = in_image(snapped(boxes[kept], (768, 1024)), (768, 1024), (480, 640))
        return masks_of(boxes, rows[kept, 5:], prototypes[0], (480, 640)).numpy()

    def test_a_file_of_something_else_is_refused(self, tmp_path: Path) -> None:
        torch.save({"model": "nothing"}, tmp_path / "x.pt")
        with pytest.raises(BenchError, match="is not a checkpoint of FastSAM"):
            zoo.load("fastsam-s", checkpoint=tmp_path / "x.pt", trusted=vouched_for([tmp_path / "x.pt"]))

    def test_the_committed_weights_find_most_objects_of_training_scenes(self) -> None:
        """On scenes that nothing was trained on, but of the training world."""
        model = zoo.load("fastsam-micro")
        assert not model.custom
        best: list[float] = []
        for index in range(UNSEEN, UNSEEN + 8):
            scene = draw_scene(TRAINING_SEED, index)
            (embedding,) = model.embed([scene.image])
            found = embedding.features.numpy().reshape(len(embedding.features), -1).astype(float)
            for number in scene.objects():
                truth = scene.mask(number).ravel().astype(float)
                common = found @ truth
                best.append((common / (found.sum(1) + truth.sum() - common)).max())
        assert np.mean(np.array(best) >= 0.5) > RECALL
