"""EfficientSAM (arXiv 2312.00863, section 4.3): a plain ViT encoder and a relative of SAM's mask decoder."""

from models.efficientsam.build import efficientsam, efficientsam_s, efficientsam_ti
from models.efficientsam.network import EfficientSamNetwork
from models.efficientsam.segmenter import EfficientSamSegmenter

__all__ = [
    "EfficientSamNetwork",
    "EfficientSamSegmenter",
    "efficientsam",
    "efficientsam_s",
    "efficientsam_ti",
]
