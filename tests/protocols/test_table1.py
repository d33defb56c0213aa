"""Table 1 with classifiers and photos that need neither weights nor a data set."""

import doctest
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.imagenet import open_imagenet
from models.errors import BenchError
from protocols import data_set, table1
from protocols.plan import make_plan
from protocols.results import TableResult
from protocols.saved_predictions import write_recording
from protocols.table import make_tables
from tests.protocols.fakes import FakeCard, FakeRegistry, settings


class Guesser:
    """Right about photos whose number is below its skill."""

    checkpoint_sha256 = "0" * 64
    custom = False

    def __init__(self, name: str, skill: int) -> None:
        self.name, self.skill, self.seen = name, skill, []

    def predict(self, images):
        self.seen += [int(image[0, 0, 0]) for image in images]
        labels = np.array([[image[0, 0, 0] % 4 if image[0, 0, 0] < self.skill else 9] for image in images])
        return np.concatenate([labels, (labels + 1) % 4, np.full((len(images), 3), -1)], axis=1)


class Registry(FakeRegistry):
    """Four rows of Table 1 at paper scale, two at micro scale."""

    CARDS = (
        FakeCard("deit-ti", "DeiT-Ti", filename="deit.pth", note="the distilled model"),
        FakeCard("ssta-ti", "SSTA-Ti", note="another paper's"),
        FakeCard("sami-s", "SAMI-S", note="never released"),
        FakeCard("mae-b", "MAE-B", filename="mae.pth"),
        FakeCard("mae-ti-micro-classify", "MAE-Ti", "micro", "mae.safetensors"),
        FakeCard("sami-ti-micro-classify", "SAMI-Ti", "micro", "sami.safetensors"),
    )

    def __init__(self, *, here=("deit-ti", "mae-ti-micro-classify", "sami-ti-micro-classify")):
        self.models = {
            card.name: Guesser(card.name, 30 if card.paper_row.startswith("SAMI") else 18)
            for card in self.CARDS
            if card.name in here
        }


class Photos:
    """Forty photos of four classes, one of them broken."""

    sha256 = "f" * 64
    wnids = tuple(f"n{k}" for k in range(4))
    labels = np.arange(40) % 4
    paths = tuple(Path(f"val/n{k % 4}/{k}.png") for k in range(40))

    def __len__(self):
        return 40

    def __getitem__(self, index):
        if index == 3:
            raise BenchError("3.png is cut short")
        return np.full((2, 2, 3), index, np.uint8)


@pytest.fixture
def make(tmp_path, use):
    def table(registry, photos=None, store="runs", **asked):
        def open_data(name, plan, chosen):
            return table1.data_set(photos or Photos(), chosen.limit)

        use(table1, registry, micro_root=lambda: tmp_path, open_data=open_data)
        made = make_tables([table1], settings(tmp_path / store, records=tmp_path / "records", **asked))
        return made[0] if made else None

    return table


@pytest.fixture
def plan(tmp_path, use):
    def plan(registry, **asked):
        use(table1, registry, micro_root=lambda: tmp_path)
        return make_plan(table1, settings(tmp_path / "runs", **asked))

    return plan


@pytest.fixture
def with_photos(tmp_path):
    (tmp_path / "data/imagenet/val").mkdir(parents=True)
    return tmp_path / "data"


def test_examples_in_docstrings_are_true():
    assert doctest.testmod(data_set).failed == 0


def test_every_row_of_the_paper_has_a_cell_with_its_number(make, shared):
    result = make(Registry())
    printed = [line.split(",") for line in (shared / "paper/table1.csv").read_text().splitlines()[1:]]
    assert [(row.label, result.cell(row.label, "top1").paper) for row in result.rows] == [
        (line[0], pytest.approx(float(line[-1]) / 100)) for line in printed
    ]
    assert TableResult.from_json(result.to_json()) == result


def test_top_1_is_the_share_of_photos_that_could_be_read(make):
    result = make(Registry())
    cell = result.cell("MAE-Ti", "top1")
    assert (cell.status, cell.n) == ("measured", 39)
    assert cell.measured == pytest.approx(17 / 39)
    assert cell.low < cell.measured < cell.high
    assert "left out 3.png is cut short" in result.footnotes


