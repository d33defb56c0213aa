"""Results whose rows are places on an axis, drawn as curves; verdicts with p-values in every form."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes

from protocols.results import Cell, Column, Comparison, Row, TableResult
from reports.dataframe import to_frame
from reports.html import to_html
from reports.latex import to_latex
from reports.markdown import to_markdown
from reports.plot import draw
from reports.terminal import print_table

X = (0.1, 1.0, 5.0)
ROWS = ("0.1 epochs", "1 epoch", "5 epochs")
VALUES = (0.61, 0.64, 0.65)


@pytest.fixture
def curve() -> TableResult:
    columns = (Column("EfficientSAM-Ti", "EfficientSAM-Ti", "COCO"), Column("EfficientSAM-S", "EfficientSAM-S", "COCO"))
    measured = [
        Cell(row, "EfficientSAM-Ti", "measured", None, value, value - 0.01, value + 0.02, 60)
        for row, value in zip(ROWS, VALUES, strict=True)
    ]
    untrained = [Cell(row, "EfficientSAM-S", "not trained yet", why="train it") for row in ROWS]
    untrained[-1] = replace(untrained[-1], paper=0.769)
    return TableResult(
        name="figure7",
        title="Epochs of finetuning",
        scale="micro",
        world="dead leaves",
        comparable=False,
        preset="",
        columns=columns,
        rows=tuple(Row(row, None) for row in ROWS),
        cells=(*measured, *untrained),
        comparisons=(
            Comparison("1 epoch", "0.1 epochs", "EfficientSAM-Ti", 0.025, 0.03, -0.01, 0.07, "not decided (p = 0.31)"),
            Comparison("1 epoch", "0.1 epochs", "EfficientSAM-S", 0.025, None, None, None, "not measured"),
        ),
        command="python -m bench run figure7",
        interval="95 % interval over training seeds and images",
        pairing="paired over the same seeds and images",
        row_head="finetuning",
        x=X,
    )


def of_gid(axes: Axes, gid: str):
    return [artist for artist in axes.get_children() if artist.get_gid() == gid]


def test_a_curve_goes_through_its_numbers_with_a_band_at_its_interval(curve: TableResult) -> None:
    first, _ = draw(curve, to_frame(curve)).axes
    (line,) = of_gid(first, "measured")
    np.testing.assert_allclose(line.get_xdata(), X)
    np.testing.assert_allclose(line.get_ydata(), [100 * value for value in VALUES])
    (band,) = of_gid(first, "interval")
    extent = band.get_paths()[0].get_extents()
    assert (extent.y0, extent.y1) == (pytest.approx(60.0), pytest.approx(67.0))


def test_the_axis_is_logarithmic_and_names_its_places(curve: TableResult) -> None:
    first, _ = draw(curve, to_frame(curve)).axes
    assert first.get_xscale() == "log"
    assert [tick.get_text() for tick in first.get_xticklabels()] == ["0.1", "1", "5"]
    assert first.get_xlabel() == "finetuning (epochs)"


def test_of_many_places_those_with_room_have_their_names(curve: TableResult) -> None:
    places = tuple(float(place) for place in range(1, 21))
    rows = tuple(Row(f"{place:g} clicks", None) for place in places)
    cells = tuple(
        Cell(row.label, column.key, "measured", None, 0.5, 0.4, 0.6, 9) for row in rows for column in curve.columns
    )
    many = replace(curve, rows=rows, cells=cells, comparisons=(), x=places)
    first, _ = draw(many, to_frame(many)).axes
    assert [tick.get_text() for tick in first.get_xticklabels() if tick.get_text()] == ["1", "2", "5", "10", "20"]
    assert len(first.get_xticklabels()) == 20


def test_the_paper_s_claims_stand_beside_and_a_missing_curve_says_why(curve: TableResult) -> None:
    first, second = draw(curve, to_frame(curve)).axes
    (words,) = of_gid(first, "paper")
    assert words.get_text() == "0.1 epochs to 1 epoch: paper +2.5, micro +3.0"
    (words,) = of_gid(second, "paper")
    assert words.get_text() == "0.1 epochs to 1 epoch: paper +2.5\npaper after 5 epochs: 76.9"
    (reason,) = of_gid(second, "reason")
    assert reason.get_text() == "untrained"
    assert not of_gid(second, "measured")


def _terminal(result: TableResult, capsys: pytest.CaptureFixture) -> str:
    print_table(result)
    return str(capsys.readouterr().out)


def test_every_form_says_what_its_intervals_are_and_gives_p_values(
    curve: TableResult, capsys: pytest.CaptureFixture
) -> None:
    frame = to_frame(curve)
    texts = {
        "terminal": _terminal(curve, capsys),
        "md": to_markdown(curve, frame),
        "tex": to_latex(curve, frame),
        "html": to_html(curve, frame, b"<svg/>"),
    }
    for form, text in texts.items():
        flat = " ".join(text.split())
        assert "p = 0.31" in flat, form
        assert "interval over training seeds and images" in flat, form
        assert "paired over the same seeds and images" in flat, form
        assert "bootstrap" not in flat, form
        assert "preset" not in flat, form
    assert "| finetuning" in texts["md"]


def test_verdicts_are_counted_whatever_their_details(curve: TableResult, capsys: pytest.CaptureFixture) -> None:
    text = _terminal(curve, capsys)
    assert "~ not decided: 1; – not measured: 1" in text
