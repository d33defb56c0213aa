"""`bench probe ENCODER`: what a pretrained encoder knows before it is finetuned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from bench.cli.as_json import AsJson, print_json
from bench.data.dead_leaves.imagenet import CLASSES, VAL_IMAGES, VAL_SEED, draw_object_scene, labelled_images
from bench.metrics.interval import mean_interval
from bench.progress import progress
from models.classifier.probes import frozen_features, knn_probe, linear_probe, load_encoder
from models.errors import BenchError, printable

TRAIN_IMAGES, HELD_OUT_IMAGES = 3200, 800
"""Enough to tell a trained encoder from an untrained one in two minutes."""


@dataclass(frozen=True)
class Labelled:
    """Some of a data set's photos."""

    photo: Callable[[int], np.ndarray]
    """Reads one by its number, uint8 [H, W, 3]."""
    labels: np.ndarray
    """int64 [all], of every photo of the data set."""
    chosen: np.ndarray
    """int64 [N], numbers of the photos that are used."""

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int, /) -> np.ndarray:
        """Return uint8 [H, W, 3]."""
        return np.asarray(self.photo(int(self.chosen[index])))


def probe(
    encoder: tyro.conf.Positional[Path],
    /,
    heads: int | None = None,
    pool: Literal["avg", "token"] = "avg",
    train_images: int = TRAIN_IMAGES,
    held_out_images: int = HELD_OUT_IMAGES,
    data: Path | None = None,
    batch: int = 64,
    device: str = "cpu",
    as_json: AsJson = False,
) -> None:
    """Score frozen features by DINO's weighted nearest neighbours and by logistic regression; a quick look.

    Args:
        encoder: Weights of a pretraining: an encoder, an autoencoder, or a public MAE checkpoint.
        heads: Attention heads, where the width does not tell.
        pool: Feature of an image, the mean of its patch tokens or the class token.
        train_images: How many labelled images the probes learn from, drawn with seed 0.
        held_out_images: How many images they are asked about, drawn with seed 0.
        data: Folder with imagenet/train and imagenet/val; without it, dead leaves.
        batch: Images in one forward pass.
        device: As torch names it.
        as_json: Print the scores as JSON.
    """
    network = load_encoder(encoder, heads=heads)
    known, asked = (
        dead_leaves(train_images, held_out_images) if data is None else imagenet(data, train_images, held_out_images)
    )
    features = []
    for title, some in (("images to learn from", known), ("held-out images", asked)):
        with progress(title, total=len(some), unit="images") as advance:
            features.append(frozen_features(network, some, pool=pool, batch=batch, device=device, advance=advance))
    truth, images = asked.labels[asked.chosen], np.arange(len(asked))
    table, rows = Table("probe", "top-1 [95 %]", "top-5", box=None), []
    for name, ask in (("k-NN (k = 20, T = 0.07)", knn_probe), ("linear (L-BFGS)", linear_probe)):
        right = ask(features[0], known.labels[known.chosen], features[1]) == truth[:, None]  # [M, 5]
        top1 = mean_interval(right[:, 0].astype(float), images)
        top5 = float(right.any(1).mean())
        rows.append({"probe": name, "top1": top1.value, "low": top1.low, "high": top1.high, "top5": top5})
        table.add_row(name, f"{top1.value:.1%} [{top1.low:.1%}, {top1.high:.1%}]", f"{top5:.1%}")
    if as_json:
        print_json(rows)
        return
    console = Console()
    world = "dead leaves, micro scale" if data is None else str(data)
    console.print(
        f"{printable(encoder.name)}: {len(known)} images to learn from, {len(asked)} held out ({world})",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
    console.print(table)


def dead_leaves(train_images: int, held_out_images: int) -> tuple[Labelled, Labelled]:
    """Return dead leaves to learn from and held-out ones, which are drawn when they are asked for."""
    scenes = labelled_images(train_images)
    held_out = np.arange(VAL_IMAGES) % len(CLASSES)
    return (
        Labelled(scenes.images.__getitem__, np.asarray(scenes.labels), np.arange(train_images)),
        Labelled(lambda index: draw_object_scene(VAL_SEED, index)[0], held_out, _some(VAL_IMAGES, held_out_images)),
    )


def imagenet(root: Path, train_images: int, held_out_images: int) -> tuple[Labelled, Labelled]:
    """Return photos of ImageNet's two splits."""
    from bench.data.imagenet import open_imagenet

    known, asked = open_imagenet(root, "train"), open_imagenet(root, "val")
    return (
        Labelled(known.__getitem__, known.labels, _some(len(known), train_images)),
        Labelled(asked.__getitem__, asked.labels, _some(len(asked), held_out_images)),
    )


def _some(count: int, wanted: int) -> np.ndarray:
    """Draw `wanted` of `count` numbers, in order.

    Raises:
        BenchError: if none is wanted or there is none.
    """
    if wanted < 1 or count < 1:
        raise BenchError(f"a probe needs images, {wanted} of {count} are asked for: raise the number")
    return np.sort(np.random.default_rng(0).permutation(count)[:wanted])
