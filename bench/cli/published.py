"""`bench list published`: numbers that others published, and what keeps each from standing beside the paper's."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from bench.cli.as_json import print_json
from models.errors import printable
from protocols import tables
from protocols.axes import PAPER
from protocols.defaults import of
from protocols.published import Number, difference, numbers

HOW = (
    "A number is a footnote of `bench run` where data, column and the axes that matter for it are the same; what "
    "differs from the preset `paper`, or is not known, is said above."
)


def print_published(console: Console, *, as_json: bool) -> None:
    """Print all numbers by source, column and protocol, or as JSON."""
    if as_json:
        print_json([{**one._asdict(), "differs_from_paper": _apart(one)} for one in numbers()])
        return
    groups: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for one in numbers():
        what = (one.table, f"{one.data.upper()} {one.metric}", one.protocol or "not known", _apart(one))
        groups.setdefault(one.source, {}).setdefault(what, []).append(one.words)
    for source, of_source in groups.items():
        console.print(Text(printable(source), "bold"), soft_wrap=True)
        for (table, column, protocol, apart), words in of_source.items():
            line = f"  {table} {column}, protocol {protocol}: {', '.join(words)}"
            console.print(Text(printable(line)), soft_wrap=True, highlight=False)
            if apart:
                console.print(Text(printable(f"    differs: {apart}"), "dim"), soft_wrap=True)
    console.print(Text(HOW), soft_wrap=True)


def _apart(number: Number) -> str:
    """Say what of a protocol is not the paper's; of tables that the paper has not, what is not the preset's."""
    matters = of(tables.find(number.table), "MATTERS").get(number.column)
    return number.differs if matters is None else difference(number, PAPER, matters)
