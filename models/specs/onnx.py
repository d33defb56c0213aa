"""onnx:ENCODER,DECODER: two files that `bench export` wrote, measured as the model that they were made from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.cards import ModelCard, resolve
from models.errors import BenchError
from models.exports.record import DATA, FORM, pair
from models.files.folders import expanded

if TYPE_CHECKING:
    from models.zoo import LoadedSegmenter


def card(name: str) -> ModelCard:
    """Return the card of onnx:ENCODER,DECODER.

    Raises:
        BenchError: if it does not name two files, or they are not the encoder and decoder of one export.
    """
    spec = name.partition(":")[2]
    encoder, decoder = paths(spec)
    record, other = pair(encoder, decoder)
    precision = " and ".join(dict.fromkeys((record.precision, other.precision)))
    weights = "custom weights of " if record.custom else ""
    return ModelCard(
        name=name,
        paper_row=None,
        scale=record.scale,
        build="models.specs.onnx:build",
        filename=None,
        requires=("onnxruntime", "efficientsam-bench[onnx]"),
        licence=record.licence,
        source=record.source,
        input=record.preprocessing,
        threads=record.threads,
        note=f"ONNX, {precision}, exported from {weights}{record.model}",
        spec=spec,
        code=("models.exports.network", record.segmenter.partition(":")[0]),
        made_from=(record.model, record.checkpoint_sha256),
    )


def paths(spec: str) -> tuple[Path, Path]:
    """Return the two paths.

    Raises:
        BenchError: if there are not two.
    """
    parts = [part for part in spec.split(",") if part]
    if len(parts) != 2:
        raise BenchError(
            f"'onnx:{spec}' names {len(parts)} file{'s' * (len(parts) != 1)}: write {FORM}, the two files that "
            "`bench export` wrote, without commas in their paths"
        )
    encoder, decoder = (expanded(part, "an ONNX file") for part in parts)
    return encoder, decoder


def build(card: ModelCard, device: str) -> LoadedSegmenter:
    """Open both files with onnxruntime.

    Raises:
        BenchError: if one is damaged, or onnxruntime has no such device.
    """
    import onnxruntime

    from models.exports.network import OnnxNetwork

    assert card.spec is not None
    encoder, decoder = paths(card.spec)
    record, other = pair(encoder, decoder)
    network = OnnxNetwork(record, encoder, decoder, device=device)
    segmenter: LoadedSegmenter = resolve(record.segmenter)(network, name=card.name)
    segmenter.checkpoint_sha256 = None
    segmenter.identity = {
        "sha256": [*_hashes(record.sha256, "encoder"), *_hashes(other.sha256, "decoder")],
        "made_from": list(card.made_from or ()),
        "onnxruntime": onnxruntime.__version__,
    }
    return segmenter


def _hashes(sha256: object, role: str) -> list[str]:
    assert isinstance(sha256, dict)
    return [sha256[end] for end in (f"{role}.onnx", f"{role}.onnx{DATA}") if end in sha256]
