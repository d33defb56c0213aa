"""The classifiers of Table 1: which have public weights, and what it means that the others have none.

`bench weights fetch` gets the authors' files, or a user passes another's path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import timm
from torch import Tensor, nn

from models import checkpoints, row_cards
from models.classifier.network import CROP_SHARE, micro_classifier, predict
from models.errors import BenchError
from models.row_cards import Registry, RowCard

_FACEBOOK = "https://dl.fbaipublicfiles.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierCard(RowCard):
    """One row of Table 1 at one scale."""

    table: str = "table1"
    timm: str | None = None
    """Name of the architecture in timm; None for micro models, and for rows of other architectures or unknown ones."""
    crop_share: float = CROP_SHARE
    """Side of the centre crop over the shorter side of the photo."""


class LoadedClassifier:
    """A classifier with its weights.

    Attributes:
        name: of its card.
        checkpoint_sha256: of the file its weights came from.
        custom: True if the file was named by the user, so that it may not be the card's.
        network: in evaluation mode.
    """

    def __init__(self, card: ClassifierCard, network: nn.Module, *, checkpoint_sha256: str, custom: bool) -> None:
        self.name, self.checkpoint_sha256, self.custom = card.name, checkpoint_sha256, custom
        self.network = network
        self._device, self._crop_share = next(network.parameters()).device, card.crop_share

    def predict(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return the five likeliest classes of photos uint8 [H, W, 3], int64 [B, 5], the likeliest first.

        Raises:
            BenchError: if a logit is NaN or infinite.
        """
        try:
            return predict(self.network, images, device=self._device, crop_share=self._crop_share)
        except BenchError as error:
            raise BenchError(f"model '{self.name}': {error}") from None


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a published state dict under timm's names: DeiT III calls its layer scales gamma_1 and gamma_2."""
    return {name.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma"): v for name, v in state.items()}


def _build(found: ClassifierCard, state: Mapping[str, Tensor]) -> nn.Module:
    """Make the network; one of timm's averages patch tokens if its checkpoint does.

    Raises:
        BenchError: if it is not known how.
    """
    if found.scale == "micro":
        return micro_classifier(found.name.split("-")[1])
    if found.timm is None:
        raise BenchError(f"how '{found.paper_row}' is built is not known here: load its weights as another row's model")
    pool: dict[str, Any] = {"global_pool": "avg"} if "fc_norm.weight" in state else {}
    network: nn.Module = timm.create_model(found.timm, pretrained=False, num_classes=1000, **pool)
    return network


def _deit(size: str, paper_row: str, architecture: str, digest: str, why: str) -> ClassifierCard:
    filename = f"deit_{size}_distilled_patch16_224-{digest}.pth"
    return ClassifierCard(
        name=paper_row.lower(),
        paper_row=paper_row,
        scale="paper",
        timm=architecture,
        filename=filename,
        url=f"{_FACEBOOK}/deit/{filename}",
        digest=("sha256", digest),
        licence="Apache-2.0",
        note=why,
    )


def _without(paper_row: str, why: str, architecture: str | None = None) -> ClassifierCard:
    return ClassifierCard(name=paper_row.lower(), paper_row=paper_row, scale="paper", timm=architecture, note=why)


_NEVER_RELEASED = "the paper's authors released neither pretrained nor finetuned weights"
CONTROL = "scratch-ti-micro-classify"
_BACKBONE_ONLY = "the authors released the pretrained backbone alone, and the printed number is that of finetuning it"
_OTHERS = "quoted from another paper, and no finetuned weights are known"
_TI, _S, _B = (f"vit_{size}_patch16_224" for size in ("tiny", "small", "base"))

CARDS: tuple[ClassifierCard, ...] = (
    _deit(
        "tiny",
        "DeiT-Ti",
        "deit_tiny_distilled_patch16_224.fb_in1k",
        "b40b3cf7",
        "the printed number is that of the distilled model: 74.5 in the DeiT repository, 72.2 without distillation",
    ),
    _without("SSTA-Ti", _OTHERS),
    _without("DMAE-Ti", _OTHERS),
    _without("MAE-Ti", _NEVER_RELEASED, _TI),
    _without("SAMI-Ti", _NEVER_RELEASED, _TI),
    _deit(
        "small",
        "DeiT-S",
        "deit_small_distilled_patch16_224.fb_in1k",
        "649709d9",
        "the printed number is that of the distilled model: 81.2 in the DeiT repository, 79.9 without distillation",
    ),
    _without("SSTA-S", _OTHERS),
    _without("DMAE-S", _OTHERS),
    _without("MAE-S", _NEVER_RELEASED, _S),
    _without("BEiT-S", _OTHERS),
    _without("CAE-S", _OTHERS),
    _without("DINO-S", _BACKBONE_ONLY, _S),
    _without("iBOT-S", _BACKBONE_ONLY, _S),
    _without("SAMI-S", _NEVER_RELEASED, _S),
    ClassifierCard(
        name="deit-b",
        paper_row="DeiT-B",
        scale="paper",
        timm="deit3_base_patch16_224.fb_in1k",
        filename="deit_3_base_224_1k.pth",
        url=f"{_FACEBOOK}/deit/deit_3_base_224_1k.pth",
        licence="Apache-2.0",
        crop_share=1.0,  # DeiT III evaluates without cutting the border off
        note="the printed number is that of DeiT III's ViT-B; DeiT-B itself has 81.8, distilled 83.4 (DeiT repository)",
    ),
    _without("DMAE-B", _OTHERS),
    _without("BootMAE", _OTHERS),
    ClassifierCard(
        name="mae-b",
        paper_row="MAE-B",
        scale="paper",
        timm="vit_base_patch16_224.mae",
        filename="mae_finetuned_vit_base.pth",
        url=f"{_FACEBOOK}/mae/finetune/mae_finetuned_vit_base.pth",
        digest=("md5", "1b25e9"),
        licence="CC BY-NC 4.0",
        note="MAE's own finetuned file, 83.664 in its repository; timm's vit_base_patch16_224.mae has no head",
    ),
    _without("BEiT-B", "the released classifiers were finetuned on ImageNet-22K in between, and score 85.2"),
    _without("CAE-B", _OTHERS),
    _without("DINO-B", _BACKBONE_ONLY, _B),
    _without("iBOT-B", _BACKBONE_ONLY, _B),
    _without("SAMI-B", _NEVER_RELEASED, _B),
    *(
        row_cards.micro_card(ClassifierCard, f"{row.lower()}-micro-classify", row)
        for row in ("MAE-Ti", "SAMI-Ti", "MAE-S", "SAMI-S")
    ),
    replace(
        row_cards.micro_card(ClassifierCard, CONTROL, CONTROL),
        note="finetuned without pretraining: a control that the paper has not",
    ),
)
"""Every row of Table 1, this project's stand-ins for four of them, and its control."""
_registry = Registry(
    module=__name__,
    what="classifier",
    all=CARDS,
    read=lambda path, file_card: renamed(checkpoints.read_state_dict(path, file_card)),
    build=_build,
    model=LoadedClassifier,
)
cards, card, available = _registry.cards, _registry.card, _registry.available
modules, load = _registry.modules, _registry.load
