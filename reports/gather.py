"""Reports that are on disk, as lines of one leaderboard: who measured what, how, on which data and machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from models.errors import BenchError, printable
from protocols.results import Cell, Column, Row, TableResult
from reports.result_files import number, other_version, read_report, result_files, text
from reports.wording import group_name, place

NOT_RECORDED = "not recorded"


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
        raise other_version(error) from error


def _entry(result: TableResult, row: Row, column: Column, cell: Cell, path: Path) -> Entry:
    facts = result.provenance
    identity = _mapping(_mapping(facts, "models"), row.label) or _by_name(_mapping(facts, "models"), row.model)
    ran = bool(identity) or not {"models", "trainings"} & facts.keys()  # else it stands on recorded answers
    return Entry(
        model=text(row.model or row.label),
        table=text(result.name),
        column=f"{group_name(result, text(column.group))} {text(column.label)}".strip(),
        value=number(cell.measured),
        low=None if cell.low is None else number(cell.low),
        high=None if cell.high is None else number(cell.high),
        n=int(number(cell.n)),
        percent=column.percent is True,
        scale=text(place(result)),
        protocol=text(result.preset),
        data=_data(result, column),
        weights=_weights(identity),
        engine=_engine(facts) if ran else NOT_RECORDED,
        hardware=_hardware(_mapping(facts, "hardware"), str(identity.get("device", ""))) if ran else NOT_RECORDED,
        date=str(facts.get("date") or NOT_RECORDED),
        row=text(row.label),
        kind=text(row.kind),
        note=text(row.note),
        key=text(column.key),
        less=column.less is True,
        title=text(result.title),
        command=text(result.command),
        version=_version(facts),
        report=printable(str(path)),
    )


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
    listed = machine.get("gpus")
    gpus = [str(one) for one in listed] if isinstance(listed, list | tuple) else []
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
        str(facts.get("date") or NOT_RECORDED)[:16].replace("T", " "),
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
