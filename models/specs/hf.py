"""`hf:ID_OR_FOLDER`: promptable models that transformers loads, from the Hub or from a folder.

    hf:facebook/sam2.1-hiera-tiny            the newest revision
    hf:facebook/sam2.1-hiera-tiny@REVISION   a branch, a tag or a commit
    hf:~/checkpoints/my-sam                  a folder that `save_pretrained` wrote
    hf:facebook/sam-vit-base?processor=library

Images are prepared as the code of each model's authors does it; with `?processor=library` as transformers does it. Only
safetensors are read, and no code of a repository is run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from models import checkpoints
from models.cards import ModelCard
from models.errors import BenchError

if TYPE_CHECKING:  # torch takes seconds to import, and a card is made without it
    from models.specs.hf_segmenter import HfSegmenter

PROCESSORS = ("own", "library")
"""Who prepares images: we, as the model's authors do, or transformers."""
_SQUASH = "squashed to {side} x {side} px (as floats, bilinear with antialias), mean and std "


@dataclass(frozen=True, slots=True)
class Family:
    """Models of one architecture."""

    title: str
    model: str
    """Class of transformers."""
    maps: Literal["coarse", "early", "fine"] = "fine"
    """What its decoder looks at: coarse features alone; also those of an early block; also finer ones."""
    frame: Literal["padded", "squashed"] = "squashed"
    """How an image is put into the square input, see `models.frames`."""
    mean_std: tuple[float, float] | None = None
    """Of each channel, on the scale 0..1; None for those of ImageNet."""
    clamp: float | None = None
    """Bound of logits that are fed back as a mask prompt, as the authors' predictor returns them."""
    note: str = ""
    """What the authors' own predictor does otherwise."""

    def input(self, side: int | str) -> str:
        """Say how an image becomes the input of `side` px."""
        if self.frame == "padded":
            return f"long side to {side} px (Pillow bilinear), ImageNet mean and std, zero padding below and right"
        return _SQUASH.format(side=side) + (f"{self.mean_std}" if self.mean_std else "of ImageNet")


_EPS = "transformers' decoder normalises with epsilon 1e-6, the authors' with 1e-5, which moves logits by about 1e-4"
_SAM2 = "one mask is the single-mask token's where it is stable, else the best of three, as in the authors' code"
FAMILIES: dict[str, Family] = {
    "sam": Family("SAM", "SamModel", "coarse", "padded", note=_EPS),
    "sam_hq": Family(
        "SAM-HQ",
        "SamHQModel",
        "early",
        "padded",
        note=f"the HQ token's mask is added to each candidate, the authors' code keeps the best one alone; {_EPS}",
    ),
    "sam2": Family("SAM 2", "Sam2Model", clamp=32.0, note=_SAM2),
    "edgetam": Family("EdgeTAM", "EdgeTamModel", clamp=32.0, note=_SAM2),
    "sam3_tracker": Family(
        "SAM 3",
        "Sam3TrackerModel",
        mean_std=(0.5, 0.5),
        clamp=32.0,
        note=f"{_SAM2}; its authors' predictor also fills holes of up to 256 px, which is not done here",
    ),
}
"""By `model_type` in config.json. SlimSAM is SAM, pruned; SAM 2.1 is SAM 2."""
VIDEO = {"sam2_video": "sam2", "edgetam_video": "edgetam", "sam3_video": "sam3_tracker"}
"""Checkpoints of whole trackers, whose image part is a family's."""

_CONFIG = "config.json"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")
_PROCESSOR = ("preprocessor_config.json", "processor_config.json")
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


class Source(NamedTuple):
    """What a spec says."""

    place: str
    """A folder or an id."""
    revision: str | None
    processor: str


def card(name: str) -> ModelCard:
    """Return the card of hf:ID_OR_FOLDER; of an id, config.json is fetched.

    Raises:
        BenchError: if there is no such model, it cannot be reached, or is no promptable one.
    """
    spec = name.partition(":")[2]
    family, side = _family(name, _config(name, parse(name)))
    return ModelCard(
        name=name,
        paper_row=None,
        scale="paper",
        build="models.specs.hf:build",
        filename=None,
        requires=("transformers", "efficientsam-bench[transformers]"),
        source=f"{family.title}, through transformers",
        input=family.input(side),
        note=family.note,
        spec=spec,
        code=("models.specs.hf_segmenter",),
    )


