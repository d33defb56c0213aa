"""Small data sets on disk and models that need no weights, for tests of the protocols."""

import json
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle

from bench.store import RunStore
from models.errors import UnsupportedPrompt
from models.segmenter import BACKGROUND, Embedding, Prompts, Segmentation
from protocols.axes import PAPER, Axes
from protocols.data_set import DataSet
from protocols.measured import Measured
from protocols.scores import CellRun
from protocols.settings import Settings
from protocols.shards import asked_about


@contextmanager
def no_bar(description: str, total: int, done: int):
    yield lambda count: None


def settings(store: Path, **changes: Any) -> Settings:
    """Return settings with a run store in a folder, which tell nobody anything."""
    usual = {"store": RunStore(store), "progress": no_bar, "say": lambda line: None, "provenance": {"git": None}}
    return Settings(**{**usual, **changes})


def instance_data(axes: Axes = PAPER, instances: Any = None, name: str = "coco", **more: Any) -> DataSet:
    """Return an instance set as Tables 4 and 5 are asked about it; without instances, one without images."""
    nothing = SimpleNamespace(images=(), problems=(), sha256="", name=name)
    source = instances if instances is not None else nothing
    return DataSet(
        name=name,
        source=source,
        sha256=source.sha256,
        truth={"sha256": source.sha256},
        asked=asked_about(source.images),
        of_images=len(source.images),
        axes=axes,
        **more,
    )


def measured(data: DataSet, runs: dict[str, CellRun], **more: Any) -> Measured:
    """Return runs of seed 0 as what a table's notes are made from."""
    plan = SimpleNamespace(rows=(), subjects=())
    whole = {"plan": plan, "data": data, "columns": (), "scores": {}, "settings": None, **more}
    return Measured(runs={row: {0: run} for row, run in runs.items()}, **whole)


@dataclass(frozen=True)
class FakeCard:
    """A card of a model that needs no file."""

    name: str
    paper_row: str | None
    scale: str = "paper"
    filename: str | None = None
    note: str = ""
    threads: int | None = None

    @property
    def released(self) -> bool:
        return self.filename is not None


class FakeRegistry:
    """Models that are there already, by name; those of `CARDS` that are not are missing."""

    CARDS: tuple[FakeCard, ...] = ()
    models: Mapping[str, Any] = MappingProxyType({})

    def cards(self):
        return self.CARDS

    def modules(self, name):
        return ()

    def available(self, name):
        return name in self.models, "" if name in self.models else f"the weights of '{name}' are not there"

    def load(self, name, checkpoint=None, *, device="cpu", trusted=frozenset()):
        return self.models[name]


@contextmanager
def using(table: Any, registry: Any, root: Path):
    """Give a table other models and another folder of dead leaves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "registry_of_tests", registry)
        patch.setattr(table, "CARDS", "registry_of_tests")
        patch.setattr(table, "micro_root", lambda: root)
        yield


SIDE = 32
"""Height of fake images, px; they are a little wider."""


class DiscModel:
    """A segmenter whose candidates are discs of three sizes around the first point or the box's centre."""

    name = "disc"
    checkpoint_sha256, custom = "0" * 64, False
    radii = (3.0, 6.0, 12.0)

    def __init__(self, *, best: int = 1, takes_background: bool = True) -> None:
        self.best, self.takes_background = best, takes_background
        self.device = torch.device("cpu")
        self.seen: list[Prompts] = []

    def embed(self, images):
        return [Embedding(torch.zeros(1, 1, 1), image.shape[:2]) for image in images]

    def segment(self, embedding, prompts, *, multimask=True):
        if not self.takes_background and (prompts.labels == BACKGROUND).any():
            raise UnsupportedPrompt("model 'disc' takes no background points")
        self.seen.append(prompts)
        height, width = embedding.size
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        centre = torch.from_numpy(np.where(prompts.labels[:, :1, None] == 2, prompts.points.mean(1, keepdims=True), 0))
        centre = centre + torch.from_numpy(np.where(prompts.labels[:, :1, None] == 2, 0, prompts.points[:, :1]))
        distance = torch.hypot(x - centre[:, 0, 0, None, None], y - centre[:, 0, 1, None, None])
        radii = torch.tensor(self.radii if multimask else self.radii[:1])
        logits = radii[None, :, None, None] - distance[:, None]
        iou = torch.full((len(prompts), len(radii)), 0.5)
        iou[:, self.best if multimask else 0] = 0.9
        return Segmentation(logits.float(), iou)

    def masks(self, logits, size):
        return logits > 0


def write_coco(root: Path, masks: list[list[np.ndarray]], *, crowd: tuple[int, ...] = ()) -> None:
    """Write a COCO and an LVIS data set with these masks of each image; annotation ids count from 1."""
    images, annotations = [], []
    folder = root / "coco" / "val2017"
    folder.mkdir(parents=True)
    for image_id, objects in enumerate(masks, start=1):
        size = objects[0].shape if objects else (SIDE, SIDE + 8)
        name = f"{image_id:012d}.png"
        pixels = np.random.default_rng(image_id).integers(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
        images.append({"id": image_id, "file_name": name, "height": size[0], "width": size[1]})
        for mask in objects:
            runs = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
            number = len(annotations) + 1
            annotations.append(
                {
                    "id": number,
                    "image_id": image_id,
                    "category_id": 1 + number % 2,
                    "segmentation": {"size": list(size), "counts": runs["counts"].decode()},
                    "area": int(mask.sum()),
                    "bbox": rle.toBbox(runs).tolist(),
                    "iscrowd": int(number in crowd),
                }
            )
    categories = [{"id": k, "name": f"thing {k}", "frequency": "f", "image_count": 100} for k in (1, 2)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    _write(root / "coco/annotations/instances_val2017.json", coco)
    for image in images:
        image["coco_url"] = f"http://images.cocodataset.org/val2017/{image.pop('file_name')}"
        image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    plain = [{k: v for k, v in a.items() if k != "iscrowd"} for a in annotations if not a["iscrowd"]]
    _write(root / "lvis/annotations/lvis_v1_val.json", coco | {"images": images, "annotations": plain})


def disc(x: float, y: float, radius: float, size: tuple[int, int] = (SIDE, SIDE + 8)) -> np.ndarray:
    """Return a disc bool [H, W]."""
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]]
    return np.hypot(columns - x, rows - y) < radius


def _write(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
