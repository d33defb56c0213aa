"""What kill -9, Ctrl-C, a full disk, bit rot and a second process do to a run: at most one shard is lost."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from bench.store import Run, RunStore, disk, list_runs, locks, runs, shards
from bench.store.owners import Owner, current_owner
from models.errors import BenchError
from tests.other_user import without_rights

ROOT = Path(__file__).resolve().parents[3]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are made by fork")

# The four shards below, computed by another process that meets its fate in the third.
WORKER = """
import os, signal, sys, time
import pandas as pd
from bench.store import RunStore

def records(shard):
    return pd.DataFrame({"id": range(shard * 10, shard * 10 + 5), "text": ["x" * shard] * 5})

def work(root, shards=4):
    run = RunStore(root).open({"protocol": "faults", "version": 1}, shards, provenance={"pid": os.getpid()})
    while pending := run.wait_for_all(timeout_s=60, poll_s=0.005):
        for shard in pending:
            with run.writing(shard) as claimed:
                if claimed:
                    os.write(1, b"%d %d\\n" % (shard, os.getpid()))  # whole lines, also from racers
                    run.write(shard, records(shard))

def meet(fate, moment, shard="shard-00002.parquet"):
    files, real = set(), {name: getattr(os, name) for name in ("open", "write", "fsync", "replace")}
    def open(path, *rest, **named):
        file = real["open"](path, *rest, **named)
        if shard in str(path):
            files.add(file)
        return file
    def write(file, data):
        if file in files and moment == "half written":
            real["write"](file, data[:100])
            fate()
        return real["write"](file, data)
    def fsync(file):
        if file in files and moment == "not on disk":
            fate()
        real["fsync"](file)
    def replace(source, target):
        if shard in str(target) and moment == "not named":
            fate()
        real["replace"](source, target)
        if shard in str(target) and moment == "not released":
            fate()
    os.open, os.write, os.fsync, os.replace = open, write, fsync, replace

def in_child(task, *arguments):
    child = os.fork()
    if child == 0:
        task(*arguments)
        os._exit(0)
    return child
