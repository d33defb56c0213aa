"""The stub that stood for the model when the published evaluators were run, and what they computed with it.

golden/evaluators.npz: synthetic masks, and the clicks and IoUs of mit-han-lab/efficientvit de7d773, chongzhou96/EdgeSAM
b53372c and pytorch-labs/segment-anything-fast e6aadeb on them; "perfect" are masks that the stub answers exactly.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from pycocotools import mask as rle

from bench.data import Annotation, ImageInfo
from models.frames import resized
from models.sam.segmenter import SamSegmenter
from models.segmenter import Embedding, Segmentation

RADIUS = 0.0625
GOLDEN = Path(__file__).parent / "golden" / "evaluators.npz"


def values(x, y, points, labels, radius):
    """Return the stub's answer to a prompt at places x [W], y [H]: discs around clicks, 90 % of a box's sides."""
    x, y = x[None, :], y[:, None]
    discs = [radius - np.sqrt((x - px) ** 2 + (y - py) ** 2) for px, py in points[labels == 1]]
    if 2 in labels:
        x0, y0, x1, y1 = points[(labels == 2) | (labels == 3)].ravel()
        across, down = (0.45 * (b - a) - np.abs(at + 0.5 - (a + b) / 2) for a, b, at in ((x0, x1, x), (y0, y1, y)))
        discs.append(np.minimum(across, down))
    value = np.maximum.reduce(discs) if discs else np.full((y.size, x.size), -1.0)
    for px, py in points[labels == 0]:
        value = np.minimum(value, np.sqrt((x - px) ** 2 + (y - py) ** 2) - radius / 2)
    return value


class Stub:
    """Answers at the image's size, of three candidates the second; of one that."""

    name = "stub"
    device = torch.device("cpu")

    def __init__(self):
        self.seen = []

    def embed(self, images):
        return [Embedding(torch.zeros(1, 1, 1), image.shape[:2]) for image in images]

    def _values(self, size, prompts):
        y, x = (np.arange(side) for side in size)
        pairs = zip(prompts.points.astype(np.float64), prompts.labels, strict=True)
        return np.stack([values(x, y, *one, RADIUS * max(size)) for one in pairs])

    def segment(self, embedding, prompts, *, multimask=True):
        self.seen.append(prompts)
        value = torch.from_numpy(self._values(embedding.size, prompts)).float()
        three = torch.stack([-value, value, torch.full_like(value, -1)], 1)
        scores = torch.tensor([0.2, 0.9, 0.5]).expand(len(prompts), 3)
        return Segmentation(three, scores) if multimask else Segmentation(three[:, 1:2], scores[:, 1:2])

    def masks(self, logits, size):
        return logits > 0


class PaddedStub(Stub):
    """Answers with low-resolution logits in the padded frame, as SAM's family does."""

    padded = True

    def _values(self, size, prompts):
        y = x = 4 * np.arange(256) + 1.5
        scale = np.array(resized(size, 1024)[::-1]) / np.array(size[::-1])
        points = (prompts.points * scale).astype(np.float32).astype(np.float64)
        pairs = zip(points, prompts.labels, strict=True)
        return np.stack([values(x, y, *one, RADIUS * 1024) for one in pairs])

    def masks(self, logits, size):
        sam = SamSegmenter.__new__(SamSegmenter)  # without weights
        sam.network = SimpleNamespace(image_size=1024)
        return sam.masks(logits, size)


def made_masks(kind):
    """Return the synthetic or perfect masks, one an image, as pairs of the image and its annotations."""
    with np.load(GOLDEN) as golden:
        sizes, bits = golden[f"{kind}_size"], np.unpackbits(golden[f"{kind}_bits"]).astype(bool)
    start, found = 0, []
    for number, (height, width) in enumerate(sizes.tolist(), start=1):
        mask = bits[start : start + height * width].reshape(height, width)
        start += height * width
        found.append((ImageInfo(number, Path(f"{number}.png"), height, width), [annotated(mask, number)]))
    return found


def annotated(mask, number):
    """Return a mask as annotation; one without a pixel has area 1."""
    runs = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    x, y, width, height = rle.toBbox(runs).tolist() if mask.any() else (1.0, 1.0, 2.0, 2.0)
    box = (x, y, x + width, y + height)
    counts = {"size": list(mask.shape), "counts": runs["counts"].decode()}
    return Annotation(number, number, 1, max(1.0, float(mask.sum())), box, box, False, counts)
