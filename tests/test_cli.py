"""The commands as a user types them, end to end at micro scale with the committed weights."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import __main__ as front_door
from models import zoo

ROOT = Path(__file__).resolve().parents[1]
MICRO_ROWS = {"SAM", "MobileSAM", "EfficientSAM-Ti", "EfficientSAM-S", "floor", "ceiling"}


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    """Run a command in a folder of its own; return what it printed and its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "weights"))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        try:
            front_door.main()
            code = 0
        except SystemExit as leave:
            code = int(leave.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.mark.parametrize("table", ["table4", "table5"])
def test_a_table_is_measured_printed_and_written_in_every_form(bench, tmp_path, table):
    code, printed, said = bench("run", table, "--scale", "micro", "--limit", "3")
    assert code == 0
    assert "dead leaves" in said
    assert {path.suffix for path in (tmp_path / "reports/out").iterdir()} == {
        ".csv", ".json", ".md", ".tex", ".html", ".png"
    }  # fmt: skip
    result = json.loads((tmp_path / f"reports/out/{table}.json").read_text())
    measured = {cell["row"] for cell in result["cells"] if cell["status"] == "measured"}
    found, why = zoo.available("fastsam-micro")
    of_table = {
        "table4": {"SAM-MAE-Ti", "sam-scratch-ti-micro"},
        "table5": {"ViTDet-H"} | ({"FastSAM"} if found else set()),
    }
    assert measured == MICRO_ROWS | of_table[table]
    missing = {
        cell["why"] for cell in result["cells"] if cell["row"] == "FastSAM" and cell["status"] == "weights missing"
    }
    assert missing == ({why} if table == "table5" and not found else set())
    assert all(row in printed for row in measured)
    assert result["scale"] == "micro"
    assert not result["comparable"]
    assert result["provenance"]["models"]["SAM"]["checkpoint_sha256"] == zoo.card("sam-micro").sha256


def test_a_custom_checkpoint_is_recorded_by_hash_and_labelled(bench, tmp_path):
    mine = tmp_path / "mine.safetensors"
    content = Path(zoo.card("efficientsam-ti-micro").filename).read_bytes()
    mine.write_bytes(content)
    name = "efficientsam-ti-micro"
    code, printed, _ = bench(
        "run", "table4", "--scale", "micro", "--limit", "1", "--models", name, "--checkpoint", f"{name}={mine}"
    )
    assert code == 0
    assert "custom checkpoint mine.safetensors" in " ".join(printed.split())


def test_real_photos_are_measured_with_micro_models(bench, tmp_path, shared, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(shared / "samples"))
    code, _, _ = bench("run", "table4", "--limit", "3", "--models", "efficientsam-ti-micro", "floor", "ceiling")
    assert code == 0
    result = json.loads((tmp_path / "reports/out/table4.json").read_text())
    assert (result["scale"], result["comparable"]) == ("mixed", False)
    assert "3 of 50 images" in result["world"]
    ceilings = [cell["measured"] for cell in result["cells"] if cell["row"] == "ceiling"]
    assert len(ceilings) == 6
    assert min(ceilings) > 0.99


def _asked(model: str, images: int) -> list[str]:
    return ["run", "table5", "--scale", "micro", "--limit", str(images), "--models", model, "--out", "out"]


def _started(arguments: list[str], runs: Path, *launcher: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "BENCH_RUNS": str(runs), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *launcher, "-m", "bench", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _shards(runs: Path) -> dict[tuple[str, str], bytes]:
    return {(path.parent.name, path.name): path.read_bytes() for path in runs.glob("*/shard-*.parquet")}


@pytest.mark.slow
def test_two_processes_of_torchrun_give_the_records_of_one_to_the_bit(bench, tmp_path, monkeypatch):
    asked = _asked("efficientsam-ti-micro", 33)
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29557")
    two = _started(asked, tmp_path / "two", *torchrun)
    _, said = two.communicate(timeout=600)
    assert two.returncode == 0, said
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path / "one"))
    assert bench(*asked)[0] == 0
    records = _shards(tmp_path / "one")
    assert len(records) == 6, "two data sets of 33 images, three shards each"
    assert records == _shards(tmp_path / "two")


