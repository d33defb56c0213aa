"""Records of trainings that leave no weights: accuracies of ablations, mIoU by epoch (Figure 7), predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.torch import save_file
from torch import nn

from bench.data.dead_leaves.crowded import world_root
from bench.data.dead_leaves.imagenet import imagenet_root
from bench.data.imagenet import open_imagenet
from bench.data.images import read_rgb
from bench.data.instances import open_instances
from bench.progress import images_progress, progress
from bench.store import RunStore
from bench.store.disk import write_whole
from bench.training.features import teacher_target
from bench.training.job import Job, folder_of, start_file, trained
from bench.training.options import Options, command
from bench.training.runs import FIGURE7_EPOCHS, RUNS
from models import zoo
from models.cards import resolve
from models.classifier.network import evaluate_classifier
from models.classifier.probes import explained_variance, frozen_features, knn_probe, linear_probe, load_encoder
from models.engines.float32 import exact_engine, threads
from models.errors import BenchError
from models.training.loop import Visit
from models.training.recipes import ClassifyRecipe
from protocols.axes import PRESETS
from protocols.plan import make_plan
from protocols.predictors import ModelPredictor
from protocols.registry import registry_of
from protocols.saved_predictions import write_recording
from protocols.settings import Settings
from protocols.table4_prompts import ask_boxes
from protocols.tables import find
from protocols.training_records import write_curve


def write_records(job: Job, network: nn.Module, weights: Path, training: dict[str, Any]) -> None:
    """Write what the tables that are made of a training need besides its weights.

    Args:
        job: the training.
        network: that it left.
        weights: of that in half precision, as they would be committed.
        training: how they were made.
    """
    run, folder = job.run, job.options.records
    if _counts_top1(job):
        _ablation_record(job, network, training, folder)
    if "figure7" in run.tables:
        _write_figure7(job, training, folder)
    if not (run.committed and job.seed == 0):
        for table in [find(name) for name, seeds in run.tables.items() if job.seed in seeds]:
            if hasattr(table, "saved"):
                _answers_recordings(table, job, weights, training, folder)


def check_records(job: Job) -> None:
    """Raise now, not after hours, if what a job's record will tell of is not there."""
    if job.as_registered and _counts_top1(job):
        _pretraining_of(job)


def _counts_top1(job: Job) -> bool:
    """Whether a classifier is an arm of Table 6, 7 or another ablation; Table 1 keeps whole answers."""
    return isinstance(job.recipe, ClassifyRecipe) and bool(job.run.tables.keys() - {"table1"})


def _pretraining_of(job: Job) -> dict[str, Any]:
    """Return how the encoder was made that a classifier starts from, and its loss curve.

    Of a committed encoder, whose log is not part of the project, the curve is its last point alone.

    Raises:
        BenchError: if nothing beside the encoder says how it was made.
    """
    file = start_file(job.run, job.options).with_suffix(".json")
    if not file.is_file():
        way = command(RUNS[str(job.run.start)], Options(seed=job.seed))
        raise BenchError(
            f"nothing at {file} says how {job.run.start} was made, which the record of this run holds: "
            f"run `{way}` first"
        )
    facts: dict[str, Any] = json.loads(file.read_text())
    own, last = folder_of(job.options, str(job.run.start), job.seed), facts["last_log_line"]
    logged = file.parent == own and (own / "log.jsonl").is_file()
    return {**facts, "curve": _curve(own) if logged else [[last["step"], round(last["loss"], 4)]]}


def _ablation_record(job: Job, network: nn.Module, training: dict[str, Any], folder: Path) -> None:
    """Evaluate a finetuned classifier on the held-out images and write down what Tables 6 and 7 are made of."""
    name = job.name.removesuffix("-micro-classify")
    photos = open_imagenet(imagenet_root())
    with progress(f"{job.name} on imagenet", total=len(photos), unit="images") as advance:
        answers = evaluate_classifier(network, photos, advance=advance)
    correct = answers[:, 0] == photos.labels
    variant, pretraining = RUNS[str(job.run.start)].recipe, _pretraining_of(job)
    record = {
        "run": name,
        "seed": job.seed,
        "scale": "micro",
        "variant": {key: getattr(variant, key) for key in ("target", "loss", "decoder", "mask_ratio")},
        "n": len(correct),
        "correct": np.packbits(correct).tobytes().hex(),
        "top1": float(correct.mean()),
        "probes": _probes(job),
        "curve": pretraining["curve"],
        "finetune_curve": _curve(job.folder),
        "recipes": {"pretraining": pretraining["recipe"], "finetuning": training["recipe"]},
        "seconds": pretraining["seconds"] + training["seconds"],
        "made_with": training["made_with"],
    }
    _write(folder / f"{name}-seed{job.seed}.json", record)


PROBE_IMAGES, VARIANCE_IMAGES = 3200, 400
"""Images of the finetuning that the frozen encoder's probes learn from, and photos of the teacher's features."""


