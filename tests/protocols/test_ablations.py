"""Tables 6 and 7 and the ablations of section 4.4, from made-up records."""

import numpy as np
import pytest

from models.errors import BenchError
from protocols import ablations, table6, table7
from protocols.results import TableResult
from tests.protocols.fakes import settings
from tests.protocols.training_fakes import answers, write_record

SHARES = {"sami-ti": 0.62, "sami-ti-cosine": 0.52, "sami-s": 0.7, "sami-s-cosine": 0.704}


def write_table6(folder, seeds=(0, 1, 2), shares=SHARES):
    for i, (run, share) in enumerate(shares.items()):
        for seed in seeds:
            write_record(folder, run, seed, answers(share, 10 * i + seed))


def made(table, folder, **changes):
    return table.make(table, settings(folder / "runs", records=folder, **changes))


def verdicts(result):
    return {(c.first, c.second): c.verdict for c in result.comparisons}


@pytest.mark.parametrize("table", [table6, table7, ablations], ids=lambda table: table.NAME)
def test_without_records_every_cell_says_how_to_train_it(table, tmp_path):
    result = made(table, tmp_path)
    assert {cell.status for cell in result.cells} == {"not trained yet"}
    assert all("-- --train`" in cell.why for cell in result.cells)
    assert set(verdicts(result).values()) == {"not measured"}
    assert TableResult.from_json(result.to_json()) == result


def test_a_cell_is_the_mean_over_seeds_beside_the_paper_s_number(tmp_path):
    write_table6(tmp_path)
    cell = made(table6, tmp_path).cell("SAMI-Ti, MSE", "top1")
    assert cell.measured == pytest.approx(np.mean([answers(0.62, seed).mean() for seed in range(3)]))
    assert cell.paper == pytest.approx(0.768)
    assert cell.low < cell.measured < cell.high
    assert (cell.n, cell.why) == (3 * 803, "")


def test_a_clear_difference_is_decided_and_a_small_one_is_not(tmp_path):
    write_table6(tmp_path)
    found = verdicts(made(table6, tmp_path))
    assert found["SAMI-Ti, MSE", "SAMI-Ti, 1 - cosine"] == "same order (p < 0.001)"
    assert found["SAMI-S, MSE", "SAMI-S, 1 - cosine"].startswith("not decided (p = 0.")


def test_what_comes_out_the_other_way_round_is_said(tmp_path):
    write_table6(tmp_path, shares={"sami-ti": 0.5, "sami-ti-cosine": 0.62})
    found = verdicts(made(table6, tmp_path))
    assert found["SAMI-Ti, MSE", "SAMI-Ti, 1 - cosine"] == "opposite order (p < 0.001)"


def test_arms_pretrained_for_other_numbers_of_steps_are_not_compared(tmp_path):
    for run, steps in {"sami-ti": 2000, "sami-ti-cosine": 2000, "sami-s": 2000, "sami-s-cosine": 1000}.items():
        for seed in range(3):
            recipes = {"pretraining": {"steps": steps}}
            write_record(tmp_path, run, seed, answers(SHARES[run], seed), recipes=recipes)
    result = made(table6, tmp_path)
    assert verdicts(result)["SAMI-Ti, MSE", "SAMI-Ti, 1 - cosine"] == "same order (p < 0.001)"
    assert verdicts(result)["SAMI-S, MSE", "SAMI-S, 1 - cosine"] == "not measured"
    assert any("SAMI-S, 1 - cosine" in note and "pretrained for 1,000 steps" in note for note in result.footnotes)


def probes(share, seed, variance):
    right = {name: np.packbits(answers(share, seed)).tobytes().hex() for name in ("knn", "linear")}
    return {**right, "variance": (variance + 0.01 * np.random.default_rng(seed).normal(size=30)).round(4).tolist()}


