"""`--json`, for commands that print a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import tyro

AsJson = Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff]
"""Type of the option."""


def print_json(rows: Sequence[Any]) -> None:
    """Print dataclasses or dicts as a JSON list."""
    print(json.dumps([row if isinstance(row, dict) else asdict(row) for row in rows], indent=1, default=str))