def test_pairs_are_compared_over_the_same_photos(make):
    found = {(c.first, c.second): c for c in make(Registry()).comparisons}
    one = found["SAMI-Ti", "MAE-Ti"]
    assert (one.measured, one.paper) == (pytest.approx(12 / 39), pytest.approx(0.016))
    assert one.verdict == "same order (1 training each)"
    assert found["SAMI-B", "MAE-B"].verdict == "not measured"


def test_a_finished_run_is_not_asked_again(make):
    first, again = Registry(), Registry()
    assert make(first) == make(again)
    assert first.models["mae-ti-micro-classify"].seen
    assert not again.models["mae-ti-micro-classify"].seen


def write_photo(root: Path, number: int, colour: int) -> Path:
    path = root / f"imagenet/val/{number % 4}/{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((2, 2, 3), colour, np.uint8)).save(path)
    return path


@pytest.mark.parametrize("fault", ["cut short", "replaced"])
def test_a_photo_that_is_mended_or_replaced_is_asked_again_with_its_shard_alone(tmp_path, make, use, fault):
    use(table1, IMAGES_A_SHARD=2)
    root, first, again = tmp_path / "data", Registry(), Registry()
    for number in range(8):
        write_photo(root, number, number)
    path = write_photo(root, 5, 9)
    if fault == "cut short":
        path.write_bytes(path.read_bytes()[:40])
    before = make(first, open_imagenet(root))
    assert any("left out" in note for note in before.footnotes) == (fault == "cut short")
    write_photo(root, 5, 5)
    after = make(again, open_imagenet(root))
    assert sorted(again.models["mae-ti-micro-classify"].seen) == [1, 5]
    assert after.cells == make(Registry(), open_imagenet(root), "fresh").cells


def test_a_limited_run_asks_all_classes_and_says_so(make):
    registry = Registry()
    result = make(registry, limit=7)
    assert registry.models["mae-ti-micro-classify"].seen == [0, 5, 11, 17, 22, 28, 34]
    assert "7 of 40 images" in result.world
    assert any("limited run" in note for note in result.footnotes)


def test_other_processes_return_no_table(make, monkeypatch):
    make(Registry())
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert make(Registry()) is None


class Whole(Photos):
    """Forty photos that can all be read."""

    def __getitem__(self, index):
        return np.full((2, 2, 3), index, np.uint8)


def record(folder, row, seed, skill, sha256=Whole.sha256):
    """Write down what a training of a row answered about the whole photos."""
    data = table1.data_set(Whole(), None)
    records = table1.ask(Guesser(row, skill), data, data.asked.images, lambda done: None)
    facts = {"model": row, "data": sha256, "image_ids": list(data.asked.ids), "date": "2026-01-01", "made_with": {}}
    write_recording(folder / "records", records, table="table1", version=1, row=row, seed=seed, facts=facts)


def record_both(folder, seeds, **which):
    for seed in seeds:
        record(folder, "SAMI-Ti", seed, 30 + seed, **which)
        record(folder, "MAE-Ti", seed, 18 + 2 * seed, **which)


def sami_minus_mae(result):
    return next(c for c in result.comparisons if (c.first, c.second) == ("SAMI-Ti", "MAE-Ti"))


def test_methods_are_compared_over_the_trainings_that_both_have(make, tmp_path):
    record_both(tmp_path, (1, 2))
    result = make(Registry(), Whole())
    one = sami_minus_mae(result)
    assert (one.verdict.startswith("same order (p "), one.verdict.endswith(", 3 seeds)")) == (True, True)
    assert one.measured == pytest.approx((12 + 11 + 10) / 3 / 40)
    assert "SAMI-Ti, by training seed 0, 1, 2: ImageNet-1K top-1 75.0, 77.5, 80.0" in result.footnotes


def test_a_limit_holds_for_recorded_trainings_too(make, tmp_path):
    record_both(tmp_path, (1, 2))
    assert sami_minus_mae(make(Registry(), Whole(), limit=20)).verdict.endswith(", 3 seeds)")


