"""Annotated instances of one's own: a file in COCO's or LVIS's format and the folder of its photos."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from bench.data.annotation_index import Format
from bench.data.instances import Instances, open_files
from models.errors import BenchError, MissingData, unknown_name
from models.files.folders import expanded

USAGE = "coco:ANNOTATIONS.json,IMAGES/ or lvis:ANNOTATIONS.json,IMAGES/"
_PLACES = re.compile(r"(?P<file>.+?\.json),(?P<folder>.+)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class OwnData:
    """Where annotated instances of one's own are."""

    form: Literal["coco", "lvis"]
    """Whose format the annotations have."""
    annotations: Path
    images: Path
    """The folder that `file_name` is relative to; of LVIS's entries without one, the last two parts of `coco_url`."""

    @property
    def name(self) -> str:
        """Return what reports call them: the annotation file's name without its ending."""
        return self.annotations.stem


def own_data(text: str) -> OwnData:
    """Read `coco:ANNOTATIONS.json,IMAGES/`: the file ends at the first `.json,`, everything behind it is the folder.

    Paths may so have blanks, colons and commas; the file's name must end in .json.

    Raises:
        BenchError: if it has another form, or there is no such file or folder.
    """
    form, colon, places = text.partition(":")
    if not colon:
        raise BenchError(f"data of your own are given as {USAGE}, not as '{text}'")
    if form not in _FORMATS:
        raise unknown_name("format of annotations", form, _FORMATS)
    found = _PLACES.fullmatch(places)
    if found is None:
        raise BenchError(
            f"'{text}' does not name a file that ends in .json and, behind a comma, a folder: give {form}:"
            "ANNOTATIONS.json,IMAGES/"
        )
    annotations, images = (expanded(found[part], "a path") for part in ("file", "folder"))
    if not annotations.is_file():
        raise BenchError(f"there is no annotation file '{annotations}': check the path")
    if not images.is_dir():
        raise BenchError(f"there is no folder of images '{images}': check the path")
    return OwnData(cast(Literal["coco", "lvis"], form), annotations.absolute(), images.absolute())


def open_own(own: OwnData) -> Instances:
    """Open data of one's own.

    Raises:
        BenchError: if the file is not a whole and consistent annotation file of its format, or none of its images is
            in the folder.
    """

    def nothing_there(first: str) -> MissingData:
        return MissingData(
            f"none of the images that {own.annotations} lists is in {own.images}, the first would be "
            f"{own.images / first}: name the folder that its file names start from"
        )

    remedy = f"mend it, it must be an annotation file in {own.form.upper()}'s format"
    return open_files(_FORMATS[own.form], own.annotations, own.images, remedy, nothing_there, name=own.name)


def _coco_file(entry: dict[str, Any]) -> str:
    return entry["file_name"]  # type: ignore[no-any-return]


def _lvis_file(entry: dict[str, Any]) -> str:
    return entry.get("file_name") or "/".join(entry["coco_url"].split("/")[-2:])


_FORMATS = {"coco": Format("coco-own", _coco_file), "lvis": Format("lvis-own", _lvis_file, federated=True)}
