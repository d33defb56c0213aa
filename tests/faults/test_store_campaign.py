"""Some 300 kills, cuts, flips and full disks of the run store: what is read is what was written, or a sentence."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from bench.store import RunStore
from models.errors import BenchError
from tests.faults.damage import damage

ROOT = Path(__file__).resolve().parents[2]
SHARDS = 4
pytestmark = [pytest.mark.faults, pytest.mark.slow]

WORKER = """
import os, random, resource, signal, sys, time
import pandas as pd
from bench.store import RunStore
from models.errors import BenchError

def records(shard):
    values = [random.Random(f"{shard} {k}").random() for k in range(300)]
    return pd.DataFrame({"id": range(300 * shard, 300 * shard + 300), "value": values, "name": [f"leaf {shard}"] * 300})

def work(root):
    run = RunStore(root).open({"protocol": "faults", "version": 2}, 4, provenance={"pid": os.getpid()})
    while pending := run.wait_for_all(timeout_s=60, poll_s=0.005):
        for shard in pending:
            with run.writing(shard) as claimed:
                if claimed:
                    run.write(shard, records(shard))

def child(task, *arguments):
    pid = os.fork()
    if pid == 0:
        try:
            task(*arguments)
            os._exit(0)
        except BenchError as error:
            print(error, flush=True)
            os._exit(1)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(3)
    return pid
"""
KILLS = """
kills = 0
for number in range(int(sys.argv[2])):
    root = os.path.join(sys.argv[1], str(number))
    dice = random.Random(number)
    for attempt in range(6):
        pid = child(work, root)
        time.sleep(dice.random() * 0.03)
        os.kill(pid, dice.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            kills += 1
        elif os.WEXITSTATUS(status) != 0:
            sys.exit(f"exit status {os.WEXITSTATUS(status)} in {root}")
    _, status = os.waitpid(child(work, root), 0)
    if status:
        sys.exit(f"status {status} in {root}")
print(kills)
"""
FULL = """
def limited(root, size):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python does at its start
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    work(root)
refused = 0
for number in range(int(sys.argv[2])):
    root = os.path.join(sys.argv[1], str(number))
    for size in random.Random(number).sample(range(8000), 2):
        _, status = os.waitpid(child(limited, root, size), 0)
        if os.waitstatus_to_exitcode(status) not in (0, 1):
            sys.exit(f"status {status} at {size} bytes in {root}")
        refused += status != 0
    _, status = os.waitpid(child(work, root), 0)
    if status:
        sys.exit(f"status {status} in {root}")
print("refused", refused)
"""


def run_worker(code: str, root: Path, count: int) -> str:
    command = [sys.executable, "-c", WORKER + code, str(root), str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    return done.stdout


def undisturbed(root: Path) -> dict[str, bytes]:
    """Return the shards of a run that nothing happened to."""
    code = "work(sys.argv[1])"
    run_worker(code, root, 0)
    return shards_of(root)


def shards_of(root: Path) -> dict[str, bytes]:
    (folder,) = root.iterdir()
    left = sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))
    assert left == ["run.json", *(f"shard-{shard:05d}.parquet" for shard in range(SHARDS))]
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}


def test_runs_killed_at_any_moment_end_in_the_bytes_of_one_that_was_not(tmp_path: Path) -> None:
    whole = undisturbed(tmp_path / "undisturbed")
    kills = int(run_worker(KILLS, tmp_path / "killed", 20).split()[-1])
    assert kills >= 60
    for root in (tmp_path / "killed").iterdir():
        assert shards_of(root) == whole, root.name


def test_full_disks_lose_nothing_that_was_finished_and_say_so_in_a_sentence(tmp_path: Path) -> None:
    whole = undisturbed(tmp_path / "undisturbed")
    said = run_worker(FULL, tmp_path / "full", 40).splitlines()
    assert int(said[-1].split()[-1]) >= 40
    assert all("run the same command again" in line or "BENCH_RUNS" in line for line in said[:-1])
    for root in (tmp_path / "full").iterdir():
        assert shards_of(root) == whole, root.name


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Path, pd.DataFrame]:
    root = tmp_path / "runs"
    undisturbed(root)
    return root, opened(root).read()


def opened(root: Path):
    return RunStore(root).open({"protocol": "faults", "version": 2}, SHARDS)


def again(root: Path, whole: pd.DataFrame) -> None:
    """Do what the sentences say, at most three times over, and end with the records of before."""
    said: list[str] = []
    for _ in range(3):
        try:
            run = opened(root)
            for shard in run.pending():
                run.write(shard, whole.iloc[300 * shard : 300 * shard + 300].reset_index(drop=True))
            found = run.read()
        except BenchError as error:
            said.append(str(error))
            remove_what_the_sentence_names(root, said[-1])
        else:
            assert_frame_equal(found, whole)
            return
    pytest.fail(f"three tries did not mend it: {said}")


def remove_what_the_sentence_names(root: Path, sentence: str) -> None:
    (folder,) = root.iterdir()
    if "folder away" in sentence:
        shutil.rmtree(folder)
    elif "delete" in sentence:
        for path in [path for path in folder.iterdir() if str(path) in sentence]:
            path.unlink()


def test_damaged_runs_are_mended_by_running_again_or_refused_and_never_read_as_other_records(
    finished: tuple[Path, pd.DataFrame], tmp_path: Path
) -> None:
    root, whole = finished
    (folder,) = root.iterdir()
    done = 0
    for seed in range(180):
        work = tmp_path / "work"
        shutil.copytree(root, work)
        files = sorted((work / folder.name).iterdir())
        path = files[seed % len(files)]
        fault = damage(path.read_bytes(), 1000 + seed)
        path.write_bytes(fault.content)
        try:
            again(work, whole)
        except BaseException:
            print(path.name, fault.what)
            raise
        shutil.rmtree(work)
        done += 1
    assert done == 180


def test_every_byte_of_a_shards_footer_may_be_flipped_and_is_never_read_as_another_footer(tmp_path: Path) -> None:
    whole = pd.DataFrame({"iou": [0.25, 0.5], "prompt": ["box", "1click"], "crowd": [True, False]})
    run = RunStore(tmp_path).open({"protocol": "faults", "version": 3}, 1)
    run.write(0, whole)
    path = run.shard_path(0)
    content = path.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little") + 8
    for place in range(len(content) - footer, len(content)):
        for bit in (0, 3, 6):
            broken = bytearray(content)
            broken[place] ^= 1 << bit
            path.write_bytes(broken)
            try:
                found = RunStore(tmp_path).open({"protocol": "faults", "version": 3}, 1).read()
            except BenchError:
                continue
            finally:
                for left in path.parent.glob("*.damaged-*"):
                    left.unlink()
            assert_frame_equal(found, whole, obj=f"byte {place - len(content)}, bit {bit}")
