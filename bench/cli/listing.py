"""`bench list` and `bench runs`: what can be run here, what cannot and why, and what was run."""

from __future__ import annotations

import importlib.util
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench import paths, store
from bench.cli.makers import MAKERS
from bench.data import open_instances
from bench.data.published import INSTANCE_SETS
from models import box_detectors, classifiers, detectors, row_cards, zoo
from models.errors import BenchError
from models.mask2former import cards as segmentation_models
from protocols.axes import PRESETS
from protocols.tables import PAPER_ROWS


def list_all() -> None:
    """Say which tables, models and data sets can be run here, and what is missing for the others."""
    console = Console()
    console.print("[bold]tables[/]")
    for name, maker in MAKERS.items():
        console.print(f"  {name:9}  {maker.title}: `bench run {name}`", highlight=False, soft_wrap=True)
    console.print(f"[bold]presets[/]\n  {', '.join(PRESETS)}", highlight=False)
    console.print(_models())
    console.print(_of_rows("classifier", classifiers))
    console.print(_of_rows("detector", detectors))
    console.print(_cascades())
    console.print(_segmentation_models())
    console.print("[bold]data sets[/]")
    for line in _data_sets():
        console.print(f"  {line}", highlight=False, soft_wrap=True)


def _models() -> Table:
    """Return a line for each model: what it stands for, whether it can run, and if not, how to get it."""
    rows = {row.full_size: row.label for table in PAPER_ROWS.values() for row in table}
    rows |= {row.micro: f"{row.label} (micro)" for table in PAPER_ROWS.values() for row in table}
    table = Table("model", "stands for", "here", "what is missing", box=None, title_justify="left")
    table.title = "[bold]models[/]"
    for name in zoo.names():
        usable = zoo.available(name)[0]
        table.add_row(name, rows.get(name, ""), "[green]yes[/]" if usable else "no", escape(_way_to_get(name, usable)))
    table.add_row("floor, ceiling", "frames of every table", "[green]yes[/]", "")
    return table


def _of_rows(kind: str, registry: Any) -> Table:
    """Return a line for each classifier of Table 1, or detector of Table 2, that weights exist for."""
    table = Table(kind, "stands for", "here", "what is missing", box=None, title_justify="left")
    table.title = f"[bold]{kind}s[/]"
    for card in (one for one in registry.CARDS if one.filename is not None):
        usable, why = registry.available(card.name)
        row = card.paper_row if card.scale == "paper" else f"{card.paper_row} (micro)"
        table.add_row(card.name, row, "[green]yes[/]" if usable else "no", escape(why))
    return table


def _cascades() -> Table:
    """Return a line for each published detector that `bench boxes` writes Table 5's boxes with."""
    table = Table("box detector", "of", "here", "what is missing", box=None, title_justify="left")
    table.title = "[bold]box detectors[/]"
    for card in box_detectors.CASCADES:
        usable, why = row_cards.available(card)
        table.add_row(card.name, card.data.upper(), "[green]yes[/]" if usable else "no", escape(why))
    return table


def _segmentation_models() -> Table:
    """Return a line for each model of Table 3 that weights exist or can be trained for."""
    table = Table("segmentation model", "stands for", "here", "what is missing", box=None, title_justify="left")
    table.title = "[bold]segmentation models[/]"
    for card in segmentation_models.CARDS:
        if card.filename is not None:
            usable, why = segmentation_models.available(card.name)
            table.add_row(card.name, f"{card.paper_row} (micro)", "[green]yes[/]" if usable else "no", escape(why))
    return table


def _way_to_get(name: str, usable: bool) -> str:
    """Return the command that makes a model usable here, empty if it is."""
    card = zoo.card(name)
    if usable:
        return ""
    if card.requires is not None and importlib.util.find_spec(card.requires[0]) is None:
        return f'pip install "{card.requires[1]}"'
    if card.scale == "micro":
        return "nox -s train_micro"
    return f"bench weights fetch {name}" + (f" ({card.bytes / 1e6:,.0f} MB)" if card.bytes else "")


def _data_sets() -> list[str]:
    lines = ["dead leaves (micro scale): drawn on first use"]
    root = paths.data_root()
    if root is None:
        return [
            *lines,
            "coco, lvis: set BENCH_DATA to their folder; `bench data verify coco lvis` then checks it",
        ]
    for name in INSTANCE_SETS:
        try:
            found = open_instances(name, root)
            lines.append(f"{name}: {len(found.images):,} images, {found.n_annotations:,} annotations in {root}")
        except BenchError as error:
            lines.append(f"{name}: {error}")
    return lines


def list_runs() -> None:
    """List the runs of the store (./runs or $BENCH_RUNS), the newest first."""
    table = Table("run", "what", "shards", "size", "last write", box=None)
    for run in store.list_runs():
        identity = run.identity
        what = " ".join(str(identity.get(key, {}).get("name", "")) for key in ("model", "data"))
        what = run.problem or f"{identity.get('protocol', '?')}: {what}"
        size, written = f"{run.bytes / 1e6:.1f} MB", f"{run.last_write:%Y-%m-%d %H:%M}"
        table.add_row(run.fingerprint, what, f"{run.done} of {run.shards}", size, written)
    Console().print(table)
