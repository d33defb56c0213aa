import errno
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bench.data import parsed_cache as index
from bench.data.parsed_cache import cached_table, file_sha256, numbers
from models.errors import BenchError
from models.files import hashes
from tests.other_user import without_rights

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "index"


def write(table: Path) -> dict[str, Any]:
    columns = pa.record_batch({"a": np.arange(1000), "b": np.linspace(0, 1, 1000)})
    with pa.OSFile(str(table), "wb") as sink, pa.ipc.new_file(sink, columns.schema) as writer:
        writer.write_batch(columns)
    return {"note": ["é", 1, 2.5]}


def refuse(table: Path) -> dict[str, Any]:
    raise AssertionError("built again")


def read(build: Callable[[Path], dict[str, Any]]) -> tuple[list[float], dict[str, Any]]:
    found = cached_table("entry", build)
    return numbers(found.columns, "b").tolist(), found.notes


def test_an_entry_is_built_once_and_read_back_as_written() -> None:
    expected = (np.linspace(0, 1, 1000).tolist(), {"note": ["é", 1, 2.5]})
    assert read(write) == expected
    assert read(refuse) == expected


@pytest.mark.parametrize("damage", ["empty", "cut", "longer", "start", "middle", "notes", "digest"])
def test_a_damaged_entry_is_built_again(damage: str, cache: Path) -> None:
    expected = read(write)
    entry = cache / "entry.index"
    data = bytearray(entry.read_bytes())
    flipped = {"start": 9, "middle": len(data) // 2, "notes": -55, "digest": -1}
    if damage in flipped:
        data[flipped[damage]] ^= 1
    entry.write_bytes({"empty": b"", "cut": data[:-100], "longer": data + b"x"}.get(damage, bytes(data)))
    assert read(write) == expected
    assert read(refuse) == expected


def test_a_build_that_fails_leaves_nothing(cache: Path) -> None:
    def fail(table: Path) -> dict[str, Any]:
        write(table)
        raise BenchError("the source is damaged")

    with pytest.raises(BenchError, match="the source is damaged"):
        read(fail)
    assert list(cache.iterdir()) == []


def test_a_full_disk_is_a_sentence_and_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(table: Path, notes: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(index, "_seal", full)
    with pytest.raises(BenchError, match=r"cannot be written \(No space left on device\): make room"):
        read(write)
    assert list(cache.iterdir()) == []


def test_a_cache_that_is_no_folder_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(BenchError, match="point BENCH_CACHE elsewhere"):
        read(write)


def test_what_a_killed_writer_left_goes_after_a_day_and_not_before(cache: Path) -> None:
    for name, age in ((".building-old", 2 * 86_400), (".building-new", 60)):
        (cache / name).mkdir(parents=True)
        os.utime(cache / name, (time.time() - age,) * 2)
    read(write)
    assert sorted(path.name for path in cache.iterdir()) == [".building-new", "entry.index"]


def test_processes_that_open_at_once_all_get_the_whole_entry(cache: Path) -> None:
    script = (
        "import sys; sys.path[:0] = sys.argv[1:]; from test_parsed_cache import read, write; "
        "print(sum(sum(read(write)[0]) for _ in range(5)))"
    )
    command = [sys.executable, "-c", script, str(CHECKOUT), str(Path(__file__).parent)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {process.communicate()[0].strip() for process in running}
    assert len(answers) == 1
    assert float(answers.pop()) == pytest.approx(2500)
    assert [path.name for path in cache.iterdir()] == ["entry.index"]


def test_a_hash_is_remembered_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"first")
    first = file_sha256(path)
    before = path.stat()
    with monkeypatch.context() as patch:
        patch.setattr(hashes, "hash_file", None)
        assert file_sha256(path) == first
    # As unzip does: another content of the same length with the time of the first.
    (tmp_path / "other").write_bytes(b"again")
    os.replace(tmp_path / "other", path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file_sha256(path) != first


def test_the_hash_of_an_absent_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"absent\.json cannot be read \(No such file"):
        file_sha256(tmp_path / "absent.json")


def test_a_damaged_memory_of_a_hash_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    expected = file_sha256(tmp_path / "file")
    (memory,) = (tmp_path / "cache" / "sha256").iterdir()
    memory.write_text('{"file": [')
    assert file_sha256(tmp_path / "file") == expected


def test_an_unreadable_entry_is_an_absent_one(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        monkeypatch.setenv("BENCH_CACHE", name)
        source = folder / "source"
        source.write_bytes(b"abc")
        source.chmod(0o644)
        digest, expected = file_sha256(source), read(write)
        for place in ("sha256", "index"):
            (folder / place).chmod(0o777)
        (memory,), (entry,) = (folder / "sha256").iterdir(), (folder / "index").iterdir()
        with without_rights(memory, entry):
            assert file_sha256(source) == digest
            assert read(write) == expected


def test_a_cache_of_somebody_else_costs_the_memory_of_hashes_and_names_the_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        source, theirs = Path(name, "source"), Path(name, "cache")
        source.write_bytes(b"abc")
        theirs.mkdir()
        monkeypatch.setenv("BENCH_CACHE", str(theirs))
        with without_rights(theirs):
            assert file_sha256(source) == file_sha256(source)
            with pytest.raises(BenchError, match=rf"the cache {theirs}/index cannot be written \(Permission denied\)"):
                read(write)
        with without_rights(source), pytest.raises(BenchError, match=rf"{source} cannot be read \(Permission denied"):
            file_sha256(source)


def test_a_limit_on_the_size_of_files_is_a_sentence_and_leaves_nothing(cache: Path) -> None:
    pytest.importorskip("resource")
    script = (
        "import resource, sys; sys.path[:0] = sys.argv[1:]; from test_parsed_cache import read, write; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: read(write)\nexcept Exception as error: print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", script, str(CHECKOUT), str(Path(__file__).parent)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.startswith(f"BenchError the cache {cache} cannot be written")
    assert "BENCH_CACHE" in told
    assert list(cache.iterdir()) == []


def test_a_source_that_may_not_be_read_is_not_the_caches_fault(tmp_path: Path, cache: Path) -> None:
    def fail(table: Path) -> dict[str, Any]:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "source"))

    with pytest.raises(BenchError, match=rf"'{tmp_path}/source' cannot be used \(Permission denied\)"):
        read(fail)


def test_reading_the_cache_imports_neither_pandas_nor_torch(cache: Path) -> None:
    read(write)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from bench.data.parsed_cache import cached_table, numbers; "
        "numbers(cached_table('entry', None).columns, 'a'); "
        "print([name for name in ('pandas', 'torch') if name in sys.modules])"
    )
    command = [sys.executable, "-c", script, str(CHECKOUT)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"
