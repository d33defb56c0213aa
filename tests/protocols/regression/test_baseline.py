import json

import numpy as np
import pytest

from models.errors import BenchError
from protocols import predictors, run, table4
from protocols.regression.baseline import take_baseline
from protocols.regression.gate import compare
from protocols.regression.tolerances import read_tolerances
from protocols.table import make_tables
from tests.protocols.fakes import settings


@pytest.fixture
def made(tmp_path):
    """Settings whose store holds a run of the floor on two images of COCO and LVIS each."""
    how = settings(tmp_path / "runs", limit=2)
    make_tables([table4], settings(tmp_path / "runs", scale="micro", models=("floor",), limit=2))
    return settings(tmp_path / "runs"), how.store.root


def drifted(name, how):
    return {(one.level, one.column) for one in compare(*take_baseline(name, how), read_tolerances()) if one.drifted}


def test_a_run_is_compared_with_itself_where_nothing_has_changed(made):
    how, _ = made
    said = []
    assert drifted("table4/floor/coco", settings(how.store.root, say=said.append)) == set()
    assert any("compared with itself" in line for line in said)


def test_changed_code_is_asked_the_same_again_and_its_drift_is_seen(made, monkeypatch):
    how, _ = made
    monkeypatch.setattr(run, "code_digest", lambda roots: "changed")
    assert drifted("table4/floor/coco", how) == set()
    monkeypatch.setattr(run, "code_digest", lambda roots: "changed again")
    own = predictors.fill_box
    monkeypatch.setattr(predictors, "fill_box", lambda box, size: own(np.add(box, [0, 0, 20, 20]), size))
    assert drifted("table4/floor/coco", how) == {("mean", "coco_box"), ("records", "coco_box")}


def test_a_run_of_an_older_version_and_one_about_other_data_are_refused(made, monkeypatch):
    how, _ = made
    monkeypatch.setattr(table4, "VERSION", table4.VERSION + 1)
    with pytest.raises(BenchError, match="version"):
        take_baseline("table4/floor/coco", how)
    monkeypatch.undo()
    _renamed(how.store.root)
    with pytest.raises(BenchError, match="not here as they were"):
        take_baseline("table4/floor/coco", how)


def _renamed(root):
    """Let the runs of the store be about an annotation file of another hash."""
    from bench.store.identity import fingerprint

    for path in list(root.glob("*/run.json")):
        content = json.loads(path.read_text())
        content["identity"]["data"]["sha256"] = "0" * 64
        content["fingerprint"] = fingerprint(content["identity"])
        path.write_text(json.dumps(content))
        path.parent.rename(root / content["fingerprint"])