@pytest.mark.slow
def test_a_killed_run_goes_on_and_says_what_it_resumed(bench, tmp_path, monkeypatch):
    asked = _asked("floor", 18)
    process = _started(asked, tmp_path / "runs")
    deadline = time.monotonic() + 300
    while not _shards(tmp_path / "runs") and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path / "runs"))
    code, _, said = bench(*asked)
    assert code == 0
    assert "floor on coco: " in said
    assert "of 18 images from run" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run", "tabel4"), "did you mean 'table4'"),
        (("run", "table4", "--preset", "papper"), "did you mean 'paper'"),
        (("run", "table4", "--axis", "mask_pik=single"), "did you mean 'mask_pick'"),
        (("run", "table4", "--axis", "mask_pick=singel"), "did you mean 'single'"),
        (("run", "table4", "--axis", "tie=object"), "contradicts clicks=random of table4"),
        (("run", "table4", "--axis", "score=detector"), "axis score concerns nothing that table4 measures"),
        (("run", "table4", "--seed", "3", "--axis", "seed=4"), "axis seed is given twice, as 4 and 3"),
        (("run", "figure7", "--axis", "clicks=ritm"), "--axis means nothing to figure7"),
        (("run", "table4", "--models", "sam-mikro"), "did you mean 'sam-micro'"),
        (("run", "table4", "--checkpoint", "sam-micro"), "--checkpoint takes NAME=PATH, got 'sam-micro'"),
        (("run", "table4", "--checkpoint", "sam-micro=nowhere.pt"), "there is no checkpoint 'nowhere.pt'"),
        (("run", "table4", "--limit", "0"), "--limit must be at least 1"),
        (("run", "table4", "--scale", "paper"), "BENCH_DATA"),
        (("train", "sam-nano"), "unknown training 'sam-nano'"),
        (("data", "verify"), "set BENCH_DATA"),
        (("weights", "fetch", "efficientsam-tee"), "did you mean 'efficientsam-ti'"),
    ],
)
def test_a_mistake_ends_in_one_sentence_and_exit_code_1(bench, arguments, sentence):
    code, _, said = bench(*arguments)
    assert code == 1
    assert said.startswith("error: ")
    assert sentence in said
    assert said.count("\n") == 1
    assert "Traceback" not in said


def test_missing_data_says_what_to_download_and_where(bench, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    code, _, said = bench("run", "table4", "--models", "floor")
    assert code == 1
    assert "annotations_trainval2017.zip" in said
    assert str(tmp_path / "data/coco") in said


def test_a_checkpoint_cut_in_half_stops_the_run_before_it_starts(bench, tmp_path):
    (tmp_path / "half.pt").write_bytes(b"PK\x03\x04 and then nothing")
    code, _, said = bench("run", "table4", "--scale", "micro", "--checkpoint", "sam-micro=half.pt", "--models", "sam")
    assert code == 1
    assert "half.pt" in said
    assert said.count("error:") == 1


def test_list_names_tables_models_presets_and_what_is_missing(bench):
    code, printed, _ = bench("list")
    text = " ".join(printed.split())
    assert code == 0
    for word in ("table4", "table5", "efficientsam-ti", "fastsam-x", "segment-anything-fast", "BENCH_DATA"):
        assert word in text


def test_list_axes_says_what_each_means_and_who_sets_what(bench):
    code, printed, _ = bench("list", "axes", "--json")
    listed = {axis["name"]: axis for axis in json.loads(printed)}
    assert code == 0
    assert listed["clicks"]["set_by"]["edgesam"] == "centre"
    assert listed["clicks"]["values"] == "random | centre | ritm"
    assert listed["tie"]["needs"] == "ritm"
    assert listed["score"]["tables"] == ["table5"]
    text = " ".join(bench("list", "axes")[1].split())
    assert all(name in text for name in listed)
    assert "Sources are named by letters" in text


def test_axes_are_part_of_the_name_in_every_output_and_keep_what_they_do_not_decide(bench, tmp_path):
    asked = ("run", "table4", "--scale", "micro", "--limit", "1", "--models", "floor", "--out", "out")
    code, printed, _ = bench(*asked, "--axis", "mask_pick=single", "--axis", "clicks=centre")
    assert code == 0
    name = "paper, but mask_pick=single, clicks=centre"
    assert name in " ".join(printed.split())
    result = json.loads((tmp_path / "out/table4.json").read_text())
    assert result["preset"] == result["provenance"]["preset"] == name
    assert f'"{name}"' in (tmp_path / "out/table4.csv").read_text()
    assert "mask_pick single instead of predicted_iou" in " ".join(printed.split())
    for axis in ("crowd=keep", "averaging=category"):
        _, _, said = bench(*asked, "--axis", "mask_pick=single", "--axis", "clicks=centre", "--axis", axis)
        assert "floor on coco: 1 of 1 images from run" in said


@pytest.mark.parametrize("table", ["clicks", "robustness", "click_curves"])
def test_our_own_tables_are_measured_and_written(bench, tmp_path, table):
    code, printed, _ = bench("run", table, "--scale", "micro", "--limit", "1", "--models", "efficientsam-ti", "floor")
    assert code == 0
    result = json.loads((tmp_path / f"reports/out/{table}.json").read_text())
    measured = [cell for cell in result["cells"] if cell["status"] == "measured"]
    assert len(measured) >= 18
    if table == "clicks":
        assert "EfficientSAM-Ti takes at most 6 clicks" in " ".join(printed.split())


@pytest.mark.parametrize("command", [(), ("run",), ("list",), ("runs",), ("train",), ("weights",), ("data", "verify")])
def test_every_command_has_help(bench, command):
    code, printed, _ = bench(*command, "--help")
    assert code == 0
    assert "usage: bench" in printed


def test_runs_lists_what_the_store_holds(bench):
    bench("run", "table4", "--scale", "micro", "--limit", "1", "--models", "floor")
    code, printed, _ = bench("runs")
    assert code == 0
    assert "table4: floor coco" in printed
