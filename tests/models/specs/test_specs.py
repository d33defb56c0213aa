"""Names PREFIX:REST become models wherever the name of one is taken."""

import json
import sys

import pytest

from bench import __main__ as front_door
from models import specs, zoo
from models.errors import BenchError
from tests.models.recipe import image
from tests.models.specs import toys


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(specs.PREFIXES, "toy", toys.PREFIX)


@pytest.fixture
def bench(toy, tmp_path, monkeypatch, capsys):
    """Run a command in a folder of its own and return what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["bench", *words])
        front_door.main()
        return capsys.readouterr()

    return run


def test_a_spec_is_loaded_by_its_name_and_says_what_decides_its_answers(toy):
    segmenter = zoo.load("toy:99")
    assert (segmenter.name, segmenter.custom, segmenter.identity) == ("toy:99", False, {"grey": 99})
    assert zoo.available("toy:99") == (True, "")
    assert zoo.modules("toy:99") == ["tests.models.specs.toys"]
    assert segmenter.embed([image(4, 6)])[0].features.shape == (1, 4, 6)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("foo:1", r"no model is called 'foo:1': a name with a colon is .*toy:GREY"),
        ("toy:", "'toy:' names no model: write toy:GREY"),
        ("toy:x", "'toy:x' is no grey: write toy:128"),
    ],
)
def test_a_spec_that_names_no_model_gets_a_sentence(toy, name, said):
    with pytest.raises(BenchError, match=said):
        zoo.card(name)


def test_where_no_spec_means_anything_that_is_said():
    with pytest.raises(BenchError, match="models of this table have no colon in their names"):
        specs.card("toy:1", ())


def test_a_spec_takes_no_checkpoint(toy, tmp_path):
    with pytest.raises(BenchError, match="says itself where its weights are"):
        zoo.load("toy:1", checkpoint=tmp_path / "mine.pt")


def test_the_row_of_a_spec_is_an_extra_one_and_goes_on_where_it_was(bench, tmp_path):
    asked = ("run", "table4", "--scale", "micro", "--models", "toy:99", "toy:120", "--limit", "2")
    printed = bench(*asked)
    assert "toy:120" in printed.out
    result = json.loads((tmp_path / "reports/out/table4.json").read_text())
    assert [(row["label"], row["kind"]) for row in result["rows"][-2:]] == [("toy:99", "extra"), ("toy:120", "extra")]
    assert result["provenance"]["models"]["toy:99"]["grey"] == 99
    assert "toy:99 on coco: 2 of 2 images from run" in bench(*asked).err


def test_a_photo_is_segmented_by_a_spec(bench, tmp_path):
    from PIL import Image

    Image.fromarray(image(40, 60)).save(tmp_path / "photo.png")
    assert "toy:99" in bench("segment", "photo.png", "--model", "toy:99", "--box", "2", "2", "30", "30").out


def test_a_spec_is_timed_beside_the_paper_s_rows(bench, tmp_path):
    assert "toy:99" in bench("run", "table8", "--scale", "micro", "--models", "toy:99").out


def test_the_list_tells_the_forms(bench):
    assert "toy:GREY, what is darker" in bench("list").out
