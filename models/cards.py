"""What is known about each model of the zoo before anything is loaded: one card each, plain data.

Checkpoint sizes and hashes are those of the authors' own files. Re-saved copies with other hashes circulate;
loading refuses them unless they are asked for by path.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass, replace
from typing import Any, Literal

from models.errors import BenchError
from models.packaged import packaged_weights

_MICRO_NOTE = "trained on dead leaves (`nox -s train_micro`): stands in for the pipeline, never for the paper's number"
_SAM_INPUT = "long side to 1024 px (Pillow bilinear), ImageNet mean and std, zero padding below and right"
_SQUASH_INPUT = "squashed to 1024 x 1024 px (bilinear, no antialias), ImageNet mean and std"
_SAM_SEGMENTER = "models.sam.segmenter:SamSegmenter"
_EFFICIENTSAM_SEGMENTER = "models.efficientsam.segmenter:EfficientSamSegmenter"
_YOLO_INPUT = "letterboxed to 1024 px by ultralytics; one everything-pass an image, prompts choose among its masks"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model. Packages add theirs through the entry-point group `efficientsam_bench.models`.

    Callables are lazy strings, "package.module:name", so that a card costs no import.
    """

    name: str
    """What commands call it, e.g. efficientsam-ti."""
    paper_row: str | None
    """Its row in the paper's Tables 4 and 5, None if it has none."""
    scale: Literal["paper", "micro"]
    """Whether its numbers may stand beside the paper's."""
    build: str
    """With `segmenter`: makes the untrained network, called without arguments. Without: makes the segmenter,
    called as `build(checkpoint: Path | None, device: str)`. With `spec`: see there."""
    filename: str | None
    """Checkpoint in the weights folder; absolute for a file inside a package; None if there is none."""
    segmenter: str | None = None
    """The class around the network, called as `segmenter(network, name=name)`."""
    convert: str | None = None
    """Renames the entries of the published state dict to those of the network."""
    url: str | None = None
    """Where `bench weights fetch` gets the file; None if it cannot."""
    bytes: int | None = None
    """Size of the file, None if not published."""
    sha256: str | None = None
    """Hash of the file, None if not published: then it is recorded but cannot be checked."""
    runs_code: bool = False
    """Whether reading the checkpoint runs code in it. Then `build(checkpoint, device, card=, trusted=)` must read it
    through `models.files.trust.trusted_copy`: the published file, or one the user vouches for."""
    requires: tuple[str, str] | None = None
    """A module that must be importable, and what to `pip install` for it."""
    licence: str = "unknown"
    """Of the weights."""
    source: str = ""
    """Whose weights these are."""
    input: str = ""
    """How an image becomes the network's input."""
    threads: int | None = None
    """CPU threads that are fastest, None for all there are: a small network loses more to waiting than it gains."""
    note: str = ""
    """What a reader of a table must know."""
    spec: str | None = None
    """What follows the prefix of a model named PREFIX:REST (`models.specs`). Such a model has no checkpoint of the
    zoo: `build(card, device)` makes the segmenter with its weights and sets its `checkpoint_sha256` (None if it has no
    one file) and `identity`, plain values that decide its answers: a revision, hashes of files."""
    made_from: tuple[str, str | None] | None = None
    """(name, sha256 of the checkpoint) of the model that it is another form of: where that is measured too, tables show
    the paired difference."""
    code: tuple[str, ...] = ()
    """Modules, besides those of `build`, `segmenter` and `convert`, whose code decides its answers."""

    @property
    def released(self) -> bool:
        """Whether anyone can have its weights: a card of the zoo has some, or needs none."""
        return True


def resolve(reference: str) -> Any:
    """Return the object that a lazy string of a card names.

    Raises:
        BenchError: if there is no such module or name.

    >>> resolve("models.errors:BenchError").__name__
    'BenchError'
    """
    module, _, name = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BenchError(f"cannot import '{reference}' ({error}): reinstall the package it belongs to") from error


def _sam(size: Literal["b", "l", "h"], filename: str, size_bytes: int, sha256: str) -> ModelCard:
    """Return the card of a published SAM."""
    return ModelCard(
        name=f"sam-vit-{size}",
        paper_row="SAM" if size == "h" else None,
        scale="paper",
        build=f"models.sam.build:sam_vit_{size}",
        segmenter=_SAM_SEGMENTER,
        filename=filename,
        url=f"https://dl.fbaipublicfiles.com/segment_anything/{filename}",
        bytes=size_bytes,
        sha256=sha256,
        licence="Apache-2.0",
        source="Segment Anything, arXiv 2304.02643",
        input=_SAM_INPUT,
    )


def _efficientsam(size: Literal["ti", "s"], filename: str, size_bytes: int, sha256: str) -> ModelCard:
    """Return the card of a released EfficientSAM."""
    return ModelCard(
        name=f"efficientsam-{size}",
        paper_row=f"EfficientSAM-{size.title()}",
        scale="paper",
        build=f"models.efficientsam.build:efficientsam_{size}",
        segmenter=_EFFICIENTSAM_SEGMENTER,
        filename=filename,
        url=f"https://huggingface.co/yunyangx/EfficientSAM/resolve/main/{filename}",
        bytes=size_bytes,
        sha256=sha256,
        licence="Apache-2.0",
        source="EfficientSAM, arXiv 2312.00863",
        input=_SQUASH_INPUT,
        note="its single-mask token is all but untrained: ask for three masks",
    )


