"""Build Mask2Former networks: the paper's sizes and micro ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import nn

from models.mask2former.backbone import PlainViTPyramid
from models.mask2former.config import Mask2FormerSizes, network_config
from models.mask2former.openmmlab import import_mmseg

ADE20K_CLASSES = 150
TI = Mask2FormerSizes(embed_dim=192, depth=12, num_heads=3, classes=ADE20K_CLASSES)
S = replace(TI, embed_dim=384, num_heads=6)
B = replace(TI, embed_dim=768, num_heads=12)
SIZES = {"ti": TI, "s": S, "b": B}
PAPER_CROP = 512
"""Side of training crops, px (section 4.2)."""
MICRO_CROP = 256
MICRO_CLASSES = 5
"""Of dead leaves as ADE20K."""


def mask2former(sizes: Mask2FormerSizes, *, crop: int = PAPER_CROP, classes: int | None = None) -> nn.Module:
    """Build an untrained Mask2Former as mmsegmentation's EncoderDecoder, its heads initialised as mmdet does.

    Random numbers come from torch's global generator.

    Args:
        sizes: TI, S, B or a user's own.
        crop: side of the training crops, px.
        classes: of the data set, if not those of the sizes.

    Raises:
        BenchError: if mmsegmentation cannot be used here.
    """
    sizes = sizes if classes is None else replace(sizes, classes=classes)
    registry = _registry()
    from mmengine import ConfigDict  # mmdet reads settings as attributes

    network: Any = registry.build(ConfigDict(network_config(sizes, crop)))
    with _quiet():
        network.init_weights()  # mmengine's Runner would, after pretrained weights are loaded; a second call is void
    network.sizes = sizes
    return network  # type: ignore[no-any-return]


def mask2former_micro(
    *, embed_dim: int, depth: int, num_heads: int, crop: int = MICRO_CROP, classes: int = MICRO_CLASSES
) -> nn.Module:
    """Build a micro Mask2Former behind a ViT of this size, for two CPU cores; see `mask2former`."""
    sizes = Mask2FormerSizes(
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        classes=classes,
        channels=48,
        heads=4,
        groups=8,
        pixel_layers=1,
        decoder_layers=3,
        queries=20,
        pixel_hidden=96,
        decoder_hidden=96,
        points=784,
        test_shorter_side=crop,
    )
    return mask2former(sizes, crop=crop)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep mmengine from printing each parameter as it is initialised."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    before = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(before)


def _registry() -> Any:
    """Return mmsegmentation's registry with our backbone in it."""
    import_mmseg()
    from mmseg.registry import MODELS

    if PlainViTPyramid.__name__ not in MODELS.module_dict:
        MODELS.register_module(module=PlainViTPyramid)
    return MODELS
