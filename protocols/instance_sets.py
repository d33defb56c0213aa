"""COCO and LVIS as Tables 4 and 5 ask about them."""

from __future__ import annotations

from collections.abc import Iterator

from bench.data import is_published_set, open_instances
from protocols.axes import Axes
from protocols.data_set import DataSet
from protocols.plan import Plan
from protocols.settings import Settings
from protocols.shards import asked_about

WORLDS = {"paper": "data of BENCH_DATA", "micro": "dead leaves at 256 px"}
"""Data of each scale, in words."""
MOST_DETECTIONS = {"coco": 1000, "lvis": 300}
"""Detections of an image that are asked, the best. On COCO the evaluator counts the best 100 of each category
(pycocotools), so this bound is ours; on LVIS it counts the best 300 of all (lvis)."""
BEST_OF_IMAGE = 100
"""Detections of an image that are asked where the cap is over all categories (`Axes.detection_cap`)."""


def open_instance_set(name: str, plan: Plan, settings: Settings) -> DataSet:
    """Open coco or lvis under the root of a plan; a limit takes the first images by id.

    Raises:
        MissingData: if it is not there.
    """
    instances, axes = open_instances(name, plan.root), settings.axes
    val2017_alone = name == "lvis" and axes.lvis_images == "val2017"
    every = [info for info in instances.images if not val2017_alone or info.path.parent.name == "val2017"]
    images = tuple(every[: settings.limit])
    whole = is_published_set(instances) and len(images) == len(instances.images)
    return DataSet(
        name=name,
        source=instances,
        sha256=instances.sha256,
        truth={"sha256": instances.sha256},
        asked=asked_about(images),
        of_images=len(instances.images),
        published="the published set" if whole else "",
        axes=axes,
    )


def axes_of(data: DataSet) -> Axes:
    """Return the choices that an instance set is asked under."""
    assert data.axes is not None
    return data.axes


def most_detections(data_set: str, axes: Axes) -> int:
    """Return how many detections of an image are asked, the best of all categories together."""
    of_image = data_set == "coco" and axes.detection_cap == "image"
    return BEST_OF_IMAGE if of_image else MOST_DETECTIONS[data_set]


def data_notes(data: DataSet) -> Iterator[str]:
    """Say what is wrong with the annotations."""
    yield from (f"{data.name.upper()}: {problem}" for problem in data.source.problems)
