"""Answers that were recorded when models were trained: kept whole, read back, and put where they belong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from models.errors import BenchError
from protocols.plan import Plan, Subject
from protocols.results import Row
from protocols.saved_predictions import read_recordings, with_saved, write_recording
from protocols.scores import CellRun
from tests.protocols.fakes import FakeCard

IMAGES = [1, 2, 3]


def records(value: int, skipped: str = "") -> pd.DataFrame:
    return pd.DataFrame({"image_id": [1, 1, 3], "score": [value, 0.5, 0.25], "skipped": ["", "", skipped]})


def write(folder: Path, row: str = "MAE-S", seed: int = 0, **changes) -> Path:
    facts = {"model": f"{row}-micro", "data": "d", "image_ids": IMAGES, "date": "2020-01-02", "made_with": {}}
    whole = {"table": "table2", "version": 1, **changes}
    return write_recording(folder, records(seed), row=row, seed=seed, facts=facts, **whole)


def read(folder: Path, **changes):
    return read_recordings(
        "table2", **{"version": 1, "data_sha256": "d", "image_ids": IMAGES, "folder": folder, **changes}
    )


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, seed=1)
    found = read(tmp_path)
    assert {row: sorted(seeds) for row, seeds in found.items()} == {"MAE-S": [0, 1]}
    pd.testing.assert_frame_equal(found["MAE-S"][1].run.records, records(1).drop(columns="skipped"))
    assert found["MAE-S"][1].run.image_ids == (1, 2, 3), "images without any answer were asked too"


def test_only_the_images_that_are_asked_count(tmp_path: Path) -> None:
    write(tmp_path)
    run = read(tmp_path, image_ids=[2, 3])["MAE-S"][0].run
    assert (run.image_ids, run.records["image_id"].tolist()) == ((2, 3), [3])


@pytest.mark.parametrize("other", [{"data_sha256": "e"}, {"version": 2}])
def test_recordings_of_other_images_or_another_protocol_are_left_out(tmp_path: Path, other: dict) -> None:
    write(tmp_path)
    assert read(tmp_path, **other) == {}


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: path.with_suffix(".parquet").write_bytes(b"PAR1"), "has another hash than it says"),
        (lambda path: path.with_suffix(".parquet").unlink(), "cannot be used"),
        (lambda path: path.write_text("{"), "cannot be used"),
        (lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), "row": None} | {"x": 1})), None),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, damage, sentence: str | None) -> None:
    path = write(tmp_path)
    damage(path)
    if sentence is None:
        assert list(read(tmp_path)) == ["None"]
        return
    with pytest.raises(BenchError, match=f"table2-mae-s-seed0.json.*{sentence}.*restore it from git"):
        read(tmp_path)


def test_a_file_without_a_field_says_which(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "date"}))
    with pytest.raises(BenchError, match="has no 'date'"):
        read(tmp_path)


def test_answers_that_are_not_whole_are_not_recorded(tmp_path: Path) -> None:
    facts = {"model": "m", "image_ids": IMAGES}
    with pytest.raises(BenchError, match=r"the answers of m are not whole \(cut short\)"):
        write_recording(tmp_path, records(0, "cut short"), table="t", version=1, row="A", seed=0, facts=facts)
    assert not list(tmp_path.iterdir())


def plan(*subjects: Subject) -> Plan:
    rows = tuple(Row(label, None) for label in ("MAE-Ti", "MAE-S", "SAMI-B"))
    unmeasured = {"MAE-S": ("not trained yet", "train it"), "SAMI-B": ("no public weights", "never released")}
    return Plan("micro", "micro", Path(), "", rows, subjects, unmeasured)  # type: ignore[arg-type]


ASKED = CellRun(records(7), "", 0, (1, 2, 3), {})


def test_rows_without_weights_stand_on_their_recording_and_say_so(tmp_path: Path) -> None:
    write(tmp_path, "MAE-S")
    write(tmp_path, "SAMI-B")
    write(tmp_path, "MAE-Ti", 1)
    told, runs = with_saved(
        plan(Subject("MAE-Ti", FakeCard("mae-ti-micro", "MAE-Ti"))), {"MAE-Ti": ASKED}, read(tmp_path)
    )
    assert {row: sorted(seeds) for row, seeds in runs.items()} == {"MAE-Ti": [0, 1], "MAE-S": [0]}
    assert told.unmeasured.keys() == {"SAMI-B"}, "a row whose weights nobody has is never filled in"
    by_label = {row.label: row for row in told.rows}
    assert by_label["MAE-S"].model == "MAE-S-micro"
    assert "recorded when it was trained (2020-01-02); its weights are not kept" in by_label["MAE-S"].note
    assert runs["MAE-Ti"][0] is ASKED


def test_a_model_of_the_user_s_is_not_mixed_with_recordings(tmp_path: Path) -> None:
    write(tmp_path, "MAE-Ti", 1)
    subject = Subject("MAE-Ti", FakeCard("mae-ti-micro", "MAE-Ti"), Path("mine.safetensors"))
    _, runs = with_saved(plan(subject), {"MAE-Ti": ASKED}, read(tmp_path))
    assert list(runs["MAE-Ti"]) == [0]


def test_rows_that_were_not_requested_stay_so(tmp_path: Path) -> None:
    write(tmp_path, "MAE-S")
    wanted = replace(plan(), unmeasured={"MAE-S": ("not requested", "")})
    assert with_saved(wanted, {}, read(tmp_path))[1] == {}
