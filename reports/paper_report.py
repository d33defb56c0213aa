"""The paper, done again: results as `bench run` wrote them become one document, every sentence from the data."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from protocols.results import TableResult
from reports import coverage, wording
from reports.comparisons import matrix, tally_line
from reports.dataframe import to_frame
from reports.document import Block, Command, Document, Grid, Numbers, Plot, Section, Sheet, Terms, Words
from reports.gather import facts_of, versions_of
from reports.plot import printed
from reports.spreadsheet import inert_csv

TITLE = "EfficientSAM, reproduced"
NOT_TABLES = ("figure1", "figure7", "click_curves")
"""Results that are drawn first, with their numbers in a table below; of others the table comes first."""
ABLATIONS = ("table6", "table7", "ablations")

OURS = ("coverage", "reasons", "provenance", "claims", "drifted")
"""Names of files of tables that are not the paper's."""
LONGEST_KEY = 60
"""Characters of the name of a table's files."""


class Choice(NamedTuple):
    """One axis of the protocol, as some tables set it."""

    name: str
    value: str
    meaning: str
    tables: str
    """Where it is set so."""
    papers: str
    """What the paper's own setting is, empty where this is it."""


class Inputs(NamedTuple):
    """What a report is made of."""

    results: tuple[TableResult, ...]
    choices: tuple[Choice, ...] = ()
    sources: str = ""
    """What the letters in meanings of choices stand for."""
    examples: tuple[Sheet, ...] = ()
    failures: tuple[Sheet, ...] = ()
    left_out: tuple[str, ...] = ()
    """Sentences on what could not be shown."""
    extra: tuple[Section, ...] = ()
    """Sections that others made."""
    byline: str = ""


def build(inputs: Inputs) -> Document:
    """Arrange a report; every text in it is made printable.

    Raises:
        BenchError: if a result lacks a cell or has two rows of one name.
    """
    inputs = wording.tame(inputs)
    found, drawn = list(_numbers(inputs.results)), (*NOT_TABLES, *ABLATIONS)
    parts = [
        _coverage(found, inputs.left_out),
        _methods(found, inputs),
        _tables([one for one in found if one.result.name not in NOT_TABLES]),
        _figures([one for one in found if one.result.name in NOT_TABLES]),
        _drawn("ablations", "Ablations, drawn", [one for one in found if one.result.name in ABLATIONS]),
        Section("examples", "Answers side by side", tuple(inputs.examples)),
        Section("failures", "The worst answers", tuple(inputs.failures)),
        _drawn("drawn", "The other tables, drawn", [one for one in found if one.result.name not in drawn]),
        *inputs.extra,
        _provenance(found),
    ]
    sections = tuple(part for part in parts if part.blocks or part.parts)
    return Document(TITLE, inputs.byline, tuple(coverage.abstract(found)), sections)


def _numbers(results: Iterable[TableResult]) -> Iterator[Numbers]:
    """Yield results under keys that differ, also where one table was measured twice."""
    seen: Counter[str] = Counter()
    for result in results:
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", result.stem)[:LONGEST_KEY].strip("-") or "table"
        stem = f"{stem}-table" if stem in OURS else stem
        seen[stem] += 1
        yield Numbers(stem if seen[stem] == 1 else f"{stem}-{seen[stem]}", result, to_frame(result))


def _coverage(found: Sequence[Numbers], left_out: Sequence[str]) -> Section:
    head = ("", "scale", "paper's numbers", "measured", "agree", "differ", "not compared", "not measured")
    places = [wording.place(one.result) if _measured(one) else "nothing measured" for one in found]
    rows = [
        (one.result.title, place, *map(str, _row(coverage.count([one]))))
        for one, place in zip(found, places, strict=True)
    ]
    total = ("all", "", *map(str, _row(coverage.count(found))))
    words = (
        "A number of the paper agrees if it lies within our 95 % interval, as far as its rounding tells, and differs "
        "if it lies outside. It is not compared where data, models or choices are others than the paper's, or where "
        "ours has no interval. Numbers that the paper prints twice, in a table and in a figure, count twice."
    )
    caption = "Coverage: the paper's numbers by what became of them."
    blocks: list[Block] = [Words(words), Grid("coverage", caption, head, (*rows, total), frozenset(range(2, 8)))]
    if why := coverage.reasons(found):
        lines = tuple((one.status, one.why, ", ".join(one.tables), str(one.cells)) for one in why)
        caption = "Why numbers of the paper were not measured here."
        blocks.append(Grid("reasons", caption, ("status", "why", "in", "numbers"), lines, frozenset({3})))
    blocks += [Words(f"Left out: {sentence}") for sentence in left_out]
    return Section("coverage", "Coverage", tuple(blocks))


def _row(cells: coverage.Cells) -> tuple[int, ...]:
    return cells.printed, cells.measured, cells.agree, cells.differ, cells.apart, cells.missing


