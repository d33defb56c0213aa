"""The paper's numbers are those of the paper."""

import csv

import pytest

from protocols import table1, table2
from protocols.paper import paper_difference, paper_table, paper_value
from protocols.paper.ledger import differences


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_table_1_is_the_paper_s(shared):
    printed = {row["method"]: float(row["top1"]) for row in rows(shared / "paper/table1.csv")}
    assert paper_table("table1")["top1"].to_dict() == printed


def test_table_2_is_the_paper_s(shared):
    for row in rows(shared / "paper/table2.csv"):
        for column in ("ap_box", "ap_mask"):
            assert paper_value("table2", row["method"], column) == pytest.approx(float(row[column]) / 100)


def test_every_claim_about_table_2_is_compared_and_agrees_with_the_table():
    for claim in differences("table2"):
        assert (claim.first, claim.second) in table2.COMPARED
        assert paper_difference("table2", claim.first, claim.second, claim.column) == pytest.approx(claim.claimed)


def test_table_6_is_the_paper_s(shared):
    for row in rows(shared / "paper/table6.csv"):
        assert paper_value("table6", f"{row['method']}, {row['loss']}", "top1") == pytest.approx(
            float(row["top1"]) / 100
        )


def test_table_7_is_the_paper_s(shared):
    for row in rows(shared / "paper/table7.csv"):
        label = f"{row['method']}, {float(row['mask_ratio']):.0%}".replace("%", " %")
        assert paper_value("table7", label, "top1") == pytest.approx(float(row["top1"]) / 100)


def test_every_claim_about_table_1_is_compared_and_agrees_with_the_table_or_says_so():
    for claim in differences("table1"):
        assert (claim.first, claim.second) in table1.COMPARED
        printed = paper_difference("table1", claim.first, claim.second, claim.column)
        assert claim.note or printed == pytest.approx(claim.claimed)


def test_compared_rows_are_rows_of_the_table():
    rows = {*paper_table("table1").index, *table1.CONTROLS}
    assert {row for pair in table1.COMPARED for row in pair} <= rows
