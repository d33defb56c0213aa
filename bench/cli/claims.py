"""`bench claims`: each claim of the paper's text, its own tables, and what was measured here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.cli.as_json import AsJson, print_json
from bench.cli.run import OUT
from bench.progress import notice
from models.errors import BenchError, printable
from protocols.paper.verdicts import ASSUMED, Finding, Outcome, Verdict, judge
from protocols.results import TableResult
from reports.result_files import read_report

HEADS = ("claim", "section", "the text", "the paper's tables", "here", "measured")
STYLES = {"contradicted": "red", "holds": "green", "another number": "red"}


def claims(
    results: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE-OR-FOLDER ...")] = (),
    only: tuple[Outcome, ...] = (),
    markdown: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    fail_on: tuple[Outcome, ...] = (),
    as_json: AsJson = False,
) -> None:
    """Set each quantitative claim of the paper against the paper's own tables and against what was measured.

    Claims are about tables and figures that `bench run` makes; the newest result of each counts. A claim holds or is
    contradicted where the 95 % interval of the measured difference leaves out 0; where it does not, the ledger says how
    many images or trainings would decide. At micro scale only the direction of a difference is judged, and only of the
    micro world. What no result measures is named with the command that does.

    Args:
        results: Reports, table4.json etc., or folders of them; reports/out if not given.
        only: Print claims of these outcomes alone, e.g. contradicted undecided.
        markdown: Print a Markdown table.
        fail_on: End with exit code 1 if a claim has one of these outcomes, e.g. contradicted.
        as_json: Print everything as JSON, with each part of a claim and its interval.
    """
    verdicts = judge(_read(results))
    shown = [one for one in verdicts if not only or one.outcome in only]
    if as_json:
        print_json(shown)
    elif markdown:
        print(to_markdown(shown))
    else:
        _print(shown)
    if any(one.outcome in fail_on for one in verdicts):
        raise SystemExit(1)


def _read(paths: Sequence[Path]) -> list[TableResult]:
    """Read reports, the oldest first.

    Raises:
        BenchError: if a file that was named is no report, or a path is not there.
    """
    found: list[TableResult] = []
    for path in paths or ([OUT] if OUT.is_dir() else []):
        if path.is_dir():
            found += _of_folder(path)
        elif path.is_file():
            found.append(_named(path))
        else:
            raise BenchError(f"there is no report or folder '{path}': `bench run table4` writes to reports/out")
    return sorted(found, key=lambda result: str(result.provenance.get("date") or ""))


def _of_folder(folder: Path) -> list[TableResult]:
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(read_report(path))
        except BenchError as error:
            notice(f"{path} is left out: {error}")
    return found


def _named(path: Path) -> TableResult:
    try:
        return read_report(path)
    except BenchError as error:
        raise BenchError(f"'{path}' cannot be used: {error}") from error


def _print(verdicts: Sequence[Verdict]) -> None:
    console = Console()
    table = Table(*HEADS, box=None, pad_edge=False)
    for one in verdicts:
        cells = [Text(printable(cell)) for cell in cells_of(one)]
        cells[3].stylize(STYLES.get(one.tables.agreement, ""))
        cells[4].stylize(STYLES.get(one.outcome, ""))
        table.add_row(*cells)
    console.print(table)
    for line in summary(verdicts):
        console.print(Text(line), highlight=False)


def to_markdown(verdicts: Sequence[Verdict]) -> str:
    """Return the ledger as a Markdown table with what it assumes."""
    lines = [f"| {' | '.join(HEADS)} |", f"|{' --- |' * len(HEADS)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells_of(one))} |" for one in verdicts]
    return "\n".join([*lines, "", *(f"{line}\n" for line in summary(verdicts))]).rstrip()


def cells_of(one: Verdict) -> list[str]:
    """Return a claim as a line below `HEADS`."""
    tables = one.tables.words if one.tables.agreement == "another number" else one.tables.agreement
    if one.tables.agreement == "agrees within rounding":
        tables += f" ({one.tables.words})"
    numbers = "; ".join(_number(finding) for finding in one.findings[:2]) if len(one.findings) <= 2 else ""
    measured = "; ".join(text for text in (numbers.strip("; "), one.why) if text)
    statement = f"{one.claim.statement} ({one.claim.id})"
    return [statement, one.claim.section, one.claim.said, tables, one.outcome, measured]


def _number(finding: Finding) -> str:
    if finding.measured is None:
        return ""
    sign = "+" if " - " in finding.about or " > " in finding.about or " >= " in finding.about else ""
    ends = (
        "" if finding.low is None or finding.high is None else f" [{finding.low:{sign}.1f}, {finding.high:{sign}.1f}]"
    )
    return f"{finding.measured:{sign}.1f}{ends}"


def summary(verdicts: Sequence[Verdict]) -> list[str]:
    """Return how many claims came out how, and what that assumes."""
    tables = Counter(one.tables.agreement for one in verdicts)
    here = Counter(one.outcome for one in verdicts)
    lines = [
        f"{len(verdicts)} claims; text and tables of the paper: "
        + ", ".join(f"{name} {count}" for name, count in tables.items()),
        "measured here: " + ", ".join(f"{name} {count}" for name, count in here.items()),
    ]
    return [*lines, ASSUMED] if any(finding.wanted for one in verdicts for finding in one.findings) else lines
