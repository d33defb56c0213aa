"""`bench gallery`: what it writes, says and refuses."""

import os

import pytest

from bench.cli.gallery import gallery
from bench.store.stored import find_run
from models.errors import BenchError
from tests.bench.cli.test_compare import root
from tests.reports.gallery_files import rows

__all__ = ["root"]


def test_a_gallery_holds_the_run_and_its_photos(root, capsys):
    gallery("small")
    out = root / "reports/out/gallery-table4-coco-small"
    records = find_run("table4/small/coco").records()
    keys = ["annotation_id", "prompt", "iou"]
    expected = sorted(tuple(one[key] for key in keys) for one in records.to_dict("records"))
    assert sorted((one["annotation_id"], one["prompt"], one["iou"][0]) for one in rows(out)) == expected
    assert len(list((out / "photos").glob("*.webp"))) == 6
    said = capsys.readouterr().err
    assert "masks of small (" in said  # no zoo knows the models of tests
    assert f"wrote {out.relative_to(root)}/index.html, 36 instances" in said


def test_pictures_of_photos_are_made_once(root):
    gallery("small", out=root / "out", masks=0)
    (first, *_) = sorted((root / "out/photos").iterdir())
    os.utime(first, (1, 1))
    gallery("small", "large", out=root / "out", masks=0)
    assert first.stat().st_mtime == 1
    assert {len(one["iou"]) for one in rows(root / "out")} == {2}


def test_a_gallery_without_masks_says_how_to_get_them(root):
    gallery("small", out=root / "out", masks=3)
    page = (root / "out/index.html").read_text()
    assert "models were asked again about 3 of 36 instances, --masks N asks about more" in page


def test_detections_come_with_their_masks(root):
    gallery("table5/small", out=root / "out")
    records = find_run("table5/small/coco").records()
    assert sorted(one["counts"][0] for one in rows(root / "out")) == sorted(records["counts"])
    assert "hold no masks" not in (root / "out/index.html").read_text()


def test_a_photo_that_cannot_be_read_is_said_and_its_numbers_stay(root, capsys):
    photo = next((root / "data").rglob("*.png"))
    photo.write_bytes(b"no picture")
    gallery("small", out=root / "out", masks=0)
    assert len(rows(root / "out")) == 36
    assert "not shown: " in capsys.readouterr().err


@pytest.mark.parametrize("option", [{"limit": 0}, {"masks": -1}])
def test_wrong_numbers_are_refused(root, option):
    with pytest.raises(BenchError, match="must be at least"):
        gallery("small", **option)


def test_what_is_unfinished_or_foreign_is_refused_in_one_sentence_and_writes_nothing(root):
    run = find_run("table4/small/coco")
    run.paths[0].unlink()
    with pytest.raises(BenchError, match=r"lacks 1 of \d+ shards"):
        gallery(run.fingerprint, out=root / "out")
    (root / "foreign").mkdir()
    (root / "foreign/run.json").write_text("[]")
    with pytest.raises(BenchError, match=r"run\.json"):
        gallery(str(root / "foreign"), out=root / "out")
    with pytest.raises(BenchError, match="has no finished run of 'table4/nobody/coco'"):
        gallery("nobody", out=root / "out")
    assert not (root / "out").exists()
