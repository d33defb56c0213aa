"""`bench segment`: the files it writes, what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import __main__ as front_door
from bench.data.dead_leaves.scene import draw_scene
from models import zoo
from models.annotations import annotation, answer, decode
from models.engines.float32 import engine
from models.everything.segment import Settings, segment_everything
from models.segmenter import Prompts

CONFIDENT = ("--points-per-side", "6", "--pred-iou-thresh", "0.4", "--stability-score-thresh", "0.5")
SETTINGS = Settings(points_per_side=6, pred_iou_thresh=0.4, stability_score_thresh=0.5)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "leaves.png"
    Image.fromarray(draw_scene(1, 0).image[:200]).save(path)
    return path


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run `bench segment`; return its exit code and what it printed and said."""
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "weights"))

    def run(*arguments: object) -> tuple[int, str, str]:
        code = front_door._run(["segment", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def records(path: Path) -> list[dict]:
    return json.loads(path.read_text())


def test_without_a_prompt_everything_is_written_beside_the_photo(bench, photo: Path) -> None:
    code, printed, said = bench(photo, *CONFIDENT)
    assert code == 0, said
    found = records(photo.with_name("leaves.segments.json"))
    image = np.array(Image.open(photo))
    with engine(exact=True):
        assert found == segment_everything(zoo.load("efficientsam-ti-micro"), image, SETTINGS)
    assert len(found) >= 3
    drawn = np.array(Image.open(photo.with_name("leaves.segments.png")))
    painted = np.any([decode(one["segmentation"]) for one in found], axis=0)
    np.testing.assert_array_equal((drawn != image).any(-1), painted)
    assert "efficientsam-ti-micro, a stand-in, since no published weights are here" in said
    assert "36/36 points" in said
    line = next(line for line in printed.splitlines() if "256 x 200 px" in line)
    assert line.split()[-4:-2] == ["efficientsam-ti-micro", str(len(found))]
    assert [line for line in printed.splitlines() if line.startswith("wrote")] == [
        f"wrote {photo.with_name(f'leaves.segments.{suffix}')}" for suffix in ("png", "json")
    ]


def test_each_box_and_each_set_of_clicks_gets_its_mask_under_out(bench, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    given = ["--box", 10, 20, 90, 80, 100, 20, 200, 150, "--box", 5, 5, 50, 50, "--points", 40.5, 60]
    given += ["--points", 30, 30, 120, 100, "--labels", 1, "--labels", 1, 0]
    code, _, said = bench(photo, "--model", "sam-micro", "--out", out, *given)
    assert code == 0, said
    segmenter = zoo.load("sam-micro")
    (embedding,) = segmenter.embed([np.array(Image.open(photo))])
    boxes = Prompts.from_boxes([[10, 20, 90, 80], [100, 20, 200, 150], [5, 5, 50, 50]])
    clicks = [Prompts([[[40.5, 60]]], [[1]]), Prompts([[[30, 30], [120, 100]]], [[1, 0]])]
    expected = [one for prompts in (boxes, *clicks) for one in answer(segmenter, embedding, prompts)]
    found = records(out / "leaves.segments.json")
    assert [one["point_coords"] for one in found] == [one["point_coords"] for one in expected]
    for got, want in zip(found, expected, strict=True):
        assert np.count_nonzero(decode(got["segmentation"]) != decode(want["segmentation"])) <= 2
    drawn = np.array(Image.open(out / "leaves.segments.png"))
    assert tuple(drawn[20, 15]) == (255, 255, 255)
    assert not photo.with_name("leaves.segments.json").exists()


def test_json_is_all_that_stdout_gets_and_an_earlier_answer_is_replaced(bench, photo: Path) -> None:
    target = photo.with_name("leaves.segments.json")
    target.write_text("old")
    code, printed, said = bench(photo, "--box", 10, 20, 90, 80, "--json")
    assert code == 0
    assert json.loads(printed) == records(target)
    assert f"wrote {target}" in said


def test_where_nothing_is_found_the_way_out_is_said(bench, photo: Path) -> None:
    code, _, said = bench(photo, "--points-per-side", 2, "--pred-iou-thresh", 0.999)
    assert code == 0
    assert records(photo.with_name("leaves.segments.json")) == []
    assert "lower --pred-iou-thresh" in said


def test_the_first_published_model_whose_weights_are_here_is_taken(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from bench.cli.segment import chosen_model

    here = {"mobilesam", "efficientsam-ti"}
    monkeypatch.setattr(zoo, "available", lambda name: (name in here, ""))
    assert chosen_model() == next(name for name in zoo.names() if name in here)
    assert "first whose published weights are here" in capsys.readouterr().err


def test_a_stability_that_is_no_number_is_null_in_every_form(bench, photo: Path, monkeypatch) -> None:
    empty = {**annotation(np.zeros((200, 256), bool)), "stability_score": float("nan")}
    monkeypatch.setattr("bench.cli.segment.find", lambda *given: [empty])
    code, printed, _ = bench(photo, "--json")
    assert code == 0
    assert json.loads(printed, parse_constant=pytest.fail)[0]["stability_score"] is None
    assert json.loads(photo.with_name("leaves.segments.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize("mode, size", [("RGB", (1, 1)), ("L", (5, 3)), ("RGBA", (2, 70))])
def test_a_photo_of_any_size_and_kind_has_an_answer(bench, tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    path = tmp_path / "odd.png"
    Image.new(mode, size).save(path)
    code, _, said = bench(path, "--points-per-side", 2, "--crop-n-layers", 1, "--pred-iou-thresh", 0, "--out", tmp_path)
    assert code == 0, said
    assert np.array(Image.open(tmp_path / "odd.segments.png")).shape == (*size[::-1], 3)


@pytest.mark.skipif(not zoo.available("fastsam-micro")[0], reason="FastSAM needs ultralytics")
def test_fastsam_gives_its_own_masks_and_takes_no_grid(bench, photo: Path) -> None:
    code, _, said = bench(photo, "--model", "fastsam-micro")
    assert code == 0, said
    found = records(photo.with_name("leaves.segments.json"))
    masks = zoo.load("fastsam-micro").everything(np.array(Image.open(photo)))
    assert [decode(one["segmentation"]).tolist() for one in found] == masks.tolist()
    code, _, said = bench(photo, "--model", "fastsam-micro", "--points-per-side", 8)
    assert code == 1
    assert "in one pass" in said


@pytest.mark.parametrize(
    "arguments, why",
    [
        (["--box", 1, 2, 3], "four numbers each, got 3"),
        (["--box", 0, 0, 257, 30], "is not inside the photo of 256 x 200 px"),
        (["--box", -1, 0, 20, 30], "is not inside the photo"),
        (["--box", "nan", 0, 20, 30], "is not inside the photo"),
        (["--box", 30, 0, 20, 30], "is empty"),
        (["--points", 1, 2, 3], "two numbers each, got 3"),
        (["--points", 1, 201], "is not inside the photo"),
        (["--points", "nan", 2], "is not inside the photo"),
        (["--points", 1, 2, "--labels", 2], "takes 1 or 0"),
        (["--points", 1, 2, "--labels", 1, 1], "takes 1 or 0"),
        (["--labels", 1], "1 --labels for 0 --points"),
        (["--points", 1, 2, 9, 9, "--labels", 1, 0], "takes no background points"),
        (["--everything", "--points", 1, 2], "without a prompt"),
        (["--points", 1, 2, "--points-per-side", 4], "are about everything"),
        (["--points-per-side", 0], "points_per_side must be at least 1"),
        (["--model", "sam-vit"], "unknown model 'sam-vit'"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_sentence(bench, photo: Path, arguments, why: str) -> None:
    code, printed, said = bench(photo, *arguments)
    assert code == 1
    assert why in said
    assert not printed
    assert list(photo.parent.glob("*.segments.*")) == []


def test_what_is_no_photo_is_refused(bench, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photo")
    for path, why in (
        (broken, "broken or cut short"),
        (tmp_path / "none.jpg", "there is no photo"),
        (tmp_path, "no photo"),
    ):
        code, _, said = bench(path)
        assert code == 1
        assert why in said


def test_a_place_that_cannot_be_written_is_named(bench, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, said = bench(photo, "--box", 1, 2, 30, 40, "--out", tmp_path / "file")
    assert code == 1
    assert "file" in said