def _probes(job: Job) -> dict[str, Any]:
    """Ask the pretrained encoder before it was finetuned, frozen, about the held-out images (ours, see Tables 6, 7).

    Returns:
        "knn" and "linear": which images were right, as bits in hex; "variance": the share of the variance of SAM's
        features that is explained, by image of the first `VARIANCE_IMAGES`.
    """
    encoder = load_encoder(start_file(job.run, job.options))
    images, asked = job.data.photos[:PROBE_IMAGES], open_imagenet(imagenet_root())
    assert job.data.labels is not None, "these images have labels"
    known_labels, labels = np.asarray(job.data.labels[:PROBE_IMAGES]), np.asarray(asked.labels)
    total = len(images) + len(asked) + 2 * VARIANCE_IMAGES
    with progress(f"{job.run.start}, frozen", total=total, unit="images") as advance:
        known, held_out = (frozen_features(encoder, some, advance=advance) for some in (images, asked))
        right = {
            name: probe(known, known_labels, held_out)[:, 0] == labels
            for name, probe in (("knn", knn_probe), ("linear", linear_probe))
        }
        teacher = teacher_target("sam-micro", job.options, lambda name: trained(job.options, name))
        photos = images[:VARIANCE_IMAGES], [asked[index] for index in range(min(VARIANCE_IMAGES, len(asked)))]
        variance = explained_variance(encoder, teacher, *photos, advance=advance)
    bits = {name: np.packbits(answers).tobytes().hex() for name, answers in right.items()}
    return {**bits, "variance": [round(share, 4) for share in variance.tolist()]}


def _curve(folder: Path) -> list[list[float]]:
    """Return (step, loss) of a training's log."""
    lines = (json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines())
    return [[line["step"], round(line["loss"], 4)] for line in lines]


def figure7_visits(job: Job) -> dict[int, Visit]:
    """Return what keeps the weights of a promptable run at the epochs of Figure 7."""

    def keep(network: nn.Module, step: int) -> None:
        inner: Any = network.network
        state = {name: value.contiguous() for name, value in inner.state_dict().items()}
        path = _visited(job, step)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, path)

    return dict.fromkeys(_steps(job).values(), keep)


def _steps(job: Job) -> dict[float, int]:
    """Return the step at which each epoch of Figure 7 ends."""
    return {epoch: round(epoch * job.data.images / job.recipe.images_per_step) for epoch in FIGURE7_EPOCHS}


def _visited(job: Job, step: int) -> Path:
    return job.folder / "figure7" / f"step{step}.safetensors"


def _write_figure7(job: Job, training: dict[str, Any], folder: Path) -> None:
    """Evaluate the weights of several epochs on the held-out objects, and write down each IoU of a box prompt."""
    instances = open_instances("coco", world_root())
    points: list[dict[str, float]] = []
    with progress(f"{job.name}, Figure 7", total=len(FIGURE7_EPOCHS) * len(instances.images), unit="images") as advance:
        for epoch, step in _steps(job).items():
            predictor = ModelPredictor(zoo.load(job.name, checkpoint=_visited(job, step)), PRESETS["paper"])
            for info in instances.images:
                annotations = instances.annotations(info.id)
                for row in ask_boxes(predictor, read_rgb(info.path), info, annotations, PRESETS["paper"]):
                    if not row["iscrowd"]:
                        iou = round(float(row["iou"]), 4)  # type: ignore[arg-type]
                        points.append({"epoch": epoch, "image_id": info.id, "iou": iou})
                advance(1)
    facts = {"steps": _steps(job), **{key: training[key] for key in ("recipe", "made_with")}}
    write_curve(folder, job.name, job.seed, pd.DataFrame(points), facts)


def _answers_recordings(table: Any, job: Job, weights: Path, training: dict[str, Any], folder: Path) -> None:
    """Keep what a model answers about all held-out images, as its table asks at micro scale."""
    settings = Settings(scale="micro", models=(job.name,), store=RunStore(folder), progress=images_progress)
    plan, registry, ask = make_plan(table, settings), registry_of(table), resolve(table.ASK)
    (row,) = (card.paper_row or card.name for card in registry.cards() if card.name == job.name)
    model = registry.load(job.name, weights)
    exact_engine()
    for name in table.DATA_SETS:
        data = table.open_data(name, plan, settings)
        with threads(1), progress(f"{job.name} on {data.name}", total=data.of_images, unit="images") as advance:
            records = ask(model, data, data.asked.images, advance)
        facts = {
            "model": job.name,
            "data": data.sha256,
            "image_ids": list(data.asked.ids),
            **{key: training[key] for key in ("date", "start", "seconds", "recipe", "made_with")},
            "curve": _curve(job.folder),
        }
        write_recording(
            folder,
            records,
            table=table.NAME,
            version=table.VERSION,
            row=row,
            seed=job.seed,
            facts=facts,
            data_set=name if len(table.DATA_SETS) > 1 else "",
        )


def _write(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(record) + "\n").encode())
