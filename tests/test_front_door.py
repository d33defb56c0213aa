"""What leaves through the front door: whole output or none, one sentence, the right exit code; never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.processes import this_process
from models.errors import BenchError, printable, refused

ROOT = Path(__file__).resolve().parents[1]
# The real commands take seconds to import; what is tried here is what surrounds them.
FRONT_DOOR = """
import sys, types
commands = types.ModuleType("bench.cli.commands")
exec("def dispatch(arguments):\\n" + "".join(f"    {line}\\n" for line in sys.argv[1].splitlines()), commands.__dict__)
sys.modules["bench.cli.commands"] = commands
from bench.__main__ import main
main()
"""
LONG = """
for number in range(50_000):
    print("line", number)
open("made", "w").write("whole")
"""


def command(code: str) -> list[str]:
    return [sys.executable, "-c", FRONT_DOOR, code]


@pytest.fixture
def run(tmp_path: Path):
    def run(code: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        words = ["sh", "-c", f'"$@" {shell}', "sh", *command(code)] if shell else command(code)
        plain = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
        return subprocess.run(
            words,
            cwd=tmp_path,
            env={**plain, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
class TestOutputThatNobodyTakes:
    @pytest.mark.parametrize("unbuffered", ["", "1"])
    @pytest.mark.parametrize(("end", "status"), [("", 0), ("raise SystemExit(1)", 1), ("raise SystemExit(3)", 3)])
    def test_a_reader_that_goes_away_changes_neither_the_work_nor_the_status(
        self, tmp_path: Path, end: str, status: int, unbuffered: str
    ) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
        pipe = subprocess.PIPE
        with subprocess.Popen(command(LONG + end), cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe) as child:
            assert child.stdout.readline() == b"line 0\n"
            child.stdout.close()
            told = child.stderr.read()
        assert (child.returncode, told) == (status, b"")
        assert (tmp_path / "made").read_text() == "whole"

    def test_a_reader_of_the_errors_may_go_away_too(self, tmp_path: Path, run) -> None:
        code = "import sys\nfor n in range(50_000):\n    print(n, file=sys.stderr)\nopen('made', 'w').close()"
        assert run(code, "2>&1 >/dev/null | head -1").stdout == "0\n"
        assert (tmp_path / "made").exists()

    def test_rich_tables_too(self, run) -> None:
        code = "from rich.console import Console\nfor n in range(9000): Console().print(f'[bold]{n}[/]')"
        assert run(code, "| head -1").stderr == ""

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
    @pytest.mark.parametrize("code", [LONG, "print('short')\nopen('made', 'w').write('whole')"])
    def test_a_full_disk_is_one_sentence_and_loses_no_file(self, tmp_path: Path, run, code: str) -> None:
        done = run(code, ">/dev/full")
        assert done.returncode == 1
        assert done.stderr.startswith("error: the output could not be written (No space left on device)")
        assert done.stderr.count("\n") == 1
        assert (tmp_path / "made").read_text() == "whole"

    @pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
    def test_closed_streams_are_nobodys_and_no_file_takes_what_is_printed(
        self, tmp_path: Path, run, closed: str
    ) -> None:
        code = "file = open('made', 'w')\nprint('spilt', flush=True)\nimport os\nos.write(1, b'spilt')\nfile.close()"
        assert run(code, closed).returncode == 0
        assert (tmp_path / "made").read_text() == ""

    def test_a_limit_on_the_size_of_files_holds_for_the_output_too(self, run, tmp_path: Path) -> None:
        done = run(LONG, ">printed", BASH_ENV="")
        assert done.returncode == 0
        done = run("import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n" + LONG, ">printed")
        assert done.returncode == 1
        assert done.stderr.startswith("error: the output could not be written (File too large)")
        assert (tmp_path / "printed").stat().st_size == 4096

    def test_names_that_are_no_text_are_printed_all_the_same(self, run) -> None:
        done = run("print('a\\udc80')\nprint('é')", PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stdout) == (0, "a\\udc80\n\\xe9\n")


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (
            "PermissionError(13, 'Permission denied', '/a/b')",
            1,
            "error: '/a/b' cannot be used (Permission denied): give",
        ),
        ("NotADirectoryError(20, 'Not a directory', '/a/b')", 1, "(Not a directory): a file is where a folder"),
        ("IsADirectoryError(21, 'Is a directory', '/a')", 1, "(Is a directory): a folder is where a file"),
        ("OSError(28, 'No space left on device', '/a')", 1, "make room there and run the same command again"),
        ("OSError(27, 'File too large')", 1, "ulimit -f"),
        ("OSError(122, 'Disk quota exceeded', '/a')", 1, "make room"),
        ("OSError(30, 'Read-only file system', '/a')", 1, "another disk"),
        ("OSError(5, 'Input/output error', b'/a')", 1, "check the disk"),
        ("OSError('encoder error -2')", 1, "something cannot be used (encoder error -2)"),
        ("FileNotFoundError(2, 'No such file or directory')", 1, "the current folder is not there any more"),
        ("BrokenPipeError(32, 'Broken pipe', '/a')", 1, "'/a' cannot be used (Broken pipe)"),
        ("PermissionError(13, 'Permission denied', 'a\\x1b[31m\\n')", 1, r"'a\x1b[31m\n' cannot be used"),
        ("KeyboardInterrupt()", 130, "stopped; what was finished is kept"),
    ],
)
def test_what_the_machine_refuses_is_one_sentence(run, raised: str, status: int, said: str) -> None:
    done = run(f"raise {raised}")
    assert done.returncode == status
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("rank", "world", "place"),
    [(None, None, (0, 1)), ("0", None, (0, 1)), ("0", "1", (0, 1)), ("3", "4", (3, 4)), (None, "1", (0, 1))],
)
def test_a_launcher_says_which_process_this_is(rank, world, place, monkeypatch: pytest.MonkeyPatch) -> None:
    _launched(rank, world, monkeypatch)
    assert this_process() == place


@pytest.mark.parametrize(
    ("rank", "world", "said"),
    [
        ("1", None, "RANK is 1 but WORLD_SIZE is not set, so nobody would report"),
        (None, "2", "WORLD_SIZE is 2 but RANK is not set"),
        ("2", "2", "RANK is 2 but WORLD_SIZE is 2"),
        ("0", "0", "RANK is 0 but WORLD_SIZE is 0"),
        ("-1", "2", "RANK is '-1', no number"),
        ("0", "-2", "WORLD_SIZE is '-2', no number"),
        ("one", "2", "RANK is 'one', no number"),
        ("0", "two", "WORLD_SIZE is 'two'"),
        ("", "", "RANK is ''"),
        ("1.0", "2", "RANK is '1.0'"),
        ("00", "2", "RANK is '00'"),
        ("٣", "4", "RANK is '٣'"),
        ("9" * 5000, "2", "RANK is '999"),
    ],
)
def test_processes_that_do_not_fit_together_are_refused(rank, world, said, monkeypatch: pytest.MonkeyPatch) -> None:
    _launched(rank, world, monkeypatch)
    with pytest.raises(BenchError, match=said.replace("(", r"\(")) as told:
        this_process()
    assert "torchrun" in str(told.value)


def _launched(rank: str | None, world: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", rank), ("WORLD_SIZE", world)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)


def test_a_wrong_rank_is_refused_before_any_command(run) -> None:
    done = run("print('ran')", RANK="1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: RANK is 1 but")


@pytest.mark.parametrize(
    "text",
    ["\x1b[2J", "a\rb", "a\nb", "\x9b31m", "\u202egpj.a", "\u2066", "\ud800", "\u2028", "\x00", "\x7f", "\ufeff"],
)
def test_nothing_that_a_terminal_obeys_is_printable(text: str) -> None:
    shown = printable(f"<{text}>")
    assert shown.isprintable()
    assert "\\" in shown
    assert str(BenchError(f"<{text}>")) == shown
    assert shown in str(refused(OSError(5, "no", f"<{text}>")))


@pytest.mark.parametrize("text", ["", "plain", "日本語", "µ ± é", "a\u00a0b", "\\x1b", "[bold]"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text
