"""The leaderboard: all measured numbers as one CSV, and as rankings on a page in Markdown and HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from models.errors import BenchError
from reports.gather import Entry
from reports.html import environment
from reports.markdown import escape, pipe_table
from reports.spreadsheet import inert_csv
from reports.wording import bracket, number
from reports.write import write_whole

NAME = "leaderboard"
TITLE = "Leaderboard"
HEADS = ("model", "rank", "value", "95 % interval", "n", "weights", "engine", "hardware", "date")
LEGEND = (
    "Ranks order values alone, equal ones as printed share a rank. Whether two models differ is decided by the paired "
    "differences in their reports. Bounds (floor, ceiling) have no rank, nor has a column of which it is not known "
    "which way is better."
)
_ORDER = ("paper scale", "own data", "mixed scale", "micro scale")


class Ranked(NamedTuple):
    """One line of a ranking, as printed."""

    model: str
    rank: str
    value: str
    interval: str
    n: str
    weights: str
    engine: str
    hardware: str
    date: str
    note: str


class Ranking(NamedTuple):
    """Numbers that may be compared: one column of one table, by one protocol on the same data at one scale."""

    scale: str
    title: str
    column: str
    about: str
    """Protocol and data, in words."""
    lines: list[Ranked]


def rankings(entries: Iterable[Entry]) -> list[Ranking]:
    """Return a ranking for each set of comparable numbers, those at paper scale first."""
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for entry in sorted(entries, key=_place):
        groups.setdefault(_comparable(entry), []).append(entry)
    return [
        Ranking(one[0].scale, one[0].title, one[0].column, _about(one[0]), list(_ranked(one)))
        for one in groups.values()
    ]


def _place(entry: Entry) -> tuple[int, str, str, str]:
    place = next((i for i, beginning in enumerate(_ORDER) if entry.scale.startswith(beginning)), len(_ORDER))
    return place, entry.scale, entry.table, entry.protocol


def _comparable(entry: Entry) -> tuple[str, ...]:
    """Return what numbers must share: what is no percentage may be a time, which holds on one machine alone."""
    machine = "" if entry.percent or (entry.less and entry.data) else entry.hardware
    return (entry.scale, entry.table, entry.title, entry.protocol, entry.data, entry.key, entry.engine, machine)


def _about(entry: Entry) -> str:
    protocol = f"protocol: {entry.protocol}" if entry.protocol else ""
    return "; ".join(part for part in (protocol, entry.data, f"engine: {entry.engine}") if part)


def _ranked(entries: list[Entry]) -> Iterator[Ranked]:
    """Yield entries, the best first, bounds last."""
    known = entries[0].percent or entries[0].less
    sign = 1 if entries[0].less else -1
    competing = sorted(
        (one for one in entries if one.kind != "bound"), key=lambda one: sign * one.value if known else 0
    )
    printed = [number(one.value, one.percent) for one in competing]
    for entry, value in zip(competing, printed, strict=True):
        yield _line(entry, str(1 + printed.index(value)) if known else "")
    yield from (_line(entry, "") for entry in entries if entry.kind == "bound")


def _line(entry: Entry, rank: str) -> Ranked:
    low, high = (math.nan if end is None else end for end in (entry.low, entry.high))
    return Ranked(
        entry.model,
        rank,
        number(entry.value, entry.percent),
        bracket(low, high, entry.percent),
        f"{entry.n:,}" if entry.n else "",
        "+".join(one[:12] for one in entry.weights.split("+")),
        entry.engine,
        entry.hardware,
        entry.date,
        entry.note,
    )


def to_csv(entries: Iterable[Entry]) -> str:
    """Return one line a number; percentages stay 0..1, and no text is a formula to a spreadsheet."""
    return inert_csv(pd.DataFrame(list(entries), columns=list(Entry._fields)))


def to_markdown(found: Iterable[Ranking]) -> str:
    """Render rankings as Markdown."""
    parts, scale, title = [f"# {TITLE}", escape(LEGEND)], "", ""
    for one in found:
        if one.scale != scale:
            parts.append(f"## {escape(one.scale)}")
        if (one.scale, one.title) != (scale, title):
            parts.append(f"### {escape(one.title)}")
        scale, title = one.scale, one.title
        parts += [f"**{escape(one.column)}** ({escape(one.about)})"]
        parts.append(pipe_table(list(HEADS), [[escape(text) for text in line[: len(HEADS)]] for line in one.lines]))
    return "\n\n".join(parts) + "\n"


def to_html(found: list[Ranking]) -> str:
    """Render rankings as a page of its own."""
    template = environment().get_template("leaderboard.html.j2")
    return template.render(title=TITLE, legend=LEGEND, heads=HEADS, rankings=found, csv=f"{NAME}.csv")


def write_leaderboard(entries: list[Entry], out: Path) -> list[Path]:
    """Write leaderboard.csv, .md and .html; all is rendered before the first is written.

    Raises:
        BenchError: if the folder or a file cannot be written.
    """
    found = rankings(entries)
    contents = {"csv": to_csv(entries), "md": to_markdown(found), "html": to_html(found)}
    return write_texts({f"{NAME}.{kind}": text for kind, text in contents.items()}, out)


def write_texts(texts: dict[str, str], out: Path) -> list[Path]:
    """Write files to a folder, each whole or not at all.

    Raises:
        BenchError: if the folder or a file cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        return [write_whole(out / name, text) for name, text in texts.items()]
    except OSError as error:
        why = error.strerror or str(error)
        raise BenchError(f"cannot write to '{out}' ({why}): choose another folder with --out") from error
