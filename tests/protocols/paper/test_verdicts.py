"""Claims against what was measured: holds, contradicted, undecided and by how much more, or not measurable and why."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.metrics.interval import mean_interval
from protocols.paper.verdicts import judge, needed
from protocols.results import Cell, Column, Comparison, Row, TableResult

PROMPTS = ("coco_box", "coco_1click", "coco_3click", "lvis_box", "lvis_1click", "lvis_3click")


def table(name="table4", cells=(), comparisons=(), columns=None, **more) -> TableResult:
    keys = columns or dict.fromkeys(cell.column for cell in cells)
    made = [one if isinstance(one, Column) else Column(one, one, "COCO") for one in keys]
    rows = dict.fromkeys(cell.row for cell in cells)
    usual = {"scale": "paper", "comparable": True, "preset": "paper", "world": "COCO"}
    return TableResult(
        name=name, title="", columns=tuple(made), rows=tuple(Row(row, more.pop(row, None)) for row in rows),
        cells=tuple(cells), comparisons=tuple(comparisons), **{**usual, **more},
    )  # fmt: skip


def measured(row, value, half=0.0, column="coco_box", n=1000):
    return Cell(row, column, "measured", None, value, value - half, value + half, n)


def ti_over_mobilesam(value, half, verdict="same order (1 training each)", **more):
    cells = [measured("EfficientSAM-Ti", 0.757, 0.01), measured("MobileSAM", 0.757 - value, 0.01)]
    one = Comparison("EfficientSAM-Ti", "MobileSAM", "coco_box", 0.015, value, value - half, value + half, verdict)
    return table(cells=cells, comparisons=[one], **more)


def verdict(name, *results):
    return next(one for one in judge(results) if one.claim.id == name)


BOX = "ti-vs-mobilesam-box"  # the text says 1.5


@pytest.mark.parametrize(
    ("value", "half", "outcome"),
    [(0.015, 0.004, "holds"), (-0.015, 0.004, "contradicted"), (0.003, 0.004, "undecided")],
)
def test_a_difference_is_judged_by_its_paired_interval(value, half, outcome):
    found = verdict(BOX, ti_over_mobilesam(value, half))
    assert found.outcome == outcome
    (finding,) = found.findings
    assert (finding.measured, finding.low, finding.high) == pytest.approx(
        (100 * value, 100 * (value - half), 100 * (value + half))
    )


def test_the_paired_interval_counts_and_not_those_of_the_cells():
    """Cells of 75.7 and 74.2 with intervals of +-1 overlap; paired, the difference is decided."""
    paired = ti_over_mobilesam(0.015, 0.004)
    unpaired = table(cells=[measured("EfficientSAM-Ti", 0.757, 0.02), measured("MobileSAM", 0.742, 0.02)])
    assert verdict(BOX, paired).outcome == "holds"
    assert verdict(BOX, unpaired).outcome == "undecided"
    assert "not paired" in verdict(BOX, unpaired).why


def test_at_paper_scale_the_size_is_judged_too():
    assert "its size too" in verdict(BOX, ti_over_mobilesam(0.017, 0.004)).why
    assert "not in its size: the text says 1.5" in verdict(BOX, ti_over_mobilesam(0.04, 0.004)).why


@pytest.mark.parametrize("more", [{"scale": "micro"}, {"scale": "paper"}, {"scale": "mixed"}])
def test_elsewhere_the_direction_alone_is_judged_and_said_to_be_of_that_world(more):
    found = verdict(BOX, ti_over_mobilesam(0.4, 0.004, comparable=False, **more))
    assert found.outcome == "holds"
    assert "in direction alone" in found.why
    assert ("in this micro world" in found.why) == (more["scale"] == "micro")
    assert "size" not in found.why


def test_a_number_of_another_world_is_not_set_against_the_paper_s():
    cells = [measured("EfficientSAM-S", 0.769, 0.002)]
    assert verdict("s-final-miou", table(cells=cells)).outcome == "holds"
    assert verdict("s-final-miou", table(cells=[measured("EfficientSAM-S", 0.7, 0.002)])).outcome == "contradicted"
    elsewhere = verdict("s-final-miou", table(cells=cells, scale="micro", comparable=False))
    assert elsewhere.outcome == "not measurable"
    assert elsewhere.findings[0].measured is None


def test_how_many_images_would_decide_is_told():
    facts = {"data": {"coco": {"images": 500}, "lvis": {"images": 70}}}
    (finding,) = verdict(BOX, ti_over_mobilesam(0.002, 0.006, provenance=facts)).findings
    assert (finding.wanted, finding.unit) == (4500, "images")
    assert "about 4,500 images would decide, here 500" in finding.why


def test_the_number_of_images_that_would_decide_does_so_about_half_of_the_time():
    """As the ledger says of it: differences of mean 0.1 and deviation 1, with the 385 images that it asks for."""
    n = needed(100, 0.1, 0.1 - 1.96 / 10, 0.1 + 1.96 / 10)
    assert n == 390
    decided = 0
    for trial in range(300):
        values = np.random.default_rng(trial).normal(0.1, 1, n)
        decided += mean_interval(values, np.arange(n), replicates=200).low > 0
    assert 0.4 < decided / 300 < 0.6


@given(st.integers(2, 10**5), st.floats(0.01, 10), st.floats(1.01, 50))
def test_more_are_always_asked_for_than_did_not_decide(n, value, ratio):
    wanted = needed(n, value, value - ratio * value, value + ratio * value)
    assert wanted > n
    assert wanted >= n * ratio**2 * 0.999
    assert wanted <= max(n + 1, 1.1 * n * ratio**2 + 1)


def test_one_training_decides_nothing_where_the_table_says_so():
    cells = [measured("1 epoch", 0.5, column="EfficientSAM-Ti"), measured("0.1 epochs", 0.1, column="EfficientSAM-Ti")]
    gain = Comparison("1 epoch", "0.1 epochs", "EfficientSAM-Ti", 0.025, 0.4, 0.39, 0.41, "not decided (1 seed)")
    columns = ["EfficientSAM-Ti", "EfficientSAM-S"]
    found = verdict("finetune-1-epoch-gain", table("figure7", cells, [gain], columns))
    assert found.findings[0].outcome == "undecided"
    assert "1 seed" in found.findings[0].why


def test_trainings_are_counted_where_they_are_what_varies():
    cells = [measured("SAMI-Ti, CLIP target", 0.6, column="top1"), measured("MAE-Ti", 0.59, column="top1")]
    one = Comparison("SAMI-Ti, CLIP target", "MAE-Ti", "top1", 0.008, 0.01, -0.01, 0.03, "not decided (p = 0.2)")
    trained = {"trainings": {f"{run}-seed{seed}": {} for run in ("sami-ti-clip", "mae-ti") for seed in (0, 1, 2)}}
    models = {"SAMI-Ti, CLIP target": "sami-ti-clip", "MAE-Ti": "mae-ti"}
    found = verdict("clip-target-vs-mae", table("ablations", cells, [one], provenance=trained, **models))
    assert (found.findings[0].wanted, found.findings[0].unit) == (12, "trainings of each")


def test_a_gain_of_more_than_a_number_must_exceed_it_at_paper_scale():
    cells = [
        measured(row, 0.5, column=c) for row in ("1 epoch", "0.1 epochs") for c in ("EfficientSAM-Ti", "EfficientSAM-S")
    ]
    for value, outcome in ((0.03, "holds"), (0.025, "undecided"), (0.02, "contradicted")):
        gains = [
            Comparison("1 epoch", "0.1 epochs", c, 0.025, value, value - 0.002, value + 0.002, "same order (p < 0.001)")
            for c in ("EfficientSAM-Ti", "EfficientSAM-S")
        ]
        assert verdict("finetune-1-epoch-gain", table("figure7", cells, gains)).outcome == outcome


def test_a_claim_of_many_parts_holds_if_all_do_and_falls_with_one():
    def every(worst):
        gains = [
            Comparison("EfficientSAM-Ti", "SAM-MAE-Ti", key, 0.01, value, value - 0.01, value + 0.01, "same order")
            for key, value in zip(PROMPTS, (0.02, 0.03, 0.02, 0.02, 0.03, worst), strict=True)
        ]
        cells = [measured(row, 0.7, column=key) for row in ("EfficientSAM-Ti", "SAM-MAE-Ti") for key in PROMPTS]
        return verdict("ti-vs-sam-mae-ti", table(cells=cells, comparisons=gains))

    assert every(0.02).outcome == "holds"
    assert every(-0.02).outcome == "contradicted"
    assert every(0.005).outcome == "undecided"
    assert "5 hold, 1 undecided" in every(0.005).why


def test_what_cannot_be_measured_says_why():
    missing = Cell("MobileSAM", "coco_box", "no public weights", why="never released")
    found = verdict(BOX, table(cells=[measured("EfficientSAM-Ti", 0.757), missing]))
    assert (found.outcome, found.why) == ("not measurable", "MobileSAM: no public weights: never released")
    apart = ti_over_mobilesam(0.02, 0.01, columns=[Column("coco_box", "box", "COCO", apart="mask_pick single")])
    assert verdict(BOX, apart).outcome == "not measurable"
    assert "another protocol" in verdict(BOX, apart).why


def test_what_was_not_measured_names_the_command():
    assert {one.outcome for one in judge([])} == {"not measured"}
    assert verdict(BOX).why == "`bench run table4` measures it"
    assert verdict(BOX, ti_over_mobilesam(0.02, 0.01, own="my photos")).outcome == "not measured"
    alone = table(cells=[measured("EfficientSAM-Ti", 0.7), Cell("MobileSAM", "coco_box", "not requested")])
    assert verdict(BOX, alone).outcome == "not measured"


def test_a_comparison_that_the_table_has_the_other_way_round_is_turned():
    cells = [measured("EfficientSAM-Ti", 0.757), measured("MobileSAM", 0.74)]
    turned = Comparison("MobileSAM", "EfficientSAM-Ti", "coco_box", None, -0.017, -0.02, -0.01, "not claimed")
    (finding,) = verdict(BOX, table(cells=cells, comparisons=[turned])).findings
    assert (finding.low, finding.measured, finding.high) == pytest.approx((1.0, 1.7, 2.0))


def test_parameters_of_full_size_models_are_the_paper_s_and_speeds_are_the_machine_s():
    columns = [Column("params_m", "", "", percent=False), Column("images_per_s", "", "", percent=False)]
    cells = [
        Cell(row, "params_m", "measured", None, count, None, None, 1)
        for row, count in (("SAM", 641.1), ("EfficientSAM-S", 26.41), ("EfficientSAM-Ti", 10.22))
    ] + [
        Cell(row, "images_per_s", "measured", None, speed, 0.9 * speed, 1.1 * speed, 9)
        for row, speed in (("SAM", 0.1), ("EfficientSAM-Ti", 0.4))
    ]  # fmt: skip
    result = table("table8", cells, columns=columns, comparable=False)
    assert verdict("ti-params", result).outcome == "contradicted"
    assert verdict("s-params", result).outcome == "contradicted"
    (ratio,) = verdict("s-params-vs-sam", result).findings
    assert (ratio.outcome, ratio.measured) == ("holds", pytest.approx(24.27, abs=0.01))
    assert "not in its size: the text says about 20" in ratio.why
    (speed,) = verdict("throughput-ti-vs-sam", result).findings
    assert (speed.outcome, speed.measured) == ("holds", pytest.approx(4))
    assert (speed.low, speed.high) == pytest.approx((0.36 / 0.11, 0.44 / 0.09))
    assert "size" not in speed.why


def test_of_several_results_of_a_table_the_last_counts():
    assert verdict(BOX, ti_over_mobilesam(0.02, 0.01), ti_over_mobilesam(-0.02, 0.01)).outcome == "contradicted"
