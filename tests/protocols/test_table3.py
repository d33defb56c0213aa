"""Table 3 with models and photos that need neither weights nor mmsegmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.data.ade20k import open_ade20k
from models.errors import BenchError
from protocols import table3
from protocols.paper import paper_table
from protocols.plan import make_plan
from protocols.table import make_tables
from tests.bench.data.ade20k_files import random_pair, write_ade20k
from tests.protocols.fakes import FakeCard, FakeRegistry, settings, using

CLASSES = 3


class Segmenter:
    """Answers with the truth, but for a share of the pixels that it calls class 0."""

    checkpoint_sha256 = "0" * 64
    custom = False

    def __init__(self, name: str, wrong: float) -> None:
        self.name, self.wrong, self.asked = name, wrong, 0

    def predict(self, photo, truth):
        spoilt = np.random.default_rng(int(photo.sum())).random(truth.shape) < self.wrong
        return np.where(spoilt | (truth == 255), 0, truth)

    def areas(self, photo, truth, classes):
        self.asked += 1
        counts = confusion(self.predict(photo, truth), truth, classes)
        return counts.diagonal(), counts.sum(0) + counts.sum(1) - counts.diagonal()


def confusion(predicted, truth, classes):
    counts = np.zeros((classes, classes), np.int64)
    known = truth != 255
    np.add.at(counts, (truth[known], predicted[known]), 1)
    return counts


def micro(name: str, row: str) -> FakeCard:
    return FakeCard(name, row, "micro", f"{name}.safetensors", "a stand-in")


class Registry(FakeRegistry):
    CARDS = (
        FakeCard("m2f-mae-ti", "MAE-Ti", note="never released"),
        FakeCard("m2f-sami-ti", "SAMI-Ti", note="never released"),
        micro("m2f-mae-ti-micro", "MAE-Ti"),
        micro("m2f-sami-ti-micro", "SAMI-Ti"),
        micro("m2f-mae-s-micro", "MAE-S"),
    )

    def __init__(self) -> None:
        self.models = {c.name: Segmenter(c.name, 0.2 if "sami" in c.name else 0.4) for c in self.CARDS}
        self.here = ("m2f-mae-ti-micro", "m2f-sami-ti-micro")

    def available(self, name):
        return (True, "") if name in self.here else (False, f"{name} is not trained yet")

    def load(self, name, checkpoint=None, *, device="cpu", trusted=frozenset()):
        model = self.models[name]
        model.custom = checkpoint is not None
        return model


@pytest.fixture
def root(tmp_path):
    return write_ade20k(tmp_path / "data", [random_pair(seed) for seed in range(12)])


def plan(registry, root, **changes):
    with using(table3, registry, root):
        return make_plan(table3, settings(root / "runs", **{"scale": "micro", **changes}))


def make(registry, root, tmp_path, **changes):
    with using(table3, registry, root):
        (result,) = make_tables([table3], settings(tmp_path / "runs", scale="micro", **changes))
    return result


def test_miou_is_that_of_one_confusion_matrix_over_all_photos(tmp_path, root) -> None:
    registry, photos = Registry(), open_ade20k(root)
    result = make(registry, root, tmp_path)
    for row, name in (("MAE-Ti", "m2f-mae-ti-micro"), ("SAMI-Ti", "m2f-sami-ti-micro")):
        model = registry.models[name]
        counts = sum(confusion(model.predict(*photos[i]), photos[i][1], CLASSES) for i in range(12))
        iou = counts.diagonal() / (counts.sum(0) + counts.sum(1) - counts.diagonal())
        cell = result.cell(row, "miou")
        assert cell.status == "measured"
        assert cell.measured == pytest.approx(iou.mean())
        assert cell.low < cell.measured < cell.high
        assert cell.n == 12


def test_rows_say_what_they_are_and_pairs_are_compared(tmp_path, root) -> None:
    registry = Registry()
    result = make(registry, root, tmp_path)
    assert [row.label for row in result.rows] == list(paper_table("table3").index)
    status = {cell.row: cell.status for cell in result.cells}
    assert status == {
        "MAE-Ti": "measured",
        "SAMI-Ti": "measured",
        "MAE-S": "not trained yet",
        "SAMI-S": "no public weights",
        "MAE-B": "no public weights",
        "SAMI-B": "no public weights",
    }
    assert [cell.paper for cell in result.cells] == [0.39, 0.427, 0.441, 0.488, 0.493, 0.518]
    first, *others = result.comparisons
    assert (first.first, first.second, first.verdict) == ("SAMI-Ti", "MAE-Ti", "same order (1 training each)")
    assert first.paper == pytest.approx(0.037)
    assert first.low < first.measured < first.high
    assert {one.verdict for one in others} == {"not measured"}
    assert (result.scale, result.comparable) == ("micro", False)


def test_a_second_run_asks_no_model_again(tmp_path, root) -> None:
    registry = Registry()
    first = make(registry, root, tmp_path)
    asked = registry.models["m2f-sami-ti-micro"].asked
    second = make(registry, root, tmp_path)
    assert registry.models["m2f-sami-ti-micro"].asked == asked == 12
    assert first.cells == second.cells


def test_photos_whose_label_maps_do_not_fit_are_left_out_and_counted(tmp_path) -> None:
    pairs = [random_pair(seed) for seed in range(5)]
    pairs[1] = (pairs[1][0], pairs[1][1][:, :-1])  # of another size
    pairs[3] = (pairs[3][0], pairs[3][1] + np.uint8(7))  # labels of no class
    pairs[4] = (pairs[4][0], np.zeros_like(pairs[4][1]))  # nothing labelled
    root = write_ade20k(tmp_path / "data", pairs)
    registry = Registry()
    result = make(registry, root, tmp_path)
    assert result.cell("MAE-Ti", "miou").n == 3
    notes = "\n".join(result.footnotes)
    assert "left out 2 images" in notes
    assert "ADE_val_00000002.png is 12 x 15" in notes
    assert "ADE_val_00000004.png has label 10, but there are 3 classes" in notes


def test_without_a_readable_photo_there_is_no_table(tmp_path) -> None:
    photo, labels = random_pair(0)
    root = write_ade20k(tmp_path / "data", [(photo, labels[:5])])
    registry = Registry()
    with pytest.raises(BenchError, match="no photo could be read"):
        make(registry, root, tmp_path)


def test_a_limited_run_says_so(tmp_path, root) -> None:
    registry = Registry()
    result = make(registry, root, tmp_path, limit=4)
    assert result.cell("MAE-Ti", "miou").n == 4
    assert "limited run: 4 images, evenly spread" in result.footnotes
    assert "(4 of 12 images)" in result.world


class TestPlan:
    def test_auto_takes_full_size_models_only_with_photos_and_a_checkpoint(self, root, tmp_path) -> None:
        registry, mine = Registry(), {"m2f-sami-ti": tmp_path / "mine.pth"}
        assert plan(registry, root, scale="auto").scale == "micro"
        assert plan(registry, root, scale="auto", data_root=root).scale == "micro"
        made = plan(registry, root, scale="auto", data_root=root, checkpoints=mine)
        assert (made.scale, made.root) == ("paper", root)
        assert [subject.model for subject in made.subjects] == ["m2f-sami-ti"]
        assert made.unmeasured["MAE-Ti"][0] == "no public weights"
        assert {row.label: row.note for row in made.rows}["SAMI-Ti"].startswith("custom checkpoint mine.pth")

    def test_rows_and_models_can_be_named(self, root) -> None:
        for name in ("sami-ti", "m2f-sami-ti-micro"):
            made = plan(Registry(), root, models=(name,))
            assert [subject.row for subject in made.subjects] == ["SAMI-Ti"]
            assert made.unmeasured["MAE-Ti"] == ("not requested", "")

    def test_what_cannot_be_is_an_error(self, root, tmp_path) -> None:
        registry = Registry()
        with pytest.raises(BenchError, match="needs BENCH_DATA, a folder with ade20k/images/validation"):
            plan(registry, root, scale="paper")
        with pytest.raises(BenchError, match=r"'m2f-sami-ti' knows other classes .* use --scale paper"):
            plan(registry, root, checkpoints={"m2f-sami-ti": tmp_path})
        with pytest.raises(BenchError, match="unknown segmentation model 'm2f-sami-tu'"):
            plan(registry, root, models=("m2f-sami-tu",))
        with pytest.raises(BenchError, match="unknown segmentation model 'other'"):
            plan(registry, root, checkpoints={"other": tmp_path})


def test_the_paper_s_numbers_are_those_of_the_paper(shared) -> None:
    own = Path(table3.__file__).with_name("paper") / "table3.csv"
    assert own.read_text() == (shared / "paper" / "table3.csv").read_text()


@pytest.mark.parametrize("kind", ["images", "annotations"])
def test_another_photo_or_label_map_is_asked_again_with_its_shard_alone(tmp_path, root, monkeypatch, kind) -> None:
    monkeypatch.setattr(table3, "IMAGES_A_SHARD", 4)
    registry = Registry()
    make(registry, root, tmp_path)
    (tmp_path / "other").mkdir()
    write_ade20k(tmp_path / "other", [random_pair(seed) for seed in (*range(5), 99, *range(6, 12))])
    name = f"ade20k/{kind}/validation/ADE_val_00000006.png"
    (root / name).write_bytes((tmp_path / "other" / name).read_bytes())
    again = make(registry, root, tmp_path)
    assert registry.models["m2f-sami-ti-micro"].asked == 12 + 4
    assert make(registry, root, tmp_path / "fresh").cells == again.cells
