"""Reports that are on disk, as lines of one leaderboard: who measured what, how, on which data and machine."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from models.errors import BenchError, printable
from protocols.results import Cell, Column, Row, Status, TableResult
from reports.wording import group_name, place, tame

MOST_BYTES = 64 * 2**20
"""A larger file is no report: those of this project's tables have some 100 kB."""
NOT_RECORDED = "not recorded"
_WORDS = (
    "key",
    "label",
    "group",
    "apart",
    "kind",
    "note",
    "row",
    "column",
    "status",
    "why",
    "first",
    "second",
    "verdict",
)
_WORDS_OF_ALL = ("name", "title", "scale", "world", "preset", "command", "interval", "pairing", "row_head", "own")
_NUMBERS = ("paper", "measured", "low", "high")
STATUSES = get_args(Status)


class Entry(NamedTuple):
    """One measured number and what it rests on."""

    model: str
    """The name that commands take; of rows without a model the row's."""
    table: str
    column: str
    """As printed, with its data set: COCO box."""
    value: float
    """0..1 where `percent`."""
    low: float | None
    """Lower end of the 95 % interval."""
    high: float | None
    n: int
    """Prompts, detections or images behind the number."""
    percent: bool
    scale: str
    """paper scale, micro scale, mixed scale or own data (NAME): numbers of two of them are never ranked together."""
    protocol: str
    """The preset, or the nearest one and what differs from it; empty where there is but one."""
    data: str
    """Name, number of images and hash of the data set, and of a detector's boxes; empty for tables without data."""
    weights: str
    """sha256 of the weights; of several files joined by '+'."""
    engine: str
    hardware: str
    date: str
    """UTC."""
    row: str
    kind: str
    """Of the row: paper, bound or extra."""
    note: str
    """What a reader must know about the row: custom checkpoint, micro model, ..."""
    key: str
    """Of the column."""
    less: bool
    """Whether less is better; of other percentages more is."""
    title: str
    """Of the table."""
    command: str
    version: str
    """Of this project, with the commit where it is known."""
    report: str
    """The file."""

    @property
    def measurement(self) -> tuple[object, ...]:
        """Return what is the same where a number was only measured again."""
        volatile = {"value", "low", "high", "n", "date", "command", "version", "report"}
        return tuple(value for name, value in self._asdict().items() if name not in volatile)


def gather(folders: Sequence[Path]) -> tuple[list[Entry], list[str]]:
    """Read all reports in some folders; of a number that was measured twice in the same way the newest is taken.

    Args:
        folders: of `bench run --out`.

    Returns:
        The numbers, and a sentence for each file that was left out.

    Raises:
        BenchError: if a folder is not there or cannot be read, or holds no finished table.
    """
    found: dict[tuple[object, ...], Entry] = {}
    left_out: list[str] = []
    for path in result_files(folders):
        try:
            entries = list(_entries(read_report(path), path))
        except BenchError as error:
            left_out.append(f"{path} is left out: {error}")
            continue
        for entry in entries:
            known = found.get(entry.measurement)
            if known is None or known.date <= entry.date:
                found[entry.measurement] = entry
    if not found:
        where = ", ".join(f"'{folder}'" for folder in folders)
        raise BenchError("; ".join([f"no finished table in {where}: make one with `bench run table4`", *left_out]))
    return list(found.values()), left_out


def result_files(folders: Sequence[Path]) -> list[Path]:
    """Return the JSON files of some folders, which may hold results.

    Raises:
        BenchError: if a folder is not there or cannot be read.
    """
    for folder in folders:
        if not folder.is_dir():
            raise BenchError(f"there is no folder of reports '{folder}': `bench run table4` writes to reports/out")
    try:
        return [path for folder in dict.fromkeys(folders) for path in sorted(folder.iterdir()) if _is_json(path)]
    except OSError as error:
        raise BenchError(f"cannot read the folder '{error.filename}' ({error.strerror}): name another") from error


def _is_json(path: Path) -> bool:
    return path.suffix == ".json" and path.is_file()


