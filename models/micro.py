"""The micro zoo: the same architectures at 256 px with small widths, for two CPU cores.

Trained on dead leaves by `nox -s train_micro`; the weights and the command, seed, data and time behind each are in
models/weights. A micro model is a stand-in for the pipeline and for orderings, never for a number of the paper.
"""

from __future__ import annotations

from typing import Any

from models.efficientsam.build import efficientsam
from models.efficientsam.network import EfficientSamNetwork
from models.mobilesam.build import mobilesam
from models.sam.build import sam
from models.sam.network import SamNetwork

IMG_SIZE = 256
"""Side of the input, px."""
PROMPT_DIM = 96
"""Width of every micro decoder and of the image embedding."""
DECODER: dict[str, Any] = {
    "prompt_dim": PROMPT_DIM,
    "decoder_heads": 4,
    "decoder_mlp_dim": 160,
    "iou_head_hidden_dim": 96,
    "upscaling_channels": (48, 24),
}


def sam_micro() -> SamNetwork:
    """Build micro SAM, the teacher: windows of 8 x 8 patches, two global blocks, relative positions."""
    return sam(
        embed_dim=120,
        depth=6,
        num_heads=6,
        global_attn_indexes=(2, 5),
        window_size=8,
        img_size=IMG_SIZE,
        **DECODER,
    )


def efficientsam_s_micro() -> EfficientSamNetwork:
    """Build micro EfficientSAM-S: plain ViT, global attention, positions of a 224 px pretraining."""
    return efficientsam(embed_dim=84, depth=6, num_heads=4, img_size=IMG_SIZE, **DECODER)


def efficientsam_ti_micro() -> EfficientSamNetwork:
    """Build micro EfficientSAM-Ti: narrower and shallower than -S."""
    return efficientsam(embed_dim=56, depth=4, num_heads=4, img_size=IMG_SIZE, **DECODER)


def mobilesam_micro() -> SamNetwork:
    """Build micro MobileSAM: a TinyViT encoder before the decoder of micro SAM."""
    return mobilesam(
        img_size=IMG_SIZE,
        embed_dims=(16, 32, 48, 64),
        depths=(1, 2, 3, 1),
        num_heads=(1, 2, 3, 4),
        window_sizes=(8, 8, 16, 8),
        **DECODER,
    )
