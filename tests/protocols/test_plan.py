from pathlib import Path

import pytest

from models import zoo
from models.errors import BenchError
from protocols import table4, table5
from protocols.paper import paper_table
from protocols.plan import make_plan
from tests.protocols.fakes import settings


@pytest.fixture
def plan(tmp_path, monkeypatch, use):
    """A machine with micro weights and no published ones, and a folder for data."""
    monkeypatch.setattr(zoo, "available", lambda name: (zoo.card(name).scale == "micro", f"no weights of {name}"))

    def make(table=table4, **asked):
        use(table, micro_root=lambda: tmp_path / "leaves")
        return make_plan(table, settings(tmp_path / "runs", **asked))

    return make


def measured(plan):
    return {subject.row: subject.model for subject in plan.subjects}


MICRO = {
    "SAM": "sam-micro",
    "MobileSAM": "mobilesam-micro",
    "SAM-MAE-Ti": "sam-mae-ti-micro",
    "EfficientSAM-Ti": "efficientsam-ti-micro",
    "EfficientSAM-S": "efficientsam-s-micro",
    "sam-scratch-ti-micro": "sam-scratch-ti-micro",
    "floor": "floor",
    "ceiling": "ceiling",
}


def test_without_data_and_weights_auto_takes_micro_and_says_why(plan):
    made = plan()
    assert made.scale == "micro"
    assert measured(made) == MICRO
    assert "BENCH_DATA is not set" in made.world
    assert "no published checkpoint is on disk" in made.world


def test_every_row_of_the_paper_is_in_the_table_with_a_model_or_a_reason(plan):
    for table in (table4, table5):
        made, labels = plan(table), list(paper_table(table.NAME).index)
        assert [row.label for row in made.rows][: len(labels)] == labels
        assert {row.label for row in made.rows} == set(measured(made)) | set(made.unmeasured)
    assert measured(made)["FastSAM"] == "fastsam-micro"
    assert measured(made)["ViTDet-H"] == "detector"


def test_controls_are_measured_beside_the_paper_s_rows_at_micro_scale_alone(plan, tmp_path, monkeypatch):
    (control,) = [row for row in plan().rows if row.kind == "extra"]
    assert (control.label, control.model) == ("sam-scratch-ti-micro", "sam-scratch-ti-micro")
    assert "control" in control.note
    assert "sam-scratch-ti-micro" not in {row.label for row in plan(models=("MobileSAM",)).rows}
    assert "sam-scratch-ti-micro" not in {row.label for row in plan(scale="paper", data_root=tmp_path).rows}
    monkeypatch.setattr(zoo, "available", lambda name: (name in {"sam-micro"}, f"no weights of {name}"))
    untrained = plan()
    assert untrained.unmeasured["sam-scratch-ti-micro"] == ("not trained yet", "no weights of sam-scratch-ti-micro")
    assert next(row for row in untrained.rows if row.kind == "extra").model is None


def test_sam_mae_has_no_public_weights(plan, tmp_path):
    made = plan(scale="paper", data_root=tmp_path)
    assert made.unmeasured["SAM-MAE-Ti"] == ("no public weights", "weights never released by the authors")


def test_real_data_with_micro_models_is_a_mixed_scale(plan, tmp_path):
    made = plan(data_root=tmp_path)
    assert (made.scale, made.root) == ("mixed", tmp_path)


def test_micro_scale_ignores_real_data(plan, tmp_path):
    made = plan(scale="micro", data_root=tmp_path)
    assert (made.scale, made.root) == ("micro", tmp_path / "leaves")


def test_paper_scale_without_data_says_what_to_set(plan):
    with pytest.raises(BenchError, match="BENCH_DATA"):
        plan(scale="paper")


def test_a_checkpoint_of_a_full_size_model_makes_the_rows_full_size(plan, tmp_path):
    made = plan(checkpoints={"efficientsam-ti": Path("my.pt")}, data_root=tmp_path)
    assert made.scale == "paper"
    assert measured(made) == {"EfficientSAM-Ti": "efficientsam-ti", "floor": "floor", "ceiling": "ceiling"}
    assert made.unmeasured["SAM"] == ("weights missing", "no weights of sam-vit-h")
    (row,) = (row for row in made.rows if row.label == "EfficientSAM-Ti")
    assert row.note.startswith("custom checkpoint my.pt")


def test_models_are_named_by_zoo_name_or_by_row(plan):
    assert measured(plan(models=("sam", "floor"))) == {"SAM": "sam-micro", "floor": "floor"}
    assert measured(plan(models=("sam-micro",))) == {"SAM": "sam-micro"}
    assert measured(plan(scale="micro", models=("efficientsam-ti",))) == {"EfficientSAM-Ti": "efficientsam-ti-micro"}


def test_rows_that_were_not_asked_for_say_so(plan):
    assert plan(models=("sam-micro",)).unmeasured["MobileSAM"] == ("not requested", "")


def test_a_model_that_is_no_row_of_the_paper_gets_one_of_its_own(plan):
    made = plan(checkpoints={"sam-vit-b": Path("b.pth")})
    assert measured(made)["sam-vit-b"] == "sam-vit-b"
    assert [row.kind for row in made.rows if row.label == "sam-vit-b"] == ["extra"]


@pytest.mark.parametrize("name", ["efficentsam-ti", "efficientsam_ti"])
def test_an_unknown_model_name_is_refused_with_the_nearest_known_one(plan, name):
    with pytest.raises(BenchError, match=r"did you mean 'efficientsam-ti'"):
        plan(models=(name,))


def test_a_checkpoint_for_an_unknown_model_is_refused(plan):
    with pytest.raises(BenchError, match="did you mean 'sam-micro'"):
        plan(checkpoints={"sam-mikro": Path("x")})


def test_what_models_names_is_what_runs(plan):
    with pytest.raises(BenchError, match="'efficientsam-ti', which --models does not name"):
        plan(models=("floor",), checkpoints={"efficientsam-ti": Path("my.pt")})
    made = plan(models=("floor", "efficientsam-ti"), checkpoints={"efficientsam-ti": Path("my.pt")})
    assert [subject.model for subject in made.subjects] == ["efficientsam-ti", "floor"]