def read_report(path: Path) -> TableResult:
    """Read one result that `bench run` wrote; every text in it is printable.

    Raises:
        BenchError: if it is damaged, of another version or no report.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BenchError("it is too large for a report of `bench run`")
        return _checked(tame(TableResult.from_json(json.loads(path.read_text(encoding="utf-8")))))
    except OSError as error:
        raise BenchError(f"it cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise BenchError("it is damaged, no whole JSON: run the command that made it again") from error
    except (TypeError, KeyError, AttributeError) as error:
        raise _other_version(error) from error


def _checked(result: TableResult) -> TableResult:
    """Return a result whose numbers are numbers and whose words are words.

    Raises:
        TypeError: if a field holds what it cannot.
    """
    parts = (*result.columns, *result.rows, *result.cells, *result.comparisons)
    words = [*(getattr(part, name) for part in parts for name in _WORDS if hasattr(part, name)), *result.footnotes]
    for word in (*words, *(getattr(result, name) for name in _WORDS_OF_ALL)):
        _text(word)
    for cell in result.cells:
        _number(cell.n)
    for number in (getattr(part, name) for part in (*result.cells, *result.comparisons) for name in _NUMBERS):
        if number is not None:
            _number(number)
    for place in result.x:
        _number(place)
    if any(cell.status not in STATUSES for cell in result.cells):
        raise TypeError("a status that it does not know")
    if not isinstance(result.provenance, Mapping):
        raise TypeError("a provenance without names")
    return result


def _other_version(error: Exception) -> BenchError:
    return BenchError(f"it is no report of this version of `bench run` ({error}): run the command that made it again")


def _entries(result: TableResult, path: Path) -> Iterator[Entry]:
    """Yield the measured numbers of a report, column by column.

    Raises:
        BenchError: if a field holds what it cannot, or the rows are no models.
    """
    if result.x:
        raise BenchError("it is a curve, whose rows are no models")
    try:
        cells = {(cell.row, cell.column): cell for cell in result.cells if cell.measured is not None}
        for column in result.columns:
            for row in result.rows:
                if (row.label, column.key) in cells:
                    yield _entry(result, row, column, cells[row.label, column.key], path)
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
        raise _other_version(error) from error


def _entry(result: TableResult, row: Row, column: Column, cell: Cell, path: Path) -> Entry:
    facts = result.provenance
    identity = _mapping(_mapping(facts, "models"), row.label) or _by_name(_mapping(facts, "models"), row.model)
    ran = bool(identity) or not {"models", "trainings"} & facts.keys()  # else it stands on recorded answers
    return Entry(
        model=_text(row.model or row.label),
        table=_text(result.name),
        column=f"{group_name(result, _text(column.group))} {_text(column.label)}".strip(),
        value=_number(cell.measured),
        low=None if cell.low is None else _number(cell.low),
        high=None if cell.high is None else _number(cell.high),
        n=int(_number(cell.n)),
        percent=column.percent is True,
        scale=_text(place(result)),
        protocol=_text(result.preset),
        data=_data(result, column),
        weights=_weights(identity),
        engine=_engine(facts) if ran else NOT_RECORDED,
        hardware=_hardware(_mapping(facts, "hardware"), str(identity.get("device", ""))) if ran else NOT_RECORDED,
        date=str(facts.get("date") or NOT_RECORDED),
        row=_text(row.label),
        kind=_text(row.kind),
        note=_text(row.note),
        key=_text(column.key),
        less=column.less is True,
        title=_text(result.title),
        command=_text(result.command),
        version=_version(facts),
        report=printable(str(path)),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where a text belongs")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{value!r} where a number belongs")
    return float(value)


def _mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a part of the provenance, empty where it was not recorded."""
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}


