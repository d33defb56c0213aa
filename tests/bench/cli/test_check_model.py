"""`bench check-model`: what it prints, its exit code, and that its hours are images and prompts times their cost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench import __main__ as front_door
from bench.cli.check_model import estimates
from bench.data.catalog import COCO, LVIS
from models import zoo
from models.checks import cost
from models.checks.run import CHECKS, IMAGES
from models.checks.verdict import ok
from protocols import table5
from protocols.axes import PAPER
from tests.models.checks.toys import Boxes, Reading


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run `bench check-model` on a toy model; return its exit code and what it printed and said."""
    monkeypatch.setattr(cost, "SIZES", ((1, 1), (40, 30), (5, 7), (3, 3), (9, 9)))

    def run(model: object, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(zoo, "load", lambda name, **given: model)
        code = front_door._run(["check-model", "efficientsam-ti-micro", *arguments])
        return code, *capsys.readouterr()

    return run


def test_each_verdict_is_one_line_and_all_ok_is_exit_code_0(bench) -> None:
    code, printed, said = bench(Boxes())
    assert code == 0, said
    _, *lines, summary = printed.splitlines()
    names = [check.name for check in CHECKS]
    names += [f"table{number} on {data}" for number in (4, 5) for data in ("coco", "lvis")]
    names += ["clicks on coco", "robustness on coco"]
    assert [line.partition("  ")[0].strip() for line in lines] == names
    assert summary == f"efficientsam-ti-micro: {len(names)} ok"
    assert f"{IMAGES}/{IMAGES} images" in said


def test_one_wrong_verdict_is_exit_code_1_and_json_has_the_same(bench) -> None:
    model = Reading(lambda points, size: points[..., ::-1])
    code, printed, _ = bench(model, "--json")
    assert code == 1
    found = {one["check"]: one for one in json.loads(printed)}
    assert {name for name, one in found.items() if one["verdict"] == "wrong"} == {"boxes", "clicks"}
    assert "x and y are swapped" in found["boxes"]["said"]
    assert found["boxes"]["values"]["best_other"] == pytest.approx(1)
    code, printed, _ = bench(model)
    assert code == 1
    assert "2 wrong" in printed.splitlines()[-1]


def test_an_unknown_model_is_refused_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert front_door._run(["check-model", "sam-mikro"]) == 1
    assert "did you mean 'sam-micro'" in capsys.readouterr().err


def test_hours_are_images_and_prompts_times_their_cost() -> None:
    found = estimates(ok("", seconds_an_image=3.6, seconds_a_prompt=0.0))
    assert found["table4 on coco"].values["hours"] == pytest.approx(COCO.n_images / 1000)
    assert found["table5 on lvis"].values["hours"] == pytest.approx(LVIS.n_images / 1000)
    found = estimates(ok("", seconds_an_image=0.0, seconds_a_prompt=3.6))
    assert found["table4 on lvis"].values["hours"] == pytest.approx(LVIS.n_annotations * 3 / 1000)
    assert found["table5 on coco"].values["hours"] == pytest.approx(COCO.n_images * 100 / 1000)
    assert estimates(ok("not measured")) == {}


def test_table5_counts_what_a_detector_keeps() -> None:
    assert table5.count_prompts(LVIS, PAPER) == 300 * LVIS.n_images
    assert table5.count_prompts(COCO, replace(PAPER, refinement=1)) == 200 * COCO.n_images
