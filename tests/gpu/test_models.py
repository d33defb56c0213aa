"""Classifiers, detectors, Mask2Former, FastSAM, targets, probes and cached features: the CPU's answers, on the GPU."""

from typing import Any

import numpy as np
import pytest
import torch

from bench.data.training.feature_cache import write_features
from bench.training.features import _asked
from models import zoo
from models.classifier.network import Classifier, evaluate_classifier
from models.classifier.probes import frozen_features
from models.sami.encoder import ViTEncoder
from models.segmenter import Prompts
from models.training.promptable import normalise
from models.vitdet.detector import detect
from protocols.axes import Axes
from protocols.predictors import ModelPredictor
from tests.gpu.compare import same_bits
from tests.gpu.stages import IMAGES, SIDE, TARGETS, VIT, need_ultralytics, small_vitdet
from tests.pretend_gpu import on_gpu

SIZE = (40, 56)
RNG = np.random.default_rng(0)
PHOTOS = list(RNG.integers(0, 256, (3, *SIZE, 3)).astype(np.uint8))


def seeded(build: Any) -> Any:
    """Build with the same random weights on every device."""
    torch.manual_seed(0)
    return build()


def test_a_classifier_waits_twice_a_batch() -> None:
    def classify(device: str) -> Any:
        network = seeded(lambda: Classifier(ViTEncoder(**VIT), 7))
        answers = evaluate_classifier(network, PHOTOS, batch=2, device=device)
        assert device == "cpu" or on_gpu(list(network.parameters()))
        return answers

    waits = {"models/classifier/network.py:predict item": 2, "models/classifier/network.py:predict to cpu": 2}
    assert same_bits(classify) == waits


@pytest.mark.parametrize("pool", ["avg", "token"])
def test_features_for_probes_wait_once_a_batch(pool) -> None:
    def features(device: str) -> Any:
        return frozen_features(seeded(lambda: ViTEncoder(**VIT)), PHOTOS, pool=pool, batch=2, device=device)

    assert same_bits(features) == {"models/classifier/probes.py:frozen_features to cpu": 2}


@pytest.mark.parametrize("name", TARGETS)
def test_targets_are_made_on_the_gpu_without_a_wait(name) -> None:
    def features(device: str) -> Any:
        target = seeded(lambda: TARGETS[name](device))
        made = target(normalise(IMAGES, torch.device(device)))
        assert device == "cpu" or on_gpu(made)
        return made

    assert same_bits(features) == {}


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_features_are_cached_with_one_wait_a_batch(precision, tmp_path) -> None:
    def write(device: str) -> Any:
        target, folder = seeded(lambda: TARGETS["sam"](device)), tmp_path / device
        write_features(
            PHOTOS,
            _asked(target, torch.device(device), precision),
            folder,
            views=2,
            seed=0,
            scale=(0.2, 1.0),
            size=SIDE,
            batch=2,
            teacher_sha256="0" * 64,
            photos="1" * 64,
        )
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

    batches = 1 + 3  # the first asks for the features' shape
    assert same_bits(write) == {"bench/data/training/feature_cache/write.py:_array to cpu": batches}


def test_a_detector_finds_the_same() -> None:
    def find(device: str) -> Any:
        network = seeded(small_vitdet)
        network.roi_heads.score_thresh = 0.0
        found = detect(network, PHOTOS[:2], device=device)
        assert all(len(one.scores) for one in found)
        return [tuple(one) for one in found]

    same_bits(find)


def test_fastsam_chooses_the_same() -> None:
    need_ultralytics()

    def choose(device: str) -> Any:
        model = zoo.load("fastsam-micro", device=device)
        predictor = ModelPredictor(model, Axes())
        predictor.set_image(PHOTOS[0])
        boxes, clicks = Prompts.from_boxes([[3, 4, 30, 36]]), Prompts(np.full((1, 1, 2), 9), np.ones((1, 1)))
        return [predictor.predict(prompts, None) for prompts in (boxes, clicks)]

    same_bits(choose)


def test_mask2former_answers_the_same() -> None:
    pytest.importorskip("mmseg")
    from models.mask2former.evaluate import predict
    from tests.models.mask2former.toys import toy_network

    waits = same_bits(lambda device: predict(toy_network().to(device), PHOTOS[0]))
    assert waits["models/mask2former/evaluate.py:predict to cpu"] == 1
