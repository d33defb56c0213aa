"""`bench runs`: what the run store holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import store
from bench.cli.as_json import AsJson, print_json
from bench.store.stored import about
from models.errors import printable


def list_runs(as_json: AsJson = False) -> None:
    """List the runs of the store (./runs or $BENCH_RUNS), the newest first.

    Args:
        as_json: Print them as JSON.
    """
    found = store.list_runs()
    if as_json:
        print_json(found)
        return
    table = Table("run", "what", "shards", "size", "last write", box=None)
    for run in found:
        table_name, model, data = about(run.identity)
        what = run.problem or f"{table_name or '?'}: {model} {data}{_extent(run.identity)}"
        size, written = f"{run.bytes / 1e6:.1f} MB", f"{run.last_write:%Y-%m-%d %H:%M}"
        entries = (run.fingerprint, what, f"{run.done} of {run.shards}", size, written)
        table.add_row(*(Text(printable(entry)) for entry in entries))
    Console().print(table)


def _extent(identity: Mapping[str, Any]) -> str:
    images = identity.get("images")
    count = images.get("count") if isinstance(images, dict) else None
    return f", {count:,} images" if isinstance(count, int) else ""