def _by_name(models: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    """Return the identity of a model by its own name: reports on own data call rows so."""
    return next((one for one in models.values() if isinstance(one, Mapping) and one.get("name") == name), {})


def _data(result: TableResult, column: Column) -> str:
    """Say what a column is about: the data set that its key begins with, or the only one."""
    sets = _mapping(result.provenance, "data")
    name = next(iter(sets)) if len(sets) == 1 else next((one for one in sets if column.key.startswith(f"{one}_")), "")
    facts = _mapping(sets, name)
    if not facts:
        return result.own
    label = result.own or (group_name(result, column.group) if column.group else f"{name} ({result.scale})")
    words = f"{label}: {facts.get('images', '?')} images, sha256 {str(facts.get('sha256', NOT_RECORDED))[:12]}"
    boxes = _mapping(result.provenance, "boxes")
    return words + (f", boxes {str(boxes[name])[:12]}" if name in boxes else next(_only(boxes), ""))


def _only(boxes: Mapping[str, Any]) -> Iterator[str]:
    """Yield the boxes of data of the user's own, which are kept under the name of their format."""
    if len(boxes) == 1:
        yield f", boxes {str(next(iter(boxes.values())))[:12]}"


def _weights(identity: Mapping[str, Any]) -> str:
    """Return the hash of a model's weights; where it has none of its own, all hashes that it is known by."""
    for name in ("checkpoint_sha256", "weights_sha256"):
        if identity.get(name):
            return str(identity[name])
    return "+".join(dict.fromkeys(re.findall(r"\b[0-9a-f]{64}\b", json.dumps(identity, default=str))))


def _engine(facts: Mapping[str, Any]) -> str:
    timing = _mapping(_mapping(facts, "timing"), "engine")
    return str((_mapping(facts, "engine") or timing).get("engine", NOT_RECORDED))


def _hardware(machine: Mapping[str, Any], device: str) -> str:
    """Say on what a model ran; where its device is not known, on what machine."""
    gpus = [str(one) for one in machine.get("gpus") or ()]
    cpu = f"{machine.get('cpu') or NOT_RECORDED}, {machine.get('usable_cores', '?')} cores"
    if not machine:
        return NOT_RECORDED
    if device and not device.startswith("cpu"):
        return ", ".join(dict.fromkeys(gpus)) or device
    return cpu if device or not gpus else f"{cpu}; {', '.join(dict.fromkeys(gpus))}"


def _version(facts: Mapping[str, Any]) -> str:
    version = str(_mapping(facts, "versions").get("efficientsam-bench", NOT_RECORDED))
    commit = str(_mapping(facts, "git").get("commit", ""))
    return f"{version} ({commit[:12]})" if commit else version


def facts_of(result: TableResult) -> tuple[str, str, str, str, str]:
    """Return on what a result rests, in words: version and commit, date, engine, machine, data."""
    facts = result.provenance
    data = [
        f"{name}: {one.get('images', '?')} images, sha256 {str(one.get('sha256', NOT_RECORDED))[:12]}"
        for name, one in _mapping(facts, "data").items()
        if isinstance(one, Mapping)
    ]
    device = next(
        (str(one.get("device", "")) for one in _mapping(facts, "models").values() if isinstance(one, Mapping)), ""
    )
    return (
        _version(facts),
        str(facts.get("date") or NOT_RECORDED),
        _engine(facts),
        _hardware(_mapping(facts, "hardware"), device),
        "; ".join(data),
    )


def versions_of(result: TableResult) -> Mapping[str, Any]:
    """Return the versions of packages that a result was made with."""
    return _mapping(result.provenance, "versions")


def of_model(entries: Iterable[Entry], name: str) -> list[Entry]:
    """Return the numbers of one model by the name that commands take, or by its row.

    Raises:
        BenchError: for a model that no report has, or that was measured with different weights.
    """
    known = [entry for entry in entries if entry.kind != "bound"]
    found = [entry for entry in known if entry.model == name] or [entry for entry in known if entry.row == name]
    if not found:
        names = ", ".join(sorted({entry.model for entry in known}))
        raise BenchError(f"no report has a model '{name}': take one of {names}")
    who = {(entry.model, entry.weights) for entry in found}
    hashed = {(model, weights) for model, weights in who if weights}  # tables of times record no hash
    if len(hashed) > 1 or len({model for model, _ in who}) > 1:
        these = ", ".join(sorted(f"{model} {weights[:12]}".strip() for model, weights in hashed or who))
        raise BenchError(
            f"'{name}' was measured with several weights ({these}): name folders with reports of one alone"
        )
    return found
