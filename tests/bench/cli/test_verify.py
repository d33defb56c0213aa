"""`bench verify` and its neighbours on what lies in a store: a run of a real model, and runs that are none."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from bench import __main__ as front_door
from bench.store import RunStore
from bench.store.shards import encode
from bench.store.stored import find_run
from models.errors import BenchError
from protocols import run as asking
from tests.other_user import without_rights

MODEL = "efficientsam-ti-micro"
NAME = f"table4/{MODEL}/coco"
TABLE = ("run", "table4", "--scale", "micro", "--models", MODEL, "--limit", "2", "--axis", "columns=coco_box")


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    """Run a command in a folder of its own; return its exit code, what it printed and what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path / "runs"))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        code = 0
        try:
            front_door.main()
        except SystemExit as leave:
            code = int(leave.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.mark.usefixtures("bfloat16_cpu")
def test_a_run_of_a_micro_model_is_verified_tampered_with_and_adopted(bench, monkeypatch):
    assert bench(*TABLE)[0] == 0
    code, printed, _ = bench("verify", NAME)
    run = find_run(NAME)
    asked = len(run.records())
    assert code == 0
    assert f"identical: {asked} of {asked} records identical (2 of 2 images, these are all)" in printed

    code, printed, _ = bench("verify", run.fingerprint[:8], "--engine", "fast", "--json")
    found = json.loads(printed)
    assert (code, found["outcome"], [change["what"] for change in found["changed"]]) == (1, "differs", ["engine"])

    sound = run.paths[0].read_bytes()
    frame = run.shard(0)
    frame.loc[asked - 1, "iou"] = 0.99
    run.paths[0].write_bytes(encode(frame))
    code, printed, _ = bench("verify", str(run.folder), "--all")
    assert code == 1
    assert f"annotation_id {frame['annotation_id'][asked - 1]}" in printed
    assert "iou 0.99 -> " in printed
    assert "nothing changed that decides records: they were altered after they were made" in " ".join(printed.split())
    run.paths[0].write_bytes(sound)

    monkeypatch.setattr(asking, "code_digest", lambda roots: "0123456789abcdef")
    code, printed, said = bench(*TABLE, "--adopt")
    assert code == 0
    assert f"adopted run {run.fingerprint} of other code" in said
    assert f"records of run {run.fingerprint}, made by other code and adopted" in " ".join(printed.split())
    assert (find_run(NAME).identity["code"], find_run(NAME).paths[0].read_bytes()) == ("0123456789abcdef", sound)


IDENTITY = {
    "protocol": "table4",
    "version": 2,
    "model": {"name": "sam-micro", "checkpoint_sha256": "0" * 64, "custom": False, "device": "cpu"},
    "data": {"name": "coco", "sha256": "0" * 64},
    "images": {"count": 2, "sha256": "0" * 64},
}


def made(**identity) -> Path:
    """Make a finished run of two shards."""
    run = RunStore(os.environ["BENCH_RUNS"]).open({**IDENTITY, **identity}, 2, provenance={"date": "today"})
    for shard in range(2):
        run.write(shard, pd.DataFrame({"image_id": [shard], "iou": [0.5], "skipped": [""]}))
    return run.path


def older(folder: Path) -> None:
    change(folder, schema_version=0)


def change(folder: Path, **fields) -> None:
    content = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**content, **fields}))


def without_shards(folder: Path) -> None:
    for path in folder.glob("*.parquet"):
        path.unlink()


def of_no_shards(folder: Path) -> None:
    without_shards(folder)
    change(folder, shards=0)


def cut_short(folder: Path) -> None:
    path = folder / "shard-00001.parquet"
    path.write_bytes(path.read_bytes()[:-100])


def sealed_badly(folder: Path) -> None:
    path = folder / "shard-00001.parquet"
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)


def no_run(folder: Path) -> None:
    (folder / "run.json").write_text('{"name": "somebody else\'s"}')


def a_list(folder: Path) -> None:
    (folder / "run.json").write_text("[1, 2]")


