"""Figure 1: Table 5's AP beside throughput that is timed now."""

import pytest

from protocols import figure1, table5, table8
from protocols.results import Cell, Row, TableResult
from tests.protocols.fakes import settings

MEASURED = {"SAM": "sam-micro", "EfficientSAM-Ti": "efficientsam-ti-micro", "ViTDet-H": "detector"}
SPEC, FILE = "hf:theirs/sam", "masks:theirs.json"


def accuracy() -> TableResult:
    """Table 5 with three rows measured, one of them no network, one not asked, and a bound."""
    rows = (
        *(Row(label, model) for label, model in MEASURED.items()),
        Row("FastSAM", None),
        *(Row(name, name, "extra") for name in (SPEC, FILE)),
        Row("floor", "floor", "bound"),
    )
    cells = [
        Cell(row.label, column.key, "measured", None, 0.3, 0.2, 0.4, 9)
        if row.model
        else Cell(row.label, column.key, "quoted")
        for row in rows
        for column in table5.COLUMNS
    ]
    return TableResult(
        "table5",
        "t",
        "micro",
        "dead leaves",
        False,
        "paper",
        table5.COLUMNS,
        rows,
        tuple(cells),
        footnotes=("12 images",),
    )


@pytest.fixture
def make(tmp_path, monkeypatch):
    timed = []

    def time_models(models, asked):
        timed.append(dict(models))
        return {row: (50.0, 40.0, 60.0, 7) for row in models}, {"SAM": {"whole": [0.02]}}, {"tf32": False}

    monkeypatch.setattr(figure1, "make_tables", lambda tables, asked: [accuracy()])
    monkeypatch.setattr(table8, "time_models", time_models)
    result = figure1.make(figure1, settings(tmp_path, scale="micro"))
    return result, timed


def test_every_measured_network_of_table_5_is_timed_and_nothing_else(make):
    result, (timed,) = make
    assert timed == {SPEC: SPEC} | {row: model for row, model in MEASURED.items() if row != "ViTDet-H"}
    assert [row.label for row in result.rows] == ["SAM", "EfficientSAM-Ti", "FastSAM", SPEC]


def test_throughput_and_ap_stand_beside_the_paper_s(make):
    result, _ = make
    speed, ap = (result.cell("EfficientSAM-Ti", key) for key in ("images_per_s", "coco_ap"))
    assert (speed.paper, speed.measured, speed.low, speed.high, speed.n) == (54, 50, 40, 60, 7)
    assert (ap.paper, ap.measured) == (0.423, 0.3)
    assert result.cell("FastSAM", "images_per_s").status == "not requested"
    assert result.cell("FastSAM", "coco_ap").paper == pytest.approx(0.379)


def test_the_result_says_what_it_rests_on_and_comes_back_from_json(make):
    result, _ = make
    assert result.against == "images_per_s"
    assert "12 images" in result.footnotes
    assert result.provenance["timing"]["seconds"] == {"SAM": {"whole": [0.02]}}
    assert TableResult.from_json(result.to_json()) == result
