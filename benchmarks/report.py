"""Put the figures of benchmarks/results into docs/performance.md. Run `python benchmarks/report.py` after measuring."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "performance.md"
BEGIN = "<!-- from here on written by benchmarks/report.py -->\n"


def main() -> None:
    """Write everything below the mark anew."""
    kept, mark, _ = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    assert mark, f"{PAGE} has lost its mark"
    PAGE.write_text(kept + mark + "".join(map(_section, sorted(RESULTS.glob("*.json")))), encoding="utf-8")


def _section(path: Path) -> str:
    """Return the tables of one benchmark and how they were made."""
    content = json.loads(path.read_text(encoding="utf-8"))
    made = content["made_with"]
    hardware = made["hardware"]
    where = [hardware["cpu"], f"{hardware['usable_cores']} cores"]
    if threads := made["threads"].get("torch"):  # not of benchmarks that import no torch
        where.append(f"{threads} threads")
    where.append(f"torch {made['versions']['torch']}")
    script, *options = made["argv"][1:]
    given = [one for one, before in zip(options, ["", *options], strict=False) if "--out" not in (one, before)]
    command = " ".join([f"python benchmarks/{Path(script).name}", *given])
    tables = "".join(f"\n{title}{_table(rows)}" for title, rows in _lists("", content["figures"]))
    return f"\n### {path.stem}\n\n`{command}` on {made['date'][:10]}: {', '.join(where)}.\n{tables}"


def _lists(title: str, found: Any) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Yield every list of figures in a nest of them, and what it is about."""
    if isinstance(found, list):
        yield f"{title}:\n\n" if title else "", found
    else:
        for name, inner in found.items():
            yield from _lists(f"{title}, {name}" if title else name, inner)


def _table(rows: list[Mapping[str, Any]]) -> str:
    flat = [dict(_flat("", row)) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    lines = [columns, ["---"] * len(columns), *([_shown(row.get(name)) for name in columns] for row in flat)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _flat(before: str, row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the values of a nest by their names."""
    for name, value in row.items():
        full = f"{before} {name}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(full, value)
        else:
            yield full, value


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if value < 100 else f"{value:,.0f}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
