"""What training runs left behind: which test images each trained model got right, one JSON file a run and seed.

Ablations (Tables 6 and 7, section 4.4) and Figure 7 are scored from these files alone, in seconds and without a
model; the trainings behind them take hours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.store.disk import write_whole
from models.errors import BenchError

RECORDS = Path(__file__).parent / "records"
TOP1_ROUNDING = 1e-4
"""A record's top-1 may be rounded; further off than this it contradicts its own answers."""


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """One training run: pretrained, finetuned, and asked about every held-out image."""

    run: str
    seed: int
    scale: str
    variant: Mapping[str, Any]
    """Target, loss, decoder and mask ratio of the pretraining."""
    correct: np.ndarray
    """bool [N], in the order of the held-out images."""
    probes: Mapping[str, np.ndarray]
    """What the frozen encoder is worth by image: "knn" and "linear" bool [N], "variance" float [M] explained; empty
    where it was not asked."""
    steps: int | None
    """Of its pretraining; None where a record does not say."""
    seconds: float
    made_with: Mapping[str, Any]


COMPRESSION = 19
"""Of files that are part of the project; zstd's best but for levels that need more memory."""
Records = Mapping[str, Mapping[int, TrainingRecord]]
"""By run and seed."""


@dataclass(frozen=True, slots=True)
class CurveRecord:
    """One promptable finetuning, evaluated at several epochs."""

    model: str
    seed: int
    image_id: np.ndarray
    """int64 [A], image of each annotation."""
    points: Mapping[float, np.ndarray]
    """Epochs -> IoU float64 [A] of each annotation's box prompt."""


def read_records(runs: tuple[str, ...], scale: str, folder: Path = RECORDS) -> dict[str, dict[int, TrainingRecord]]:
    """Return the records of these runs at one scale, by run and seed; runs without records are left out.

    Raises:
        BenchError: if a file is damaged, contradicts itself, or was asked about other images than the others.
    """
    found: dict[str, dict[int, TrainingRecord]] = {}
    for run in runs:
        for path in _files(folder, run):
            record = _training_record(path, run)
            if record.scale == scale:
                found.setdefault(run, {})[record.seed] = record
    sizes = {len(r.correct): f"{run}-seed{seed}" for run, seeds in found.items() for seed, r in seeds.items()}
    if len(sizes) > 1:
        counts = ", ".join(f"{name} has {n:,}" for n, name in sizes.items())
        raise BenchError(f"the records of {folder} are about different images ({counts}): train the older ones again")
    return found


def read_curves(models: tuple[str, ...], folder: Path = RECORDS) -> dict[str, dict[int, CurveRecord]]:
    """Return the curves of these models by model and seed; models without records are left out.

    Raises:
        BenchError: if a file is damaged or its points are about different annotations.
    """
    found: dict[str, dict[int, CurveRecord]] = {}
    for model in models:
        for path in _files(folder, f"figure7-{model}"):
            record = _curve_record(path, model)
            first = next(iter(found.get(model, {}).values()), record)
            if not np.array_equal(first.image_id, record.image_id):
                raise BenchError(f"{path} is about other annotations than seed {first.seed}: train that run again")
            found.setdefault(model, {})[record.seed] = record
    return found


def _files(folder: Path, name: str) -> list[Path]:
    return sorted(path for path in folder.glob(f"{name}-seed*.json") if path.stem.rpartition("-seed")[2].isdigit())


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BenchError(f"{path} is no JSON ({error}): restore it from git, or train that run again") from error


def _training_record(path: Path, run: str) -> TrainingRecord:
    data = _load(path)
    try:
        correct = _answers(data["correct"], data["n"])
        if abs(correct.mean() - data["top1"]) > TOP1_ROUNDING or data["run"] != run:
            raise ValueError("its answers contradict its run, n or top1")
        return TrainingRecord(
            run=run,
            seed=_seed(path, data),
            scale=data["scale"],
            variant=data["variant"],
            correct=correct,
            probes=_probes(data.get("probes", {}), data["n"]),
            steps=data["recipes"].get("pretraining", {}).get("steps"),
            seconds=float(data["seconds"]),
            made_with=data["made_with"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def _answers(text: str, count: int) -> np.ndarray:
    """Return bool [count] of bits in hex.

    Raises:
        ValueError: if they are of another number.
    """
    bits = np.frombuffer(bytes.fromhex(text), dtype=np.uint8)
    if not count > 0 or len(bits) != (count + 7) // 8:
        raise ValueError(f"{len(bits)} bytes are no answers about {count} images")
    return np.unpackbits(bits, count=count).astype(bool)


def _probes(data: Mapping[str, Any], count: int) -> dict[str, np.ndarray]:
    if not data:
        return {}
    variance = np.array(data["variance"], np.float64)
    if variance.ndim != 1 or not variance.size or not np.isfinite(variance).all():
        raise ValueError("shares of variance are numbers")
    return {"knn": _answers(data["knn"], count), "linear": _answers(data["linear"], count), "variance": variance}


def write_curve(folder: Path, model: str, seed: int, points: pd.DataFrame, facts: Mapping[str, Any]) -> Path:
    """Write what a promptable finetuning was worth after some epochs, and return the JSON file.

    Args:
        folder: of all records.
        model: that was finetuned.
        seed: of its training.
        points: epoch, image_id and iou, one line for each epoch and annotation, in the same order for every epoch.
        facts: how it was trained.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"figure7-{model}-seed{seed}.json"
    content = points.to_parquet(index=False, compression="zstd", compression_level=COMPRESSION)
    write_whole(path.with_suffix(".parquet"), content)
    whole = {"model": model, "seed": seed, "sha256": hashlib.sha256(content).hexdigest(), **facts}
    write_whole(path, (json.dumps(whole) + "\n").encode())
    return path


def _curve_record(path: Path, model: str) -> CurveRecord:
    data, file = _load(path), path.with_suffix(".parquet")
    try:
        if hashlib.sha256(file.read_bytes()).hexdigest() != data["sha256"]:
            raise ValueError(f"{file.name} has another hash than it says")
        rows = pd.read_parquet(file)
        of_epoch = {float(epoch): rows[rows["epoch"] == epoch] for epoch in sorted(rows["epoch"].unique())}
        images = [part["image_id"].to_numpy(np.int64) for part in of_epoch.values()]
        points = {epoch: part["iou"].to_numpy(np.float64) for epoch, part in of_epoch.items()}
        same = all(np.array_equal(images[0], other) for other in images)
        sound = bool(points) and all(np.isfinite(iou).all() for iou in points.values())
        if not (same and sound and data["model"] == model):
            raise ValueError("its points are about different annotations, or it is another model's")
        return CurveRecord(model, _seed(path, data), images[0], points)
    except (OSError, KeyError, TypeError, ValueError, IndexError) as error:
        raise _damaged(path, error) from error


def _seed(path: Path, data: Mapping[str, Any]) -> int:
    seed = int(data["seed"])
    if path.stem.rpartition("-seed")[2] != str(seed):
        raise ValueError(f"it says seed {seed}")
    return seed


def _damaged(path: Path, error: Exception) -> BenchError:
    what = f"has no {error}" if isinstance(error, KeyError) else f"cannot be used ({error})"
    return BenchError(f"{path} {what}: restore it from git, or train that run again")
