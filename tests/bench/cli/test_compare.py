"""`bench compare` and `bench explain`: what they print, write and end with."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.cli.compare import compare_two
from bench.cli.explain import explain_number, unexplained
from bench.data.catalog import BOX_SETS
from bench.instance_pictures import Answers, pictures_of
from bench.metrics.interval import Interval
from bench.store import list_runs
from bench.store.stored import about
from models.errors import BenchError
from protocols import table4, table5
from protocols.inspect.sides import axes_of
from protocols.run import run_model
from reports.paired_plot import BIN, draw_paired
from reports.sheet import sheet
from tests.protocols.fakes import DiscModel, FakeCard, FakeRegistry, disc, settings, using, write_coco

SIZE = (64, 72)


class Registry(FakeRegistry):
    CARDS = (FakeCard("disc", "SAM", scale="micro", filename="disc.pt"),)
    models = {"disc": DiscModel(best=2)}  # noqa: RUF012


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A small data set, and runs of two models about it."""
    with using(table4, Registry(), tmp_path / "data"), using(table5, Registry(), tmp_path / "data"):
        make_runs(tmp_path, monkeypatch)
        yield tmp_path


def make_runs(tmp_path, monkeypatch):
    masks = [[disc(20, 20, 11 + k, SIZE), disc(50, 40, 7, SIZE)] for k in range(6)]
    write_coco(tmp_path / "data", masks)
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    chosen = settings(tmp_path / "runs")
    for table in (table4, table5):
        plan = SimpleNamespace(root=tmp_path / "data", data_scale="paper", subjects=())
        data = table.open_data("coco", plan, chosen)
        for name, best in (("small", 0), ("large", 2)):
            model = DiscModel(best=best)
            model.name = name
            run_model(model, [(table, data)], chosen)


@pytest.mark.parametrize("table", ["table4", "table5"])
def test_a_comparison_is_printed_and_written(root, table, capsys):
    compare_two("small", "large", table=table, out=root / "out", top=3)
    printed = capsys.readouterr()
    assert "as the table has it" in printed.out
    assert "changed most" in printed.out
    assert "A is better on " in printed.out
    stem = root / "out" / f"compare-{table}-coco-small-large"
    instances = pd.read_csv(stem.with_suffix(".csv"))
    assert len(instances) == {"table4": 36, "table5": 12}[table]
    assert instances["difference"].to_numpy() == pytest.approx(instances["first"] - instances["second"])
    for file in (f"{stem}.png", f"{stem}-sheet.png"):
        assert Image.open(file).size[0] > 1000
    if table == "table4":
        assert "masks of small" in printed.err  # no zoo knows the models of tests


def test_json_holds_all_numbers(root, capsys):
    compare_two("small", "large", out=root / "out", as_json=True, pictures=False, top=2)
    (found,) = json.loads(capsys.readouterr().out)
    assert set(found["columns"]) == {"coco_box", "coco_1click", "coco_3click"}
    assert len(found["changed_most"]) == 2
    assert not list((root / "out").glob("*-sheet.png"))


def test_a_script_learns_that_a_is_worse(root):
    with pytest.raises(SystemExit) as left:
        compare_two("small", "large", out=root / "out", pictures=False, fail_if_worse=True)
    assert left.value.code == 1
    compare_two("large", "small", out=root / "out", pictures=False, fail_if_worse=True)


