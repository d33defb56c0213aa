"""`bench list`, `runs` and `weights list` survive whatever is wrong with one entry, and print names as they are."""

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from bench.cli import data, runs, weights
from bench.cli import list as listing
from bench.store import RunStore
from models import zoo
from models.errors import BenchError

MARKUP = "[bold]m[/bold] [/] [red]"


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch):
    stream = io.StringIO()
    for module in (listing, runs, weights):
        monkeypatch.setattr(module, "Console", lambda **_: Console(file=stream, width=300))
    return stream.getvalue


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data, weights and runs in folders whose names are markup."""
    for name in ("DATA", "WEIGHTS", "RUNS"):
        folder = tmp_path / MARKUP.replace("/", "|") / name
        folder.mkdir(parents=True)
        monkeypatch.setenv(f"BENCH_{name}", str(folder))
    return tmp_path


def refuse(number: int, path: str):
    def ask(*_: object) -> None:
        raise OSError(number, os.strerror(number), path)

    return ask


def test_markup_in_a_path_is_printed_as_it_is(printed, folders: Path) -> None:
    listing.list_all()
    assert str(folders / MARKUP.replace("/", "|") / "DATA") in printed()


@pytest.mark.parametrize("number", [13, 5, 40])
def test_a_folder_of_weights_that_may_not_be_read_costs_its_models_alone(
    printed, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(zoo, "available", refuse(number, "/theirs/\x1b[2J[bold]w.pt"))
    listing.list_all()
    weights.list_weights()
    told = printed()
    assert r"/theirs/\x1b[2J[bold]w.pt" in told
    assert os.strerror(number) in told
    assert "table4" in told
    assert "\x1b" not in told


def test_data_that_may_not_be_read_cost_their_lines_alone(printed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "open_instances", refuse(13, "/theirs/val2017"))
    listing.list_all()
    told = printed()
    assert told.count("'/theirs/val2017' cannot be used (Permission denied)") == 2
    assert "BENCH_DATA" not in told.partition("\ndata")[2].partition("presets")[0]


def test_plugins_that_cannot_be_loaded_are_named(printed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "broken_plugins", lambda: ["the entry point '[bold]x' cannot be loaded"])
    listing.list_all()
    weights.list_weights()
    assert printed().count("the entry point '[bold]x' cannot be loaded") == 2
    assert "efficientsam-ti" in printed()


@pytest.mark.parametrize("model", [{"name": MARKUP}, {"name": "a\x1b[31m\nb"}, {}, "a text", None, 7, [1]])
def test_runs_of_any_identity_are_listed(printed, model: object) -> None:
    RunStore().open({"protocol": "table4", "model": model, "data": {"name": "coco"}}, 1)
    runs.list_runs()
    told = printed()
    assert "table4: " in told
    assert "\x1b" not in told
    assert MARKUP in told or model != {"name": MARKUP}


def test_verifying_goes_on_after_a_file_that_may_not_be_read(printed, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = [zoo.card("sam-vit-b"), zoo.card("sam-vit-l")]
    monkeypatch.setattr(weights, "_verified", refuse(13, "/theirs/[bold]w.pt"))
    with pytest.raises(BenchError, match=r"^'/theirs/\[bold\]w\.pt' cannot be used .*; '/theirs/"):
        weights.verify_weights(tuple(card.name for card in cards))
    assert printed() == "bad sam-vit-b\nbad sam-vit-l\n"


def test_every_data_set_is_verified_whatever_the_others_are_like(
    capsys: pytest.CaptureFixture[str], folders: Path
) -> None:
    with pytest.raises(SystemExit):
        data.verify(("coco", "lvis", "imagenet"))
    assert capsys.readouterr().out.count("NOT USABLE") == 3


def test_what_is_listed_can_be_had_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    listing.list_all(as_json=True)
    entries = json.loads(capsys.readouterr().out)
    assert {entry["name"] for entry in entries if entry["group"] == "tables"} >= {"table1", "table5", "figure7"}
    RunStore().open({"protocol": "table4", "model": {"name": "m"}, "data": {"name": "coco"}}, 1)
    runs.list_runs(as_json=True)
    assert json.loads(capsys.readouterr().out)[0]["identity"]["protocol"] == "table4"
    weights.list_weights(as_json=True)
    listed = {entry["model"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert listed["sam-micro"]["here"] is True
