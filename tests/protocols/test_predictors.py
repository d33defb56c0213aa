import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.segmenter import Prompts
from protocols.axes import Axes
from protocols.predictors import PROMPTS_AT_ONCE, Ceiling, Floor, ModelPredictor, fill_box
from tests.protocols.fakes import DiscModel, disc

IMAGE = np.zeros((32, 40, 3), np.uint8)
CLICK = Prompts([[[20, 16]]], [[1]])
BOX = Prompts.from_boxes([[14, 10, 26, 22]])


def ask(prompts, truth=None, **axes):
    predictor = ModelPredictor(DiscModel(), Axes(**axes))
    predictor.set_image(IMAGE)
    return predictor.predict(prompts, np.zeros((len(prompts), 32, 40), bool) if truth is None else truth)


def test_the_most_confident_candidate_counts():
    answer = ask(CLICK)
    assert answer.pick.tolist() == [1]
    assert answer.predicted_iou.tolist() == pytest.approx([0.9])
    np.testing.assert_array_equal(answer.masks[0], disc(20, 16, 6))


def test_single_asks_for_the_single_mask_token():
    np.testing.assert_array_equal(ask(CLICK, mask_pick="single").masks[0], disc(20, 16, 3))


def test_oracle_takes_the_candidate_nearest_to_the_truth():
    assert ask(CLICK, disc(20, 16, 11)[None], mask_pick="oracle").pick.tolist() == [2]


@pytest.mark.parametrize(("rule", "side", "pick"), [("box_iou", 23, 2), ("filled_box_iou", 5, 0), ("box_iou", 11, 1)])
def test_box_rules_take_the_candidate_that_fits_the_box_best(rule, side, pick):
    box = Prompts.from_boxes([[20 - side / 2, 16 - side / 2, 20 + side / 2, 16 + side / 2]])
    assert ask(box, mask_pick=rule).pick.tolist() == [pick]


def test_box_rules_leave_clicks_to_the_predicted_iou():
    assert ask(CLICK, mask_pick="box_iou").pick.tolist() == [1]


def test_refinement_feeds_the_picked_logits_back():
    model = DiscModel()
    predictor = ModelPredictor(model, Axes(refinement=1))
    predictor.set_image(IMAGE)
    predictor.predict(BOX, np.zeros((1, 32, 40), bool))
    first, second = model.seen
    assert first.mask_logits is None
    assert second.mask_logits is not None
    np.testing.assert_array_equal(second.mask_logits[0] > 0, disc(20, 16, 6))


def test_answers_do_not_depend_on_how_prompts_are_grouped():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 30, (2 * PROMPTS_AT_ONCE + 3, 1, 2))
    together = ask(Prompts(points, np.ones(points.shape[:2])))
    for row in (0, PROMPTS_AT_ONCE, len(points) - 1):
        alone = ask(Prompts(points[row : row + 1], np.ones((1, 1))))
        np.testing.assert_array_equal(together.masks[row], alone.masks[0])


def test_no_prompts_give_no_masks():
    answer = ask(Prompts(np.zeros((0, 1, 2)), np.zeros((0, 1))))
    assert answer.masks.shape == (0, 32, 40)


def test_the_floor_fills_the_box_and_draws_discs_around_clicks():
    floor = Floor()
    floor.set_image(IMAGE)
    truths = np.zeros((1, 32, 40), bool)
    np.testing.assert_array_equal(floor.predict(BOX, truths).masks[0], fill_box([14, 10, 26, 22], (32, 40)))
    two = floor.predict(Prompts([[[5, 5], [30, 20]]], [[1, 1]]), truths).masks[0]
    np.testing.assert_array_equal(two, disc(5, 5, 2.01) | disc(30, 20, 2.01))


def test_a_filled_box_holds_the_pixels_whose_centres_it_covers():
    mask = fill_box([1, 2, 4, 3], (5, 6))
    assert mask.sum() == 3
    assert mask[2, 1:4].all()
    assert fill_box([1.6, 2, 4, 3], (5, 6)).sum() == 2


def test_the_ceiling_is_the_truth_through_a_resize_and_back():
    ceiling = Ceiling()
    ceiling.set_image(np.zeros((427, 640, 3), np.uint8))
    truth = np.stack([disc(300, 200, radius, (427, 640)) for radius in (20, 100)])
    answer = ceiling.predict(Prompts([[[0, 0]], [[0, 0]]], [[1], [1]]), truth)
    masks = answer.masks
    assert answer.cells is None, "nobody asked for them"
    assert ceiling.predict(Prompts([[[9, 9]], [[9, 9]]], [[1], [1]]), truth) is answer, "the same truths, once"
    there = F.interpolate(torch.from_numpy(truth)[:, None].float() * 2 - 1, (683, 1024), mode="bilinear") > 0
    back = F.interpolate(there.float() * 2 - 1, (427, 640), mode="bilinear")[:, 0] > 0
    np.testing.assert_array_equal(masks, back.numpy())
    other = ceiling.predict(Prompts([[[0, 0]]], [[1]]), truth[:1])
    np.testing.assert_array_equal(other.masks, masks[:1])
    for mask, true in zip(masks, truth, strict=True):
        assert (mask & true).sum() / (mask | true).sum() > 0.99
