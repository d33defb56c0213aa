"""Whether a data set is there, whole, and the published one; what to download where if it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from bench.data.ade20k import open_ade20k
from bench.data.catalog import (
    BOX_SETS,
    FOLDER_SETS,
    INSTANCE_SETS,
    SALIENT,
    BoxSet,
    FolderSet,
    InstanceSet,
    missing,
    set_names,
)
from bench.data.detection_index import open_detections
from bench.data.detections import NO_MASKS, Detections
from bench.data.imagenet import CLASSES, open_imagenet
from bench.data.images import image_size
from bench.data.instances import NOT_ON_DISK, ImageInfo, Instances, open_instances
from bench.data.own import OwnData, open_own, own_data
from bench.data.sa1b import EXTENSIONS, BrokenSample, decode_sample
from bench.data.salient import PUBLISHED, open_salient
from bench.data.tars import COMPRESSED, Shard, open_shards, tars_in
from models.errors import BenchError, refused, unknown_name

T = TypeVar("T")

IMAGENET_PER_CLASS = 50
SAMPLED = 3
"""Samples of each tar, evenly spread, that are decoded; all of SA-1B would take a week."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `bench data verify` prints."""

    name: str
    lines: tuple[str, ...]
    ok: bool
    """The data can be used: what is listed is there and sound."""
    complete: bool
    """The data are all of what was published, so that numbers can be compared with a paper's."""
    opens: bool = True
    """The data can be opened; where they are not `ok`, what is named here is left out of what is made from them."""


def verify(name: str, root: Path | str) -> VerifyReport:
    """Check one data set under `root`: layout, counts, image files, and hashes where any were published.

    Args:
        name: one of `bench.data.catalog.set_names`, or one's own data, see `bench.data.own.own_data`.
        root: the data root; one's own data may be elsewhere.

    Raises:
        BenchError: if there is no such data set; what is wrong with the data is in the report.
    """
    root = Path(root)
    own = own_data(name) if ":" in name else None
    try:
        if own is not None:
            return _verify_own(own)
        if name in INSTANCE_SETS:
            return _verify_instances(INSTANCE_SETS[name], root)
        if name in BOX_SETS:
            return _verify_boxes(BOX_SETS[name], root)
        if name in FOLDER_SETS:
            return _FOLDER_CHECKS.get(name, _verify_folders)(FOLDER_SETS[name], root)
        if name == SALIENT:
            return _verify_salient(root)
    except BenchError as error:
        return VerifyReport(name, (str(error),), ok=False, complete=False, opens=False)
    except OSError as error:
        return VerifyReport(name, (str(refused(error, root)),), ok=False, complete=False, opens=False)
    raise unknown_name("data set", name, set_names())


def is_published_set(instances: Instances) -> bool:
    """Return whether these are the whole published set: all its images, on disk, and all its annotations."""
    published = INSTANCE_SETS.get(instances.name)
    found = (len(instances.images), instances.n_annotations, len(instances.categories))
    return published is not None and found == (
        published.n_images,
        published.n_annotations,
        published.n_categories,
    )


def is_published_boxes(detections: Detections) -> bool:
    """Return whether the detections are a published file of boxes, by its sha256."""
    return any(detections.sha256 == published.sha256 for published in BOX_SETS.values())


def _verify_instances(published: InstanceSet, root: Path) -> VerifyReport:
    instances = open_instances(published.name, root)
    absent = sum(problem.count for problem in instances.problems if problem.kind == NOT_ON_DISK)
    broken = _broken_images(instances.images)
    complete = is_published_set(instances) and not broken
    lines = [
        f"{instances.annotation_path}: sha256 {instances.sha256}, no published hash to compare with",
        _extent(instances, published, complete),
        f"{len(instances.images):,} of {len(instances.images) + absent:,} listed images are on disk",
        *(f"{absent:,} images are missing: {download.sentence(root)}" for download in published.images_from if absent),
        *broken,
        *(f"note: {problem}" for problem in instances.problems if problem.kind != NOT_ON_DISK),
    ]
    return VerifyReport(published.name, tuple(lines), ok=not broken and not absent, complete=complete)


