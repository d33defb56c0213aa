"""`bench report`: all finished tables and figures as one paper: HTML, PDF, LaTeX, Markdown, CSV and JSON."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Annotated

import tyro

from bench.cli.claims import HEADS, cells_of, summary
from bench.cli.run import OUT, make, run_settings
from bench.processes import this_process
from bench.progress import notice, progress
from bench.provenance import provenance
from bench.store.stored import find_run
from models.errors import BenchError
from protocols import tables
from protocols.methods import in_order, not_made, sources, used_axes
from protocols.paper.verdicts import judge
from protocols.regression.gate import compare
from protocols.regression.snapshots import EXPECTED, Snapshot, read_snapshot
from protocols.regression.snapshots import cells_of as cells_of_results
from protocols.regression.tolerances import read_tolerances
from protocols.results import TableResult
from reports.dataframe import to_frame
from reports.document import Grid, Section, Sheet, Words
from reports.gather import facts_of
from reports.paper_report import Choice, Inputs, build
from reports.report_files import write_document
from reports.result_files import other_version, read_report, result_files
from reports.spreadsheet import inert_csv
from reports.write import check_folder, write_report

PAPERS = (*(f"table{number}" for number in range(1, 9)), "ablations", "figure1", "figure7")
"""Tables and figures that every report has, made or not."""


def report(
    runs: Annotated[tuple[str, ...], tyro.conf.arg(metavar="RUN ...")] = (),
    names: Annotated[tuple[str, ...], tyro.conf.arg(name="tables", metavar="TABLE ...")] = (),
    results: Path = OUT,
    out: Path = Path("reports/paper"),
    make_missing: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    pictures: bool = True,
    pdf: bool = True,
    device: str = "cpu",
) -> None:
    """Gather what is finished into a report like a paper: report.html, report.pdf, LaTeX, Markdown, CSV and JSON.

    Takes the results that `bench run` wrote to reports/out; a table of the paper that was not made is shown with the
    paper's numbers and the command that makes it.

        bench report
        bench report --make-missing
        bench report --runs mine/table4.json theirs/
        bench report --runs table4/efficientsam-ti-micro/coco --tables table4

    Args:
        runs: Only these: result files (table4.json), folders of them, or runs of the store (a fingerprint, or
            TABLE/MODEL[/DATA]), of which the rows that rest on them are shown. Default: all of --results.
        names: Only these tables and figures. Default: those of the paper, and all others that are finished.
        results: Folder of results, what `bench run --out` was given.
        out: Folder of the report.
        make_missing: First make the tables and figures of the paper that are missing, at micro scale (minutes).
        pictures: Whether models are asked again for the pictures: answers side by side, and the worst ones.
        pdf: Whether the PDF is made (extra `report`).
        device: Where models run for the pictures.
    """
    check_folder(out)
    modules = [tables.find(name) for name in names or PAPERS]
    if make_missing:
        if runs:
            raise BenchError("--make-missing makes tables of --results: leave it or --runs out")
        _make_missing(modules, results, device)
    if not this_process().is_first:
        return
    found, left_out = _chosen(runs, results) if runs else _finished(results)
    found = [one for one in found if not names or one.name in names]
    if not found:
        none = f"no finished table in '{results}': `bench report --make-missing` makes them"
        raise BenchError("; ".join([none, *left_out]))
    for line in left_out:
        notice(line)
    if not runs:
        made = {one.name for one in found}
        found += [not_made(table) for table in modules if table.NAME not in made]
    shown = list(in_order(found))
    inputs = _inputs(shown, left_out, pictures, device)
    with progress("report", total=None, unit="files") as advance:
        files = write_document(build(inputs), shown, out, pdf=pdf)
        advance(len(files))
    for name in ("report.html", "report.pdf"):
        if out / name in files:
            print(f"wrote {out / name}")
    notice(f"wrote {len(files)} files to {out}")


def _make_missing(wanted: Sequence[ModuleType], results: Path, device: str) -> None:
    """Make the tables that have no file yet, each model asked once for all of them."""
    missing = [table for table in wanted if not (results / f"{table.NAME}.json").exists()]
    if not missing:
        return
    notice(f"making {', '.join(table.NAME for table in missing)} at micro scale")
    check_folder(results)
    on = "" if device == "cpu" else f" --device {shlex.quote(device)}"
    for result in make(missing, replace(run_settings(None, device), scale="micro")):
        again = (
            f"python -m bench run {result.name} --scale micro{on if 'device' in tables.find(result.name).TAKES else ''}"
        )
        write_report(replace(result, command=again), results)


def _finished(folder: Path) -> tuple[list[TableResult], list[str]]:
    """Return the results of a folder, and a sentence for each file that is none."""
    found, left_out = [], []
    for path in result_files([folder]) if folder.is_dir() else []:
        try:
            found.append(_read(path))
        except BenchError as error:
            left_out.append(f"{path} is left out: {error}")
    return found, left_out


def _chosen(runs: Sequence[str], results: Path) -> tuple[list[TableResult], list[str]]:
    """Return the results that the user named, whole, or the rows that rest on the runs of the store that were named."""
    found: list[TableResult] = []
    left_out: list[str] = []
    prints: list[str] = []
    for name in runs:
        path = Path(name)
        if path.suffix == ".json" and path.is_file():
            found.append(_read_named(path))
        elif path.is_dir() and not (path / "run.json").is_file():
            of_folder, left = _finished(path)
            if not of_folder:
                raise BenchError("; ".join([f"'{path}' holds no finished table", *left]))
            found += of_folder
            left_out += left
        else:
            prints.append(find_run(name).fingerprint)
    if prints:
        every, left = _finished(results)
        rows = [part for one in every if (part := _resting_on(one, prints)) is not None]
        if not rows:
            raise BenchError(
                f"no result in '{results}' rests on the runs that --runs names: `bench run TABLE` makes their table"
            )
        found += rows
        left_out += left
    return found, left_out


def _read(path: Path) -> TableResult:
    """Read a result of which every part can be shown.

    Raises:
        BenchError: if it is damaged or of another version, in its provenance too.
    """
    result = read_report(path)
    try:
        to_frame(result)
        facts_of(result)
        judge([result])
        if result.name in tables.names():
            list(used_axes([result]))
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise other_version(error) from error
    return result


def _read_named(path: Path) -> TableResult:
    try:
        return _read(path)
    except BenchError as error:
        raise BenchError(f"'{path}' cannot be shown: {error}") from error


def _resting_on(result: TableResult, fingerprints: Sequence[str]) -> TableResult | None:
    """Return the rows of a result that rest on some runs, with its bounds; None if none does."""
    of_run = dict(result.provenance.get("runs") or {})
    chosen = {
        row.label
        for row in result.rows
        for name, found in of_run.items()
        if found in fingerprints and (name == row.label or name.startswith(f"{row.label} on "))
    }
    if not chosen:
        return None
    rows = tuple(row for row in result.rows if row.label in chosen or row.kind == "bound")
    kept = {row.label for row in rows}
    return replace(
        result,
        rows=rows,
        cells=tuple(cell for cell in result.cells if cell.row in kept),
        comparisons=tuple(one for one in result.comparisons if {one.first, one.second} <= kept),
    )


def _inputs(shown: Sequence[TableResult], left_out: Sequence[str], pictures: bool, device: str) -> Inputs:
    made = [one for one in shown if one.provenance]
    choices = tuple(Choice(*one) for one in used_axes(one for one in made if one.name in tables.names()))
    sheets, failures, missing = _pictures(made, device) if pictures else ((), (), ["pictures, as asked"])
    facts = provenance()
    commit = f" at commit {facts['git']['commit'][:12]}" if facts["git"] else ""
    version = facts["versions"].get("efficientsam-bench", "")
    return Inputs(
        results=tuple(shown),
        choices=choices,
        sources=sources(),
        examples=tuple(sheets),
        failures=tuple(failures),
        left_out=tuple([*left_out, *missing]),
        extra=(_claims(made), _gate(made)),
        byline=f"efficientsam-bench {version}{commit}, {facts['date'][:10]}",
    )


def _claims(made: Sequence[TableResult]) -> Section:
    """Return the claims of the paper's text, each beside its tables and what was measured."""
    verdicts = judge(made)
    rows = tuple(tuple(cells_of(one)) for one in verdicts)
    grid = Grid("claims", "Claims of the paper's text, one by one.", HEADS, rows)
    said = (Words(f"{line[:1].upper()}{line[1:]}.") for line in summary(verdicts))
    return Section("claims", "Claims of the text", (*said, grid))


