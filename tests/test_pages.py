"""README.md and docs/: every command is one, every Python block runs, and marked commands run at micro scale."""

import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from bench import __main__ as front_door
from bench.cli.commands import COMMANDS, GROUPS
from bench.data.catalog import set_names
from bench.data.dead_leaves import world_root
from bench.data.verify import verify
from bench.training.runs import RUNS
from models import zoo
from models.checks import contract, places
from models.specs import is_spec
from models.vitdet.cascades import CASCADES
from protocols import tables
from protocols.axes import PRESETS
from protocols.chosen import read_axes
from protocols.paper import paper_table
from protocols.registry import registry_of
from tests.pages import PAGES, ROOT, Block, bench_arguments, blocks, commands, parse

SH = blocks("sh")
RUN = [block for block in SH if block.runs]
(EXAMPLE,) = (block for block in blocks("python") if "def build" in block.text)
"""`my_model.py` of docs/own_model.md."""


@cache
def known_models() -> set[str]:
    """Return the names and rows of all models."""
    asking = [table for table in map(tables.find, tables.names()) if hasattr(table, "CARDS")]
    cards = {card.name for table in asking for card in registry_of(table).cards()}
    rows = {str(label) for table in asking for label in paper_table(table.NAME).index}
    return {*zoo.names(), *cards, *rows, *(card.name for card in CASCADES)}


DATA = set(set_names())
WHAT = {"table": "table", "tables": "table", "models": "model", "model": "model", "detector": "model"}
"""What is named by a parameter; `names` and `name` mean another thing for each command."""
NAMED = {"run": "table", "weights": "model", "data": "data set", "train": "training"}


def unknown(arguments: list[str]) -> list[str]:
    """Return what a command names and nobody knows."""
    given = parse(arguments)
    known = {"table": set(tables.names()), "model": known_models(), "data set": DATA, "training": set(RUNS)}
    wrong = []
    for parameter, value in given.items():
        what = NAMED.get(arguments[0]) if parameter in ("names", "name") else WHAT.get(parameter)
        if what:
            names = [name for name in ([value] if isinstance(value, str) else value or ()) if name]
            wrong += [name for name in names if name not in known[what] and not is_spec(name) and ":" not in name]
    if isinstance(given.get("checkpoint"), tuple):
        wrong += [entry for entry in given["checkpoint"] if entry.partition("=")[0] not in known["model"]]
    read_axes(given.get("axis") or ())
    return wrong if given.get("preset", "paper") in PRESETS else [*wrong, given["preset"]]


@pytest.mark.parametrize("block", SH, ids=[block.label for block in SH])
def test_every_command_exists_and_takes_its_options_and_names_what_there_is(block: Block) -> None:
    for command in commands(block.text):
        for arguments in bench_arguments(command):
            assert unknown(arguments) == [], command


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_command_named_in_a_sentence_exists(page: Path) -> None:
    for verb, noun in re.findall(r"`(?:python -m )?bench ([a-z-]+)(?: ([a-z-]+))?", page.read_text(encoding="utf-8")):
        assert verb in COMMANDS or (verb in GROUPS and (not noun or noun in GROUPS[verb])), f"bench {verb} {noun}"


