"""docs/performance.md shows what was measured, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import report

    return report


def test_the_figures_of_the_page_are_those_of_the_results(report, tmp_path, monkeypatch) -> None:
    page = tmp_path / "performance.md"
    page.write_text(report.PAGE.read_text())
    monkeypatch.setattr(report, "PAGE", page)
    report.main()
    assert page.read_text() == (ROOT / "docs" / "performance.md").read_text()


def test_nested_figures_become_columns_and_where_they_were_written_is_left_out(report, tmp_path, monkeypatch) -> None:
    made = {
        "argv": ["python", "speed.py", "--rounds", "2", "--out", "/home/ann/speed.json"],
        "date": "2026-01-02T03:04:05+00:00",
        "hardware": {"cpu": "CPU", "usable_cores": 2},
        "threads": {"torch": 2},
        "versions": {"torch": "2"},
    }
    figures = {"coco": {"steps": [{"step": "read", "ask": {"wall": 0.123456, "cpu": 1234.5}}, {"step": "none"}]}}
    (tmp_path / "speed.json").write_text(json.dumps({"figures": figures, "made_with": made}))
    shown = report._section(tmp_path / "speed.json")
    assert shown == (
        "\n### speed\n\n`python benchmarks/speed.py --rounds 2` on 2026-01-02: CPU, 2 cores, 2 threads, torch 2.\n"
        "\ncoco, steps:\n\n| step | ask wall | ask cpu |\n| --- | --- | --- |\n"
        "| read | 0.123 | 1,234 |\n| none |  |  |\n"
    )
