"""What MkDocs does to pages before it reads them: takes in files of the repository and page parts.

A line `{include FILE}` becomes that file, its path from the repository's root, with links to docs/ made to fit.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
INCLUDE = re.compile(r"^\{include (\S+)\}$", re.MULTILINE)
FILE_OF_BLOCK = re.compile(r"^```(\w+) (\S+/\S+)$", re.MULTILINE)
"""A block that CONTRIBUTING.md gives as the content of a file."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page with the files that it includes.

    Raises:
        FileNotFoundError: if one is not there.
    """
    return INCLUDE.sub(lambda found: included(found[1]), markdown)


def included(name: str) -> str:
    """Return a file as a part of a page at the top of docs/."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    return FILE_OF_BLOCK.sub(r'```\1 title="\2"', text)