def test_a_wrong_option_a_wrong_name_and_a_foreign_command_are_found() -> None:
    with pytest.raises(SystemExit):
        parse(["run", "table4", "--no-such-option", "1"])
    assert unknown(["run", "table44", "--models", "efficientsam-tee"]) == ["table44", "efficientsam-tee"]
    with pytest.raises(AssertionError, match="no session"):
        bench_arguments(["nox", "-s", "no_such_session"])
    with pytest.raises(AssertionError, match="no command"):
        bench_arguments(["rm", "-r", "/"])


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what pages assume a reader has: a photo, annotated photos, a report, a model."""
    folder = tmp_path_factory.mktemp("desk")
    world = world_root() / "coco"
    found = json.loads((world / "annotations" / "instances_val2017.json").read_text())
    found["images"] = found["images"][:2]
    ids = {image["id"] for image in found["images"]}
    found["annotations"] = [one for one in found["annotations"] if one["image_id"] in ids]
    (folder / "street.json").write_text(json.dumps(found))
    (folder / "photos").mkdir()
    for image in found["images"]:
        shutil.copy(world / "val2017" / image["file_name"], folder / "photos")
    Image.open(folder / "photos" / found["images"][0]["file_name"]).convert("RGB").save(folder / "photo.jpg")
    (folder / "my_model.py").write_text(EXAMPLE.text)
    return folder


@pytest.fixture
def at_desk(desk: Path, monkeypatch: pytest.MonkeyPatch):
    """Run commands there, with one run store and one cache for all."""
    monkeypatch.chdir(desk)
    monkeypatch.setenv("BENCH_RUNS", str(desk / "runs"))
    monkeypatch.delenv("BENCH_DATA", raising=False)

    def run(arguments: list[str]) -> None:
        monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        front_door.main()

    if not (desk / "reports/out").is_dir():
        run(["run", "figure7", "--scale", "micro"])
    return run


def cheap(arguments: list[str]) -> list[str]:
    """Return the same command at micro scale about one image."""
    if arguments[0] != "run":
        return arguments
    takes = [tables.find(name).TAKES for name in parse(arguments)["names"]]
    settings = {"scale": "micro", "limit": "1"}
    if "--data" in arguments:
        del settings["scale"]
    missing = [name for name in settings if f"--{name}" not in arguments and all(name in of for of in takes)]
    return [*arguments, *(word for name in missing for word in (f"--{name}", settings[name]))]


@pytest.mark.slow
@pytest.mark.parametrize("block", RUN, ids=[block.label for block in RUN])
def test_marked_commands_run_at_micro_scale(block: Block, at_desk, capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands(block.text):
        for arguments in bench_arguments(command):
            at_desk(cheap(arguments))
            assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.label)
def test_python_blocks_run(block: Block, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    scope: dict[str, object] = {}
    exec(block.text, scope)
    if "zoo.load" in block.text:
        assert tuple(scope["masks"].shape) == (1, 3, 480, 640)
        assert tuple(scope["predicted_iou"].shape) == (1, 3)


def test_the_example_of_a_model_keeps_the_contract(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    model = zoo.load("predictor:my_model:build")
    checks = (contract.contract, contract.masks, contract.prompts_taken, places.boxes, places.single_clicks)
    assert [check(model).outcome for check in checks] == ["ok"] * len(checks)


def test_the_example_of_annotations_is_whole(tmp_path: Path) -> None:
    (example,) = (block for block in blocks("json") if block.page.name == "own_data.md")
    (tmp_path / "street.json").write_text(example.text)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (640, 480)).save(tmp_path / "photos" / "corner.jpg")
    report = verify(f"coco:{tmp_path / 'street.json'},{tmp_path / 'photos'}", tmp_path)
    assert report.ok, report.lines


def test_all_presets_are_told() -> None:
    told = (ROOT / "docs" / "why_papers_disagree.md").read_text()
    assert all(f"| `{name}` |" in told for name in PRESETS)


def test_every_table_has_its_page() -> None:
    told = (ROOT / "docs" / "tables" / "index.md").read_text()
    ours = [name for name in tables.names() if (ROOT / "protocols" / f"{name}.py").is_file()]
    assert [name for name in ours if f"`{name}`" not in told] == []


def test_the_readme_is_two_screens_before_its_details() -> None:
    before = (ROOT / "README.md").read_text().split("## Details")[0]
    assert sum(1 + max(0, len(line) - 1) // 120 for line in before.splitlines()) <= 90


def test_the_site_is_built_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.html")]
    assert len(pages) > len(PAGES) - 5
    loaded = r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=[\"']?(https?:|//)"
    assert not any(re.search(loaded, page) for page in pages)


def test_help_of_the_module_works_as_a_stranger_types_it() -> None:
    done = subprocess.run([sys.executable, "-m", "bench", "--help"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0
    assert "bench list" in done.stdout
