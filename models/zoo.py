"""The zoo: every model by its name, those of this project and those that installed packages add.

A package adds models through the entry-point group `efficientsam_bench.models`; each entry point resolves to
a `ModelCard` or to a list of them. A name PREFIX:REST needs no package, see `models.specs`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from models import checkpoints, specs
from models.cards import CARDS, ModelCard, resolve
from models.errors import BenchError, unknown_name
from models.plugins import load as load_plugin
from models.plugins import plugins
from models.segmenter import Segmenter

if TYPE_CHECKING:  # torch takes seconds to import, and what is known of models is asked without it
    from torch.nn import Module

GROUP = "efficientsam_bench.models"
"""Entry-point group of third-party models."""


class LoadedSegmenter(Segmenter, Protocol):
    """A segmenter that knows which weights it has."""

    checkpoint_sha256: str | None
    """Of the file its weights came from, None if the model has no file."""
    custom: bool
    """True if the weights are not those of the card: then no number stands for the card's model."""
    identity: Mapping[str, Any]
    """What else tells its answers from another's, of a model named PREFIX:REST; others may have none."""


def load(
    name: str, *, checkpoint: str | Path | None = None, device: str = "cpu", trusted: Collection[str] = ()
) -> LoadedSegmenter:
    """Load a model with its weights.

    Args:
        name: of the model, see `names`.
        checkpoint: file to use instead of the published one; without it, only the published file is accepted.
        device: as torch names it, e.g. cpu, cuda, cuda:1.
        trusted: sha256 of files that may be read though their reading runs code, see `models.files.trust`.

    Raises:
        BenchError: if the name is unknown, the device is not there, a package is missing, or the checkpoint
            is missing, damaged, not trusted or of another model.
    """
    found = card(name)
    _require(found)
    _check_device(device)
    if found.spec is not None:
        return _load_spec(found, device, checkpoint)
    path = checkpoints.checkpoint_path(found) if checkpoint is None else Path(checkpoint).expanduser()
    digest = None
    if path is not None:
        if not path.is_file():
            raise _missing(found, path, asked_for=checkpoint is not None)
        digest = checkpoints.check(found, path) if checkpoint is None else checkpoints.sha256_of(path)
    segmenter = _build(found, path, device, trusted)
    segmenter.name = name
    segmenter.checkpoint_sha256 = digest
    segmenter.custom = checkpoint is not None and digest != found.sha256
    return segmenter


def available(name: str) -> tuple[bool, str]:
    """Return whether a model can be loaded here, and if not, why."""
    found = card(name)
    path = checkpoints.checkpoint_path(found)
    try:
        _require(found)
        if path is not None:
            checkpoints.check(found, path)
    except BenchError as error:
        return False, str(error)
    if found.runs_code and found.sha256 is None:
        return False, f"'{path}' runs code as it is read and has no published hash: add --trust {path} to a run of it"
    return True, ""


def untrained(name: str, *, device: str = "cpu") -> LoadedSegmenter:
    """Return a model with random weights, to time it.

    Raises:
        BenchError: if there is no such model, it cannot be made without its weights, or its package or the device is
            missing.
    """
    found = card(name)
    _check_device(device)
    _require(found)
    if found.spec is not None:
        return _load_spec(found, device, None)
    if found.segmenter is None:
        raise BenchError(f"model '{name}' cannot be made without its weights: `bench weights fetch {name}`")
    segmenter = _build(found, None, device, ())
    segmenter.name, segmenter.checkpoint_sha256, segmenter.custom = name, None, True
    return segmenter


def names() -> list[str]:
    """Return the names of all models, this project's first, each group in its own order."""
    return list(_all_cards()[0])


def broken_plugins() -> list[str]:
    """Return a sentence about each entry point whose models cannot be had; all others can."""
    return _all_cards()[1]


def modules(name: str) -> list[str]:
    """Return the names of the modules that make a model's predictions what they are: network, segmenter, names."""
    found = card(name)
    return [*(one.partition(":")[0] for one in (found.build, found.segmenter, found.convert) if one), *found.code]


def card(name: str) -> ModelCard:
    """Return the card of a model: one of `names`, or PREFIX:REST.

    Raises:
        BenchError: if there is no such model; it names the nearest one.
    """
    cards, broken = _all_cards()
    if name in cards:
        return cards[name]
    if specs.is_spec(name):
        return specs.card(name)
    unknown = unknown_name("model", name, cards)
    raise BenchError("; ".join([str(unknown), *broken])) if broken else unknown


def _all_cards() -> tuple[dict[str, ModelCard], list[str]]:
    """Return all cards by name, and what is wrong with the entry points that gave none or whose names were taken."""
    cards = {one.name: one for one in CARDS}
    broken = []
    for point in plugins(GROUP):
        try:
            found = _cards_of(point)
        except BenchError as error:
            broken.append(str(error))
            continue
        for one in found:
            if one.name in cards:
                broken.append(
                    f"the model name '{one.name}' of entry point '{point.value}' is taken: "
                    "uninstall the package or ask its authors for another name"
                )
            cards.setdefault(one.name, one)
    return cards, broken


def _cards_of(point: EntryPoint) -> list[ModelCard]:
    """Return the cards that an entry point resolves to."""
    value = load_plugin(point)
    found = [value] if isinstance(value, ModelCard) else value
    if not isinstance(found, list | tuple) or not all(isinstance(one, ModelCard) for one in found):
        raise BenchError(
            f"the entry point '{point.name} = {point.value}' of group '{GROUP}' is a {type(value).__name__}: "
            "it must be a ModelCard or a list of them"
        )
    return list(found)


def _build(found: ModelCard, path: Path | None, device: str, trusted: Collection[str]) -> LoadedSegmenter:
    """Make a card's segmenter on a device, with the weights of a file."""
    if found.segmenter is None:
        more = {"card": found, "trusted": trusted} if found.runs_code else {}
        made: LoadedSegmenter = resolve(found.build)(path, device, **more)
        return made
    network: Module = resolve(found.build)()
    if path is not None:
        checkpoints.fill(network, checkpoints.read_state_dict(path, found), card=found, path=path)
    segmenter: LoadedSegmenter = resolve(found.segmenter)(network.to(device), name=found.name)
    return segmenter


def _load_spec(found: ModelCard, device: str, checkpoint: str | Path | None) -> LoadedSegmenter:
    """Make the segmenter of a PREFIX:REST, which says itself where its weights are."""
    if checkpoint is not None:
        raise BenchError(f"model '{found.name}' says itself where its weights are: leave out the checkpoint")
    segmenter: LoadedSegmenter = resolve(found.build)(found, device)
    segmenter.name, segmenter.custom = found.name, False
    return segmenter


def _missing(found: ModelCard, path: Path, *, asked_for: bool) -> BenchError:
    """Return the error for a missing file, which depends on who named it."""
    if asked_for:
        return BenchError(f"there is no checkpoint '{path}' for model '{found.name}': check the path")
    return checkpoints.missing(found, path)


def _require(found: ModelCard) -> None:
    """Raise if a package that the model needs is not installed."""
    if found.requires is not None and importlib.util.find_spec(found.requires[0]) is None:
        raise BenchError(
            f"model '{found.name}' needs the package '{found.requires[0]}': run `pip install {found.requires[1]}`"
        )


def _check_device(device: str) -> None:
    """Raise if torch does not know or does not have a device."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise BenchError(
            f"device '{device}' cannot be used here ({reason}): use cpu, or a torch built for it"
        ) from error
