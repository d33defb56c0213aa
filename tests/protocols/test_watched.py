import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as rle

from protocols.watched import Label, Mask, Number, Overlap, Watched, moved

IOUS = Watched(what="prompts", key=("image_id", "annotation_id"), values=(Number("iou", 0.002, "IoU"),))
MASKS = Watched(
    what="detections", key=("image_id", "category_id"), values=(Mask("h", "w", moved=0.01),), ranked_by="score", best=2
)


def disc(x, y, radius):
    rows, columns = np.mgrid[:32, :32]
    return np.hypot(columns - x, rows - y) <= radius


def ious(*values):
    return pd.DataFrame({"image_id": 1, "annotation_id": range(len(values)), "iou": values})


def masks(*those, scores=None):
    counts = [rle.encode(np.asfortranarray(one.astype(np.uint8)))["counts"].decode() for one in those]
    scores = scores or [1 - k / 10 for k in range(len(those))]
    return pd.DataFrame({"image_id": 1, "category_id": 3, "h": 32, "w": 32, "counts": counts, "score": scores})


def count(watched, first, second):
    return int(moved(watched, watched.kept(first), watched.kept(second))["moved"].sum())


def test_a_record_has_moved_when_its_value_differs_by_more_than_it_may():
    assert count(IOUS, ious(0.5, 0.6, 0.7), ious(0.5, 0.6015, 0.703)) == 1


def test_a_record_without_a_number_moved_only_if_it_had_one():
    assert count(IOUS, ious(0.5, np.nan, np.nan), ious(np.nan, np.nan, 0.5)) == 2


def test_a_record_that_only_one_of_both_has_counts_as_lost():
    compared = moved(IOUS, IOUS.kept(ious(0.5, 0.6)), IOUS.kept(ious(0.5)))
    assert compared["lost"].tolist() == compared["moved"].tolist() == [False, True]


def test_the_same_mask_has_not_moved_and_one_shifted_by_a_pixel_has():
    there = disc(16, 16, 9)
    assert count(MASKS, masks(there), masks(there)) == 0
    assert count(MASKS, masks(there), masks(np.roll(there, 1, axis=1))) == 1
    assert count(MASKS, masks(there), masks(disc(16, 16, 10))) == 1
    assert count(MASKS, masks(there), masks(np.zeros((32, 32), bool))) == 1


def test_detections_of_a_model_are_paired_by_their_rank_in_a_category_and_only_the_best_count():
    first, second, third = disc(8, 8, 5), disc(20, 20, 6), disc(16, 16, 3)
    one = masks(first, second, third, scores=[0.9, 0.8, 0.7])
    other = masks(third, second, first, scores=[0.1, 0.8, 0.9])
    assert count(MASKS, one, other) == 0


@given(st.integers(4, 24), st.integers(4, 24), st.integers(2, 6), st.integers(-2, 2), st.integers(-2, 2))
def test_what_is_said_of_two_masks_never_exceeds_what_a_few_pixels_can_do(x, y, radius, dx, dy):
    """Of discs that are shifted a little, it is between a third and thrice the share of pixels that differ."""
    one, other = disc(x, y, radius), disc(x + dx, y + dy, radius)
    if min(one.sum(), other.sum()) < 10:
        return
    mask = MASKS.values[0]
    said = mask.difference(*(pd.DataFrame(mask.kept(masks(which))) for which in (one, other)))[0]
    share = (one ^ other).sum() / max(one.sum(), other.sum())
    assert share / 4 <= said + 0.02
    assert said <= 4 * share + 0.02


def test_classes_and_overlaps_are_kept_as_they_are():
    label, overlap = Label("answer1", "class"), Overlap("intersection", "union", moved=0.002)
    records = pd.DataFrame({"answer1": [3, 4], "intersection": [50, 0], "union": [100, 0]})
    kept = pd.DataFrame({**label.kept(records), **overlap.kept(records)})
    other = kept.assign(answer1=[3, 5], intersection=[60, 0])
    assert label.difference(kept, other).tolist() == [0, 1]
    assert overlap.difference(kept, other).tolist() == pytest.approx([0.1, 0])
