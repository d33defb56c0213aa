"""Write the tables of docs/regression.md: each planted fault with what caught it, and the clean code elsewhere.

    python -m tests.mutants [--images N] [NAME ...]

plants every fault on all images (or the first N) of the tables and models that it concerns: minutes. What
`bench regression measure` found is told from protocols/expected/differences.csv.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import tyro

from bench.progress import progress
from protocols import table2, table5
from protocols.regression.conditions import CONDITIONS
from protocols.regression.tolerances import DIFFERENCES, FACTOR, FLOOR, read_tolerances
from protocols.results import Finding
from tests.mutants.gate import against
from tests.mutants.mutants import ALL

DOCS = Path(__file__).parents[2] / "docs" / "regression.md"
RESULTS = Path(__file__).with_name("caught.json")
"""What was found, by fault: a fault that is planted again replaces its entry alone."""
BEGIN, END = "<!-- {} begin: made by `{}` -->", "<!-- {} end -->"
ONLY_RECORDS = "records only"


def main(names: tyro.conf.Positional[tuple[str, ...]] = (), images: int | None = None) -> None:
    """Plant faults and write what caught them into the documentation.

    Args:
        names: Faults, by the beginnings of their names; without any, all.
        images: How many of each data set models are asked about where the fault is in that; means are then those of
            these images.
    """
    table2.REPLICATES = table5.REPLICATES = 2  # nobody looks at intervals here
    wanted = [name for name in ALL if not names or name.startswith(names)]
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    with progress("faults", total=len(wanted), unit="faults") as advance:
        for name in wanted:
            with tempfile.TemporaryDirectory() as folder:
                limit = max(images, ALL[name].images or 0) if images is not None and ALL[name].records else None
                results[name] = told(against(ALL[name], Path(folder), limit=limit), limit)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            advance(1)
    write_docs(results)


def told(findings: Sequence[Finding], images: int | None) -> dict[str, str]:
    """Return what the gate said of a fault: at each level the finding that is furthest off."""
    said = {"images": "all" if images is None else f"first {images}"}
    for level in ("mean", "records"):
        drifted = [one for one in findings if one.level == level and one.drifted]
        of_level = [one for one in findings if one.level == level]
        if drifted:
            worst = max(drifted, key=lambda one: abs(one.difference) / one.tolerance)
            off, may = (f"{100 * value:.2f}" for value in (worst.difference, worst.tolerance))
            said[level] = f"{worst.table} {worst.row} {worst.column}: {off} (may be {may})"
        elif of_level:
            nearest = max(of_level, key=lambda one: abs(one.difference) / one.tolerance)
            said[level] = f"held ({100 * nearest.difference:.2f}, may be {100 * nearest.tolerance:.2f})"
        else:
            said[level] = "not compared"
    return said


def write_docs(results: dict[str, dict[str, str]]) -> None:
    """Put both tables between their marks in the documentation."""
    text = DOCS.read_text(encoding="utf-8")
    text = _replaced(text, "mutants", "python -m tests.mutants", list(_mutants(results)))
    text = _replaced(text, "conditions", "bench regression measure && python -m tests.mutants", list(_conditions()))
    DOCS.write_text(text, encoding="utf-8")


def _replaced(text: str, name: str, command: str, lines: Sequence[str]) -> str:
    begin, end = BEGIN.format(name, command), END.format(name)
    before, rest = text.split(begin)
    return f"{before}{begin}\n{chr(10).join(lines)}\n{end}{rest.split(end)[1]}"


def _mutants(results: dict[str, dict[str, str]]) -> Iterator[str]:
    yield "| fault | caught by | mean, points | records that moved, % | images |"
    yield "|---|---|---|---|---|"
    for name in ALL:
        if name not in results:
            continue
        one = results[name]
        caught = [level for level in ("mean", "records") if "(may be" in one[level]]
        by = {("mean", "records"): "both", ("mean",): "means only", ("records",): f"**{ONLY_RECORDS}**"}
        word = by.get(tuple(caught), "not caught")
        yield f"| {name} | {word} | {one['mean']} | {one['records']} | {one['images']} |"


def _conditions() -> Iterator[str]:
    measured = pd.read_csv(DIFFERENCES)
    tolerances = read_tolerances()
    yield "| condition | table | largest difference of a mean, points | of its tolerance | records moved, at most |"
    yield "|---|---|---|---|---|"
    for (condition, table), part in measured.groupby(["condition", "table"], sort=False):
        what = CONDITIONS[str(condition)].what if condition in CONDITIONS else str(condition)
        largest = {level: of.loc[of["difference"].idxmax()] for level, of in part.groupby("level")}
        mean, records = largest.get("mean"), largest.get("records")
        share = mean["difference"] / tolerances.of(mean["table"], mean["column"], "mean").value
        moved = "" if records is None else f"{100 * records['difference']:.2f} %"
        yield f"| {what} | {table} | {100 * mean['difference']:.3f} | {share:.0%} | {moved} |"
    yield ""
    yield (
        f"Tolerances are {FACTOR:g} times the largest of these for each column, and at least {100 * FLOOR['mean']:g} "
        f"points or {100 * FLOOR['records']:g} % of the records."
    )


if __name__ == "__main__":
    tyro.cli(main)
