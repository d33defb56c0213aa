"""Circumstances are recorded quickly, truthfully, without torch and without naming the machine."""

import json
import os
import platform
import runpy
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import provenance as module
from bench.env import ENV, in_force
from bench.provenance import git_state, provenance
from bench.store.identity import canonical_json

ROOT = Path(__file__).resolve().parents[2]


def python(code: str, **environment: str) -> str:
    """Return what `code` prints in a fresh interpreter with only the given levers set."""
    inherited = {name: value for name, value in os.environ.items() if name not in ENV}
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stdout.strip()


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    told = subprocess.run(["git", *identity, "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return told.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    return tmp_path


class TestGit:
    def test_a_clean_checkout_is_its_commit(self, checkout: Path) -> None:
        assert git_state(checkout) == {"commit": git(checkout, "rev-parse", "HEAD"), "dirty": False}

    def test_a_changed_file_makes_it_dirty_a_new_one_does_not(self, checkout: Path) -> None:
        (checkout / "notes.txt").write_text("untracked")
        assert git_state(checkout) == {"commit": git(checkout, "rev-parse", "HEAD"), "dirty": False}
        (checkout / "code.py").write_text("2")
        assert git_state(checkout) == {"commit": git(checkout, "rev-parse", "HEAD"), "dirty": True}

    def test_a_package_inside_somebody_elses_tree_is_not_that_tree(self, checkout: Path) -> None:
        (checkout / "site-packages").mkdir()
        assert git_state(checkout / "site-packages") is None

    def test_a_tree_without_commits_or_without_git_has_no_state(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert git_state(tmp_path) is None
        git(tmp_path, "init", "--quiet")
        assert git_state(tmp_path) is None
        monkeypatch.setenv("PATH", "")
        assert git_state(tmp_path) is None

    def test_variables_of_a_git_hook_do_not_lead_to_another_tree(
        self, checkout: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commit = git(checkout, "rev-parse", "HEAD")
        monkeypatch.setenv("GIT_DIR", str(checkout / "nowhere"))
        assert git_state(checkout) == {"commit": commit, "dirty": False}


class TestProvenance:
    def test_it_is_plain_json_with_every_part(self) -> None:
        told = provenance()
        assert json.loads(canonical_json(told)) == told
        assert set(told) == {
            *("date", "git", "versions", "python", "platform", "hardware", "threads"),
            *("levers", "preload", "argv"),
        }

    def test_the_date_is_now_in_utc(self) -> None:
        date = datetime.fromisoformat(provenance()["date"])
        assert date.utcoffset() == timedelta(0)
        assert abs(datetime.now(UTC) - date) < timedelta(seconds=60)

    def test_versions_are_those_that_run(self) -> None:
        import pandas

        versions = provenance()["versions"]
        assert versions["pandas"] == pandas.__version__
        assert "a-package-nobody-has" not in versions

    def test_packages_that_are_absent_are_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "PACKAGES", ("pandas", "a-package-nobody-has"))
        assert list(provenance()["versions"]) == ["pandas"]

    def test_the_machine_is_described(self) -> None:
        hardware = provenance()["hardware"]
        assert hardware["cores"] == os.cpu_count()
        assert 1 <= hardware["usable_cores"] <= hardware["cores"]
        assert hardware["cpu"]

    def test_the_machine_is_not_named(self) -> None:
        code = "import json, sys; from bench.provenance import provenance; print(json.dumps(provenance()))"
        told = json.loads(python(code))
        told.pop("argv")
        words = json.dumps(told).replace('"', " ").replace(",", " ").split()
        assert platform.node() not in words

    def test_the_command_is_kept_but_not_where_the_interpreter_and_the_script_live(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "orig_argv", ["/home/ann/bin/python", "/home/ann/bin/bench", "table4"])
        assert provenance()["argv"] == ["python", "bench", "table4"]
        monkeypatch.setattr(sys, "orig_argv", ["/home/ann/bin/python", "-m", "bench", "table4", "a/b"])
        assert provenance()["argv"] == ["python", "-m", "bench", "table4", "a/b"]

    def test_nvidia_gpus_are_named_without_torch(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "0000:01:00.0").mkdir()
        text = "Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ:   \t\t 42\n"
        (tmp_path / "0000:01:00.0" / "information").write_text(text)
        monkeypatch.setattr(module, "NVIDIA", tmp_path)
        assert provenance()["hardware"]["gpus"] == ["NVIDIA A100-SXM4-40GB"]

    def test_it_imports_neither_torch_nor_numpy(self) -> None:
        code = "import sys, bench.provenance as p; p.provenance(); print({'torch', 'numpy'} & set(sys.modules))"
        assert python(code) == "set()"

    def test_a_torch_that_is_loaded_tells_its_threads_precision_and_gpus(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cuda = SimpleNamespace(is_initialized=lambda: True, device_count=lambda: 2, get_device_name="GPU {}".format)
        torch = SimpleNamespace(get_num_threads=lambda: 7, get_float32_matmul_precision=lambda: "medium", cuda=cuda)
        monkeypatch.setitem(sys.modules, "torch", torch)
        told = provenance()
        assert (told["threads"]["torch"], told["threads"]["float32_matmul_precision"]) == (7, "medium")
        assert told["hardware"]["gpus"] == ["GPU 0", "GPU 1"]

    def test_it_costs_less_cpu_than_a_blink(self) -> None:
        provenance()
        # Own CPU time, not wall time: the budget is 0.1 s, but the machine may be busy.
        before = time.process_time()
        provenance()
        assert time.process_time() - before < 0.1


class TestLevers:
    TOLD = "import json; from bench.env import in_force; print(json.dumps(in_force()))"

    def test_levers_that_were_set_are_in_force_and_others_are_not(self) -> None:
        assert json.loads(python(self.TOLD, **ENV)) == dict(ENV)
        assert json.loads(python(self.TOLD, OMP_WAIT_POLICY="active")) == {
            **dict.fromkeys(ENV),
            "OMP_WAIT_POLICY": "active",
        }

    @pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the kernel does not tell")
    def test_a_lever_set_after_the_start_is_not_in_force(self) -> None:
        late = "import os; os.environ['MALLOC_TRIM_THRESHOLD_'] = '8589934592'; "
        assert json.loads(python(late + self.TOLD))["MALLOC_TRIM_THRESHOLD_"] is None

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is started again")
    def test_a_command_starts_again_with_the_levers_that_nobody_set(self) -> None:
        code = f"from bench.env import start_again_with_them as again; again(); {self.TOLD}"
        assert json.loads(python(code)) == dict(ENV)
        assert json.loads(python(code, OMP_WAIT_POLICY="active")) == {**ENV, "OMP_WAIT_POLICY": "active"}

    def test_levers_are_part_of_the_provenance(self) -> None:
        assert provenance()["levers"] == in_force()

    def test_a_noxfile_can_load_them_by_path_without_anything_installed(self) -> None:
        assert runpy.run_path(str(ROOT / "bench" / "env.py"))["ENV"] == ENV
        code = f"import runpy; print(len(runpy.run_path({str(ROOT / 'bench' / 'env.py')!r})['ENV']))"
        bare = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
        assert bare.stdout.strip() == str(len(ENV))