def build(card: ModelCard, device: str) -> HfSegmenter:
    """Load the model of a card.

    Raises:
        BenchError: if files are missing, damaged or of another model.
    """
    from models.specs.hf_segmenter import load

    source = parse(card.name)
    family, side = _family(card.name, _config(card.name, source))
    folder, revision = _files(card.name, source)
    hashes = _hashes(card.name, folder, source)
    segmenter = load(folder, family, side, name=card.name, device=device, library=source.processor == "library")
    weights = [digest for file, digest in hashes.items() if file.endswith(".safetensors")]
    segmenter.checkpoint_sha256 = weights[0] if len(weights) == 1 else None
    segmenter.identity = {"revision": revision, "files": hashes, "processor": source.processor}
    return segmenter


def parse(name: str) -> Source:
    """Read hf:ID_OR_FOLDER[@REVISION][?processor=library].

    Raises:
        BenchError: for another option.

    >>> parse("hf:facebook/sam-vit-base@main?processor=library")
    Source(place='facebook/sam-vit-base', revision='main', processor='library')
    """
    rest = name.partition(":")[2]
    place, question, option = rest.rpartition("?") if "?" in rest else (rest, "", "")
    key, _, value = option.partition("=")
    if question and (key != "processor" or value not in PROCESSORS):
        raise BenchError(f"'{name}' has the option '{option}': it takes ?processor=own or ?processor=library")
    if Path(place).expanduser().is_dir():
        return Source(place, None, value or "own")
    place, _, revision = place.partition("@")
    return Source(place, revision or None, value or "own")


def _family(name: str, config: Mapping[str, Any]) -> tuple[Family, int]:
    """Return the family of a configuration, and the side of its square input, px."""
    kind = str(config.get("model_type"))
    found = FAMILIES.get(VIDEO.get(kind, kind))
    if found is None:
        known = ", ".join(family.title for family in FAMILIES.values())
        raise BenchError(f"'{name}' is a model of type '{kind}', which answers no prompts here: name one of {known}")
    parts = config.get("tracker_config") or config  # of a SAM 3 with its detector
    usual = 1008 if found.mean_std else 1024
    return found, int((parts.get("prompt_encoder_config") or {}).get("image_size", usual))


def _config(name: str, source: Source) -> dict[str, Any]:
    """Return what config.json says."""
    folder = Path(source.place).expanduser()
    path = folder / _CONFIG if folder.is_dir() else _fetch(name, source.place, source.revision, (_CONFIG,)) / _CONFIG
    if not path.is_file():
        raise BenchError(f"'{folder}' holds no model, it has no {_CONFIG}: name a folder that save_pretrained wrote")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchError(f"'{path}' cannot be read as JSON ({error}): save or download the model again") from error
    if not isinstance(found, dict):
        raise BenchError(f"'{path}' is no configuration of a model: save or download the model again")
    return found


def _files(name: str, source: Source) -> tuple[Path, str | None]:
    """Return the folder of a model's files, and the commit of the Hub that they are of."""
    folder = Path(source.place).expanduser()
    if folder.is_dir():
        return folder, None
    fetched = _fetch(name, source.place, source.revision, (_CONFIG, *_WEIGHTS, *_PROCESSOR))
    return fetched, fetched.name


def _hashes(name: str, folder: Path, source: Source) -> dict[str, str]:
    """Return the sha256 of each file that decides what a model answers."""
    patterns = (_CONFIG, *_WEIGHTS, *(_PROCESSOR if source.processor == "library" else ()))
    files = sorted(path for pattern in patterns for path in folder.glob(pattern))
    if not any(path.suffix == ".safetensors" for path in files):
        raise BenchError(
            f"'{name}' has no safetensors here, and other weights are not read: fetch it while there is a network, or "
            "load it with transformers and save_pretrained it into a folder"
        )
    return {path.name: checkpoints.sha256_of(path) for path in files}


@cache
def _fetch(name: str, place: str, revision: str | None, files: tuple[str, ...]) -> Path:
    """Return the folder in the Hub's cache that has some files of a model, fetched now where they are not there."""
    from huggingface_hub import errors, snapshot_download

    if not _HUB_ID.fullmatch(place):
        raise BenchError(f"there is no folder '{place}', and no model of the Hub can be called so: check the path")
    at = f"'{place}'" + (f" at revision '{revision}'" if revision else "")
    try:
        return Path(snapshot_download(place, revision=revision, allow_patterns=list(files)))
    except errors.GatedRepoError as error:
        raise BenchError(
            f"{at} is given to those who asked for it: ask at https://huggingface.co/{place}, then `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise BenchError(f"the Hub has no {at}: check the revision") from error
    except errors.RepositoryNotFoundError as error:
        raise BenchError(
            f"the Hub has no model {at}: check the id, or `hf auth login` if it is a private one"
        ) from error
    except (OSError, errors.EntryNotFoundError, ValueError) as error:
        raise BenchError(
            f"{at} is no folder, not in the Hub's cache, and the Hub cannot be reached: check the name and the "
            "network, or copy the model here and name its folder"
        ) from error
