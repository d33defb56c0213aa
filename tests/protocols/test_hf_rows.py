"""Every family of hf: has its row in Table 4, on photos, with tiny random weights."""

import pytest

from protocols import table4
from protocols.table import make_tables
from tests.protocols.fakes import settings

pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
from tests.models.specs import tiny

PHOTOS = 5


def test_every_family_of_hf_has_its_row_in_table_4(shared, tmp_path):
    models = []
    for family in tiny.CONFIGS:
        tiny.save(family, tmp_path / family)
        models.append(f"hf:{tmp_path / family}")
    columns = [column.key for column in table4.COLUMNS]
    asked = settings(
        tmp_path / "runs",
        scale="auto",
        data_root=shared / "samples",
        models=tuple(models),
        limit=PHOTOS,
    )
    (result,) = make_tables([table4], asked)
    assert [row.label for row in result.rows if row.kind == "extra"] == models
    cells = [result.cell(model, column) for model in models for column in columns]
    assert {cell.status for cell in cells} == {"measured"}
    assert all(0 < cell.measured < 1 and cell.n > 20 for cell in cells)
    assert len({round(cell.measured, 6) for cell in cells}) > len(models), "five networks, five answers"
    told = result.provenance["models"]
    assert all(told[model]["files"]["model.safetensors"] for model in models)
