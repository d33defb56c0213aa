"""A table of another package: one module and its CSV, found by an entry point and run to a report, with resume."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import __main__ as front_door
from bench.cli.list import list_all
from models.errors import BenchError
from models.plugins import installed
from protocols import defaults, tables

TABLE = '''
"""How often the floor fills more than half of an object, as a table of its own."""

from collections.abc import Iterator
from pathlib import Path

from bench.metrics.interval import mean_interval, paired_mean_interval
from bench.data.dead_leaves import world_root as micro_root
from protocols.comparisons import over_images
from protocols.instance_sets import WORLDS, open_instance_set
from protocols.results import Column
from protocols.scores import Scores
import {package}.{name} as itself

NAME = "{name}"
VERSION = 1
TITLE = "Objects that are covered by half (a toy)"
COLUMNS = (Column("half", "half", "COCO"),)
DATA_SETS = ("coco",)
TAKES = frozenset({{"scale", "models", "limit", "device"}})
ASK = "protocols.table4_prompts:ask"
CARDS = "protocols.promptable"
MODELS = "model"
MIXED = True
COMPARED = (("SAM", "MobileSAM"),)
IMAGES_A_SHARD = 2
LIMITED = "the first {{:,}} images"


def open_data(name, plan, settings):
    return open_instance_set(name, plan, settings)


def score(run, data):
    boxes = run.records[run.records["prompt"] == "box"]
    return Scores({{"half": mean_interval((boxes["iou"] > 0.5).to_numpy(float), boxes["image_id"].to_numpy())}}, boxes)


def compare(first, second):
    values = [(one.basis["iou"] > 0.5).to_numpy(float) for one in (first, second)]
    return {{"half": paired_mean_interval(*values, first.basis["image_id"].to_numpy())}}


def comparisons(measured):
    return over_images(itself, measured)


def footnotes(measured) -> Iterator[str]:
    yield "a toy"
'''


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install a package with a table; yields what writes its entry point."""
    package = f"theirs_{tmp_path.name}"
    folder = tmp_path / "site" / package
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "halves.py").write_text(TABLE.format(package=package, name="halves"))
    (folder / "halves.csv").write_text("method,half\nSAM,90.0\nMobileSAM,80.0\n")
    info = tmp_path / "site" / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path / "site")

    def declare(value: str = f"{package}.halves") -> Path:
        (info / "entry_points.txt").write_text(f"[{tables.GROUP}]\nhalves = {value}\n")
        installed.cache_clear()
        return folder

    yield declare
    installed.cache_clear()
    for name in [name for name in sys.modules if name.startswith(package)]:
        del sys.modules[name]


def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    front_door.main()
    said = capsys.readouterr()
    return said.out, said.err


def test_it_is_listed_run_reported_and_resumed(added, tmp_path: Path, monkeypatch, capsys) -> None:
    added()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    list_all()
    assert "Objects that are covered by half" in capsys.readouterr().out
    command = ("run", "halves", "--scale", "micro", "--models", "sam-micro", "floor", "--limit", "4")
    printed, said = bench(monkeypatch, capsys, *command)
    assert "a toy" in printed
    assert "90.0" in printed, "the paper's number, from its CSV"
    assert "from run" not in said
    assert {path.suffix for path in (tmp_path / "reports/out").glob("halves.*")} == {
        ".csv", ".json", ".md", ".tex", ".html", ".png"
    }  # fmt: skip
    before = (tmp_path / "reports/out/halves.csv").read_bytes()
    _, said = bench(monkeypatch, capsys, *command)
    assert "floor on coco: 4 of 4 images from run" in said
    assert (tmp_path / "reports/out/halves.csv").read_bytes() == before


@pytest.mark.parametrize("value", ["nowhere.halves", "json", "json:loads"])
def test_one_that_cannot_be_had_is_a_sentence_and_costs_no_other(added, value: str, capsys) -> None:
    added(value)
    with pytest.raises(BenchError, match=rf"the entry point 'halves = {value}' of group"):
        tables.find("halves")
    assert tables.find("table4").NAME == "table4"
    list_all()
    assert f"halves = {value}" in capsys.readouterr().out


def test_every_table_has_what_the_contract_asks_for() -> None:
    asked = {name for name in (*tables.Table.__annotations__, *vars(tables.Table)) if not name.startswith("_")}
    always = {"NAME", "TITLE", "TAKES", "COLUMNS"}
    for name in tables.names():
        table = tables.find(name)
        needed = always if hasattr(table, "make") else asked - set(vars(defaults)) - {"PHOTOS", "make"}
        assert {attribute for attribute in needed if not hasattr(table, attribute)} == set(), name
