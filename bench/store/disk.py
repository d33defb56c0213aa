"""Files that are written whole or not at all, and the sentence a user reads when the disk refuses."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from bench.store.owners import Owner, alive, clock_of, current_owner
from models.errors import BenchError, way_out

_TEMPORARY = ".tmp-"


@contextmanager
def disk_errors(path: Path, variable: str = "BENCH_RUNS") -> Iterator[None]:
    """Turn what the operating system says about writing `path` into a BenchError.

    Args:
        path: what is written.
        variable: of the environment, that names another place for it.

    Raises:
        BenchError: for any OSError inside the block.
    """
    try:
        yield
    except OSError as error:
        said = error.strerror or str(error)
        # The file that failed may be another, e.g. a folder above that is a file; temporary names say nothing.
        failed = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes)) else path
        if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EFBIG):
            raise BenchError(
                f"{path if _TEMPORARY in failed.name else failed} was not written ({said}): {way_out(error)}, "
                f"or set {variable}"
            ) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BenchError(
                f"{path} was not written because the disk is full ({said}): "
                "free some space and run the same command again, what was finished before is kept"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise BenchError(
                f"{path} may not be written ({said}): change its permissions, or set {variable}"
            ) from error
        raise BenchError(f"{path} was not written ({said}): mend the disk and run the same command again") from error


def write_whole(path: Path, data: bytes | Iterable[bytes], *, variable: str = "BENCH_RUNS") -> None:
    """Write `data`, in pieces or not, to `path` so that readers see the old file or the new one, also after a crash.

    A killed process leaves at most a temporary file, which `sweep` removes.

    Args:
        path: the file.
        data: its content.
        variable: of the environment, or an option, that names another place for it.

    Raises:
        BenchError: if the disk is full or refuses; nothing is left behind and an old file stays as it was.
    """
    temporary = temporary_beside(path, current_owner())
    with disk_errors(path, variable):
        try:
            _write_through(temporary, [data] if isinstance(data, bytes) else data)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def temporary_beside(path: Path, owner: Owner) -> Path:
    """Return the temporary name of `path` that says who made it."""
    return path.with_name(f"{path.name}{_TEMPORARY}{owner.name}")


def sweep(folder: Path) -> None:
    """Remove temporary files and folders in `folder` whose makers are dead; anything else is left alone.

    So is what may not be removed, as on a read-only disk: it disturbs nobody.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        owner = Owner.parse(path.name.partition(_TEMPORARY)[2])
        if owner is None:
            continue
        # Gone meanwhile: its maker finished, or another process swept it first.
        with suppress(OSError):
            if not alive(owner, path.stat().st_mtime, partial(clock_of, folder)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _write_through(path: Path, pieces: Iterable[bytes]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        for piece in pieces:
            left = memoryview(piece)
            while left:
                left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows neither opens nor flushes folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
