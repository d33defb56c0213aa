"""Checkpoint files: where they are, whether they match the published hashes, and how they get into a network.

A file that is missing, cut short, altered, quantised, of another model or full of NaN, or one that asks to run code,
is refused with one sentence that says what to do; nothing is ever loaded partly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from models.cards import CARDS, ModelCard, resolve
from models.errors import BenchError
from models.files.folders import weights_folder
from models.files.hashes import hash_file, remembered_sha256
from models.packaged import AGPL, AGPL_FOLDER

if TYPE_CHECKING:  # torch takes seconds to import, and where files are is asked without it
    from torch import Tensor, nn

_REMEMBERED_FROM = 1 << 26
"""Smallest file, bytes, whose hash is remembered: below, hashing takes less than a tenth of a second."""
_FLOATS = {"torch.float32", "torch.float16", "torch.bfloat16", "torch.float64"}
"""Of weights. Smaller types, also floating ones, are quantised: they mean nothing without their scales."""
_SHOWN = 3
"""Entries of each kind that a mismatch is explained with."""


weights_root = weights_folder


def checkpoint_path(card: ModelCard) -> Path | None:
    """Return where a card's checkpoint is or would be, None if the card has none."""
    return None if card.filename is None else weights_root() / card.filename


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file; that of a large one is remembered in the cache folder until the file changes.

    Raises:
        BenchError: if it cannot be read.
    """
    try:
        return remembered_sha256(path) if path.stat().st_size >= _REMEMBERED_FROM else hash_file(path)
    except OSError as error:
        raise BenchError(f"'{path}' cannot be read ({error.strerror or error}): check its permissions") from error


def check(card: ModelCard, path: Path) -> str:
    """Return the sha256 of a card's checkpoint after comparing it with the published one.

    Raises:
        BenchError: if the file is missing, cut short, or not the published one.
    """
    if not path.is_file():
        raise missing(card, path)
    size = path.stat().st_size
    if card.bytes is not None and size < card.bytes:
        raise cut_short(path, size, card)
    digest = sha256_of(path)
    if card.sha256 is not None and digest != card.sha256:
        raise BenchError(
            f"'{path}' is not the published checkpoint of '{card.name}', its sha256 is {digest} instead of "
            f"{card.sha256}: pass its path to use it as a custom one, or move it away and "
            f"{_way_to_get(card, path)}"
        )
    return digest


def read_state_dict(path: Path, card: ModelCard) -> dict[str, Tensor]:
    """Read a state dict from safetensors, or from a torch file of tensors alone, whatever the file is called.

    It may lie under 'model', 'state_dict', 'ema' and the like, in a zip or gzip file of its own, and its names may
    have the 'module.' and '_orig_mod.' that wrapped networks put before all of them.

    Raises:
        BenchError: if the file is missing, cut short, or holds anything else.
    """
    from models.files.state_dicts import read_tensors

    if not path.is_file():
        raise missing(card, path)
    return read_tensors(path, lambda reason: cut_short(path, path.stat().st_size, card, f" ({reason})"))


def fill(network: nn.Module, state: Mapping[str, Tensor], *, card: ModelCard, path: Path) -> None:
    """Copy a state dict read from `path` into the network of a card, all of it or nothing.

    Raises:
        BenchError: if names or shapes differ, weights are quantised, or a value is NaN or infinite.
    """
    own = network.state_dict()
    wanted = shapes(own)
    if card.convert is not None and shapes(state) != wanted:
        state = resolve(card.convert)(state)
    if shapes(state) != wanted:
        raise _misfit(state, wanted, card, path)
    check_numbers(state, own, f"'{path}'")
    network.load_state_dict(dict(state))


def check_numbers(state: Mapping[str, Tensor], own: Mapping[str, Tensor], what: str) -> None:
    """Make sure that entries can be copied over those of a network without becoming something else.

    Args:
        state: the entries; those without a counterpart are not looked at.
        own: the network's.
        what: what errors call the state, in quotes.

    Raises:
        BenchError: if entries that should be floating are not, or a value is NaN or infinite there.
    """
    floats = [name for name, entry in own.items() if entry.is_floating_point() and name in state]
    quantised = [
        f"{name} ({str(state[name].dtype).removeprefix('torch.')})" for name in floats if _quantised(state[name])
    ]
    if quantised:
        raise BenchError(
            f"{what} holds no floating-point weights in {_some(quantised)}: it is quantised, "
            "give the checkpoint that it was made from"
        )
    broken = [name for name in floats if not state[name].to(own[name].dtype).isfinite().all()]
    if broken:
        raise BenchError(
            f"{what} has NaN or infinite values in {_some(broken)}: the training behind it diverged or the "
            "file is damaged, use an earlier checkpoint or fetch it again"
        )


def _quantised(entry: Tensor) -> bool:
    return str(entry.dtype) not in _FLOATS


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the manifest of a state dict: name -> shape."""
    return {name: tuple(entry.shape) for name, entry in state.items()}


def fitting_model(state: Mapping[str, Tensor], cards: Iterable[ModelCard] = CARDS) -> str | None:
    """Return the name of the first model whose network has exactly these entries, None if there is none."""
    import torch

    for card in cards:
        if card.segmenter is None or card.requires is not None:  # whose network may need what is not installed
            continue
        with torch.device("meta"):
            wanted = shapes(resolve(card.build)().state_dict())
        if wanted == shapes(state) or (card.convert and wanted == shapes(resolve(card.convert)(state))):
            return card.name
    return None


def missing(card: ModelCard, path: Path) -> BenchError:
    """Return the error for a checkpoint that is not there."""
    return BenchError(f"the weights of '{card.name}' are not at '{path}': {_way_to_get(card, path)}")


def cut_short(path: Path, size: int, card: ModelCard, reason: str = "") -> BenchError:
    """Return the error for a file that ends too early."""
    of = "" if card.bytes is None else f" of {card.bytes:,}"
    ours = card.url is not None and path == checkpoint_path(card)
    way_out = f"move it away and {_way_to_get(card, path)}" if ours else "give a whole copy of it"
    return BenchError(f"'{path}' is cut short or damaged, it has {size:,}{of} bytes{reason}: {way_out}")


def _way_to_get(card: ModelCard, path: Path) -> str:
    """Say how to get a checkpoint to where it belongs."""
    if card.url is not None:
        home = checkpoint_path(card)
        return f"run `bench weights fetch {card.name}`, or download {card.url} to '{home}'"
    if card.name in AGPL:
        return (
            f"its licence is {card.licence}, so that no package holds it: take it from {AGPL_FOLDER}/ of the project's "
            f"repository, or train it with `python -m bench train {card.name}`"
        )
    if card.scale == "micro":
        return "reinstall efficientsam-bench, or train it with `nox -s train_micro`"
    return f"there is no address to fetch it from, put it at '{path}' yourself"


def _misfit(
    state: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]], card: ModelCard, path: Path
) -> BenchError:
    """Return the error for a checkpoint of another model."""
    found = shapes(state)
    other = fitting_model(state)
    kinds = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of another shape": [
            f"{name} {list(found[name])} instead of {list(shape)}"
            for name, shape in wanted.items()
            if name in found and found[name] != shape
        ],
    }
    details = "; ".join(f"{len(names)} {kind}: {_some(names)}" for kind, names in kinds.items() if names)
    way_out = "check which model it was made for" if other is None else f"it is one of '{other}', use that model"
    return BenchError(f"'{path}' does not fit '{card.name}' ({details}): {way_out}")


def _some(names: list[str]) -> str:
    """Return the first few names and how many more there are."""
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
