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
    leaves: tuple[tuple[str, int], ...]
    """What is there afterwards, relative to `folder`: files with 0, folders with the number of their images."""
    bytes: int | None = None
    """None: never published."""
    sha256: str | None = None
    """None: never published."""
    about: int | None = None
    """Bytes as the publisher's page rounds them, where it says no more."""
    members: str = "*"
    """Pattern of what is unpacked of an archive."""
    above: str = ""
    """Folder of the archive whose contents belong into `folder`."""
    unpacked: int | None = None
    """Bytes of these members; None: never published."""

    @property
    def name(self) -> str:
        """Return the file's name."""
        return self.url.rpartition("/")[2]

    @property
    def is_archive(self) -> bool:
        """Whether it is to be unpacked."""
        return self.url.endswith(".zip")

    def sentence(self, root: Path) -> str:
        """Return what to do, as a part of a sentence."""
        verb = "unpack it into" if self.is_archive else "put it into"
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

    @property
    def downloads(self) -> tuple[Download, ...]:
        """Return all that there is to download."""
        return (self.annotations_from, *self.images_from)


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

    @property
    def downloads(self) -> tuple[Download, ...]:
        """Return all that there is to download."""
        return (self.download,)


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
    downloads: tuple[Download, ...] = ()
    """All that there is to download; empty for sets that are given to people with an account alone."""
    steps: tuple[str, ...] = ()
    """For these: what to do, a sentence each, with {root} for the data root and {folder} for where the set belongs."""


# Sizes and sha256 of the archives of COCO, LVIS and ADE20K are those that tensorflow-datasets checks downloads by
# (url_checksums/coco2017.txt, url_checksums/ade20k.txt, datasets/lvis/checksums.tsv); the publishers state none.
_COCO_IMAGES = "http://images.cocodataset.org/zips/"
_ADE20K = "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip"
_VITDET_BOXES = "https://huggingface.co/mit-han-lab/efficientvit-sam/resolve/main/source_json_file/"
_COCO_BOXES_SHA256 = "ba17f9fb28832baf5573e8a4212cad7740d606dd95b9c6d13c5465f603627813"

