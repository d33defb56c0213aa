"""Write a model's encoder and decoder as ONNX, and make sure that they answer as the model does."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from models.cards import ModelCard, resolve
from models.checkpoints import sha256_of
from models.checks.asking import answer, clicks, shown, with_rectangles
from models.errors import BenchError
from models.exports import record as records
from models.exports.graphs import (
    FEATURES,
    LABELS,
    LOGITS,
    PIXELS,
    POINTS,
    PREDICTED_IOU,
    EfficientSamDecoderGraph,
    EncoderGraph,
    SamDecoderGraph,
    example,
)
from models.exports.network import OnnxNetwork
from models.exports.record import DECODER, ENCODER, ROLES, SEGMENTERS, Record
from models.segmenter import Prompts

OPSET = 20
"""The first whose operators have GELU."""
INLINE = 1_800_000_000
"""Bytes of weights that fit into one ONNX file, whose limit is 2 GiB; others lie beside it."""
QUANTISED = ("MatMul", "Gemm")
"""Operators whose weights become int8: linear layers. Convolutions stay as they are."""
PIXELS_APART = 1e-4
"""Share of mask pixels that float rounding may turn between the model and its export."""
_GRAPHS = dict(zip(SEGMENTERS, ((SamDecoderGraph, 2, True), (EfficientSamDecoderGraph, 6, False)), strict=True))
"""By segmenter: the decoder's graph, points of an example's prompts, and whether prompts may have more or fewer."""
_SIZE = (150, 220)
_RECTANGLES = ((20, 30, 90, 100), (120, 60, 200, 130))


class Agreement(NamedTuple):
    """How an export answers beside its model, on one synthetic image."""

    logits: float
    """Largest difference."""
    pixels: float
    """Share of mask pixels that differ."""
    iou: float
    """Mean IoU of its masks with the model's."""


class Exported(NamedTuple):
    """What was written."""

    files: dict[str, Path]
    """By role, and the json as "record"."""
    record: Record
    agreement: Agreement


def check_exportable(card: ModelCard) -> None:
    """Raise if a model has no graphs.

    Raises:
        BenchError: unless its network is one of the SAM family or an EfficientSAM.
    """
    if card.segmenter not in SEGMENTERS:
        raise BenchError(f"'{card.name}' cannot be exported: only models of the SAM family and EfficientSAMs can")


def export_onnx(
    segmenter: Any,
    card: ModelCard,
    folder: Path,
    *,
    precision: Literal["fp32", "int8"] = "fp32",
    advance: Callable[[int], None] = lambda files: None,
) -> Exported:
    """Write NAME.encoder.onnx, NAME.decoder.onnx and NAME.json (NAME.int8... for int8), all of them or none.

    Args:
        segmenter: the model, loaded on the CPU.
        card: its card.
        folder: where to; made if it is not there.
        precision: of the linear layers' weights.
        advance: told of files as they are done, two of them.

    Raises:
        BenchError: if the model is of another kind, or fp32 files do not answer as it does.
    """
    check_exportable(card)
    assert card.segmenter is not None
    name = card.name if precision == "fp32" else f"{card.name}.{precision}"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=folder) as building, torch.no_grad(), _quiet():
        made = {role: Path(building) / f"{name}.{role}.onnx" for role in ROLES}
        for role, (graph, inputs, names, shapes) in _graphs(segmenter.network, card.segmenter).items():
            with tempfile.TemporaryDirectory(prefix=".fp32-", dir=folder) as plain:
                traced = made[role] if precision == "fp32" else Path(plain) / made[role].name
                _write(graph, inputs, names, shapes, traced)
                if precision == "int8":
                    _quantise(traced, made[role])
            advance(1)
        record = _record(segmenter, card, precision, made)
        agreement = compare(segmenter, record, made[ENCODER], made[DECODER])
        if precision == "fp32" and not agreement.pixels <= PIXELS_APART:
            raise BenchError(
                f"the export of '{card.name}' does not answer as the model does ({agreement.pixels:.2%} of mask pixels "
                "differ): another version of torch or onnxruntime may do better, see constraints.txt"
            )
        written = Path(building) / f"{name}.json"
        records.write(written, record)
        for path in sorted(Path(building).iterdir(), key=lambda path: path == written):
            path.replace(folder / path.name)
    files = {role: folder / made[role].name for role in ROLES} | {"record": folder / written.name}
    return Exported(files, record, agreement)


