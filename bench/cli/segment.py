"""`bench segment PHOTO`: the masks of one photo, as a picture and as a file."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.cli.as_json import AsJson, print_json
from bench.data.images import read_rgb
from bench.overlay import overlay
from bench.progress import notice, progress
from bench.store.disk import write_whole
from models import zoo
from models.annotations import Annotation, answer, decode
from models.engines.float32 import engine, threads
from models.errors import BenchError, printable
from models.everything.segment import DEFAULT, Settings, count_points, segment_everything
from models.files.trust import vouched_for
from models.segmenter import BACKGROUND, FOREGROUND, EverythingFinder, Prompts, Segmenter
from reports.write import plain

FALLBACK = "efficientsam-ti-micro"
"""The model where no published weights are here; its own are part of this package."""
_Numbers = tuple[tuple[float, ...], ...]


def segment(
    photo: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PHOTO")],
    /,
    model: str | None = None,
    everything: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    box: Annotated[_Numbers, tyro.conf.UseAppendAction, tyro.conf.arg(metavar="X0 Y0 X1 Y1 ...")] = (),
    points: Annotated[_Numbers, tyro.conf.UseAppendAction, tyro.conf.arg(metavar="X Y ...")] = (),
    labels: Annotated[tuple[tuple[int, ...], ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="1|0 ...")] = (),
    checkpoint: Path | None = None,
    trust: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = (),
    device: str = "cpu",
    out: Path | None = None,
    as_json: AsJson = False,
    settings: Annotated[Settings, tyro.conf.arg(name="")] = DEFAULT,
) -> None:
    """Find masks in a photo and write them over it (PNG) and as COCO run lengths (JSON).

    Without a box or points it is everything in the photo, as segment_anything's automatic mask generator finds it:

        bench segment cat.jpg
        bench segment cat.jpg --model sam-vit-h --device cuda --crop-n-layers 1
        bench segment cat.jpg --box 20 30 400 300 --box 410 30 600 200
        bench segment cat.jpg --points 150 200
        bench segment cat.jpg --points 150 200 40 20 --labels 1 0

    Of the three masks that a model offers for a box or points it is the one of the highest predicted IoU. Pixels are
    taken as they are stored, whatever EXIF says about turning them.

    Args:
        photo: JPEG, PNG or another file that Pillow reads.
        model: A name of `bench list`, or a model that needs no package, e.g. hf:facebook/sam2.1-hiera-tiny. Default:
            the first published one whose weights are here, else efficientsam-ti-micro.
        everything: All masks, which is the default without --box and --points.
        box: Corners of a box around an object, px; of several boxes, or once for each.
        points: Clicks on one object, px; once for each object.
        labels: Whether each click is on the object (1, as without labels) or not (0); once for each --points.
        checkpoint: Your own weights for the model.
        trust: A checkpoint of FastSAM that is not the published one and may run code as it is read.
        device: Where the model runs, e.g. cpu or cuda.
        out: Folder of the two files. Default: where the photo is.
        as_json: Print the masks as JSON in place of a table.
        settings: Of everything.
    """
    prompted = bool(box or points)
    if everything and prompted:
        raise BenchError("--everything is asked without a prompt: leave out --box and --points, or --everything")
    if prompted and settings != DEFAULT:
        raise BenchError(
            "--points-per-side and what follows it in --help are about everything: leave out --box, --points"
        )
    if not photo.is_file():
        raise BenchError(f"there is no photo '{photo}': check the path")
    image = read_rgb(photo)
    size = (image.shape[0], image.shape[1])
    boxes, clicks = boxes_in(size, box), clicks_in(size, points, labels)
    name = chosen_model() if model is None else model
    segmenter = zoo.load(name, checkpoint=checkpoint, device=device, trusted=vouched_for(trust))
    clock = Clock.on(segmenter)
    with engine(exact=True), threads(zoo.card(name).threads):
        found = ask(segmenter, image, boxes, clicks) if prompted else find(segmenter, image, settings)
    clock.stop()
    picture = overlay(
        image,
        largest_first(found),
        boxes_xyxy=boxes.tolist(),
        clicks=[(*xy, label) for click in clicks for xy, label in zip(click.points[0], click.labels[0], strict=True)],
    )
    files = write(photo.parent if out is None else out, photo.stem, picture, found)
    if as_json:
        print_json(plain(found))
    else:
        _tell(name, photo, size, found, clock)
    for file in files:
        (notice if as_json else print)(f"wrote {printable(str(file))}")


def chosen_model() -> str:
    """Return the first published model whose weights are here, else the fallback, and say which it is and why."""
    published = (name for name in zoo.names() if zoo.card(name).scale == "paper" and zoo.available(name)[0])
    name = next(published, None)
    if name is None:
        notice(f"model: {FALLBACK}, a stand-in, since no published weights are here (`bench weights fetch`)")
        return FALLBACK
    notice(f"model: {name}, the first whose published weights are here")
    return name


def boxes_in(size: tuple[int, int], given: _Numbers) -> np.ndarray:
    """Return boxes float64 [N, 4] xyxy, px, from the numbers of each `--box`.

    Raises:
        BenchError: if numbers are missing, or a box is empty or not inside the photo of (height, width) `size`.
    """
    for numbers in given:
        if not numbers or len(numbers) % 4:
            raise BenchError(f"--box takes X0 Y0 X1 Y1 of each box, four numbers each, got {len(numbers)} of them")
    boxes = np.array([number for numbers in given for number in numbers]).reshape(-1, 4)
    for x0, y0, x1, y1 in boxes.tolist():
        said, inside = f"box {x0:g} {y0:g} {x1:g} {y1:g}", f"the photo of {size[1]} x {size[0]} px (width x height)"
        if not (min(x0, y0) >= 0 and x1 <= size[1] and y1 <= size[0]):
            raise BenchError(f"{said} is not inside {inside}: give its corners in px of the photo")
        if not (x0 < x1 and y0 < y1):
            raise BenchError(f"{said} is empty: give its left, top, right and bottom")
    return boxes


def clicks_in(size: tuple[int, int], given: _Numbers, labels: Sequence[Sequence[int]]) -> list[Prompts]:
    """Return a prompt for each `--points`.

    Raises:
        BenchError: if numbers are missing, labels are not as many as clicks or not 0 or 1, or a click is outside.
    """
    if len(labels) not in (0, len(given)):
        raise BenchError(
            f"there are {len(labels)} --labels for {len(given)} --points: give labels for each of them, or for none"
        )
    prompts = []
    for index, numbers in enumerate(given):
        if not numbers or len(numbers) % 2:
            raise BenchError(f"--points takes X Y of each click, two numbers each, got {len(numbers)} of them")
        points = np.array(numbers).reshape(-1, 2)
        for x, y in points.tolist():
            if not (0 <= x <= size[1] and 0 <= y <= size[0]):
                raise BenchError(
                    f"point {x:g} {y:g} is not inside the photo of {size[1]} x {size[0]} px (width x height): "
                    "give it in px of the photo"
                )
        of_these = labels[index] if labels else (FOREGROUND,) * len(points)
        if len(of_these) != len(points) or not set(of_these) <= {BACKGROUND, FOREGROUND}:
            raise BenchError(
                f"--labels takes 1 or 0 for each click of its --points, which are {len(points)}, got "
                f"{' '.join(map(str, of_these)) or 'none'}"
            )
        prompts.append(Prompts(points[None], np.array([of_these])))
    return prompts


def ask(segmenter: Segmenter, image: np.ndarray, boxes: np.ndarray, clicks: Sequence[Prompts]) -> list[Annotation]:
    """Return a mask for each box, then for each prompt of clicks."""
    (embedding,) = segmenter.embed([image])
    prompts = [Prompts.from_boxes(boxes), *clicks] if len(boxes) else clicks
    return [one for prompt in prompts for one in answer(segmenter, embedding, prompt)]


def find(segmenter: Segmenter, image: np.ndarray, settings: Settings) -> list[Annotation]:
    """Return everything in an image, under a progress bar.

    Raises:
        BenchError: if the model cannot, or takes no settings.
    """
    if isinstance(segmenter, EverythingFinder):
        if settings != DEFAULT:
            raise BenchError(
                f"model '{segmenter.name}' finds everything in one pass, not by a grid of points: leave out "
                "--points-per-side and what follows it in --help"
            )
        return segment_everything(segmenter, image)
    total = count_points((image.shape[0], image.shape[1]), settings)
    with progress(segmenter.name, total=total, unit="points") as advance:
        return segment_everything(segmenter, image, settings, advance=advance)


def largest_first(found: Sequence[Annotation]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each mask with its place in the file, so that small ones are drawn over large ones."""
    for index in sorted(range(len(found)), key=lambda index: -found[index]["area"]):
        yield index, decode(found[index]["segmentation"])


