"""A run is its identity; its shards are whole, read back as they were, and found by the next session."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from bench.store import Run, RunStore, list_runs, locks, manifest, owners
from bench.store.identity import canonical_json, fingerprint
from bench.store.owners import current_owner
from models.errors import BenchError

ROOT = Path(__file__).resolve().parents[3]
IDENTITY = {"protocol": "interactive", "version": 1, "axes": {"clicks": "random", "seed": 0}}


def records(shard: int, rows: int = 3) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "annotation_id": np.arange(rows) + 100 * shard,
            "iou": np.linspace(0, 1, rows, dtype=np.float32),
            "pick": ["predicted_iou"] * rows,
            "rle": [b"abc%d" % row for row in range(rows)],
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def run(store: RunStore) -> Run:
    return store.open(IDENTITY, shards=3)


def finish(run: Run) -> Run:
    for shard in run.pending():
        run.write(shard, records(shard))
    return run


def lie_in_wait(run: Run, shard: int, owner: owners.Owner, age_s: float = 0.0) -> Path:
    """Leave the lock of `owner` on a shard, with its last heartbeat `age_s` ago."""
    lock = run.path / f"shard-{shard:05d}.lock"
    lock.mkdir()
    (lock / owner.name).touch()
    os.utime(lock / owner.name, (time.time() - age_s,) * 2)
    return lock


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)


class TestIdentity:
    def test_the_fingerprint_is_the_sha256_of_text_anyone_can_write_down(self) -> None:
        text = '{"a":[1,2.5,null,true],"b":"\\u00e9"}'
        expected = hashlib.sha256(text.encode()).hexdigest()[:16]
        assert fingerprint({"b": "é", "a": (1, 2.5, None, True)}) == expected

    def test_the_fingerprint_is_the_same_in_another_process(self) -> None:
        code = f"from bench.store.identity import fingerprint; print(fingerprint({IDENTITY!r}))"
        env = {**os.environ, "PYTHONHASHSEED": "7"}
        told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
        assert told.stdout.strip() == fingerprint(IDENTITY)

    @settings(max_examples=50, deadline=None)
    @given(st.dictionaries(st.text(), plain, max_size=5))
    def test_an_identity_is_the_same_after_a_round_trip_through_json(self, identity: dict) -> None:
        assert canonical_json(json.loads(json.dumps(identity))) == canonical_json(identity)

    @settings(max_examples=50, deadline=None)
    @given(st.dictionaries(st.text(), plain, min_size=2, max_size=5), st.randoms())
    def test_the_order_of_keys_does_not_matter(self, identity: dict, random) -> None:
        items = list(identity.items())
        random.shuffle(items)
        assert fingerprint(dict(items)) == fingerprint(identity)

    @pytest.mark.parametrize("change", [{"version": 2}, {"version": 1.0}, {"version": True}, {"limit": None}])
    def test_any_change_makes_another_run(self, change: dict) -> None:
        assert fingerprint({**IDENTITY, **change}) != fingerprint(IDENTITY)

    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            (float("nan"), "nan"),
            (float("-inf"), "-inf"),
            (np.float64(0.5), "float64"),
            (np.int64(3), "int64"),
            (Path("a"), "Path"),
            ({1, 2}, "set"),
            ({1: 2}, "key 1"),
            (b"x", "bytes"),
        ],
    )
    def test_values_that_are_not_plain_are_refused_by_their_place(self, value: object, kind: str) -> None:
        with pytest.raises(BenchError, match=r"identity\.axes\[1\]") as error:
            fingerprint({"axes": [0, value]})
        assert kind in str(error.value)


class TestShards:
    def test_shards_are_read_in_order_whatever_order_they_were_written_in(self, run: Run) -> None:
        for shard in (2, 0, 1):
            run.write(shard, records(shard))
        assert_frame_equal(run.read(), pd.concat([records(0), records(1), records(2)], ignore_index=True))

    def test_types_survive(self, store: RunStore) -> None:
        frame = pd.DataFrame(
            {
                "half": np.array([1, 2, 3], dtype=np.float16),
                "bytes": [b"", b"\x00\xff", b"c"],
                "text": ["a", None, "é"],
                "nullable": pd.array([1, None, 3], dtype="Int64"),
                "category": pd.Categorical(["u", "v", "u"]),
                "missing": [0.1, np.nan, np.inf],
                "flag": [True, False, True],
            }
        )
        run = store.open(IDENTITY, shards=1)
        run.write(0, frame)
        assert_frame_equal(run.read(), frame)

    def test_shards_without_rows_keep_the_types_of_the_others(self, run: Run) -> None:
        run.write(0, records(0, rows=0))
        run.write(1, records(1))
        run.write(2, records(2, rows=0))
        assert_frame_equal(run.read(), records(1))

    def test_a_shard_without_rows_or_columns_adds_nothing(self, run: Run) -> None:
        run.write(0, pd.DataFrame([]))
        run.write(1, records(1))
        run.write(2, records(2))
        assert_frame_equal(run.read(), pd.concat([records(1), records(2)], ignore_index=True))
        assert len(run.read()) == 6

    def test_a_column_of_nulls_takes_the_type_it_has_in_other_shards(self, run: Run) -> None:
        for shard, values in enumerate(([None, None], ["a", "b"], [None, "c"])):
            run.write(shard, pd.DataFrame({"note": pd.Series(values, dtype=object)}))
        assert run.read()["note"].dropna().tolist() == ["a", "b", "c"]

    def test_a_run_without_any_row_keeps_its_columns_and_types(self, store: RunStore) -> None:
        run = store.open(IDENTITY, shards=1)
        run.write(0, records(0, rows=0))
        assert_frame_equal(run.read(), records(0, rows=0))

    def test_equal_frames_give_equal_bytes_however_they_were_put_together(self, tmp_path: Path) -> None:
        whole = records(0, rows=1000)
        pieces = pd.concat([whole.iloc[:10], whole.iloc[10:500], whole[::-1].iloc[:500][::-1]])
        pieces.attrs["made"] = "otherwise"
        runs = [RunStore(tmp_path / name).open(IDENTITY, shards=1) for name in "ab"]
        runs[0].write(0, whole)
        time.sleep(0.01)
        runs[1].write(0, pieces)
        assert runs[0].shard_path(0).read_bytes() == runs[1].shard_path(0).read_bytes()

    def test_other_values_give_other_bytes(self, tmp_path: Path) -> None:
        runs = [RunStore(tmp_path / name).open(IDENTITY, shards=1) for name in "ab"]
        runs[0].write(0, records(0))
        runs[1].write(0, records(0).assign(iou=np.float32(0.5)))
        assert runs[0].shard_path(0).read_bytes() != runs[1].shard_path(0).read_bytes()

    def test_reading_an_unfinished_run_names_the_missing_shards(self, run: Run) -> None:
        run.write(1, records(1))
        with pytest.raises(BenchError, match=r"lacks 2 of 3 shards \(0, 2\)"):
            run.read()

    def test_shards_that_do_not_fit_together_are_an_error_not_a_cast(self, run: Run) -> None:
        run.write(0, records(0))
        run.write(1, records(1).astype({"annotation_id": float}))
        run.write(2, records(2))
        with pytest.raises(BenchError, match="annotation_id"):
            run.read()

    def test_a_missing_column_is_an_error_not_a_column_of_nulls(self, run: Run) -> None:
        run.write(0, records(0))
        run.write(1, records(1).drop(columns="iou"))
        run.write(2, records(2))
        with pytest.raises(BenchError, match=r"shard-00001\.parquet has columns"):
            run.read()

    @pytest.mark.parametrize(
        "frame",
        [
            pd.DataFrame({0: [1]}),
            pd.DataFrame([[1, 2]], columns=["a", "a"]),
            pd.DataFrame({"mixed": ["a", 1]}),
        ],
        ids=["number as name", "name twice", "mixed types"],
    )
    def test_frames_parquet_cannot_hold_are_refused_and_leave_nothing(self, run: Run, frame: pd.DataFrame) -> None:
        with pytest.raises(BenchError, match="records"):
            run.write(0, frame)
        assert sorted(path.name for path in run.path.iterdir()) == ["run.json"]

    def test_a_finished_shard_takes_the_same_records_again_but_no_others(self, run: Run) -> None:
        run.write(0, records(0))
        run.write(0, records(0))
        with pytest.raises(BenchError, match=r"shard-00000\.parquet is finished and holds other records"):
            run.write(0, records(1))
        assert_frame_equal(pd.read_parquet(run.shard_path(0)), records(0))

    def test_a_shard_beyond_the_last_is_refused(self, run: Run) -> None:
        with pytest.raises(BenchError, match="no shard 3: ask for 0 to 2"):
            run.write(3, records(3))


class TestResume:
    def test_the_next_session_resumes_what_is_finished_and_says_so(self, store: RunStore, run: Run) -> None:
        assert run.resumed == 0
        run.write(1, records(1))
        again = store.open(IDENTITY, shards=3)
        assert (again.path, again.resumed, again.pending()) == (run.path, 1, [0, 2])
        assert (again.resumed, again.set_aside) == (1, ())

    def test_opening_a_finished_run_writes_nothing(self, store: RunStore, run: Run) -> None:
        finish(run)
        before = [(path.name, path.stat().st_mtime_ns) for path in (run.path, *run.path.iterdir())]
        assert store.open(IDENTITY, shards=3, provenance={"date": "today"}).pending() == []
        assert [(path.name, path.stat().st_mtime_ns) for path in (run.path, *run.path.iterdir())] == before

    def test_another_number_of_shards_is_an_error(self, store: RunStore, run: Run) -> None:
        with pytest.raises(BenchError, match=r"run\.json says 3 shards, not 4: open the run with 3"):
            store.open(IDENTITY, shards=4)

    def test_a_run_of_no_shards_is_an_error(self, store: RunStore) -> None:
        with pytest.raises(BenchError, match="at least 1 shard, got 0"):
            store.open(IDENTITY, shards=0)

    def test_run_json_holds_identity_and_the_provenance_of_sessions_that_wrote(self, store: RunStore) -> None:
        first = store.open(IDENTITY, shards=2, provenance={"date": "monday"})
        store.open(IDENTITY, shards=2, provenance={"date": "a day of looking on"})
        first.write(0, records(0))
        store.open(IDENTITY, shards=2, provenance={"date": "tuesday"}).write(1, records(1))
        assert json.loads((first.path / "run.json").read_text()) == {
            "schema_version": 1,
            "fingerprint": first.fingerprint,
            "identity": IDENTITY,
            "shards": 2,
            "sessions": [{"date": "monday"}, {"date": "tuesday"}],
        }

    def test_a_session_signs_once_however_many_shards_and_threads_it_writes(self, store: RunStore) -> None:
        run = store.open(IDENTITY, shards=6, provenance={"date": "monday"})
        threads = [threading.Thread(target=run.write, args=(shard, records(shard))) for shard in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert run.pending() == []
        assert json.loads((run.path / "run.json").read_text())["sessions"] == [{"date": "monday"}]

    def test_a_run_that_is_made_while_we_are_about_to_keeps_its_sessions(
        self, store: RunStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        locked = manifest.locked

        def locked_late(path: Path) -> AbstractContextManager[None]:
            monkeypatch.setattr(manifest, "locked", locked)
            store.open(IDENTITY, shards=3, provenance={"date": "monday"}).write(0, records(0))
            return locked(path)

        monkeypatch.setattr(manifest, "locked", locked_late)
        assert store.open(IDENTITY, shards=3).resumed == 1
        (run,) = list_runs(store.root)
        assert manifest.read(store.root / run.fingerprint).sessions == [{"date": "monday"}]

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ('{"schema_version": 1, "iden', "is damaged"),
            ('{"schema_version": 1}', "is damaged"),
            ("[]", "is damaged"),
            ('{"schema_version": 2}', "schema version 2, not 1"),
        ],
    )
    def test_a_run_json_that_is_not_ours_is_never_overwritten(
        self, store: RunStore, run: Run, content: str, said: str
    ) -> None:
        (run.path / "run.json").write_text(content)
        with pytest.raises(BenchError, match=said):
            store.open(IDENTITY, shards=3)
        assert (run.path / "run.json").read_text() == content

    def test_a_folder_of_another_identity_is_refused(self, store: RunStore, run: Run) -> None:
        text = (run.path / "run.json").read_text().replace('"seed": 0', '"seed": 1')
        (run.path / "run.json").write_text(text)
        with pytest.raises(BenchError, match="holds another identity"):
            store.open(IDENTITY, shards=3)

    def test_the_root_is_the_argument_then_bench_runs_then_runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("BENCH_RUNS", raising=False)
        assert RunStore().root == Path("runs")
        monkeypatch.setenv("BENCH_RUNS", "elsewhere")
        assert RunStore().root == Path("elsewhere")
        assert RunStore("here").root == Path("here")


class TestClaims:
    def test_a_claimed_shard_is_nobody_elses(self, store: RunStore, run: Run) -> None:
        other = store.open(IDENTITY, shards=3)
        with run.writing(0) as mine, other.writing(0) as theirs, other.writing(1) as another:
            assert (mine, theirs, another) == (True, False, True)
            with pytest.raises(BenchError, match=f"is being written by process {os.getpid()}"):
                other.write(0, records(0))

    def test_a_claim_ends_with_its_block_also_by_an_exception(self, run: Run) -> None:
        def fail() -> None:
            with run.writing(0) as claimed:
                assert claimed
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fail()
        with run.writing(0) as claimed:
            assert claimed
        assert sorted(path.name for path in run.path.iterdir()) == ["run.json"]

    def test_a_finished_shard_cannot_be_claimed(self, run: Run) -> None:
        run.write(0, records(0))
        with run.writing(0) as claimed:
            assert not claimed

    def test_a_shard_that_is_finished_while_we_reach_for_it_cannot_be_claimed(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        acquire = locks.acquire

        def acquire_late(path: Path) -> locks.Lock | None:
            monkeypatch.setattr(locks, "acquire", acquire)
            run.write(0, records(0))
            return acquire(path)

        monkeypatch.setattr(locks, "acquire", acquire_late)
        with run.writing(0) as claimed:
            assert not claimed

    def test_a_claim_that_is_not_used_leaves_the_shard_pending(self, run: Run) -> None:
        with run.writing(0):
            pass
        assert run.pending() == [0, 1, 2]

    def test_a_dead_process_loses_its_claim(self, run: Run) -> None:
        child = subprocess.Popen([sys.executable, "-c", ""])
        child.wait()
        lie_in_wait(run, 0, replace(current_owner(), pid=child.pid, start="1"))
        with run.writing(0) as claimed:
            assert claimed

    def test_a_process_that_got_a_dead_ones_pid_does_not_hold_its_claim(self, run: Run) -> None:
        if current_owner().start == owners.UNKNOWN:
            pytest.skip("no /proc to tell when a process started")
        lie_in_wait(run, 0, replace(current_owner(), start="1"))
        with run.writing(0) as claimed:
            assert claimed

    def test_a_zombie_does_not_hold_its_claim(self, run: Run) -> None:
        child = subprocess.Popen([sys.executable, "-c", ""])
        stat = Path(f"/proc/{child.pid}/stat")
        if not stat.exists():
            pytest.skip("no /proc to tell a zombie by")
        while ") Z " not in stat.read_text():
            time.sleep(0.005)
        start = stat.read_text().rpartition(")")[2].split()[19]
        lie_in_wait(run, 0, replace(current_owner(), pid=child.pid, start=start))
        with run.writing(0) as claimed:
            assert claimed
        child.wait()

    def test_a_claim_from_before_the_machine_was_restarted_is_lost(self, run: Run) -> None:
        lie_in_wait(run, 0, replace(current_owner(), boot="abcdef"))
        with run.writing(0) as claimed:
            assert claimed

    @pytest.mark.parametrize("change", [{"node": "elsewhere"}, {"space": "12345"}], ids=["host", "container"])
    def test_an_owner_we_cannot_ask_keeps_its_claim_while_its_heart_beats(self, run: Run, change: dict) -> None:
        owner = replace(current_owner(), pid=2**22 + 1, **change)
        lie_in_wait(run, 0, owner, age_s=owners.LEASE_S - 20)
        lie_in_wait(run, 1, owner, age_s=owners.LEASE_S + 20)
        with run.writing(0) as beating, run.writing(1) as silent:
            assert (beating, silent) == (False, True)

    def test_the_heart_of_a_claim_beats_until_it_ends(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(owners, "HEARTBEAT_S", 0.01)
        with run.writing(0):
            (file,) = (run.path / "shard-00000.lock").iterdir()
            os.utime(file, (0, 0))
            deadline = time.monotonic() + 10
            while file.stat().st_mtime == 0 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert file.stat().st_mtime > 0
        assert not [
            thread
            for thread in threading.enumerate()
            if thread.name.startswith("heartbeat") and thread.join(5) is None and thread.is_alive()
        ]

    def test_a_lost_lock_is_released_without_harming_its_new_owner(self, run: Run) -> None:
        lock = locks.acquire(run.path / "shard-00000.lock")
        assert lock is not None
        (file,) = (run.path / "shard-00000.lock").iterdir()
        taker = replace(current_owner(), node="elsewhere")
        file.rename(file.with_name(taker.name))
        lock.release()
        assert locks.holder(run.path / "shard-00000.lock") == taker

    def test_strange_files_in_a_lock_are_named_not_deleted(self, run: Run) -> None:
        (run.path / "shard-00000.lock").mkdir()
        (run.path / "shard-00000.lock" / "notes.txt").touch()
        with pytest.raises(BenchError, match=r"holds files that are no locks \(notes\.txt\)"), run.writing(0):
            pass

    def test_owners_read_back_from_their_names_and_nothing_else_does(self) -> None:
        owner = current_owner()
        assert owners.Owner.parse(owner.name) == owner
        assert current_owner().name != owner.name
        assert [owners.Owner.parse(name) for name in ("", "notes.txt", owner.name + "/x", "x" + owner.name)] == [
            None
        ] * 4


class TestWaiting:
    def test_nothing_is_waited_for_in_a_finished_run(self, run: Run) -> None:
        assert finish(run).wait_for_all(timeout_s=0) == []

    def test_shards_of_nobody_and_of_the_dead_are_handed_to_the_caller(self, run: Run) -> None:
        run.write(1, records(1))
        lie_in_wait(run, 2, replace(current_owner(), boot="abcdef"))
        assert run.wait_for_all(timeout_s=0) == [0, 2]

    def test_the_living_are_waited_for(self, store: RunStore, run: Run) -> None:
        run.write(0, records(0))
        run.write(1, records(1))
        claimed = threading.Event()

        def finish_late() -> None:
            other = store.open(IDENTITY, shards=3)
            with other.writing(2):
                claimed.set()
                time.sleep(0.1)
                other.write(2, records(2))

        worker = threading.Thread(target=finish_late)
        worker.start()
        claimed.wait(10)
        assert run.wait_for_all(timeout_s=10, poll_s=0.01) == []
        assert len(run.read()) == 9
        worker.join()

    def test_patience_ends_with_the_name_of_who_is_waited_for(self, run: Run) -> None:
        run.write(0, records(0))
        run.write(1, records(1))
        lie_in_wait(run, 2, replace(current_owner(), pid=77, node="elsewhere"))
        with pytest.raises(BenchError, match=r"lacks shards 2 after 0\.02 s, of which process 77 on elsewhere"):
            run.wait_for_all(timeout_s=0.02, poll_s=0.01)


class TestListing:
    def test_runs_are_listed_with_the_latest_write_first(self, store: RunStore, run: Run) -> None:
        finish(run)
        other = store.open({**IDENTITY, "limit": 10}, shards=5)
        other.write(4, records(4))
        os.utime(run.path / "run.json", (1e9, 1e9))
        for shard in range(3):
            os.utime(run.shard_path(shard), (1e9 + shard, 1e9 + shard))
        latest, oldest = list_runs(store.root)
        assert (latest.fingerprint, latest.done, latest.shards) == (other.fingerprint, 1, 5)
        assert (oldest.fingerprint, oldest.done, oldest.shards) == (run.fingerprint, 3, 3)
        assert oldest.identity == IDENTITY
        assert oldest.bytes == sum(run.shard_path(shard).stat().st_size for shard in range(3))
        assert oldest.last_write == datetime.fromtimestamp(1e9 + 2, UTC)

    def test_foreign_files_are_passed_over_and_a_damaged_run_is_listed_with_its_problem(
        self, store: RunStore, run: Run
    ) -> None:
        (store.root / "notes.txt").touch()
        (store.root / "plots").mkdir()
        (run.path / "run.json").write_text("{")
        (listed,) = list_runs(store.root)
        assert (listed.fingerprint, listed.identity) == (run.fingerprint, {})
        assert "run.json is damaged" in listed.problem

    def test_a_folder_that_does_not_exist_holds_no_runs(self, tmp_path: Path) -> None:
        assert list_runs(tmp_path / "nowhere") == []


def test_the_store_imports_no_torch() -> None:
    code = "import sys, bench.store, bench.progress; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
