"""A gallery's files: they hold what they are given, stay small, and no text leaves its place."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from models.errors import BenchError
from reports.gallery import LONGEST_TEXT, write_gallery
from tests.reports.gallery_files import HOSTILE, head, photos, pieces, rows

MB = 1_000_000
OF_COCO = 36_781
"""Annotations of COCO val2017."""


def test_the_pieces_hold_exactly_the_instances(tmp_path: Path) -> None:
    given = list(photos(30, 40, sides=2))
    write_gallery(head(2), given, tmp_path)
    found = rows(tmp_path)
    expected = [(photo, one) for photo in given for one in photo.instances]
    assert len(found) == len(expected)
    for row, (photo, one) in zip(found, expected, strict=True):
        assert (row["image_id"], row["annotation_id"]) == (photo.id, one.object_id)
        assert (row["category_id"], row["size"], row["prompt"]) == (one.category_id, one.size, one.prompt)
        assert row["iou"] == [answer.iou for answer in one.answers]
        assert row["predicted_iou"] == [answer.predicted_iou for answer in one.answers]
        assert (row["truth"], row["counts"]) == (one.truth, [answer.counts for answer in one.answers])
        assert row["points"] == [value for point in one.points for value in point]
    assert len(pieces(tmp_path)["masks"]) > 1


def test_a_gallery_of_all_of_coco_is_small_pieces_and_a_smaller_page(tmp_path: Path) -> None:
    given = list(photos(OF_COCO // 9 + 1, 9, sides=2))
    total = sum(len(photo.instances) for photo in given)
    assert total >= OF_COCO
    page = write_gallery(head(2), given, tmp_path)
    assert len(rows(tmp_path)) == total
    assert page.stat().st_size + (tmp_path / "pieces" / "head.js").stat().st_size < MB / 10
    assert max(path.stat().st_size for path in (tmp_path / "pieces").iterdir()) < MB


def test_hostile_names_are_text(tmp_path: Path) -> None:
    page = write_gallery(head(categories=HOSTILE), photos(2, 10, categories=len(HOSTILE)), tmp_path)
    names = pieces(tmp_path)["head"][0]["categories"].values()
    assert next(iter(names)) == HOSTILE[0]
    assert max(map(len, names)) <= LONGEST_TEXT
    assert not any(re.search("[\x00-\x1f\u2028\u202e]", name) for name in names)
    text = page.read_text(encoding="utf-8")
    assert text.count("<script>") == 1
    assert "struck" not in text


def test_hostile_titles_facts_and_commands_are_escaped(tmp_path: Path) -> None:
    whole = " ".join(HOSTILE[:3])
    hostile = replace(
        head(), title=whole, sides=(whole,), facts=((whole, whole),), notes=(whole,), command=whole, estimate=whole
    )
    text = write_gallery(hostile, photos(1, 2), tmp_path).read_text(encoding="utf-8")
    assert text.count("<script>") == 1
    assert "<img" not in text
    assert "\x1b" not in text


def test_a_smaller_gallery_leaves_no_pieces_of_a_larger_one(tmp_path: Path) -> None:
    write_gallery(head(), photos(60, 40), tmp_path)
    write_gallery(head(), photos(1, 3), tmp_path)
    assert len(rows(tmp_path)) == 3


def test_a_page_of_another_kind_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>mine")
    with pytest.raises(BenchError, match="is a page of another kind, which would be lost: choose another folder"):
        write_gallery(head(), photos(1, 1), tmp_path)
    assert (tmp_path / "index.html").read_text() == "<p>mine"
