"""A model of a package of its own, in under 40 lines, has its rows by its entry point and as a predictor."""

import json
import sys
import tomllib
from pathlib import Path

import pytest

from bench import __main__ as front_door
from models.plugins import installed

HERE = Path(__file__).parent / "theirs"
NAMES = ("ovals", "predictor:ovals:Ovals")
TABLES = {"table4": ("coco_box", 0.1), "table5": ("coco_ap", 0.1), "clicks": ("coco_iou1", 0.01)}
"""A column of each, and what an oval reaches at least."""


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """Install the package as its pyproject.toml says."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    info = tmp_path / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = project["entry-points"].items()
    groups = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items()) for group, entries in points]
    (info / "entry_points.txt").write_text("\n".join(groups))
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.syspath_prepend(tmp_path)
    installed.cache_clear()
    yield
    installed.cache_clear()
    sys.modules.pop("ovals", None)


def test_it_is_short():
    assert len((HERE / "ovals/__init__.py").read_text().splitlines()) < 40


def test_it_has_its_rows_by_entry_point_and_as_a_predictor_and_its_page(theirs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    asked = ["bench", "run", *TABLES, "--scale", "micro", "--models", *NAMES, "--limit", "2"]
    monkeypatch.setattr(sys, "argv", asked)
    front_door.main()
    numbers = 0
    for table, (column, least) in TABLES.items():
        made = json.loads((tmp_path / f"reports/out/{table}.json").read_text())
        assert [row["label"] for row in made["rows"] if row["kind"] == "extra"] == list(NAMES)
        first, second = ({c["column"]: c["measured"] for c in made["cells"] if c["row"] == name} for name in NAMES)
        assert first == second
        numbers += sum(value is not None for value in first.values())
        assert first[column] > least
    monkeypatch.setattr(sys, "argv", ["bench", "results"])
    front_door.main()
    page = (tmp_path / "reports/out/leaderboard.html").read_text()
    assert page.count("<td>ovals</td>") == page.count("<td>predictor:ovals:Ovals</td>") == numbers
