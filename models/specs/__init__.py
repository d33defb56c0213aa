"""Models that need no package: a name `PREFIX:REST` says all there is to know, and becomes a card when it is asked for.

Wherever the name of a promptable model is taken, such a name is too. A prefix is one entry of `PREFIXES`: a function
from the whole name to a `ModelCard` whose `spec` is the rest; it may look at files, and imports what it needs.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from models.cards import ModelCard, resolve
from models.errors import BenchError


class Prefix(NamedTuple):
    """A kind of such names."""

    form: str
    """What to write."""
    what: str
    """What it stands for."""
    card: str
    """Lazy string of `card(name: str) -> ModelCard`."""


PREFIXES: dict[str, Prefix] = {
    "hf": Prefix(
        "hf:ID_OR_FOLDER",
        "a SAM, SlimSAM, SAM-HQ, SAM 2, EdgeTAM or SAM 3 that transformers loads",
        "models.specs.hf:card",
    ),
    "onnx": Prefix(
        "onnx:ENCODER,DECODER", "two ONNX files that `bench export` wrote, run by onnxruntime", "models.specs.onnx:card"
    ),
    "predictor": Prefix(
        "predictor:PACKAGE.MODULE:FACTORY",
        "what a function returns that has SamPredictor's set_image and predict",
        "models.specs.predictor:card",
    ),
    "masks": Prefix("masks:FILE", "predictions in COCO's results format, with masks", "models.specs.masks:card"),
}
"""By prefix."""


def is_spec(name: str) -> bool:
    """Say whether a model's name is of the form PREFIX:REST.

    >>> is_spec("hf:facebook/sam-vit-base"), is_spec("sam-vit-b")
    (True, False)
    """
    return ":" in name


def card(name: str, prefixes: Collection[str] | None = None) -> ModelCard:
    """Return the card of a model by its spec.

    Args:
        name: PREFIX:REST.
        prefixes: that mean something here; None for all.

    Raises:
        BenchError: if the prefix is unknown or means nothing here, or there is no such model.
    """
    prefix, _, rest = name.partition(":")
    known = [one for one in PREFIXES if prefixes is None or one in prefixes]
    if prefix not in known:
        forms = ", ".join(PREFIXES[one].form for one in known)
        why = f"a name with a colon is {forms}" if known else "models of this table have no colon in their names"
        raise BenchError(f"no model is called '{name}': {why}")
    if not rest:
        raise BenchError(f"'{name}' names no model: write {PREFIXES[prefix].form}")
    found: ModelCard = resolve(PREFIXES[prefix].card)(name)
    return found
