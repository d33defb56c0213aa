"""`bench calibrate` as typed: the plan, what is not here, what is broken, and the exit codes that tell them apart."""

import json
import sys

import pytest
from safetensors.torch import load_file, save_file

from bench import __main__ as front_door
from models import zoo


@pytest.fixture
def typed(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "weights"))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", "calibrate", *arguments])
        try:
            front_door.main()
            code = 0
        except SystemExit as leave:
            code = int(leave.code or 0)
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def wrong(tmp_path):
    path = tmp_path / "mine.safetensors"
    state = load_file(str(zoo.card("sam-micro").filename))
    save_file({name: value.clone() + (value.is_floating_point()) for name, value in state.items()}, str(path))
    return f"sam-micro={path}"


def test_the_plan_lists_rungs_with_numbers_and_sources_and_measures_nothing(typed):
    code, printed, _ = typed("--plan")
    assert code == 0
    assert "masks-coco: detector, table5 coco_ap, protocol paper: 51 within 0.1" in printed
    assert "sam-b-multimask: sam-vit-b, table5 coco_ap, protocol tinysam: 43.4 within 0.3 (TinySAM's README" in printed
    _, printed, _ = typed("--plan", "--json", "sam-h-click")
    (one,) = json.loads(printed)
    assert one["reference"][0] == 58.42


def test_where_nothing_is_here_nothing_is_measured_and_the_exit_code_says_so(typed):
    code, printed, _ = typed("weights-sam-b", "masks-coco", "sam-b-click")
    assert code == 3
    lines = printed.splitlines()
    assert [line.split()[:2] for line in lines] == [["not", "here"]] * 3
    assert "bench weights fetch sam-vit-b" in lines[0]
    assert "bench data fetch" in lines[1]


def test_a_rung_that_holds_ends_with_0_and_one_that_is_broken_with_1(typed, wrong):
    code, printed, _ = typed("--scale", "micro", "weights-sam-micro", "weights-ti-micro")
    assert (code, printed.count("holds")) == (0, 2)
    code, printed, _ = typed("--scale", "micro", "weights-sam-micro", "weights-ti-micro", "--checkpoint", wrong)
    assert code == 1
    assert "BROKEN" in printed
    assert "weights-sam-micro broke before it" in printed
    assert "the weights of sam-micro; `bench weights verify`" in printed


def test_json_has_readings_and_suspects(typed, wrong):
    code, printed, _ = typed("--scale", "micro", "weights-sam-micro", "--checkpoint", wrong, "--json", "--go-on")
    (told,) = json.loads(printed)
    assert code == 1
    assert told["readings"][0]["status"] == "broken"
    assert told["suspects"][0]["decision"] == "weights sam-micro"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--limit", "3"], "--limit is for --scale micro"),
        (["masks-cocoo"], "masks-coco"),
        (["--data", "nowhere"], "there is no folder 'nowhere'"),
        (["--engine", "fast"], "the fast engine is for exploration"),
    ],
)
def test_bad_input_is_one_sentence(typed, arguments, said):
    code, _, err = typed(*arguments)
    assert code not in (0, 3)
    assert said in " ".join(err.split())
    assert "Traceback" not in err
