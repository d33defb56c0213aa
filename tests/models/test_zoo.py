"""The zoo: cards, loading, availability, and models of other packages."""

from __future__ import annotations

import csv
import re
import string
import sys
from dataclasses import replace
from pathlib import Path

import mobile_sam
import numpy as np
import pytest
import torch

from bench.training.runs import RUNS
from models import checkpoints, micro, zoo
from models.cards import CARDS, ModelCard, resolve
from models.errors import BenchError
from models.packaged import packaged_weights
from models.plugins import installed
from models.segmenter import Prompts, Segmenter
from tests.models.recipe import fill, image

NAME = "efficientsam-ti-micro"
PAPER = Path(resolve("protocols.results:__file__")).parent / "paper"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    """A card whose published file lies in the weights folder."""
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "weights"))
    path = tmp_path / "weights" / "ti.pt"
    path.parent.mkdir()
    torch.save({"model": fill(micro.efficientsam_ti_micro()).state_dict()}, path)
    card = replace(
        zoo.card(NAME),
        filename="ti.pt",
        url="http://host/ti.pt",
        bytes=path.stat().st_size,
        sha256=checkpoints.hash_file(path),
    )
    monkeypatch.setattr(zoo, "CARDS", (card,))
    return card


@pytest.fixture
def other(published: ModelCard, tmp_path: Path) -> Path:
    """A checkpoint that fits, but is not the published one."""
    network = fill(micro.efficientsam_ti_micro())
    torch.save({"model": {name: entry + 1 for name, entry in network.state_dict().items()}}, tmp_path / "mine.pt")
    return tmp_path / "mine.pt"


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_card_names_things_that_exist(card: ModelCard) -> None:
    for reference in (card.build, card.segmenter, card.convert):
        assert reference is None or callable(resolve(reference))
    assert card.scale == "micro" or card.url is not None
    assert card.sha256 is None or (len(card.sha256) == 64 and set(card.sha256) <= set(string.hexdigits.lower()))
    assert card.sha256 or card.scale == "micro" or "cannot be checked" in card.note


def test_paper_rows_are_rows_of_the_paper() -> None:
    rows = {
        row["method"]
        for table in ("table4.csv", "table5.csv")
        for row in csv.DictReader((PAPER / table).read_text().splitlines())
    }
    assert {card.paper_row for card in CARDS if card.paper_row} <= rows


def test_no_paper_row_is_claimed_twice_at_one_scale() -> None:
    claims = [(card.scale, card.paper_row) for card in CARDS if card.paper_row]
    assert len(claims) == len(set(claims))


def test_a_published_model_is_loaded_by_its_name(published: ModelCard) -> None:
    segmenter = zoo.load(NAME)
    assert isinstance(segmenter, Segmenter)
    assert (segmenter.name, segmenter.checkpoint_sha256, segmenter.custom) == (NAME, published.sha256, False)
    (embedding,) = segmenter.embed([image(60, 80)])
    answer = segmenter.segment(embedding, Prompts.from_boxes([[5, 5, 40, 40]]))
    assert segmenter.masks(answer.logits, (60, 80)).shape == (1, 3, 60, 80)


def test_another_checkpoint_makes_a_model_custom(other: Path) -> None:
    segmenter = zoo.load(NAME, checkpoint=str(other))
    assert segmenter.custom
    assert segmenter.checkpoint_sha256 == checkpoints.hash_file(other)


def test_the_published_file_is_not_custom_wherever_it_lies(published: ModelCard, tmp_path: Path) -> None:
    copy = tmp_path / "copy.pt"
    copy.write_bytes((tmp_path / "weights" / "ti.pt").read_bytes())
    assert not zoo.load(NAME, checkpoint=copy).custom


def test_the_weights_loaded_are_those_of_the_file(published: ModelCard, other: Path) -> None:
    prompts = Prompts(np.array([[[30.0, 30.0]]]), np.array([[1]]))
    first, second = zoo.load(NAME), zoo.load(NAME, checkpoint=other)
    (embedding,) = first.embed([image(60, 80)])
    assert not torch.equal(first.segment(embedding, prompts).logits, second.segment(embedding, prompts).logits)


def test_a_published_model_is_available(published: ModelCard) -> None:
    assert zoo.available(NAME) == (True, "")


def test_a_model_without_its_file_is_not_available_and_says_how_to_get_it(published: ModelCard, tmp_path: Path) -> None:
    (tmp_path / "weights" / "ti.pt").unlink()
    usable, why = zoo.available(NAME)
    assert not usable
    assert f"bench weights fetch {NAME}" in why
    assert str(tmp_path / "weights" / "ti.pt") in why
    with pytest.raises(BenchError) as caught:
        zoo.load(NAME)
    assert str(caught.value) == why


