"""What changed since a run was made is named, in five planted cases; and code that changes no record costs nothing."""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.store import RunStore
from bench.store.identity import fingerprint
from bench.store.shards import encode
from bench.store.stored import StoredRun, find_run, read_run
from models import zoo
from models.errors import BenchError
from protocols import run as asking
from protocols import table4
from protocols.axes import PAPER
from protocols.chosen import read_axes
from protocols.inspect.recheck import Sample
from protocols.inspect.verify import Verification, verify
from protocols.table import make_tables
from tests.protocols.fakes import DiscModel, disc, settings, write_coco

MODEL = "sam-micro"
MASKS = [[disc(10 + 2 * k, 9 + k, 5), disc(26, 20, 4 + k % 3)] for k in range(6)]
PROVENANCE = {
    "git": {"commit": "a" * 40, "dirty": False},
    "versions": {"torch": "2.9.0", "numpy": "2.0.0"},
    "hardware": {"cpu": "this one", "cores": 2},
}
EVERY = Sample(every=True)


class World:
    """A data set, a store, and a model whose discs can be given other radii."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root, self.radii, self.sha256, self.asked = root, (3.0, 6.0, 12.0), "0" * 64, 0
        self.said: list[str] = []
        write_coco(root / "data", MASKS)
        patch.setattr(zoo, "load", self.load)
        patch.setattr(zoo, "available", lambda name: (name == MODEL, f"no weights of {name}"))
        patch.setattr(table4, "micro_root", lambda: root / "data")
        patch.setattr(table4, "IMAGES_A_SHARD", 2)

    def load(self, name, *, checkpoint=None, device="cpu", trusted=()):
        world = self

        class Model(DiscModel):
            radii, checkpoint_sha256 = self.radii, self.sha256

            def embed(self, images):
                world.asked += len(images)
                return super().embed(images)

        model = Model()
        model.name = name
        return model

    def settings(self, **changes):
        usual = {"scale": "auto", "provenance": PROVENANCE, "say": self.said.append, "models": (MODEL,)}
        return settings(self.root / "runs", **{**usual, **changes})

    def table(self, **changes):
        (made,) = make_tables([table4], self.settings(**{"scale": "micro", **changes}))
        return made

    def run(self) -> StoredRun:
        return find_run(f"table4/{MODEL}/coco", RunStore(self.root / "runs"))

    def verify(self, run=None, sample=EVERY, given=None, **changes) -> Verification:
        return verify(run or self.run(), sample, self.settings(models=(), **changes), given)


@pytest.fixture
def world(tmp_path, monkeypatch) -> World:
    made = World(tmp_path, monkeypatch)
    made.table()
    return made


def rewritten(run: StoredRun, root: Path, **identity) -> StoredRun:
    """Return a run with another identity and the same records, as if it had been made so."""
    folder = root / "rewritten" / fingerprint({**run.identity, **identity})
    folder.mkdir(parents=True)
    content = json.loads((run.folder / "run.json").read_text())
    content |= {"identity": {**run.identity, **identity}, "fingerprint": folder.name}
    (folder / "run.json").write_text(json.dumps(content))
    for path in run.paths.values():
        (folder / path.name).write_bytes(path.read_bytes())
    return read_run(folder)


@contextmanager
def other_code():
    """Edit the code that asks, so that its digest is another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "code_digest", lambda roots: "0123456789abcdef")
        yield


def tampered(run: StoredRun) -> None:
    frame = run.shard(1)
    frame.loc[2, "iou"] /= 2
    run.paths[1].write_bytes(encode(frame))


def named(found: Verification) -> set[str]:
    return {change.what for change in found.changed}


def test_a_run_that_nobody_touched_is_identical_and_nothing_changed(world):
    found = world.verify()
    assert (found.check.outcome, found.check.images, found.changed, found.circumstances) == ("identical", 6, (), ())
    assert found.what == ("table4", MODEL, "coco")


def test_verifying_writes_nothing(world):
    before = {path: path.read_bytes() for path in (world.root / "runs").rglob("*") if path.is_file()}
    world.verify()
    assert {path: path.read_bytes() for path in (world.root / "runs").rglob("*") if path.is_file()} == before


def test_a_limited_run_of_other_axes_is_asked_as_it_was(world):
    axes = read_axes(["mask_pick=single", "clicks=ritm", "smallest_area=0.1234567890123"])
    world.table(limit=3, axes=type(PAPER)(**axes), named=tuple(axes))
    found = world.verify()
    assert (found.check.outcome, found.check.images, found.changed) == ("identical", 3, ())


def test_one_record_with_a_good_seal_is_found_and_nothing_else_is_blamed(world):
    tampered(world.run())
    found = world.verify()
    assert (found.check.outcome, found.check.differing_images, found.changed) == ("differs", 1, ())
    assert found.check.first.about["prompt"] == world.run().shard(1)["prompt"][2]
    assert found.check.first.column == "iou"


