"""Training data of detectors: photos with objects, and batches that depend on the seed and their number alone."""

from __future__ import annotations

from functools import partial
from typing import Protocol, TypedDict

import numpy as np

from bench.data.boxes import tight_box_xyxy
from bench.data.images import read_rgb
from bench.data.instances import Instances
from bench.data.training.jitter import PADDING, LabelledPhoto, large_scale_jitter
from models.errors import BenchError


class DetectionTarget(TypedDict):
    """The objects of one image of a batch."""

    boxes: np.ndarray
    """float32 [N, 4] xyxy, px, tight around what is left of the masks (detectron2's `recompute_boxes`)."""
    labels: np.ndarray
    """int64 [N] from 1 on."""
    masks: np.ndarray
    """bool [N, S, S]."""


class DetectionBatch(TypedDict):
    """What one step sees."""

    images: np.ndarray
    """uint8 [B, 3, S, S] RGB."""
    targets: list[DetectionTarget]


class LabelledPhotos(Protocol):
    """Photos with objects, by number."""

    def __len__(self) -> int: ...

    def photo(self, index: int, /) -> LabelledPhoto:
        """Return a photo and its objects."""


class CocoPhotos:
    """The photos of an annotation file in COCO's format that have objects; crowds are left out.

    Args:
        instances: opened by `bench.data.instances.open_instances`.

    Attributes:
        category_ids: ids[label - 1] is the category of a label.
        without_objects: how many photos are kept out, since nothing but crowds is annotated in them, if anything.

    Raises:
        BenchError: if an annotation is of a category that the file does not list, or no photo has an object.
    """

    def __init__(self, instances: Instances) -> None:
        labels = instances.labels()
        self.category_ids = tuple(sorted(instances.categories))
        unknown = sorted(set(labels.category_id.tolist()) - set(self.category_ids))
        if unknown:
            raise BenchError(
                f"{instances.annotation_path} has objects of category {unknown[0]}, which is not among its "
                f"{len(self.category_ids)} categories: add it to the list, or download the file again"
            )
        with_objects = set(labels.image_id[~labels.iscrowd].tolist())
        self._images = tuple(info for info in instances.images if info.id in with_objects)
        self.without_objects = len(instances.images) - len(self._images)
        if not self._images:
            raise BenchError(f"no photo of {instances.annotation_path} has an object: nothing can be learned from it")
        self._instances = instances
        self._label_of = {category: label for label, category in enumerate(self.category_ids, start=1)}

    def __len__(self) -> int:
        return len(self._images)

    def photo(self, index: int) -> LabelledPhoto:
        """Return a photo and its objects.

        Raises:
            BenchError: if the photo is damaged, or of another size than the annotation file says.
        """
        info = self._images[index]
        image = read_rgb(info.path, size=(info.height, info.width))
        objects = [one for one in self._instances.annotations(info.id) if not one.iscrowd]
        return LabelledPhoto(
            image,
            np.stack([one.mask(info.height, info.width) for one in objects]),
            np.array([self._label_of[one.category_id] for one in objects], dtype=np.int64),
        )


class DetectionBatches:
    """Batch `step` of a training run: the same for the same seed, whatever came before, so resuming is exact.

    Args:
        photos: seen once in each epoch, in another order every time; what is left at its end is not seen.
        images: of a batch.
        side: of the square input, px.
        scale: of `large_scale_jitter`.
        seed: of order and jitter.
        padding: RGB beside photos.

    Raises:
        BenchError: if there are fewer photos than a batch wants.
    """

    def __init__(
        self,
        photos: LabelledPhotos,
        *,
        images: int,
        side: int,
        scale: tuple[float, float],
        seed: int,
        padding: tuple[int, int, int] = PADDING,
    ) -> None:
        if len(photos) < images:
            raise BenchError(f"{images} images a micro-batch, but only {len(photos)} photos with objects: use fewer")
        self._photos, self._images, self._seed = photos, images, seed
        self._jitter = partial(large_scale_jitter, side=side, scale=scale, padding=padding)

    def __getitem__(self, step: int) -> DetectionBatch:
        epoch, position = divmod(step, len(self._photos) // self._images)
        order = np.random.default_rng((self._seed, epoch)).permutation(len(self._photos))
        rng = np.random.default_rng((self._seed, 1, step))
        seen = [
            self._jitter(self._photos.photo(index), rng)
            for index in order[position * self._images : (position + 1) * self._images].tolist()
        ]
        return {
            "images": np.stack([photo.image.transpose(2, 0, 1) for photo in seen]),
            "targets": [_target(photo) for photo in seen],
        }


def _target(photo: LabelledPhoto) -> DetectionTarget:
    boxes = np.array([tight_box_xyxy(mask) for mask in photo.masks], dtype=np.float32).reshape(-1, 4)
    return {"boxes": boxes, "labels": photo.labels, "masks": photo.masks}
