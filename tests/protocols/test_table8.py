"""Table 8: timed here, beside the paper's numbers, and never mistaken for them."""

import numpy as np
import pytest

from models import speed, zoo
from models.errors import BenchError
from protocols import table8
from protocols.results import TableResult
from tests.protocols.fakes import settings


def fake(segmenter, photo, box):
    """Measured in no time: a tenth of a second for the whole, plus the number of the model's letters."""
    whole = np.array([0.1, 0.1, 0.2, 0.1, 0.1])
    parts = {part: whole / 10 for part in ("encoder", "decoder", "masks", "post")}
    return speed.Speed({**parts, "whole": whole}, 10_000_000 * len(segmenter.name), 3_000_000_000, 0)


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "measure", fake)
    return lambda **asked: table8.make(table8, settings(tmp_path, **asked))


def test_rows_are_the_paper_s_with_its_numbers_beside_ours(make):
    result = make(scale="micro")
    assert [row.label for row in result.rows] == ["SAM", "EfficientSAM-Ti", "EfficientSAM-S"]
    assert [row.model for row in result.rows] == ["sam-micro", "efficientsam-ti-micro", "efficientsam-s-micro"]
    cell = result.cell("EfficientSAM-Ti", "images_per_s")
    assert (cell.paper, cell.measured, cell.low, cell.high) == (54, pytest.approx(10), pytest.approx(10), 10)
    assert result.cell("SAM", "params_m").paper == 636
    assert result.cell("SAM", "params_m").measured == pytest.approx(90)
    assert not result.comparable
    assert TableResult.from_json(result.to_json()) == result


def test_a_part_that_a_model_does_not_have_is_said_not_to_be_timed(make):
    cell = make(scale="micro").cell("SAM", "batch")
    assert (cell.status, cell.measured) == ("not supported", None)


def test_ratios_of_the_paper_s_text_stand_beside_those_of_its_table_and_ours(make):
    (line,) = [note for note in make(scale="micro").footnotes if note.startswith("EfficientSAM-Ti / SAM")]
    assert line.endswith("the paper's text says about 27 times as fast, its table gives 27.0; here 1.0")


def test_named_models_are_timed_beside_the_rows_that_are_not(make):
    result = make(scale="micro", models=("mobilesam-micro", "EfficientSAM-S"))
    assert [(row.label, row.kind) for row in result.rows][-1] == ("mobilesam-micro", "extra")
    assert result.cell("SAM", "images_per_s").status == "not requested"
    assert result.cell("EfficientSAM-S", "images_per_s").status == "measured"
    assert result.cell("mobilesam-micro", "images_per_s").paper is None


def test_full_size_models_need_no_weights_and_say_so(make, monkeypatch):
    monkeypatch.setattr(zoo, "available", lambda name: (False, "not here"))
    asked = []

    def untrained(name, *, device):
        asked.append(name)
        model = type("Model", (), {"name": name})
        return model()

    monkeypatch.setattr(zoo, "untrained", untrained)
    result = make(scale="paper")
    assert asked == ["sam-vit-h", "efficientsam-ti", "efficientsam-s"]
    assert all("random weights" in row.note for row in result.rows)


def test_an_unknown_model_is_named_with_the_nearest_one(make):
    with pytest.raises(BenchError, match="mobilesam"):
        make(models=("mobilsam",))


def test_micro_scale_end_to_end_times_every_part(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "ENOUGH", 0.0)
    result = table8.make(table8, settings(tmp_path, scale="micro", models=("EfficientSAM-Ti",)))
    timed = [cell for cell in result.cells if cell.row == "EfficientSAM-Ti"]
    assert {cell.status for cell in timed} == {"measured"}
    assert all(cell.measured > 0 for cell in timed)
    assert set(result.provenance["seconds"]["EfficientSAM-Ti"]) >= {"pre", "encoder", "decoder", "whole"}
