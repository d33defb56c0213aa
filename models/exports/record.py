"""What stands in the json beside an exported encoder and decoder: what they were made from, and their hashes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from models.checkpoints import sha256_of
from models.errors import BenchError

ENCODER, DECODER = "encoder", "decoder"
ROLES = (ENCODER, DECODER)
DATA = ".data"
"""What follows the name of a file whose weights did not fit into it."""
SEGMENTERS = ("models.sam.segmenter:SamSegmenter", "models.efficientsam.segmenter:EfficientSamSegmenter")
"""What may stand around an exported network; names in a file choose among these and nothing else."""
PRECISIONS = ("fp32", "int8")
FORM = "onnx:ENCODER,DECODER"


@dataclass(frozen=True, slots=True)
class Record:
    """One export."""

    model: str
    """Name of the model that it was made from."""
    checkpoint_sha256: str | None
    """Of that model's weights."""
    custom: bool
    """Whether these were the user's own."""
    precision: Literal["fp32", "int8"]
    """int8: matrices of linear layers in 8 bits, quantised dynamically; all else float32."""
    opset: int
    """Version of ONNX's operators."""
    segmenter: str
    """What prepares images and prompts and makes masks, one of `SEGMENTERS`."""
    image_size: int
    """Side of the network's input, px."""
    preprocessing: str
    """How an image becomes that input, in words."""
    scale: Literal["paper", "micro"]
    threads: int | None
    licence: str
    source: str
    made_with: Mapping[str, str]
    """Versions of the packages that wrote the files."""
    sha256: Mapping[str, str]
    """Of each file, by the end of its name: encoder.onnx, decoder.onnx."""


def write(path: Path, record: Record) -> None:
    """Write a record."""
    path.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Record:
    """Read a record.

    Raises:
        BenchError: if it is not there, damaged, or says what no export says.
    """
    try:
        found = json.loads(path.read_bytes())
        record = Record(**{field.name: found[field.name] for field in fields(Record)})
        words = (record.model, record.preprocessing, record.licence, record.source)
        known = (
            all(isinstance(word, str) for word in words)
            and all(isinstance(one, str) for one in (*record.sha256.values(), *record.made_with.values()))
            and isinstance(record.image_size, int)
            and isinstance(record.threads, int | None)
            and isinstance(record.checkpoint_sha256, str | None)
            and record.segmenter in SEGMENTERS
            and record.precision in PRECISIONS
            and record.scale in ("paper", "micro")
            and {f"{role}.onnx" for role in ROLES} <= set(record.sha256)
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path) from error
    if not known:
        raise _damaged(path)
    return record


def _damaged(path: Path) -> BenchError:
    return BenchError(f"'{path}' is not what `bench export` writes, or damaged: export the model again")


def record_of(path: Path, role: str) -> Record:
    """Return the record of a file that should be the encoder or the decoder of an export.

    Raises:
        BenchError: if the file is not there, was not written by `bench export`, is damaged, of another model or the
            other of the two.
    """
    if not path.is_file():
        raise BenchError(f"there is no file '{path}': write {FORM}, both as `bench export` wrote them")
    named = next((one for one in ROLES if path.name.endswith(f".{one}.onnx")), None)
    beside = path.with_name(f"{path.name.removesuffix(f'.{named}.onnx')}.json")
    if named is None or not beside.is_file():
        told = "NAME.encoder.onnx or NAME.decoder.onnx" if named is None else f"'{beside.name}' beside it"
        raise BenchError(
            f"'{path}' has not {told}, as `bench export` writes them: keep its three files together and as they are "
            "called; an ONNX file of others says not how its images and prompts are prepared, and is not taken"
        )
    record = read(beside)
    found = _role(path, record)
    if found is None:
        raise BenchError(
            f"'{path}' is not the file that '{beside.name}' beside it tells of: it is damaged or of another model, "
            f"export '{record.model}' again"
        )
    if found != role:
        raise BenchError(f"'{path}' is a {found} where the {role} is expected: write {FORM}, in this order")
    return record


def _role(path: Path, record: Record) -> str | None:
    """Return which of a record's files a file is, by its bytes; None if it is none of them."""
    digest = sha256_of(path)
    role = next((one for one in ROLES if record.sha256[f"{one}.onnx"] == digest), None)
    rest = record.sha256.get(f"{role}.onnx{DATA}")
    data = path.with_name(path.name + DATA)
    return role if rest is None or (data.is_file() and sha256_of(data) == rest) else None


def pair(encoder: Path, decoder: Path) -> tuple[Record, Record]:
    """Return the records of an encoder and a decoder that belong together; one may be int8 and the other not.

    Raises:
        BenchError: as `record_of`, and if they are of different models or weights.
    """
    one, other = record_of(encoder, ENCODER), record_of(decoder, DECODER)
    if (one.model, one.checkpoint_sha256) != (other.model, other.checkpoint_sha256):
        which = "other weights of it" if one.model == other.model else f"'{other.model}'"
        raise BenchError(
            f"'{encoder}' is the encoder of '{one.model}' and '{decoder}' the decoder of {which}: give "
            "both of one model"
        )
    return one, other
