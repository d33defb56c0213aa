"""The leaderboard gathers what was measured, ranks only what may be compared, and survives bad and hostile files."""

import csv
import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.repocard_data import model_index_to_eval_results
from yaml import safe_load

from models.errors import BenchError
from protocols.own_data import of_own_data
from protocols.results import TableResult
from reports.gather import NOT_RECORDED, Entry, gather, of_model
from reports.leaderboard import rankings, to_csv, to_html, to_markdown, write_leaderboard
from reports.model_index import file_name, to_model_index
from reports.write import write_whole

HOSTILE = "=cmd|' /C calc'!A1<script>alert(1)</script>|*x*"
FACTS = {
    "date": "2026-11-26T19:36:34+00:00",
    "versions": {"efficientsam-bench": "0.1.0"},
    "git": {"commit": "a" * 40, "dirty": False},
    "hardware": {"cpu": "Zen 4", "usable_cores": 2, "gpus": ["H100"]},
    "engine": {"engine": "exact"},
    "data": {"coco": {"sha256": "c" * 64, "images": 5000}, "lvis": {"sha256": "d" * 64, "images": 19809}},
    "models": {
        "SAM": {"name": "sam", "checkpoint_sha256": "1" * 64, "device": "cuda"},
        "MobileSAM": {"name": "mobilesam", "weights_sha256": "2" * 64, "device": "cpu"},
        "EfficientSAM-S": {"name": "efficientsam-s", "files": {"a": "3" * 64, "b": "4" * 64}, "device": "cpu"},
    },
}


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write a report's JSON as `bench run` does, with what it rests on, and return its folder."""

    def write(result: TableResult, folder: str = "out", **facts: Any) -> Path:
        (tmp_path / folder).mkdir(exist_ok=True)
        whole = replace(result, provenance={**FACTS, **facts})
        write_whole(tmp_path / folder / f"{result.stem}.json", json.dumps(whole.to_json()))
        return tmp_path / folder

    return write


def renamed(result: TableResult, old: str, new: str) -> TableResult:
    """Return a result one of whose rows and models is called otherwise."""
    rows = tuple(replace(row, label=new, model=new) if row.label == old else row for row in result.rows)
    return replace(
        result, rows=rows, cells=tuple(replace(c, row=new) if c.row == old else c for c in result.cells), comparisons=()
    )


def only(entries: list[Entry], model: str, key: str = "coco_box") -> Entry:
    (found,) = [entry for entry in entries if (entry.model, entry.key) == (model, key)]
    return found


def test_every_measured_number_and_no_other_is_an_entry_with_what_it_rests_on(save, table4):
    entries, left_out = gather([save(table4)])
    assert not left_out
    measured = {(cell.row, cell.column, cell.measured) for cell in table4.cells if cell.measured is not None}
    assert {(entry.row, entry.key, entry.value) for entry in entries} == measured
    sam = only(entries, "sam")
    cell = table4.cell("SAM", "coco_box")
    assert (sam.low, sam.high, sam.n) == (cell.low, cell.high, cell.n)
    assert (sam.protocol, sam.engine, sam.hardware, sam.weights) == ("paper", "exact", "H100", "1" * 64)
    assert sam.data == f"COCO: 5000 images, sha256 {'c' * 12}"
    assert sam.date == FACTS["date"]


def test_hashes_are_found_whatever_they_are_called_and_answers_from_elsewhere_claim_no_machine(save, table4):
    entries, _ = gather([save(table4)])
    assert only(entries, "mobilesam").weights == "2" * 64
    assert only(entries, "mobilesam").hardware == "Zen 4, 2 cores"
    assert only(entries, "efficientsam-s").weights == f"{'3' * 64}+{'4' * 64}"
    recorded = only(entries, "efficientsam-ti")  # no model of that row ran here
    assert (recorded.weights, recorded.engine, recorded.hardware) == ("", NOT_RECORDED, NOT_RECORDED)


def test_paper_scale_micro_scale_own_data_and_other_protocols_are_never_in_one_ranking(save, table4, micro4):
    folders = [
        save(table4, "paper"),
        save(micro4, "micro"),
        save(of_own_data(replace(table4, comparisons=()), "street", ()), "own", data={"street": FACTS["data"]["coco"]}),
        save(replace(table4, preset="paper, but mask_pick=single"), "single"),
        save(table4, "part", data={"coco": {"sha256": "c" * 64, "images": 10}, "lvis": FACTS["data"]["lvis"]}),
        save(table4, "fast", engine={"engine": "fast"}),
    ]
    entries, left_out = gather(folders)
    assert not left_out
    found = [one for one in rankings(entries) if any(line.model == "sam" for line in one.lines) and "box" in one.column]
    assert len(found) == 6
    assert [one.scale for one in found] == [*["paper scale"] * 4, "own data (street)", "micro scale"]
    assert all([line.model for line in one.lines].count("sam") == 1 for one in found)


