"""Batches of augmented photos are a function of the micro-batch number."""

from __future__ import annotations

import numpy as np
import pytest

from bench.data.training.classification import AugmentedBatches
from models.errors import BenchError

PHOTOS = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
LABELS = np.arange(10) * 11


def noting(photo: np.ndarray, seed: tuple[int, ...]) -> np.ndarray:
    """Say which photo it was and what it was seeded with."""
    return np.array([photo[0, 0, 0], *seed], np.float32)


def batches(seed: int = 5, count: int = 3) -> AugmentedBatches:
    return AugmentedBatches(PHOTOS, LABELS, augment=noting, images_per_batch=count, seed=seed)  # type: ignore[arg-type]


def test_labels_stay_with_their_photos() -> None:
    batch = batches()[4]
    np.testing.assert_array_equal(batch["labels"], batch["images"][:, 0] * 11)
    assert batch["images"].dtype == np.float32


def test_an_epoch_sees_every_photo_at_most_once_and_the_next_in_another_order() -> None:
    orders = [[i for micro in range(3 * e, 3 * e + 3) for i in batches()[micro]["labels"].tolist()] for e in range(3)]
    assert [len(set(order)) for order in orders] == [9, 9, 9]
    assert len({tuple(order) for order in orders}) == 3


def test_a_batch_does_not_depend_on_those_before_it() -> None:
    fresh, used = batches(), batches()
    for micro in (7, 0, 3):
        used[micro]
    np.testing.assert_array_equal(fresh[5]["images"], used[5]["images"])


def test_augmentation_is_seeded_by_run_epoch_and_photo() -> None:
    seeds = [tuple(row[1:]) for micro in range(9) for row in batches()[micro]["images"].tolist()]
    assert len(set(seeds)) == 27
    assert {seed[0] for seed in seeds} == {5}
    assert not set(seeds) & {tuple(row[1:]) for micro in range(9) for row in batches(6)[micro]["images"].tolist()}


def test_photos_do_not_see_another_augmentation_in_other_batches() -> None:
    """Sharing the work among more processes changes no photo's pixels."""
    by_photo = {tuple(row) for micro in range(5) for row in batches(count=2)[micro]["images"].tolist()}
    assert {tuple(row) for micro in range(3) for row in batches()[micro]["images"].tolist()} <= by_photo


def test_too_few_photos_or_labels_are_an_error() -> None:
    with pytest.raises(BenchError, match="lower it"):
        batches(count=11)
    with pytest.raises(BenchError, match="10 photos but 9 labels"):
        AugmentedBatches(PHOTOS, LABELS[1:], augment=noting, images_per_batch=2, seed=0)  # type: ignore[arg-type]
