"""Crops, points and edges are the published ones."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from segment_anything.utils import amg

from models.everything.crops import Crop, are_cut, crops_of, grid, points_in

LENGTH = st.integers(1, 3000)


@given(LENGTH, LENGTH, st.integers(0, 3), st.floats(0, 0.99))
def test_crops_are_the_published_ones_in_their_order(height: int, width: int, layers: int, overlap: float) -> None:
    boxes, of_layers = amg.generate_crop_boxes((height, width), layers, overlap)
    expected = [
        (layer, *box) for layer, box in zip(of_layers, boxes, strict=True) if box[0] < box[2] and box[1] < box[3]
    ]
    assert crops_of((height, width), layers, overlap) == [Crop(*one) for one in expected]


@given(LENGTH, LENGTH, st.integers(1, 3))
def test_crops_cover_the_image(height: int, width: int, layers: int) -> None:
    for layer in range(1, layers + 1):
        crops = [crop for crop in crops_of((height, width), layers, 512 / 1500) if crop.layer == layer]
        assert {crop.x0 for crop in crops} >= {0}
        assert max(crop.x1 for crop in crops) == width
        assert max(crop.y1 for crop in crops) == height
        assert all(crop.size[0] > 0 and crop.size[1] > 0 for crop in crops)


@given(st.integers(1, 40), st.integers(1, 2), st.integers(1, 3))
def test_points_of_a_crop_are_the_published_ones_to_the_bit(side: int, layer: int, downscale: int) -> None:
    crop = Crop(layer, 10, 20, 347, 121)
    if side // downscale**layer:
        grids = amg.build_all_layer_point_grids(side, layer, downscale)
        np.testing.assert_array_equal(points_in(crop, side, downscale), grids[layer] * np.array([337, 101]))
    else:
        np.testing.assert_array_equal(points_in(crop, side, downscale), [[168.5, 50.5]])


@given(st.integers(1, 64))
def test_points_are_in_the_middles_of_cells(side: int) -> None:
    cells = grid(side) * side - 0.5
    np.testing.assert_allclose(cells, np.rint(cells), atol=1e-9)
    assert len(np.unique(np.rint(cells), axis=0)) == side**2


@given(arrays(np.int64, (6, 4), elements=st.integers(0, 120)))
def test_a_box_is_cut_where_the_published_code_says_so(boxes: np.ndarray) -> None:
    crop = Crop(1, 30, 0, 150, 90)
    expected = amg.is_box_near_crop_edge(torch.from_numpy(boxes), list(crop.box_xyxy), [0, 0, 200, 100])
    np.testing.assert_array_equal(are_cut(boxes + np.array([30, 0, 30, 0]), crop, (100, 200)), expected)