def _gate(made: Sequence[TableResult]) -> Section:
    """Return how far cells are from what is expected of them, for tables of which something is."""
    expected = read_snapshot(EXPECTED)
    whole = [one for one in made if one.scale == "micro" and not one.own and not _is_limited(one)]
    compared = [one for one in whole if one.name in expected.tables]
    if not compared:
        none = "Nothing was compared: `bench regression` knows what to expect of whole tables at micro scale alone."
        return Section("gate", "Regression gate", (Words(none),))
    findings = compare(expected, Snapshot(cells_of_results(compared)), read_tolerances())
    drifted = [one for one in findings if one.drifted]
    names = ", ".join(one.name for one in compared)
    said = (
        f"{len(findings)} numbers of {names} were compared with what is expected of them (`bench regression`, "
        f"expectations of {str(expected.made_with.get('date', 'unknown date'))[:10]}): {len(drifted)} drifted."
    )
    rows = tuple(
        (one.table, one.row, one.column, f"{one.difference:+.4f}", f"{one.tolerance:.4f}", one.why) for one in drifted
    )
    head = ("table", "row", "column", "found - expected", "tolerance", "from")
    grids = (
        [Grid("drifted", "Numbers that drifted, 0..1 where percent.", head, rows, frozenset({3, 4}))] if rows else []
    )
    return Section("gate", "Regression gate", (Words(said), *grids))


def _is_limited(result: TableResult) -> bool:
    return any(note.startswith("limited run") for note in result.footnotes)


def _pictures(made: Sequence[TableResult], device: str) -> tuple[Sequence[Sheet], Sequence[Sheet], list[str]]:
    """Return sheets of answers, and why some are not shown."""
    from protocols.pictures.examples import pictures  # which needs torch

    table4 = next((one for one in made if one.name == "table4" and not one.own and not one.x), None)
    if table4 is None:
        return (), (), ["pictures of answers, which are made from a finished Table 4"]
    try:
        sheets = pictures(table4, run_settings(None, device))
    except BenchError as error:
        return (), (), [f"pictures of answers: {error}"]
    shown = (
        [Sheet(one.key, one.caption, one.strips, inert_csv(one.data)) for one in some]
        for some in (sheets.examples, sheets.failures)
    )
    return next(shown), next(shown), list(sheets.missing)
