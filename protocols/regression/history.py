"""The history of what is expected of the micro tables: a line of JSON for each `bench regression update`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.store.disk import write_whole
from protocols.regression.snapshots import EXPECTED, Snapshot
from protocols.results import Finding

HISTORY = "history.jsonl"
"""Name of the file, beside what is expected."""


def append_history(
    reason: str, findings: Sequence[Finding], found: Snapshot, changed: Sequence[str], folder: Path = EXPECTED
) -> dict[str, Any]:
    """Append an entry to a history and return it: when, why, which tables, what had moved, what the numbers rest on.

    Args:
        reason: in the words of whoever changed what is expected.
        findings: comparisons with what was expected before.
        found: what is expected from now on.
        changed: what is not as it was, in words.
        folder: of what is expected.
    """
    moved = [
        {
            "table": one.table,
            "row": one.row,
            "column": one.column,
            "level": one.level,
            **({"expected": one.expected, "found": one.found} if one.level == "mean" else {"said": one.said}),
        }
        for one in findings
        if one.drifted
    ]
    entry = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "reason": reason,
        "tables": found.tables,
        "moved": moved,
        "changed": list(changed),
        "versions": found.made_with.get("versions", {}),
        "git": found.made_with.get("git"),
    }
    path = folder / HISTORY
    before = path.read_bytes() if path.is_file() else b""
    write_whole(path, before + json.dumps(entry).encode() + b"\n")
    return entry