def test_trainings_that_were_asked_about_other_images_are_left_out(make, tmp_path):
    record_both(tmp_path, (1, 2), sha256="e" * 64)
    assert sami_minus_mae(make(Registry(), Whole())).verdict == "same order (1 training each)"


def test_a_row_whose_weights_are_not_kept_stands_on_its_recorded_answers(make, tmp_path):
    record(tmp_path, "SAMI-Ti", 0, 30)
    result = make(Registry(here=("mae-ti-micro-classify",)), Whole())
    assert result.cell("SAMI-Ti", "top1").measured == pytest.approx(30 / 40)


def test_claims_that_contradict_the_table_are_named(make):
    notes = make(Registry()).footnotes
    assert "the paper's text puts SAMI-B 1.1 above iBOT-B, the table gives 0.4" in notes


def test_micro_rows_without_a_stand_in_are_quoted_and_untrained_ones_say_so(plan):
    found = plan(Registry(here=("mae-ti-micro-classify",))).unmeasured
    assert found["DMAE-B"][0] == "quoted"
    assert found["SAMI-B"][0] == "no public weights"
    assert found["MAE-B"][0] == "quoted", "its weights are public, but no micro model stands in"
    assert found["SAMI-Ti"] == ("not trained yet", "the weights of 'sami-ti-micro-classify' are not there")


def test_paper_rows_say_whose_weights_there_are(plan, with_photos):
    found = plan(Registry(), data_root=with_photos)
    assert (found.scale, found.root) == ("paper", with_photos)
    assert [subject.row for subject in found.subjects] == ["DeiT-Ti"]
    assert found.unmeasured["SSTA-Ti"] == ("quoted", "another paper's")
    assert found.unmeasured["SAMI-S"] == ("no public weights", "never released")
    assert found.unmeasured["MAE-B"][0] == "weights missing"


def test_a_checkpoint_of_the_user_s_is_measured_where_no_public_one_exists(plan, with_photos):
    found = plan(Registry(), data_root=with_photos, checkpoints={"sami-s": Path("mine.pt")})
    assert ("SAMI-S", Path("mine.pt")) in [(s.row, s.checkpoint) for s in found.subjects]
    assert "custom checkpoint mine.pt" in next(row.note for row in found.rows if row.label == "SAMI-S")


@pytest.mark.parametrize(
    ("here", "why"),
    [((), "no published classifier is on disk"), (("deit-ti",), "photos and weights are on disk")],
)
def test_auto_says_what_it_took_and_why(plan, with_photos, here, why):
    assert why in plan(Registry(here=here), data_root=with_photos).world


def test_without_photos_auto_is_micro(plan):
    found = plan(Registry())
    assert found.scale == "micro"
    assert "no imagenet/val in BENCH_DATA" in found.world


def test_only_what_was_asked_for_is_measured(plan):
    for name in ("mae-ti", "mae-ti-micro-classify"):
        found = plan(Registry(), models=(name,))
        assert [subject.row for subject in found.subjects] == ["MAE-Ti"]
        assert found.unmeasured["SAMI-Ti"] == ("not requested", "")


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"models": ("mae-tj",)}, "did you mean"),
        ({"checkpoints": {"mae-x": Path("a")}}, "unknown classifier 'mae-x'"),
        ({"scale": "paper"}, "a folder with imagenet/val"),
        ({"scale": "micro", "models": ("deit-ti", "mae-b")}, None),
        ({"scale": "micro", "checkpoints": {"mae-b": Path("a")}}, "use --scale paper"),
    ],
)
def test_what_cannot_be_done_is_refused(plan, asked, sentence):
    if sentence is None:
        assert plan(Registry(), **asked).subjects == ()
        return
    with pytest.raises(BenchError, match=sentence):
        plan(Registry(), **asked)


def test_a_set_without_a_readable_photo_is_an_error(make, monkeypatch):
    monkeypatch.setattr(Photos, "__getitem__", lambda self, index: (_ for _ in ()).throw(BenchError("gone")))
    with pytest.raises(BenchError, match="no photo could be read: gone"):
        make(Registry())
