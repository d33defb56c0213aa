"""A ViT that names what a photo shows (section 4.1, Table 1), and how it is asked: one centre crop, five answers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from PIL import Image
from timm.data.transforms_factory import create_transform
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from models.checkpoints import check_numbers
from models.errors import BenchError
from models.sami.build import MICRO_SIZES, SIZES
from models.sami.encoder import ViTEncoder

ANSWERS = 5
"""Classes named for each photo, the likeliest first."""
CROP_SHARE = 0.875
"""Side of the centre crop over the shorter side of the photo: 224 of 256 px."""
MICRO_CLASSES = 16
"""Of dead leaves as ImageNet."""
HEAD_STD = 2e-5
"""Of the weights of an untrained head (MAE's finetuning): every class starts equally likely."""


class Photos(Protocol):
    """Photos by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> np.ndarray:
        """Return uint8 [H, W, 3] RGB."""


class Classifier(VisionTransformer):  # type: ignore[misc]
    """A pretrained encoder with a linear head: `forward(pixels [B, 3, S, S]) -> logits [B, classes]`.

    It is timm's ViT, so its entries have the names of the public finetuned checkpoints: `pool="avg"` those of MAE's
    (mae_finetuned_vit_base.pth), `pool="token"` those of DeiT's without distillation.

    Args:
        encoder: its weights are copied. Its last norm is left out if patch tokens are averaged, as MAE does: a new
            one, `fc_norm`, follows the average.
        classes: number of classes.
        pool: what the head sees, the mean of the patch tokens or the class token.
        drop_path: stochastic depth of the last block; that of the others grows linearly up to it.
    """

    def __init__(
        self,
        encoder: ViTEncoder,
        classes: int,
        *,
        pool: Literal["avg", "token"] = "avg",
        drop_path: float = 0.0,
    ) -> None:
        first: Any = encoder.blocks[0]
        super().__init__(
            img_size=encoder.img_size,
            patch_size=encoder.patch_embed.patch_size,
            num_classes=classes,
            global_pool=pool,
            embed_dim=encoder.embed_dim,
            depth=encoder.depth,
            num_heads=first.attn.num_heads,
            mlp_ratio=first.mlp.fc1.out_features / encoder.embed_dim,
            drop_path_rate=drop_path,
        )
        own = self.state_dict()
        taken = {name: value for name, value in encoder.state_dict().items() if name in own}
        self.load_state_dict({**own, **taken})
        nn.init.trunc_normal_(self.head.weight, std=HEAD_STD)  # type: ignore[arg-type]


def paper_classifier(size: str, *, classes: int = 1000, drop_path: float = 0.0) -> Classifier:
    """Build an untrained classifier of size "ti", "s" or "b"."""
    return Classifier(ViTEncoder(**SIZES[size]), classes, drop_path=drop_path)


def micro_classifier(size: str, *, classes: int = MICRO_CLASSES, drop_path: float = 0.0) -> Classifier:
    """Build an untrained micro classifier of size "ti" or "s"."""
    return Classifier(ViTEncoder(**MICRO_SIZES[size]), classes, drop_path=drop_path)


def start_from_encoder(network: Classifier, encoder_state: Mapping[str, Tensor], name: str) -> None:
    """Load a pretrained `ViTEncoder` into a classifier, whose head and its norm stay as they are.

    Args:
        network: changed in place.
        encoder_state: the encoder's entries.
        name: what the error calls it.

    Raises:
        BenchError: if it is of another size.
    """
    own = network.state_dict()
    given = {entry: value for entry, value in encoder_state.items() if not entry.startswith("norm.")}
    wanted = {entry for entry in own if not entry.startswith(("head.", "fc_norm."))}
    wrong = sorted(wanted ^ set(given)) or [entry for entry in sorted(given) if given[entry].shape != own[entry].shape]
    if wrong:
        raise BenchError(
            f"the encoder of {name} does not fit a classifier of {network.embed_dim} x {len(network.blocks)}: "
            f"'{wrong[0]}' has another shape or is missing, take the encoder of its size"
        )
    check_numbers(given, own, f"the encoder of {name}")
    network.load_state_dict({**own, **given})


def evaluate_classifier(
    network: nn.Module,
    photos: Photos,
    *,
    batch: int = 64,
    device: str | torch.device = "cpu",
    crop_share: float = CROP_SHARE,
    advance: Callable[[int], None] = lambda photos: None,
) -> np.ndarray:
    """Return the five likeliest classes of every photo, int64 [N, 5], the likeliest first.

    Args:
        network: logits of pixels; put into evaluation mode. Its input size is its `patch_embed`'s, else 224 px.
        photos: of any size.
        batch: photos in one forward pass.
        device: where the network is moved to.
        crop_share: see `to_input`.
        advance: told how many photos were done; for a progress bar.

    Raises:
        BenchError: if a logit is NaN or infinite.
    """
    network.eval().to(device)
    answers = []
    for first in range(0, len(photos), batch):
        some = [photos[index] for index in range(first, min(first + batch, len(photos)))]
        answers.append(predict(network, some, device=device, crop_share=crop_share))
        advance(len(some))
    return np.concatenate(answers) if answers else np.empty((0, ANSWERS), np.int64)


@torch.inference_mode()
def predict(
    network: nn.Module,
    photos: Sequence[np.ndarray],
    *,
    device: str | torch.device = "cpu",
    crop_share: float = CROP_SHARE,
) -> np.ndarray:
    """Return the five likeliest classes of photos uint8 [H, W, 3], int64 [B, 5]; -1 where there are fewer classes.

    Raises:
        BenchError: if a logit is NaN or infinite.
    """
    pixels = to_input(photos, input_side(network), crop_share)
    logits: Tensor = network(pixels.to(device)).float()
    if not torch.isfinite(logits).all():
        raise BenchError(
            "the classifier's logits have NaN or infinite values: its weights are damaged, or its training diverged"
        )
    count = min(ANSWERS, logits.shape[1])
    # A stable sort, so that equally likely classes have one order on every machine.
    likeliest = logits.argsort(dim=1, descending=True, stable=True)[:, :count].cpu().numpy()
    return np.pad(likeliest, ((0, 0), (0, ANSWERS - count)), constant_values=-1)


def input_side(network: nn.Module) -> int:
    """Return the side of a network's input, px."""
    size = getattr(getattr(network, "patch_embed", None), "img_size", None) or (224, 224)
    return int(size[0])


def to_input(photos: Sequence[np.ndarray], side: int = 224, crop_share: float = CROP_SHARE) -> Tensor:
    """Turn photos uint8 [H, W, 3] into pixels [B, 3, side, side], ImageNet mean and std.

    Args:
        photos: of any size.
        side: of the centre crop, px.
        crop_share: the shorter side is resized to side / crop_share px (Pillow bicubic) before; 256 for 224.
    """
    transform = _evaluation_transform(side, crop_share)
    return torch.stack([transform(Image.fromarray(photo)) for photo in photos])


@functools.cache
def _evaluation_transform(side: int, crop_share: float) -> Callable[[Image.Image], Tensor]:
    transform: Callable[[Image.Image], Tensor] = create_transform(
        side, is_training=False, interpolation="bicubic", crop_pct=crop_share
    )
    return transform
