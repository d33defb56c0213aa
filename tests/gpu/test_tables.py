"""What Tables 1 to 5 ask, of packaged models loaded onto the pretended GPU: the records of the CPU."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.data import open_instances
from models import zoo
from models.classifier import cards as classifiers
from models.vitdet import cards as detectors
from protocols import clicks_prompts, robustness_prompts, table1, table2, table3, table4_prompts, table5_prompts
from protocols.axes import Axes
from protocols.prompts.jittered_boxes import jittered_detections
from tests.gpu.compare import same_bits
from tests.gpu.stages import need_ultralytics
from tests.protocols.fakes import disc, instance_data, write_coco

RNG = np.random.default_rng(0)
PHOTOS = RNG.integers(0, 256, (3, 48, 64, 3)).astype(np.uint8)

LABELS = RNG.integers(0, 256, PHOTOS.shape[1:3]).astype(np.uint8)


def nothing(count: int) -> None:
    """Take no notice of progress."""


class Photos(SimpleNamespace):
    """Photos in memory."""

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def test_table_1() -> None:
    paths = [Path(f"n{number}/{number}.png") for number in range(3)]
    data = SimpleNamespace(source=Photos(items=PHOTOS, paths=paths, labels=np.arange(3)))

    def records(device: str) -> Any:
        model = classifiers.load("mae-ti-micro-classify", device=device)
        return table1.ask(model, data, range(3), nothing)

    assert len(same_bits(records)) == 2


@pytest.fixture
def instances(tmp_path) -> Any:
    write_coco(tmp_path, [[disc(9, 9, 5), disc(20, 12, 8)], [disc(15, 15, 9)]])
    return open_instances("coco", tmp_path)


def test_table_2(instances) -> None:
    def records(device: str) -> Any:
        model = detectors.load("vitdet-sami-ti-micro", device=device)
        source = SimpleNamespace(categories=dict.fromkeys(range(model.classes)), annotation_path=Path())
        found = table2.ask(model, SimpleNamespace(source=source), instances.images, nothing)
        assert len(found)
        return found

    same_bits(records)


def test_table_3() -> None:
    pytest.importorskip("mmseg")
    from models.mask2former import cards as segmentation

    def records(device: str) -> Any:
        model = segmentation.load("mask2former-sami-ti-micro", device=device)
        names = range(model.network.sizes.classes)
        items = [(PHOTOS[0], LABELS % len(names))]
        photos = Photos(items=items, names=names, paths=[Path("0.png")])
        return table3.ask(model, SimpleNamespace(source=photos), [0], nothing)

    same_bits(records)


SEGMENTERS = ("sam-micro", "efficientsam-ti-micro", "mobilesam-micro", "fastsam-micro")


@pytest.mark.parametrize("name", SEGMENTERS)
def test_tables_4_and_5(name, instances) -> None:
    if name == "fastsam-micro":
        need_ultralytics()
    axes = Axes(refinement=1, clicks="ritm") if name == "sam-micro" else Axes()
    data = replace(instance_data(axes, instances), boxes=jittered_detections(instances, instances.images))

    def records(device: str) -> Any:
        model = zoo.load(name, device=device)
        return [table.ask(model, data, instances.images, nothing) for table in (table4_prompts, table5_prompts)]

    same_bits(records)


@pytest.mark.parametrize("name", SEGMENTERS[:2])
def test_clicks_and_robustness(name, instances) -> None:
    fed = "previous" if name == "sam-micro" else "none"
    data = instance_data(Axes(clicks="ritm", most_clicks=3, mask_prompt=fed), instances)

    def records(device: str) -> Any:
        model = zoo.load(name, device=device)
        return [table.ask(model, data, instances.images, nothing) for table in (clicks_prompts, robustness_prompts)]

    same_bits(records)
