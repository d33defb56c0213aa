"""Which process made a file, told by the file's name, and whether that process still lives."""

from __future__ import annotations

import os
import platform
import re
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

HEARTBEAT_S = 15.0
"""How often the holder of a lock renews the time stamp of its file."""
LEASE_S = 180.0
"""Age of the last heartbeat after which an owner we cannot ask (another host or container) counts as dead.

Twelve heartbeats, and three times the minute for which NFS clients cache time stamps. A process that was
wrongly taken for dead costs a shard computed twice, never a wrong one.
"""
UNKNOWN = "0"
_NAME = re.compile(
    r"(?P<pid>\d{1,9})\.(?P<start>\d+)\.(?P<boot>[0-9a-f]{1,12})\.(?P<space>\d+)\.(?P<nonce>[0-9a-f]{8})@(?P<node>[\w.-]{1,64})"
)


@dataclass(frozen=True, slots=True)
class Owner:
    """A process on a machine, precise enough that a reused pid or a restarted machine is another owner."""

    pid: int
    start: str
    """Clock ticks from boot to the start of the process, UNKNOWN where there is no /proc."""
    boot: str
    """First digits of the kernel's boot id, UNKNOWN where there is no /proc."""
    space: str
    """Number of the pid namespace: the same pid in two containers is two processes."""
    node: str
    """Host name."""
    nonce: str
    """Fresh for every file, so that no two files ever share a name."""

    @property
    def name(self) -> str:
        """The owner as part of a file name."""
        return f"{self.pid}.{self.start}.{self.boot}.{self.space}.{self.nonce}@{self.node}"

    @classmethod
    def parse(cls, name: str) -> Owner | None:
        """Read an owner back from `name`; None for names that are not ours."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        return cls(int(match["pid"]), match["start"], match["boot"], match["space"], match["node"], match["nonce"])

    def __str__(self) -> str:
        return f"process {self.pid} on {self.node}"


class _Stat(NamedTuple):
    state: str
    start: str


class _Place(NamedTuple):
    start: str
    boot: str
    space: str
    node: str


def current_owner() -> Owner:
    """Return this process as the owner of one new file."""
    pid = os.getpid()
    return Owner(pid, *_place(pid), secrets.token_hex(4))


def alive(owner: Owner, heartbeat: float, clock: Callable[[], float] = time.time) -> bool:
    """Tell whether the owner of a file may still be at work.

    On the same machine the kernel is asked; where it cannot answer (another host or container, no /proc) the
    last heartbeat decides.

    Args:
        owner: as read from the file's name.
        heartbeat: modification time of the file, seconds since the epoch.
        clock: says now on the clock that stamped the file, see `clock_of`; asked where the heartbeat decides.
    """
    here = current_owner()
    if owner.node != here.node:
        return _fresh(heartbeat, clock)
    if owner.boot != here.boot:
        return False
    if owner.space != here.space or os.name == "nt":
        return _fresh(heartbeat, clock)
    if not pid_exists(owner.pid):
        return False
    stat = _stat(owner.pid)
    if stat is None or owner.start == UNKNOWN:
        return _fresh(heartbeat, clock)
    return stat.state not in "ZX" and stat.start == owner.start


def clock_of(folder: Path) -> float:
    """Return now on the clock that stamps files in `folder`: over NFS the server's, which may differ from ours."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()  # the folder may not be written, so no lock in it will be taken either


def _fresh(heartbeat: float, clock: Callable[[], float]) -> bool:
    # A stamp from the future is of a clock that was wrong: it would stay fresh until that day.
    return abs(clock() - heartbeat) < LEASE_S


@lru_cache(maxsize=1)
def _place(pid: int) -> _Place:
    """Describe process `pid`, which is this one; the pid is an argument so that a fork asks again."""
    stat = _stat(pid)
    boot = _read("/proc/sys/kernel/random/boot_id").replace("-", "")[:12]
    try:
        space = str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        space = UNKNOWN
    node = re.sub(r"[^A-Za-z0-9_.-]", "_", platform.node())[:64]
    return _Place(stat.start if stat else UNKNOWN, boot or UNKNOWN, space, node or "localhost")


def _stat(pid: int) -> _Stat | None:
    # The second field is the command in parentheses, which may itself hold spaces and parentheses.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return _Stat(fields[0], fields[19]) if len(fields) > 19 else None


def pid_exists(pid: int) -> bool:
    """Tell whether this machine has a process of that number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _read(path: str) -> str:
    """Return the text of a /proc file, empty where it is absent or hidden."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
