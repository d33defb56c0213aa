"""Checkpoint files: where they are, whether they are the published ones, and how they get into a network.

A file that is missing, cut short, altered, of another model or full of NaN is refused with one sentence that
says what to do; nothing is ever loaded partly.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from models.cards import CARDS, ModelCard, resolve
from models.errors import BenchError
from models.folders import weights_folder

_HASH_CACHED_FROM = 1 << 26
"""Smallest file, bytes, whose hash is kept beside it: below, hashing takes less than a tenth of a second."""
_SHOWN = 3
"""Entries of each kind that a mismatch is explained with."""


weights_root = weights_folder


def checkpoint_path(card: ModelCard) -> Path | None:
    """Return where a card's checkpoint is or would be, None if the card has none."""
    return None if card.filename is None else weights_root() / card.filename


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file; that of a large one is kept beside it until its size or time changes."""
    facts, beside = path.stat(), _beside(path)
    identity = [str(facts.st_size), str(facts.st_mtime_ns)]
    if beside.is_file():
        *known, digest = ["", *beside.read_text(encoding="utf-8").split()]
        if known == ["", *identity] and len(digest) == 64:
            return digest
    digest = hash_file(path)
    if facts.st_size >= _HASH_CACHED_FROM and os.access(path.parent, os.W_OK):
        beside.write_text(" ".join([*identity, digest]), encoding="utf-8")
    return digest


def forget_hash(path: Path) -> None:
    """Make the next `sha256_of` read the file again."""
    _beside(path).unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """Return where the hash of a file is kept."""
    return path.with_name(f"{path.name}.sha256")


def hash_file(path: Path, algorithm: str = "sha256") -> str:
    """Return the hash of a file, read now."""
    hashed = hashlib.new(algorithm)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            hashed.update(chunk)
    return hashed.hexdigest()


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
            f"{card.sha256}: pass its path to use it as a custom one, or delete it and "
            f"{_way_to_get(card, path)}"
        )
    return digest


def read_state_dict(path: Path, card: ModelCard) -> dict[str, Tensor]:
    """Read a state dict from safetensors, or from a torch file of tensors alone, bare or under 'model'.

    Raises:
        BenchError: if the file is missing, cut short, or holds anything else.
    """
    if not path.is_file():
        raise missing(card, path)
    content = _read_safetensors(path, card) if path.suffix == ".safetensors" else _read_torch(path, card)
    state = content.get("model", content) if isinstance(content, Mapping) else content
    if not isinstance(state, Mapping) or not all(isinstance(entry, Tensor) for entry in state.values()):
        raise BenchError(
            f"'{path}' holds no state dict: expected names and tensors, alone or under the key 'model', "
            "save it with torch.save({'model': network.state_dict()}, path)"
        )
    return dict(state)


def fill(network: nn.Module, state: Mapping[str, Tensor], *, card: ModelCard, path: Path) -> None:
    """Copy a state dict read from `path` into the network of a card, all of it or nothing.

    Raises:
        BenchError: if names or shapes differ, or a value is NaN or infinite.
    """
    wanted = shapes(network.state_dict())
    if card.convert is not None and shapes(state) != wanted:
        state = resolve(card.convert)(state)
    if shapes(state) != wanted:
        raise _misfit(state, wanted, card, path)
    broken = [name for name, entry in state.items() if not torch.isfinite(entry).all()]
    if broken:
        raise BenchError(
            f"'{path}' has NaN or infinite values in {_some(broken)}: the training behind it diverged or the "
            "file is damaged, use an earlier checkpoint or fetch it again"
        )
    network.load_state_dict(dict(state))


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the manifest of a state dict: name -> shape."""
    return {name: tuple(entry.shape) for name, entry in state.items()}


def fitting_model(state: Mapping[str, Tensor], cards: Iterable[ModelCard] = CARDS) -> str | None:
    """Return the name of the first model whose network has exactly these entries, None if there is none."""
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
    return BenchError(
        f"'{path}' is cut short or damaged, it has {size:,}{of} bytes{reason}: delete it and {_way_to_get(card, path)}"
    )


def _way_to_get(card: ModelCard, path: Path) -> str:
    """Say how to get a checkpoint to where it belongs."""
    if card.url is not None:
        home = checkpoint_path(card)
        return f"run `bench weights fetch {card.name}`, or download {card.url} to '{home}'"
    if card.scale == "micro":
        return "reinstall efficientsam-bench, or train it with `nox -s train_micro`"
    return f"there is no address to fetch it from, put it at '{path}' yourself"


def _read_safetensors(path: Path, card: ModelCard) -> dict[str, Tensor]:
    """Read a safetensors file."""
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise cut_short(path, path.stat().st_size, card, f" ({_first_line(error)})") from error


def _read_torch(path: Path, card: ModelCard) -> object:
    """Read a torch file without running code from it."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported global" not in str(error):
            raise cut_short(path, path.stat().st_size, card) from error
        raise BenchError(
            f"'{path}' holds Python objects, which could run code, instead of tensors alone: "
            "save it again with torch.save({'model': network.state_dict()}, path)"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise cut_short(path, path.stat().st_size, card, f" ({_first_line(error)})") from error


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


def _first_line(error: Exception) -> str:
    """Return what an exception says in its first line."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