def test_the_best_number_is_first_equal_ones_share_a_rank_and_bounds_have_none(save, with_cell):
    table = with_cell("EfficientSAM-S", "coco_box", measured=0.9)
    table = replace(
        table,
        cells=tuple(replace(c, measured=0.9) if (c.row, c.column) == ("SAM", "coco_box") else c for c in table.cells),
    )
    lines = next(one for one in rankings(gather([save(table, models={})])[0]) if one.column == "COCO box").lines
    assert [(line.model, line.rank) for line in lines[:3]] == [
        ("sam", "1"),
        ("efficientsam-s", "1"),
        (lines[2].model, "3"),
    ]
    assert [(line.model, line.rank) for line in lines[-2:]] == [("floor", ""), ("ceiling", "")]


def test_less_is_better_where_a_column_says_so_and_unknown_directions_have_no_rank(save, table4):
    for less, ranks in ((True, ["1", "2", "3", "4"]), (False, [""] * 4)):
        columns = tuple(replace(column, percent=False, less=less) for column in table4.columns)
        one = next(
            one
            for one in rankings(gather([save(replace(table4, columns=columns), models={})])[0])
            if "COCO box" in one.column
        )
        competing = [line for line in one.lines if line.model not in ("floor", "ceiling")]
        assert [line.rank for line in competing] == ranks
        if less:
            values = [float(line.value) for line in competing]
            assert values == sorted(values)


def test_of_a_number_measured_twice_in_the_same_way_the_newest_counts(save, with_cell):
    old = save(with_cell("SAM", "coco_box", measured=0.1), "old", date="2025-01-01T00:00:00+00:00")
    new = save(with_cell("SAM", "coco_box", measured=0.7), "new")
    for folders in ([old, new], [new, old]):
        assert only(gather(folders)[0], "sam").value == 0.7
    again = save(with_cell("SAM", "coco_box", measured=0.1), "old", models={"SAM": {"checkpoint_sha256": "9" * 64}})
    assert len([one for one in gather([again, new])[0] if (one.model, one.key) == ("sam", "coco_box")]) == 2


DAMAGED = {
    "cut.json": '{"name": "table4", "tit',
    "list.json": "[]",
    "bytes.json": b"\xff\xfe{",
    "deep.json": "[" * 100_000,
    "other.json": '{"images": [], "annotations": []}',
    "null.json": "null",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_named_in_one_sentence_and_the_others_count(save, table4, name):
    folder = save(table4)
    content = DAMAGED[name]
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    entries, left_out = gather([folder])
    assert entries
    assert len(left_out) == 1
    assert name in left_out[0]
    assert "\n" not in left_out[0]


@pytest.mark.parametrize(
    "change",
    [
        {"measured": "<b>1</b>"},
        {"measured": True},
        {"n": "many"},
        {"low": [0.1]},
        {"high": 10**400},
        {"a_field_of_tomorrow": 1},
    ],
)
def test_a_report_whose_fields_hold_what_they_cannot_is_left_out_whole(save, table4, change):
    folder = save(table4)
    plain = json.loads((folder / "table4.json").read_text())
    plain["cells"][0] |= change
    (folder / "table4.json").write_text(json.dumps(plain))
    with pytest.raises(BenchError, match=r"no finished table in .*table4\.json is left out: it is no report of this"):
        gather([folder])


@pytest.mark.parametrize("facts", [{name: value} for name in FACTS for value in (None, [], "x", 1)])
def test_odd_or_missing_provenance_costs_its_own_field_alone(save, table4, facts):
    entries, left_out = gather([save(table4, **facts)])
    assert entries
    assert not left_out
    assert to_html(rankings(entries))


def test_curves_are_named_and_left_out(save, table4):
    folder = save(table4)
    save(replace(table4, name="figure7", x=tuple(range(1, 1 + len(table4.rows)))))
    entries, (sentence,) = gather([folder])
    assert {entry.table for entry in entries} == {"table4"}
    assert "figure7.json is left out: it is a curve" in sentence


def test_a_folder_that_is_not_there_and_one_without_reports_are_one_sentence(tmp_path):
    with pytest.raises(BenchError, match="there is no folder of reports"):
        gather([tmp_path / "none"])
    with pytest.raises(BenchError, match="no finished table in"):
        gather([tmp_path])


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)