def a_pipe(folder: Path) -> None:
    (folder / "run.json").unlink()
    os.mkfifo(folder / "run.json")


def linked_nowhere(folder: Path) -> None:
    path = folder / "shard-00001.parquet"
    path.unlink()
    path.symlink_to(folder / "gone.parquet")


def linked_in_a_circle(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to(folder)


def sessions_of_another_kind(folder: Path) -> None:
    change(folder, sessions=["yesterday"])


ODD = [
    (older, "schema version 0, not 1"),
    (without_shards, "lacks 2 of 2 shards"),
    (of_no_shards, "a run has at least 1"),
    (cut_short, "is damaged|shard-00001"),
    (sealed_badly, "shard-00001.parquet.*(not those that were written|damaged)|CRC|checksum"),
    (no_run, "is damaged"),
    (a_list, "is damaged"),
    (a_pipe, "it is a pipe"),
    (linked_nowhere, "No such file"),
    (linked_in_a_circle, "unknown run|symbolic links"),
    (sessions_of_another_kind, "its sessions are no list"),
]


@pytest.mark.parametrize(("odd", "sentence"), ODD, ids=[odd.__name__ for odd, _ in ODD])
def test_an_odd_run_is_refused_in_one_sentence_and_listed_beside_the_others(bench, odd, sentence, monkeypatch):
    """The question itself is asked of records alone, so that every kind of damage is reached."""
    sound, folder = made(version=1), made()
    odd(folder)
    monkeypatch.setattr("bench.cli.verify.verify_run", lambda run, *others: run.records())
    code, printed, said = bench("verify", folder.name)
    assert (code, printed) == (2, "")
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert re.search(sentence, said), said
    code, printed, _ = bench("runs", "--json")
    listed = {run["fingerprint"]: run for run in json.loads(printed)}
    assert code == 0
    assert (listed[sound.name]["done"], listed[sound.name]["problem"]) == (2, "")


@pytest.mark.parametrize(
    ("identity", "sentence"),
    [
        ({"protocol": "table99"}, "of table 'table99', which is not here: install the package that adds it"),
        ({"model": {"name": "gone", "device": "cpu"}}, "'gone', which is not installed here"),
    ],
)
def test_a_run_of_what_is_no_longer_installed_is_listed_and_refused(bench, identity, sentence):
    folder = made(**identity)
    code, printed, _ = bench("runs")
    assert code == 0
    assert folder.name in printed
    code, printed, said = bench("verify", folder.name)
    assert (code, printed) == (2, "")
    assert sentence in said


def test_a_folder_that_may_not_be_looked_into_is_a_sentence(bench, tmp_path):
    tmp_path.chmod(0o777)
    folder = made()
    for parent in [one for one in (tmp_path, *tmp_path.parents) if "pytest" in str(one)]:
        parent.chmod(0o755)  # so that somebody else gets as far as the run
    with without_rights(folder):
        for name in (folder.name, f"runs/{folder.name}"):
            code, printed, said = bench("verify", name)
            assert (code, printed) == (2, "")
            assert "Permission denied" in said
        code, printed, _ = bench("runs")
    assert code == 0
    assert "Permission denied" in " ".join(printed.split())


def test_a_run_behind_a_link_is_the_run(bench, tmp_path):
    folder = made()
    (tmp_path / "mine").symlink_to(folder)
    assert find_run("mine").fingerprint == folder.name
    assert len(find_run("mine").records()) == 2


@pytest.mark.parametrize("arguments", [("nothing",), (NAME,), ("--sample", "0", NAME), ("--axis", "x=1", NAME)])
def test_what_cannot_be_verified_has_exit_code_2(bench, arguments):
    code, printed, said = bench("verify", *arguments)
    assert (code, printed) == (2, "")
    assert said.startswith("error: ")
    with pytest.raises(BenchError):
        find_run("nothing")


def test_tables_without_records_of_models_adopt_nothing(bench):
    code, _, said = bench("run", "table6", "--adopt")
    assert code == 1
    assert "table6 keeps no records of models: leave --adopt out" in said
