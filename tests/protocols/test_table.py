import json
import shutil
from dataclasses import fields, replace
from types import SimpleNamespace

import pytest

from models import zoo
from models.errors import BenchError
from protocols import clicks, table4, table5, tables
from protocols.axes import PAPER, Axes, preset
from protocols.results import TableResult
from protocols.table import asked_columns, make_tables
from tests.protocols.fakes import DiscModel, disc, settings, write_coco

MASKS = [[disc(10, 9, 5), disc(25, 20, 7)], [disc(20, 16, 6)], [disc(30, 10, 5), disc(8, 22, 6)]]
ONE, PAIR = ("sam-micro",), ("sam-micro", "efficientsam-s-micro")
"""Models to ask where others make no difference."""


def maker(root, patch):
    """Return what makes a table of the micro rows with discs for models, better for SAM than for the others."""

    def load(name, *, checkpoint=None, device="cpu", trusted=()):
        model = DiscModel(best=1 if name == "sam-micro" else 2, takes_background=name == "sam-micro")
        model.name = name
        return model

    patch.setattr(zoo, "load", load)
    patch.setattr(zoo, "available", lambda name: (name.endswith("micro"), f"no weights of {name}"))
    write_coco(root / "data", MASKS, crowd=(5,))
    for module in (table4, table5):
        patch.setattr(module, "micro_root", lambda: root / "data")

    def table(*names, **changes):
        made = make_tables([tables.find(name) for name in names], settings(root / "runs", scale="micro", **changes))
        return made[0] if made and len(names) == 1 else made

    return table


