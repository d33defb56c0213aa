"""Every planted fault is caught by the regression gate, and the code without one passes it."""

from __future__ import annotations

import pytest

from protocols import table2, table5
from tests.mutants.gate import Asked, against, green
from tests.mutants.mutants import ALL

ASKED = sorted({Asked(one.tables, one.models, one.images) for one in ALL.values()}, key=str)
"""What is asked to see the faults, each once."""


@pytest.fixture(autouse=True)
def _no_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks at intervals here."""
    for table in (table2, table5):
        monkeypatch.setattr(table, "REPLICATES", 2)


def test_enough_faults_are_planted():
    assert len(ALL) >= 16


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_without_a_fault_the_gate_is_green(asked):
    findings = green(asked)
    assert {one.level for one in findings} == {"mean", "records"}
    assert [one for one in findings if one.drifted] == []


@pytest.mark.parametrize("name", [name for name, one in ALL.items() if one.records])
def test_a_fault_in_what_models_are_asked_or_answer_is_caught_by_records(name, tmp_path):
    findings = against(ALL[name], tmp_path, limit=ALL[name].images)
    assert any(one.drifted and one.level == "records" for one in findings), [one.said for one in findings]


@pytest.mark.parametrize("name", [name for name, one in ALL.items() if not one.records])
def test_a_fault_in_what_is_made_of_records_is_caught_by_means_alone(name, tmp_path):
    findings = against(ALL[name], tmp_path, limit=ALL[name].images)
    assert {one.level for one in findings if one.drifted} == {"mean"}
