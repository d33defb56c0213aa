"""ViTDet on COCO photos: training, evaluation, and that losses, targets and evaluation agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bench.data.instances import Instances, open_instances
from bench.data.training.detection import CocoPhotos, DetectionBatches
from models.sami.build import MICRO_SIZES
from models.training.detect import detect_stage
from models.training.loop import train
from models.training.recipes import DETECT_MICRO, DETECT_PAPER
from models.vitdet.backbone import start_from_encoder
from models.vitdet.build import vitdet, vitdet_micro
from models.vitdet.detector import Found, detect
from models.vitdet.network import VitDet
from protocols import table2
from protocols.scores import CellRun, Scores

WEIGHTS = Path(__file__).resolve().parents[3] / "models" / "weights"
LARGE = (12448, 173350, 191381, 562150)
"""Photos whose objects are few and large enough for a network of 256 px."""


@pytest.fixture(scope="module")
def samples(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Instances:
    return open_instances("coco", shared / "samples")


def some(instances: Instances, ids: Sequence[int]) -> Instances:
    return replace(instances, images=tuple(info for info in instances.images if info.id in ids))


class Asked:
    """A network as Table 2 asks it."""

    name, checkpoint_sha256, custom, classes = "asked", "", False, 80

    def __init__(self, network: VitDet) -> None:
        self.network = network

    def detect(self, photos: Sequence[np.ndarray]) -> list[Found]:
        return detect(self.network, photos)


def evaluate(network: VitDet, instances: Instances) -> Scores:
    data = table2.data_set(instances, None)
    records = table2.ask(Asked(network), data, instances.images, lambda photos: None).drop(columns="skipped")
    run = CellRun(records, "", 0, tuple(info.id for info in instances.images), {})
    return table2.score(run, data)


@pytest.mark.slow
def test_twelve_steps_of_the_full_detector_and_its_evaluation(samples: Instances, tmp_path: Path) -> None:
    """ViTDet-Ti as defined, at 128 px and with fewer sampled boxes and proposals, which are no weights."""
    torch.manual_seed(0)
    fewer = {"proposals_before_nms": (200, 50), "proposals_after_nms": (100, 20), "boxes_per_image": 12}
    network = vitdet("ti", img_size=128, **fewer)
    batches = DetectionBatches(CocoPhotos(samples), images=1, side=128, scale=(0.5, 1.5), seed=0)
    recipe = replace(
        DETECT_PAPER, steps=12, images_per_step=1, warmup_steps=3, image_size=128, precision="no", clip_norm=1.0
    )
    seen: list[float] = []
    stage = detect_stage()

    def listened(*step):
        terms = stage(*step)
        seen.append(float(terms["loss"].detach()))
        return terms

    trained = train(network, listened, batches, recipe, tmp_path)
    assert len(seen) == 12
    assert np.mean(seen[-5:]) < np.mean(seen[:5])
    scores = evaluate(trained, some(samples, LARGE[:2]))
    assert all(0 <= interval.value <= 1 for interval in scores.intervals.values())


@pytest.mark.slow
@pytest.mark.overfit
def test_four_photos_are_learned_by_heart(samples: Instances, tmp_path: Path) -> None:
    """Losses, targets, conversion of boxes and masks, and evaluation agree, or this cannot come near 1."""
    torch.manual_seed(0)
    four = some(samples, LARGE)
    network = vitdet_micro(MICRO_SIZES["ti"], classes=80)
    state = {name: value.float() for name, value in load_file(WEIGHTS / "sami-ti-micro.safetensors").items()}
    start_from_encoder(network.backbone, state, "sami-ti-micro")
    recipe = replace(DETECT_MICRO, steps=400, jitter=(1.0, 1.0), warmup_steps=20, checkpoint_every=400)
    batches = DetectionBatches(CocoPhotos(four), images=4, side=256, scale=recipe.jitter, seed=0)
    scores = evaluate(train(network, detect_stage(), batches, recipe, tmp_path), four)
    assert scores.intervals["ap_box"].value > 0.8
    assert scores.intervals["ap_mask"].value > 0.8
