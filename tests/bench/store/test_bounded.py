"""What can be made again, on disk: exact, bounded, and none rather than a wrong one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.store.bounded import BoundedFolder

CONTENT = bytes(range(256)) * 4


def files(root: Path) -> list[Path]:
    return sorted(root.glob("*/*.kept"))


def test_what_is_read_is_what_was_kept(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, 1 << 20)
    assert folder.read("ab12") is None
    folder.write("ab12", CONTENT)
    assert BoundedFolder(tmp_path, 1 << 20).read("ab12") == CONTENT
    assert folder.read("ab13") is None


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "nonsense"])
def test_a_damaged_file_counts_as_none_and_is_written_again(damage: str, tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, 1 << 20)
    folder.write("ab12", CONTENT)
    (path,) = files(tmp_path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1 << 3
    path.write_bytes({"cut": content[:-40], "flipped": content, "emptied": b"", "nonsense": b"x" * 900}[damage])
    assert folder.read("ab12") is None
    folder.write("ab12", CONTENT)
    assert folder.read("ab12") == CONTENT


def test_the_folder_stays_within_its_bytes_and_keeps_what_was_used_last(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, 3 * (len(CONTENT) + 16))
    for number in range(3):
        folder.write(f"k{number}", CONTENT)
        os.utime(tmp_path / f"k{number}" / f"k{number}.kept", (number, number))
    assert folder.read("k0") is not None, "used: now k1 is the oldest"
    folder.write("k3", CONTENT)
    assert sum(path.stat().st_size for path in files(tmp_path)) <= folder.most
    assert [folder.read(f"k{number}") is not None for number in range(4)] == [True, False, True, True]


def test_a_folder_that_another_session_filled_is_brought_down_to_the_bound(tmp_path: Path) -> None:
    for number in range(6):
        BoundedFolder(tmp_path, 1 << 20).write(f"k{number}", CONTENT)
    folder = BoundedFolder(tmp_path, 2500)
    folder.write("last", CONTENT)
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 2500
    assert folder.read("last") == CONTENT


def test_what_is_larger_than_the_bound_is_not_kept(tmp_path: Path) -> None:
    BoundedFolder(tmp_path, 100).write("k", CONTENT)
    assert files(tmp_path) == []
