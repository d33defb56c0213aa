"""What the publishers of the data sets published: files, counts, hashes and download URLs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.errors import MissingData


@dataclass(frozen=True, slots=True)
class Download:
    """An archive or file and the folder it belongs in."""

    url: str
    folder: str
    """Relative to the data root; archives are unpacked there."""

    def sentence(self, root: Path) -> str:
        """Return what to do, as a part of a sentence."""
        verb = "unpack it into" if self.url.endswith((".zip", ".tar")) else "put it into"
        return f"download {self.url} and {verb} {root / self.folder}"


@dataclass(frozen=True, slots=True)
class InstanceSet:
    """A set of annotated instances."""

    name: str
    annotation_file: str
    """Relative to the data root."""
    annotations_from: Download
    images_from: tuple[Download, ...]
    n_images: int
    n_annotations: int
    n_categories: int


@dataclass(frozen=True, slots=True)
class BoxSet:
    """A detector's boxes."""

    name: str
    instances: str
    """Name of the set they are about."""
    file: str
    """Relative to the data root."""
    download: Download
    sha256: str | None
    """None: never published."""


@dataclass(frozen=True, slots=True)
class FolderSet:
    """A set that is described by its files alone."""

    name: str
    pattern: str
    """Of the images, relative to the data root."""
    partner: str | None
    """Where the file beside each image is, with {stem} for the image's name; None: images are alone."""
    n_images: int
    how: str
    """How to get it."""


_COCO_IMAGES = "http://images.cocodataset.org/zips/"
_VITDET_BOXES = "https://huggingface.co/mit-han-lab/efficientvit-sam/resolve/main/source_json_file/"

COCO = InstanceSet(
    name="coco",
    annotation_file="coco/annotations/instances_val2017.json",
    annotations_from=Download("http://images.cocodataset.org/annotations/annotations_trainval2017.zip", "coco"),
    images_from=(Download(f"{_COCO_IMAGES}val2017.zip", "coco"),),
    n_images=5_000,
    n_annotations=36_781,
    n_categories=80,
)
LVIS = InstanceSet(
    name="lvis",
    annotation_file="lvis/annotations/lvis_v1_val.json",
    annotations_from=Download("https://dl.fbaipublicfiles.com/LVIS/lvis_v1_val.json.zip", "lvis/annotations"),
    # 4,809 of its images are in val2017, the others in train2017.
    images_from=(
        Download(f"{_COCO_IMAGES}val2017.zip", "coco"),
        Download(f"{_COCO_IMAGES}train2017.zip", "coco"),
    ),
    n_images=19_809,
    n_annotations=244_707,
    n_categories=1_203,
)
COCO_TRAIN = InstanceSet(
    name="coco-train",
    annotation_file="coco/annotations/instances_train2017.json",
    annotations_from=COCO.annotations_from,
    images_from=(Download(f"{_COCO_IMAGES}train2017.zip", "coco"),),
    n_images=118_287,
    n_annotations=860_001,
    n_categories=80,
)
"""To train detectors on; tables ask about the sets below."""
INSTANCE_SETS = {published.name: published for published in (COCO, LVIS)}

BOX_SETS = {
    published.name: published
    for published in (
        BoxSet(
            name="coco-boxes",
            instances="coco",
            file="coco/detections/coco_vitdet.json",
            download=Download(f"{_VITDET_BOXES}coco_vitdet.json", "coco/detections"),
            sha256="ba17f9fb28832baf5573e8a4212cad7740d606dd95b9c6d13c5465f603627813",
        ),
        BoxSet(
            name="lvis-boxes",
            instances="lvis",
            file="lvis/detections/lvis_vitdet.json",
            download=Download(f"{_VITDET_BOXES}lvis_vitdet.json", "lvis/detections"),
            sha256=None,
        ),
    )
}

FOLDER_SETS = {
    published.name: published
    for published in (
        FolderSet(
            name="ade20k",
            pattern="ade20k/images/validation/*.jpg",
            partner="ade20k/annotations/validation/{stem}.png",
            n_images=2_000,
            how="download http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip, unpack it "
            "and rename its folder ADEChallengeData2016 to",
        ),
        FolderSet(
            name="imagenet",
            pattern="imagenet/val/n*/*.JPEG",
            partner=None,
            n_images=50_000,
            how="register at https://image-net.org/download.php, download ILSVRC2012_img_val.tar and sort "
            "its photos into val/, one folder a class, under",
        ),
        FolderSet(
            name="sa1b",
            pattern="sa1b/sa_*.jpg",
            partner="sa1b/{stem}.json",
            n_images=11_185_362,
            how="get the list of archives at https://ai.meta.com/datasets/segment-anything-downloads/ and "
            "put any number of them, packed or unpacked, into",
        ),
    )
}


def missing(path: Path, root: Path, downloads: tuple[Download, ...], *, or_else: str = "") -> MissingData:
    """Return the error for a part of a data set that is not there: what, from where, into which folder.

    Args:
        path: what is not there.
        root: the data root.
        downloads: its download URLs.
        or_else: another way to get it, if there is one.
    """
    ways = [", ".join(download.sentence(root) for download in downloads), or_else, "or use --scale micro"]
    return MissingData(f"{path} is not there: {', '.join(filter(None, ways))}")
