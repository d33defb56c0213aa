"""`bench export`, and the tables of what it wrote beside the model that it was made from."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from bench import __main__ as front_door

NAME = "efficientsam-ti-micro"
ROW = "EfficientSAM-Ti"


@pytest.fixture
def bench(traced_before, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a command in a folder of its own; return its exit code and what it printed and said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = front_door._run([*arguments])
        return code, *capsys.readouterr()

    return run


def specs(folder: str, end: str = "") -> str:
    return f"onnx:{folder}/{NAME}{end}.encoder.onnx,{folder}/{NAME}{end}.decoder.onnx"


def test_three_files_are_written_and_the_next_command_is_told(bench, tmp_path: Path) -> None:
    code, printed, said = bench("export", NAME)
    assert code == 0, said
    assert {path.name for path in (tmp_path / "exports").iterdir()} == {
        f"{NAME}.encoder.onnx", f"{NAME}.decoder.onnx", f"{NAME}.json"
    }  # fmt: skip
    assert f"bench run table4 --models {NAME} {specs('exports')}" in printed
    assert f"beside {NAME} on a synthetic image: mask IoU 1.0000, 0.000% of pixels differ" in printed
    assert "2/2 files" in said
    code, printed, _ = bench("export", NAME, "--int8", "--format", "onnx", "--out", "small", "--json")
    (told,) = json.loads(printed)
    assert told["record"]["precision"] == "int8"
    assert told["files"]["record"] == f"small/{NAME}.int8.json"
    assert 0.9 < told["agreement"]["iou"] < 1


def test_tables_show_the_paired_difference_of_an_export_and_its_model(bench, tmp_path: Path) -> None:
    bench("export", NAME)
    bench("export", NAME, "--int8")
    fp32, int8 = specs("exports"), specs("exports", ".int8")
    asked = ("run", "table4", "table5", "--scale", "micro", "--limit", "2", "--models", NAME, int8, fp32)
    code, _, said = bench(*asked)
    assert code == 0, said
    for table, columns in (("table4", 6), ("table5", 8)):
        result = json.loads((tmp_path / f"reports/out/{table}.json").read_text())
        notes = {row["label"]: row["note"] for row in result["rows"]}
        assert notes[int8] == f"ONNX, int8, exported from {NAME}"
        cells = {(cell["row"], cell["column"]): cell["measured"] for cell in result["cells"]}
        found = {(one["first"], one["column"]): one for one in result["comparisons"] if one["first"] in (fp32, int8)}
        assert len(found) == 2 * columns
        assert {(one["second"], one["paper"]) for one in found.values()} == {(ROW, None)}
        found = {key: one for key, one in found.items() if one["measured"] is not None}
        assert {column for _, column in found} >= ({"coco_box", "lvis_3click"} if table == "table4" else {"coco_ap"})
        for (first, column), one in found.items():
            assert one["measured"] == pytest.approx(cells[first, column] - cells[ROW, column], abs=1e-9)
        changed = any(found[int8, column]["measured"] != 0 for first, column in found if first == int8)
        assert changed or table == "table5"  # ranks of a few masks can survive int8, their IoUs cannot
        assert all(abs(one["measured"]) < 1e-3 for (first, _), one in found.items() if first == fp32)
    assert f"{int8} on coco: 2 of 2 images from run" in bench(*asked)[2]


def test_an_export_of_other_weights_is_not_compared_with_the_published_ones(bench, tmp_path: Path) -> None:
    bench("export", NAME)
    path = tmp_path / "exports" / f"{NAME}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"checkpoint_sha256": "0" * 64, "custom": True}))
    bench("run", "table4", "--scale", "micro", "--limit", "1", "--models", NAME, specs("exports"))
    result = json.loads((tmp_path / "reports/out/table4.json").read_text())
    assert {one["first"] for one in result["comparisons"]}.isdisjoint({specs("exports")})
    (row,) = [row for row in result["rows"] if row["label"] == specs("exports")]
    assert row["note"] == f"ONNX, fp32, exported from custom weights of {NAME}"


def test_an_export_of_custom_weights_is_compared_with_them(bench, tmp_path: Path, monkeypatch) -> None:
    from models import zoo

    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(Path(zoo.card(NAME).filename).read_bytes())
    bench("export", NAME, "--checkpoint", str(mine))
    asked = ("--models", NAME, specs("exports"), "--checkpoint", f"{NAME}={mine}")
    code, _, said = bench("run", "table4", "--scale", "micro", "--limit", "1", *asked)
    assert code == 0, said
    result = json.loads((tmp_path / "reports/out/table4.json").read_text())
    assert sum(one["first"] == specs("exports") for one in result["comparisons"]) == 6


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(bench, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    code, _, said = bench("export", NAME)
    assert code == 1
    assert f"needs the package '{package}': run `pip install efficientsam-bench[onnx]`" in said


def test_what_cannot_be_exported_is_refused_before_anything_is_loaded(bench) -> None:
    code, _, said = bench("export", "fastsam-micro")
    assert code == 1
    assert "'fastsam-micro' cannot be exported" in said


def test_a_place_that_cannot_be_written_is_named(bench, tmp_path: Path) -> None:
    (tmp_path / "exports").write_text("")
    code, _, said = bench("export", NAME)
    assert code == 1
    assert "'exports' cannot be used" in said


def test_an_export_is_timed_beside_its_model(bench, tmp_path: Path, monkeypatch) -> None:
    from models import speed

    monkeypatch.setattr(speed, "ENOUGH", 0.0)
    bench("export", NAME)
    code, _, said = bench("run", "table8", "--scale", "micro", "--models", specs("exports"))
    assert code == 0, said
    result = json.loads((tmp_path / "reports/out/table8.json").read_text())
    cells = {cell["column"]: cell for cell in result["cells"] if cell["row"] == specs("exports")}
    assert cells["encoder"]["measured"] > 0
    assert cells["params_m"]["status"] == "not supported"