class TestWhatChanged:
    """Each case is planted so that records differ, and nothing but its cause may be named."""

    def test_other_weights(self, world):
        world.sha256, world.radii = "f" * 64, (2.0, 5.0, 11.0)
        found = world.verify()
        assert (found.check.outcome, named(found)) == ("differs", {"weights"})
        assert str(found.changed[0]) == "weights: 0000000000000000... -> ffffffffffffffff..."

    def test_other_annotations(self, world):
        file = world.root / "data/coco/annotations/instances_val2017.json"
        content = json.loads(file.read_text())
        content["annotations"][3]["segmentation"] = content["annotations"][1]["segmentation"]
        file.write_text(json.dumps(content))
        found = world.verify()
        assert (found.check.outcome, named(found)) == ("differs", {"data"})
        assert found.changed[0].detail == "annotations"

    def test_another_photo(self, world):
        file = sorted((world.root / "data/coco/val2017").iterdir())[3]
        file.write_bytes(file.read_bytes()[:60])  # can no longer be read: its records are others
        found = world.verify()
        assert (found.check.outcome, named(found)) == ("differs", {"data"})
        assert found.changed[0].detail == "files of shards 1"

    def test_other_axes(self, world):
        found = world.verify(given={"mask_pick": "single"})
        assert (found.check.outcome, named(found)) == ("differs", {"axes"})
        assert str(found.changed[0]) == "axes (mask_pick): predicted_iou -> single"

    def test_an_axis_that_the_run_does_not_name_yet(self, world):
        world.table(axes=type(PAPER)(mask_pick="single"), named=("mask_pick",))
        axes = {name: value for name, value in world.run().identity["axes"].items() if name != "mask_pick"}
        found = world.verify(rewritten(world.run(), world.root, axes=axes))
        assert (found.check.outcome, named(found)) == ("differs", {"axes"})
        assert str(found.changed[0]) == "axes (mask_pick): not named -> predicted_iou"

    def test_another_engine(self, world):
        world.radii = (2.0, 5.0, 11.0)
        found = world.verify(given={"engine": "reference"})
        assert (found.check.outcome, named(found)) == ("differs", {"engine"})
        assert str(found.changed[0]) == "engine: exact -> reference"

    def test_another_version_of_a_library(self, world):
        world.radii = (2.0, 5.0, 11.0)
        newer = {**PROVENANCE, "versions": {"torch": "2.10.0", "numpy": "2.0.0"}}
        with other_code():
            found = world.verify(provenance=newer)
        assert (found.check.outcome, named(found)) == ("differs", {"library"})
        assert str(found.changed[0]) == "library (torch): 2.9.0 -> 2.10.0"

    def test_other_code(self, world):
        world.radii = (2.0, 5.0, 11.0)
        with other_code():
            found = world.verify(provenance={**PROVENANCE, "git": {"commit": "b" * 40, "dirty": False}})
        assert (found.check.outcome, named(found)) == ("differs", {"code"})
        assert str(found.changed[0]).endswith("(commit aaaaaaaaaaaa) -> 0123456789abcdef (commit bbbbbbbbbbbb)")

    def test_a_library_beside_edited_code_leaves_both_open(self, world):
        with other_code():
            found = world.verify(provenance={"git": {"commit": "a" * 40, "dirty": True}, "versions": {"torch": "3.0"}})
        assert named(found) == {"library", "code"}
        assert found.check.outcome == "identical", "code that changes no record is no difference"

    def test_another_machine_decides_nothing_but_is_told(self, world):
        found = world.verify(provenance={**PROVENANCE, "hardware": {"cpu": "another", "cores": 2}})
        assert found.changed == ()
        assert [str(one) for one in found.circumstances] == ["hardware (cpu): this one -> another"]