def _verify_own(own: OwnData) -> VerifyReport:
    try:
        instances = open_own(own)
    except BenchError as error:
        return VerifyReport(own.name, (str(error),), ok=False, complete=False, opens=False)
    absent = [problem for problem in instances.problems if problem.kind == NOT_ON_DISK]
    listed = len(instances.images) + sum(problem.count for problem in absent)
    broken = _broken_images(instances.images)
    lines = (
        f"{own.annotations}: sha256 {instances.sha256}, data of your own, of which no paper has numbers",
        f"{listed:,} images, {instances.n_annotations:,} annotations, {len(instances.categories):,} categories",
        f"{len(instances.images):,} of {listed:,} listed images are in {own.images}",
        *(f"{problem}: put them there, or take them out of the file" for problem in absent),
        *broken,
        *(f"note: {problem}" for problem in instances.problems if problem not in absent),
    )
    return VerifyReport(own.name, lines, ok=not broken and not absent, complete=False)


def _extent(instances: Instances, published: InstanceSet, complete: bool) -> str:
    """Say how much of the published set this is."""
    extents = (
        (len(instances.images), published.n_images, "images"),
        (instances.n_annotations, published.n_annotations, "annotations"),
        (len(instances.categories), published.n_categories, "categories"),
    )
    counts = ", ".join(f"{found:,} of {of:,} {noun}" for found, of, noun in extents)
    if complete:
        return f"the complete published set: {counts}"
    kind = "a subset" if all(found <= of for found, of, _ in extents) else "not the published set"
    return f"{kind}: {counts}"


def _broken_images(images: tuple[ImageInfo, ...]) -> list[str]:
    """Compare the sizes in the images' headers with the annotation file's; all that differ make one line."""

    def look(image: ImageInfo) -> None:
        height, width = image_size(image.path)
        if (height, width) != (image.height, image.width):
            raise BenchError(f"{image.path} is {height} x {width}, not {image.height} x {image.width} as annotated")

    return _unusable(_failing(look, images))


def _failing(look: Callable[[T], object], images: Iterable[T]) -> list[str]:
    """Return what is wrong with the images that cannot be looked at."""
    broken = []
    for image in images:
        try:
            look(image)
        except BenchError as error:
            broken.append(str(error))
    return broken


def _unusable(broken: list[str]) -> list[str]:
    return [f"{len(broken):,} images cannot be used: {'; '.join(broken[:3])}"] if broken else []


def _verify_boxes(published: BoxSet, root: Path) -> VerifyReport:
    path = root / published.file
    if not path.is_file():
        raise missing(path, root, (published.download,))
    detections = open_detections(path)
    complete = detections.sha256 == published.sha256
    if published.sha256 is None:
        verdict = "no published hash to compare with"
    elif complete:
        verdict = "the published file"
    else:
        verdict = f"not the published file, whose sha256 is {published.sha256}: other boxes give other numbers"
    lines = [
        f"{path}: sha256 {detections.sha256}, {verdict}",
        f"{len(detections):,} boxes on {len(detections.image_ids):,} images",
        *(f"note: {problem}" for problem in detections.problems),
    ]
    try:
        instances = open_instances(published.instances, root)
    except BenchError as error:
        lines.append(f"not compared with the images of {published.instances}: {error}")
        problem = detections.mask_problem
    else:
        lines += _compared(detections, instances, published)
        problem = detections.misplaced_mask(instances.sizes)
    if problem:
        lines.append(f"the detector's own masks cannot be scored, its boxes can be asked about: {problem}")
    sound = not problem or problem.endswith(NO_MASKS)
    return VerifyReport(published.name, tuple(lines), ok=sound, complete=complete)


def _compared(detections: Detections, instances: Instances, published: BoxSet) -> list[str]:
    """Say how many of the boxes' images the data set lists, and which detections can never count."""
    known = np.isin(detections.image_ids, [image.id for image in instances.images])
    return [
        f"{known.sum():,} of {len(instances.images):,} images of {published.instances} have boxes, "
        f"{(~known).sum():,} images with boxes are not on disk or not listed",
        *(f"note: {problem}" for problem in detections.strangers(instances)),
    ]


def _verify_folders(published: FolderSet, root: Path) -> VerifyReport:
    images = sorted(root.glob(published.pattern))
    if not images:
        place = root / published.name
        raise BenchError(f"no file is like {root / published.pattern}: {published.how} {place}, or use --scale micro")
    partners = [root / published.partner.format(stem=image.stem) for image in images] if published.partner else []
    alone = [partner for partner in partners if not partner.is_file()]
    complete = len(images) == published.n_images and not alone
    extent = "the complete published set" if complete else "a subset"
    lines = [f"{extent}: {len(images):,} of {published.n_images:,} images"]
    if alone:
        lines.append(f"{len(alone):,} images have no annotation beside them: {alone[0]} is the first that is not there")
    return VerifyReport(published.name, tuple(lines), ok=not alone, complete=complete)


