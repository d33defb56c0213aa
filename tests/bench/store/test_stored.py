"""A run is found again by folder, fingerprint or what it is about, and read without writing."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from bench.store import Run, RunStore
from bench.store.stored import find_run, read_run
from models.errors import BenchError

IDENTITY = {"protocol": "table4", "version": 1, "model": {"name": "sam-micro"}, "data": {"name": "coco"}}


def finished(store: RunStore, **other: object) -> Run:
    run = store.open({**IDENTITY, **other}, 2, provenance={"date": "today"})
    for shard in range(2):
        run.write(shard, pd.DataFrame({"image_id": [shard], "iou": [0.5], "skipped": [""]}))
    return run


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.mark.parametrize("name", ["{fingerprint}", "{fingerprint:.8}", "{folder}", "table4/sam-micro"])
def test_a_run_is_found_by_each_of_its_names(store: RunStore, name: str) -> None:
    run = finished(store)
    found = find_run(name.format(fingerprint=run.fingerprint, folder=run.path), store)
    assert found.fingerprint == run.fingerprint
    assert found.identity == IDENTITY
    assert found.sessions == ({"date": "today"},)
    assert found.records()["image_id"].tolist() == [*found.shard(0)["image_id"].tolist(), 1] == [0, 1]


def test_of_runs_about_the_same_thing_the_newest_is_found(store: RunStore) -> None:
    old, new = finished(store, version=1), finished(store, version=2)
    for path in old.path.iterdir():
        os.utime(path, (1, 1))
    assert find_run("table4/sam-micro/coco", store).fingerprint == new.fingerprint


def test_a_name_that_could_be_several_data_sets_asks_which(store: RunStore) -> None:
    finished(store)
    finished(store, data={"name": "lvis"})
    with pytest.raises(BenchError, match=r"on coco, lvis: name one of these, e\.g\. table4/sam-micro/coco"):
        find_run("table4/sam-micro", store)


@pytest.mark.parametrize("name", ["table4/mobilesam-micro", "table5", "0123", "no-such-run"])
def test_a_name_of_no_run_is_refused_in_one_sentence(store: RunStore, name: str) -> None:
    finished(store)
    with pytest.raises(BenchError):
        find_run(name, store)


def test_an_unfinished_run_is_read_shard_by_shard_but_not_as_a_whole(store: RunStore) -> None:
    run = finished(store)
    run.shard_path(1).unlink()
    found = read_run(run.path)
    assert list(found.shard(0)["image_id"]) == [0]
    with pytest.raises(BenchError, match="lacks 1 of 2 shards"):
        found.records()
    with pytest.raises(BenchError, match="has no shard 1"):
        found.shard(1)


def test_a_damaged_shard_is_told_and_left_where_it_is(store: RunStore) -> None:
    run = finished(store)
    run.shard_path(0).write_bytes(run.shard_path(0).read_bytes()[:-9])
    with pytest.raises(BenchError, match="again sets it aside"):
        read_run(run.path).records()
    assert run.shard_path(0).exists()


def test_an_identity_that_was_edited_is_refused(store: RunStore) -> None:
    run = finished(store)
    file = run.path / "run.json"
    content = json.loads(file.read_text())
    content["identity"]["version"] = 7
    file.write_text(json.dumps(content))
    with pytest.raises(BenchError, match="not that of run"):
        read_run(run.path)