class TestRunsThatCannotBeVerified:
    @pytest.mark.parametrize(
        ("identity", "sentence"),
        [
            ({"protocol": "table99"}, "of table 'table99', which is not here"),
            ({"protocol": "table8"}, "asks no model"),
            ({"model": {"name": "gone", "device": "cpu"}}, "'gone', which is not installed here"),
            ({"model": {"name": "predictor:os:getcwd", "device": "cpu"}}, "may run code .* --model predictor:os:getc"),
            ({"model": {"name": MODEL, "device": "cpu", "custom": True}}, f"--checkpoint {MODEL}=PATH"),
            ({"model": {"name": MODEL, "device": "cpu", "engine": "warp"}}, "unknown engine 'warp'"),
            ({"model": MODEL}, "does not say which model"),
            ({"model": {"name": 5, "device": "cpu"}}, "does not say which model"),
            ({"data": None}, "does not say which data"),
            ({"images": {"count": "6"}}, "does not say which images"),
            ({"images": {"count": 0}}, "about no image"),
            ({"images": {"count": 6, "sha256": "0" * 64}}, "about other images"),
            ({"axes": ["mask_pick"]}, "axes that are no object"),
            ({"axes": {"mask_pick": "none"}}, "unknown value of axis mask_pick"),
            ({"axes": {"repeats": {"a": 1}}}, "axis repeats takes a whole number"),
        ],
    )  # fmt: skip
    def test_an_identity_that_means_nothing_here_is_one_sentence(self, world, identity, sentence):
        with pytest.raises(BenchError, match=sentence):
            world.verify(rewritten(world.run(), world.root, **identity))

    def test_an_axis_that_no_longer_exists_is_a_change_not_an_error(self, world):
        axes = {**world.run().identity["axes"], "phase_of_the_moon": "full"}
        found = world.verify(rewritten(world.run(), world.root, axes=axes))
        assert [str(one) for one in found.changed] == ["axes (phase_of_the_moon): full -> not named"]

    def test_records_that_are_none_are_one_sentence(self, world):
        run = world.run()
        for number, path in run.paths.items():
            path.write_bytes(encode(run.shard(number).drop(columns="skipped")))
        with pytest.raises(BenchError, match="records without the column 'skipped'"):
            world.verify()


class TestAdopting:
    def test_records_of_other_code_are_taken_over_once_a_sample_is_identical(self, world):
        old, before = world.run(), world.asked
        with other_code():
            made = world.table(adopt=True)
            new = world.run()
            assert (new.identity["code"], new.fingerprint != old.fingerprint) == ("0123456789abcdef", True)
            assert world.asked - before == 2 * 6, "the samples of two data sets, and nothing beyond them"
            again = world.table()
        assert {path.name: path.read_bytes() for path in new.paths.values()} == {
            path.name: path.read_bytes() for path in old.paths.values()
        }
        (session,) = new.sessions
        assert session["adopted"]["run"] == old.fingerprint
        assert session["adopted"]["code"] == old.identity["code"]
        assert session["adopted"]["sessions"] == list(old.sessions)
        for table in (made, again):  # also where the table is made later
            (note,) = [line for line in table.footnotes if "adopted" in line and "COCO" in line]
            assert f"SAM on COCO: records of run {old.fingerprint}, made by other code and adopted" in note
            assert "6 of 6 images" in note
            assert table.provenance["adopted"]["SAM on coco"]["run"] == old.fingerprint
        assert made.cells == again.cells

    def test_a_record_that_comes_out_otherwise_is_named_and_nothing_is_taken_over(self, world):
        world.radii = (2.0, 5.0, 11.0)
        with other_code():
            made = world.table(adopt=True)
            assert all("adopted" not in session for session in world.run().sessions)
            fresh = world.verify()
        assert fresh.check.outcome == "identical", "it was measured again"
        assert not any("adopted" in line for line in made.footnotes)
        (said,) = [line for line in world.said if "not adopted" in line and "coco" in line]
        assert "today's code gives other records, the first is image 1, record 1 (annotation_id 1" in said

    def test_another_photo_keeps_a_run_from_being_adopted(self, world):
        file = sorted((world.root / "data/coco/val2017").iterdir())[3]
        file.write_bytes(file.read_bytes()[:60])
        with other_code():
            world.table(adopt=True)
        (said,) = [line for line in world.said if "not adopted" in line and "coco" in line]
        assert "the files of 1 of its 3 shards hold other bytes" in said

    def test_runs_that_differ_by_more_than_code_are_not_adopted(self, world):
        world.sha256 = "f" * 64
        with other_code():
            world.table(adopt=True)
        assert not any("adopted" in line for line in world.said)

    def test_an_adopted_run_that_is_adopted_again_names_both(self, world):
        first = world.run()
        with other_code():
            world.table(adopt=True)
            second = world.run()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asking, "code_digest", lambda roots: "f" * 16)
            for path in first.folder.iterdir():
                path.unlink()
            made = world.table(adopt=True)
        (note,) = [line for line in made.footnotes if "adopted" in line and "COCO" in line]
        assert f"records of run {second.fingerprint}, which had adopted those of run {first.fingerprint}" in note

    def test_a_damaged_run_is_not_adopted_and_the_table_is_made(self, world):
        content = json.loads((world.run().folder / "run.json").read_text())
        content["fingerprint"] = "0" * 16
        (world.run().folder / "run.json").write_text(json.dumps(content))
        with other_code():
            made = world.table(adopt=True)
        assert made.cell("SAM", "coco_box").status == "measured"
        assert any("not adopted" in line and "not that of run" in line for line in world.said)

    def test_several_processes_adopt_nothing(self, world, monkeypatch):
        monkeypatch.setenv("RANK", "0")
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(BenchError, match="--adopt is for one process"):
            world.table(adopt=True)