def test_another_file_under_the_published_name_is_not_available(published: ModelCard, tmp_path: Path) -> None:
    path = tmp_path / "weights" / "ti.pt"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    usable, why = zoo.available(NAME)
    assert not usable
    assert f"instead of {published.sha256}" in why
    with pytest.raises(BenchError, match="not the published checkpoint"):
        zoo.load(NAME)


def test_a_checkpoint_path_with_nothing_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"there is no checkpoint '.*nowhere\.pt' for model"):
        zoo.load(NAME, checkpoint=tmp_path / "nowhere.pt")


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(BenchError, match=r"unknown model 'efficentsam-ti'.*did you mean 'efficientsam-ti'\?"):
        zoo.load("efficentsam-ti")


@pytest.mark.parametrize("device", ["quantum", "cuda:77"])
def test_a_device_that_is_not_here_is_an_error(published: ModelCard, device: str) -> None:
    with pytest.raises(BenchError, match=f"device '{device}' cannot be used here"):
        zoo.load(NAME, device=device)


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    published: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    needy = replace(published, requires=("package_that_is_not_here", "efficientsam-bench[fastsam]"))
    monkeypatch.setattr(zoo, "CARDS", (needy,))
    with pytest.raises(BenchError, match=r"pip install efficientsam-bench\[fastsam\]"):
        zoo.load(NAME)
    assert not zoo.available(NAME)[0]


def test_the_official_mobilesam_checkpoint_is_loaded_with_its_own_names(tmp_path: Path) -> None:
    official = fill(mobile_sam.sam_model_registry["vit_t"]())
    path = tmp_path / "mobile_sam.pt"
    torch.save(official.state_dict(), path)
    network = zoo.load("mobilesam", checkpoint=path).network  # type: ignore[attr-defined]
    entry = "image_encoder.neck.2.weight"
    assert torch.equal(network.state_dict()[entry], official.state_dict()[entry])


PLUGIN = """
from dataclasses import replace
from models.cards import CARDS

def network():
    from models.micro import efficientsam_ti_micro
    return efficientsam_ti_micro()

one = replace(CARDS[-1], name="theirs", build="{module}:network", filename=None)
several = [one, replace(one, name="theirs-too")]
taken = replace(one, name="sam-vit-b")
wrong = "theirs"

def __getattr__(name):
    if name == "raises":
        1 / 0
    if name == "leaves":
        raise SystemExit(3)
    raise AttributeError(name)
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution with a module of model cards; tests write its entry points."""
    module = f"fake_plugin_{tmp_path.name}"
    (tmp_path / f"{module}.py").write_text(PLUGIN.format(module=module))
    info = tmp_path / "fake_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-plugin\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield info / "entry_points.txt"
    sys.modules.pop(module, None)


def declare(entry_points: Path, name: str) -> None:
    installed.cache_clear()
    module = f"fake_plugin_{entry_points.parents[1].name}"
    entry_points.write_text(f"[{zoo.GROUP}]\nfake = {module}:{name}\n")


@pytest.mark.parametrize(("attribute", "added"), [("one", ["theirs"]), ("several", ["theirs", "theirs-too"])])
def test_an_installed_package_adds_models(plugin: Path, attribute: str, added: list[str]) -> None:
    declare(plugin, attribute)
    assert zoo.names() == [*(card.name for card in CARDS), *added]
    assert zoo.available("theirs") == (True, "")
    segmenter = zoo.load("theirs")
    assert (segmenter.name, segmenter.checkpoint_sha256, segmenter.custom) == ("theirs", None, False)
    assert len(segmenter.embed([image(40, 40)])) == 1


@pytest.mark.parametrize(
    ("attribute", "said"),
    [
        ("taken", "the model name 'sam-vit-b' of entry point '.*:taken' is taken"),
        ("wrong", "is a str: it must be a ModelCard"),
        ("absent", "cannot be loaded .*: mend or uninstall"),
        ("raises", "cannot be loaded .*ZeroDivisionError.*: mend or uninstall"),
        ("leaves", "cannot be loaded .*SystemExit.*: mend or uninstall"),
    ],
)
def test_a_faulty_package_is_named_and_costs_no_other_model(plugin: Path, attribute: str, said: str) -> None:
    declare(plugin, attribute)
    assert zoo.names() == [card.name for card in CARDS]
    (sentence,) = zoo.broken_plugins()
    assert re.search(said, sentence)
    assert zoo.card("sam-vit-b") in CARDS
    with pytest.raises(BenchError, match=f"unknown model 'theirs'.*{said}"):
        zoo.card("theirs")


def test_all_committed_weights_are_less_than_20_mb_and_every_committed_run_has_its() -> None:
    """A clone stays small; what is missing would be noticed by whoever runs its table."""
    folder = Path(zoo.__file__).parent / "weights"
    found = {path.stem: path.stat().st_size for path in folder.rglob("*.safetensors")}
    assert found.keys() == {name for name, run in RUNS.items() if run.committed}
    assert all(packaged_weights(name).is_file() for name in found)
    assert sum(found.values()) < 20_000_000
