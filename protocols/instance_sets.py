"""COCO and LVIS as Tables 4 and 5 ask about them."""

from __future__ import annotations

from collections.abc import Iterator

from bench.data import is_published_set, open_instances
from bench.data.own import open_own
from protocols.data_set import DataSet
from protocols.plan import Plan
from protocols.settings import Settings
from protocols.shards import asked_about

TAKES = frozenset(
    (
        *("scale", "models", "checkpoint", "trust", "preset", "axis", "limit", "seed", "repeats"),
        *("device", "engine", "embeddings", "data"),
    )
)
"""Options of `bench run` that mean something to tables of promptable models."""
WORLDS = {"paper": "data of BENCH_DATA", "micro": "dead leaves at 256 px"}
"""Data of each scale, in words."""


def open_instance_set(name: str, plan: Plan, settings: Settings) -> DataSet:
    """Open coco or lvis under the root of a plan, or data of the user's own; a limit takes the first images by id.

    Raises:
        MissingData: if it is not there.
    """
    own, axes = settings.data, settings.axes
    instances = open_instances(name, plan.root) if own is None else open_own(own)
    val2017_alone = own is None and name == "lvis" and axes.lvis_images == "val2017"
    every = [info for info in instances.images if not val2017_alone or info.path.parent.name == "val2017"]
    images = tuple(every[: settings.limit])
    whole = own is None and is_published_set(instances) and len(images) == len(instances.images)
    return DataSet(
        name=name,
        source=instances,
        sha256=instances.sha256,
        truth={"sha256": instances.sha256},
        asked=asked_about(images),
        of_images=len(instances.images),
        published="the published set" if whole else "",
        axes=axes,
        title="" if own is None else own.name,
    )


def data_notes(data: DataSet) -> Iterator[str]:
    """Say what is wrong with the annotations."""
    yield from (f"{data.label}: {problem}" for problem in data.source.problems)
