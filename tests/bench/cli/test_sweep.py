"""`bench sweep`: a job a model, of which one may fail, be interrupted or be finished already; then one report."""

import inspect
import json
import os
import shlex
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from bench import __main__ as front_door
from bench import cluster
from bench.cli import sweep
from bench.cli.run import run
from models.errors import BenchError

TWO = ("--tables", "table4", "table5", "--models", "MobileSAM", "floor", "--scale", "micro", "--limit", "1")
JOBS = [
    "run table4 table5 --scale=micro --models mobilesam-micro --limit=1 --records-only",
    "run table4 table5 --scale=micro --models floor --limit=1 --records-only",
]
REPORT = "run table4 table5 --scale=micro --models MobileSAM floor --limit=1"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("BENCH_DATA", "BENCH_RUNS", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Run a sweep as typed; return its exit code and what it printed."""

    def typed(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", "sweep", *arguments])
        try:
            front_door.main()
            code = 0
        except SystemExit as leave:
            code = int(leave.code or 0)
        return code, *capfd.readouterr()

    return typed


def stand_in(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have jobs run some Python with the arguments of `bench` in place of it."""
    monkeypatch.setattr(cluster, "command", lambda arguments: [sys.executable, "-S", "-c", code, *arguments])


@pytest.fixture
def called(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Jobs that only note how they were called; return how, one line each."""
    stand_in(monkeypatch, "import sys, shlex; open('called', 'a').write(shlex.join(sys.argv[1:]) + '\\n')")
    return lambda: (folder / "called").read_text().splitlines() if (folder / "called").exists() else []


def test_a_sweep_measures_each_model_then_reports_all_and_passes_over_what_is_finished(bench, folder: Path) -> None:
    code, printed, said = bench("--tables", "table4", "--models", "floor", "--scale", "micro", "--limit", "1")
    assert code == 0
    assert "model 1 of 1: floor" in said
    assert "floor on coco: 1 of 1 images from run" in said  # the report asks nobody
    assert "Zero-shot single-object segmentation" in printed
    cells = json.loads((folder / "reports/out/table4.json").read_text())["cells"]
    assert {cell["row"] for cell in cells if cell["status"] == "measured"} == {"floor"}


def test_the_jobs_run_in_turn_and_the_report_is_the_last(bench, called) -> None:
    code, _, said = bench(*TWO)
    assert (code, called()) == (0, [*JOBS, REPORT])
    assert said.index("model 1 of 2: mobilesam-micro") < said.index("model 2 of 2: floor")


def test_a_dry_run_lists_the_commands_and_runs_none(bench, called) -> None:
    code, printed, _ = bench(*TWO, "--dry-run")
    assert (code, called()) == (0, [])
    assert printed.splitlines() == [f"python -m bench {one}" for one in [*JOBS, REPORT]]


def test_a_model_that_fails_is_left_out_of_the_report_and_named(bench, folder, monkeypatch) -> None:
    code = (
        "import sys, shlex; open('called', 'a').write(shlex.join(sys.argv[1:]) + '\\n'); sys.exit('floor' in sys.argv)"
    )
    stand_in(monkeypatch, code)
    code, _, said = bench(*TWO)
    ran = (folder / "called").read_text().splitlines()
    assert ran == [*JOBS, "run table4 table5 --scale=micro --models mobilesam-micro --limit=1"]
    assert code == 1
    assert "floor failed (exit code 1), see above" in said
    assert "1 of 2 models failed, see above: floor; mend that and give the same command again" in said


def test_a_report_that_fails_says_which_command_makes_it(bench, monkeypatch) -> None:
    stand_in(monkeypatch, "import sys; sys.exit('--records-only' not in sys.argv)")
    code, _, said = bench(*TWO)
    assert code == 1
    assert f"error: the report failed, see above: `python -m bench {REPORT}` makes it" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_job_and_starts_no_other(bench, folder: Path, monkeypatch, number) -> None:
    monkeypatch.setattr(sweep, "GRACE_S", 20.0)
    stand_in(
        monkeypatch,
        "import sys, time, pathlib\n"
        "try:\n pathlib.Path('begun').open('a').write('one\\n')\n time.sleep(60)\n"
        "except KeyboardInterrupt: pathlib.Path('ended').touch()",
    )

    def interrupt() -> None:
        while not (folder / "begun").exists():
            time.sleep(0.01)
        time.sleep(0.1)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    code, _, said = bench(*TWO)
    assert code == 130
    assert "stopped; what was finished is kept, the same command goes on from there" in said
    assert (folder / "ended").exists()
    assert (folder / "begun").read_text() == "one\n"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--tables", "table4", "--models", "floor", "mobilesan"), "unknown model 'mobilesan': did you mean"),
        (("--tables", "tabel4"), "unknown table 'tabel4': did you mean 'table4'?"),
        (("--tables", "table6"), "table6: no model is asked for that: use `bench run table6`"),
        ((*TWO, "--models", "floor", "sam-vit-l"), "sam-vit-l cannot be loaded: "),
        (("--tables",), "name a table to make"),
        ((*TWO, "--slurm", "--dry-run"), "are three ways: choose one"),
        ((*TWO, "--hours", "0"), "--hours is the time limit of each job, got 0"),
        ((*TWO, "--sbatch", "time=3"), "--sbatch time=3: that is set by the sweep"),
        ((*TWO, "--sbatch", "Partition gpu"), "--sbatch takes options without dashes, got 'Partition gpu'"),
        ((*TWO, "--out", "file"), "cannot write the report to 'file'"),
    ],
)
def test_mistakes_are_told_before_any_job_starts(bench, called, folder: Path, arguments, sentence) -> None:
    (folder / "file").touch()
    code, _, said = bench(*arguments)
    assert code != 0
    assert sentence in " ".join(said.split())
    assert called() == []


def test_a_sweep_takes_all_options_of_a_run_with_their_help(bench) -> None:
    options = set(inspect.signature(run).parameters) - set(sweep.NOT_OF_A_SWEEP)
    assert options <= set(inspect.signature(sweep.sweep).parameters)
    _, printed, _ = bench("--help")
    assert "Ask only the first images of each data set" in printed
    assert all(f"--{name.replace('_', '-')}" in printed for name in options)


def test_options_are_typed_again_as_they_were_and_a_checkpoint_goes_to_its_own_model() -> None:
    usual = {name: parameter.default for name, parameter in sweep.RUN.items()}
    assert sweep.flags(usual, ()) == []
    given = usual | {
        "checkpoint": ("a=1.pt", "b=two 2.pt"),
        "trust": (Path("x"), Path("y")),
        "seed": -1,
        "limit": 3,
        "embeddings": 2.5,
        "models": ("a", "b", "c"),
    }
    typed = sweep.flags(given, ("b",))
    assert typed[:8] == ["--models", "b", "--checkpoint", "b=two 2.pt", "--trust", "x", "--trust", "y"]
    assert typed[8:] == ["--limit=3", "--seed=-1", "--embeddings=2.5"]
    assert "--checkpoint" not in sweep.flags(given, ("c",))
    assert sweep.flags(given, ())[:3] == ["--checkpoint", "a=1.pt", "b=two 2.pt"]


def test_a_printed_script_does_the_jobs_and_the_report(bench, called, folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("BENCH_RUNS", "my runs; exit 3")
    code, script, _ = bench(*TWO, "--print-sbatch", "--device", "cuda", "--sbatch", "partition=gpu", "exclusive")
    assert code == 0
    assert script.startswith("#!/bin/bash\n#SBATCH --job-name=bench-sweep\n#SBATCH --array=0-1\n#SBATCH --time=1440\n")
    assert "#SBATCH --partition=gpu\n#SBATCH --exclusive\n#SBATCH --gpus-per-node=1\n" in script
    assert "export BENCH_RUNS='my runs; exit 3'" in script
    (folder / "sweep.sh").write_text(script)
    assert os.system("bash -n sweep.sh") == 0
    for task in ("2", "0", "1"):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
        assert os.system(f"cd / && bash {shlex.quote(str(folder / 'sweep.sh'))}") == 0
    on_gpu = [line.replace("--limit=1", "--limit=1 --device=cuda") for line in (REPORT, *JOBS)]
    assert called() == on_gpu
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert os.system("bash sweep.sh 2> /dev/null") != 0


def test_a_sweep_on_a_cluster_is_submitted_by_one_process(bench, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, said = bench(*TWO, "--slurm")
    assert code == 1
    assert "start it without torchrun" in said


def test_records_are_kept_of_models_alone() -> None:
    with pytest.raises(BenchError, match="table8 keeps no records of models"):
        run(("table8",), records_only=True)