def test_the_plot_shows_every_instance():
    values = np.array([0.0, 0.5, 1.0, 0.25])
    instances = pd.DataFrame({"first": values, "second": values[::-1], "difference": values - values[::-1]})
    axes = draw_paired(instances, "a", "b").axes
    bars = [bar for bar in axes[0].patches if bar.get_gid() == "differences"]
    assert (len(bars), sum(bar.get_height() for bar in bars)) == (200 // BIN, 4)
    (points,) = [one for one in axes[1].collections if one.get_gid() == "instances"]
    assert points.get_offsets().tolist() == (100 * np.stack([values[::-1], values], 1)).tolist()


def test_the_pictures_of_an_instance_show_the_same_part_of_the_photo():
    truth, photo = disc(20, 20, 9, SIZE), np.full((*SIZE, 3), 90, np.uint8)
    asked, *masks, unknown = pictures_of(photo, truth, Answers(first=truth, clicks=((20, 20, 1),)))
    assert unknown is None
    assert {picture.shape for picture in (asked, *masks)} == {(64, 64, 3)}  # 18 px, with room, and 64 at least
    assert (asked != 90).any()
    covered = [(picture != 90).any(-1).sum() for picture in masks]
    assert covered == [truth.sum()] * 2


def test_a_sheet_has_a_place_for_a_mask_that_is_not_known():
    photo = np.full((*SIZE, 3), 90, np.uint8)
    whole = [np.asarray(Image.open(io.BytesIO(sheet([[("a", photo), ("b", one)]])))) for one in (photo, None)]
    shown = [(picture[..., :3] == 90).all(-1) for picture in whole]
    half = shown[0].shape[1] // 2
    assert shown[0][:, half:].sum() > 10_000 > shown[1][:, half:].sum()
    assert shown[1][:, :half].sum() > 10_000


def write_boxes(root):
    """Put the truth's boxes where Table 5 looks for a detector's."""
    truth = json.loads((root / "coco/annotations/instances_val2017.json").read_text())
    path = root / BOX_SETS["coco-boxes"].file
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = ("image_id", "category_id", "bbox")
    path.write_text(json.dumps([{name: one[name] for name in fields} | {"score": 0.9} for one in truth["annotations"]]))


def explain_disc(table="table4", **options):
    usual = {"first": "paper", "second": "paper,mask_pick=single,crowd=keep", "column": "coco_box", "scale": "micro"}
    explain_number(table, "disc", **{**usual, **options})


def test_a_number_is_explained(root, capsys):
    explain_disc()
    printed = capsys.readouterr().out
    assert printed.startswith("disc, table4 COCO box, 6 images")
    first = next(line for line in printed.splitlines() if "->" in line and "choice" not in line)
    assert first.split()[:4] == ["mask_pick", "predicted_iou", "->", "single"]
    assert "nothing is left that no choice explains" in printed
    assert {about(run.identity)[1] for run in list_runs()} == {"small", "large"}  # its runs are kept apart


def test_shares_add_up_in_json(root, capsys):
    explain_disc(as_json=True)
    (found,) = json.loads(capsys.readouterr().out)
    assert sum(one["share"]["value"] for one in found["choices"]) == pytest.approx(found["gap"]["value"], abs=1e-12)
    assert found["gap"]["value"] == pytest.approx(found["to"]["value"] - found["from"]["value"], abs=1e-12)
    assert (found["published"], found["rest"]) == (None, None)


def test_protocols_that_score_a_column_alike_are_said_to(root, capsys):
    explain_disc(second="paper,clicks=ritm")
    assert "nothing differs that matters for it" in capsys.readouterr().out


def test_no_micro_number_is_compared_with_a_published_one(root):
    with pytest.raises(BenchError, match=r"nothing was published of disc on these data.*name a protocol"):
        explain_disc(second="PUBLISHED")


def test_a_published_number_is_explained_as_far_as_choices_do(root, monkeypatch, capsys):
    monkeypatch.setenv("BENCH_DATA", str(root / "data"))
    monkeypatch.setattr(Registry, "CARDS", (FakeCard("disc", "SAM", filename="disc.pt"),))
    published = {"table": "table5", "first": "paper,mask_pick=single", "scale": "paper", "column": "coco_ap"}
    write_boxes(root / "data")
    with pytest.raises(SystemExit) as left:
        explain_disc(**published, second="PUBLISHED:paper")
    assert left.value.code == 1  # discs are no SAM
    printed = capsys.readouterr().out
    rest = next(line for line in printed.splitlines() if "no choice " in line)
    assert (
        "published under paper: 46.5 (EfficientSAM, arXiv 2312.00863), on 5,000 images, measured here on 6" in printed
    )
    assert "is not 0 by its interval" in printed
    assert float(rest.split()[2]) == pytest.approx(46.5 - float(printed.split("  to ")[1].split()[0]), abs=0.11)


def test_a_micro_model_that_takes_another_mask_is_found_out(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path))
    first = "paper,mask_pick=single,clip_boxes=false,crowd=keep"
    options = {"first": first, "second": "paper", "scale": "micro", "limit": 4, "as_json": True}
    explain_number("table4", "efficientsam-ti-micro", **options)
    (found,) = json.loads(capsys.readouterr().out)
    assert found["column"] == "coco_box"
    assert found["choices"][0]["axis"] == "mask_pick"
    assert found["choices"][0]["share"]["low"] > 0
    assert sum(one["share"]["value"] for one in found["choices"]) == pytest.approx(found["gap"]["value"], abs=1e-12)


@pytest.mark.parametrize(("low", "high", "left"), [(0.01, 0.03, True), (-0.01, 0.03, False), (-0.3, -0.1, True)])
def test_a_published_number_that_no_choice_explains_is_bad_news(low, high, left):
    assert unexplained(SimpleNamespace(rest=Interval((low + high) / 2, low, high, 9))) is left
    assert unexplained(SimpleNamespace(rest=None)) is False


def test_an_unknown_run_is_one_sentence(root: Path):
    with pytest.raises(BenchError, match="has no finished run of 'table4/nobody/coco'"):
        compare_two("nobody", "small", out=root / "out")
    assert axes_of({}) == axes_of({"axes": {}})
