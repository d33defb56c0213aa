"""`bench list published`: numbers that others published, and what keeps each from standing beside the paper's."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.cli.as_json import print_json
from models.errors import printable
from protocols import tables
from protocols.axes import PAPER
from protocols.defaults import of
from protocols.published import Number, difference, numbers

HEADS = ("table", "column", "model", "value", "protocol", "differs from the preset `paper`", "source")


def print_published(console: Console, *, as_json: bool) -> None:
    """Print all numbers as a table, or as JSON."""
    if as_json:
        print_json([{**one._asdict(), "differs_from_paper": _apart(one)} for one in numbers()])
        return
    table = Table(*HEADS, box=None)
    for one in numbers():
        value = one.value + (f" ({one.standing})" if one.standing else "")
        entries = (one.table, f"{one.data.upper()} {one.metric}", one.model, value, one.protocol or "not known")
        table.add_row(*(Text(printable(entry)) for entry in (*entries, _apart(one), one.source)))
    console.print(table)
    line = "A number is a footnote of `bench run` where data, column and the axes that matter for it are the same."
    console.print(Text(line))


def _apart(number: Number) -> str:
    """Say what of a number's protocol is not the paper's; of tables that the paper has not, what is not the preset's."""
    matters = of(tables.find(number.table), "MATTERS").get(number.column)
    return number.differs if matters is None else difference(number, PAPER, matters)
