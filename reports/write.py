"""Write a result in every form, each file whole or not at all."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import BenchError
from protocols.results import TableResult
from reports.dataframe import to_frame
from reports.html import to_html
from reports.latex import to_latex
from reports.markdown import to_markdown
from reports.plot import pictures
from reports.wording import tame

KINDS = ("csv", "json", "md", "tex", "png", "html")


def write_report(result: TableResult, out: Path) -> list[Path]:
    """Write <name>.csv, .json, .md, .tex, .png and .html, and the table's pictures, <name>-<picture>.png.

    All is rendered before the first is written.

    Args:
        result: The table.
        out: The folder; made if it is not there.

    Returns:
        The files written, in the order of `KINDS`, then the pictures.

    Raises:
        BenchError: The folder or a file cannot be written.
    """
    if not re.fullmatch(r"\w[\w.-]*", result.stem):
        raise BenchError(f"'{result.name}' cannot be a file name: name the table with letters, digits, '-' and '_'")
    result = tame(result)
    frame = to_frame(result)
    png, svg = pictures(result, frame)
    numbers = frame.drop(columns=["paper", "difference", "outside"]) if result.own else frame
    siblings = tuple(f"{result.stem}.{kind}" for kind in KINDS if kind != "html")
    contents: dict[str, str | bytes] = {
        "csv": numbers.to_csv(index=False, lineterminator="\n"),
        "json": json.dumps(plain(result.to_json()), indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        "md": to_markdown(result, frame),
        "tex": to_latex(result, frame),
        "png": png,
        "html": to_html(result, frame, svg, siblings),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        files = [write_whole(out / f"{result.stem}.{kind}", contents[kind]) for kind in KINDS]
        return files + [write_whole(out / f"{result.stem}-{name}.png", png) for name, png in result.pictures.items()]
    except OSError as error:
        raise _refused(out, error.strerror or str(error)) from error


def check_folder(out: Path) -> None:
    """See, without making anything, whether a report may be written to a folder.

    Raises:
        BenchError: if it is a file or may not be written; it would be a pity to learn that after a day of work.
    """
    try:
        there = next(place for place in (out.absolute(), *out.absolute().parents) if place.exists())
    except OSError as error:
        raise _refused(out, error.strerror or str(error)) from error
    if not there.is_dir():
        raise _refused(out, f"{there} is a file")
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise _refused(out, f"{there} may not be written")


def _refused(out: Path, why: str) -> BenchError:
    return BenchError(f"cannot write the report to '{out}' ({why}): choose another folder")


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write one file, whole or not at all, and return its path."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # open(), not tempfile: a report has the rights that the user's umask gives, not 0600.
        with temporary.open("wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def plain(value: Any) -> Any:
    """Return what strict JSON can hold: NaN and infinity become null, numpy plain, other things words.

    >>> plain({"low": float("nan"), "path": Path("a"), "n": (1, 2)})
    {'low': None, 'path': 'a', 'n': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)