@pytest.fixture
def make(tmp_path, monkeypatch):
    return maker(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Tables 4 and 5 by name, of all models and with nothing changed."""
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(root / "cache"))
        table = maker(root, patch)
        return {name: table(name) for name in ("table4", "table5")}


@pytest.mark.parametrize("name", ["table4", "table5"])
def test_a_table_has_a_cell_for_every_row_and_column_and_survives_json(made, name):
    result = made[name]
    assert {(c.row, c.column) for c in result.cells} == {
        (row.label, column.key) for row in result.rows for column in result.columns
    }
    assert TableResult.from_json(result.to_json()) == result


def test_measured_cells_carry_intervals_and_the_paper_s_number(made):
    cell = made["table4"].cell("SAM", "coco_box")
    assert cell.status == "measured"
    assert cell.paper == pytest.approx(0.784)
    assert cell.low <= cell.measured <= cell.high
    assert cell.n == 4, "the crowd is left out"


def test_a_micro_table_is_never_comparable_with_the_paper(made):
    result = made["table4"]
    assert (result.scale, result.comparable) == ("micro", False)


def test_pairs_of_the_paper_are_compared_over_the_same_prompts(made):
    result = made["table4"]
    (one,) = [c for c in result.comparisons if (c.first, c.second, c.column) == ("SAM", "EfficientSAM-S", "coco_box")]
    sam, small = result.cell("SAM", "coco_box"), result.cell("EfficientSAM-S", "coco_box")
    assert one.paper == pytest.approx(0.015)
    assert one.measured == pytest.approx(sam.measured - small.measured)
    assert one.verdict == "same order (1 training each)"


def test_pairs_with_an_unmeasured_row_say_so(make, monkeypatch):
    there = {"sam-micro", "mobilesam-micro", "efficientsam-ti-micro", "efficientsam-s-micro"}
    monkeypatch.setattr(zoo, "available", lambda name: (name in there, f"no weights of {name}"))
    verdicts = {c.verdict for c in make("table5").comparisons if "FastSAM" in (c.first, c.second)}
    assert verdicts == {"not measured"}


def test_a_prompt_that_a_model_cannot_take_costs_its_cell_alone(make):
    result = make("table4", axes=preset("efficientvit"), models=PAIR)
    assert result.cell("EfficientSAM-S", "coco_3click").status == "not supported"
    assert "background" in result.cell("EfficientSAM-S", "coco_3click").why
    assert result.cell("SAM", "coco_3click").status == "measured"
    for column in ("coco_box", "coco_1click", "lvis_box"):
        assert result.cell("EfficientSAM-S", column).status == "measured"
    pair = [c for c in result.comparisons if (c.first, c.second) == ("SAM", "EfficientSAM-S")]
    assert {c.column for c in pair if c.measured is None} == {"coco_3click", "lvis_3click"}


def test_a_column_stands_beside_the_papers_only_where_its_choices_are_the_papers(make):
    result = make("table4", axes=replace(PAPER, clicks="ritm", seed=3, repeats=2), models=PAIR)
    apart = {column.key: column.apart for column in result.columns}
    assert apart["coco_box"] == apart["lvis_box"] == ""
    assert apart["coco_1click"] == "clicks ritm instead of random"
    verdicts = {c.column: c.verdict for c in result.comparisons if (c.first, c.second) == ("SAM", "EfficientSAM-S")}
    assert (verdicts["coco_box"], verdicts["coco_1click"]) == ("same order (1 training each)", "other protocol")
    assert any(note.startswith("COCO 1 click, COCO 3 clicks") for note in result.footnotes)


@pytest.mark.parametrize(
    "changed", [{"mask_pick": "oracle"}, {"mask_pick": "single"}, {"refinement": 1}, {"averaging": "category"}]
)
@pytest.mark.parametrize("protocol", [table4, table5])
def test_choices_that_concern_every_mask_keep_every_column_apart(protocol, changed):
    settings = SimpleNamespace(axes=replace(PAPER, **changed), preset="paper")
    apart = [bool(column.apart) for column in asked_columns(protocol, settings)]
    assert all(apart) or (protocol is table5 and "averaging" in changed and not any(apart))


def test_every_axis_but_draws_and_precision_matters_somewhere():
    """A choice that is added later has to say which columns it concerns."""
    mattering = {axis for protocol in (table4, table5) for axes in protocol.MATTERS.values() for axis in axes}
    silent = {"seed", "repeats", "precision", "columns", "lvis_images"} | set(clicks.ASKED_WITH)
    assert mattering | silent == {field.name for field in fields(Axes)}


def test_a_preset_has_the_columns_of_its_evaluator_alone(make):
    result = make("table5", axes=preset("tinysam"), preset="tinysam", models=ONE)
    assert len(result.columns) == 8
    axes = replace(PAPER, columns=("coco_1click",))
    result = make("table4", axes=axes, preset="segment-anything-fast", models=ONE)
    assert [column.key for column in result.columns] == ["coco_1click"]
    assert {cell.column for cell in result.cells} == {"coco_1click"}
    assert any("these columns alone" in note for note in result.footnotes)


def test_a_preset_without_any_column_of_a_table_is_refused_before_anything_runs(make, tmp_path):
    with pytest.raises(BenchError, match="preset 'tinysam' has no column of table4"):
        make("table4", axes=preset("tinysam"), preset="tinysam")
    assert not (tmp_path / "runs").exists()


def test_edgesam_asks_lvis_about_the_images_of_val2017_alone(make, tmp_path):
    path = tmp_path / "data/lvis/annotations/lvis_v1_val.json"
    lvis = json.loads(path.read_text())
    lvis["images"][0]["coco_url"] = lvis["images"][0]["coco_url"].replace("val2017", "train2017")
    path.write_text(json.dumps(lvis))
    moved = tmp_path / "data/coco/train2017"
    moved.mkdir()
    name = lvis["images"][0]["coco_url"].rsplit("/", 1)[1]
    shutil.copy(tmp_path / "data/coco/val2017" / name, moved / name)
    assert "LVIS: 2 of 3 images" in make("table4", axes=preset("edgesam"), preset="edgesam", models=ONE).world
    assert "LVIS: 3 images" in make("table4", models=ONE).world


def test_tables_of_one_command_load_a_model_once_and_embed_an_image_once(make, monkeypatch, tmp_path):
    loaded, embedded = [], []
    load, embed = zoo.load, DiscModel.embed

    def counting_load(name, **how):
        loaded.append(name)
        return load(name, **how)

    def counting_embed(model, images):
        embedded.extend(model.name for _ in images)
        return embed(model, images)

    monkeypatch.setattr(zoo, "load", counting_load)
    monkeypatch.setattr(DiscModel, "embed", counting_embed)
    together = make("table4", "table5", models=("sam-micro", "mobilesam-micro"))
    assert sorted(loaded) == ["mobilesam-micro", "sam-micro"]
    assert {name: embedded.count(name) for name in loaded} == dict.fromkeys(loaded, 3)
    shutil.rmtree(tmp_path / "runs")
    apart = [make(name, models=("sam-micro", "mobilesam-micro")) for name in ("table4", "table5")]
    assert [result.cells for result in together] == [result.cells for result in apart]


def test_a_limited_run_says_so(make):
    result = make("table4", limit=2, models=ONE)
    assert any("limited run: the first 2 images" in note for note in result.footnotes)
    assert "2 of 3 images" in result.world


def test_table_5_names_its_stand_in_detector(made):
    assert "COCO: boxes are jittered ground truth" in made["table5"].footnotes


def test_a_missing_data_set_leaves_the_other_s_columns(make, tmp_path):
    (tmp_path / "data/lvis/annotations/lvis_v1_val.json").unlink()
    result = make("table4", models=ONE)
    assert result.cell("SAM", "lvis_box").status == "data missing"
    assert "lvis_v1_val.json" in result.cell("SAM", "lvis_box").why
    assert result.cell("SAM", "coco_box").status == "measured"


def test_no_data_at_all_is_an_error(make, tmp_path):
    for path in (tmp_path / "data").rglob("*.json"):
        path.unlink()
    with pytest.raises(BenchError, match=r"instances_val2017\.json"):
        make("table4")


def test_other_processes_return_no_table(make, monkeypatch):
    make("table4", models=ONE)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert make("table4", models=ONE) is None


def test_an_unknown_table_is_refused():
    with pytest.raises(BenchError, match="did you mean 'table4'"):
        tables.find("tabel4")


def test_an_unknown_preset_is_refused():
    with pytest.raises(BenchError, match="did you mean 'tinysam'"):
        preset("tinysma")
