"""Tables 6 and 7 and the ablations of section 4.4, from made-up records."""

import numpy as np
import pytest

from models.errors import BenchError
from protocols.ablations import make_ablation
from protocols.results import TableResult
from protocols.section44 import TABLE as SECTION44
from protocols.table6 import TABLE as TABLE6
from protocols.table7 import TABLE as TABLE7
from tests.protocols.training_fakes import answers, write_record

SHARES = {"sami-ti": 0.62, "sami-ti-cosine": 0.52, "sami-s": 0.7, "sami-s-cosine": 0.704}


def write_table6(folder, seeds=(0, 1, 2), shares=SHARES):
    for i, (run, share) in enumerate(shares.items()):
        for seed in seeds:
            write_record(folder, run, seed, answers(share, 10 * i + seed))


def verdicts(result):
    return {(c.first, c.second): c.verdict for c in result.comparisons}


@pytest.mark.parametrize("table", [TABLE6, TABLE7, SECTION44], ids=lambda table: table.name)
def test_without_records_every_cell_says_how_to_train_it(table, tmp_path):
    result = make_ablation(table, folder=tmp_path)
    assert {cell.status for cell in result.cells} == {"not trained yet"}
    assert all("-- --train`" in cell.why for cell in result.cells)
    assert set(verdicts(result).values()) == {"not measured"}
    assert TableResult.from_json(result.to_json()) == result


def test_a_cell_is_the_mean_over_seeds_beside_the_paper_s_number(tmp_path):
    write_table6(tmp_path)
    cell = make_ablation(TABLE6, folder=tmp_path).cell("SAMI-Ti, MSE", "top1")
    assert cell.measured == pytest.approx(np.mean([answers(0.62, seed).mean() for seed in range(3)]))
    assert cell.paper == pytest.approx(0.768)
    assert cell.low < cell.measured < cell.high
    assert (cell.n, cell.why) == (3 * 803, "")


def test_a_clear_difference_is_decided_and_a_small_one_is_not(tmp_path):
    write_table6(tmp_path)
    found = verdicts(make_ablation(TABLE6, folder=tmp_path))
    assert found["SAMI-Ti, MSE", "SAMI-Ti, 1 - cosine"] == "same order (p < 0.001)"
    assert found["SAMI-S, MSE", "SAMI-S, 1 - cosine"].startswith("not decided (p = 0.")


def test_what_comes_out_the_other_way_round_is_said(tmp_path):
    write_table6(tmp_path, shares={"sami-ti": 0.5, "sami-ti-cosine": 0.62})
    found = verdicts(make_ablation(TABLE6, folder=tmp_path))
    assert found["SAMI-Ti, MSE", "SAMI-Ti, 1 - cosine"] == "opposite order (p < 0.001)"


def test_one_seed_decides_nothing_and_says_so(tmp_path):
    write_table6(tmp_path, seeds=(0,))
    result = make_ablation(TABLE6, folder=tmp_path)
    assert verdicts(result)["SAMI-Ti, MSE", "SAMI-Ti, 1 - cosine"] == "not decided (1 seed)"
    assert result.cell("SAMI-Ti, MSE", "top1").why.startswith("only 1 of 3 seeds")
    assert any("only 1 of 3 seeds" in note for note in result.footnotes)


def test_seeds_are_paired_and_those_of_one_variant_alone_left_out(tmp_path):
    write_table6(tmp_path, seeds=(0, 1))
    write_record(tmp_path, "sami-ti", 7, np.zeros(803, bool))
    (one,) = [c for c in make_ablation(TABLE6, folder=tmp_path).comparisons if c.first == "SAMI-Ti, MSE"]
    pairs = [answers(0.62, seed).mean() - answers(0.52, 10 + seed).mean() for seed in (0, 1)]
    assert one.measured == pytest.approx(np.mean(pairs))


def test_table_7_compares_75_percent_with_both_others(tmp_path):
    result = make_ablation(TABLE7, folder=tmp_path)
    assert [(c.first, c.second, c.paper) for c in result.comparisons] == [
        ("SAMI-B, 75 %", "SAMI-B, 50 %", pytest.approx(0.002)),
        ("SAMI-B, 75 %", "SAMI-B, 85 %", pytest.approx(0.001)),
    ]


def test_differences_of_the_text_are_its_claims(tmp_path):
    result = make_ablation(SECTION44, folder=tmp_path)
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
    assert make_ablation(TABLE6, folder=tmp_path).scale == "micro"
    result = make_ablation(TABLE6, folder=tmp_path / "paper")
    assert (result.scale, result.comparable) == ("paper", True)


def test_paper_scale_without_records_is_refused(tmp_path):
    with pytest.raises(BenchError, match="bench train"):
        make_ablation(TABLE6, scale="paper", folder=tmp_path)
