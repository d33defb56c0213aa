"""Tables 4 and 5 on data of the user's own: the same numbers as anywhere, nothing of the paper beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.data.own import own_data
from bench.data.verify import INSTANCE_SETS
from models import zoo
from models.errors import BenchError
from protocols import clicks, robustness, table4, table5, tables
from protocols.axes import preset
from protocols.own_data import of_own_data
from protocols.results import Cell, Column, Comparison, Row, TableResult
from protocols.table import make_tables
from tests.protocols.fakes import DiscModel, disc, settings, write_coco

MASKS = [[disc(10, 9, 5), disc(25, 20, 7)], [disc(20, 16, 6)], [disc(30, 10, 5), disc(8, 22, 6)]]
MODELS = ("sam-micro", "efficientsam-s-micro")
Make = Callable[..., TableResult]


def no_dead_leaves() -> Path:
    raise AssertionError("data of the user's own need no dead leaves")


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return what makes a table of discs for models, about `own/street, at night.json` unless told otherwise."""

    def load(name: str, *, checkpoint: object = None, device: str = "cpu", trusted: object = ()) -> DiscModel:
        model = DiscModel(best=1 if name == "sam-micro" else 2, takes_background=name == "sam-micro")
        model.name = name
        return model

    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(zoo, "load", load)
    monkeypatch.setattr(zoo, "available", lambda name: (name.endswith("micro"), f"no weights of {name}"))
    for module in (table4, table5, clicks, robustness):
        monkeypatch.setattr(module, "micro_root", no_dead_leaves)
    write_coco(tmp_path / "data", MASKS, crowd=(5,))
    (tmp_path / "own").mkdir()
    for name, path in (
        ("coco", "coco/annotations/instances_val2017.json"),
        ("lvis", "lvis/annotations/lvis_v1_val.json"),
    ):
        shutil.copy(tmp_path / "data" / path, tmp_path / "own" / f"{name}.json")
    shutil.copytree(tmp_path / "data" / "coco" / "val2017", tmp_path / "own" / "a, b" / "val2017")

    def table(name: str, form: str = "coco", **changes: object) -> TableResult:
        folder = "a, b" if form == "lvis" else "a, b/val2017"
        data = changes.pop("data", None) or own_data(f"{form}:{tmp_path}/own/{form}.json,{tmp_path}/own/{folder}")
        made = make_tables([tables.find(name)], settings(tmp_path / "runs", data=data, **{"models": MODELS, **changes}))
        assert made is not None
        return made[0]

    return table


@pytest.mark.parametrize("form", ["coco", "lvis"])
@pytest.mark.parametrize("name", ["table4", "table5"])
def test_a_table_has_the_columns_of_its_data_alone_and_nothing_of_the_paper(make: Make, name: str, form: str) -> None:
    result = make(name, form)
    assert result.own == form
    assert result.title.endswith(f"(Table {name[-1]}), on {form}")
    assert not result.comparable
    assert {column.group for column in result.columns} == {form}
    assert all(column.key.startswith(f"{form}_") for column in result.columns)
    assert [row.label for row in result.rows] == list(MODELS)
    assert {cell.paper for cell in result.cells} == {None}
    assert {one.paper for one in result.comparisons} == {None}
    assert {one.verdict for one in result.comparisons} <= {"higher", "lower", "not decided"}
    assert {(one.first, one.second) for one in result.comparisons} == {MODELS}
    assert all(cell.status == "measured" or cell.why.startswith("no such object") for cell in result.cells)
    assert TableResult.from_json(json.loads(json.dumps(result.to_json()))) == result
    words = " ".join([result.world, *result.footnotes, *(row.note for row in result.rows)])
    assert "the paper copied" not in words
    assert "COCO:" not in words
    assert f"{form}.json in {form.upper()}'s format" in result.world


@pytest.mark.parametrize(("name", "form"), [("table4", "coco"), ("table5", "lvis")])
def test_numbers_are_those_of_the_same_annotations_in_the_published_layout(
    make: Make, name: str, form: str, tmp_path: Path
) -> None:
    own = make(name, form, models=("sam-micro", "floor"))
    (plain,) = make_tables(
        [tables.find(name)],
        settings(tmp_path / "other", data_root=tmp_path / "data", models=("sam-micro", "floor")),
    )
    for column in own.columns:
        for row, label in (("sam-micro", "SAM"), ("floor", "floor")):
            assert own.cell(row, column.key) == replace(plain.cell(label, column.key), row=row, paper=None)


def test_without_models_named_all_that_can_be_measured_is(make: Make) -> None:
    labels = [row.label for row in make("table4", models=()).rows]
    assert labels[-2:] == ["floor", "ceiling"]
    assert {"sam-micro", "mobilesam-micro", "efficientsam-ti-micro"} <= set(labels)
    assert not {"SAM", "MobileSAM", "EfficientSAM-Ti"} & set(labels)


def test_a_row_that_was_named_and_has_no_weights_says_so(make: Make) -> None:
    result = make("table4", scale="paper", models=("SAM-MAE-Ti", "sam-micro"))
    assert [row.label for row in result.rows] == ["SAM-MAE-Ti", "sam-micro"]
    assert {cell.status for cell in result.cells if cell.row == "SAM-MAE-Ti"} == {"no public weights"}


