"""`bench results` as typed: files, JSON, a model's card, and what it says of files that it leaves out."""

import json
import sys
from pathlib import Path

import pytest

from bench import __main__ as front_door
from protocols.results import Cell, Column, Row, TableResult
from reports.write import write_whole


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder in which a report was made, and a damaged one lies beside it."""
    monkeypatch.chdir(tmp_path)
    result = TableResult(
        name="table4",
        title="Table 4",
        scale="micro",
        world="dead leaves",
        comparable=False,
        preset="paper",
        columns=(Column("coco_box", "box", "COCO"),),
        rows=(Row("SAM", "sam-micro"), Row("floor", "floor", "bound")),
        cells=(
            Cell("SAM", "coco_box", "measured", 0.784, 0.8, 0.79, 0.81, 10),
            Cell("floor", "coco_box", "measured", None, 0.6, 0.5, 0.7, 10),
        ),
        provenance={"models": {"SAM": {"name": "sam-micro", "checkpoint_sha256": "a" * 64, "device": "cpu"}}},
    )
    (tmp_path / "reports" / "out").mkdir(parents=True)
    write_whole(tmp_path / "reports" / "out" / "table4.json", json.dumps(result.to_json()))
    (tmp_path / "reports" / "out" / "old.json").write_text('{"name": "table9"}')
    return tmp_path / "reports" / "out"


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    def typed(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", "results", *arguments])
        try:
            front_door.main()
            code = 0
        except SystemExit as leave:
            code = int(leave.code or 0)
        return code, *capfd.readouterr()

    return typed


def test_without_arguments_the_usual_folder_becomes_a_leaderboard_twice(reports, results):
    for _ in range(2):  # its own files are no reports
        code, out, err = results()
        assert code == 0
        assert "2 numbers of 2 models from 1 reports" in out
        assert err.replace("\n", "").count("is left out") == 1
        assert {path.name for path in reports.glob("leaderboard.*")} == {
            f"leaderboard.{k}" for k in ("csv", "md", "html")
        }


def test_json_holds_every_number(reports, results):
    _, out, _ = results("reports/out", "--out", "board", "--json")
    sam, floor = json.loads(out)
    assert (sam["model"], sam["value"], sam["weights"]) == ("sam-micro", 0.8, "a" * 64)
    assert floor["kind"] == "bound"


def test_a_models_card_gets_its_task_and_metric_from_the_table(reports, results):
    code, _, _ = results("--model-index", "sam-micro", "--out", "board")
    assert code == 0
    text = Path("board/model-index-sam-micro.yaml").read_text()
    (model,) = json.loads(text.removeprefix("model-index:"))
    (result,) = model["results"]
    assert result["task"]["type"] == "mask-generation"
    assert result["metrics"][0]["type"] == "mean_iou"
    assert "source" not in result


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "no folder of reports 'nowhere'"),
        (["--model-index", "sma"], "no report has a model 'sma'"),
        (["--source", "https://example.org"], "give --model-index NAME too"),
        (["--out", "reports/out/old.json"], "choose another folder"),
    ],
)
def test_bad_input_is_one_sentence(reports, results, arguments, said):
    code, _, err = results(*arguments)
    assert code != 0
    assert said in " ".join(err.split())
    assert "Traceback" not in err
    assert not list(reports.glob("leaderboard.*"))
