import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import distance_transform_edt

from models.segmenter import NO_CLICK
from protocols.prompts.error_clicks import approximate_depth, approximate_middle, error_click, pixel_errors
from protocols.prompts.mass_clicks import clearance, mass_click
from protocols.prompts.random_clicks import edge_distance, farthest_from_edge, random_clicks, ritm_click

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


@given(masks)
def test_depths_are_those_of_the_whole_image(mask):
    whole = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    np.testing.assert_array_equal(edge_distance(mask), whole.astype(np.float32))


def test_the_border_of_the_image_counts_as_an_edge():
    mask = np.ones((9, 9), bool)
    assert farthest_from_edge(mask).tolist() == [4, 4]


@given(masks, st.sampled_from(["object", "background"]), st.data())
def test_a_ritm_click_lies_in_the_error_and_its_label_says_which(truth, tie, data):
    prediction = data.draw(hnp.arrays(bool, truth.shape))
    (x, y), label = ritm_click(truth, prediction, tie=tie)
    if (truth ^ prediction).any():
        assert truth[int(y), int(x)] != prediction[int(y), int(x)]
        assert label == truth[int(y), int(x)]
    elif tie == "object":
        assert truth[int(y), int(x)]
        assert label == 1
    else:
        assert (x, y, label) == (0, 0, 0)


def test_equally_deep_errors_are_clicked_on_the_side_that_the_tie_says():
    truth = np.zeros((9, 20), bool)
    truth[2:5, 2:5] = True
    prediction = truth[:, ::-1]
    assert ritm_click(truth, prediction, tie="object")[1] == 1
    assert ritm_click(truth, prediction, tie="background")[1] == 0


@given(masks, st.data())
def test_a_clicked_pixel_is_clicked_again_only_if_no_other_is_wrong(truth, data):
    prediction = data.draw(hnp.arrays(bool, truth.shape))
    wrong = np.argwhere(truth ^ prediction)[:, ::-1]
    before = wrong[: data.draw(st.integers(0, len(wrong)))]
    point, _ = ritm_click(truth, prediction, tie="background", clicked=before)
    if len(before) < len(wrong):
        assert point.tolist() in wrong[len(before) :].tolist()


def test_a_ritm_click_goes_to_the_deeper_of_the_two_errors():
    truth, prediction = np.zeros((30, 30), bool), np.zeros((30, 30), bool)
    truth[2:5, 2:5] = True
    prediction[10:25, 10:25] = True
    point, label = ritm_click(truth, prediction)
    assert (point.tolist(), label) == ([17, 17], 0)


@given(masks, st.integers(0, 20), st.data())
def test_an_error_click_lies_in_the_error_or_is_none_where_the_error_is_small(truth, smallest, data):
    prediction = data.draw(hnp.arrays(bool, truth.shape))
    errors = pixel_errors(truth, prediction)
    (x, y), label = error_click(errors, smallest=smallest, seed=0, position=1, annotation_id=7)
    if (truth ^ prediction).sum() < max(1, smallest):
        assert (x, y, label) == (0, 0, NO_CLICK)
    else:
        assert truth[int(y), int(x)] != prediction[int(y), int(x)]
        assert label == truth[int(y), int(x)]


@given(masks)
def test_the_approximate_depth_grows_ring_by_ring_as_its_definition_says(mask):
    outside = ~np.pad(mask, 1)
    depth, ring = np.zeros(outside.shape), 0
    while not outside.all():
        near = np.zeros(outside.shape)
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                moved = np.roll(outside, (down, right), axis=(0, 1))
                near += moved * np.exp(-np.hypot(down, right) / 0.35)
        reached = ~outside & (near > 0)
        depth[reached] = ring - 0.35 * np.log(near[reached])
        outside, ring = outside | reached, ring + 1
    np.testing.assert_allclose(approximate_depth(mask), depth[1:-1, 1:-1], atol=1e-5)


@given(masks)
def test_the_approximate_middle_is_a_deepest_pixel(mask):
    depth = approximate_depth(mask)
    x, y = approximate_middle(mask).astype(int)
    assert depth[y, x] == depth.max()
    assert (depth > 0).tolist() == mask.tolist()


def test_the_middle_of_nothing_is_the_first_pixel():
    assert approximate_middle(np.zeros((4, 5), bool)).tolist() == [0, 0]


@given(masks)
def test_a_mass_click_lies_in_the_mask(mask):
    x, y = mass_click(mask).astype(int)
    assert mask[y, x]


def test_a_mass_click_is_the_centre_of_mass_or_else_far_from_the_nearest_edge():
    mask = np.zeros((30, 30), bool)
    mask[5:20, 3:12] = True
    assert mass_click(mask).tolist() == [7, 12]
    ring = np.ones((30, 30), bool)
    ring[4:24, 4:24] = False
    assert clearance(ring)[tuple(mass_click(ring).astype(int)[::-1])] == clearance(ring).max() == 5


def test_a_mass_click_stops_at_the_first_pixel_that_is_far_enough():
    mask = np.ones((200, 200), bool)
    mask[90:110, 90:110] = False
    assert mass_click(mask).tolist() == [20, 20], "deeper pixels follow in later rows"


@given(masks)
def test_clearance_is_the_shortest_way_to_the_mask_s_edge_along_rows_and_columns(mask):
    padded = np.pad(mask, 1)
    for y, x in np.argwhere(mask):
        ways = (padded[y::-1, x + 1], padded[y + 2 :, x + 1], padded[y + 1, x::-1], padded[y + 1, x + 2 :])
        assert clearance(mask)[y, x] == min(int(np.argmin(way)) for way in ways)
