"""Small data sets on disk and models that need no weights, for tests of the protocols."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as rle

from models.errors import UnsupportedPrompt
from models.segmenter import BACKGROUND, Embedding, Prompts, Segmentation

SIDE = 32
"""Height of fake images, px; they are a little wider."""


class DiscModel:
    """A segmenter whose candidates are discs of three sizes around the first point or the box's centre."""

    name = "disc"
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