def _verify_imagenet(published: FolderSet, root: Path) -> VerifyReport:
    """Check that folders are classes of ImageNet-1K, that 50 photos are in each, and the photos' headers."""
    photos = open_imagenet(root)
    photos.check_official()
    unusable = _unusable(_failing(image_size, photos.paths))
    per_class = np.bincount(photos.labels, minlength=CLASSES)
    complete = (per_class == IMAGENET_PER_CLASS).all() and len(per_class) == CLASSES and not unusable
    extent = "the complete published set" if complete else "a subset"
    lines = [
        f"{extent}: {len(photos):,} of {published.n_images:,} images",
        f"{(per_class > 0).sum():,} of {CLASSES:,} classes, {per_class[per_class > 0].min()} to "
        f"{per_class.max()} photos in each, {IMAGENET_PER_CLASS} were published",
        f"labels are {photos.labelling}",
        f"names and sizes hash to {photos.sha256}, no published hash to compare with",
        *unusable,
    ]
    return VerifyReport(published.name, tuple(lines), ok=not unusable, complete=bool(complete))


def _verify_sa1b(published: FolderSet, root: Path) -> VerifyReport:
    """Check unpacked photos as other folders are, tars by their lists, and some samples of each by decoding them."""
    folder = root / published.name
    tars = tars_in(folder) if folder.is_dir() else []
    report = None if tars else _verify_folders(published, root)
    if report and not report.ok:
        return report
    shards = open_shards([folder], EXTENSIONS)
    found = sum(map(len, shards))
    broken = [line for shard in shards for line in _sampled(shard)]
    skipped = [
        f"{shard.path}: {n:,} x {reason}, {_REMEDIES.get(reason, 'download it again')}"
        for shard in shards
        for reason, n in shard.skipped.items()
    ]
    complete = found == published.n_images and not broken and not skipped
    extent = "the complete published set" if complete else "a subset"
    lines = [
        *(report.lines if report else [f"{extent}: {found:,} of {published.n_images:,} images, {len(tars):,} tars"]),
        f"of each archive or folder {SAMPLED} images were decoded",
        *skipped,
        *_unusable(broken),
    ]
    return VerifyReport(published.name, tuple(lines), ok=bool(found) and not broken and not skipped, complete=complete)


def _sampled(shard: Shard) -> Iterable[str]:
    """Decode some samples and say what is wrong with those that are broken."""
    for index in sorted(set(np.linspace(0, len(shard) - 1, SAMPLED).astype(int).tolist())) if len(shard) else []:
        try:
            files = shard.read(index)
            decode_sample(files["jpg"], files["json"], masks=1, size=64, rng=np.random.default_rng(0))
        except BrokenSample as problem:
            yield f"{shard.name(index)}: {problem}"


_REMEDIES = {COMPRESSED: "decompress it (gunzip)"}
"""Of what is wrong with a tar, where that is not another download."""


def _verify_ade20k(published: FolderSet, root: Path) -> VerifyReport:
    """Look into every label map: those of the full data set, or of other tools, have other labels."""
    report = _verify_folders(published, root)
    if not report.ok:
        return report
    try:
        photos = open_ade20k(root)
    except BenchError as error:
        return replace(report, lines=(*report.lines, str(error)), ok=False, complete=False, opens=False)
    numbers = range(len(photos))
    broken = _failing(lambda index: photos.labels(index, image_size(photos.paths[index])), numbers)
    lines = (*report.lines, *_unusable(broken))
    return replace(report, lines=lines, ok=report.ok and not broken, complete=report.complete and not broken)


def _verify_salient(root: Path) -> VerifyReport:
    """Read every photo and mask of the set that is taken."""
    photos = open_salient(root)
    broken = _failing(photos.__getitem__, range(len(photos)))
    published = PUBLISHED.get(photos.name)
    complete = len(photos) == published and not broken
    if published is None:
        extent = f"{len(photos):,} photos with masks of your own"
    else:
        extent = f"{'the complete published set' if complete else 'a subset'}: {len(photos):,} of {published:,} photos"
    lines = (f"{photos.paths[0].parent}: {extent}", *_unusable(broken))
    return VerifyReport(SALIENT, lines, ok=not broken, complete=complete)


_FOLDER_CHECKS = {"ade20k": _verify_ade20k, "imagenet": _verify_imagenet, "sa1b": _verify_sa1b}
"""Those that are looked into; of the others files are counted."""