def compare(segmenter: Any, record: Record, encoder: Path, decoder: Path) -> Agreement:
    """Ask a model and its export the same."""
    exported = resolve(record.segmenter)(OnnxNetwork(record, encoder, decoder), name=segmenter.name)
    boxes = np.array(_RECTANGLES, float)
    image = with_rectangles(_SIZE, _RECTANGLES)
    asked = (Prompts.from_boxes(boxes), clicks(boxes.reshape(-1, 2, 2).mean(1)))
    ours, theirs = ([answer(one, shown(one, image), prompts) for prompts in asked] for one in (segmenter, exported))
    first, second = (np.concatenate([one.masks for one in answers]) for answers in (ours, theirs))
    logits = max(float(np.abs(a.logits - b.logits).max()) for a, b in zip(ours, theirs, strict=True))
    both, either = ((op(first, second)).sum((-2, -1)) for op in (np.logical_and, np.logical_or))
    iou = np.where(either == 0, 1, both / np.maximum(either, 1))
    return Agreement(logits, float((first != second).mean()), float(iou.mean()))


def _graphs(network: Any, segmenter: str) -> dict[str, tuple[Any, tuple[Any, ...], tuple[Any, Any], Any]]:
    """Return each graph with inputs to trace it, the names of inputs and outputs, and which axes are free."""
    graph, points, free = _GRAPHS[segmenter]
    pixels = example(network.image_size, torch.empty(0), points)[0]
    _, features, some, labels = example(network.image_size, network.encode(pixels), points)
    axes: dict[int, Any] = {1: torch.export.Dim("prompts")} | ({2: torch.export.Dim("points")} if free else {})
    shapes = {FEATURES: None, POINTS: axes, LABELS: axes}
    answers = (FEATURES, POINTS, LABELS), (LOGITS, PREDICTED_IOU)
    return {
        ENCODER: (EncoderGraph(network), (pixels,), ((PIXELS,), (FEATURES,)), None),
        DECODER: (graph(network), (features, some, labels), answers, shapes),
    }


def _write(graph: Any, inputs: tuple[Any, ...], names: tuple[Any, Any], shapes: Any, path: Path) -> None:
    """Trace a graph and write it."""
    size = sum(one.numel() * one.element_size() for one in graph.state_dict().values())
    program = torch.onnx.export(
        graph.eval(),
        inputs,
        input_names=names[0],
        output_names=names[1],
        dynamic_shapes=shapes,
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.save(path, external_data=size > INLINE)


def _quantise(plain: Path, path: Path) -> None:
    """Write an ONNX file again with the weights of linear layers in int8, whose inputs are quantised as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # Unsigned weights: signed ones overflow on CPUs without VNNI, and answers would depend on the machine.
    quantize_dynamic(
        plain,
        path,
        op_types_to_quantize=list(QUANTISED),
        weight_type=QuantType.QUInt8,
        use_external_data_format=plain.with_name(plain.name + records.DATA).is_file(),
    )


def _record(segmenter: Any, card: ModelCard, precision: Literal["fp32", "int8"], made: dict[str, Path]) -> Record:
    assert card.segmenter is not None
    files = {f"{role}.onnx": path for role, path in made.items()}
    files |= {f"{end}{records.DATA}": path.with_name(path.name + records.DATA) for end, path in files.items()}
    return Record(
        model=card.name,
        checkpoint_sha256=segmenter.checkpoint_sha256,
        custom=segmenter.custom,
        precision=precision,
        opset=OPSET,
        segmenter=card.segmenter,
        image_size=segmenter.network.image_size,
        preprocessing=card.input,
        scale=card.scale,
        threads=card.threads,
        licence=card.licence,
        source=card.source,
        made_with={name: version(name) for name in ("torch", "onnx", "onnxscript", "onnxruntime")},
        sha256={end: sha256_of(path) for end, path in files.items() if path.is_file()},
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' remarks about their own workings to themselves."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "root")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
