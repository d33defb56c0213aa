"""Every planted fault is caught by the regression gate, and the code without one passes it."""

from __future__ import annotations

import pytest

from tests.mutants.gate import against, gate
from tests.mutants.mutants import ALL
from tests.protocols.fakes import settings

ASKED = {(one.tables, one.models, one.images if one.records else None): one for one in ALL.values()}
"""What is asked to see the faults, each once."""


def test_enough_faults_are_planted():
    assert len(ALL) >= 16


@pytest.mark.parametrize(("tables", "models", "limit"), ASKED)
def test_without_a_fault_the_gate_is_green(tables, models, limit, tmp_path):
    findings = gate(tables, settings(tmp_path / "runs", scale="micro", models=models, limit=limit))
    assert findings
    assert [one for one in findings if one.drifted] == []


@pytest.mark.parametrize("name", [name for name, one in ALL.items() if one.records])
def test_a_fault_in_what_models_are_asked_or_answer_is_caught_by_records(name, tmp_path):
    findings = against(ALL[name], tmp_path, limit=ALL[name].images)
    assert any(one.drifted for one in findings), [one.said for one in findings]


@pytest.mark.parametrize("name", [name for name, one in ALL.items() if not one.records])
def test_a_fault_in_what_is_made_of_records_is_caught_by_means_alone(name, tmp_path):
    findings = against(ALL[name], tmp_path, limit=None)
    assert {one.level for one in findings if one.drifted} == {"mean"}
