"""One writer at a time, across processes: locks that outlive no one.

A lock is a folder that holds one empty file named after its owner. Both steps that matter are single renames,
of which the file system lets exactly one process succeed: a folder with the owner in it is moved to the
lock's name, which fails if a lock is there; and the file of a dead owner, whose name is unique, is renamed to
the new owner's.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.store import owners
from bench.store.disk import disk_errors, temporary_beside
from bench.store.owners import Owner
from models.errors import BenchError, refused

_ATTEMPTS = 5
"""How often a lock that changes hands while we look is looked at again."""


class _Occupant(NamedTuple):
    owner: Owner
    living: bool


class Lock:
    """A lock that this process holds, with a thread that keeps its time stamp fresh."""

    def __init__(self, path: Path, owner: Owner) -> None:
        self._path = path
        self._file = path / owner.name
        self._released = threading.Event()
        threading.Thread(target=self._beat, name=f"heartbeat {path.name}", daemon=True).start()

    def release(self) -> None:
        """Give the lock up; harmless if it was taken over meanwhile."""
        self._released.set()
        with disk_errors(self._path):
            self._file.unlink(missing_ok=True)
        # Not empty or gone: the next owner was quicker. Empty and left behind: the next owner moves over it.
        with suppress(OSError):
            self._path.rmdir()

    def _beat(self) -> None:
        while not self._released.wait(owners.HEARTBEAT_S):
            try:
                os.utime(self._file)
            except FileNotFoundError:
                return  # released, or taken over by a process that thought us dead
            except OSError:
                continue  # a network disk that hiccups: the lease forgives eleven missed beats


def acquire(path: Path) -> Lock | None:
    """Take the lock at `path` without waiting; None if a living owner has it.

    The lock of a dead process, or of this machine before it was restarted, is taken over.

    Raises:
        BenchError: if the disk is full or refuses, or the lock's folder holds files that are no locks.
    """
    for _ in range(_ATTEMPTS):
        mine = owners.current_owner()
        occupant = _occupant(path)
        if occupant is None:
            taken = _move_in(path, mine)
        elif occupant.living:
            return None
        else:
            taken = _take_over(path, occupant.owner, mine)
        if taken:
            return Lock(path, mine)
    return None


def holder(path: Path) -> Owner | None:
    """Return the living owner of the lock at `path`, None if it is free to take."""
    occupant = _occupant(path)
    return occupant.owner if occupant and occupant.living else None


@contextmanager
def locked(path: Path, *, timeout_s: float = 60.0, poll_s: float = 0.01) -> Iterator[None]:
    """Hold the lock at `path` during the block, waiting for it if need be.

    Raises:
        BenchError: if a living process keeps it longer than `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while (lock := acquire(path)) is None:
        if time.monotonic() > deadline:
            raise BenchError(
                f"{path} has been held by {holder(path) or 'others'} for over {timeout_s:g} s: "
                "end that process, or delete the folder if it no longer exists"
            )
        time.sleep(poll_s)
    try:
        yield
    finally:
        lock.release()


def _occupant(path: Path) -> _Occupant | None:
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        if path.is_symlink():
            raise BenchError(f"{path} is no lock but a link to nowhere, which no run makes: delete it") from None
        return None
    except NotADirectoryError:
        raise BenchError(f"{path} is no lock but a file, which no run makes: delete it") from None
    except OSError as error:
        raise refused(error, path) from error
    parsed = [owner for owner in map(Owner.parse, names) if owner is not None]
    if names and not parsed:
        raise BenchError(f"{path} holds files that are no locks ({sorted(names)[0]}): delete that folder")
    for owner in parsed:
        try:
            found = (path / owner.name).stat()
        except FileNotFoundError:
            continue  # released between the two looks
        except OSError as error:
            raise refused(error, path / owner.name) from error
        if not stat.S_ISREG(found.st_mode):
            raise BenchError(f"{path} holds a folder in place of its owner's file: delete {path}")
        return _Occupant(owner, owners.alive(owner, found.st_mtime, partial(owners.clock_of, path.parent)))
    return None


def _move_in(path: Path, mine: Owner) -> bool:
    staging = temporary_beside(path, mine)
    with disk_errors(path):
        try:
            staging.mkdir()
            (staging / mine.name).touch(exist_ok=False)
            _rename(staging, path)
        finally:
            (staging / mine.name).unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                staging.rmdir()
    return (path / mine.name).exists()


def _take_over(path: Path, dead: Owner, mine: Owner) -> bool:
    with disk_errors(path):
        try:
            os.rename(path / dead.name, path / mine.name)
            os.utime(path / mine.name)
        except FileNotFoundError:
            return False  # another process took it over first
    return True


def _rename(staging: Path, path: Path) -> None:
    """Move `staging` to `path` unless a lock is there."""
    try:
        os.rename(staging, path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        # POSIX moves over an empty folder; Windows does not, so there it must go before the next attempt.
        with suppress(OSError):
            path.rmdir()
