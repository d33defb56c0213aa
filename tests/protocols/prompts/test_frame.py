import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from models.frames import resized
from protocols.prompts.frame import SIDE, Frame

sizes = st.tuples(st.integers(1, 1500), st.integers(1, 1500))


def random_mask(size, seed=0):
    return np.random.default_rng(seed).random(size) < 0.3


def in_square(inner):
    square = torch.zeros(1, 1, SIDE, SIDE)
    square[0, 0, : inner.shape[0], : inner.shape[1]] = torch.from_numpy(inner).float()
    return square


@given(sizes)
def test_an_image_is_resized_as_sams_input_is(size):
    assert Frame.of(size).inner == resized(size, SIDE)


@given(sizes)
def test_masks_enter_the_frame_by_torchs_nearest_neighbours(size):
    mask, frame = random_mask(size), Frame.of(size)
    expected = F.interpolate(torch.from_numpy(mask).float()[None, None], frame.inner, mode="nearest")
    np.testing.assert_array_equal(frame.enter(mask), expected[0, 0].numpy() > 0)


@given(sizes, st.sampled_from([256, 64]))
def test_cells_are_what_bilinear_interpolation_of_the_square_touches(size, count):
    frame = Frame.of(size)
    inner = random_mask(frame.inner)
    touched = F.interpolate(in_square(inner), (count, count), mode="bilinear", align_corners=False)[0, 0]
    np.testing.assert_array_equal(frame.cells(inner, count), touched.numpy() > 0)
    inside = F.interpolate(in_square(np.ones(frame.inner)), (count, count), mode="bilinear", align_corners=False)
    np.testing.assert_array_equal(frame.inside(count), inside[0, 0].numpy())


def test_a_mask_that_returns_to_a_small_image_has_grown_and_lost_nothing():
    mask = np.zeros((427, 640), bool)
    mask[101:142, 203:261] = True
    frame = Frame.of(mask.shape)
    back = frame.leave(frame.enter(mask))
    assert not (mask & ~back).any()
    assert 0 < (back & ~mask).sum() < 300


@given(sizes)
def test_points_of_the_frame_become_pixels_that_sam_scales_back(size):
    frame = Frame.of(size)
    points = np.array([[0.0, 0.0], [4.0, 12.0], [frame.inner[1] - 1, frame.inner[0] - 1]])
    scale = np.array(frame.inner[::-1]) / np.array(size[::-1])
    np.testing.assert_allclose(frame.to_image(points) * scale, points, atol=2e-3)
