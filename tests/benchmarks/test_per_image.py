"""The benchmark of an image's time and memory, over few images."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def per_image(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import per_image

    return per_image


def test_few_and_many_images_are_measured_and_compared(per_image, tmp_path, capsys) -> None:
    measured = [
        per_image.Measured({"ask": [2.0, 3.0], "score": [0.5, 0.5]}, 1.0),
        per_image.Measured({"ask": [22.0, 33.0], "score": [1.0, 1.0]}, 1.2),
    ]
    figures = [per_image._figures("table5", n, [one]) for n, one in zip((10, 100), measured, strict=True)]
    assert figures[0] == {
        "table": "table5",
        "images": 10,
        "ask": {"wall": 200.0, "cpu": 300.0},
        "score": {"wall": 50.0, "cpu": 50.0},
        "peak_gb": 1.0,
    }
    per_image._show(figures, "toy", "wall")
    (ratios,) = (line.split() for line in capsys.readouterr().out.splitlines() if "ratio" in line)
    assert ratios == ["ratio", "1.10", "0.20", "0.92", "1.20"]


def test_a_table_is_asked_and_scored_and_its_files_are_gone(per_image, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(per_image, "_alone", per_image._measure)
    monkeypatch.setattr(per_image, "WARM_UP", 1)
    for name in ("BENCH_CACHE", *per_image.ENV):
        monkeypatch.setenv(name, "")  # main sets them; this takes them back afterwards
    out = tmp_path / "figures.json"
    per_image.main(table=("table5",), few=2, many=3, folder=tmp_path, out=out)
    figures = json.loads(out.read_text())["figures"]
    assert [one["images"] for one in figures] == [2, 3]
    for one in figures:
        assert one["ask"]["cpu"] > one["score"]["cpu"] > 0
        assert one["peak_gb"] > 0 or sys.platform != "linux"
    assert list(tmp_path.iterdir()) == [out]
