"""Permission bits hold for everybody but root: as whom tests look at files that may not be read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 54321


@contextmanager
def without_rights(*paths: Path) -> Iterator[None]:
    """Take all rights to files and folders away during the block, in which root is somebody else."""
    modes = [path.stat().st_mode & 0o777 for path in paths]
    for path in paths:
        path.chmod(0)
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)