_ANNOTATIONS_2017 = Download(
    "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
    "coco",
    leaves=(("annotations/instances_val2017.json", 0), ("annotations/instances_train2017.json", 0)),
    bytes=252_907_541,
    sha256="113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
    members="annotations/instances_*2017.json",
    unpacked=469_785_474 + 19_987_840,
)
_VAL2017 = Download(
    f"{_COCO_IMAGES}val2017.zip",
    "coco",
    leaves=(("val2017", 5_000),),
    bytes=815_585_330,
    sha256="4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    members="val2017/*.jpg",
)
_TRAIN2017 = Download(
    f"{_COCO_IMAGES}train2017.zip",
    "coco",
    leaves=(("train2017", 118_287),),
    bytes=19_336_861_798,
    sha256="69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    members="train2017/*.jpg",
)

COCO = InstanceSet(
    name="coco",
    annotation_file="coco/annotations/instances_val2017.json",
    annotations_from=_ANNOTATIONS_2017,
    images_from=(_VAL2017,),
    n_images=5_000,
    n_annotations=36_781,
    n_categories=80,
)
LVIS = InstanceSet(
    name="lvis",
    annotation_file="lvis/annotations/lvis_v1_val.json",
    annotations_from=Download(
        "https://dl.fbaipublicfiles.com/LVIS/lvis_v1_val.json.zip",
        "lvis/annotations",
        leaves=(("lvis_v1_val.json", 0),),
        bytes=64_026_968,
        sha256="5cae9a3c79aadb667550c2b5dcf7f4d86e059a41ec91ef690225b667e28e9ba5",
        members="lvis_v1_val.json",
    ),
    images_from=(_VAL2017, _TRAIN2017),  # 4,809 of its images are in val2017, the others in train2017
    n_images=19_809,
    n_annotations=244_707,
    n_categories=1_203,
)
COCO_TRAIN = InstanceSet(
    name="coco-train",
    annotation_file="coco/annotations/instances_train2017.json",
    annotations_from=_ANNOTATIONS_2017,
    images_from=(_TRAIN2017,),
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
            download=Download(
                f"{_VITDET_BOXES}coco_vitdet.json",
                "coco/detections",
                leaves=(("coco_vitdet.json", 0),),
                sha256=_COCO_BOXES_SHA256,
                about=38_100_000,
            ),
            sha256=_COCO_BOXES_SHA256,
        ),
        BoxSet(
            name="lvis-boxes",
            instances="lvis",
            file="lvis/detections/lvis_vitdet.json",
            download=Download(
                f"{_VITDET_BOXES}lvis_vitdet.json",
                "lvis/detections",
                leaves=(("lvis_vitdet.json", 0),),
                about=1_310_000_000,
            ),
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
            how="run `bench data fetch ade20k`, or download "
            f"{_ADE20K}, unpack it and rename its folder ADEChallengeData2016 to",
            downloads=(
                Download(
                    _ADE20K,
                    "ade20k",
                    leaves=(
                        ("images/validation", 2_000),
                        ("annotations/validation", 2_000),
                        ("images/training", 20_210),
                        ("annotations/training", 20_210),
                        ("objectInfo150.txt", 0),
                    ),
                    bytes=967_382_037,
                    sha256="7ff1be44964418441f542a7cc1e1a650e7dc0fc275f5d23252bc9bbdbc977b29",
                    members="ADEChallengeData2016/*",
                    above="ADEChallengeData2016",
                ),
            ),
        ),
        FolderSet(
            name="imagenet",
            pattern="imagenet/val/n*/*.JPEG",
            partner=None,
            n_images=50_000,
            how="register at https://image-net.org/download.php, download ILSVRC2012_img_val.tar and sort "
            "its photos into val/, one folder a class, under",
            steps=(
                "register at https://image-net.org/download.php and ask for access to ILSVRC 2012",
                "put ILSVRC2012_img_val.tar (md5 29b22e2961454d5413ddabcf34fc5622) and ILSVRC2012_devkit_t12.tar.gz "
                "(md5 fa75699e90414af021442c21a62c3abf) into {folder}; to train, ILSVRC2012_img_train.tar "
                "(md5 1d675b47d978889d74fa0da5fadfb00e) too",
                "sort the photos into one folder a class (for those to train on, `train` in place of `val`):\n"
                """python -c "import sys, torchvision; torchvision.datasets.ImageNet(sys.argv[1], 'val')" {folder}""",
                "look whether all is there:\npython -m bench data verify imagenet --root {root}",
            ),
        ),
        FolderSet(
            name="sa1b",
            pattern="sa1b/sa_*.jpg",
            partner="sa1b/{stem}.json",
            n_images=11_185_362,
            how="get the list of archives at https://ai.meta.com/datasets/segment-anything-downloads/ and "
            "put any number of them, packed or unpacked, into",
            steps=(
                "accept the licence at https://ai.meta.com/datasets/segment-anything-downloads/ and save the list of "
                "archives, lines of a name, a tab and a link that expires, as {folder}/links.txt",
                "download as many archives as you have room for, here the first ten; the same command goes on where it "
                "was:\n"
                "tail -n +2 {folder}/links.txt | head -n 10 | while read -r name url; do "
                'curl -fL -C - -o {folder}/"$name" "$url"; done',
                "leave them packed, and look whether they are whole:\npython -m bench data verify sa1b --root {root}",
            ),
        ),
    )
}


SALIENT = "salient"
"""Photos with a mask of the salient object each, published ones or one's own: see `bench.data.salient`."""


def set_names() -> list[str]:
    """Return the names of all data sets, as `bench list` has them."""
    return [*published_sets(), SALIENT]


def published_sets() -> dict[str, InstanceSet | BoxSet | FolderSet]:
    """Return all sets that can be verified, by name."""
    return {**INSTANCE_SETS, **BOX_SETS, **FOLDER_SETS}


def missing(path: Path, root: Path, downloads: tuple[Download, ...], *, or_else: str = "") -> MissingData:
    """Return the error for a part of a data set that is not there: what, from where, into which folder.

    Args:
        path: what is not there.
        root: the data root.
        downloads: its download URLs.
        or_else: another way to get it, if there is one.
    """
    name = next((one.name for one in published_sets().values() if set(downloads) <= set(one.downloads)), "")
    command = f"run `bench data fetch {name}`, or " if name else ""
    by_hand = ", ".join(download.sentence(root) for download in downloads)
    ways = [f"{command}{by_hand}", or_else, "or use --scale micro"]
    return MissingData(f"{path} is not there: {', '.join(filter(None, ways))}")