def write(folder: Path, stem: str, picture: np.ndarray, found: Sequence[Annotation]) -> list[Path]:
    """Write the picture and the masks, each whole or not at all, over files of an earlier run.

    Raises:
        BenchError: if the disk is full or refuses.
    """
    png = io.BytesIO()
    Image.fromarray(picture).save(png, "PNG")
    lines = ",\n".join(json.dumps(one) for one in plain(found))
    files = {
        folder / f"{stem}.segments.png": png.getvalue(),
        folder / f"{stem}.segments.json": f"[{lines}]\n".encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        write_whole(path, content, variable="--out")
    return list(files)


@dataclass
class Clock:
    """How long a model took."""

    encoder: float = 0.0
    """Seconds in its encoder."""
    all: float = 0.0
    """Seconds from the first to the last."""
    _started: float = field(default_factory=time.perf_counter)

    @classmethod
    def on(cls, segmenter: Any) -> Clock:
        """Start a clock that sees when a segmenter encodes, or finds everything in one pass."""
        clock = cls()
        for name in ("embed", "everything"):
            if hasattr(segmenter, name):
                setattr(segmenter, name, clock._seen(getattr(segmenter, name), segmenter.device))
        return clock

    def stop(self) -> None:
        """Stop it."""
        self.all = time.perf_counter() - self._started

    def _seen(self, call: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            started = time.perf_counter()
            result = call(*arguments)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            self.encoder += time.perf_counter() - started
            return result

        return timed


def _tell(name: str, photo: Path, size: tuple[int, int], found: Sequence[Annotation], clock: Clock) -> None:
    """Print how many masks there are and how long they took."""
    table = Table("photo", "model", "masks", "encoder s", "decoder s", box=None)
    row = (f"{photo.name}, {size[1]} x {size[0]} px", name, f"{len(found)}")
    seconds = (f"{clock.encoder:.2f}", f"{clock.all - clock.encoder:.2f}")
    table.add_row(*(Text(printable(entry)) for entry in (*row, *seconds)))
    Console().print(table)
    if not found:
        notice("no mask: lower --pred-iou-thresh or --stability-score-thresh, or raise --points-per-side")
