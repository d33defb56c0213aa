import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from protocols.clicks import error_click, farthest_from_edge, random_clicks, ritm_click

masks = hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(np.any)


@given(masks, st.integers(1, 5), st.integers(0, 2**40))
def test_random_clicks_are_pixels_of_the_mask(mask, count, annotation_id):
    clicks = random_clicks(mask, count, seed=0, repeat=0, annotation_id=annotation_id).astype(int)
    assert clicks.shape == (count, 2)
    assert mask[clicks[:, 1], clicks[:, 0]].all()


@given(masks, st.integers(0, 2**40))
def test_a_longer_sequence_of_clicks_begins_with_the_shorter_one(mask, annotation_id):
    one, three = (random_clicks(mask, n, seed=3, repeat=1, annotation_id=annotation_id) for n in (1, 3))
    np.testing.assert_array_equal(three[:1], one)


def test_clicks_differ_between_seeds_repeats_and_annotations():
    mask = np.ones((200, 200), bool)
    keys = [(0, 0, 1), (1, 0, 1), (0, 1, 1), (0, 0, 2)]
    clicks = {tuple(random_clicks(mask, 3, seed=s, repeat=r, annotation_id=a).ravel().tolist()) for s, r, a in keys}
    assert len(clicks) == len(keys)


def test_random_clicks_fall_evenly_over_the_mask():
    mask = np.zeros((10, 10), bool)
    mask[2:6, 1:9] = True
    clicks = np.concatenate([random_clicks(mask, 50, seed=0, repeat=0, annotation_id=i) for i in range(200)])
    counts = np.zeros(mask.shape)
    np.add.at(counts, (clicks[:, 1].astype(int), clicks[:, 0].astype(int)), 1)
    expected = len(clicks) / mask.sum()
    chi_squared = ((counts[mask] - expected) ** 2 / expected).sum()
    assert chi_squared < 62.5  # 99.9 % quantile at 31 degrees of freedom is 61.1


def test_the_deepest_pixel_of_a_square_is_its_middle():
    mask = np.zeros((20, 20), bool)
    mask[4:11, 6:13] = True
    assert farthest_from_edge(mask).tolist() == [9, 7]


def test_the_border_of_the_image_counts_as_an_edge():
    mask = np.ones((9, 9), bool)
    assert farthest_from_edge(mask).tolist() == [4, 4]


@given(masks, st.data())
def test_a_ritm_click_lies_in_the_error_and_its_label_says_which(truth, data):
    prediction = data.draw(hnp.arrays(bool, truth.shape))
    (x, y), label = ritm_click(truth, prediction)
    if (truth ^ prediction).any():
        assert truth[int(y), int(x)] != prediction[int(y), int(x)]
        assert label == truth[int(y), int(x)]
    else:
        assert truth[int(y), int(x)]
        assert label == 1


def test_a_ritm_click_goes_to_the_deeper_of_the_two_errors():
    truth, prediction = np.zeros((30, 30), bool), np.zeros((30, 30), bool)
    truth[2:5, 2:5] = True
    prediction[10:25, 10:25] = True
    point, label = ritm_click(truth, prediction)
    assert (point.tolist(), label) == ([17, 17], 0)


@given(masks, st.data())
def test_an_error_click_lies_in_the_error_or_in_the_mask_if_nothing_is_wrong(truth, data):
    prediction = data.draw(hnp.arrays(bool, truth.shape))
    (x, y), label = error_click(truth, prediction, seed=0, position=1, annotation_id=7)
    region = truth ^ prediction if (truth ^ prediction).any() else truth
    assert region[int(y), int(x)]
    assert label == truth[int(y), int(x)]
