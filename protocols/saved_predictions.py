"""Answers that micro models gave when they were trained: of those whose weights are not kept, and of other seeds.

Each is a file of records, as the protocol's own runs make them, and a JSON file beside it that says which model of
which training gave them about which images. Scoring starts from them as from a run of the store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from bench.store.disk import write_whole
from models.errors import BenchError
from protocols.plan import Plan
from protocols.results import Row
from protocols.scores import CellRun
from protocols.shards import SKIPPED
from protocols.training_records import COMPRESSION, RECORDS


class Recording(NamedTuple):
    """What one trained model answered."""

    row: str
    """Of the table."""
    seed: int
    """Of its training."""
    run: CellRun
    facts: Mapping[str, Any]
    """The JSON file: model, training, data."""


Recordings = Mapping[str, Mapping[int, Recording]]
"""By row and seed."""


def write_recording(
    folder: Path,
    records: pd.DataFrame,
    *,
    table: str,
    version: int,
    row: str,
    seed: int,
    facts: Mapping[str, Any],
    data_set: str = "",
) -> Path:
    """Write what a model answered and return the JSON file.

    Args:
        folder: of all recordings.
        records: as the protocol makes them.
        table: table2, table3, ...
        version: of the protocol's records.
        row: of the table.
        seed: of the training.
        facts: "model", "data" (sha256 of the images), "image_ids" and how it was trained.
        data_set: which of the table's, if it has several.

    Raises:
        BenchError: if an image could not be read: the record of a held-out set is whole or not at all.
    """
    unread = records.loc[records[SKIPPED] != "", SKIPPED]
    if len(unread):
        raise BenchError(f"the answers of {facts['model']} are not whole ({unread.iloc[0]}): run again")
    path = folder / f"{'-'.join(part for part in (table, data_set, row.lower()) if part)}-seed{seed}.json"
    folder.mkdir(parents=True, exist_ok=True)
    content = records.drop(columns=SKIPPED).to_parquet(index=False, compression="zstd", compression_level=COMPRESSION)
    write_whole(path.with_suffix(".parquet"), content)
    digest = hashlib.sha256(content).hexdigest()
    whole = {"table": table, "version": version, "row": row, "seed": seed, "sha256": digest, **facts}
    write_whole(path, (json.dumps(whole) + "\n").encode())
    return path


def read_recordings(
    table: str, version: int, *, data_sha256: str, image_ids: Sequence[int], folder: Path = RECORDS
) -> dict[str, dict[int, Recording]]:
    """Return what was recorded about a data set, reduced to the images that are asked, by row and seed.

    Recordings of another data set or of an older version of the protocol are left out.

    Raises:
        BenchError: if a file is damaged.
    """
    found: dict[str, dict[int, Recording]] = {}
    for path in sorted(folder.glob(f"{table}-*-seed*.json")):
        one = _read(path)
        if one.facts["version"] == version and one.facts["data"] == data_sha256:
            found.setdefault(one.row, {})[one.seed] = _about(one, image_ids)
    return found


def recorded_models(table: str, folder: Path = RECORDS) -> set[str]:
    """Return the names of the models whose first training left its answers: a table needs no weights of these."""
    files = folder.glob(f"{table}-*-seed0.json")
    return {str(json.loads(file.read_text(encoding="utf-8"))["model"]) for file in files}


def _read(path: Path) -> Recording:
    file = path.with_suffix(".parquet")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if hashlib.sha256(file.read_bytes()).hexdigest() != facts["sha256"]:
            raise ValueError(f"{file.name} has another hash than it says")
        run = CellRun(
            records=pd.read_parquet(file),
            fingerprint=facts["sha256"][:16],
            resumed=0,
            image_ids=tuple(facts["image_ids"]),
            skipped={},
        )
        return Recording(str(facts["row"]), int(facts["seed"]), run, {key: facts[key] for key in _NEEDED})
    except (OSError, KeyError, TypeError, ValueError) as error:
        what = f"has no {error}" if isinstance(error, KeyError) else f"cannot be used ({error})"
        raise BenchError(f"{path} {what}: restore it from git, or train that model again") from error


_NEEDED = ("version", "model", "data", "seed", "date", "made_with")


def _about(one: Recording, image_ids: Sequence[int]) -> Recording:
    """Return a recording of the images that are asked alone."""
    asked = set(image_ids) & set(one.run.image_ids)
    records = one.run.records[one.run.records["image_id"].isin(asked)]
    kept = tuple(image for image in image_ids if image in asked)
    return one._replace(run=replace(one.run, records=records, image_ids=kept))


def with_saved(
    plan: Plan, runs: Mapping[str, CellRun], recordings: Recordings
) -> tuple[Plan, dict[str, dict[int, CellRun]]]:
    """Add saved predictions to those that were asked for: of rows without weights, and of other seeds.

    Args:
        plan: of the table.
        runs: of the rows that were asked, whose models are of seed 0 or the user's own.
        recordings: about the same images.

    Returns:
        The plan, in which rows without weights stand on saved predictions, and runs by row and seed of the training.
    """
    asked = {row: {0: run} for row, run in runs.items()}
    own = {subject.row for subject in plan.subjects if subject.checkpoint is not None}
    for row in asked.keys() - own:
        asked[row] |= {seed: one.run for seed, one in recordings.get(row, {}).items() if seed}
    instead = {
        row: seeds
        for row, seeds in recordings.items()
        if 0 in seeds and row in plan.unmeasured and plan.unmeasured[row][0] == "not trained yet"
    }
    recorded = {row: {seed: one.run for seed, one in seeds.items()} for row, seeds in instead.items()}
    rows = tuple(_told(row, instead[row.label][0]) if row.label in instead else row for row in plan.rows)
    unmeasured = {row: why for row, why in plan.unmeasured.items() if row not in instead}
    return replace(plan, rows=rows, unmeasured=unmeasured), {**asked, **recorded}


def _told(row: Row, one: Recording) -> Row:
    note = f"answers recorded when it was trained ({one.facts['date']}); its weights are not kept"
    return replace(row, model=one.facts["model"], note="; ".join(part for part in (note, row.note) if part))