"""
MOMENTS = {"half written": 2, "not on disk": 2, "not named": 2, "not released": 3}
"""How many shards are finished when the process is stopped there."""


def records(shard: int) -> pd.DataFrame:
    return pd.DataFrame({"id": range(shard * 10, shard * 10 + 5), "text": ["x" * shard] * 5})


def open_run(root: Path) -> Run:
    return RunStore(root).open({"protocol": "faults", "version": 1}, shards=4)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(tmp_path)


def finish(run: Run) -> Run:
    for shard in run.pending():
        run.write(shard, records(shard))
    return run


def names(run: Run) -> list[str]:
    return sorted(path.name for path in run.path.iterdir())


def whole(*done: int) -> list[str]:
    """Return the files of a run with these shards finished and nothing else lying about."""
    return ["run.json", *(f"shard-{shard:05d}.parquet" for shard in done)]


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


@needs_fork
class TestStopped:
    @pytest.fixture(scope="class")
    def killed(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Return a folder with one run a moment, each left by a process that was killed just then."""
        root = tmp_path_factory.mktemp("killed")
        code = """
def kill():
    os.kill(os.getpid(), signal.SIGKILL)
def doomed(moment):
    meet(kill, moment)
    work(os.path.join(sys.argv[1], moment))
for moment in sys.argv[2:]:
    _, status = os.waitpid(in_child(doomed, moment), 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, moment
"""
        subprocess.run(python(WORKER + code, root, *MOMENTS), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return root

    @pytest.mark.parametrize("moment", MOMENTS)
    def test_kill_9_loses_at_most_the_shard_in_hand(self, killed: Path, moment: str, tmp_path: Path) -> None:
        shutil.copytree(killed / moment, tmp_path / "run")
        run = open_run(tmp_path / "run")
        assert run.resumed == MOMENTS[moment]
        assert run.wait_for_all(timeout_s=0) == list(range(MOMENTS[moment], 4))
        finish(run)
        undisturbed = finish(open_run(tmp_path / "undisturbed"))
        for shard in range(4):
            assert run.shard_path(shard).read_bytes() == undisturbed.shard_path(shard).read_bytes()

    def test_kill_9_leaves_a_temporary_file_that_the_next_session_removes(self, killed: Path, tmp_path: Path) -> None:
        shutil.copytree(killed / "half written", tmp_path / "run")
        (folder,) = (tmp_path / "run").iterdir()
        (temporary,) = folder.glob("shard-00002.parquet.tmp-*")
        assert temporary.stat().st_size == 100
        finish(open_run(tmp_path / "run"))
        # The lock of the dead process was taken over and released as well.
        assert names(open_run(tmp_path / "run")) == whole(0, 1, 2, 3)

    def test_a_claim_left_on_a_finished_shard_disturbs_nobody(self, killed: Path, tmp_path: Path) -> None:
        shutil.copytree(killed / "not released", tmp_path / "run")
        run = finish(open_run(tmp_path / "run"))
        assert_frame_equal(run.read(), pd.concat(map(records, range(4)), ignore_index=True))

    @pytest.mark.parametrize("moment", ["half written", "not named"])
    def test_ctrl_c_leaves_whole_shards_and_nothing_else(self, tmp_path: Path, moment: str) -> None:
        code = """
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
def linger():
    print("lingering", flush=True)
    time.sleep(60)
meet(linger, sys.argv[2])
work(sys.argv[1])
"""
        command = python(WORKER + code, tmp_path, moment)
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as child:
            assert child.stdout is not None
            while child.stdout.readline() not in ("lingering\n", ""):
                pass
            child.send_signal(signal.SIGINT)
            _, told = child.communicate(timeout=30)
        assert told.strip().endswith("KeyboardInterrupt")
        (folder,) = tmp_path.iterdir()
        assert sorted(os.listdir(folder)) == whole(0, 1)


@needs_fork
class TestTogether:
    def test_processes_that_start_the_same_run_at_once_write_every_shard_once(self, tmp_path: Path) -> None:
        code = """
start, go = os.pipe()
def racer():
    os.close(go)
    os.read(start, 1)
    work(sys.argv[1], shards=40)
racers = [in_child(racer) for _ in range(3)]
os.close(go)
assert [os.waitpid(racer, 0)[1] for racer in racers] == [0, 0, 0]
"""
        told = subprocess.run(python(WORKER + code, tmp_path), cwd=ROOT, check=True, capture_output=True, text=True)
        written = [tuple(map(int, line.split())) for line in told.stdout.splitlines()]
        assert sorted(shard for shard, _ in written) == list(range(40))
        run = RunStore(tmp_path).open({"protocol": "faults", "version": 1}, shards=40)
        assert names(run) == whole(*range(40))
        assert_frame_equal(run.read(), pd.concat(map(records, range(40)), ignore_index=True))
        sessions = json.loads((run.path / "run.json").read_text())["sessions"]
        assert sorted(session["pid"] for session in sessions) == sorted({pid for _, pid in written})

    def test_threads_that_open_the_same_new_run_at_once_find_one_run(self, tmp_path: Path) -> None:
        barrier, opened = threading.Barrier(8), []

        def open_one() -> None:
            barrier.wait()
            opened.append(open_run(tmp_path))

        threads = [threading.Thread(target=open_one) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(opened) == 8
        assert names(opened[0]) == whole()

    # Without pandas, many processes are cheap enough to hit the instants in which a lock could be had twice.
    # They start as one when the parent closes its pipe, and none ends, which would free its locks, before all
    # are done.
    CROWD = """
import os, sys
from pathlib import Path
from bench.store import locks
start, go = os.pipe()
trying, tried = os.pipe()
wait, done = os.pipe()
crowd = []
for _ in range(6):
    child = os.fork()
    if child == 0:
        for end in (go, trying, done):
            os.close(end)
        os.read(start, 1)
        task(Path(sys.argv[1]))
        os.close(tried)
        os.read(wait, 1)
        os._exit(0)
    crowd.append(child)
os.close(tried)
os.close(go)
os.read(trying, 1)
os.close(done)
assert [os.waitpid(child, 0)[1] for child in crowd] == [0] * 6
"""

    def test_the_lock_of_a_dead_process_has_one_taker(self, tmp_path: Path) -> None:
        dead = replace(current_owner(), boot="abcdef")
        for number in range(200):
            (tmp_path / f"{number}.lock").mkdir()
            (tmp_path / f"{number}.lock" / dead.name).touch()
        task = """
def task(folder):
    held = [(number, locks.acquire(folder / f"{number}.lock")) for number in range(200)]
    os.write(1, "".join(f"{number}\\n" for number, lock in held if lock).encode())
"""
        command = python(task + self.CROWD, tmp_path)
        told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60)
        assert sorted(map(int, told.stdout.split())) == list(range(200))

    def test_a_lock_excludes_also_while_it_is_made_released_and_taken_over(self, tmp_path: Path) -> None:
        task = """
def task(folder):
    for turn in range(25):
        with locks.locked(folder / "count.lock", poll_s=0.001):
            path = folder / "count"
            path.write_text(str(int(path.read_text()) + 1))
        if turn == 12 and os.fork() == 0:
            locks.acquire(folder / "count.lock")
            os._exit(0)  # perhaps with the lock
"""
        (tmp_path / "count").write_text("0")
        subprocess.run(python(task + self.CROWD, tmp_path), cwd=ROOT, check=True, timeout=60)
        assert (tmp_path / "count").read_text() == "150"

    def test_a_dead_process_that_held_the_runs_own_lock_holds_nobody_up(self, tmp_path: Path, run: Run) -> None:
        (run.path / "run.json").unlink()
        (run.path / "run.lock").mkdir()
        (run.path / "run.lock" / replace(current_owner(), boot="abcdef").name).touch()
        assert names(open_run(tmp_path)) == whole()

    def test_a_lock_that_is_never_released_is_reported_not_waited_for_forever(self, tmp_path: Path) -> None:
        with (
            locks.locked(tmp_path / "a.lock"),
            pytest.raises(BenchError, match=rf"held by process {os.getpid()} on \S+ for over 0\.02 s"),
            locks.locked(tmp_path / "a.lock", timeout_s=0.02),
        ):
            pass


class TestFullDisk:
    @pytest.mark.parametrize("call", ["write", "fsync", "replace", "open", "mkdir"])
    def test_a_full_disk_is_one_sentence_and_leaves_nothing_partial(
        self, run: Run, call: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run.write(0, records(0))

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            with pytest.raises(BenchError, match=r"the disk is full \(No space left on device\): free some") as told:
                run.write(1, records(1))
        assert "\n" not in str(told.value)
        assert names(run) == whole(0)
        assert_frame_equal(finish(run).read(), pd.concat(map(records, range(4)), ignore_index=True))

    def test_a_disk_that_fills_up_half_way_leaves_nothing_partial(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write, room = os.write, [300]

        def until_full(file: int, data: bytes) -> int:
            if not room[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = write(file, data[: min(room[0], 200)])
            room[0] -= written
            return written

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", until_full)
            with pytest.raises(BenchError, match="disk is full"):
                run.write(1, records(1))
        assert names(run) == whole()

    def test_a_run_that_could_not_be_begun_can_be_begun_later(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(BenchError, match=r"run\.json was not written because the disk is full"):
                open_run(tmp_path)
        assert names(open_run(tmp_path)) == whole()

    def test_a_disk_that_is_really_full_keeps_what_was_finished(self, tmp_path: Path) -> None:
        code = """
import numpy as np
from models.errors import BenchError
root = sys.argv[1]
run = RunStore(root).open({"protocol": "full"}, shards=3)
run.write(0, records(0))
try:
    run.write(1, pd.DataFrame({"noise": np.random.default_rng(0).bytes(2**20).hex()}, index=[0]))
except BenchError as error:
    print(error)
run.write(2, records(2))
print(sorted(os.listdir(run.path)), RunStore(root).open({"protocol": "full"}, shards=3).resumed)
"""
        mounted = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
        mount = 'mount -t tmpfs -o size=256k bench "$0"'
        if not shutil.which("unshare") or subprocess.run([*mounted, mount, tmp_path], capture_output=True).returncode:
            pytest.skip("a small file system of one's own may not be mounted here")
        command = [*mounted, f'{mount} && exec "$@"', str(tmp_path), *python(WORKER + code, tmp_path)]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
        assert "shard-00001.parquet was not written because the disk is full" in told[0]
        assert told[1] == f"{whole(0, 2)} 2"

    def test_a_system_that_writes_in_small_pieces_gets_all_of_them(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = os.write
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:7]))
        run.write(0, records(0))
        assert run.shard_path(0).read_bytes() == shards.encode(records(0))

    @pytest.mark.parametrize(
        ("number", "said"),
        [(errno.EACCES, "may not be written"), (errno.EROFS, "set BENCH_RUNS"), (errno.EIO, "mend the disk")],
    )
    def test_other_refusals_say_what_to_do(
        self, run: Run, number: int, said: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(BenchError, match=said):
            run.write(0, records(0))


class TestDamage:
    @pytest.mark.parametrize("left", [0, 3, 100, -1], ids=["empty", "3 bytes", "100 bytes", "all but one byte"])
    def test_a_shard_cut_short_is_set_aside_at_open_and_computed_again(
        self, tmp_path: Path, run: Run, left: int
    ) -> None:
        path = finish(run).shard_path(1)
        content = path.read_bytes()
        path.write_bytes(content[:left])
        again = open_run(tmp_path)
        assert (again.resumed, again.pending()) == (3, [1])
        assert [aside.read_bytes() for aside in again.set_aside] == [content[:left]]
        finish(again)
        assert path.read_bytes() == content
        assert open_run(tmp_path).set_aside == ()

    def test_a_flipped_bit_is_noticed_when_read_and_computed_again(self, tmp_path: Path, run: Run) -> None:
        path = finish(run).shard_path(2)
        content = bytearray(path.read_bytes())
        content[60] ^= 1  # within the first page
        path.write_bytes(bytes(content))
        with pytest.raises(BenchError, match=r"shard-00002\.parquet is damaged and was set aside: run the same"):
            run.read()
        assert run.pending() == [2]
        assert_frame_equal(finish(run).read(), pd.concat(map(records, range(4)), ignore_index=True))

    def test_no_flipped_bit_changes_a_value_unnoticed(self, tmp_path: Path) -> None:
        path = tmp_path / "a.parquet"
        content = shards.encode(records(3))
        right = shards.join([_table(path, content)], [path])
        noticed = 0
        footer = 8 + int.from_bytes(content[-8:-4], "little")
        for position in range(4, len(content) - footer):
            flipped = bytearray(content)
            flipped[position] ^= 1 << position % 8
            try:
                read = shards.join([_table(path, bytes(flipped))], [path])
            except (shards.DamagedShard, BenchError):
                noticed += 1
            else:
                assert_frame_equal(read, right)
        assert noticed > 0

    def test_damage_twice_keeps_both_files(self, tmp_path: Path, run: Run) -> None:
        for _ in range(2):
            finish(open_run(tmp_path)).shard_path(0).write_bytes(b"PAR1")
        assert open_run(tmp_path).set_aside[0].name == "shard-00000.parquet.damaged-1"

    def test_two_sessions_that_see_the_damage_set_aside_the_damaged_file_only(
        self, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = finish(run).shard_path(0)
        path.write_bytes(b"PAR1")
        check: Callable[[Path], None] = shards.check

        def check_while_another_session_repairs(path: Path) -> None:
            monkeypatch.setattr(shards, "check", check)
            try:
                check(path)
            finally:
                finish(open_run(tmp_path))

        monkeypatch.setattr(shards, "check", check_while_another_session_repairs)
        late = open_run(tmp_path)
        assert (late.set_aside, late.pending()) == ((), [])
        assert_frame_equal(pd.read_parquet(path), records(0))


def _table(path: Path, content: bytes):
    path.write_bytes(content)
    return shards.read(path)


class TestForeignFiles:
    FOREIGN = (
        ".DS_Store",
        "notes.txt",
        "shard-00000.parquet.bak",
        "shard-00000.parquet.tmp-mine",
        "shard-00099.parquet",
        "shard-0.parquet",
    )

    def test_files_that_are_not_the_stores_are_neither_read_nor_removed(self, tmp_path: Path, run: Run) -> None:
        for name in self.FOREIGN:
            (run.path / name).write_text("mine")
        again = open_run(tmp_path)
        assert again.pending() == [0, 1, 2, 3]
        assert_frame_equal(finish(again).read(), pd.concat(map(records, range(4)), ignore_index=True))
        assert all((run.path / name).read_text() == "mine" for name in self.FOREIGN)

    def test_the_temporary_file_of_a_living_process_is_left_alone(self, tmp_path: Path, run: Run) -> None:
        living, dead = current_owner(), replace(current_owner(), boot="abcdef")
        for owner in (living, dead):
            disk.temporary_beside(run.shard_path(0), owner).touch()
            disk.temporary_beside(run.path / "shard-00000.lock", owner).mkdir()
        open_run(tmp_path)
        left = Counter(name.partition(".tmp-")[2] for name in names(run) if ".tmp-" in name)
        assert left == {living.name: 2}


class TestForeignLocks:
    """Locks of owners with another clock, and things in a lock's place that are none."""

    ELSEWHERE = replace(current_owner(), node="elsewhere")

    @staticmethod
    def lock(run: Run, owner: Owner, beat: float) -> Path:
        path = run.shard_path(0).with_suffix(".lock")
        path.mkdir()
        (path / owner.name).touch()
        os.utime(path / owner.name, (beat, beat))
        return path

    @pytest.mark.parametrize("age", [3600, 365 * 86400, -3600, -365 * 86400, -60 * 365 * 86400])
    def test_a_heartbeat_far_from_now_is_of_nobody_who_lives(self, run: Run, age: float) -> None:
        self.lock(run, self.ELSEWHERE, time.time() - age)
        assert 0 in run.wait_for_all(timeout_s=0)
        with run.writing(0) as claimed:
            assert claimed

    @pytest.mark.parametrize("skew", [-7200, 7200])
    def test_over_nfs_the_servers_clock_decides_not_ours(
        self, run: Run, skew: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stamped = time.time()
        monkeypatch.setattr(time, "time", lambda: stamped + skew)
        self.lock(run, self.ELSEWHERE, stamped)
        with run.writing(0) as claimed:
            assert not claimed

    def test_a_reused_pid_is_another_process(self, run: Run) -> None:
        self.lock(run, replace(current_owner(), start="1"), time.time())
        with run.writing(0) as claimed:
            assert claimed

    def test_a_run_that_waits_says_once_for_whom_and_how_to_go_on(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(runs, "PATIENCE_S", 0.0)
        finish_but_first(run)
        lock, told = self.lock(run, self.ELSEWHERE, time.time()), []
        with pytest.raises(BenchError, match="elsewhere has 0: wait longer, or end that process"):
            run.wait_for_all(timeout_s=0.05, poll_s=0.001, say=told.append)
        (line,) = told
        assert f"waiting for process {os.getpid()} on elsewhere, which has shard 0" in line
        assert f"delete {lock}" in line

    def test_nothing_is_said_of_a_short_wait_or_of_none(self, run: Run) -> None:
        told: list[str] = []
        run.wait_for_all(timeout_s=1, say=told.append)
        assert told == []

    @pytest.mark.parametrize("thing", ["file", "garbage", "folder", "link", "loop"])
    def test_what_is_no_lock_is_a_sentence_that_says_what_to_delete(self, run: Run, thing: str) -> None:
        path = run.shard_path(0).with_suffix(".lock")
        if thing == "file":
            path.write_text("1234")
        elif thing == "garbage":
            path.mkdir()
            (path / "core.1234").touch()
        elif thing == "folder":
            (path / current_owner().name).mkdir(parents=True)
        else:
            path.symlink_to(path if thing == "loop" else "nowhere")
        for ask in (lambda: run.write(0, records(0)), lambda: run.wait_for_all(timeout_s=0)):
            with pytest.raises(BenchError, match=r"shard-00000\.lock"):
                ask()


def finish_but_first(run: Run) -> None:
    for shard in run.pending()[1:]:
        run.write(shard, records(shard))


class TestLimits:
    def test_a_limit_on_the_size_of_files_is_a_sentence_and_leaves_nothing_partial(self, tmp_path: Path) -> None:
        code = """
import resource
import numpy as np
from models.errors import BenchError
run = RunStore(sys.argv[1]).open({"protocol": "limited"}, shards=3)
run.write(0, records(0))
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    run.write(1, pd.DataFrame({"noise": np.random.default_rng(0).bytes(2**20).hex()}, index=[0]))
except BenchError as error:
    print(error)
run.write(2, records(2))
print(sorted(os.listdir(run.path)))
"""
        pytest.importorskip("resource")
        command = python(WORKER + code, tmp_path)
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
        assert "shard-00001.parquet was not written (File too large): allow larger files (`ulimit -f" in told[0]
        assert told[1] == str(whole(0, 2))

    @pytest.mark.parametrize("depth", [0, 1])
    def test_a_file_where_the_runs_should_be_is_named(self, tmp_path: Path, depth: int) -> None:
        (tmp_path / "file").touch()
        root = tmp_path / "file" / "/".join("ab"[:depth])
        with pytest.raises(
            BenchError, match=r"file.* was not written \((File exists|Not a directory)\): a file is where"
        ):
            open_run(root)

    def test_leftovers_that_may_not_be_removed_disturb_nobody(
        self, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        disk.temporary_beside(run.shard_path(0), replace(current_owner(), boot="abcdef")).touch()

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", refuse)
            assert open_run(tmp_path).pending() == [0, 1, 2, 3]
        assert len(names(run)) == 2
        assert names(open_run(tmp_path)) == whole()


class TestWithoutRights:
    @pytest.fixture
    def root(self) -> Iterator[Path]:
        """A folder that any user may reach."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o777)
            yield Path(folder)

    def test_a_run_of_somebody_else_names_the_file_that_may_not_be_read(self, root: Path) -> None:
        run = finish(open_run(root))
        for path in (run.path / "run.json", run.shard_path(2)):
            with without_rights(path), pytest.raises(BenchError, match=rf"'{path}' cannot be used \(Permission denied"):
                finish(open_run(root)).read()
        assert open_run(root).set_aside == ()

    def test_a_run_in_a_folder_of_somebody_else_is_listed_beside_the_others(self, root: Path) -> None:
        run = finish(open_run(root))
        hidden = RunStore(root).open({"protocol": "hidden"}, 1).path
        (root / "no-run").mkdir()
        with without_rights(hidden):
            listed = {one.fingerprint: one for one in list_runs(root)}
        assert listed.keys() == {run.fingerprint, hidden.name}
        assert "Permission denied" in listed[hidden.name].problem
        assert (listed[run.fingerprint].done, listed[run.fingerprint].problem) == (4, "")

    @pytest.mark.parametrize("content", ["[]", "{}", "{", '{"schema_version": 1}', "\x00", "[" * 100_000])
    def test_a_run_that_is_none_is_listed_beside_the_others(self, root: Path, run: Run, content: str) -> None:
        (run.path.parent / "ffff").mkdir()
        (run.path.parent / "ffff" / "run.json").write_text(content)
        listed = {one.fingerprint: one.problem for one in list_runs(run.path.parent)}
        assert listed[run.fingerprint] == ""
        assert "is damaged" in listed["ffff"]

    def test_identities_of_other_kinds_are_damage(self, run: Run) -> None:
        content = json.loads((run.path / "run.json").read_text())
        (run.path / "run.json").write_text(json.dumps({**content, "identity": "mine"}))
        assert "is damaged" in list_runs(run.path.parent)[0].problem


class TestForeignShards:
    NOTES = ("", "{}", "[]", "1", "null", '{"columns": 1}', '{"index_columns": [], "columns": [{}]}', "{",
             '{"index_columns": [], "columns": [{"name": "id"}], "column_indexes": []}',
             '{"index_columns": [], "columns": [{"name": "id", "field_name": "id", "pandas_type": null, '
             '"numpy_type": null, "metadata": null}], "column_indexes": []}',
             '{"index_columns": [], "columns": [{"name": "id", "field_name": "id", "pandas_type": "none", '
             '"numpy_type": "no such type", "metadata": null}], "column_indexes": []}',
             '{"index_columns": ["nowhere"], "columns": [], "column_indexes": []}',
             '{"index_columns": [{"kind": "range"}], "columns": [], "column_indexes": [{}]}')  # fmt: skip

    @pytest.mark.parametrize("notes", NOTES)
    def test_a_footer_that_names_no_types_is_read_or_set_aside(self, tmp_path: Path, run: Run, notes: str) -> None:
        finish(run)
        table = pa.Table.from_pandas(records(1), preserve_index=False)
        pq.write_table(table.replace_schema_metadata({"pandas": notes}), run.shard_path(1))
        try:
            found = run.read()
        except BenchError:
            assert run.pending() == [1]  # set aside, to be computed again
            found = finish(run).read()
        assert_frame_equal(found, pd.concat(map(records, range(4)), ignore_index=True))

    def test_a_folder_in_a_shards_place_is_a_sentence(self, tmp_path: Path, run: Run) -> None:
        run.shard_path(1).mkdir()
        with pytest.raises(BenchError, match=r"shard-00001\.parquet.*Is a directory.*move it away"):
            open_run(tmp_path)