def _micro(
    name: str, paper_row: str | None, segmenter: str, input_convention: str, build: str | None = None
) -> ModelCard:
    """Return the card of a committed micro model; size, hash and pretraining come from the json beside its weights."""
    weights = packaged_weights(name)
    record = weights.with_suffix(".json")
    facts = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    return ModelCard(
        name=name,
        paper_row=paper_row,
        scale="micro",
        build=f"models.micro:{build or name.replace('-', '_')}",
        segmenter=segmenter,
        filename=str(weights),
        bytes=facts.get("bytes"),
        sha256=facts.get("sha256"),
        licence="Apache-2.0",
        source="this project",
        input=input_convention.replace("1024", "256"),
        threads=1,
        note=_MICRO_NOTE if segmenter == _SAM_SEGMENTER else f"{_pretraining(facts)}; {_MICRO_NOTE}",
    )


def _pretraining(facts: dict[str, Any]) -> str:
    """Say what a micro EfficientSAM's encoder was trained on before it was finetuned."""
    start = facts.get("start")
    return f"encoder pretrained as {start}" if start else "not SAMI-pretrained"


_FASTSAM_X = ModelCard(
    name="fastsam-x",
    paper_row="FastSAM",
    scale="paper",
    build="models.fastsam.segmenter:load_fastsam",
    filename="FastSAM-x.pt",
    url="https://huggingface.co/spaces/An-619/FastSAM/resolve/main/weights/FastSAM.pt",
    bytes=144_943_063,
    sha256="c0be4e7ddbe4c15333d15a859c676d053c486d0a746a3be6a7a9790d52a9b6d7",
    runs_code=True,
    requires=("ultralytics", "efficientsam-bench[fastsam]"),
    licence="AGPL-3.0",
    source="FastSAM, arXiv 2306.12156",
    input=_YOLO_INPUT,
    note="licence as in the repository's LICENSE; its README says Apache-2.0",
)

_MOBILESAM = ModelCard(
    name="mobilesam",
    paper_row="MobileSAM",
    scale="paper",
    build="models.mobilesam.build:mobilesam",
    segmenter=_SAM_SEGMENTER,
    convert="models.mobilesam.build:official_key_map",
    filename="mobile_sam.pt",
    url="https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
    bytes=40_728_226,
    sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
    licence="Apache-2.0",
    source="MobileSAM, arXiv 2306.14289",
    input=_SAM_INPUT,
)

CARDS: tuple[ModelCard, ...] = (
    _sam(
        "b",
        "sam_vit_b_01ec64.pth",
        375_042_383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    _sam(
        "l",
        "sam_vit_l_0b3195.pth",
        1_249_524_607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    _sam(
        "h",
        "sam_vit_h_4b8939.pth",
        2_564_550_879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
    _MOBILESAM,
    replace(
        _MOBILESAM,
        name="tinysam",
        paper_row=None,
        filename="tinysam_42.3.pth",
        url="https://github.com/xinghaochen/TinySAM/releases/download/3.0/tinysam_42.3.pth",
        bytes=None,
        sha256=None,
        source="TinySAM, arXiv 2312.13789",
        note="MobileSAM's network, distilled otherwise; size and hash are not published: it cannot be checked",
    ),
    _efficientsam(
        "ti",
        "efficient_sam_vitt.pt",
        40_982_470,
        "dff858b19600a46461cbb7de98f796b23a7a888d9f5e34c0b033f7d6eb9e4e6a",
    ),
    _efficientsam(
        "s",
        "efficient_sam_vits.pt",
        105_742_022,
        "339376940b92351ae26dd1162e2305a1cc6f5cde735105e91286251abd9a6b65",
    ),
    _FASTSAM_X,
    replace(
        _FASTSAM_X,
        name="fastsam-s",
        paper_row=None,
        filename="FastSAM-s.pt",
        url="https://drive.usercontent.google.com/download?id=10XmSj6mmpmRb8NhXbtiuO9cTTBwR_9SV&confirm=t",
        bytes=None,
        sha256=None,
        note="size (about 24 MB) and hash are not published: it cannot be checked, and is read with --trust alone",
    ),
    _micro("sam-micro", "SAM", _SAM_SEGMENTER, _SAM_INPUT),
    _micro("mobilesam-micro", "MobileSAM", _SAM_SEGMENTER, _SAM_INPUT),
    replace(
        _micro("fastsam-micro", "FastSAM", "models.fastsam.segmenter:micro_segmenter", _YOLO_INPUT),
        build="models.fastsam.yolo:fastsam_micro",
        runs_code=False,
        requires=_FASTSAM_X.requires,
        licence=_FASTSAM_X.licence,
        note=_MICRO_NOTE,
    ),
    _micro("sam-mae-ti-micro", "SAM-MAE-Ti", _EFFICIENTSAM_SEGMENTER, _SQUASH_INPUT, "efficientsam_ti_micro"),
    replace(
        _micro("sam-scratch-ti-micro", None, _EFFICIENTSAM_SEGMENTER, _SQUASH_INPUT, "efficientsam_ti_micro"),
        note="EfficientSAM-Ti without pretraining: a control that the paper has not",
    ),
    _micro("efficientsam-ti-micro", "EfficientSAM-Ti", _EFFICIENTSAM_SEGMENTER, _SQUASH_INPUT),
    _micro("efficientsam-s-micro", "EfficientSAM-S", _EFFICIENTSAM_SEGMENTER, _SQUASH_INPUT),
)
"""The models this project brings along, in the order in which tables list them."""
