"""Jobs of a cluster, submitted through submitit: to a stand-in of Slurm, and run by submitit itself on this machine."""

import os
import sys
from pathlib import Path

import pytest

from bench import cluster
from bench.cluster import Resumable, limits, submit
from models.errors import BenchError

HELP = ("--help",)


def slurm(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """Put an `sbatch` on the path that keeps what it is given and answers."""
    for name, body in (("srun", "exit 9"), ("sbatch", answer)):
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_jobs_are_an_array_and_the_last_waits_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    slurm(tmp_path, monkeypatch, f'cat "$1" >> {tmp_path}/given; echo Submitted batch job $(wc -l < {tmp_path}/given)')
    how = limits(1.5, ["partition=gpu", "exclusive"], "cuda")
    array, last = submit([("run", "a"), ("run", "b")], ("run", "a", "b"), how, tmp_path / "logs")
    first, second = (tmp_path / "given").read_text().split("#!/bin/bash")[1:]
    assert 0 < int(array) < int(last)
    assert "#SBATCH --array=0-1%2\n" in first
    assert f"#SBATCH --dependency=afterany:{array}\n" in second
    assert "--dependency" not in first
    assert "--array" not in second
    for script in (first, second):
        for option in ("time=90", "partition=gpu", "exclusive", "gpus-per-node=1", "job-name=bench-sweep"):
            assert f"#SBATCH --{option}\n" in script


def test_what_slurm_refuses_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    slurm(tmp_path, monkeypatch, "echo invalid partition specified: gpu >&2; exit 1")
    with pytest.raises(BenchError, match=r"Slurm refused the jobs \(.*invalid partition specified: gpu.*mend --sbatch"):
        submit([HELP, HELP], HELP, limits(1, ["partition=gpu"], "cpu"), tmp_path / "logs")


def test_without_slurm_or_submitit_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "submitit", None)
        with pytest.raises(BenchError, match=r"pip install .*\[sweep\].*--print-sbatch"):
            submit([HELP], HELP, limits(1, [], "cpu"), tmp_path)
    pytest.importorskip("submitit")
    with pytest.raises(BenchError, match=r"there is no Slurm here .*or use --print-sbatch"):
        submit([HELP], HELP, limits(1, [], "cpu"), tmp_path)


def test_jobs_run_the_command_where_submitit_starts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submitit = pytest.importorskip("submitit")
    monkeypatch.setattr(cluster, "CLUSTER", "local")
    numbers = submit([HELP], ("nosuch",), limits(1, [], "cpu"), tmp_path)
    good, bad = (submitit.LocalJob(folder=tmp_path, job_id=number) for number in numbers)
    assert good.result() is None
    assert "usage: bench COMMAND" in good.stdout()
    assert "returned non-zero exit status 1" in str(bad.exception())
    assert "unknown command 'nosuch'" in bad.stderr()


def test_a_job_whose_time_is_up_is_queued_again_as_it_was() -> None:
    pytest.importorskip("submitit")
    job = Resumable(("run", "a"), {"BENCH_RUNS": "runs"})
    again = job.checkpoint()
    assert again.function is job
    assert (again.args, again.kwargs) == ((), {})


def test_a_gpu_is_asked_for_unless_the_options_say_which() -> None:
    assert limits(1, [], "cpu").options == ()
    assert limits(1, ["mem=8G"], "cuda:0").options == ("mem=8G", "gpus-per-node=1")
    assert limits(1, ["gres=gpu:a100:1"], "cuda").options == ("gres=gpu:a100:1",)
    assert limits(1, ["gpus=1"], "cuda").options == ("gpus=1",)
    assert limits(1, ["partition=gpu"], "cuda").options == ("partition=gpu", "gpus-per-node=1")