def _methods(found: Sequence[Numbers], inputs: Inputs) -> Section:
    """Say how the numbers were made, from what the results themselves say of it."""
    worlds = _together((one.result.world, one.result.name) for one in found if _measured(one))
    intervals = _together((one.result.interval, one.result.name) for one in found if _measured(one))
    pairings = _together((one.result.pairing, one.result.name) for one in found if one.result.comparisons)
    parts = [
        Section("methods-data", "Data and models", (Terms(worlds),)),
        Section(
            "methods-intervals",
            "Intervals and comparisons",
            (
                Words(
                    "Numbers are in percent where the paper's are; an interval is printed as ± its wider side, and "
                    "both its ends are in the files of numbers."
                ),
                Terms(tuple((names, f"cells: {words}") for names, words in intervals)),
                Terms(tuple((names, f"differences: {words}") for names, words in pairings)),
            ),
        ),
    ]
    if inputs.choices:
        note = f"Each choice is named with the value that the numbers were made with. {inputs.sources}"
        pairs = tuple((_choice(one), one.meaning) for one in inputs.choices)
        parts.append(Section("methods-choices", "Choices of the protocol", (Terms(pairs), Words(note.strip()))))
    return Section("methods", "Methods", (), tuple(parts))


def _choice(one: Choice) -> str:
    said = f"{one.name} = {one.value} ({one.tables})"
    return f"{said}, the paper: {one.papers}" if one.papers else said


def _together(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return (names, words) for each different words."""
    names: dict[str, dict[str, None]] = {}
    for words, name in pairs:
        names.setdefault(words, {})[name] = None
    return tuple((", ".join(of), words) for words, of in names.items())


def _measured(one: Numbers) -> bool:
    return bool(one.frame["measured"].notna().any())


def _tables(found: Sequence[Numbers]) -> Section:
    return Section(
        "tables", "Tables", (), tuple(Section(f"of-{one.key}", one.result.title, _table(one)) for one in found)
    )


def _table(one: Numbers) -> tuple[Block, ...]:
    """Return a table with what is said of it."""
    result = one.result
    if not result.rows or not result.columns:
        return (Words("This run holds no numbers: it has no rows or no columns."), *_again(one))
    blocks: list[Block] = []
    if (caution := wording.caution(result)) and _measured(one) and result.name not in NOT_TABLES:  # figures say it
        blocks.append(Words(caution, caution=True))
    if (found := matrix(result)).pairs:
        blocks.append(Words(f"Orders of methods: {tally_line(found.tally)}."))
    return (*blocks, one, *_again(one))


def _again(one: Numbers) -> tuple[Block, ...]:
    return (Command(one.result.command),) if one.result.command else ()


def _figures(found: Sequence[Numbers]) -> Section:
    parts = tuple(
        Section(f"of-{one.key}", one.result.title, (*([plot_of(one)] if _measured(one) else []), *_table(one)))
        for one in found
    )
    return Section("figures", "Figures", (), parts)


def _drawn(key: str, title: str, found: Sequence[Numbers]) -> Section:
    """Return the drawings of tables of which something was measured."""
    return Section(key, title, tuple(plot_of(one) for one in found if _measured(one)))


def plot_of(one: Numbers) -> Plot:
    """Return the drawing of a result, with its numbers."""
    result = one.result
    drawing = printed(result, one.frame)
    word = wording.measured_word(result)
    ours = sum(not math.isnan(value) for value in one.frame["measured"])
    caption = f"{result.title} ({wording.setting(result)}): {word}, {result.interval}. {wording.caution(result)}"
    beside = " beside the numbers of the paper" if wording.has_paper(result) else ""
    alt = (
        f"{result.title}: {ours} measured numbers of {len(result.rows)} rows and {len(result.columns)} columns{beside}"
        f"; the same numbers are in {one.key}.csv"
    )
    return Plot(one.key, caption.strip(), alt, drawing.svg, drawing.png, drawing.pdf, inert_csv(one.frame))


def _provenance(found: Sequence[Numbers]) -> Section:
    """Say on what the numbers rest: command, commit, machine, versions, a line a table."""
    head = ("", "version (commit)", "date", "engine", "machine", "data")
    rows = tuple((one.key, *facts_of(one.result)) for one in found if one.result.provenance)
    caption = "What each table rests on; the whole record is in report.json."
    versions = _together(
        (f"{name} {version}", one.key) for one in found for name, version in versions_of(one.result).items()
    )
    everywhere = ", ".join(one.key for one in found if one.result.provenance)
    said = tuple(("everywhere" if names == everywhere else names, words) for names, words in _merged(versions))
    return Section("provenance", "Provenance", (Grid("provenance", caption, head, rows), Terms(said)))


def _merged(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return words that have the same names as one entry."""
    words: dict[str, list[str]] = {}
    for names, said in pairs:
        words.setdefault(names, []).append(said)
    return tuple((names, ", ".join(all_said)) for names, all_said in words.items())
