"""Instances as a page in pieces: a small index.html, and beside it scripts of numbers, read at once, and of masks.

Pages that are opened as files may load scripts, and nothing else, so that pieces are scripts that call one function
with plain data: `piece(kind, number, content)`. They are JSON in ASCII, which no text in them can leave.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import BenchError, printable
from protocols.results import ShownInstance, ShownPhoto
from reports.html import TEMPLATES, environment
from reports.write import plain, write_whole

PIECE = {"numbers": 1 << 19, "masks": 1 << 17}
"""Bytes after which a piece of each kind is closed; a page of cards reads masks from many places at once."""
LONGEST_TEXT = 200
"""Characters of a name that are shown."""
PIECES, PHOTOS = "pieces", "photos"
"""Folders beside the page."""
MARK = '<meta name="generator" content="bench gallery">'
"""Tells our page from others."""
SCRIPTS = ("gallery_pictures.js", "gallery.js")
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False)
SIZES = ("small", "medium", "large")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a page says of all instances."""

    title: str
    sides: tuple[str, ...]
    """Names of the one or two runs."""
    estimate: str
    """What the second number of an answer is."""
    categories: Mapping[int, str]
    facts: tuple[tuple[str, str], ...]
    """Names and what is said of each: runs, notes, the table's own numbers."""
    notes: tuple[str, ...]
    """What must not be overlooked."""
    command: str


@dataclass(slots=True)
class _Pieces:
    """Entries that become files as soon as there are enough of them."""

    kind: str
    folder: Path
    counts: list[int] = field(default_factory=list)
    """Of instances in each file so far."""
    files: list[Path] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    """What several rows of the open piece point to by its place: photos, or truths."""
    places: dict[Any, int] = field(default_factory=dict)
    size: int = 0

    def place(self, key: Any, content: Any) -> int:
        """Return the place of something shared in the open piece."""
        if key not in self.places:
            self.places[key] = len(self.shared)
            self.shared.append(_json(content))
            self.size += len(self.shared[-1])
        return self.places[key]

    def add(self, row: Any) -> None:
        self.rows.append(_json(row))
        self.size += len(self.rows[-1])
        if self.size >= PIECE[self.kind]:
            self.close()

    def close(self) -> None:
        """Write the open piece, if there is anything in it."""
        if not self.rows:
            return
        content = f'{{"shared":[{",".join(self.shared)}],"rows":[{",".join(self.rows)}]}}'
        number = len(self.counts)
        name = self.folder / f"{self.kind}-{number:04d}.js"
        self.files.append(write_whole(name, f'piece("{self.kind}",{number},{content});\n'))
        self.counts.append(len(self.rows))
        self.rows, self.shared, self.places, self.size = [], [], {}, 0


def write_gallery(head: Head, photos: Iterable[ShownPhoto], out: Path) -> Path:
    """Write index.html and its pieces to a folder, and return the page's path.

    The page is written last: until then an older one, if there is one, may point to pieces that are newer.

    Args:
        head: what is said of all.
        photos: with their instances; their pictures lie in out/photos already or are made on the way.
        out: the folder; made if it is not there.

    Raises:
        BenchError: if the folder holds a page of another kind, or cannot be written.
    """
    check_page(out)
    try:
        (out / PIECES).mkdir(parents=True, exist_ok=True)
        numbers, masks = (_Pieces(kind, out / PIECES) for kind in ("numbers", "masks"))
        prompts: dict[str, int] = {}
        for photo in photos:
            for instance in photo.instances:
                _add(numbers, masks, prompts, photo, instance)
        for pieces in (numbers, masks):
            pieces.close()
        whole = _head(head, numbers.counts, masks.counts, list(prompts))
        index = write_whole(out / PIECES / "head.js", f'piece("head",0,{_json(whole)});\n')
        _remove_older(out / PIECES, {index, *numbers.files, *masks.files})
        return write_whole(out / "index.html", _page(head))
    except OSError as error:
        why = error.strerror or str(error)
        raise BenchError(f"cannot write the gallery to '{out}' ({why}): choose another folder with --out") from error


def check_page(out: Path) -> None:
    """Raise a BenchError if a folder holds a page that is no gallery: it would be lost."""
    page = out / "index.html"
    if page.is_file() and MARK not in page.read_text(encoding="utf-8", errors="replace"):
        raise BenchError(f"{page} is a page of another kind, which would be lost: choose another folder with --out")


def _add(numbers: _Pieces, masks: _Pieces, prompts: dict[str, int], photo: ShownPhoto, instance: ShownInstance) -> None:
    """Add an instance to both kinds of pieces."""
    place = numbers.place(photo.id, [photo.id, _text(photo.name), photo.height, photo.width, photo.file])
    estimates = [value for answer in instance.answers for value in (answer.iou, answer.predicted_iou)]
    numbers.add(
        [
            place, instance.object_id, instance.category_id, round(instance.area), SIZES.index(instance.size),
            prompts.setdefault(instance.prompt, len(prompts)), instance.repeat, *estimates,
        ]
    )  # fmt: skip
    truth = masks.place((photo.id, instance.object_id), instance.truth) if instance.truth else -1
    points = [round(value, 2) for point in instance.points for value in point]
    masks.add([truth, [answer.counts for answer in instance.answers], points])


def _head(head: Head, numbers: list[int], masks: list[int], prompts: list[str]) -> dict[str, Any]:
    return {
        "sides": [_text(name) for name in head.sides],
        "estimate": _text(head.estimate),
        "categories": {str(key): _text(name) for key, name in head.categories.items()},
        "sizes": SIZES,
        "prompts": [_text(prompt) for prompt in prompts],
        "numbers": numbers,
        "masks": masks,
    }


def _page(head: Head) -> str:
    script = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        environment()
        .get_template("gallery.html.j2")
        .render(
            mark=MARK,
            title=_text(head.title),
            sides=[_text(name) for name in head.sides],
            estimate=_text(head.estimate),
            facts=[(printable(name), printable(text)) for name, text in head.facts],
            notes=[printable(note) for note in head.notes],
            command=printable(head.command),
            script=script,
            script_hash=digest,
        )
    )


def _text(name: str) -> str:
    """Return a name as it is shown: characters that pages obey written out, and no longer than `LONGEST_TEXT`."""
    shown = printable(name)
    return shown if len(shown) <= LONGEST_TEXT else f"{shown[: LONGEST_TEXT - 1]}…"


def _json(value: Any) -> str:
    """Return a value as JSON in ASCII, which is JavaScript too."""
    return _ENCODER.encode(plain(value))


def _remove_older(folder: Path, kept: set[Path]) -> None:
    """Remove pieces of an older page of the same folder."""
    for kind in ("numbers", "masks"):
        for path in folder.glob(f"{kind}-*.js"):
            if path not in kept:
                path.unlink()