def test_boxes_may_be_a_file_and_the_detector_s_row_is_no_row_of_the_paper(make: Make, tmp_path: Path) -> None:
    annotations = json.loads((tmp_path / "own" / "coco.json").read_text())["annotations"]
    boxes = [
        {**{k: a[k] for k in ("image_id", "category_id", "bbox", "segmentation")}, "score": 0.9} for a in annotations
    ]
    path = tmp_path / "my boxes.json"
    path.write_text(json.dumps(boxes))
    result = make("table5", boxes=path, models=(*MODELS, "detector"))
    assert "coco: boxes are my boxes" in result.footnotes
    assert result.cell("detector", "coco_ap").measured == pytest.approx(1.0)
    assert "coco: boxes are jittered ground truth" in make("table5").footnotes
    path.write_text(json.dumps({"boxes": boxes}))
    with pytest.raises(BenchError, match=r"my boxes\.json is an object.*: mend it, it must be a COCO results file"):
        make("table5", boxes=path)


def test_runs_are_kept_by_content_not_by_name(make: Make, tmp_path: Path) -> None:
    told: list[str] = []
    make("table4")
    for name in ("coco.json", "a, b"):
        (tmp_path / "own" / name).rename(tmp_path / "own" / f"moved {name}")
    data = own_data(f"coco:{tmp_path}/own/moved coco.json,{tmp_path}/own/moved a, b/val2017")
    make("table4", data=data, say=told.append)
    assert sum("3 of 3 images from run" in line for line in told) == len(MODELS)
    assert any(line.startswith("sam-micro on moved coco: ") for line in told)
    content = json.loads(data.annotations.read_text())
    data.annotations.write_text(json.dumps(content, indent=1))
    told.clear()
    make("table4", data=data, say=told.append)
    assert not any("from run" in line for line in told)


def test_the_published_file_under_another_name_is_not_compared_either(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = replace(INSTANCE_SETS["coco"], n_images=3, n_annotations=5, n_categories=2)
    monkeypatch.setitem(INSTANCE_SETS, "coco", published)
    for name in ("table4", "table5"):
        assert not make(name).comparable


def test_a_preset_that_looks_at_val2017_alone_looks_at_all_own_photos(make: Make, tmp_path: Path) -> None:
    (tmp_path / "own" / "a, b" / "val2017").rename(tmp_path / "own" / "a, b" / "photos")
    path = tmp_path / "own" / "lvis.json"
    path.write_text(path.read_text().replace("/val2017/", "/photos/"))
    axes = preset("edgesam")
    assert "(3 images)" in make("table4", "lvis", axes=axes, preset="edgesam").world


def test_a_preset_without_columns_of_a_format_says_so(make: Make) -> None:
    axes = preset("segment-anything-fast")
    assert [column.key for column in make("table4", axes=axes, preset="segment-anything-fast").columns] == [
        "coco_1click"
    ]
    with pytest.raises(BenchError, match="preset 'segment-anything-fast' has no column of table4 about data in LVIS's"):
        make("table4", "lvis", axes=axes, preset="segment-anything-fast")


def test_a_limit_is_said(make: Make) -> None:
    result = make("table4", limit=2)
    assert "(2 of 3 images)" in result.world
    assert "limited run: the first 2 images of each data set" in result.footnotes


def test_verdicts_say_which_is_higher() -> None:
    def one(measured: float | None, low: float | None, high: float | None) -> Comparison:
        return Comparison("A", "B", "c", 0.1, measured, low, high, "same order (1 training each)")

    result = TableResult(
        "table4",
        "Title",
        "paper",
        "",
        True,
        "paper",
        (Column("c", "box", "COCO"),),
        (Row("A", "a"), Row("B", "b"), Row("C", None)),
        (Cell("A", "c", "measured", 0.5, 0.4), Cell("B", "c", "measured", 0.5, 0.3), Cell("C", "c", "quoted", 0.6)),
        (one(0.1, 0.05, 0.2), one(-0.1, -0.2, -0.05), one(0.1, -0.1, 0.3), one(None, None, None), one(0.1, None, 0.2)),
    )
    own = of_own_data(result, "street", ())
    assert [c.verdict for c in own.comparisons] == ["higher", "lower", "not decided", "not decided"]
    assert {(c.first, c.second, c.paper) for c in own.comparisons} == {("a", "b", None)}
    assert [row.label for row in own.rows] == ["a", "b"]


@pytest.mark.parametrize("name", ["clicks", "robustness"])
def test_the_tables_beyond_the_paper_s_take_it(make: Make, name: str) -> None:
    result = make(name)
    assert result.own == "coco"
    assert len(result.columns) == len(tables.find(name).COLUMNS)
    assert {column.group for column in result.columns} == {"coco"}
    assert [row.label for row in result.rows] == list(MODELS)
    assert all(cell.status == "measured" for cell in result.cells)
    assert any(note.startswith("coco: 4 objects in 3 images") for note in result.footnotes)
    bound = [note for note in result.footnotes if "takes no background clicks" in note]
    assert [note.split()[0] for note in bound] == (["efficientsam-s-micro"] if name == "clicks" else [])
