"""Where the weights of micro models lie in this repository: those under another licence than the project's lie apart.

`weights/agpl` is no part of the wheel; its README.md and THIRD_PARTY_NOTICES.md say why.
"""

from __future__ import annotations

from pathlib import Path

PACKAGED = Path(__file__).parent / "weights"
"""Weights of micro models, each with a json of how it was made."""
AGPL = frozenset({"fastsam-micro"})
"""Models that were trained with ultralytics' code."""
AGPL_FOLDER = "models/weights/agpl"
"""Of their weights, in the repository."""


def packaged_weights(name: str, folder: Path = PACKAGED) -> Path:
    """Return where the weights of a micro model belong, in the repository or in a folder that is laid out like it.

    >>> packaged_weights("sam-micro", Path("w")).as_posix(), packaged_weights("fastsam-micro", Path("w")).as_posix()
    ('w/sam-micro.safetensors', 'w/agpl/fastsam-micro.safetensors')
    """
    return folder / (Path(AGPL_FOLDER).name if name in AGPL else "") / f"{name}.safetensors"
