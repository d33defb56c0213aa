"""The worked examples of CONTRIBUTING.md, executed as they stand there."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from bench import __main__ as front_door
from bench.cli.list import list_all
from bench.training import runs
from models.plugins import installed

TEXT = (Path(__file__).resolve().parents[1] / "CONTRIBUTING.md").read_text()


def chapter(title: str) -> dict[str, str]:
    """Return the files and commands of a chapter: by path, and those without one by language."""
    text = TEXT.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    return {
        path or language: code for language, path, code in re.findall(r"```(\w+) ?(\S*)\n(.*?)```", text, re.DOTALL)
    }


def _declare(site: Path, group: str, line: str) -> None:
    """Install what an entry point of a pyproject.toml says."""
    info = site / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    group = re.search(r'entry-points."(.*)"', group)[1]
    (info / "entry_points.txt").write_text(f"[{group}]\n{line.replace(chr(34), '')}\n")


@pytest.fixture
def follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Install what a chapter writes, run its command, return what that printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)

    def run(title: str, imported: str = "") -> str:
        """Follow a chapter; what is no entry point is imported."""
        parts = chapter(title)
        site = tmp_path / "site"
        for path, code in parts.items():
            if "/" in path and not path.endswith(".toml"):
                (site / path).parent.mkdir(parents=True, exist_ok=True)
                (site / path).write_text(code)
        monkeypatch.syspath_prepend(site)
        if "theirs/pyproject.toml" in parts:
            _declare(site, *parts["theirs/pyproject.toml"].splitlines())
        installed.cache_clear()
        if imported:
            importlib.import_module(imported)
        monkeypatch.setattr(sys, "argv", parts["sh"].replace("python -m ", "").split())
        front_door.main()
        return capsys.readouterr().out

    yield run
    installed.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "theirs"]:
        del sys.modules[name]


def test_a_promptable_model_is_measured(follow) -> None:
    printed = follow("Add a promptable model")
    assert re.search(r"disc .*\d+\.\d", printed)


def test_it_has_rows_in_the_tables_beyond_the_paper_s(follow, monkeypatch, capsys) -> None:
    follow("Add a promptable model")
    asked = ["bench", "run", "clicks", "robustness", "--scale", "micro", "--models", "disc", "--limit", "1"]
    monkeypatch.setattr(sys, "argv", asked)
    front_door.main()
    printed = capsys.readouterr().out
    for title in ("Interactive segmentation", "Boundaries, inexact prompts"):
        assert re.search(rf"{title}.*?disc .*?\d+\.\d", printed, re.DOTALL)


def test_a_table_is_made_reported_and_resumed(follow, tmp_path: Path, capsys) -> None:
    printed = follow("Add a table")
    assert "Objects covered by half" in printed
    assert "covered: IoU with the object over 0.5" in printed
    assert "90.0" in printed, "the paper's number, from its CSV"
    report = tmp_path / "reports/out"
    assert {path.suffix for path in report.iterdir()} == {".csv", ".json", ".md", ".tex", ".html", ".png"}
    before = (report / "halves.csv").read_bytes()
    front_door.main()
    assert "floor on coco: 4 of 4 images from run" in capsys.readouterr().err
    assert (report / "halves.csv").read_bytes() == before
    list_all()
    assert "Objects covered by half" in capsys.readouterr().out


def test_a_training_recipe_tells_its_cost(follow) -> None:
    known = dict(runs.RUNS)
    printed = follow("Add a training recipe", "theirs.recipe")
    (added,) = runs.RUNS.keys() - known.keys()
    del runs.RUNS[added]
    assert re.search(r"steps +2,000", printed)
    assert "GFLOP an image" in printed
