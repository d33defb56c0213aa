"""What is installed: all that the project needs outside its checkout, and nothing under another licence."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from bench.training.runs import RUNS
from models import cards, checkpoints, packaged, zoo
from tests.test_layering import OURS, ROOT, tracked

BUILD = "import setuptools.build_meta as backend, sys; print(backend.build_{}(sys.argv[1]))"
"""The hooks of PEP 517 in a process of their own: no package is fetched to build with."""
NOT_INSTALLED = re.compile(r"models/weights/agpl/|.*\.md$")
"""Files of our packages that only a checkout has."""


def build(what: str, source: Path, out: Path) -> Path:
    command = [sys.executable, "-c", BUILD.format(what), str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def files() -> list[str]:
    return tracked()


@pytest.fixture(scope="module")
def sdist(files: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of a clean copy of the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("sdist")
    for name in files:
        if name.startswith(tuple(f"{package}/" for package in OURS)) or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    return build("sdist", source, out)


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution alone."""
    source, out = tmp_path_factory.mktemp("unpacked"), tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(source, filter="data")
    (root,) = source.iterdir()
    return build("wheel", root, out)


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the wheel is installed, without what it depends on."""
    target = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-deps", "--no-index", "--no-compile", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True, timeout=300)
    return target


def names_in(archive: Path) -> set[str]:
    if archive.suffix == ".whl":
        return set(zipfile.ZipFile(archive).namelist())
    with tarfile.open(archive) as opened:
        return {name.partition("/")[2] for name in opened.getnames()}


def test_the_wheel_has_every_file_of_our_packages_and_no_other(files: list[str], wheel: Path) -> None:
    """Weights, records, the paper's numbers, templates, styles, and whatever a package needs next."""
    wanted = {name for name in files if name.startswith(tuple(f"{package}/" for package in OURS))}
    found = {name for name in names_in(wheel) if ".dist-info/" not in name}
    assert found == {name for name in wanted if not NOT_INSTALLED.match(name)}
    assert {"protocols/paper/table4.csv", "models/weights/sam-micro.safetensors"} <= found


def test_licence_and_notices_come_with_it_and_its_version_is_the_project_s(wheel: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert wheel.name == f"efficientsam_bench-{version}-py3-none-any.whl"
    licences = {name.partition(".dist-info/licenses/")[2] for name in names_in(wheel)} - {""}
    assert licences == {"LICENSE", "THIRD_PARTY_NOTICES.md"}
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_nothing_under_agpl_is_packed(sdist: Path, wheel: Path) -> None:
    apart = {path.stem for path in (packaged.PACKAGED / "agpl").glob("*.safetensors")}
    assert (
        apart
        == packaged.AGPL
        == {card.name for card in cards.CARDS if "AGPL" in card.licence and card.scale == "micro"}
    )
    for archive in (sdist, wheel):
        assert not [name for name in names_in(archive) if "agpl" in name or Path(name).stem in apart]


def test_weights_under_agpl_have_their_licence_beside_them_and_are_told_of() -> None:
    text = (packaged.PACKAGED / "agpl" / "LICENSE").read_text()
    assert "GNU AFFERO GENERAL PUBLIC LICENSE" in text
    notices = (ROOT / "THIRD_PARTY_NOTICES.md").read_text()
    assert all(f"`models/weights/agpl/{name}.safetensors`" in notices for name in packaged.AGPL)
    assert not [
        path for path in packaged.PACKAGED.glob("*.json") if json.loads(path.read_text())["model"] in packaged.AGPL
    ]


def test_notices_tell_the_licence_of_every_published_checkpoint_of_the_zoo() -> None:
    rows = [line for line in (ROOT / "THIRD_PARTY_NOTICES.md").read_text().splitlines() if line.startswith("| `")]
    told = {name: row.split("|")[2].strip() for row in rows for name in re.findall(r"`([\w-]+)`", row.split("|")[1])}
    published = [card for card in cards.CARDS if card.scale == "paper"]
    assert {card.name: told.get(card.name) for card in published} == {card.name: card.licence for card in published}


def test_without_them_a_model_says_where_to_get_them(tmp_path: Path) -> None:
    card = zoo.card("fastsam-micro")
    said = str(checkpoints.missing(card, tmp_path / "fastsam-micro.safetensors"))
    assert "AGPL-3.0" in said
    assert "models/weights/agpl/" in said
    assert "python -m bench train fastsam-micro" in said
    assert "fastsam-micro" in RUNS


@pytest.mark.slow
def test_an_installed_wheel_lists_and_measures_outside_the_checkout(site: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(site), "BENCH_RUNS": str(tmp_path / "runs")}
    environment.pop("BENCH_DATA", None)

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)

    where = python("-c", "import bench, models, protocols, reports; print(bench.__file__, models.__file__)")
    assert where.stdout.split() == [str(site / "bench/__init__.py"), str(site / "models/__init__.py")]
    listed = python("-m", "bench", "list")
    assert listed.returncode == 0, listed.stderr
    assert "table4" in listed.stdout
    assert "fastsam-micro" in listed.stdout
    run = python(
        "-m", "bench", "run", "table4", "--scale", "micro", "--models", "efficientsam-ti-micro", "--limit", "1"
    )
    assert run.returncode == 0, run.stderr
    made = json.loads((tmp_path / "reports/out/table4.json").read_text())
    assert [cell["measured"] for cell in made["cells"] if cell["row"] == "EfficientSAM-Ti" and cell["measured"]]