def test_hostile_names_are_text_in_every_form(save, table4, tmp_path):
    hostile = replace(renamed(table4, "SAM", HOSTILE), preset=HOSTILE, title=HOSTILE)
    folder = save(hostile, hardware={"cpu": HOSTILE, "gpus": []}, data={"coco": {"sha256": HOSTILE, "images": HOSTILE}})
    entries, _ = gather([folder])
    found = rankings(entries)
    page, tags = to_html(found), Tags()
    tags.feed(page)
    assert "script" not in tags.seen
    assert "&lt;script&gt;" in page
    text = to_markdown(found)
    assert "<script>" not in text
    assert r"\*x\*" in text
    lines = list(csv.DictReader(io.StringIO(to_csv(entries))))
    assert any(line["model"] == f"'{HOSTILE}" for line in lines)
    assert not [cell for line in lines for cell in line.values() if cell.startswith(("=", "+", "@"))]
    block = safe_load(to_model_index(of_model(entries, HOSTILE), HOSTILE, lambda table: ("mask-generation", "")))
    assert block["model-index"][0]["name"] == HOSTILE
    assert "/" not in file_name(HOSTILE)


def test_names_that_are_no_utf8_are_written_as_escapes(save, table4, tmp_path):
    folder = save(renamed(table4, "SAM", "a\ud800b")).rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    entries, _ = gather([folder])
    text = write_leaderboard(entries, tmp_path / "board")[0].read_text()
    assert "a\\ud800b" in text
    assert "\\udcff" in text


def test_a_control_sequence_in_a_name_reaches_no_file(save, table4):
    entries, _ = gather([save(renamed(table4, "SAM", "a\x1b[2Jb\r\n=1"))])
    for text in (to_csv(entries), to_markdown(rankings(entries)), to_html(rankings(entries))):
        assert "\x1b" not in text
        assert "\r" not in text


def test_the_csv_is_read_back_as_the_numbers_themselves(save, table4, tmp_path):
    entries, _ = gather([save(table4)])
    files = write_leaderboard(entries, tmp_path / "board")
    assert [path.name for path in files] == ["leaderboard.csv", "leaderboard.md", "leaderboard.html"]
    lines = list(csv.DictReader(io.StringIO(files[0].read_text())))
    assert [float(line["value"]) for line in lines] == [entry.value for entry in entries]
    assert [line["weights"] for line in lines] == [entry.weights for entry in entries]


def test_a_folder_that_cannot_be_written_is_one_sentence(save, table4, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match=r"cannot write to .*choose another folder"):
        write_leaderboard(gather([save(table4)])[0], tmp_path / "file")


def test_the_model_index_is_what_hugging_face_reads(save, table4, table5):
    folder = save(table4)
    save(table5)
    kinds = {"table4": ("mask-generation", "mean_iou"), "table5": ("mask-generation", "")}.__getitem__
    of_sam = of_model(gather([folder])[0], "sam")
    text = to_model_index(of_sam, "my/sam", kinds, "https://example.org/board")
    name, results = model_index_to_eval_results(safe_load(text)["model-index"])
    assert name == "my/sam"
    assert len(results) == len(of_sam)
    box = next(one for one in results if one.metric_name == f"{table4.title}: COCO box")
    assert (box.task_type, box.dataset_type, box.dataset_name, box.metric_type) == (
        "mask-generation",
        "coco",
        "COCO",
        "mean_iou",
    )
    cell = table4.cell("SAM", "coco_box")
    assert box.metric_value == pytest.approx(100 * cell.measured, abs=0.05)
    assert box.metric_args["weights_sha256"] == "1" * 64
    assert box.dataset_args["protocol"] == "paper"
    assert box.source_url == "https://example.org/board"
    assert {one.metric_type for one in results} >= {"mean_iou", "coco_ap"}


def test_a_card_is_of_one_set_of_weights_and_of_a_known_model(save, table4):
    other = save(table4, "other", models={"SAM": {"name": "sam", "checkpoint_sha256": "9" * 64, "device": "cpu"}})
    entries, _ = gather([save(table4), other])
    with pytest.raises(
        BenchError, match=r"'sam' was measured with several weights \(sam 111111111111, sam 999999999999\)"
    ):
        of_model(entries, "sam")
    with pytest.raises(BenchError, match=r"no report has a model 'sma': take one of .*sam"):
        of_model(entries, "sma")
    with pytest.raises(BenchError, match="no report has a model 'floor'"):
        of_model(entries, "floor")
