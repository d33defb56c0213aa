"""Re-execute some of a stored run's images and compare their records with those that were stored."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from bench.data.contents import Contents, Progress
from bench.metrics.audit import Assurance, assurance, usual_sample
from bench.store.differences import TOLERANCE, Difference, as_stored, compare
from bench.store.stored import StoredRun
from models.errors import BenchError
from protocols.shards import SKIPPED, Job, contents_of

LEFT_OUT = "left out"
"""Stands for the reason why an image was left out, which names a path, while records are compared."""

Outcome = Literal["identical", "equal to within rounding", "differs"]


class Sample(NamedTuple):
    """Which images of a run are re-executed."""

    images: int | None = None
    """How many, drawn at random; None for `usual_sample`."""
    seed: int = 0
    every: bool = False
    """All of them, whatever the other two say."""

    def draw(self, count: int) -> np.ndarray:
        """Return the places of the images that are re-executed among `count`, int64 [K], in order."""
        wanted = count if self.every else min(count, usual_sample(count) if self.images is None else self.images)
        return np.sort(np.random.default_rng(self.seed).permutation(count)[:wanted])


def fresh_seed() -> int:
    """Return a seed that nobody could know when the run was made."""
    return secrets.randbelow(1 << 32)


@dataclass(frozen=True, slots=True)
class Recheck:
    """What re-executing some images of a run gave."""

    images: int
    """Of the run."""
    records: int
    """Of the run."""
    checked_images: int
    checked_records: int
    """Stored records of these images."""
    seed: int
    differing_images: int
    """Of those checked, how many have a record that is not the same."""
    first: Difference | None
    """The first difference, by the order of the images."""
    rounding: float
    """Largest difference of two numbers that counts as rounding (`TOLERANCE`); 0 if there is none."""
    replaced: tuple[int, ...]
    """Shards that were made from other bytes of images or label maps than there are now."""
    assurance: Assurance
    """What follows for all records if none of those checked differs."""

    @property
    def outcome(self) -> Outcome:
        """Return whether the records that were checked are the same."""
        if self.first is not None:
            return "differs"
        return "equal to within rounding" if self.rounding else "identical"

    @property
    def certificate(self) -> str:
        """Say what was checked and what follows for the records that were not; for runs that do not differ."""
        sure = self.assurance
        how = "identical"
        if self.rounding:
            how = f"equal to within {TOLERANCE:g}, the largest difference is {self.rounding:.1g}"
        said = (
            f"{self.checked_records:,} of {self.checked_records:,} records {how} ({self.checked_images:,} of "
            f"{self.images:,} images"
        )
        if self.checked_images == self.images:
            return f"{said}, these are all)"
        return (
            f"{said}, drawn with seed {self.seed}): had one record been another, this would have been noticed with "
            f"probability {sure.one_record:.1%}; had at least {sure.share:.1%} of all records been others "
            f"({sure.records:,} of {self.records:,}), with probability {sure.probability:.1%} or more"
        )


def recheck(job: Job[Any], run: StoredRun, sample: Sample, progress: Progress, *, to_the_end: bool = True) -> Recheck:
    """Make the records of some images anew and compare them with the stored ones.

    That every stored record is about an image of the job is seen for all records, whatever the sample. Measured times
    (`Job.times`) are not compared.

    Args:
        job: makes the records as today's code, model and data have them.
        run: finished, about the same images.
        sample: which images.
        progress: told of images.
        to_the_end: whether to go on after the first difference, to count the images that differ.

    Raises:
        BenchError: if the run is unfinished or damaged, is about other images, or the model or its data fail.
    """
    asked = job.asked
    if run.identity.get("images") != asked.identity():
        raise BenchError(
            f"run {run.fingerprint} is about other images than the {len(asked.images):,} that these data hold: "
            "give back the data set that it was made from"
        )
    run, replaced = of_todays_files(run, job, progress)
    records = run.records()
    for name in ("image_id", SKIPPED):
        if name not in records:
            raise BenchError(f"run {run.folder} has records without the column '{name}': no `bench run` wrote them")
    records.loc[records[SKIPPED] != "", SKIPPED] = LEFT_OUT
    rows = records.groupby("image_id", dropna=False).indices
    records = records.drop(columns=list(job.times), errors="ignore")
    known = set(asked.ids)
    strangers = [image for image in rows if image not in known]
    found = [Difference(image, 0, {}, "", "a record", "no such image") for image in strangers[:1]]
    differing, rounding, checked = len(found), 0.0, 0
    places = sample.draw(len(asked.images))
    with progress(f"re-executing {job.description}", len(places), 0) as advance:
        for place in places.tolist():
            if found and not to_the_end:
                break
            image_id = asked.ids[place]
            stored = records.iloc[rows.get(image_id, [])]
            result = compare(stored, _anew(job, place), image_id)
            rounding, checked = max(rounding, result.rounding), checked + len(stored)
            if result.difference is not None:
                differing += 1
                found.append(result.difference)
            advance(1)
    return Recheck(
        images=len(asked.images),
        records=len(records),
        checked_images=len(places),
        checked_records=checked,
        seed=sample.seed,
        differing_images=differing,
        first=next(iter(found), None),
        rounding=rounding,
        replaced=replaced,
        assurance=assurance([len(rows.get(image, ())) for image in asked.ids], len(places)),
    )


def _anew(job: Job[Any], place: int) -> pd.DataFrame:
    """Return the records of one image as the model answers today."""
    records = as_stored(job.make(job.asked.part(place, 1).images, lambda count: None))
    records.loc[records[SKIPPED] != "", SKIPPED] = LEFT_OUT
    return records.drop(columns=list(job.times))


def of_todays_files(run: StoredRun, job: Job[Any], progress: Progress) -> tuple[StoredRun, tuple[int, ...]]:
    """Return a run with those shards that were made from today's files, where it has them, and which others are not.

    A shard's name says what the files of its images held (`protocols.shards.contents_of`); a run may have several of
    one number, from before and after a photo was replaced.
    """
    parts = job.parts()
    if len(parts) != run.shards:  # it was cut otherwise: which images a shard is about is not known
        return run, ()
    paths, replaced = dict(run.paths), []
    for number, content in enumerate(contents_of(parts, Contents(), progress)):
        path = run.folder / f"shard-{number:05d}-{content}.parquet"
        if path.is_file():
            paths[number] = path
        elif number in paths and paths[number].name != f"shard-{number:05d}.parquet":
            replaced.append(number)
    return StoredRun(run.folder, run.identity, paths, run.shards, run.sessions), tuple(replaced)