def test_probes_of_the_frozen_encoder_stand_beside_top_1_where_records_have_them(tmp_path):
    for run, share in {"sami-ti": 0.5, "sami-ti-cosine": 0.4}.items():
        for seed in range(3):
            write_record(tmp_path, run, seed, answers(0.6, seed), probes=probes(share, seed, variance=share))
    write_record(tmp_path, "sami-s", 0, answers(0.6, 0))
    result = made(table6, tmp_path)
    assert [column.key for column in result.columns] == ["top1", "knn", "linear", "variance"]
    cell = result.cell("SAMI-Ti, MSE", "variance")
    assert (cell.measured, cell.paper) == (pytest.approx(0.5, abs=0.01), None)
    assert result.cell("SAMI-S, MSE", "knn").status == "not trained yet"
    assert result.cell("SAMI-S, MSE", "top1").status == "measured"
    found = {c.column: c for c in result.comparisons if c.first == "SAMI-Ti, MSE"}
    assert found["variance"].verdict == "not claimed (p < 0.001)"
    assert found["variance"].measured == pytest.approx(0.1, abs=0.01)
    assert any("which the paper has not" in note for note in result.footnotes)


def test_without_probes_the_table_is_the_paper_s(tmp_path):
    write_table6(tmp_path)
    assert [column.key for column in made(table6, tmp_path).columns] == ["top1"]


@pytest.mark.parametrize("damage", [{"knn": "00"}, {"linear": "zz"}, {"variance": [float("nan")]}, {"variance": []}])
def test_damaged_probes_are_refused_with_the_file_s_name(damage, tmp_path):
    path = write_record(tmp_path, "sami-ti", 0, answers(0.6, 0), probes={**probes(0.5, 0, 0.5), **damage})
    with pytest.raises(BenchError, match=f"{path.name} cannot be used"):
        made(table6, tmp_path)


def test_one_seed_decides_nothing_and_says_so(tmp_path):
    write_table6(tmp_path, seeds=(0,))
    result = made(table6, tmp_path)
    assert verdicts(result)["SAMI-Ti, MSE", "SAMI-Ti, 1 - cosine"] == "not decided (1 seed)"
    assert result.cell("SAMI-Ti, MSE", "top1").why.startswith("only 1 of 3 seeds")
    assert any("only 1 of 3 seeds" in note for note in result.footnotes)


def test_seeds_are_paired_and_those_of_one_variant_alone_left_out(tmp_path):
    write_table6(tmp_path, seeds=(0, 1))
    write_record(tmp_path, "sami-ti", 7, np.zeros(803, bool))
    (one,) = [c for c in made(table6, tmp_path).comparisons if c.first == "SAMI-Ti, MSE"]
    pairs = [answers(0.62, seed).mean() - answers(0.52, 10 + seed).mean() for seed in (0, 1)]
    assert one.measured == pytest.approx(np.mean(pairs))


def test_table_7_compares_75_percent_with_both_others(tmp_path):
    result = made(table7, tmp_path)
    assert [(c.first, c.second, c.paper) for c in result.comparisons] == [
        ("SAMI-B, 75 %", "SAMI-B, 50 %", pytest.approx(0.002)),
        ("SAMI-B, 75 %", "SAMI-B, 85 %", pytest.approx(0.001)),
    ]


def test_differences_of_the_text_are_its_claims(tmp_path):
    result = made(ablations, tmp_path)
    assert {(c.first, c.second): c.paper for c in result.comparisons} == {
        ("SAMI-Ti", "SAMI-Ti, all tokens decoded"): 0.03,
        ("SAMI-Ti, CLIP target", "MAE-Ti"): 0.008,
        ("SAMI-Ti", "MAE-Ti"): pytest.approx(0.016),
    }
    assert result.cell("SAMI-Ti, CLIP target", "top1").paper is None
    assert any("stands in" in row.note for row in result.rows)


def test_records_of_paper_scale_come_first_and_are_comparable(tmp_path):
    write_table6(tmp_path)
    write_record(tmp_path / "paper", "sami-s", 0, answers(0.8, 1), scale="paper")
    assert made(table6, tmp_path).scale == "micro"
    result = made(table6, tmp_path / "paper")
    assert (result.scale, result.comparable) == ("paper", True)


def test_paper_scale_without_records_is_refused(tmp_path):
    with pytest.raises(BenchError, match="bench train"):
        made(table6, tmp_path, scale="paper")
